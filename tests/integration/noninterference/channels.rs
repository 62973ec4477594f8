//! Ways by which errors could tell of hidden rows: which rows an expression meets must follow from what is shown alone.
//!
//! In both lakes the same 20 rows are shown, and one of them makes `12 / (k - 5)` fail. They differ in how many rows are
//! hidden, in what stands in these, and in the files.

use super::compare::{Answer, ask, difference};
use super::lake::Lake;
use super::query::Query;
use super::rules::Rule;
use super::values::{Cell, Kind, Shown};
use super::world::{Column, Side, Table, World};
use super::*;

fn column(name: &str, kind: Kind) -> Column {
    Column { name: name.to_owned(), kind, shown: Shown::Raw, tame: true, flavour: 2 }
}

/// `alpha` shows rows of the EU; `beta` shows all.
fn world(hidden: [Vec<i64>; 2]) -> World {
    let columns = || vec![column("id", Kind::Long), column("k", Kind::Int), column("region", Kind::Text)];
    let row = |id: i64, k: i64, region: &str| vec![Cell::Int(id), Cell::Int(k), Cell::Text(region.to_owned())];
    let shown = |id: i64| row(id, if id == 3 { 5 } else { 4 }, "EU");
    let side = |ids: &Vec<i64>| {
        let mut late: Vec<Vec<Cell>> = (1..=10).rev().map(shown).collect();
        late.extend(ids.iter().map(|id| row(*id, 5, "US")));
        [(11..=20).rev().map(shown).collect(), late]
    };
    let alpha = Table {
        name: "alpha".to_owned(),
        columns: columns(),
        permits: Some(vec![Some(Rule::Own(2))]),
        forbids: Vec::new(),
        sides: [side(&hidden[0]), side(&hidden[1])],
        counts: (20, hidden.each_ref().map(Vec::len)),
    };
    let all =
        [(1..=50).map(|id| row(id, 4, "EU")).collect::<Vec<_>>(), (51..=100).map(|id| row(id, 4, "EU")).collect()];
    let sides = [all.clone(), all];
    let beta = Table {
        name: "beta".to_owned(),
        columns: columns(),
        permits: None,
        forbids: Vec::new(),
        sides,
        counts: (100, [0, 0]),
    };
    World { tables: vec![alpha, beta] }
}

const STATEMENTS: [&str; 12] = [
    // The side of a join that is empty keeps the other one from being read, and how large it is taken for tells of values.
    "SELECT count(*) FROM (SELECT id FROM lab.alpha WHERE id >= 500) p JOIN (SELECT 1 / (k - 4) AS y FROM lab.beta LIMIT 1) o ON p.id = o.y",
    "SELECT count(*) FROM (SELECT 1 / z AS y FROM (VALUES (0), (0)) v(z) LIMIT 1) o JOIN (SELECT id FROM lab.alpha WHERE id >= 500) p ON p.id = o.y",
    "SELECT count(*) FROM lab.alpha s JOIN (SELECT id, 1 / (k - 4) AS y FROM lab.beta) o ON s.id = o.y WHERE s.id > 20",
    "SELECT p.id FROM (SELECT id, 12 / (k - 5) AS x FROM lab.alpha) p JOIN (SELECT id FROM lab.beta WHERE length(region) > 9) q ON p.id = q.id AND p.x < q.id",
    "SELECT q.id FROM (SELECT id FROM lab.beta WHERE length(region) > 9) q JOIN (SELECT id, 12 / (k - 5) AS x FROM lab.alpha) p ON p.id = q.id AND p.x < q.id",
    "SELECT id FROM lab.beta WHERE length(region) > 9 AND id IN (SELECT id FROM lab.alpha WHERE 12 / (k - 5) < 3)",
    // What a join or an order has learnt keeps files from being read.
    "SELECT p.x FROM (SELECT id FROM lab.beta WHERE id > 15 AND id < 18) q JOIN (SELECT id, 12 / (k - 5) AS x FROM lab.alpha) p ON p.id = q.id",
    "SELECT id, 12 / (k - 5) AS x FROM lab.alpha ORDER BY id DESC LIMIT 1",
    "SELECT max(id) FROM lab.alpha WHERE 12 / (k - 5) < 3",
    // Half of a conjunction is not asked where the other half says all of it.
    "SELECT id FROM lab.alpha WHERE (k - 5) <> 0 AND 12 / (k - 5) < 3",
    "SELECT id FROM lab.alpha WHERE id + 0 <= 2 AND 12 / (k - 5) < 3",
    "SELECT id FROM lab.alpha WHERE (k - 5) = 0 OR 12 / (k - 5) < 3",
];

