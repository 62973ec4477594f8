"""Tables that Spark writes. Each function writes one table of its name; its first line says what the table is about."""

import os

from pyspark.sql import SparkSession

import stage

TABLES = []


def table(write):
    TABLES.append(write)
    return write


def session():
    os.environ.update(stage.ENVIRONMENT)
    settings = {
        "spark.jars": ",".join(map(str, stage.jars("spark"))),
        "spark.sql.extensions": "org.apache.iceberg.spark.extensions.IcebergSparkSessionExtensions",
        "spark.sql.catalog.lake": "org.apache.iceberg.spark.SparkCatalog",
        "spark.sql.catalog.lake.type": "rest",
        "spark.sql.catalog.lake.uri": stage.REST,
        "spark.sql.catalog.lake.io-impl": "org.apache.iceberg.aws.s3.S3FileIO",
        "spark.sql.catalog.lake.s3.endpoint": stage.S3,
        "spark.sql.catalog.lake.s3.path-style-access": "true",
        "spark.sql.catalog.lake.cache-enabled": "false",
        "spark.sql.defaultCatalog": "lake",
        "spark.sql.session.timeZone": "UTC",
        "spark.sql.shuffle.partitions": "2",
        "spark.driver.memory": "1g",
        "spark.driver.bindAddress": "127.0.0.1",
        "spark.driver.host": "127.0.0.1",
        "spark.ui.enabled": "false",
        "spark.sql.ansi.enabled": "true",
    }
    builder = SparkSession.builder.master("local[2]").appName("tables")
    for key, value in settings.items():
        builder = builder.config(key, value)
    spark = builder.getOrCreate()
    spark.sparkContext.setLogLevel("ERROR")
    return spark


def properties(version, **more):
    pairs = {"format-version": version} | {key.replace("__", ".").replace("_", "-"): v for key, v in more.items()}
    return ", ".join(f"'{key}'='{value}'" for key, value in pairs.items())


MERGE_ON_READ = {
    "write__delete__mode": "merge-on-read",
    "write__update__mode": "merge-on-read",
    "write__merge__mode": "merge-on-read",
}

PRIMITIVES = """(
    id INT NOT NULL, flag BOOLEAN, small INT, big BIGINT, single FLOAT, double DOUBLE, cents DECIMAL(9, 2),
    amount DECIMAL(18, 4), huge DECIMAL(38, 10), day DATE, at TIMESTAMP, wall TIMESTAMP_NTZ, name STRING, raw BINARY
) USING iceberg"""

PRIMITIVE_ROWS = """
    (1, true, 0, 0L, 0f, 0d, 0.00, 0.0000, 0.0000000000, DATE '1970-01-01',
     TIMESTAMP '1970-01-01 00:00:00Z', TIMESTAMP_NTZ '1970-01-01 00:00:00', '', X''),
    (2, false, 2147483647, 9223372036854775807L, 3.4028234663852886E38f, 1.7976931348623157E308d, 9999999.99,
     99999999999999.9999, 9999999999999999999999999999.9999999999BD, DATE '9999-12-31',
     TIMESTAMP '9999-12-31 23:59:59.999999Z', TIMESTAMP_NTZ '9999-12-31 23:59:59.999999', 'Ångström ☃ 𝄞', X'00FF7F80'),
    (3, NULL, -2147483648, -9223372036854775808L, -3.4028234663852886E38f, -1.7976931348623157E308d, -9999999.99,
     -99999999999999.9999, -9999999999999999999999999999.9999999999BD, DATE '0001-01-01',
     TIMESTAMP '0001-01-01 00:00:00Z', TIMESTAMP_NTZ '0001-01-01 00:00:00', repeat('long ', 60), X'DEADBEEF'),
    (4, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL),
    (5, true, -1, -1L, float('NaN'), double('NaN'), -0.01, -0.0001, -0.0000000001, DATE '1969-12-31',
     TIMESTAMP '1969-12-31 23:59:59.999999Z', TIMESTAMP_NTZ '1969-12-31 23:59:59.999999', 'a''b"c\\\\d', X'00'),
    (6, false, 7, 7L, float('-Infinity'), double('Infinity'), 1.10, 2.2000, 3.3000000000, DATE '2024-02-29',
     TIMESTAMP '2024-02-29 12:34:56.123456Z', TIMESTAMP_NTZ '2024-02-29 12:34:56.123456', ' x ', X'20'),
    (7, true, 8, 8L, float('-0.0'), double('-0.0'), 1.20, 2.3000, 3.4000000000, DATE '2024-03-31',
     TIMESTAMP '2024-03-31 01:30:00Z', TIMESTAMP_NTZ '2024-03-31 02:30:00', 'line\\nbreak', X'0A')
"""


