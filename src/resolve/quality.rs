//! `mesh.quality`: what came of the rules of quality that contracts state, each time that they were held against the data.
//!
//! Nothing is counted here: who looks at tables tells what was found, and the last few findings of each product are
//! remembered. Who may discover a product learns of each rule whether it held the last time; of a derived product only where
//! all that it is made of lies in its own domain, since by a rule its owner could else ask of others' rows. Of a rule that asks for
//! values of columns with protected tags, by SQL or by a list or pattern of values, neither: its owner may be kept from them. What was counted, when and of
//! which snapshot, and what was before, tells of hidden rows and of changes that one may not see: it is for those alone from
//! whom nothing of the product is kept.

mod judged;

use std::collections::{HashMap, VecDeque};
use std::fmt::Write;
use std::sync::PoisonError;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime};

use datafusion::common::TableReference;
use polder_catalog::contract::Rule;
use polder_catalog::mesh::{Mesh, Product};
use polder_catalog::name::{ProductName, ProductRef};
use polder_catalog::policy::Grants;
use serde::{Deserialize, Serialize};

use super::health::{Seen, micros};
use super::system::Row;
use super::{At, Resolver, restricts, table_part};
pub use judged::{Counted, Grade, Judged, Verdict};

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

/// How often products were held against their rules, and for how long.
#[derive(Debug, Default)]
pub(super) struct Runs {
    noted: AtomicU64,
    micros: AtomicU64,
}

/// What came of holding the data of a product against its rules.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Held {
    /// When.
    pub at: SystemTime,
    /// What was looked at.
    pub of: Of,
    /// The rules as they were, and what came of each.
    pub rules: Vec<Judged>,
}

/// What was held against rules.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Of {
    /// Nothing: it could not be looked at.
    Nothing,
    /// A table, at its snapshot if it had one.
    Table(Option<i64>),
    /// What a query makes of other products.
    Query {
        /// What tells the query and the snapshots that it read from all others; nothing where its rows may be others though none of these is.
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

    /// The snapshot of a table.
    pub fn snapshot(&self) -> Option<i64> {
        match self {
            Self::Table(snapshot) => *snapshot,
            Self::Nothing | Self::Query { .. } => None,
        }
    }
}

impl Held {
    /// Whether it is what came of a product's rules.
    pub fn is_of(&self, mesh: &Mesh, product: &Product) -> bool {
        let rules = &product.contract.quality;
        let is_of = |(judged, rule): (&Judged, &Rule)| judged.is_of(rule, !mesh.asks_for_kept(product, rule));
        self.rules.len() == rules.len() && self.rules.iter().zip(rules).all(is_of)
    }

    /// What was counted for a question.
    pub fn counted(&self, what: &str) -> Option<&Counted> {
        self.rules.iter().filter_map(|judged| judged.counted.as_ref()).find(|counted| counted.what == what)
    }

    /// The rules of which it may be told whether they held. Those of a derived product are its owner's, and what they ask could
    /// be of others' rows; and those of a table may ask for what its owner may not see either.
    fn told(&self, restricted: bool) -> impl Iterator<Item = &Judged> {
        self.rules.iter().filter(move |judged| self.tells(judged, restricted))
    }

    fn tells(&self, judged: &Judged, restricted: bool) -> bool {
        !restricted || judged.open && self.of.is_own()
    }

    /// Whether the same was found.
    fn is_as(&self, other: &Self) -> bool {
        (&self.of, &self.rules) == (&other.of, &other.rules)
    }
}

impl Seen {
    /// Remembers what came of a product's rules, and says whether it is other than the last time.
    pub fn note_held(&self, product: &Product, held: Held) -> bool {
        self.remember(&product.name, product.contract.major, held)
    }

