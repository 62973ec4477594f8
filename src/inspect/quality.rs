//! The rules of quality of one product, held against its table at the snapshot of now, or against what its query makes.
//!
//! ```text
//! rule --query--> SELECT count(*) FILTER (WHERE …), count(*) FROM product --Engine::measure--> its number, or why there is none
//! ```
//!
//! What the files' own figures tell is counted without reading a row, as the planner does it for anybody. What adds up is
//! counted in the files alone that are new since the last time, see `grown`. All rules of a product run over one snapshot
//! and share one limit of time. A number that is no count is not told.

mod asked;
mod grown;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use datafusion::catalog::TableProvider;
use futures::{StreamExt, stream};
use polder_catalog::contract::{Check, Rule};
use polder_catalog::live::Measured;
use polder_catalog::mesh::{Domain, Mesh, Product};
use polder_catalog::name::{DomainName, ProductName, ProductRef};
use tokio::time::Instant;

use self::asked::query;
use self::grown::Grown;
use super::Past;
use crate::error::{Class, Error};
use crate::lake::OpenTable;
use crate::resolve::bind::bind;
use crate::resolve::{Counted, Held, Judged, Of, Verdict};
use crate::scan::{IcebergScan, ScanColumn};
use crate::session::{Engine, Numbers};

/// Products whose rules are run at once. Each may read all of its table.
pub(super) const AT_ONCE: usize = 2;

/// How long the rules of one product may take together.
const PATIENCE: Duration = Duration::from_secs(60);

/// What came of the rules of a product, in their order, and of which snapshot.
#[derive(Debug, Clone, PartialEq)]
pub struct Quality {
    /// What was looked at.
    pub of: Of,
    /// What came of each rule.
    pub measured: Vec<Measured>,
    /// What was counted for those whose numbers add up.
    pub counted: Vec<Option<Counted>>,
}

/// Holds every product that has rules against them, unless neither its table nor its rules have changed since the last time,
/// and lets the engine remember what came of it, and the file if there is one.
pub async fn hold(engine: &Arc<Engine>, past: Option<&Past>) {
    let (mesh, seen) = (engine.mesh(), engine.seen());
    let majors: BTreeSet<(&ProductName, u32)> =
        mesh.products().map(|(_, product)| (&product.name, product.contract.major)).collect();
    // What is out for a while is known again when it is back.
    let out: BTreeSet<&DomainName> = mesh.domains_out().collect();
    seen.keep_held(|name, major| majors.contains(&(name, major)) || out.contains(name.domain()));
    let ruled = mesh.products().filter(|(_, product)| !product.contract.quality.is_empty());
    let ruled: Vec<ProductRef> = ruled.map(|(name, _)| name).collect();
    stream::iter(ruled).for_each_concurrent(AT_ONCE, |name| hold_one(engine, &mesh, past, name)).await;
}

async fn hold_one(engine: &Engine, mesh: &Mesh, past: Option<&Past>, name: ProductRef) {
    let Some((domain, product)) = mesh.domain(name.product.domain()).zip(mesh.product(&name)) else { return };
    let (seen, begun) = (engine.seen(), Instant::now());
    let Some(held) = newly_held(engine, domain, product, seen.last_held(product)).await else { return };
    seen.note_run(begun.elapsed());
    let failed = held.rules.iter().filter(|judged| judged.verdict == Verdict::Failed);
    let failed = failed.map(Judged::called).collect::<Vec<_>>().join(", ");
    if !seen.note_held(product, held.clone()) {
        return;
    }
    if let Some(past) = past {
        past.note(&seen, product, held);
    }
    if !failed.is_empty() {
        tracing::warn!(product = %name, rules = %failed, "the data is not what rules of quality ask");
    }
}

/// What came of a product's rules; nothing when nothing has changed since the `last` time.
async fn newly_held(engine: &Engine, domain: &Domain, product: &Product, last: Option<Held>) -> Option<Held> {
    let rules = &product.contract.quality;
    let Quality { of, measured, counted } = match measure(engine, domain, product, last.as_ref()).await {
        Ok(quality) => quality?,
        Err(error) => Quality {
            of: Of::Nothing,
            measured: rules.iter().map(|_| Measured::Unknown(error.message.clone())).collect(),
            counted: rules.iter().map(|_| None).collect(),
        },
    };
    let judged = rules.iter().zip(&measured).zip(counted);
    let mesh = engine.mesh();
    let open = |rule: &Rule| !mesh.asks_for_kept(product, rule);
    let rules = judged.map(|((rule, measured), counted)| Judged::new(rule, open(rule), measured, counted)).collect();
    Some(Held { at: SystemTime::now(), of, rules })
}

