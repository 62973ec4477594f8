"""Tables that PyIceberg writes. Each function writes one table of its name; its docstring says what it is about."""

import datetime
import decimal
import math
import uuid

import pyarrow as pa
import pyarrow.fs
import pyarrow.parquet as pq
from pyiceberg.partitioning import PartitionField, PartitionSpec
from pyiceberg.schema import Schema
from pyiceberg.table.sorting import SortField, SortOrder
from pyiceberg.transforms import BucketTransform, DayTransform, IdentityTransform, TruncateTransform, YearTransform
from pyiceberg.types import (
    BinaryType, BooleanType, DateType, DecimalType, DoubleType, FixedType, FloatType, IntegerType, ListType, LongType,
    MapType, NestedField, StringType, StructType, TimestampType, TimestamptzType, TimeType, UUIDType,
)

import stage

TABLES = []
UTC = datetime.timezone.utc


def table(write):
    TABLES.append(write)
    return write


PRIMITIVES = Schema(
    NestedField(1, "id", IntegerType(), required=True),
    NestedField(2, "flag", BooleanType()),
    NestedField(3, "big", LongType()),
    NestedField(4, "single", FloatType()),
    NestedField(5, "double", DoubleType()),
    NestedField(6, "amount", DecimalType(38, 10)),
    NestedField(7, "day", DateType()),
    NestedField(8, "time", TimeType()),
    NestedField(9, "wall", TimestampType()),
    NestedField(10, "at", TimestamptzType()),
    NestedField(11, "name", StringType()),
    NestedField(12, "key", UUIDType()),
    NestedField(13, "hash", FixedType(4)),
    NestedField(14, "raw", BinaryType()),
)


def primitive(id, flag, big, x, amount, day, time, wall, name, key, hash, raw):
    at = wall and wall.replace(tzinfo=UTC)
    return dict(id=id, flag=flag, big=big, single=x, double=x, amount=amount, day=day, time=time, wall=wall, at=at, name=name,
                key=key and key.bytes, hash=hash, raw=raw)


def primitives(catalog, name, version):
    made = catalog.create_table(name, PRIMITIVES, properties={"format-version": version})
    huge = decimal.Decimal("9" * 27 + "." + "9" * 10)
    rows = [
        primitive(1, True, 2**63 - 1, 1.5, huge, datetime.date(9999, 12, 31), datetime.time(23, 59, 59, 999999),
                  datetime.datetime(9999, 12, 31, 23, 59, 59, 999999), "ä☃𝄞", uuid.UUID(int=2**128 - 1), b"\xff" * 4, b"\x00\xff"),
        primitive(2, False, -(2**63), math.nan, -huge, datetime.date(1, 1, 1), datetime.time(0),
                  datetime.datetime(1, 1, 1), "", uuid.UUID(int=0), b"\0" * 4, b""),
        primitive(3, *[None] * 11),
        primitive(4, True, -1, math.inf, decimal.Decimal("-0.0000000001"), datetime.date(1969, 12, 31), datetime.time(12, 0, 0, 1),
                  datetime.datetime(1969, 12, 31, 23, 59, 59, 999999), "x", uuid.UUID("f79c3e09-677c-4bbd-a479-3f349cb785e7"), b"abcd", b"x"),
        primitive(5, True, 0, -0.0, decimal.Decimal("1.0000000000"), datetime.date(1970, 1, 1), datetime.time(1), datetime.datetime(1970, 1, 1),
                  "y", uuid.UUID(int=1), b"abce", b"y"),
    ]
    made.append(pa.Table.from_pylist(rows, schema=made.schema().as_arrow()))


@table
def primitives_v1(catalog, name):
    """every primitive type, uuid, fixed and time among them, in format 1"""
    primitives(catalog, name, "1")


@table
def primitives_v2(catalog, name):
    """the same in format 2"""
    primitives(catalog, name, "2")


