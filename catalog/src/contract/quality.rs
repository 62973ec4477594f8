//! Quality rules of the standard's library that follow from what a table's files say of themselves.
//!
//! ```text
//! quality: [{ metric: rowCount, mustBeGreaterThan: 0 }]                  of a schema object
//! quality: [{ metric: nullValues, mustBeLessThan: 5, unit: percent }]    of a property
//! ```
//!
//! Other metrics, SQL, and the rules of other programs are kept with the document and not looked at.

use crate::document::fields::{Fields, list};
use crate::document::yaml::{Kind, Node};
use crate::document::{Place, Report};

/// A rule about a table, or about a column of it.
#[derive(Debug, Clone, PartialEq)]
pub struct Rule {
    /// What is counted.
    pub metric: Metric,
    /// The column that it is about.
    pub column: Option<String>,
    /// What must hold of the count.
    pub bound: Bound,
    /// Whether that is a share of all rows, in percent.
    pub percent: bool,
    /// Whether the contract calls it an error.
    pub grave: bool,
    /// Where it stands.
    pub place: Place,
}

/// What is counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Metric {
    /// `rowCount`
    Rows,
    /// `nullValues`
    Nulls,
}

/// What must hold of a number.
#[derive(Debug, Clone, PartialEq)]
pub struct Bound {
    /// The operator, as the standard calls it.
    pub operator: &'static str,
    /// With what it compares, one number or two.
    pub with: Vec<f64>,
}

const OPERATORS: [&str; 8] = [
    "mustBe",
    "mustNotBe",
    "mustBeGreaterThan",
    "mustBeGreaterOrEqualTo",
    "mustBeLessThan",
    "mustBeLessOrEqualTo",
    "mustBeBetween",
    "mustNotBeBetween",
];

impl Bound {
    /// Whether it holds of a number.
    pub fn holds(&self, number: f64) -> bool {
        match (self.operator, self.with.as_slice()) {
            ("mustBe", [with]) => number == *with,
            ("mustNotBe", [with]) => number != *with,
            ("mustBeGreaterThan", [with]) => number > *with,
            ("mustBeGreaterOrEqualTo", [with]) => number >= *with,
            ("mustBeLessThan", [with]) => number < *with,
            ("mustBeLessOrEqualTo", [with]) => number <= *with,
            ("mustBeBetween", [least, most]) => (*least..=*most).contains(&number),
            ("mustNotBeBetween", [least, most]) => !(*least..=*most).contains(&number),
            _ => false,
        }
    }
}

impl std::fmt::Display for Bound {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let with: Vec<String> = self.with.iter().map(f64::to_string).collect();
        write!(f, "`{}: {}`", self.operator, with.join(", "))
    }
}

/// The rules that stand at an object, or at the property `column`.
pub(super) fn rules(fields: &mut Fields<'_>, column: Option<&str>, report: &mut Report) -> Vec<Rule> {
    let nodes = fields.get("quality").map(|node| list(node, "quality", report)).unwrap_or_default();
    nodes.iter().filter_map(|node| rule(node, column, report)).collect()
}

fn rule(node: &Node, column: Option<&str>, report: &mut Report) -> Option<Rule> {
    let mut fields = Fields::of(node, "a quality rule", report)?;
    let metric = match (fields.text("metric", &mut Report::default())?, column) {
        ("rowCount", _) => Metric::Rows,
        ("nullValues", Some(_)) => Metric::Nulls,
        _ => return None,
    };
    let bound = OPERATORS.into_iter().find_map(|operator| Some((operator, fields.get(operator)?)));
    let bound = bound.and_then(|(operator, node)| {
        let with = numbers(node)?;
        let wanted = if operator.ends_with("Between") { 2 } else { 1 };
        (with.len() == wanted).then_some(Bound { operator, with })
    });
    let Some(bound) = bound else {
        report
            .warning("contract/quality", &node.place, "the rule does not say what must hold of its metric")
            .help(format!("write a number, or two for what lies between, under one of {}", OPERATORS.join(", ")));
        return None;
    };
    let says = |fields: &mut Fields<'_>, key, what: &str| {
        fields.text(key, &mut Report::default()).is_some_and(|text| text.eq_ignore_ascii_case(what))
    };
    let percent = says(&mut fields, "unit", "percent") && metric == Metric::Nulls;
    let grave = says(&mut fields, "severity", "error");
    let column = column.filter(|_| metric == Metric::Nulls).map(str::to_owned);
    Some(Rule { metric, column, bound, percent, grave, place: node.place.clone() })
}

/// A number, or a list of numbers.
fn numbers(node: &Node) -> Option<Vec<f64>> {
    match &node.kind {
        Kind::Scalar { text, .. } if node.what() == "a number" => text.parse().ok().map(|number| vec![number]),
        Kind::List(items) => items.iter().map(|item| numbers(item)?.first().copied()).collect(),
        _ => None,
    }
}