def primitives(spark, name, version):
    spark.sql(f"CREATE TABLE {name} {PRIMITIVES} TBLPROPERTIES ({properties(version)})")
    spark.sql(f"INSERT INTO {name} VALUES {PRIMITIVE_ROWS}")
    spark.sql(f"""INSERT INTO {name} SELECT id, id % 2 = 0, id, id * 1000000000L, id / 8, id / 16, id / 100, id / 1000,
        id / 10000, DATE '2020-01-01' + id, TIMESTAMP '2020-01-01 00:00:00Z' + make_dt_interval(0, id),
        TIMESTAMP_NTZ '2020-01-01 00:00:00' + make_dt_interval(id), concat('name ', id), cast(concat('raw', id) AS BINARY)
        FROM (SELECT cast(id AS INT) AS id FROM range(100, 150))""")


@table
def primitives_v1(spark, name):
    """every primitive type that Spark writes, with NULLs and extremes, in format 1"""
    primitives(spark, name, 1)


@table
def primitives_v2(spark, name):
    """the same in format 2"""
    primitives(spark, name, 2)


@table
def primitives_v3(spark, name):
    """the same in format 3"""
    primitives(spark, name, 3)


@table
def nested(spark, name):
    """structs, lists and maps inside one another, NULL and empty at every level"""
    spark.sql(f"""CREATE TABLE {name} (id INT, s STRUCT<a: INT, b: STRUCT<c: STRING, d: ARRAY<INT>>>,
        l ARRAY<STRUCT<x: INT, y: MAP<STRING, INT>>>, m MAP<STRING, STRUCT<p: DOUBLE, q: ARRAY<ARRAY<STRING>>>>,
        i MAP<INT, DECIMAL(9, 2)>) USING iceberg TBLPROPERTIES ({properties(2)})""")
    spark.sql(f"""INSERT INTO {name} VALUES
        (1, struct(1, struct('one', array(1, NULL, 3))), array(struct(1, map('k', 1)), NULL, struct(NULL, NULL)),
         map('m', struct(1.5d, array(array('a', NULL), NULL, array()))), map(1, 1.50, 2, NULL)),
        (2, NULL, NULL, NULL, NULL),
        (3, struct(NULL, NULL), array(), map(), map()),
        (4, struct(4, struct(NULL, NULL)), array(NULL), map('n', NULL), map(4, 4.00)),
        (5, struct(5, struct('', array())), array(struct(5, map())), map('', struct(NULL, array())), map(-5, -5.00))""")
    spark.sql(f"""INSERT INTO {name} SELECT id, struct(id, struct(concat('c', id), array(id, id + 1))),
        transform(sequence(1, id % 4 + 1), x -> struct(x, map(concat('y', x), x * id))),
        map(concat('k', id), struct(id / 2d, array(array(concat('q', id))))), map(id, cast(id AS DECIMAL(9, 2)))
        FROM (SELECT cast(id AS INT) AS id FROM range(10, 40))""")


