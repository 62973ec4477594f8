//! Random histories of a table, against a reader that keeps its rows in a list.
//!
//! ```text
//! seed -> evolve | repartition | append | delete by position, vector, key | upgrade, again and again
//!      -> queries over the scan   ==   the same queries over the list, in the most naive way
//! ```
//!
//! What the list says of a row follows from the schema of today and from what was deleted after the row came; it knows
//! nothing of files, bounds or partitions, but which rows came together. A failure tells the seed and its history.
//! `POLDER_HISTORIES=500` goes through that many, and `POLDER_HISTORIES=137..138` through one of them again.

use serde_json::{Map, Value, json};

use super::commit::Files;
use super::model::{F, K, Model, NAMES, as_json, bytes, leaves, of_iceberg, real, row, shown};
use super::*;
use crate::scan::codec::tests::round_trips;
use crate::scan::lineage::{LAST_UPDATED, ROW_ID};

mod forms;
mod predicate;
mod reference;
mod writer;

use predicate::Predicate;
use reference::{Keys, Reference};
use writer::History;

/// How many histories a plain run goes through.
const HISTORIES: u64 = 8;
/// How many predicates are asked about at a time.
const QUERIES: usize = 2;
/// How many steps each of them has.
const STEPS: usize = 14;

fn seeds() -> std::ops::Range<u64> {
    let Ok(asked) = std::env::var("POLDER_HISTORIES") else { return 0..HISTORIES };
    match asked.split_once("..") {
        Some((first, end)) => first.parse().unwrap()..end.parse().unwrap(),
        None => 0..asked.parse().unwrap(),
    }
}

#[tokio::test]
async fn whatever_happened_to_a_table_it_reads_as_the_naive_reader_says() {
    for seed in seeds() {
        let shop = shop().await;
        let mut history = History::begin(&shop, seed).await;
        for step in 0..STEPS {
            history.step().await;
            if step % 3 == 1 || step + 1 == STEPS {
                check(&shop, &mut history).await;
            }
        }
    }
}

/// Some queries with some settings.
async fn check(shop: &Shop, history: &mut History<'_>) {
    let fields = history.fields.clone();
    for _ in 0..QUERIES {
        let snapshots = history.reference.commits();
        let now = history.model.chance.below(4) > 0;
        let upto = if now { snapshots } else { 1 + history.model.chance.below(snapshots as usize) as i64 };
        let all = history.reference.shown(&fields, upto);
        let mut some: Vec<F> = fields.clone();
        let by = history.model.chance.below(some.len());
        some.rotate_left(by);
        let mut paths = Vec::new();
        leaves(&fields, &[], &mut paths);
        let predicate = Predicate::draw(&mut history.model, &fields, &paths, &all, 0);
        let expect: Vec<&Value> = all.iter().filter(|row| predicate.holds(row) == Some(true)).collect();
        let columns: Vec<(&str, i32)> = some.iter().map(|field| (field.name.as_str(), field.id)).collect();
        let with_lineage = || columns.iter().copied().chain([("_row_id", ROW_ID), ("_changed", LAST_UPDATED)]);
        let snapshot = history.reference.snapshot(upto);
        let (path, _) = &paths[history.model.chance.below(paths.len())];
        let other = &fields[history.model.chance.below(fields.len())].name;
        let (asked, condition) = (predicate::sql(path), predicate.sql());
        let limit = 1 + history.model.chance.below(20);
        history.says(format!("-- at {upto}, {} of {} rows: {condition}", expect.len(), all.len()));
        let context = context_with(shop, drawn(&mut history.model.chance));
        let asked_for = with_lineage().map(|(name, id)| column(name, id)).collect();
        let scan = IcebergScan::pin(shop.open("t").await, asked_for, Some(snapshot)).await;
        context.register_table("t", scan.unwrap()).unwrap();
        let query = async |sql: String| {
            let got = context.sql(&sql).await.unwrap().collect().await;
            as_json(&got.unwrap_or_else(|error| panic!("{sql}: {error}")))
        };
        let shown: Vec<String> = columns.iter().map(|(name, _)| format!("\"{name}\"")).collect();
        let sql = format!("SELECT {} FROM t WHERE {condition}", shown.join(", "));
        assert_eq!(multiset(query(sql.clone()).await), multiset(expect.iter().copied().cloned()), "{sql}");

        let sql = format!("SELECT {asked} AS x, t.\"{other}\" AS y FROM t WHERE {condition}");
        let pair = |row: &&Value| json!({"x": predicate::at(row, path), "y": row[other.as_str()]});
        let pairs = multiset(expect.iter().map(pair));
        assert_eq!(multiset(query(sql.clone()).await), pairs, "{sql}");
        let some = multiset(query(format!("{sql} LIMIT {limit}")).await);
        assert_eq!(some.len(), pairs.len().min(limit), "{sql} LIMIT {limit}");
        assert!(some.iter().all(|row| pairs.binary_search(row).is_ok()), "{sql} LIMIT {limit}");

        let sql = format!("SELECT count(*) AS c, count({asked}) AS x, min(n) AS l, max(n) AS h FROM t");
        for (sql, rows) in [(format!("{sql} WHERE {condition}"), expect.clone()), (sql, all.iter().collect())] {
            let known = rows.iter().filter(|row| !predicate::at(row, path).is_null()).count();
            let numbers = || rows.iter().filter_map(|row| row["n"].as_i64());
            let answer = json!([{"c": rows.len(), "x": known, "l": numbers().min(), "h": numbers().max()}]);
            assert_eq!(Value::from(query(sql.clone()).await), answer, "{sql}");
        }

        let sql = format!("SELECT n, _row_id, _changed FROM t WHERE {condition}");
        let lineage =
            all.iter().zip(history.reference.lineage(upto)).filter(|(row, _)| predicate.holds(row) == Some(true));
        let lineage = lineage.map(|(row, (id, at))| json!({"n": row["n"], "_row_id": id, "_changed": at}));
        if history.keeps_track() {
            assert_eq!(multiset(query(sql.clone()).await), multiset(lineage), "{sql}");
        }

        let sql = format!("SELECT n FROM t WHERE {condition} ORDER BY n DESC LIMIT 5");
        let mut numbers: Vec<i64> = expect.iter().filter_map(|row| row["n"].as_i64()).collect();
        numbers.sort_by_key(|n| -n);
        let top: Vec<Value> = numbers.iter().take(5).map(|n| json!({"n": n})).collect();
        assert_eq!(query(sql.clone()).await, top, "{sql}");

        if now {
            let sql = format!("SELECT {asked} AS x, n FROM t WHERE {condition} ORDER BY n");
            round_trips(shop, &columns, &sql).await;
        }
    }
}

fn multiset(rows: impl IntoIterator<Item = Value>) -> Vec<String> {
    let text = |mut row: Value| {
        row.sort_all_objects();
        row.to_string()
    };
    let mut rows: Vec<String> = rows.into_iter().map(text).collect();
    rows.sort();
    rows
}

fn drawn(chance: &mut Chance) -> SessionConfig {
    let late = chance.below(2) == 0;
    let mut config = settings(late).with_target_partitions(1 + chance.below(3)).with_batch_size(1 + chance.below(30));
    config.options_mut().optimizer.repartition_file_min_size = 1 + chance.below(2000);
    config.options_mut().optimizer.enable_topk_dynamic_filter_pushdown = chance.below(2) == 0;
    config.options_mut().execution.parquet.reorder_filters = chance.below(2) == 0;
    config.options_mut().execution.parquet.force_filter_selections = chance.below(4) == 0;
    config
}
