//! What the tables of other writers have beyond their newest rows: branches and tags, row lineage, bloom filters, columns
//! that cannot be read, and equality deletes by columns that a principal may not see.

use std::fs;
use std::ops::Range;

use parquet::file::reader::{FileReader, SerializedFileReader};
use polder::error::Class;
use serde_json::{Value, json};

use crate::s3::Requests;
use crate::tables::{Expected, KEYS, Tables, quoted, tables, tests};

const GUEST: &str = "guest";

fn sorted(rows: impl IntoIterator<Item = Value>) -> Vec<String> {
    let mut rows: Vec<String> = rows.into_iter().map(|row| row.to_string()).collect();
    rows.sort();
    rows
}

#[test]
fn branches_and_tags_of_spark_read_their_snapshots() {
    let label = |id: i64, label: &str, extra: Option<i64>| json!({ "id": id, "label": label, "extra": extra });
    let (one, two) = (label(1, "one", None), label(2, "two", None));
    let three = label(3, "three", Some(33));
    for (version, expect) in [
        ("", vec![two.clone(), three.clone()]),
        ("AT(REF => 'main')", vec![two.clone(), three.clone()]),
        ("AT(REF => 'release 1.0')", vec![one.clone(), two.clone(), three]),
        // Older rows under today's names.
        ("AT(REF => 'first')", vec![one.clone()]),
        ("AT(REF => 'side')", vec![one, two, label(100, "side", None)]),
    ] {
        let sql = format!("SELECT id, label, extra FROM spark.branches_and_tags {version}");
        assert_eq!(tables().rows(GUEST, &sql), sorted(expect), "{version}");
    }
    let refs = "SELECT name, type FROM spark.\"branches_and_tags$refs\"";
    let named = |name: &str, kind: &str| json!({ "name": name, "type": kind });
    let all = [named("first", "TAG"), named("main", "BRANCH"), named("release 1.0", "TAG"), named("side", "BRANCH")];
    assert_eq!(tables().rows(GUEST, refs), sorted(all));
    let error = tables().ask(GUEST, "SELECT * FROM spark.branches_and_tags AT(REF => 'Side')").unwrap_err();
    assert_eq!(error.class, Class::UnknownName, "{error}");
}

#[test]
fn branches_and_tags_of_pyiceberg_read_their_snapshots() {
    let count = |version: &str| {
        let sql = format!("SELECT count(*) AS n FROM pyiceberg.tagged {version}");
        tables().rows(GUEST, &sql)
    };
    let n = |n: i64| sorted([json!({ "n": n })]);
    assert_eq!(count(""), n(5));
    assert_eq!(count("AT(REF => 'first')"), n(3));
    assert_eq!(count("AT(REF => 'side')"), n(3));
}

/// The ids of a table's snapshots, the oldest first.
fn snapshots(table: &str) -> Vec<i64> {
    let sql = format!("SELECT sequence_number AS a, snapshot_id AS b FROM spark.\"{table}$snapshots\"");
    let mut found: Vec<(i64, i64)> = tables()
        .rows(GUEST, &sql)
        .iter()
        .map(|row| serde_json::from_str::<Value>(row).unwrap())
        .map(|row| (row["a"].as_i64().unwrap(), row["b"].as_i64().unwrap()))
        .collect();
    found.sort_unstable();
    found.into_iter().map(|(_, id)| id).collect()
}

#[test]
fn what_was_rolled_back_is_still_there_by_its_snapshot() {
    let ids = |version: &str| tables().rows(GUEST, &format!("SELECT id FROM spark.rolled_back {version}"));
    let [first, undone] = snapshots("rolled_back")[..] else { panic!("two snapshots") };
    assert_eq!(ids(""), sorted([json!({ "id": 1 })]));
    assert_eq!(ids(&format!("VERSION AS OF {first}")), sorted([json!({ "id": 1 })]));
    assert_eq!(ids(&format!("VERSION AS OF {undone}")), sorted([json!({ "id": 1 }), json!({ "id": 2 })]));
}