@table
def evolved(spark, name):
    """columns added, dropped, renamed, moved, promoted and added again under an old name, with rows in between"""
    spark.sql(f"""CREATE TABLE {name} (id INT, a INT, b FLOAT, c DECIMAL(9, 2), gone STRING, old_name STRING, same STRING)
        USING iceberg TBLPROPERTIES ({properties(2)})""")
    first = "(1, 10, 1.5f, 1.25, 'g1', 'n1', 's1'), (2, NULL, NULL, NULL, NULL, NULL, NULL)"
    spark.sql(f"INSERT INTO {name} VALUES {first}, (3, -2147483648, 0.1f, -9999999.99, 'g3', 'n3', 's3')")
    spark.sql(f"ALTER TABLE {name} ALTER COLUMN a TYPE BIGINT")
    spark.sql(f"ALTER TABLE {name} ALTER COLUMN b TYPE DOUBLE")
    spark.sql(f"ALTER TABLE {name} ALTER COLUMN c TYPE DECIMAL(20, 2)")
    spark.sql(f"INSERT INTO {name} VALUES (4, 5000000000, 0.1d, 123456789012345.67, 'g4', 'n4', 's4')")
    spark.sql(f"ALTER TABLE {name} DROP COLUMN gone")
    spark.sql(f"ALTER TABLE {name} RENAME COLUMN old_name TO new_name")
    spark.sql(f"ALTER TABLE {name} DROP COLUMN same")
    spark.sql(f"INSERT INTO {name} VALUES (5, 50, 5.5d, 5.00, 'n5')")
    spark.sql(f"ALTER TABLE {name} ADD COLUMN same INT")
    spark.sql(f"ALTER TABLE {name} ADD COLUMN first_now DATE FIRST")
    spark.sql(f"ALTER TABLE {name} ALTER COLUMN a AFTER new_name")
    spark.sql(f"INSERT INTO {name} VALUES (DATE '2024-01-01', 6, 6.5d, 6.00, 'n6', 60, 600)")
    # Two columns swap their names.
    spark.sql(f"ALTER TABLE {name} RENAME COLUMN b TO tmp")
    spark.sql(f"ALTER TABLE {name} RENAME COLUMN c TO b")
    spark.sql(f"ALTER TABLE {name} RENAME COLUMN tmp TO c")
    spark.sql(f"INSERT INTO {name} VALUES (DATE '2024-01-02', 7, 7.5d, 7.00, 'n7', 70, 700)")


@table
def nested_evolved(spark, name):
    """fields added, dropped, renamed, promoted and added again inside structs, list elements and map values"""
    spark.sql(f"""CREATE TABLE {name} (id INT, s STRUCT<a: INT, b: STRING, c: FLOAT>, l ARRAY<STRUCT<x: INT, y: STRING>>,
        m MAP<STRING, STRUCT<p: INT, q: STRING>>) USING iceberg TBLPROPERTIES ({properties(2)})""")
    spark.sql(f"""INSERT INTO {name} VALUES (1, struct(1, 'b1', 1.5f), array(struct(1, 'y1'), NULL), map('k', struct(1, 'q1'))),
        (2, NULL, NULL, NULL), (3, struct(NULL, NULL, NULL), array(), map())""")
    for change in [
        "RENAME COLUMN s.a TO aa",
        "DROP COLUMN s.b",
        "ALTER COLUMN s.c TYPE DOUBLE",
        "ADD COLUMN s.d DATE FIRST",
        "ALTER COLUMN l.element.x TYPE BIGINT",
        "RENAME COLUMN l.element.y TO yy",
        "ADD COLUMN l.element.z STRING",
        "DROP COLUMN m.value.q",
        "ADD COLUMN m.value.r ARRAY<INT>",
    ]:
        spark.sql(f"ALTER TABLE {name} {change}")
    spark.sql(f"""INSERT INTO {name} VALUES (4, struct(DATE '2024-01-01', 4, 4.25d), array(struct(5000000000L, 'yy4', 'z4')),
        map('k', struct(4, array(4, NULL))))""")
    spark.sql(f"ALTER TABLE {name} ADD COLUMN s.b STRUCT<deep: INT>")
    spark.sql(f"ALTER TABLE {name} RENAME COLUMN m.value.p TO q")
    spark.sql(f"""INSERT INTO {name} VALUES (5, struct(NULL, 5, NULL, struct(55)), array(), map('a', struct(5, NULL), 'b', NULL)),
        (6, struct(NULL, 6, 6.5d, NULL), NULL, map())""")