#[test]
fn errors_do_not_tell_of_hidden_rows_by_what_is_read() {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let mut found = Vec::new();
    runtime.block_on(async {
        for hidden in [[vec![], (100..1500).collect()], [vec![2], vec![17, 999]]] {
            let world = world(hidden);
            for files in 0..2 {
                let mut a = Lake::of(&world, 0, Chance::new(files)).await;
                let mut b = Lake::of(&world, 1, Chance::new(files + 17)).await;
                for shape in [(1, 3), (2, 8192)] {
                    let (a, b) = (a.engine(shape.0, shape.1), b.engine(shape.0, shape.1));
                    let who = a.mesh().principal("reader").unwrap();
                    for sql in STATEMENTS {
                        let query = Query {
                            sql: sql.to_owned(),
                            is_ordered: false,
                            hashes: Vec::new(),
                            is_restricted: true,
                            is_select: true,
                            is_cut: true,
                        };
                        let (of_a, of_b): (Answer, Answer) = (ask(&a, &who, &query).await, ask(&b, &who, &query).await);
                        if let Some(difference) = difference(&query, false, &of_a, &of_b) {
                            let counts = world.tables[0].counts;
                            found.push(format!("{counts:?} {files} {shape:?} {sql}\n{difference}"));
                        }
                    }
                }
            }
        }
    });
    assert!(found.is_empty(), "{} differences:\n{}", found.len(), found.join("\n"));
}

/// Keys of some rows, one of which is NULL in a file of its own.
fn keys(first: &[i64]) -> [Side; 2] {
    let row = |id: i64, k: Cell| vec![Cell::Int(id), k, Cell::Text("EU".to_owned())];
    [first.iter().map(|k| row(*k, Cell::Int(*k))).collect(), vec![row(-1, Cell::Null)]]
}

#[test]
fn what_a_join_has_learnt_leaves_out_no_null_that_counts() {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    runtime.block_on(async {
        let mut world = world([vec![], vec![]]);
        for (table, first) in world.tables.iter_mut().zip([vec![4, 5], (4..60).collect::<Vec<_>>()]) {
            (table.permits, table.sides[0]) = (None, keys(&first));
        }
        let mut lake = Lake::of(&world, 0, Chance::new(1)).await;
        let engine = lake.engine(1, 8192);
        let who = engine.mesh().principal("reader").unwrap();
        for (sql, rows) in [
            ("SELECT k FROM lab.alpha INTERSECT SELECT k FROM lab.beta", 3),
            ("SELECT k FROM lab.beta INTERSECT SELECT k FROM lab.alpha", 3),
            ("SELECT a.k FROM lab.alpha a JOIN lab.beta b ON a.k IS NOT DISTINCT FROM b.k", 3),
            ("SELECT id FROM lab.alpha WHERE k NOT IN (SELECT k FROM lab.beta)", 0),
            ("SELECT id FROM lab.beta WHERE k NOT IN (SELECT k FROM lab.alpha)", 0),
            ("SELECT id FROM lab.alpha WHERE k NOT IN (SELECT k FROM lab.beta WHERE k > 50)", 2),
        ] {
            let query = Query {
                sql: sql.to_owned(),
                is_ordered: false,
                hashes: Vec::new(),
                is_restricted: false,
                is_select: true,
                is_cut: false,
            };
            assert_eq!(ask(&engine, &who, &query).await.rows.unwrap().lines.len(), rows, "{sql}");
        }
    });
}
