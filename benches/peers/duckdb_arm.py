"""DuckDB's arm: answers the queries that it is sent over the tables that prepare.py made.

    duckdb_arm.py DIRECTORY THREADS [raw]

With `raw` it reads the Parquet files as they are, else through `iceberg_scan`. A peer is a process that reads one JSON
object a line, {"sql": ...}, and writes one for each: {"seconds": ..., "cpu": ..., "rows": ...} or {"error": ...}; for
{"sql": ..., "answer": true} also {"answer": [[...], ...]}, its rows as numbers, texts and nulls. Its first line is its
name. It fetches all rows.
"""

import decimal
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


def cell(value):
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, (int, float, decimal.Decimal)):
        return float(value)
    return None if value is None else str(value)


def main():
    directory, threads, raw = pathlib.Path(sys.argv[1]), sys.argv[2], sys.argv[3:] == ["raw"]
    database = duckdb.connect(config={"threads": threads, "allow_unsigned_extensions": "true"})
    for module in [duckdb_extension_avro, duckdb_extension_iceberg]:
        database.load_extension(str(extension(module)))
    pinned = json.loads((directory / "mesh/pinned.json").read_text())
    domain = next(iter(pinned)).split(".")[0]
    database.execute(f"CREATE SCHEMA {domain}")
    for table, place in pinned.items():
        place = place.removeprefix("file://")
        files = f"read_parquet('{pathlib.Path(place).parents[1]}/data/*.parquet')"
        source = files if raw else f"iceberg_scan('{place}')"
        database.execute(f"CREATE VIEW {table} AS SELECT * FROM {source}")
    database.execute(f"USE {domain}")
    print(f"duckdb {duckdb.__version__}", flush=True)
    for line in sys.stdin:
        before, begin = resource.getrusage(resource.RUSAGE_SELF), time.perf_counter()
        try:
            asked = json.loads(line)
            table = database.execute(asked["sql"]).to_arrow_table()
        except duckdb.Error as error:
            print(json.dumps({"error": str(error)}), flush=True)
            continue
        seconds, after = time.perf_counter() - begin, resource.getrusage(resource.RUSAGE_SELF)
        cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
        told = {"seconds": seconds, "cpu": cpu, "rows": table.num_rows}
        if asked.get("answer"):
            columns = [column.to_pylist() for column in table.columns]
            told["answer"] = [[cell(value) for value in row] for row in zip(*columns)]
        print(json.dumps(told), flush=True)


main()