SPECIAL = ["a/b", "x=y", "100%", "", "a b", "ä☃", "null", "a+b", "a&b?c#d", ".", "..", "a%2Fb", "__HIVE_DEFAULT_PARTITION__", "'q\""]


@table
def special_paths(spark, name):
    """partition values that a path must escape: slashes, percent signs, blanks, dots, the empty string, NULL"""
    spark.sql(f"""CREATE TABLE {name} (id INT, `part key` STRING) USING iceberg PARTITIONED BY (`part key`)
        TBLPROPERTIES ({properties(2)})""")
    rows = [(i, value) for i, value in enumerate(SPECIAL)] + [(99, None)]
    spark.createDataFrame(rows, "id INT, `part key` STRING").writeTo(f"lake.{name}").append()


@table
def identity_partitions(spark, name):
    """partitioned by the plain value of columns of every type, NULL and negative values among them"""
    spark.sql(f"""CREATE TABLE {name} (id INT, flag BOOLEAN, small INT, big BIGINT, cents DECIMAL(9, 2), day DATE, at TIMESTAMP,
        wall TIMESTAMP_NTZ, name STRING, raw BINARY) USING iceberg
        PARTITIONED BY (flag, small, big, cents, day, at, wall, name, raw) TBLPROPERTIES ({properties(2)})""")
    spark.sql(f"""INSERT INTO {name} VALUES
        (1, true, -1, -5000000000, -1.50, DATE '1969-12-31', TIMESTAMP '1969-12-31 23:59:59.5Z', TIMESTAMP_NTZ '2024-01-01 00:00:00.000001', 'x', X'00FF'),
        (2, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL),
        (3, false, 7, 7, 7.00, DATE '2024-02-29', TIMESTAMP '2024-02-29 12:00:00Z', TIMESTAMP_NTZ '2024-02-29 12:00:00', 'y z', X''),
        (4, false, 7, 7, 7.00, DATE '2024-02-29', TIMESTAMP '2024-02-29 12:00:00Z', TIMESTAMP_NTZ '2024-02-29 12:00:00', 'y z', X'')""")


@table
def transforms(spark, name):
    """one partition spec with bucket, truncate, year, month, day and hour over dates and times before and after 1970"""
    spark.sql(f"""CREATE TABLE {name} (id INT, key BIGINT, name STRING, n INT, y DATE, m DATE, d TIMESTAMP, h TIMESTAMP_NTZ)
        USING iceberg PARTITIONED BY (bucket(4, key), truncate(2, name), truncate(10, n), years(y), months(m), days(d), hours(h))
        TBLPROPERTIES ({properties(2)})""")
    spark.sql(f"""INSERT INTO {name} SELECT id, CASE WHEN id % 11 = 0 THEN NULL ELSE id * 7919 END,
        CASE WHEN id % 13 = 0 THEN NULL ELSE element_at(array('☃☃☃', 'ab', 'abc', 'a', '', 'zz top'), cast(id % 6 + 1 AS INT)) END,
        cast(id * 5 - 60 AS INT), DATE '1968-06-01' + cast(id * 60 AS INT), DATE '1969-11-15' + cast(id * 7 AS INT),
        TIMESTAMP '1969-12-31 12:00:00Z' + make_dt_interval(0, cast(id * 5 AS INT)),
        TIMESTAMP_NTZ '1969-12-31 23:30:00' + make_dt_interval(0, 0, cast(id * 7 AS INT), 0.000001) FROM range(0, 24)""")


