//! Time and memory: what a query may not have, and what it does then.

use std::sync::Arc;
use std::time::{Duration, Instant};

use datafusion::arrow::array::AsArray;
use datafusion::arrow::datatypes::Int64Type;
use futures::{StreamExt, TryStreamExt};
use polder::error::{Class, Error};
use polder::flight::encode::{Encoder, Form};
use polder::packly::write_files;
use polder::session::{Engine, Options, Pins};
use polder_catalog::mesh::Mesh;

use crate::packly::packly;

/// An engine over Packly's files, without any tables.
fn engine(options: Options) -> Arc<Engine> {
    let dir = tempfile::tempdir().unwrap();
    write_files(dir.path()).unwrap();
    Engine::start(Mesh::load(dir.path()).unwrap(), Options { threads: Some(2), ..options }).unwrap()
}

async fn ask(engine: &Arc<Engine>, sql: &str) -> Result<Vec<i64>, Error> {
    let principal = engine.mesh().principal("guest").unwrap();
    let rows = engine.plan(&principal, sql, &Pins::new()).await?.run()?;
    let batches: Vec<_> = rows.try_collect().await?;
    Ok(batches.iter().flat_map(|batch| batch.column(0).as_primitive::<Int64Type>().values().to_vec()).collect())
}

#[test]
fn a_sort_larger_than_the_memory_spills_and_stays_right() {
    packly().block_on(async {
        let spill = tempfile::tempdir().unwrap();
        let options = Options { memory: 24 << 20, spill: Some(spill.path().to_owned()), ..Options::default() };
        let engine = engine(options);
        let sql = "SELECT a.x * 2000 + b.y AS z FROM unnest(range(0, 1500)) AS a(x) \
                   CROSS JOIN unnest(range(0, 2000)) AS b(y) ORDER BY -(a.x * 2000 + b.y)";
        let principal = engine.mesh().principal("guest").unwrap();
        let mut rows = engine.plan(&principal, sql, &Pins::new()).await.unwrap().run().unwrap();
        let mut next = 3_000_000;
        while let Some(batch) = rows.next().await {
            assert!(std::fs::read_dir(spill.path()).unwrap().next().is_some(), "it was spilled");
            for x in batch.unwrap().column(0).as_primitive::<Int64Type>().values() {
                next -= 1;
                assert_eq!(*x, next);
            }
        }
        assert_eq!(next, 0);
        drop(rows);
        assert_eq!(engine.memory_in_use(), 0);
    });
}

#[test]
fn what_cannot_spill_fails_alone_and_says_why() {
    packly().block_on(async {
        let engine = engine(Options { memory: 4 << 20, ..Options::default() });
        let sql =
            "SELECT count(*) FROM unnest(range(0, 500000)) AS a(x) JOIN unnest(range(0, 500000)) AS b(y) ON x = y";
        let error = ask(&engine, sql).await.unwrap_err();
        assert_eq!(error.class, Class::Limit, "{error}");
        assert!(error.message.contains("memory"), "{error}");
        assert_eq!(ask(&engine, "SELECT 1 + 1").await.unwrap(), [2]);
    });
}

#[test]
fn a_statement_ends_at_its_deadline_also_in_a_join_without_a_pause() {
    packly().block_on(async {
        let engine = engine(Options { timeout: Duration::from_secs(1), ..Options::default() });
        let sql = "SELECT count(*) FROM unnest(range(0, 300000)) AS a(x) CROSS JOIN unnest(range(0, 300000)) AS b(y) \
                   WHERE x + y = 7 OR x * y = 11";
        let begun = Instant::now();
        let error = ask(&engine, sql).await.unwrap_err();
        assert_eq!(error.class, Class::Limit, "{error}");
        assert!(error.message.contains("longer than 1 s"), "{error}");
        assert!(begun.elapsed() < Duration::from_secs(10), "{:?}", begun.elapsed());
        assert_eq!(ask(&engine, "SELECT 1 + 1").await.unwrap(), [2], "others go on");
    });
}

