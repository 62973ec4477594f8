//! Noninterference: what somebody sees is a function of what they may see.
//!
//! ```text
//! world: tables and policies, by chance        lake A, lake B: the same where it is shown, and different where it is not
//! statement, by chance                         rows, errors, schemas, EXPLAIN and EXPLAIN POLICY are the same on both
//! ```
//!
//! Shares of shown rows from none to all, several partitions and sizes of batches. A join may order its sides by how many
//! rows there are, so rows without an order are compared as a multiset. `POLDER_NONINTERFERENCE=200` goes through that
//! many worlds, and `POLDER_SEED=7` begins with that one.

mod chance;
mod channels;
mod compare;
mod lake;
mod query;
mod rules;
mod values;
mod world;

use std::collections::BTreeSet;
use std::time::Instant;

use polder_catalog::principal::Principal;

use chance::Chance;
use compare::{Answer, ask, difference, plans_alike};
use lake::Lake;
use query::{Query, query};
use values::{Cell, Mask, Shown};
use world::World;

/// Worlds that CI goes through.
const WORLDS: u64 = 5;

/// Statements for each world.
const STATEMENTS: usize = 20;

/// Differences that are told in full.
const SHOWN: usize = 3;

/// Partitions, and rows in a batch.
const SHAPES: [(usize, usize); 4] = [(1, 8192), (1, 5), (2, 3), (4, 8192)];

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok().map(|text| text.parse().unwrap_or_else(|_| panic!("{name} is not a number: {text}")))
}

/// How a world came out.
#[derive(Debug, Default)]
struct Tally {
    statements: usize,
    with_rows: usize,
    empty: usize,
    /// Errors of planning and of execution.
    refused: usize,
    failed: usize,
    /// Statements with parameters that have rows.
    bound_with_rows: usize,
    /// Statements whose answer differs for one who sees everything.
    differ_for_owner: usize,
    masks: BTreeSet<Mask>,
    findings: Vec<String>,
}

async fn go_through(seed: u64, tally: &mut Tally) {
    let world = World::of(seed);
    let mut chance = Chance::new(!seed);
    let mut a = Lake::of(&world, 0, chance.fork()).await;
    let mut b = Lake::of(&world, 1, chance.fork()).await;
    for column in world.tables.iter().flat_map(|table| &table.columns) {
        tally.masks.extend(if let Shown::Masked(mask) = column.shown { Some(mask) } else { None });
    }
    for number in 0..STATEMENTS {
        let query = query(&world, &mut chance);
        let shape = *chance.pick(&SHAPES);
        let (on_a, on_b) = (a.engine(shape.0, shape.1), b.engine(shape.0, shape.1));
        let who = on_a.mesh().principal("reader").unwrap();
        let (of_a, of_b) = (ask(&on_a, &who, &query).await, ask(&on_b, &who, &query).await);
        tally.count(&of_a);
        if let Some(difference) = difference(&query, shape.0 == 1, &of_a, &of_b) {
            tally.findings.push(finding(&world, seed, number, shape, &query, &difference));
        }
        if of_a.plan != of_b.plan && !plans_alike(&on_a, &who, &query, &of_b).await {
            let plans = format!("EXPLAIN\nA: {:#?}\nB: {:#?}", of_a.plan, of_b.plan);
            tally.findings.push(finding(&world, seed, number, shape, &query, &plans));
        }
        if of_a.rows.is_ok() && number % 5 == 0 {
            let owner: Principal = on_a.mesh().principal("owner").unwrap();
            let (of_a, of_b) = (ask(&on_a, &owner, &query).await, ask(&on_b, &owner, &query).await);
            tally.differ_for_owner += usize::from(difference(&query, false, &of_a, &of_b).is_some());
        }
    }
}

