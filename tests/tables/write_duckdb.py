"""Tables that DuckDB's `iceberg` extension writes through the catalog. Each function writes one table of its name."""

import importlib.util
from pathlib import Path

import duckdb

import stage

TABLES = []


def table(write):
    TABLES.append(write)
    return write


def connection(attach=True):
    """DuckDB with its extensions from their packages: nothing is downloaded."""
    db = duckdb.connect()
    for extension in ("httpfs", "avro", "iceberg"):
        package = Path(importlib.util.find_spec(f"duckdb_extension_{extension}").origin).parent
        (file,) = package.rglob(f"{extension}.duckdb_extension")
        db.load_extension(str(file))
    db.sql("SET TimeZone = 'UTC'")
    host = stage.S3.removeprefix("http://")
    db.sql(f"""CREATE SECRET (TYPE s3, KEY_ID '{stage.KEY}', SECRET '{stage.SECRET}', REGION '{stage.REGION}', ENDPOINT '{host}',
        URL_STYLE 'path', USE_SSL false)""")
    if attach:
        db.sql(f"ATTACH '' AS lake (TYPE iceberg, ENDPOINT '{stage.REST}', AUTHORIZATION_TYPE 'none', ACCESS_DELEGATION_MODE 'none')")
    return db


def changes(db, name, version):
    db.sql(f"""CREATE TABLE {name} (id INTEGER, name VARCHAR, n DECIMAL(18, 3), moment TIMESTAMP, day DATE, tags VARCHAR[],
        s STRUCT(a INTEGER, b VARCHAR)) WITH ('format-version' = '{version}')""")
    for begin in (0, 50):
        db.sql(f"""INSERT INTO {name} SELECT i, CASE WHEN i % 5 > 0 THEN 'name ' || i % 7 END, i / 8, TIMESTAMP '2024-01-01' + i * INTERVAL 1 HOUR,
            DATE '2024-01-01' + i::INTEGER, CASE WHEN i % 3 > 0 THEN ['a', NULL, 'b' || i] END, {{'a': i, 'b': NULL}}
            FROM range({begin}, {begin} + 50) t(i)""")
    db.sql(f"DELETE FROM {name} WHERE id % 10 = 3")
    db.sql(f"UPDATE {name} SET name = 'updated' WHERE id BETWEEN 45 AND 55")
    db.sql(f"DELETE FROM {name} WHERE id IN (45, 99)")


@table
def position_deletes(db, name):
    """rows deleted and updated in format 2: position deletes"""
    changes(db, name, 2)


@table
def deletion_vectors(db, name):
    """the same in format 3: deletion vectors"""
    changes(db, name, 3)


@table
def primitives(db, name):
    """the types that DuckDB writes"""
    db.sql(f"""CREATE TABLE {name} (id INTEGER, flag BOOLEAN, big BIGINT, f FLOAT, x DOUBLE, amount DECIMAL(38, 10), day DATE, t TIME,
        wall TIMESTAMP, moment TIMESTAMPTZ, name VARCHAR, key UUID, raw BLOB)""")
    db.sql(f"""INSERT INTO {name} VALUES
        (1, true, 9223372036854775807, 'nan', 'nan', 9999999999999999999999999999.9999999999, '9999-12-31', '23:59:59.999999',
         '9999-12-31 23:59:59.999999', '9999-12-31 23:59:59.999999+00', 'ä☃', 'f79c3e09-677c-4bbd-a479-3f349cb785e7', '\\x00\\xFF'::BLOB),
        (2, false, -9223372036854775808, '-inf', 'inf', -0.0000000001, '0001-01-01', '00:00:00', '1969-12-31 23:59:59.999999',
         '1969-12-31 23:59:59.999999+00', '', '00000000-0000-0000-0000-000000000000', ''::BLOB)""")
    db.sql(f"INSERT INTO {name} (id) VALUES (3)")


def main(only=()):
    db = connection()
    db.sql("CREATE SCHEMA IF NOT EXISTS lake.duckdb")
    for write in TABLES:
        if only and write.__name__ not in only:
            continue
        print(write.__name__, flush=True)
        db.sql(f"DROP TABLE IF EXISTS lake.duckdb.{write.__name__}")
        write(db, f"lake.duckdb.{write.__name__}")


if __name__ == "__main__":
    import sys

    main(sys.argv[1:])