@table
def evolved(catalog, name):
    """columns and nested fields added, dropped, renamed, moved and promoted, with rows in between"""
    schema = Schema(
        NestedField(1, "id", IntegerType(), required=True),
        NestedField(2, "n", IntegerType()),
        NestedField(3, "s", StructType(NestedField(4, "a", IntegerType()), NestedField(5, "b", StringType()))),
        NestedField(6, "l", ListType(7, StructType(NestedField(8, "x", FloatType())))),
        NestedField(9, "m", MapType(10, StringType(), 11, StructType(NestedField(12, "p", IntegerType())))),
        NestedField(13, "same", StringType()),
    )
    made = catalog.create_table(name, schema)
    rows = [
        {"id": 1, "n": 1, "s": {"a": 1, "b": "b"}, "l": [{"x": 0.1}], "m": [("k", {"p": 1})], "same": "s"},
        {"id": 2, "n": None, "s": None, "l": None, "m": None, "same": None},
    ]
    made.append(pa.Table.from_pylist(rows, schema=made.schema().as_arrow()))
    with made.update_schema() as update:
        update.update_column("n", LongType())
        update.rename_column("n", "count")
        update.update_column(("s", "a"), LongType())
        update.rename_column(("s", "b"), "bb")
        update.add_column(("s", "c"), DateType())
        update.update_column(("l", "element", "x"), DoubleType())
        update.add_column(("l", "element", "y"), StringType())
        update.add_column(("m", "value", "q"), StringType())
        update.delete_column("same")
        update.move_first("s")
    with made.update_schema() as update:
        update.add_column("same", LongType())
        update.make_column_optional("id")
    made = catalog.load_table(name)
    rows = [{"id": None, "count": 5_000_000_000, "s": {"a": 5_000_000_000, "bb": "bb", "c": datetime.date(2024, 1, 1)},
             "l": [{"x": 0.2, "y": "y"}], "m": [("k", {"p": 2, "q": "q"})], "same": 7}]
    made.append(pa.Table.from_pylist(rows, schema=made.schema().as_arrow()))


PLAIN = Schema(
    NestedField(1, "id", LongType()), NestedField(2, "name", StringType()), NestedField(3, "day", DateType())
)


def plain(begin, end):
    rows = [{"id": i, "name": f"name {i % 5}" if i % 7 else None, "day": datetime.date(2023, 12, 25) + datetime.timedelta(i)}
            for i in range(begin, end)]
    return pa.Table.from_pylist(rows, schema=pa.schema([("id", pa.int64()), ("name", pa.large_string()), ("day", pa.date32())]))


@table
def partitioned(catalog, name):
    """bucket, truncate and day, changed to year and identity later"""
    spec = PartitionSpec(
        PartitionField(1, 1000, BucketTransform(4), "id_bucket"),
        PartitionField(2, 1001, TruncateTransform(3), "name_cut"),
    )
    made = catalog.create_table(name, PLAIN, partition_spec=spec)
    made.append(plain(0, 15))
    with made.update_spec() as update:
        update.remove_field("id_bucket")
        update.add_field("day", YearTransform(), "year")
    made.append(plain(15, 30))
    with made.update_spec() as update:
        update.remove_field("name_cut")
        update.remove_field("year")
        update.add_field("name", IdentityTransform(), "name_itself")
    made.append(plain(30, 45))


@table
def overwritten(catalog, name):
    """rows deleted, overwritten and upserted by writing files anew"""
    spec = PartitionSpec(PartitionField(3, 1000, DayTransform(), "day_itself"))
    made = catalog.create_table(name, PLAIN, partition_spec=spec)
    made.append(plain(0, 10))
    made.append(plain(10, 14))
    made.delete("id < 2 or name = 'name 3'")
    made.overwrite(plain(20, 22), overwrite_filter="id >= 12")
    made.upsert(plain(4, 8).set_column(1, "name", pa.array(["up"] * 4, pa.large_string())), join_cols=["id"])


