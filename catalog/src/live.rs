//! Contracts held against what their tables turned out to be.
//!
//! ```text
//! columns, types            in drift: the product is refused      live/drift
//! requiredness              NULLs where the contract has none     live/nulls, live/required
//! keys, partitions          other than the contract says          live/key, live/partition
//! the last change           longer ago than promised              live/stale
//! figures                   not what a rule of quality asks        quality/failed, quality/unmeasured
//! no answer                 the lake, or this table               live/unreachable, live/unread
//! ```
//!
//! Opening tables is for the engine, which tells here what it saw. No value of any row is among it.

use std::collections::BTreeMap;

use crate::contract::{Column, Rule};
use crate::document::{Finding, Place, Severity, quote};
use crate::mesh::{Domain, Product};
use crate::name::ProductRef;

/// What was seen of a product's table.
#[derive(Debug, Clone, Default)]
pub struct Table {
    /// What does not keep the contract, and where the contract says it.
    pub drifts: Vec<(Place, String)>,
    /// Its columns that are told apart by, by their names in the table.
    pub keys: Vec<String>,
    /// The columns that it is partitioned by, in their order.
    pub partitions: Vec<String>,
    /// What to say of its age, where it is older than promised.
    pub stale: Option<String>,
    /// How many NULLs the columns have that the contract requires and the table does not, as far as its figures tell.
    pub nulls: Vec<(String, Option<u64>)>,
    /// What its files say of themselves, where that was looked at.
    pub figures: Option<Figures>,
    /// What keeps its values from being looked at.
    pub unread: Option<String>,
}

/// What a table's files say of themselves, as far as it is exact.
#[derive(Debug, Clone, Default)]
pub struct Figures {
    /// How many rows there are.
    pub rows: Option<u64>,
    /// How many NULLs columns have.
    pub nulls: BTreeMap<String, u64>,
}

fn finding(code: &'static str, severity: Severity, place: &Place, message: String, help: &str) -> Finding {
    let (place, help) = (place.clone(), Some(help.to_owned()));
    Finding { code, severity, place, domain: None, product: None, message, help }
}

/// What a table says of the product whose table it is.
pub fn held(product: &Product, table: &Table) -> Vec<Finding> {
    let contract = &product.contract;
    let name = ProductRef { product: product.name.clone(), major: Some(contract.major) };
    let drifts = table.drifts.iter().map(|(place, message)| drift(&name, place, message));
    let mut found: Vec<Finding> = drifts.collect();
    for (column, nulls) in &table.nulls {
        let place = contract.columns.iter().find(|own| own.name == *column).map_or(&contract.place, |own| &own.place);
        let column = quote(column);
        match nulls {
            Some(0) => {}
            Some(nulls) => found.push(finding(
                "live/nulls",
                Severity::Error,
                place,
                format!("{column} is required, and {nulls} of its values in `{name}` are NULL"),
                "mend the table, or take `required: true` away: that breaks those who rely on it, so it needs a new major",
            )),
            None => found.push(finding(
                "live/required",
                Severity::Warning,
                place,
                format!("{column} is required, and nothing keeps NULL out of it in the table of `{name}`"),
                "make the column required in the table, which its writers then hold to",
            )),
        }
    }
    if !table.keys.is_empty() {
        let mut declared = named(&contract.columns, |column| column.key);
        let mut own = table.keys.clone();
        declared.sort_unstable();
        own.sort_unstable();
        if declared != own {
            let message = format!(
                "the table of `{name}` tells its rows apart by {}, and the contract by {}",
                list(&own),
                list(&declared)
            );
            let help = "write `primaryKey: true` into those columns, or change the table's identifier fields";
            found.push(finding("live/key", Severity::Warning, &contract.place, message, help));
        }
    }
    let declared = named(&contract.columns, |column| column.partition);
    if !declared.is_empty() && declared != table.partitions {
        let message = format!(
            "the table of `{name}` is partitioned by {}, and the contract says by {}",
            list(&table.partitions),
            list(&declared)
        );
        let help = "write `partitioned: true` and `partitionKeyPosition` into the columns that it is partitioned by";
        found.push(finding("live/partition", Severity::Warning, &contract.place, message, help));
    }
    if let Some(figures) = &table.figures {
        found.extend(contract.quality.iter().filter_map(|rule| quality(&name, rule, figures)));
    }
    if let Some(stale) = &table.stale {
        let help = "see why its writer is late, or promise less in `slaProperties`";
        found.push(finding("live/stale", Severity::Warning, &contract.place, stale.clone(), help));
    }
    if let Some(why) = &table.unread {
        let message = format!("the values of `{name}` could not be looked at: {why}");
        let help = "what its columns hold beside what their tags say is not known";
        found.push(finding("live/unread", Severity::Warning, &contract.place, message, help));
    }
    found
}

/// What is wrong with a table by a rule of quality, if anything is.
fn quality(name: &ProductRef, rule: &Rule, figures: &Figures) -> Option<Finding> {
    let what = match &rule.column {
        Some(column) => format!("NULLs of {} in `{name}`", quote(column)),
        None => format!("rows of `{name}`"),
    };
    let counted = match &rule.column {
        Some(column) => figures.nulls.get(column).copied(),
        None => figures.rows,
    };
    // Both are far below the numbers that a float cannot tell apart.
    let number = match (counted, figures.rows) {
        (Some(counted), Some(rows)) if rule.percent => Some(100.0 * counted as f64 / rows.max(1) as f64),
        (Some(counted), _) if !rule.percent => Some(counted as f64),
        _ => None,
    };
    let Some(number) = number else {
        let message = format!("the {what} cannot be counted without reading them");
        let help = "rows were deleted from the table's files, or their writer left the figures out";
        return Some(finding("quality/unmeasured", Severity::Note, &rule.place, message, help));
    };
    let severity = if rule.grave { Severity::Error } else { Severity::Warning };
    let unit = if rule.percent { " percent" } else { "" };
    let message = format!("the {what} are {number}{unit}, and the contract asks for {}", rule.bound);
    let help = "mend the table, or ask for what its data can keep";
    (!rule.bound.holds(number)).then(|| finding("quality/failed", severity, &rule.place, message, help))
}

/// What does not keep a contract keeps its product from being served.
pub fn drift(product: &ProductRef, place: &Place, message: &str) -> Finding {
    let help = "change the contract or the table until they agree; a contract that loses or retypes a column needs a new major";
    let found = finding("live/drift", Severity::Error, place, message.to_owned(), help);
    Finding { domain: Some(product.product.domain().clone()), product: Some(product.clone()), ..found }
}

/// A lake that did not answer, for `products` of its domain.
pub fn unreachable(domain: &Domain, why: &str, products: usize) -> Finding {
    let products = if products == 1 { "1 product".to_owned() } else { format!("{products} products") };
    let message = format!("{why}; {products} of `{}` could not be looked at", domain.name);
    let help = "see that its catalog and its store are there and let this machine in";
    finding("live/unreachable", Severity::Error, &domain.catalog_place, message, help)
}

/// The names in the table of the columns that have a position, in its order.
fn named(columns: &[Column], position: impl Fn(&Column) -> Option<u32>) -> Vec<String> {
    let mut found: Vec<(u32, &Column)> =
        columns.iter().filter_map(|column| Some((position(column)?, column))).collect();
    found.sort_by_key(|(position, _)| *position);
    found.into_iter().map(|(_, column)| column.physical_name.clone()).collect()
}

fn list(names: &[String]) -> String {
    match names {
        [] => "nothing".to_owned(),
        names => names.iter().map(|name| quote(name)).collect::<Vec<_>>().join(", "),
    }
}