#[test]
fn rows_keep_their_ids_through_updates_and_rewrites() {
    // As DuckDB reads them. The ids are those of the first writing, though every row was rewritten since; the last two rows
    // came after that.
    let lineage = |id: i64| {
        let (n, row, changed) = match id {
            40.. => (2, id + 116, 6),
            _ if id % 6 == 0 => (1, id, 3),
            20.. => (0, id, 2),
            _ => (0, id, 1),
        };
        json!({ "id": id, "n": n, "_row_id": row, "_last_updated_sequence_number": changed })
    };
    let expect = (0..42).filter(|id| ![3, 23].contains(id)).map(lineage);
    let sql = "SELECT id, n, _row_id, _last_updated_sequence_number FROM spark.row_lineage_ids";
    assert_eq!(tables().rows(GUEST, sql), sorted(expect));
    let ids = |filter: &str| tables().rows(GUEST, &format!("SELECT id FROM spark.row_lineage_ids WHERE {filter}"));
    assert_eq!(ids("_row_id = 156"), sorted([json!({ "id": 40 })]));
    assert_eq!(ids("_last_updated_sequence_number = 6"), sorted([json!({ "id": 40 }), json!({ "id": 41 })]));
    assert_eq!(ids("_row_id > 1000"), sorted([]));
    // Before the updates, and before the last rows.
    let [first, second, ..] = snapshots("row_lineage")[..] else { panic!("six snapshots") };
    for (snapshot, most, changed) in [(first, 19, 1), (second, 39, 2)] {
        let sql = format!(
            "SELECT count(DISTINCT _row_id) AS n, max(_row_id) AS most, max(_last_updated_sequence_number) AS changed \
             FROM spark.row_lineage_ids VERSION AS OF {snapshot}"
        );
        let expect = json!({ "n": most + 1, "most": most, "changed": changed });
        assert_eq!(tables().rows(GUEST, &sql), sorted([expect]));
    }
}

#[test]
fn a_column_that_cannot_be_read_leaves_the_others_alone() {
    let tables = tables();
    for (table, column, kind) in [("spark.variant", "v", "variant"), ("java.unreadable_types", "shape", "geometry")] {
        for sql in [
            format!("SELECT {column} FROM {table}"),
            format!("SELECT id FROM {table} WHERE {column} IS NULL"),
            format!("SELECT count({column}) FROM {table}"),
        ] {
            let error = tables.ask(GUEST, &sql).unwrap_err();
            assert_eq!(error.class, Class::Drift, "{sql}: {error}");
            let (_, name) = table.split_once('.').unwrap();
            assert!(error.message.contains(&format!("`{column}`")), "{sql}: {error}");
            assert!(error.message.contains(name) && error.message.contains(kind), "{sql}: {error}");
        }
    }
    let names = tables.rows(GUEST, "SELECT name FROM spark.variant WHERE id <> 2");
    assert_eq!(names, sorted([json!({ "name": "one" }), json!({ "name": null })]));
    assert_eq!(tables.rows(GUEST, "SELECT count(*) AS n FROM spark.variant"), sorted([json!({ "n": 3 })]));
}

/// The bytes of a file's column chunks.
fn data_ranges(table: &str) -> Vec<Range<u64>> {
    let dir = tests().join("data").join(table).join("data");
    let [file] = &fs::read_dir(dir).unwrap().map(Result::unwrap).collect::<Vec<_>>()[..] else { panic!("one file") };
    let reader = SerializedFileReader::new(fs::File::open(file.path()).unwrap()).unwrap();
    assert!(reader.metadata().num_row_groups() > 5);
    let chunks = reader.metadata().row_groups().iter().flat_map(|group| group.columns());
    chunks.map(|chunk| chunk.byte_range()).map(|(start, length)| start..start + length).collect()
}

