//! Contracts held against what their tables turned out to be.
//!
//! ```text
//! columns, types            in drift: the product is refused      live/drift
//! requiredness              NULLs where the contract has none     live/nulls, live/required
//! keys, partitions          other than the contract says          live/key, live/partition
//! the last change           longer ago than promised              live/stale
//! what rules of quality count    not what they ask                 quality/failed, quality/unmeasured
//! no answer                 the lake, or this table               live/unreachable, live/unread
//! ```
//!
//! Opening tables is for the engine, which tells here what it saw. No value of any row is among it.

use crate::contract::{Check, Column, Rule};
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
    /// What keeps its values from being looked at.
    pub unread: Option<String>,
}

/// What came of a rule of quality.
#[derive(Debug, Clone, PartialEq)]
pub enum Measured {
    /// Its number.
    Number {
        /// The number itself.
        number: f64,
        /// Whether it is a count, or a share of one, and so no value of the data.
        count: bool,
    },
    /// Why there is none.
    Unknown(String),
}

impl Measured {
    /// Whether the rule holds; nothing where that is not known.
    pub fn holds(&self, rule: &Rule) -> Option<bool> {
        match self {
            Self::Number { number, .. } => Some(rule.holds(*number)),
            Self::Unknown(_) => None,
        }
    }
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

/// What is wrong with the data of a product by a rule of quality, if anything is.
pub fn quality(name: &ProductRef, rule: &Rule, measured: &Measured) -> Option<Finding> {
    let what = subject(name, rule);
    let asked = rule.expected();
    let message = match measured {
        Measured::Unknown(why) => {
            let message = format!("the {what} could not be counted: {why}");
            let help = format!("{}; until then nobody knows whether `{asked}` holds", whence(rule));
            // What is not known to hold stops whom its failure would stop.
            return Some(finding("quality/unmeasured", rule.severity, &rule.place, message, &help));
        }
        Measured::Number { number, .. } if rule.holds(*number) => return None,
        Measured::Number { count: false, .. } => format!("the {what} is not what the contract asks for, `{asked}`"),
        Measured::Number { number, .. } => {
            let unit = if rule.percent { " percent" } else { "" };
            format!("the {what}: {}{unit}, and the contract asks for `{asked}`", rounded(*number))
        }
    };
    let help = "mend the table, or ask for what its data can keep";
    Some(finding("quality/failed", rule.severity, &rule.place, message, help))
}

/// A number to four places behind the point.
pub fn rounded(number: f64) -> f64 {
    (number * 10_000.0).round() / 10_000.0
}

/// Where to look when a rule could not be held.
fn whence(rule: &Rule) -> String {
    let fits = match (&rule.check, rule.column.as_deref()) {
        (Check::Sql(_), _) => {
            "run its query: it gives one number, and names its own product and columns alone".to_owned()
        }
        (Check::Rows, _) => return "see whether the product can be read".to_owned(),
        (Check::Invalid { .. } | Check::Missing(_), Some(column)) => {
            format!("see that its values are ones that {} can have", quote(column))
        }
        _ => {
            let columns: Vec<String> = rule.columns().into_iter().map(quote).collect();
            format!("see that the table has {}, and values there that can be compared", columns.join(", "))
        }
    };
    format!("see whether the product can be read; if it can, {fits}")
}

/// What a rule counts, in words, and which rule it is.
fn subject(name: &ProductRef, rule: &Rule) -> String {
    let columns: Vec<String> = rule.columns().into_iter().map(quote).collect();
    let columns = columns.join(", ");
    let counted = match &rule.check {
        Check::Rows => format!("rows of `{name}`"),
        Check::Nulls => format!("NULLs of {columns} in `{name}`"),
        Check::Missing(_) => format!("missing values of {columns} in `{name}`"),
        Check::Invalid { .. } => format!("invalid values of {columns} in `{name}`"),
        Check::Duplicates(_) => format!("duplicate values of {columns} in `{name}`"),
        Check::Sql(_) => format!("number that a query gives of `{name}`"),
    };
    counted + &which(rule)
}

/// The name and the dimension of a rule, where it has them.
fn which(rule: &Rule) -> String {
    let name = rule.name.as_ref().map(|name| format!("rule {}", quote(name)));
    let dimension = rule.dimension.as_ref().map(|dimension| format!("dimension {}", quote(dimension)));
    let told: Vec<String> = name.into_iter().chain(dimension).collect();
    if told.is_empty() { String::new() } else { format!(" ({})", told.join(", ")) }
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