def evolve_partitions(spark, name, version):
    spark.sql(f"CREATE TABLE {name} (id INT, name STRING, at TIMESTAMP) USING iceberg TBLPROPERTIES ({properties(version)})")

    def insert(begin):
        spark.sql(f"""INSERT INTO {name} SELECT cast(id AS INT), CASE WHEN id % 5 = 0 THEN NULL ELSE concat('name ', id % 4) END,
            TIMESTAMP '2023-12-30 20:00:00Z' + make_dt_interval(0, cast(id * 11 AS INT)) FROM range({begin}, {begin} + 12)""")

    insert(0)
    for begin, change in enumerate(
        [
            "ADD PARTITION FIELD bucket(3, id)",
            "ADD PARTITION FIELD name",
            "DROP PARTITION FIELD bucket(3, id)",
            "ADD PARTITION FIELD months(at)",
            "REPLACE PARTITION FIELD months(at) WITH days(at)",
            "DROP PARTITION FIELD name",
            "ADD PARTITION FIELD truncate(6, name)",
        ],
        1,
    ):
        spark.sql(f"ALTER TABLE {name} {change}")
        insert(begin * 12)
    spark.sql(f"ALTER TABLE {name} RENAME COLUMN name TO label")
    insert(96)


@table
def partitions_evolved_v1(spark, name):
    """eight partition specs one after the other; format 1 keeps dropped fields as `void`"""
    evolve_partitions(spark, name, 1)


@table
def partitions_evolved_v2(spark, name):
    """the same in format 2"""
    evolve_partitions(spark, name, 2)


@table
def partition_source_dropped(spark, name):
    """a column that old files are partitioned by, dropped from the table"""
    spark.sql(f"""CREATE TABLE {name} (id INT, region STRING, n INT) USING iceberg PARTITIONED BY (region)
        TBLPROPERTIES ({properties(2)})""")
    spark.sql(f"INSERT INTO {name} VALUES (1, 'eu', 1), (2, 'us', 2), (3, NULL, 3)")
    spark.sql(f"ALTER TABLE {name} DROP PARTITION FIELD region")
    spark.sql(f"INSERT INTO {name} VALUES (4, 'eu', 4)")
    spark.sql(f"ALTER TABLE {name} DROP COLUMN region")
    spark.sql(f"INSERT INTO {name} VALUES (5, 5)")


def changed(spark, name, version, **more):
    """Five appends with many row groups, then deletes, updates and a merge."""
    small = {"write__parquet__row_group_size_bytes": 2048, "write__parquet__row_group_check_min_record_count": 10,
             "write__parquet__row_group_check_max_record_count": 20, "write__parquet__page_row_limit": 8}
    spark.sql(f"""CREATE TABLE {name} (id INT, part STRING, n BIGINT, note STRING) USING iceberg PARTITIONED BY (part)
        TBLPROPERTIES ({properties(version, **MERGE_ON_READ, **small, **more)})""")
    for begin in range(0, 250, 50):
        spark.sql(f"""INSERT INTO {name} SELECT cast(id AS INT), CASE id % 3 WHEN 0 THEN 'a' WHEN 1 THEN 'b' END, id * id,
            concat('note ', sha2(cast(id AS STRING), 256)) FROM range({begin}, {begin} + 50)""")
    spark.sql(f"DELETE FROM {name} WHERE id % 7 = 3")
    spark.sql(f"UPDATE {name} SET n = -n, part = 'c' WHERE id BETWEEN 40 AND 60")
    spark.sql(f"DELETE FROM {name} WHERE part IS NULL AND id > 200")
    spark.sql(f"""MERGE INTO {name} t USING (SELECT cast(id AS INT) AS id FROM range(240, 260)) s ON t.id = s.id
        WHEN MATCHED AND s.id % 2 = 0 THEN DELETE WHEN MATCHED THEN UPDATE SET note = 'merged'
        WHEN NOT MATCHED THEN INSERT (id, part, n, note) VALUES (s.id, 'new', 0, NULL)""")
    spark.sql(f"DELETE FROM {name} WHERE id < 5")


@table
def position_deletes(spark, name):
    """format 2, merge on read: positions deleted, one delete file for many data files; several row groups a file"""
    changed(spark, name, 2, write__delete__granularity="partition")


@table
def position_deletes_by_file(spark, name):
    """the same with one delete file for one data file"""
    changed(spark, name, 2, write__delete__granularity="file")


@table
def deletion_vectors(spark, name):
    """the same changes in format 3, as deletion vectors in Puffin files"""
    changed(spark, name, 3)