impl Tally {
    fn count(&mut self, answer: &Answer) {
        self.statements += 1;
        self.bound_with_rows += usize::from(matches!(&answer.bound, Some(Ok(rows)) if !rows.lines.is_empty()));
        match (&answer.rows, &answer.plan) {
            (Ok(rows), _) if rows.lines.is_empty() => self.empty += 1,
            (Ok(_), _) => self.with_rows += 1,
            (Err(_), Err(_)) => self.refused += 1,
            (Err(_), Ok(_)) => self.failed += 1,
        }
    }
}

fn finding(world: &World, seed: u64, number: usize, shape: (usize, usize), query: &Query, difference: &str) -> String {
    let counts: Vec<_> = world.tables.iter().map(|table| (&table.name, table.counts)).collect();
    format!(
        "POLDER_SEED={seed} POLDER_NONINTERFERENCE=1, statement {number}, {shape:?} partitions and rows in a batch\n\
         {}\nshown, [hidden in A, in B]: {counts:?}\n{}\n{difference}",
        query.sql,
        world.policies(),
    )
}

#[allow(clippy::print_stderr, reason = "`--nocapture` shows what was gone through")]
fn tell(what: &str) {
    eprintln!("{what}");
}

#[test]
fn two_lakes_that_look_the_same_to_somebody_give_the_same_answers() {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let first = number("POLDER_SEED").unwrap_or(1);
    let worlds = number("POLDER_NONINTERFERENCE").unwrap_or(WORLDS);
    let (mut tally, begun) = (Tally::default(), Instant::now());
    for seed in first..first + worlds {
        runtime.block_on(go_through(seed, &mut tally));
    }
    let findings = std::mem::take(&mut tally.findings);
    let told = format!("{:?} {tally:#?}", begun.elapsed());
    tell(&told);
    let first: Vec<&str> = findings.iter().take(SHOWN).map(String::as_str).collect();
    assert!(findings.is_empty(), "{} differences, the first of them:\n{}\n{told}", findings.len(), first.join("\n\n"));
    let Tally { statements, with_rows, bound_with_rows, refused, failed, differ_for_owner, .. } = tally;
    if worlds >= WORLDS {
        // Where most statements are refused or empty, or where nothing is hidden, nothing is shown by this.
        assert!(with_rows * 100 >= statements * 35, "{told}");
        assert!(failed > 0 && refused * 100 <= statements * 20, "{told}");
        assert!(differ_for_owner > 3, "{told}");
        assert!(bound_with_rows * 100 >= statements * 10, "{told}");
        assert!(tally.masks.len() >= 8, "{told}");
    }
}

#[test]
fn one_cell_that_is_shown_and_differs_is_found() {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    runtime.block_on(async {
        let mut world = World::of(3);
        let table = world.tables.iter_mut().find(|table| table.is_restricted() && table.counts.0 > 3).unwrap();
        let name = table.name.clone();
        let is_plant = |row: &&mut Vec<Cell>| row[0] == Cell::Int(2);
        let planted = table.sides[1].iter_mut().flatten().filter(is_plant).map(|row| row[1] = Cell::Int(99)).count();
        assert!(planted > 0);
        let (mut a, mut b) = (Lake::of(&world, 0, Chance::new(1)).await, Lake::of(&world, 1, Chance::new(2)).await);
        let (a, b) = (a.engine(2, 16), b.engine(2, 16));
        let who = a.mesh().principal("reader").unwrap();
        for (sql, differs) in [
            (format!("SELECT k FROM lab.{name}"), true),
            (format!("SELECT id FROM lab.{name} WHERE 10 / (99 - k) > 0"), true),
            (format!("SELECT id FROM lab.{name}"), false),
        ] {
            let query = Query {
                sql,
                is_ordered: false,
                hashes: Vec::new(),
                is_restricted: true,
                is_select: true,
                is_cut: true,
            };
            let found = difference(&query, false, &ask(&a, &who, &query).await, &ask(&b, &who, &query).await);
            assert_eq!(found.is_some(), differs, "{}: {found:?}", query.sql);
        }
    });
}
