"""The notebook in `examples/notebooks` runs as it is, and shows what it showed when it was committed.

`POLDER_BLESS=1` writes it anew, with what it shows now; read the difference before you keep it.
"""

import os
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

NOTEBOOK = Path(__file__).parents[2] / "examples" / "notebooks" / "polder.ipynb"


@pytest.fixture
def executed(server, tmp_path, monkeypatch):
    """The notebook, executed against the server."""
    monkeypatch.setenv("POLDER_URI", server.uri)
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    described = dict(notebook.metadata)
    resources = {"metadata": {"path": str(tmp_path)}}
    NotebookClient(notebook, timeout=120, record_timing=False, resources=resources).execute()
    # The interpreter's version is nobody's business.
    notebook.metadata = nbformat.from_dict(described)
    return notebook


def shown(cell):
    """The texts that a cell shows, and that it shows pictures; their bytes depend on fonts."""
    texts = []
    for output in cell.get("outputs", []):
        data = output.get("data", {})
        texts.append(output.get("text") or data.get("text/plain"))
        texts.extend(kind for kind in data if kind.startswith("image/"))
    return texts


def test_the_notebook_shows_what_it_showed(executed):
    if os.environ.get("POLDER_BLESS"):
        nbformat.write(executed, NOTEBOOK)
    committed = nbformat.read(NOTEBOOK, as_version=4)
    for before, now in zip(committed.cells, executed.cells, strict=True):
        assert shown(now) == shown(before), now.source
    assert any("image/png" in shown(cell) for cell in executed.cells)