@table
def upgraded(spark, name):
    """position deletes in format 2, then format 3 and deletion vectors over them; files of both kinds are current"""
    changed(spark, name, 2, write__delete__granularity="partition")
    spark.sql(f"ALTER TABLE {name} SET TBLPROPERTIES ('format-version'='3')")
    spark.sql(f"DELETE FROM {name} WHERE id % 10 = 1 AND part = 'a'")
    spark.sql(f"INSERT INTO {name} SELECT cast(id AS INT), 'v3', id, 'late' FROM range(300, 340)")
    spark.sql(f"DELETE FROM {name} WHERE id IN (301, 302, 339)")


@table
def copy_on_write(spark, name):
    """deletes, updates and overwrites that write files anew; manifests rewritten"""
    spark.sql(f"""CREATE TABLE {name} (id INT, part STRING, n BIGINT) USING iceberg PARTITIONED BY (part)
        TBLPROPERTIES ({properties(2)})""")
    for begin in range(0, 60, 20):
        spark.sql(f"INSERT INTO {name} SELECT cast(id AS INT), concat('p', id % 3), id FROM range({begin}, {begin} + 20)")
    spark.sql(f"DELETE FROM {name} WHERE id % 4 = 1")
    spark.sql(f"UPDATE {name} SET n = n + 1000 WHERE id > 50")
    spark.sql(f"CALL lake.system.rewrite_manifests('{name}')")
    spark.sql(f"INSERT OVERWRITE {name} PARTITION (part = 'p2') SELECT cast(id AS INT), id FROM range(100, 105)")
    spark.sql(f"DELETE FROM {name} WHERE part = 'p0'")


@table
def emptied(spark, name):
    """all rows deleted: no data file is current"""
    spark.sql(f"CREATE TABLE {name} (id INT, name STRING) USING iceberg TBLPROPERTIES ({properties(2)})")
    spark.sql(f"INSERT INTO {name} VALUES (1, 'a'), (2, 'b')")
    spark.sql(f"DELETE FROM {name}")


@table
def never_written(spark, name):
    """no snapshot at all"""
    spark.sql(f"CREATE TABLE {name} (id INT, name STRING) USING iceberg TBLPROPERTIES ({properties(2)})")


@table
def row_lineage(spark, name):
    """format 3 with rows updated and merged, so that row ids and sequence numbers are kept in files and inherited"""
    spark.sql(f"CREATE TABLE {name} (id INT, n INT) USING iceberg TBLPROPERTIES ({properties(3)})")
    spark.sql(f"INSERT INTO {name} SELECT cast(id AS INT), 0 FROM range(0, 20)")
    spark.sql(f"INSERT INTO {name} SELECT cast(id AS INT), 0 FROM range(20, 40)")
    spark.sql(f"UPDATE {name} SET n = 1 WHERE id % 6 = 0")
    spark.sql(f"DELETE FROM {name} WHERE id IN (3, 23)")
    spark.sql(f"CALL lake.system.rewrite_data_files(table => '{name}', options => map('rewrite-all', 'true'))")
    spark.sql(f"INSERT INTO {name} VALUES (40, 2), (41, 2)")


@table
def branches_and_tags(spark, name):
    """three snapshots on main, two tags, a branch of its own with another row and an older schema on a tag"""
    spark.sql(f"CREATE TABLE {name} (id INT, name STRING) USING iceberg TBLPROPERTIES ({properties(2)})")
    spark.sql(f"INSERT INTO {name} VALUES (1, 'one')")
    spark.sql(f"ALTER TABLE {name} CREATE TAG first")
    spark.sql(f"INSERT INTO {name} VALUES (2, 'two')")
    spark.sql(f"ALTER TABLE {name} CREATE BRANCH side")
    spark.sql(f"INSERT INTO {name}.branch_side VALUES (100, 'side')")
    spark.sql(f"ALTER TABLE {name} ADD COLUMN extra INT")
    spark.sql(f"ALTER TABLE {name} RENAME COLUMN name TO label")
    spark.sql(f"INSERT INTO {name} VALUES (3, 'three', 33)")
    spark.sql(f"ALTER TABLE {name} CREATE TAG `release 1.0`")
    spark.sql(f"DELETE FROM {name} WHERE id = 1")