/// Holds a product against its rules; nothing when all is what it was the `last` time.
///
/// # Errors
/// When it cannot be opened or is in drift.
pub async fn measure(
    engine: &Engine,
    domain: &Domain,
    product: &Product,
    last: Option<&Held>,
) -> Result<Option<Quality>, Error> {
    let contract = &product.contract;
    let name = ProductRef { product: product.name.clone(), major: Some(contract.major) };
    let known = last.filter(|last| last.is_of(&engine.mesh(), product)).map(|last| &last.of);
    let same = |of: &Of| known.is_some_and(|known| known.is_same(of));
    let mut grown = None;
    let (of, provider): (Of, Arc<dyn TableProvider>) = match contract.table() {
        None => {
            let (provider, of) = engine.whole(&name).await?;
            if same(&of) {
                return Ok(None);
            }
            (of, provider)
        }
        Some(table) => {
            let open = engine.lake().open(domain, table).await?;
            let of = Of::Table(open.table.metadata().current_snapshot_id());
            if same(&of) {
                return Ok(None);
            }
            let columns = bound(&name, product, &open)?;
            let pinned = IcebergScan::pin(open.clone(), columns.clone(), None).await?;
            grown = Some(Grown::of(open, columns, Arc::clone(&pinned), last).await);
            (of, pinned)
        }
    };
    let until = Instant::now() + PATIENCE;
    let (mut measured, mut counted) = (Vec::new(), Vec::new());
    for rule in &contract.quality {
        let sql = query(product, rule);
        let numbers = async {
            match &grown {
                Some(grown) if adds_up(rule) => {
                    let (numbers, counted) = grown.measure(engine, product, rule, &sql).await?;
                    Ok((numbers, Some(counted)))
                }
                _ => Ok((engine.measure(&product.name, Arc::clone(&provider), &sql).await?, None)),
            }
        };
        let (number, count) = match tokio::time::timeout_at(until, numbers).await {
            Ok(Ok((numbers, count))) => (number(rule, &numbers), count),
            Ok(Err(Error { message, .. })) => (Measured::Unknown(message), None),
            Err(_) => (Measured::Unknown(format!("it took longer than {} s", PATIENCE.as_secs())), None),
        };
        measured.push(number);
        counted.push(count);
    }
    Ok(Some(Quality { of, measured, counted }))
}

/// Whether the numbers of a rule for a table are the sums of those for its files.
fn adds_up(rule: &Rule) -> bool {
    match rule.check {
        Check::Rows | Check::Nulls | Check::Missing(_) | Check::Invalid { .. } => true,
        Check::Duplicates(_) | Check::Sql(_) => false,
    }
}

fn bound(name: &ProductRef, product: &Product, open: &OpenTable) -> Result<Vec<ScanColumn>, Error> {
    let columns = bind(name, &product.contract, open.table.metadata().current_schema(), &open.beyond)?.columns;
    if columns.is_empty() {
        return Err(Error::new(Class::Drift, format!("no column of `{name}` can be read")));
    }
    Ok(columns)
}

/// What the numbers of a rule's query mean: the number itself, and of how many rows where it is one of the library's.
fn number(rule: &Rule, Numbers { row, counts }: &Numbers) -> Measured {
    let unknown = |why: &str| Measured::Unknown(why.to_owned());
    match (&rule.check, row.as_slice()) {
        (Check::Sql(_), [Some(number)]) => Measured::Number { number: *number, count: *counts },
        (Check::Sql(_), [None]) => unknown("it gives NULL"),
        (Check::Sql(_), _) => unknown("it gives more than one column"),
        (_, [Some(number), rows]) if rule.percent => {
            let rows = rows.unwrap_or_default().max(1.0);
            Measured::Number { number: 100.0 * number / rows, count: true }
        }
        (_, [Some(number), ..]) => Measured::Number { number: *number, count: true },
        _ => unknown("it gives no number"),
    }
}
