"""The demo mesh, a real server over it, and connections to that as each of its users.

`POLDER_BIN` names the program (target/debug/polder without it), and `POLDER_DEMO_DIR` a demo mesh to use again.
"""

import contextlib
import os
import shutil
import subprocess
from pathlib import Path

import pytest
from adbc_driver_flightsql import dbapi
from adbc_driver_manager import Error

from authority import Authority
from oracle import Lake
from serving import Server, binary
from ways import Ways

# The whole demo promises a minute; a loaded machine gets some more.
DEMO = 240


@pytest.fixture(scope="session")
def mesh(tmp_path_factory):
    """The directory of the demo mesh, made by `polder demo` unless one is given."""
    given = os.environ.get("POLDER_DEMO_DIR")
    directory = Path(given).resolve() if given else tmp_path_factory.mktemp("demo") / "packly"
    # A demo that is there already is used again.
    command = [binary(), "demo", "--dir", str(directory), "--once"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=DEMO)
    assert done.returncode == 0, f"polder demo ended with {done.returncode}:\n{done.stdout}{done.stderr}"
    return directory


@pytest.fixture
def copy(mesh, tmp_path):
    """A mesh with the files of the demo, over its data."""
    directory = tmp_path / "copy"
    shutil.copytree(mesh, directory, ignore=shutil.ignore_patterns("lake"))
    for file in directory.glob("*/domain.yaml"):
        text = file.read_text()
        file.write_text(text.replace("sqlite:lake/", f"sqlite:{mesh}/lake/").replace("file:lake/", f"file:{mesh}/lake/"))
    return directory


@pytest.fixture(scope="session")
def lake(mesh):
    """The demo's tables, read without the program under test."""
    return Lake(mesh)


@pytest.fixture
def serve(mesh):
    """Starts further servers, for tests that stop them or need other options."""
    with contextlib.ExitStack() as running:

        def start(*arguments, mesh=mesh, by=()):
            server = Server(mesh, *arguments, by=by)
            running.callback(server.stop)
            return server

        yield start


@pytest.fixture(scope="session")
def authority(tmp_path_factory):
    """Who signs the certificates of servers and clients."""
    return Authority(tmp_path_factory.mktemp("authority") / "ca")


@pytest.fixture
def ways(mesh, tmp_path):
    """The demo mesh with ways in that the test declares."""
    return Ways(mesh, tmp_path / "ways")


@pytest.fixture(scope="session")
def server(mesh):
    """The server that most tests share. It must have survived them all, and end well."""
    server = Server(mesh)
    yield server
    assert server.process.poll() is None, f"the server died: {server.said}"
    assert server.stop() == 0


def open_connection(server, user=None, password=None, *, uri=None, options=None):
    """A connection as a user, whose password is the user's name unless another is given."""
    settings = dict(options or {})
    if user is not None:
        settings |= {"username": user, "password": user if password is None else password}
    return dbapi.connect(uri or server.uri, db_kwargs=settings, autocommit=True)


@pytest.fixture
def connect(server):
    """Opens connections to the shared server, and closes them after the test."""
    with contextlib.ExitStack() as opened:

        def connect(*arguments, to=server, **options):
            return opened.enter_context(open_connection(to, *arguments, **options))

        yield connect


@pytest.fixture(scope="session")
def shared(server):
    """One connection per user, for tests that only ask."""
    connections = {}
    with contextlib.ExitStack() as opened:

        def shared(user):
            if user not in connections:
                connections[user] = opened.enter_context(open_connection(server, user))
            return connections[user]

        yield shared


@pytest.fixture
def ask(shared):
    """The answer to a statement, as a user, in a table."""

    def ask(user, sql):
        with shared(user).cursor() as cursor:
            cursor.execute(sql)
            return cursor.fetch_arrow_table()

    return ask


@pytest.fixture
def refused(shared):
    """The error to a statement, as a user."""

    def refused(user, sql):
        with shared(user).cursor() as cursor, pytest.raises(Error) as caught:
            cursor.execute(sql)
            cursor.fetch_arrow_table()
        return caught.value

    return refused