@table
def rolled_back(spark, name):
    """the current snapshot is older than the newest"""
    spark.sql(f"CREATE TABLE {name} (id INT) USING iceberg TBLPROPERTIES ({properties(2)})")
    spark.sql(f"INSERT INTO {name} VALUES (1)")
    first = spark.sql(f"SELECT snapshot_id FROM {name}.snapshots").first()[0]
    spark.sql(f"INSERT INTO {name} VALUES (2)")
    spark.sql(f"CALL lake.system.rollback_to_snapshot('{name}', {first})")


@table
def sorted_rows(spark, name):
    """a table with a write order: files are sorted within themselves and say so"""
    spark.sql(f"CREATE TABLE {name} (id INT, name STRING, n DOUBLE) USING iceberg TBLPROPERTIES ({properties(2)})")
    spark.sql(f"ALTER TABLE {name} WRITE ORDERED BY name DESC NULLS FIRST, id")
    for begin in (0, 60):
        spark.sql(f"""INSERT INTO {name} SELECT cast(id AS INT), CASE WHEN id % 9 = 0 THEN NULL ELSE concat('n', id * 37 % 50) END,
            id / 3d FROM range({begin}, {begin} + 60)""")


@table
def codecs(spark, name):
    """one file of each compression that Spark has"""
    spark.sql(f"CREATE TABLE {name} (codec STRING, id INT, text STRING) USING iceberg TBLPROPERTIES ({properties(2)})")
    for codec in ["zstd", "snappy", "gzip", "lz4", "uncompressed"]:
        spark.sql(f"ALTER TABLE {name} SET TBLPROPERTIES ('write.parquet.compression-codec'='{codec}')")
        spark.sql(f"""INSERT INTO {name} SELECT /*+ COALESCE(1) */ '{codec}', cast(id AS INT), repeat(concat('text ', id % 3), 20)
            FROM range(0, 50)""")


@table
def gzip_metadata(spark, name):
    """metadata files compressed with gzip"""
    spark.sql(f"""CREATE TABLE {name} (id INT, name STRING) USING iceberg
        TBLPROPERTIES ({properties(2, write__metadata__compression_codec='gzip')})""")
    spark.sql(f"INSERT INTO {name} VALUES (1, 'a'), (2, NULL)")


@table
def bloom_filters(spark, name):
    """bloom filters, many row groups, small pages, with and without a dictionary"""
    spark.sql(f"""CREATE TABLE {name} (id BIGINT, key STRING, word STRING, x DOUBLE) USING iceberg TBLPROPERTIES ({properties(2,
        write__parquet__row_group_size_bytes=4096, write__parquet__row_group_check_min_record_count=20,
        write__parquet__row_group_check_max_record_count=40, write__parquet__page_row_limit=10,
        write__parquet__dict_size_bytes=256)},
        'write.parquet.bloom-filter-max-bytes'='1024', 'write.parquet.bloom-filter-enabled.column.key'='true', 'write.parquet.bloom-filter-enabled.column.id'='true')""")
    spark.sql(f"""INSERT INTO {name} SELECT /*+ COALESCE(1) */ id * 1000003 % 999983, sha2(cast(id AS STRING), 256),
        element_at(array('red', 'green', 'blue'), cast(id % 3 + 1 AS INT)), id / 7d FROM range(0, 500)""")


@table
def metrics_modes(spark, name):
    """columns whose bounds are cut short, only counted, or not kept at all"""
    spark.sql(f"""CREATE TABLE {name} (full STRING, cut STRING, counted INT, none INT, raw BINARY) USING iceberg
        TBLPROPERTIES ({properties(2)}, 'write.metadata.metrics.default'='truncate(4)',
        'write.metadata.metrics.column.full'='full', 'write.metadata.metrics.column.counted'='counts',
        'write.metadata.metrics.column.none'='none')""")
    for begin in (0, 30):
        spark.sql(f"""INSERT INTO {name} SELECT concat('prefix ', id), concat('prefix ', id), cast(id AS INT), cast(id AS INT),
            unhex('FFFFFFFFFF') FROM range({begin}, {begin} + 30)""")
    spark.sql(f"INSERT INTO {name} VALUES ('\U0010ffff\U0010ffff\U0010ffff\U0010ffff\U0010ffff', '\U0010ffff\U0010ffff\U0010ffff\U0010ffff\U0010ffff', NULL, NULL, NULL)")