@table
def sorted_rows(catalog, name):
    """a table that declares an order which its files do not keep"""
    made = catalog.create_table(name, PLAIN, sort_order=SortOrder(SortField(1, IdentityTransform())))
    made.append(plain(0, 20).take(pa.array([i * 7 % 20 for i in range(20)])))


def files(name, **tables):
    """Bare Parquet files beside a table, as another program would have left them."""
    host = stage.S3.removeprefix("http://")
    fs = pyarrow.fs.S3FileSystem(access_key=stage.KEY, secret_key=stage.SECRET, region=stage.REGION, endpoint_override=host, scheme="http")
    paths = []
    for file, (rows, options) in tables.items():
        path = f"{stage.BUCKET}/{name.replace('.', '/')}/data/{file}.parquet"
        pq.write_table(rows, path, filesystem=fs, **options)
        paths.append(f"s3://{path}")
    return paths


@table
def name_mapping(catalog, name):
    """files without field ids, found by a name mapping; renamed and added columns afterwards; a column missing in a file"""
    made = catalog.create_table(name, PLAIN)
    made.add_files(files(name, a=(plain(0, 10), {}), b=(plain(10, 20).drop_columns(["name"]), {})))
    with made.update_schema() as update:
        update.rename_column("name", "label")
        update.add_column("extra", IntegerType())
    made = catalog.load_table(name)
    rows = plain(20, 25).rename_columns(["id", "label", "day"]).append_column("extra", pa.array(range(5), pa.int32()))
    made.append(rows)


@table
def parquet_features(catalog, name):
    """files of every codec and encoding that pyarrow has: data pages v2, delta and byte stream split, no dictionary, brotli"""
    schema = Schema(NestedField(1, "file", StringType()), NestedField(2, "id", LongType()), NestedField(3, "text", StringType()),
                    NestedField(4, "x", DoubleType()))
    made = catalog.create_table(name, schema)

    def rows(file):
        values = [{"file": file, "id": i * i - 50, "text": f"text {i % 9}" if i % 4 else None, "x": i / 3 if i % 5 else None} for i in range(60)]
        return pa.Table.from_pylist(values, schema=pa.schema([("file", pa.string()), ("id", pa.int64()), ("text", pa.string()), ("x", pa.float64())]))

    kinds = {
        "plain": {"use_dictionary": False, "compression": "none"},
        "v2": {"data_page_version": "2.0", "compression": "zstd", "write_page_index": True},
        "delta": {"use_dictionary": False, "column_encoding": {
            "file": "DELTA_BYTE_ARRAY", "id": "DELTA_BINARY_PACKED", "text": "DELTA_LENGTH_BYTE_ARRAY", "x": "BYTE_STREAM_SPLIT"}},
        "groups": {"row_group_size": 13, "data_page_size": 64},
        "old": {"version": "1.0", "use_compliant_nested_type": False},
        "nostats": {"write_statistics": False},
        "brotli": {"compression": "brotli"},
        "lz4": {"compression": "lz4"},
        "gzip": {"compression": "gzip"},
        "snappy": {"compression": "snappy"},
    }
    made.add_files(files(name, **{kind: (rows(kind), options) for kind, options in kinds.items()}))


@table
def tagged(catalog, name):
    """a tag and a branch made by PyIceberg, and metadata compressed with gzip"""
    made = catalog.create_table(name, PLAIN, properties={"write.metadata.compression-codec": "gzip"})
    made.append(plain(0, 3))
    first = made.current_snapshot().snapshot_id
    made.append(plain(3, 5))
    made.manage_snapshots().create_tag(first, "first").create_branch(first, "side").commit()


def main(only=()):
    catalog = stage.iceberg_catalog()
    catalog.create_namespace_if_not_exists("pyiceberg")
    for write in TABLES:
        if only and write.__name__ not in only:
            continue
        name = f"pyiceberg.{write.__name__}"
        print(name, flush=True)
        if catalog.table_exists(name):
            catalog.drop_table(name)
        write(catalog, name)


if __name__ == "__main__":
    import sys

    main(sys.argv[1:])
