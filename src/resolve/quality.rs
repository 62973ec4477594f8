//! `mesh.quality`: what came of the rules of quality that contracts state, each time that they were held against the data.
//!
//! Nothing is counted here: who looks at tables tells what was found, and the last few findings of each product are
//! remembered. Who may discover a product learns of each rule whether it held the last time; of a derived product only where
//! all that it is made of lies in its own domain, since by a rule its owner could else ask of others' rows. What was counted, when and of
//! which snapshot, and what was before, tells of hidden rows and of changes that one may not see: it is for those alone from
//! whom nothing of the product is kept.

use std::collections::{HashMap, VecDeque};
use std::sync::PoisonError;
use std::time::SystemTime;

use datafusion::common::TableReference;
use polder_catalog::contract::Rule;
use polder_catalog::document::Severity;
use polder_catalog::live::{Measured, rounded};
use polder_catalog::mesh::Product;
use polder_catalog::name::{ProductName, ProductRef};
use polder_catalog::policy::Grants;

use super::health::{Seen, micros};
use super::system::Row;
use super::{At, Resolver, restricts, table_part};

/// How many findings of a product are remembered.
const REMEMBERED: usize = 20;

/// The columns, in their order.
pub(super) const COLUMNS: &[&str] = &[
    "domain",
    "product",
    "rule",
    "metric",
    "column",
    "dimension",
    "severity",
    "expected",
    "state",
    "measured",
    "unit",
    "reason",
    "checked",
    "snapshot",
];

/// What is remembered of each major, the last at the end.
pub(super) type History = HashMap<(ProductName, u32), VecDeque<Held>>;

/// What came of holding the data of a product against its rules.
#[derive(Debug, Clone, PartialEq)]
pub struct Held {
    /// When.
    pub at: SystemTime,
    /// What was looked at.
    pub of: Of,
    /// The rules as they were, and what came of each.
    pub rules: Vec<(Rule, Measured)>,
}

/// What was held against rules.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Of {
    /// Nothing: it could not be looked at.
    Nothing,
    /// A table, at its snapshot if it had one.
    Table(Option<i64>),
    /// What a query makes of other products.
    Query {
        /// The query, and the snapshots that it read; nothing where its rows may be others though none of these is.
        state: Option<String>,
        /// Whether all that it is made of lies in its own domain.
        own: bool,
    },
}

impl Of {
    /// Whether the same would be found again.
    pub fn is_same(&self, now: &Self) -> bool {
        self == now && !matches!(self, Self::Nothing | Self::Query { state: None, .. })
    }

    /// Whether whoever wrote the rules owns all that they tell of. Where nothing could be looked at they tell nothing.
    fn is_own(&self) -> bool {
        !matches!(self, Self::Query { own: false, .. })
    }

    fn snapshot(&self) -> Option<i64> {
        match self {
            Self::Table(snapshot) => *snapshot,
            Self::Nothing | Self::Query { .. } => None,
        }
    }
}

/// What is said of rules.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Verdict {
    Passed,
    Unknown,
    Failed,
}

impl Verdict {
    fn of((rule, measured): &(Rule, Measured)) -> Self {
        match measured.holds(rule) {
            Some(true) => Self::Passed,
            Some(false) => Self::Failed,
            None => Self::Unknown,
        }
    }

    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::Passed => "passed",
            Self::Unknown => "unknown",
            Self::Failed => "failed",
        }
    }
}

impl Held {
    /// Whether it may be told whether rules held. Those of a derived product are its owner's, and what they ask could be of
    /// others' rows.
    fn tells(&self, restricted: bool) -> bool {
        !restricted || self.of.is_own()
    }

    /// Whether the same was found.
    fn is_as(&self, other: &Self) -> bool {
        (&self.of, &self.rules) == (&other.of, &other.rules)
    }
}

