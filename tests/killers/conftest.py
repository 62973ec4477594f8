"""What the clients' tests have: the demo mesh, and real servers over it."""

import importlib.util
import os
import sys
from pathlib import Path

# What the process holds is measured, and not what its allocator keeps for the next statement: it is told to keep nothing.
os.environ.setdefault("MIMALLOC_PURGE_DELAY", "0")
os.environ.setdefault("MIMALLOC_ARENA_EAGER_COMMIT", "0")

# Their modules ask for it by this one's name, which is the nearer one.
_spec = importlib.util.spec_from_file_location("conftest_of_clients", Path(__file__).parents[1] / "clients" / "conftest.py")
_clients = importlib.util.module_from_spec(_spec)
sys.modules[_spec.name] = _clients
_spec.loader.exec_module(_clients)

mesh, lake, serve, ways, authority = _clients.mesh, _clients.lake, _clients.serve, _clients.ways, _clients.authority
open_connection = _clients.open_connection
