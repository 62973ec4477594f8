"""What the server must answer, by another way: the demo's tables, read by PyIceberg straight from their files."""

import contextlib
import functools
import hashlib
import sqlite3
from pathlib import Path

import pyarrow as pa
from pyiceberg.table import StaticTable


class Lake:
    """The tables of a mesh directory that `polder demo` made."""

    def __init__(self, mesh):
        self.mesh = Path(mesh)
        # One reading serves all tests; tables are immutable once the demo has made them.
        self.table = functools.cache(self._table)

    def _table(self, name):
        domain, table = name.split(".")
        catalog = f"file:{self.mesh}/lake/{domain}/catalog.db?mode=ro"
        with contextlib.closing(sqlite3.connect(catalog, uri=True)) as connection:
            found = connection.execute(
                "SELECT metadata_location FROM iceberg_tables WHERE table_name = ?", (table,)
            ).fetchall()
        assert len(found) == 1, f"{name} has {len(found)} entries in its catalog"
        return StaticTable.from_metadata(found[0][0]).scan().to_arrow()

    def rows(self, name, key):
        """The rows of a table by key, each as a dictionary."""
        return {row[key]: row for row in self.table(name).to_pylist()}


def sha256(text):
    """The mask `sha-256-global`: NULL stays NULL."""
    return None if text is None else hashlib.sha256(text.encode()).hexdigest()


def assert_same_rows(actual, expected, key):
    """Both tables have the same rows in the columns of `actual`; order does not count."""
    assert actual.num_rows == expected.num_rows
    plain = pa.schema([pa.field(field.name, field.type) for field in actual.schema])
    actual = actual.cast(plain).sort_by(key)
    expected = expected.select(actual.column_names).cast(plain).sort_by(key)
    for name in actual.column_names:
        left, right = actual[name].combine_chunks(), expected[name].combine_chunks()
        assert left.equals(right), f"column {name} differs"