#[test]
fn bloom_filters_keep_files_from_being_read() {
    let requests = Requests::default();
    let tables = Tables::start(&requests);
    let chunks = data_ranges("spark/bloom_filters");
    // How many column chunks a query reads when the file's end is known.
    let read = |filter: &str, expect: i64| {
        let sql = format!("SELECT count(x) AS n FROM spark.bloom_filters WHERE {filter}");
        tables.rows(GUEST, &sql);
        requests.take();
        assert_eq!(tables.rows(GUEST, &sql), sorted([json!({ "n": expect })]), "{sql}");
        let asked: Vec<Range<u64>> = requests.take().iter().filter_map(|request| request.bytes()).collect();
        assert!(!asked.is_empty(), "{sql}");
        let touches = |chunk: &&Range<u64>| asked.iter().any(|r| r.start < chunk.end && chunk.start < r.end);
        chunks.iter().filter(touches).count()
    };
    let absent = "8000000000000000000000000000000000000000000000000000000000000000";
    assert_eq!(read(&format!("key = '{absent}'"), 0), 0);
    // The bounds of the same value tell nothing, so that a filter that no bloom filter can decide reads.
    assert!(read(&format!("key >= '{absent}' AND key <= '{absent}0'"), 0) > 0);
    // The hash of `7` is in one row group, of which the key and `x` are read; a bloom filter may err.
    let present = "7902699be42c8a8e46fbbb4501726517e86b22c56a189f7625a6da49081b2451";
    let found = read(&format!("key = '{present}'"), 1);
    assert!((2..=4).contains(&found), "{found} column chunks");
}

#[test]
fn rows_are_deleted_by_keys_that_a_principal_may_not_see() {
    let tables = tables();
    for (table, keys) in KEYS {
        let mut expected = Expected::of("java", table);
        let from = format!("java.{table}");
        for row in &mut expected.rows {
            row.as_object_mut().unwrap().retain(|column, _| !keys.contains(&column.as_str()));
        }
        let others: Vec<String> =
            expected.columns.iter().filter(|c| !keys.contains(&c.as_str())).map(|c| quoted(c)).collect();
        let (schema, _) = tables.ask("outsider", &format!("SELECT * FROM {from}")).unwrap();
        let seen: Vec<&str> = schema.fields().iter().map(|field| field.name().as_str()).collect();
        assert!(!seen.is_empty() && keys.iter().all(|key| !seen.contains(key)), "{from}: {seen:?}");
        let count = sorted([json!({ "n": expected.rows.len() })]);
        assert_eq!(tables.rows("outsider", &format!("SELECT * FROM {from}")), sorted(expected.rows), "{from}");
        assert_eq!(tables.rows("outsider", &format!("SELECT count(*) AS n FROM {from}")), count, "{from}");
        let plan = tables.rows("outsider", &format!("EXPLAIN SELECT {} FROM {from}", others.join(", "))).join(" ");
        let words: Vec<&str> = plan.split(|c: char| !c.is_alphanumeric() && c != '_').collect();
        for key in keys {
            assert!(!words.contains(key), "{from}: {plan}");
            for sql in [format!("SELECT {key} FROM {from}"), format!("SELECT count(*) FROM {from} WHERE {key} IS NULL")]
            {
                let error = tables.ask("outsider", &sql).unwrap_err();
                assert_eq!(error.class, Class::Denied, "{sql}: {error}");
            }
        }
    }
}

#[test]
fn times_and_uuids_are_compared_with_what_sql_writes_for_them() {
    let id = |id: i64| sorted([json!({ "id": id })]);
    for (filter, expect) in [
        ("\"time\" = TIME '12:00:00.000001'", id(4)),
        ("TIME '12:00:00' < \"time\" AND \"time\" < TIME '13:00:00'", id(4)),
        ("\"key\" = 'f79c3e09-677c-4bbd-a479-3f349cb785e7'", id(4)),
        ("'F79C3E09677C4BBDA4793F349CB785E7' = \"key\"", id(4)),
        ("\"time\" = TIME '12:00:00.0000011'", Vec::new()),
    ] {
        let sql = format!("SELECT id FROM pyiceberg.primitives_v2 WHERE {filter}");
        assert_eq!(tables().rows(GUEST, &sql), expect, "{filter}");
    }
}
