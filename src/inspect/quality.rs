//! The rules of quality of one product, held against its table at the snapshot of now, or against what its query makes.
//!
//! ```text
//! rule --query--> SELECT count(*) FILTER (WHERE …), count(*) FROM product --Engine::measure--> its number, or why there is none
//! ```
//!
//! What the files' own figures tell is counted without reading a row, as the planner does it for anybody. All rules of a
//! product run over one snapshot and share one limit of time. A number that is no count is not told.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use datafusion::catalog::TableProvider;
use futures::{StreamExt, stream};
use polder_catalog::contract::{Check, Contract, Literal, LogicalType, PhysicalType, Rule, Type};
use polder_catalog::live::Measured;
use polder_catalog::mesh::{Domain, Mesh, Product};
use polder_catalog::name::{DomainName, ProductName, ProductRef};
use tokio::time::Instant;

use super::Past;
use crate::error::{Class, Error};
use crate::lake::OpenTable;
use crate::resolve::bind::bind;
use crate::resolve::{Held, Judged, Of, Verdict};
use crate::scan::IcebergScan;
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
    let failed = failed.map(|judged| judged.metric.as_str()).collect::<Vec<_>>().join(", ");
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
    let same = |last: &Held| {
        last.rules.len() == rules.len() && last.rules.iter().zip(rules).all(|(judged, rule)| judged.is_of(rule))
    };
    let known = last.as_ref().filter(|last| same(last)).map(|last| last.of.clone());
    let (of, measured) = match measure(engine, domain, product, known.as_ref()).await {
        Ok(quality) => quality.map(|Quality { of, measured }| (of, measured))?,
        Err(error) => (Of::Nothing, rules.iter().map(|_| Measured::Unknown(error.message.clone())).collect()),
    };
    Some(Held { at: SystemTime::now(), of, rules: judged(rules, &measured) })
}

fn judged(rules: &[Rule], measured: &[Measured]) -> Vec<Judged> {
    rules.iter().zip(measured).map(|(rule, measured)| Judged::new(rule, measured)).collect()
}

/// Holds a product against its rules; nothing when `known` is what would be looked at again.
///
/// # Errors
/// When it cannot be opened or is in drift.
pub async fn measure(
    engine: &Engine,
    domain: &Domain,
    product: &Product,
    known: Option<&Of>,
) -> Result<Option<Quality>, Error> {
    let contract = &product.contract;
    let name = ProductRef { product: product.name.clone(), major: Some(contract.major) };
    let same = |of: &Of| known.is_some_and(|known| known.is_same(of));
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
            (of, pinned(&name, product, open).await?)
        }
    };
    let (until, mut measured) = (Instant::now() + PATIENCE, Vec::with_capacity(contract.quality.len()));
    for rule in &contract.quality {
        let sql = query(product, rule);
        let numbers = engine.measure(&product.name, Arc::clone(&provider), &sql);
        measured.push(match tokio::time::timeout_at(until, numbers).await {
            Ok(Ok(numbers)) => number(rule, &numbers),
            Ok(Err(error)) => Measured::Unknown(error.message),
            Err(_) => Measured::Unknown(format!("it took longer than {} s", PATIENCE.as_secs())),
        });
    }
    Ok(Some(Quality { of, measured }))
}

async fn pinned(name: &ProductRef, product: &Product, open: OpenTable) -> Result<Arc<IcebergScan>, Error> {
    let columns = bind(name, &product.contract, open.table.metadata().current_schema(), &open.beyond)?.columns;
    if columns.is_empty() {
        return Err(Error::new(Class::Drift, format!("no column of `{name}` can be read")));
    }
    IcebergScan::pin(open, columns, None).await
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

/// The query of a rule.
fn query(product: &Product, rule: &Rule) -> String {
    let table = format!("{}.{}", quoted(product.name.domain().as_str()), quoted(product.name.name()));
    let column = rule.column.as_deref().map(quoted).unwrap_or_default();
    let counting = |condition: &str| format!("SELECT count(*) FILTER (WHERE {condition}), count(*) FROM {table}");
    let any = |values: &[Literal]| any(&product.contract, rule.column.as_deref(), values);
    match &rule.check {
        Check::Rows => format!("SELECT count(*) FROM {table}"),
        Check::Nulls => format!("SELECT count(*) - count({column}), count(*) FROM {table}"),
        Check::Missing(values) => counting(&format!("{column} IS NULL OR {}", any(values))),
        Check::Invalid { values, pattern } => {
            let listed = values.as_ref().map(|values| format!("NOT ({})", any(values)));
            let matched = pattern.as_ref().map(|pattern| format!("CAST({column} AS VARCHAR) !~ {}", text(pattern)));
            let wrong: Vec<String> = listed.into_iter().chain(matched).collect();
            counting(&format!("{column} IS NOT NULL AND ({})", wrong.join(" OR ")))
        }
        Check::Duplicates(columns) => {
            let columns: Vec<String> = columns.iter().map(|column| quoted(column)).collect();
            let there: Vec<String> = columns.iter().map(|column| format!("{column} IS NOT NULL")).collect();
            let (columns, there) = (columns.join(", "), there.join(" AND "));
            format!(
                "SELECT count(*) FILTER (WHERE n > 1), sum(n) FROM \
                 (SELECT count(*) AS n FROM {table} WHERE {there} GROUP BY {columns}) AS groups"
            )
        }
        Check::Sql(sql) => filled(sql, &table, &column),
    }
}

/// Whether a column has one of these values. What is written as a text is compared as one, whatever the column holds.
fn any(contract: &Contract, column: Option<&str>, values: &[Literal]) -> String {
    let known = contract.columns.iter().find(|own| column == Some(own.name.as_str())).map(|own| &own.kind);
    let is_text = matches!(known, Some(Type::Physical(PhysicalType::String) | Type::Logical(LogicalType::String)));
    let (mut texts, mut plain) = (Vec::new(), Vec::new());
    for value in values {
        match value {
            Literal::Text(value) => texts.push(text(value)),
            Literal::Plain(value) if is_text => texts.push(text(value)),
            Literal::Plain(value) => plain.push(value.clone()),
        }
    }
    let column = quoted(column.unwrap_or_default());
    let of_texts = (!texts.is_empty()).then(|| format!("CAST({column} AS VARCHAR) IN ({})", texts.join(", ")));
    let of_plain = (!plain.is_empty()).then(|| format!("{column} IN ({})", plain.join(", ")));
    let any: Vec<String> = of_texts.into_iter().chain(of_plain).collect();
    if any.is_empty() { "false".to_owned() } else { any.join(" OR ") }
}

/// A query with names in the places of `${object}`, `{object}` and the like.
fn filled(sql: &str, table: &str, column: &str) -> String {
    let names = [
        ("object", table),
        ("table", table),
        ("model", table),
        ("property", column),
        ("column", column),
        ("field", column),
    ];
    names.into_iter().filter(|(_, name)| !name.is_empty()).fold(sql.to_owned(), |sql, (place, name)| {
        let forms =
            [format!("\"${{{place}}}\""), format!("${{{place}}}"), format!("\"{{{place}}}\""), format!("{{{place}}}")];
        forms.iter().fold(sql, |sql, form| sql.replace(form.as_str(), name))
    })
}

fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

fn text(value: &str) -> String {
    format!("'{}'", value.replace('\'', "''"))
}