@table
def object_store_layout(spark, name):
    """data files under hashed paths"""
    spark.sql(f"""CREATE TABLE {name} (id INT, part STRING) USING iceberg PARTITIONED BY (part)
        TBLPROPERTIES ({properties(2, write__object_storage__enabled='true')})""")
    spark.sql(f"INSERT INTO {name} VALUES (1, 'a'), (2, 'b'), (3, NULL)")


@table
def odd_names(spark, name):
    """column names with blanks, dots, quotes, dollars, capitals and other alphabets"""
    spark.sql(f"""CREATE TABLE {name} (id INT, `two words` STRING, `a.b` INT, `Upper` INT, `größe` INT, `1st` INT, `pay$` INT)
        USING iceberg TBLPROPERTIES ({properties(2)})""")
    spark.sql(f"INSERT INTO {name} VALUES (1, 'x', 2, 3, 4, 5, 6), (2, NULL, NULL, NULL, NULL, NULL, NULL)")


@table
def required_columns(spark, name):
    """columns that may not be NULL, one of them relaxed later; a required field in an optional struct"""
    spark.sql(f"""CREATE TABLE {name} (id INT NOT NULL, was STRING NOT NULL, s STRUCT<a: INT NOT NULL, b: STRING>)
        USING iceberg TBLPROPERTIES ({properties(2)})""")
    spark.sql(f"INSERT INTO {name} VALUES (1, 'a', named_struct('a', 1, 'b', NULL)), (2, 'b', NULL)")
    spark.sql(f"ALTER TABLE {name} ALTER COLUMN was DROP NOT NULL")
    spark.sql(f"INSERT INTO {name} VALUES (3, NULL, named_struct('a', 3, 'b', 'x'))")


@table
def variant(spark, name):
    """a variant column, which cannot be read, among columns that can"""
    spark.sql(f"CREATE TABLE {name} (id INT, v VARIANT, name STRING) USING iceberg TBLPROPERTIES ({properties(3)})")
    spark.sql(f"""INSERT INTO {name} SELECT 1, parse_json('{{"a": [1, 2]}}'), 'one' UNION ALL SELECT 2, NULL, 'two'
        UNION ALL SELECT 3, parse_json('"text"'), NULL""")


@table
def orc_files(spark, name):
    """ORC data files, which are refused"""
    spark.sql(f"CREATE TABLE {name} (id INT, name STRING) USING iceberg TBLPROPERTIES ({properties(2, write__format__default='orc')})")
    spark.sql(f"INSERT INTO {name} VALUES (1, 'a')")


@table
def avro_files(spark, name):
    """one Avro data file beside one Parquet file, which is refused"""
    spark.sql(f"CREATE TABLE {name} (id INT, name STRING) USING iceberg TBLPROPERTIES ({properties(2)})")
    spark.sql(f"INSERT INTO {name} VALUES (1, 'a')")
    spark.sql(f"ALTER TABLE {name} SET TBLPROPERTIES ('write.format.default'='avro')")
    spark.sql(f"INSERT INTO {name} VALUES (2, 'b')")


def main(only=()):
    spark = session()
    spark.sql("CREATE NAMESPACE IF NOT EXISTS spark")
    for write in TABLES:
        if only and write.__name__ not in only:
            continue
        print(write.__name__, flush=True)
        spark.sql(f"DROP TABLE IF EXISTS spark.{write.__name__}")
        write(spark, f"spark.{write.__name__}")
    return spark


if __name__ == "__main__":
    import sys

    main(sys.argv[1:])