#[test]
fn killers_of_the_planner_are_refused_at_once() {
    packly().block_on(async {
        let engine = engine(Options::default());
        for sql in [
            format!("SELECT 1{}", " + 1".repeat(50_000)),
            format!("SELECT 1{}", "::INT".repeat(40_000)),
            format!("SELECT 1{}", " UNION ALL SELECT 1".repeat(12_000)),
            "SELECT array_repeat(1, 100000000000)".to_owned(),
            "SELECT repeat('x', 2000000000)".to_owned(),
        ] {
            let begun = Instant::now();
            assert_eq!(ask(&engine, &sql).await.unwrap_err().class, Class::Limit, "{}", &sql[..30]);
            assert!(begun.elapsed() < Duration::from_secs(5));
        }
        // So is what would be looked through again for each of its parts.
        let begun = Instant::now();
        let chain = format!("SELECT CAST(count(*) AS BIGINT) FROM (SELECT 1) AS a(x) WHERE true{}", " IN (true, false)".repeat(60));
        assert_eq!(ask(&engine, &chain).await.unwrap(), [1]);
        let many = (0..5_000).map(|n| n.to_string()).collect::<Vec<_>>().join(", ");
        let cases: String = (0..60).map(|n| format!(" WHEN x = {n} THEN {n}")).collect();
        let case = format!("SELECT count(*) FROM (SELECT CASE{cases} END AS m FROM unnest(range(0, 9)) AS a(x)) AS b WHERE m IN ({many})");
        assert_eq!(ask(&engine, &case).await.unwrap(), [9]);
        let wide = "SELECT length((SELECT string_agg(CAST(x AS TEXT), ',') FROM unnest(range(0, 100000)) AS a(x))) > 200000";
        assert_eq!(ask(&engine, &format!("SELECT CAST(({wide}) AS BIGINT)")).await.unwrap(), [1]);
        assert!(begun.elapsed() < Duration::from_secs(20), "{:?}", begun.elapsed());
        // What is just admitted is planned.
        let chain = format!("SELECT CAST(1{} AS BIGINT)", " + 1".repeat(300));
        assert_eq!(ask(&engine, &chain).await.unwrap(), [301]);
    });
}

#[test]
fn a_query_whose_rows_nobody_reads_gives_its_memory_back() {
    packly().block_on(async {
        let engine = engine(Options { patience: Duration::from_millis(300), ..Options::default() });
        let sql = "SELECT x, y FROM unnest(range(0, 20000)) AS a(x) CROSS JOIN unnest(range(0, 20000)) AS b(y)";
        let principal = engine.mesh().principal("guest").unwrap();
        let planned = engine.plan(&principal, sql, &Pins::new()).await.unwrap();
        let held = Arc::new(());
        let encoder = Encoder::new(&planned.schema(), Form::default()).unwrap();
        let mut rows = planned.send(encoder, Arc::clone(&held)).unwrap();
        assert!(rows.next().await.unwrap().is_ok());
        assert!(engine.memory_in_use() > 0, "the join holds one side");
        let begun = Instant::now();
        // Nobody asks for rows, and all the same the query ends.
        while engine.stalled() == 0 || engine.memory_in_use() > 0 || Arc::strong_count(&held) > 1 {
            assert!(begun.elapsed() < Duration::from_secs(60));
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        let error = rows.next().await.unwrap().unwrap_err();
        assert_eq!(error.class, Class::Limit, "{error}");
        assert!(error.message.contains("were not read for 0.3 s"), "{error}");
        assert!(rows.next().await.is_none());
    });
}

#[test]
fn so_many_statements_run_at_once_and_one_behind_them_waits_its_time_and_no_longer() {
    packly().block_on(async {
        let wait = Duration::from_millis(300);
        let engine = engine(Options { at_once: Some(2), wait, ..Options::default() });
        let endless = "SELECT x, y FROM unnest(range(0, 20000)) AS a(x) CROSS JOIN unnest(range(0, 20000)) AS b(y)";
        let principal = engine.mesh().principal("guest").unwrap();
        let mut unread = Vec::new();
        for _ in 0..2 {
            let mut rows = engine.plan(&principal, endless, &Pins::new()).await.unwrap().run().unwrap();
            assert!(rows.next().await.unwrap().is_ok());
            unread.push(rows);
        }
        assert!(engine.lanes().contains("\npolder_places{state=\"taken\"} 2\n"), "{}", engine.lanes());
        let begun = Instant::now();
        let error = ask(&engine, "SELECT 1 + 1").await.unwrap_err();
        assert_eq!(error.class, Class::Limit, "{error}");
        assert!(error.message.contains("behind others of the server, which runs 2 at once"), "{error}");
        assert!(error.to_string().contains("--at-once"), "{error}");
        assert!(begun.elapsed() >= wait);
        // Who waits is let in by the end of another.
        let mut waiting = engine.plan(&principal, "SELECT 1 + 1", &Pins::new()).await.unwrap().run().unwrap();
        assert!(futures::poll!(waiting.next()).is_pending());
        unread.pop().unwrap().stopper().stop();
        assert_eq!(waiting.next().await.unwrap().unwrap().num_rows(), 1);
        assert!(waiting.next().await.is_none());
        drop((waiting, unread));
        let count = "polder_statement_wait_seconds_count{door=\"embedded\"} 4";
        while !engine.observer().render().contains(count) {
            assert!(begun.elapsed() < Duration::from_secs(60), "{}", engine.observer().render());
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        let text = engine.observer().render();
        for outcome in ["\"ok\"} 1", "\"limit\"} 1", "\"cancelled\"} 2"] {
            let ended = format!("\npolder_statements_ended_total{{door=\"embedded\",outcome={outcome}\n");
            assert!(text.contains(&ended), "{text}");
        }
    });
}