    /// The same of a product by its name.
    pub fn remember(&self, name: &ProductName, major: u32, held: Held) -> bool {
        let key = (name.clone(), major);
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

    /// All that is remembered, the last of each product at the end.
    pub fn remembered(&self) -> Vec<((ProductName, u32), Held)> {
        let seen = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        seen.iter().flat_map(|(key, held)| held.iter().map(|held| (key.clone(), held.clone()))).collect()
    }

    /// Counts that a product was held against its rules, which took so long.
    pub fn note_run(&self, took: Duration) {
        self.runs.noted.fetch_add(1, Ordering::Relaxed);
        let took = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
        self.runs.micros.fetch_add(took, Ordering::Relaxed);
    }

    /// What was checked, as Prometheus reads it. Who reads it is asked for no name, so it counts no rules that could be
    /// about others' rows than their owner's.
    pub fn render(&self) -> String {
        let seen = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        let rules = || seen.values().filter_map(VecDeque::back).flat_map(|held| held.told(true));
        let seconds = Duration::from_micros(self.runs.micros.load(Ordering::Relaxed)).as_secs_f64();
        let mut text = format!(
            "# HELP polder_quality_runs_total How often a product was held against its rules of quality.\n\
             # TYPE polder_quality_runs_total counter\n\
             polder_quality_runs_total {}\n\
             # HELP polder_quality_seconds_total How long that took.\n\
             # TYPE polder_quality_seconds_total counter\n\
             polder_quality_seconds_total {seconds}\n\
             # HELP polder_quality_failed Rules that did not hold the last time.\n\
             # TYPE polder_quality_failed gauge\n",
            self.runs.noted.load(Ordering::Relaxed)
        );
        for grade in Grade::ALL {
            let failed = |judged: &&Judged| judged.verdict == Verdict::Failed && judged.severity == grade;
            let (failed, grade) = (rules().filter(failed).count(), grade.as_str());
            let _ = writeln!(text, "polder_quality_failed{{severity=\"{grade}\"}} {failed}");
        }
        let unknown = rules().filter(|judged| judged.verdict == Verdict::Unknown).count();
        text + &format!(
            "# HELP polder_quality_unknown Rules that could not be held against the data the last time.\n\
             # TYPE polder_quality_unknown gauge\n\
             polder_quality_unknown {unknown}\n"
        )
    }

    /// Forgets what is not served any more.
    pub fn keep_held(&self, served: impl Fn(&ProductName, u32) -> bool) {
        let mut seen = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        seen.retain(|(name, major), _| served(name, *major));
    }

    /// The gravest that was found of a product the last time, and of which rules unless all hold, as far as one may know it
    /// from whom something of it is kept or not.
    pub(super) fn verdict(&self, product: &Product, restricted: bool) -> Option<(Verdict, Option<String>)> {
        let last = self.last_held(product)?;
        let gravest = last.told(restricted).map(|judged| judged.verdict).max()?;
        let behind = last.told(restricted).filter(|judged| judged.verdict == gravest).map(Judged::called);
        let behind = (gravest != Verdict::Passed).then(|| behind.collect::<Vec<_>>().join(", "));
        Some((gravest, behind))
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
        let table = self.table_anew(&reference, &At::newest(None)).await;
        table.map_or(true, |table| table.restricted)
    }
}

fn row(name: &ProductRef, held: &Held, judged: &Judged, restricted: bool) -> Row {
    let told = |text: Option<String>| text.filter(|_| !restricted);
    vec![
        Some(name.product.domain().to_string()),
        Some(table_part(name)),
        Some(judged.rule.clone()),
        Some(judged.metric.clone()),
        judged.column.clone(),
        judged.dimension.clone(),
        Some(judged.severity.as_str().to_owned()),
        Some(judged.expected.clone()),
        held.tells(judged, restricted).then(|| judged.verdict.as_str().to_owned()),
        told(judged.number.map(|number| number.to_string())),
        judged.percent.then(|| "percent".to_owned()),
        told(judged.reason.clone()),
        told(micros(held.at)),
        told(held.of.snapshot().map(|snapshot| snapshot.to_string())),
    ]
}