impl Seen {
    /// Remembers what came of a product's rules, and says whether it is other than the last time.
    pub fn note_held(&self, product: &Product, held: Held) -> bool {
        let key = (product.name.clone(), product.contract.major);
        let mut seen = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        let of_product = seen.entry(key).or_default();
        // What is found again is the same finding.
        let again = of_product.back().is_some_and(|last| last.is_as(&held));
        if again {
            of_product.pop_back();
        }
        of_product.push_back(held);
        while of_product.len() > REMEMBERED {
            of_product.pop_front();
        }
        !again
    }

    /// The last that is remembered of a product.
    pub fn last_held(&self, product: &Product) -> Option<Held> {
        self.all_held(product).pop_back()
    }

    fn all_held(&self, product: &Product) -> VecDeque<Held> {
        let seen = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        seen.get(&(product.name.clone(), product.contract.major)).cloned().unwrap_or_default()
    }

    /// Forgets what is not served any more.
    pub fn keep_held(&self, served: impl Fn(&ProductName, u32) -> bool) {
        let mut seen = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        seen.retain(|(name, major), _| served(name, *major));
    }

    /// The gravest that was found of a product the last time, as far as one may know it from whom something of it is kept or
    /// not.
    pub(super) fn verdict(&self, product: &Product, restricted: bool) -> Option<Verdict> {
        let last = self.last_held(product).filter(|last| last.tells(restricted))?;
        last.rules.iter().map(Verdict::of).max()
    }
}

impl Resolver {
    /// The rows of `mesh.quality`.
    pub(super) async fn quality(&self) -> Vec<Row> {
        let mut rows = Vec::new();
        for (name, _, product, grants) in self.decided().await {
            let restricted = grants.is_none_or(|Grants { columns, rows }| restricts(&columns, &rows));
            let mut held = self.seen.all_held(product);
            let restricted = restricted || !held.is_empty() && self.restricts_beneath(&name, product).await;
            let forgotten = if restricted { held.len().saturating_sub(1) } else { 0 };
            for held in held.drain(forgotten..).rev() {
                rows.extend(held.rules.iter().map(|rule| row(&name, &held, rule, restricted)));
            }
        }
        rows
    }

    /// Whether anything of what a derived product is made of is kept from one.
    pub(super) async fn restricts_beneath(&self, name: &ProductRef, product: &Product) -> bool {
        if product.contract.query().is_none() {
            return false;
        }
        let reference = TableReference::partial(name.product.domain().as_str(), table_part(name));
        // Boxed, since resolving a system table comes here again.
        let table = Box::pin(self.table(&reference, &At::newest(None))).await;
        table.map_or(true, |table| table.restricted)
    }
}

fn row(name: &ProductRef, held: &Held, ruled: &(Rule, Measured), restricted: bool) -> Row {
    let (rule, measured) = ruled;
    let told = |text: Option<String>| text.filter(|_| !restricted);
    let severity = match rule.severity {
        Severity::Error => "error",
        Severity::Warning => "warning",
        Severity::Note => "info",
    };
    let (number, reason) = match measured {
        Measured::Number { number, count: true } => (Some(rounded(*number).to_string()), None),
        Measured::Number { count: false, .. } => (None, None),
        Measured::Unknown(why) => (None, Some(why.clone())),
    };
    let columns = rule.columns().join(", ");
    vec![
        Some(name.product.domain().to_string()),
        Some(table_part(name)),
        Some(rule.name.clone().unwrap_or_else(|| rule.metric().to_owned())),
        Some(rule.metric().to_owned()),
        (!columns.is_empty()).then_some(columns),
        rule.dimension.clone(),
        Some(severity.to_owned()),
        Some(rule.expected()),
        held.tells(restricted).then(|| Verdict::of(ruled).as_str().to_owned()),
        told(number),
        rule.percent.then(|| "percent".to_owned()),
        told(reason),
        told(micros(held.at)),
        told(held.of.snapshot().map(|snapshot| snapshot.to_string())),
    ]
}
