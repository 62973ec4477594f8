"""Tables of other writers: what a client gets, against what PyIceberg and DuckDB read from the same files at the moment.

`tests/tables/README.md` tells what each table is about. Where a reader is known to fail or to be wrong, it is listed
here once, and must still be so; the rows are held against those that were written down when the table was made in any
case, and Spark was among the readers then.
"""

import contextlib
import functools
import json
import re
import shutil
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import expect
import pytest
import stage
from adbc_driver_manager import Error

import bucket
from conftest import open_connection
from serving import Server

TABLES = sorted(f"{path.parent.name}.{path.name}" for path in (stage.HERE / "data").glob("*/*"))

# What the server refuses, with a word of its error: their files are not Parquet.
REFUSED = {"spark.avro_files": "avro", "spark.orc_files": "orc"}

NO_EQUALITY_DELETES = "does not yet support equality deletes"
# What a reader cannot read, with words of its error.
UNREAD = {
    ("pyiceberg", "java.equality_across_specs"): NO_EQUALITY_DELETES,
    ("pyiceberg", "java.equality_and_positions"): NO_EQUALITY_DELETES,
    ("pyiceberg", "java.equality_evolved"): NO_EQUALITY_DELETES,
    ("pyiceberg", "java.equality_global"): NO_EQUALITY_DELETES,
    ("pyiceberg", "java.equality_nulls"): NO_EQUALITY_DELETES,
    ("pyiceberg", "java.equality_partitioned"): NO_EQUALITY_DELETES,
    ("pyiceberg", "java.equality_sets"): NO_EQUALITY_DELETES,
    ("pyiceberg", "spark.variant"): "validation error for TableMetadata",
    ("duckdb", "java.equality_evolved"): "internal_errors",
    ("duckdb", "java.equality_partitioned"): "internal_errors",
    ("duckdb", "java.nanoseconds"): "Unrecognized primitive type: timestamptz_ns",
    ("duckdb", "java.unreadable_types"): "Unrecognized primitive type: unknown",
    ("duckdb", "spark.codecs"): "Failed to read file",
    ("duckdb", "spark.partition_source_dropped"): "crashed",
}

# What a reader reads otherwise than the specification wants, and in what it is wrong.
WRONG = {
    ("duckdb", "java.equality_across_specs"): "a partition's deletes delete outside of that partition",
    ("duckdb", "java.equality_nulls"): "rows with NULL in a key column are deleted by other keys",
    ("duckdb", "java.equality_sets"): "rows with NULL in a key column are deleted by other keys",
    ("pyiceberg", "spark.nested"): "lists and maps that are NULL come as empty",
    ("pyiceberg", "spark.nested_evolved"): "lists and maps that are NULL come as empty",
}


class Tables:
    """All tables in a bucket, a server over their mesh, and the other readers."""

    def __init__(self, s3, connection, readers):
        self.s3 = s3
        self.connection = connection
        self.read = functools.cache(self._read)
        # One of them crashes, so that DuckDB has a process for each table; they are started before anybody waits.
        self.by_duckdb = {name: readers.submit(expect.by_duckdb, *self.found(name)) for name in TABLES}

    def found(self, name):
        """Where the table's metadata is, and the columns that arrow can hold."""
        found, location = expect.metadata(*name.split("."))
        return location, [field for field in expect.columns(found) if expect.readable(field["type"])]

    def _read(self, name):
        _, fields = self.found(name)
        columns = ", ".join(expect.quoted(field["name"]) for field in fields)
        with self.connection.cursor() as cursor:
            cursor.execute(f"SELECT {columns} FROM {name}")
            return expect.rows(fields, cursor.fetch_arrow_table())

    def read_by(self, reader, name):
        location, fields = self.found(name)
        if reader == "duckdb":
            return expect.rows(fields, self.by_duckdb[name].result())
        return expect.rows(fields, expect.by_pyiceberg(location, fields, stage.file_io(self.s3)))


@pytest.fixture(scope="module")
def tables(tmp_path_factory):
    directory = tmp_path_factory.mktemp("tables")
    files = directory / "s3"
    shutil.copytree(stage.HERE / "data", files / stage.BUCKET)
    mesh = directory / "mesh"
    shutil.copytree(stage.HERE / "mesh", mesh)
    with contextlib.ExitStack() as running:
        s3 = running.enter_context(bucket.serving(files))
        for file, text in [("endpoint", s3), ("id", stage.KEY), ("key", stage.SECRET)]:
            expect.write(mesh / "secrets" / file, text)
        guest = Path(__file__).parents[2] / "examples" / "packly" / "secrets" / "guest.argon2"
        shutil.copy(guest, mesh / "secrets")
        patch = running.enter_context(pytest.MonkeyPatch.context())
        patch.setattr(stage, "WORK", directory)
        # For the processes that DuckDB reads in.
        patch.setenv("POLDER_TABLES_S3", s3)
        server = Server(mesh)
        running.callback(server.stop)
        connection = running.enter_context(open_connection(server, "guest"))
        readers = ThreadPoolExecutor(2)
        running.callback(readers.shutdown, cancel_futures=True)
        yield Tables(s3, connection, readers)
        assert server.process.poll() is None, f"the server died: {server.said}"


@pytest.mark.parametrize("name", [name for name in TABLES if name not in REFUSED])
def test_a_table_has_the_rows_that_were_written_down(tables, name):
    lines = (stage.HERE / "expected" / name.replace(".", "/")).with_suffix(".jsonl").read_text().splitlines()
    assert tables.read(name) == [json.loads(line) for line in lines[1:]]


@pytest.mark.parametrize("reader", ["pyiceberg", "duckdb"])
@pytest.mark.parametrize("name", [name for name in TABLES if name not in REFUSED])
def test_a_table_has_the_rows_that_another_reader_reads(tables, reader, name):
    if words := UNREAD.get((reader, name)):
        with pytest.raises(Exception, match=re.escape(words)):
            tables.read_by(reader, name)
    elif reason := WRONG.get((reader, name)):
        assert tables.read_by(reader, name) != tables.read(name), f"no longer true: {reason}"
    else:
        assert tables.read_by(reader, name) == tables.read(name)


@pytest.mark.parametrize("name", REFUSED)
def test_files_that_are_not_parquet_are_refused_by_name(tables, name):
    with pytest.raises(Error, match=f"(?i){REFUSED[name]}"):
        tables.read(name)


def test_what_is_listed_is_there():
    assert {name for _, name in UNREAD.keys() | WRONG.keys()} | REFUSED.keys() <= set(TABLES)
