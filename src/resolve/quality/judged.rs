//! What came of a rule of quality, as it is remembered: what it asked and what was counted, and no number that could be a
//! value of the data.

use polder_catalog::contract::Rule;
use polder_catalog::document::Severity;
use polder_catalog::live::{Measured, rounded};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

/// A rule, and what came of it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Judged {
    /// What tells the rule from every other one.
    key: String,
    /// Its name, or what it counts.
    pub rule: String,
    /// What it counts.
    pub metric: String,
    /// The columns that it is about.
    pub column: Option<String>,
    /// Its dimension.
    pub dimension: Option<String>,
    /// How grave it is when it does not hold.
    pub severity: Grade,
    /// What must hold.
    pub expected: String,
    /// Whether the number is a share.
    pub percent: bool,
    /// Whether it held.
    pub verdict: Verdict,
    /// What was counted.
    pub number: Option<f64>,
    /// Why there is no number.
    pub reason: Option<String>,
    /// Whether it asks for no values that are kept from people, so that anybody may know whether it held.
    #[serde(default)]
    pub open: bool,
    /// What was counted, where it can be added to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub counted: Option<Counted>,
}

/// Numbers to which those of further files can be added.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Counted {
    /// What tells the question, and what it was asked of, from all others.
    pub what: String,
    /// What was counted.
    pub row: Vec<Option<f64>>,
}

/// How grave it is when a rule does not hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Grade {
    /// An error.
    Error,
    /// A warning.
    Warning,
    /// Something to know.
    Info,
}

impl Grade {
    /// All of them, the gravest first.
    pub const ALL: [Self; 3] = [Self::Error, Self::Warning, Self::Info];

    /// The word for it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Error => "error",
            Self::Warning => "warning",
            Self::Info => "info",
        }
    }
}

/// What is said of rules, the gravest last.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Verdict {
    /// It held.
    Passed,
    /// It could not be counted.
    Unknown,
    /// It did not hold.
    Failed,
}

impl Verdict {
    /// The word for it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Passed => "passed",
            Self::Unknown => "unknown",
            Self::Failed => "failed",
        }
    }
}

impl Judged {
    /// What came of a rule, which is `open` where it asks for nothing that is kept from people.
    pub fn new(rule: &Rule, open: bool, measured: &Measured, counted: Option<Counted>) -> Self {
        let (number, reason) = match measured {
            Measured::Number { number, count: true } => (Some(rounded(*number)), None),
            Measured::Number { count: false, .. } => (None, None),
            Measured::Unknown(why) => (None, Some(why.clone())),
        };
        let columns = rule.columns().join(", ");
        Self {
            key: key(rule),
            rule: rule.name.clone().unwrap_or_else(|| rule.metric().to_owned()),
            metric: rule.metric().to_owned(),
            column: (!columns.is_empty()).then_some(columns),
            dimension: rule.dimension.clone(),
            severity: match rule.severity {
                Severity::Error => Grade::Error,
                Severity::Warning => Grade::Warning,
                Severity::Note => Grade::Info,
            },
            expected: rule.expected(),
            percent: rule.percent,
            verdict: match measured.holds(rule) {
                Some(true) => Verdict::Passed,
                Some(false) => Verdict::Failed,
                None => Verdict::Unknown,
            },
            number,
            reason,
            open,
            counted,
        }
    }

    /// The rule and its dimension, for people.
    pub fn called(&self) -> String {
        match &self.dimension {
            Some(dimension) => format!("{} ({dimension})", self.rule),
            None => self.rule.clone(),
        }
    }

    /// Whether it came of this rule, wherever that stands now.
    pub(super) fn is_of(&self, rule: &Rule, open: bool) -> bool {
        self.key == key(rule) && self.open == open
    }
}

fn key(rule: &Rule) -> String {
    let Rule { name, check, column, bounds, percent, severity, dimension, place: _ } = rule;
    let text = format!("{:?}", (name, check, column, bounds, percent, severity, dimension));
    Sha256::digest(text).iter().map(|byte| format!("{byte:02x}")).collect()
}
