"""DuckDB's arm: answers the queries that it is sent over the tables that prepare.py made.

    duckdb_arm.py DIRECTORY THREADS

A peer is a process that reads one JSON object a line, {"sql": ...} with {table} names as in the query texts, and writes one
for each: {"seconds": ..., "cpu": ..., "rows": ...} or {"error": ...}. Its first line is its name. It fetches all rows.
"""

import json
import pathlib
import resource
import sys
import time

import duckdb
import duckdb_extension_avro
import duckdb_extension_iceberg


def extension(module):
    """The extension's file in its wheel, which holds nothing else of that kind."""
    return next(pathlib.Path(module.__file__).parent.rglob("*.duckdb_extension"))


def main():
    directory, threads = pathlib.Path(sys.argv[1]), sys.argv[2]
    database = duckdb.connect(config={"threads": threads, "allow_unsigned_extensions": "true"})
    for module in [duckdb_extension_avro, duckdb_extension_iceberg]:
        database.load_extension(str(extension(module)))
    database.execute("CREATE SCHEMA tpch")
    for table, place in json.loads((directory / "mesh/pinned.json").read_text()).items():
        database.execute(f"CREATE VIEW {table} AS SELECT * FROM iceberg_scan('{place.removeprefix('file://')}')")
    print(f"duckdb {duckdb.__version__}", flush=True)
    for line in sys.stdin:
        before, begin = resource.getrusage(resource.RUSAGE_SELF), time.perf_counter()
        try:
            rows = database.execute(json.loads(line)["sql"]).to_arrow_table().num_rows
        except duckdb.Error as error:
            print(json.dumps({"error": str(error)}), flush=True)
            continue
        seconds, after = time.perf_counter() - begin, resource.getrusage(resource.RUSAGE_SELF)
        cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
        print(json.dumps({"seconds": seconds, "cpu": cpu, "rows": rows}), flush=True)


main()
