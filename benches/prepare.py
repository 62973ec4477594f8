"""Makes the tables of the benchmarks: TPC-H, written as Iceberg tables by PyIceberg, and a mesh that serves them.

    prepare.py DIRECTORY [--scale 1]

    tpchgen-cli -> raw Parquet -> PyIceberg (field ids, statistics, several files) -> DIRECTORY/lake/tpch/<table>/

The same Parquet files are what the plain arm reads. What is already there stays: the directory is made once, and a run
that was cut off goes on with the table that it was at. Variants with deletes and the table of 100 000 files are made by
the bench binary itself (`make`), since PyIceberg writes no delete files.
"""

import argparse
import json
import pathlib
import shutil
import subprocess
import sys

import pyarrow as pa
import pyarrow.parquet as pq
from pyiceberg.catalog.sql import SqlCatalog

# How many data files a table gets.
FILES = {"lineitem": 6, "orders": 4, "partsupp": 2, "customer": 2, "part": 2, "supplier": 1, "nation": 1, "region": 1}

CONTRACT = """\
apiVersion: v3.1.0
kind: DataContract
id: tpch-{table}-1
name: TPC-H {table}
version: 1.0.0
status: active
domain: tpch
schema:
  - name: {table}
    physicalName: tpch.{table}
    physicalType: table
    logicalType: object
    properties:
"""

POLICY = """\
@id("everyone-discovers")
permit (principal, action == Action::"discover", resource in Domain::"tpch");

@id("everyone-reads")
permit (principal, action == Action::"read", resource in Domain::"tpch");
"""


def plain(schema):
    """The same columns without views, which Iceberg's writers do not take."""
    views = {pa.string_view(): pa.string(), pa.binary_view(): pa.binary()}
    return pa.schema([pa.field(f.name, views.get(f.type, f.type), True) for f in schema])


def write(catalog, place, table, raw):
    """One append for each data file; the table is renamed to its name when all are there."""
    source = pq.ParquetFile(raw)
    schema = plain(source.schema_arrow)
    partly = ("tpch", f"{table}_partly")
    if catalog.table_exists(partly):
        catalog.purge_table(partly)
    target = catalog.create_table(partly, schema, location=place, properties={"format-version": "2"})
    rows = source.read().cast(schema)
    share = -(-rows.num_rows // FILES[table])
    with target.transaction() as append:
        for first in range(0, rows.num_rows, share):
            append.append(rows.slice(first, share))
    catalog.rename_table(partly, ("tpch", table))


def logical(type_):
    if pa.types.is_integer(type_):
        return "integer", "int" if type_.bit_width == 32 else "long"
    if pa.types.is_decimal(type_):
        return "number", f"decimal({type_.precision},{type_.scale})"
    if pa.types.is_date(type_):
        return "date", "date"
    return "string", "string"


def publish(mesh, catalog):
    """A mesh with one domain that everybody may read. It pins metadata files, so that a run measures no catalog."""
    domain = mesh / "tpch"
    (domain / "products").mkdir(parents=True, exist_ok=True)
    (domain / "policies").mkdir(exist_ok=True)
    (mesh / "mesh.yaml").write_text("mesh: bench\nauth: { users: [ { name: bench, groups: [] } ] }\n")
    (domain / "policies" / "open.cedar").write_text(POLICY)
    pinned = {}
    for table in FILES:
        opened = catalog.load_table(("tpch", table))
        pinned[f"tpch.{table}"] = opened.metadata_location
        text = CONTRACT.format(table=table)
        for field in opened.schema().as_arrow():
            kind, physical = logical(field.type)
            text += f"      - {{ name: {field.name}, logicalType: {kind}, physicalType: \"{physical}\" }}\n"
        (domain / "products" / f"{table}.odcs.yaml").write_text(text)
    tables = ", ".join(f'{name}: "{place}"' for name, place in pinned.items())
    (domain / "domain.yaml").write_text(
        "name: tpch\nkind: shared\nowner: { team: bench }\n" f"catalog: {{ type: metadata, tables: {{ {tables} }} }}\n"
    )
    (mesh / "pinned.json").write_text(json.dumps(pinned, indent=1))


def main():
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    arguments.add_argument("directory", type=pathlib.Path)
    arguments.add_argument("--scale", default="1")
    arguments = arguments.parse_args()
    home = arguments.directory.resolve()
    home.mkdir(parents=True, exist_ok=True)
    scale = home / "scale"
    if scale.exists() and scale.read_text() != arguments.scale:
        sys.exit(f"{home} has tables of scale {scale.read_text()}; give another directory")
    scale.write_text(arguments.scale)
    catalog = SqlCatalog("bench", uri=f"sqlite:///{home}/catalog.db", warehouse=f"file://{home}/lake")
    catalog.create_namespace_if_not_exists("tpch")
    raw = home / "raw"
    for table in FILES:
        if catalog.table_exists(("tpch", table)):
            continue
        print(f"writing {table}", file=sys.stderr, flush=True)
        generator = pathlib.Path(sys.executable).with_name("tpchgen-cli")
        command = [generator, "parquet", "-s", arguments.scale, f"--tables={table}", f"--output-dir={raw}", "--overwrite"]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
        write(catalog, f"file://{home}/lake/tpch/{table}", table, raw / f"{table}.parquet")
    shutil.rmtree(raw, ignore_errors=True)
    publish(home / "mesh", catalog)


main()
