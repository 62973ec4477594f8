"""Makes the tables of the benchmarks: TPC-H or TPC-DS, written as Iceberg tables by PyIceberg, and a mesh that serves them.

    prepare.py DIRECTORY [--scale 1] [--workload tpch|tpcds]

    tpchgen-cli, or DuckDB's dsdgen
        -> raw Parquet -> PyIceberg (field ids, statistics, several files) -> DIRECTORY/lake/<workload>/<table>/

The same Parquet files are what the plain arm reads. What is already there stays: the directory is made once, and a run
that was cut off goes on with the table that it was at. Variants with deletes and the table of 100 000 files are made by
the bench binary itself (`make`), since PyIceberg writes no delete files. The queries of TPC-H are in benches/queries;
those of TPC-DS come with their generator, into DIRECTORY/queries.
"""

import argparse
import json
import pathlib
import shutil
import subprocess
import sys

import duckdb
import duckdb_extension_tpcds
import pyarrow as pa
import pyarrow.parquet as pq
from pyiceberg.catalog.sql import SqlCatalog

# How many data files a table of TPC-H gets.
TPCH = {"lineitem": 6, "orders": 4, "partsupp": 2, "customer": 2, "part": 2, "supplier": 1, "nation": 1, "region": 1}

# A file of TPC-DS has at most so many rows.
ROWS = 500_000

CONTRACT = """\
apiVersion: v3.1.0
kind: DataContract
id: {domain}-{table}-1
name: {domain} {table}
version: 1.0.0
status: active
domain: {domain}
schema:
  - name: {table}
    physicalName: {domain}.{table}
    physicalType: table
    logicalType: object
    properties:
"""

POLICY = """\
@id("everyone-discovers")
permit (principal, action == Action::"discover", resource in Domain::"{domain}");

@id("everyone-reads")
permit (principal, action == Action::"read", resource in Domain::"{domain}");
"""


def plain(schema):
    """The same columns without views, which Iceberg's writers do not take."""
    views = {pa.string_view(): pa.string(), pa.binary_view(): pa.binary()}
    return pa.schema([pa.field(f.name, views.get(f.type, f.type), True) for f in schema])


def write(catalog, domain, place, table, raw):
    """One append for each data file; the table is renamed to its name when all are there."""
    source = pq.ParquetFile(raw)
    schema = plain(source.schema_arrow)
    partly = (domain, f"{table}_partly")
    if catalog.table_exists(partly):
        catalog.purge_table(partly)
    target = catalog.create_table(partly, schema, location=place, properties={"format-version": "2"})
    rows = source.read().cast(schema)
    files = TPCH.get(table) or -(-rows.num_rows // ROWS)
    share = max(-(-rows.num_rows // max(files, 1)), 1)
    with target.transaction() as append:
        for first in range(0, rows.num_rows, share):
            append.append(rows.slice(first, share))
    catalog.rename_table(partly, (domain, table))


def logical(type_):
    if pa.types.is_integer(type_):
        return "integer", "int" if type_.bit_width == 32 else "long"
    if pa.types.is_decimal(type_):
        return "number", f"decimal({type_.precision},{type_.scale})"
    if pa.types.is_date(type_):
        return "date", "date"
    return "string", "string"


def publish(mesh, catalog, name, tables):
    """A mesh with one domain that everybody may read. It pins metadata files, so that a run measures no catalog."""
    domain = mesh / name
    (domain / "products").mkdir(parents=True, exist_ok=True)
    (domain / "policies").mkdir(exist_ok=True)
    (mesh / "mesh.yaml").write_text("mesh: bench\nauth: { users: [ { name: bench, groups: [] } ] }\n")
    (domain / "policies" / "open.cedar").write_text(POLICY.format(domain=name))
    pinned = {}
    for table in tables:
        opened = catalog.load_table((name, table))
        pinned[f"{name}.{table}"] = opened.metadata_location
        text = CONTRACT.format(domain=name, table=table)
        for field in opened.schema().as_arrow():
            kind, physical = logical(field.type)
            text += f"      - {{ name: {field.name}, logicalType: {kind}, physicalType: \"{physical}\" }}\n"
        (domain / "products" / f"{table}.odcs.yaml").write_text(text)
    places = ", ".join(f'{table}: "{place}"' for table, place in pinned.items())
    (domain / "domain.yaml").write_text(
        f"name: {name}\nkind: shared\nowner: {{ team: bench }}\ncatalog: {{ type: metadata, tables: {{ {places} }} }}\n"
    )
    (mesh / "pinned.json").write_text(json.dumps(pinned, indent=1))


def generate_tpch(raw, scale, is_missing):
    """The raw tables, one after the other."""
    generator = pathlib.Path(sys.executable).with_name("tpchgen-cli")
    for table in filter(is_missing, TPCH):
        command = [generator, "parquet", "-s", scale, f"--tables={table}", f"--output-dir={raw}", "--overwrite"]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
        yield table


def generate_tpcds(raw, scale, is_missing, queries):
    """All raw tables at once, as their generator makes them; and its 99 queries."""
    database = duckdb.connect(config={"allow_unsigned_extensions": "true"})
    folder = pathlib.Path(duckdb_extension_tpcds.__file__).parent
    database.load_extension(str(next(folder.rglob("*.duckdb_extension"))))
    queries.mkdir(exist_ok=True)
    for number, text in database.execute("SELECT query_nr, query FROM tpcds_queries()").fetchall():
        (queries / f"q{number:02}.sql").write_text(text)
    database.execute("CALL dsdgen(sf = 0)")
    missing = [name for (name,) in database.execute("SHOW TABLES").fetchall() if is_missing(name)]
    if missing:
        database.execute(f"CALL dsdgen(sf = {float(scale)}, overwrite = true)")
    raw.mkdir(exist_ok=True)
    for table in missing:
        database.execute(f"COPY {table} TO '{raw}/{table}.parquet' (FORMAT parquet)")
        yield table


def main():
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    arguments.add_argument("directory", type=pathlib.Path)
    arguments.add_argument("--scale", default="1")
    arguments.add_argument("--workload", choices=["tpch", "tpcds"], default="tpch")
    arguments = arguments.parse_args()
    home, domain = arguments.directory.resolve(), arguments.workload
    home.mkdir(parents=True, exist_ok=True)
    scale = home / "scale"
    if scale.exists() and scale.read_text() != arguments.scale:
        sys.exit(f"{home} has tables of scale {scale.read_text()}; give another directory")
    scale.write_text(arguments.scale)
    catalog = SqlCatalog("bench", uri=f"sqlite:///{home}/catalog.db", warehouse=f"file://{home}/lake")
    catalog.create_namespace_if_not_exists(domain)
    raw = home / "raw"

    def is_missing(table):
        return not catalog.table_exists((domain, table))

    if domain == "tpch":
        generated = generate_tpch(raw, arguments.scale, is_missing)
    else:
        generated = generate_tpcds(raw, arguments.scale, is_missing, home / "queries")
    for table in generated:
        print(f"writing {table}", file=sys.stderr, flush=True)
        write(catalog, domain, f"file://{home}/lake/{domain}/{table}", table, raw / f"{table}.parquet")
    shutil.rmtree(raw, ignore_errors=True)
    publish(home / "mesh", catalog, domain, sorted(name for _, name in catalog.list_tables(domain)))


main()
