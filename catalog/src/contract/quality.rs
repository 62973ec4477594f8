//! The rules of quality that a contract states of its data, as far as they are looked at here.
//!
//! ```text
//! quality: [{ metric: rowCount, mustBeGreaterThan: 0 }]                                        of a schema object
//! quality: [{ metric: invalidValues, arguments: { validValues: [a, b] }, mustBe: 0 }]          of a property
//! quality: [{ type: sql, query: "SELECT count(*) FROM ${object} WHERE …", mustBeLessThan: 5 }]  of either
//! ```
//!
//! A rule counts something, and says what must hold of the number. Texts and the rules of other programs are kept with
//! the document and not run. One that can never be held is an error that keeps nothing from being served: the contract
//! promises what nobody looks at. Nothing here looks at a table.

use std::fmt;

use regex::Regex;

use crate::document::fields::{Fields, list, text, texts};
use crate::document::yaml::{Kind, Node};
use crate::document::{Place, Report, Severity, nearest, quote};

/// A rule about a table, or about a column of it.
#[derive(Debug, Clone, PartialEq)]
pub struct Rule {
    /// Its own name, or else its id, where it has one.
    pub name: Option<String>,
    /// What is counted.
    pub check: Check,
    /// The column that it stands at.
    pub column: Option<String>,
    /// What must hold of the number; all of them.
    pub bounds: Vec<Bound>,
    /// Whether the number is a share of all rows, in percent.
    pub percent: bool,
    /// How grave it is by the contract when it does not hold.
    pub severity: Severity,
    /// The dimension of quality, as the standard has them.
    pub dimension: Option<String>,
    /// Where it stands.
    pub place: Place,
}

/// What is counted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Check {
    /// `rowCount`
    Rows,
    /// `nullValues`
    Nulls,
    /// `missingValues`: NULLs, and the values that mean as much.
    Missing(Vec<Literal>),
    /// `invalidValues`: values that are none of these, or do not match. A NULL is not invalid.
    Invalid {
        /// The values that are valid, where they are listed.
        values: Option<Vec<Literal>>,
        /// The regular expression that valid values match.
        pattern: Option<String>,
    },
    /// `duplicateValues`: values, of these columns together, that more than one row has. NULLs are none.
    Duplicates(Vec<String>),
    /// The number that a query gives, with placeholders as they are written.
    Sql(String),
}

/// A value as a contract writes it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Literal {
    /// A number or a truth value.
    Plain(String),
    /// A text.
    Text(String),
}

/// What must hold of a number.
#[derive(Debug, Clone, PartialEq)]
pub struct Bound {
    /// The operator, as the standard calls it.
    pub operator: &'static str,
    /// With what it compares, one number or two.
    pub with: Vec<f64>,
}

/// The metrics of the standard's library.
const METRICS: [&str; 5] = ["rowCount", "nullValues", "missingValues", "invalidValues", "duplicateValues"];

/// What they are about, for whom a rule is told that its metric is none.
const WHERE: &str = "of an object there are rowCount and duplicateValues, of a property nullValues, missingValues, \
                     invalidValues and duplicateValues; all else is for `type: sql`";

/// Which kinds of rules the standard has.
const TYPES: [&str; 4] = ["library", "sql", "text", "custom"];

/// The dimensions of the standard, each with its short name.
const DIMENSIONS: [(&str, &str); 7] = [
    ("accuracy", "ac"),
    ("completeness", "cp"),
    ("conformity", "cf"),
    ("consistency", "cs"),
    ("coverage", "cv"),
    ("timeliness", "tm"),
    ("uniqueness", "uq"),
];

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

impl fmt::Display for Bound {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let with: Vec<String> = self.with.iter().map(f64::to_string).collect();
        match with.as_slice() {
            [one] => write!(f, "{}: {one}", self.operator),
            _ => write!(f, "{}: [{}]", self.operator, with.join(", ")),
        }
    }
}

impl Rule {
    /// Whether all holds that must hold of the number.
    pub fn holds(&self, number: f64) -> bool {
        self.bounds.iter().all(|bound| bound.holds(number))
    }

    /// What must hold, as the contract writes it.
    pub fn expected(&self) -> String {
        expected(&self.bounds)
    }

    /// The metric, as the standard calls it.
    pub fn metric(&self) -> &'static str {
        match self.check {
            Check::Rows => "rowCount",
            Check::Nulls => "nullValues",
            Check::Missing(_) => "missingValues",
            Check::Invalid { .. } => "invalidValues",
            Check::Duplicates(_) => "duplicateValues",
            Check::Sql(_) => "sql",
        }
    }

    /// The columns that it is about, if it does not say so in SQL.
    pub fn columns(&self) -> Vec<&str> {
        match &self.check {
            Check::Duplicates(columns) => columns.iter().map(String::as_str).collect(),
            _ => self.column.iter().map(String::as_str).collect(),
        }
    }
}

/// The rules that stand at an object, or at the property `column`.
pub(super) fn rules(fields: &mut Fields<'_>, column: Option<&str>, report: &mut Report) -> Vec<Rule> {
    let nodes = fields.get("quality").map(|node| list(node, "quality", report)).unwrap_or_default();
    nodes.iter().filter_map(|node| rule(node, column, report)).collect()
}

/// Notes the rules that are about columns which are not there.
pub(super) fn of_columns(rules: &[Rule], names: &[&str], report: &mut Report) {
    for rule in rules {
        for column in rule.columns().into_iter().filter(|column| !names.contains(column)) {
            let message = format!("the rule is about the column {}, which is not there", quote(column));
            report.warning("contract/quality", &rule.place, message).did_you_mean(column, names.iter().copied());
        }
    }
}

fn rule(node: &Node, column: Option<&str>, report: &mut Report) -> Option<Rule> {
    let mut fields = Fields::of(node, "a quality rule", report)?;
    let quiet = &mut Report::default();
    let kind = fields.text("type", quiet);
    let metric = fields.text("metric", quiet);
    let old = fields.text("rule", quiet);
    if let Some(kind) = kind.filter(|kind| !TYPES.contains(kind)) {
        let message = format!("the type {} of a rule is unknown, so nothing is counted", quote(kind));
        let noted = report.fault("contract/quality", fields.key_place("type"), message);
        noted.help(one_of(kind, TYPES));
        return None;
    }
    let check = match (kind, metric, old) {
        (Some("sql"), ..) => Some(Check::Sql(fields.required("query", report)?.to_owned())),
        (Some("text" | "custom"), None, _) => return None,
        (_, Some(metric), _) => library(metric, column, &mut fields, report)?,
        (_, None, Some(old)) => older(old, column, &mut fields, report)?,
        (Some(_), None, None) => {
            let message = "a rule of the library names no metric, so nothing is counted";
            report.fault("contract/metric", &node.place, message).help(WHERE);
            return None;
        }
        (None, None, None) => return None,
    };
    let Some(check) = check else {
        uncounted(metric, old.unwrap_or_default(), column, &fields, report);
        return None;
    };
    let bounds = bounds(&mut fields, &check, old.is_some(), node, report)?;
    let percent = fields.text("unit", quiet).is_some_and(|unit| unit.eq_ignore_ascii_case("percent"));
    let severity = severity(&mut fields, report);
    Some(Rule {
        name: fields.text("name", quiet).or_else(|| fields.text("id", quiet)).map(str::to_owned),
        column: column.map(str::to_owned),
        bounds,
        // Of these alone there is no share.
        percent: percent && !matches!(check, Check::Rows | Check::Sql(_)),
        severity,
        dimension: dimension(&mut fields, report),
        place: node.place.clone(),
        check,
    })
}

/// Notes a rule whose metric is not counted. Up to v3.0 any word could stand under `rule`, so that is no mistake.
fn uncounted(metric: Option<&str>, old: &str, column: Option<&str>, fields: &Fields<'_>, report: &mut Report) {
    let stands = if column.is_some() { "at a property" } else { "at a schema object" };
    let noted = match metric {
        Some(metric) if METRICS.contains(&metric) => {
            let message = format!("the metric {} means nothing {stands}, and is not looked at", quote(metric));
            report.warning("contract/metric", fields.key_place("metric"), message)
        }
        Some(metric) => {
            let message = format!("the metric {} is unknown, so nothing is counted", quote(metric));
            report.fault("contract/metric", fields.key_place("metric"), message)
        }
        None => {
            let message = format!("the rule {} means nothing {stands}, and is not looked at", quote(old));
            report.note("contract/metric", fields.key_place("rule"), message)
        }
    };
    // A name that is known needs no other.
    match nearest(metric.unwrap_or(old), METRICS).filter(|near| Some(*near) != metric) {
        Some(near) => noted.help(format!("did you mean `{near}`?")),
        None => noted.help(WHERE),
    }
}

/// How grave it is by the contract when a rule does not hold. The standard lets any word stand here.
fn severity(fields: &mut Fields<'_>, report: &mut Report) -> Severity {
    const KNOWN: [&str; 3] = ["error", "warning", "info"];
    let Some(written) = fields.scalar("severity", &mut Report::default()) else { return Severity::Warning };
    match written.to_ascii_lowercase().as_str() {
        "error" | "critical" | "high" => Severity::Error,
        "warning" | "warn" | "medium" => Severity::Warning,
        "info" | "low" => Severity::Note,
        other => {
            let message = format!("the severity {} is not known here, and is taken for `warning`", quote(written));
            let noted = report.warning("contract/quality-word", fields.key_place("severity"), message);
            noted.help(one_of(other, KNOWN));
            Severity::Warning
        }
    }
}

/// The dimension, as it is written.
fn dimension(fields: &mut Fields<'_>, report: &mut Report) -> Option<String> {
    let written = fields.scalar("dimension", &mut Report::default())?;
    let is = |known: &(&str, &str)| [known.0, known.1].iter().any(|name| written.eq_ignore_ascii_case(name));
    if !DIMENSIONS.iter().any(is) {
        let message = format!("the dimension {} is none of the standard's", quote(written));
        let noted = report.warning("contract/quality-word", fields.key_place("dimension"), message);
        noted.help(one_of(written, DIMENSIONS.map(|(name, _)| name)));
    }
    Some(written.to_owned())
}

/// What to write instead of a word that is none of these.
fn one_of<const N: usize>(written: &str, known: [&'static str; N]) -> String {
    match nearest(written, known) {
        Some(near) => format!("did you mean `{near}`?"),
        None => format!("write one of {}", known.join(", ")),
    }
}

/// A metric of the standard's library: nothing where it cannot be read, and `Some(None)` where it is not known.
fn library(metric: &str, column: Option<&str>, fields: &mut Fields<'_>, report: &mut Report) -> Option<Option<Check>> {
    let mut arguments = match fields.get("arguments") {
        Some(node) => Some(Fields::of(node, "`arguments`", report)?),
        None => None,
    };
    let mut listed = |key: &'static str, report: &mut Report| {
        let node = arguments.as_mut()?.get(key)?;
        Some(list(node, key, report).iter().filter_map(literal).collect::<Vec<_>>())
    };
    Some(match (metric, column) {
        ("rowCount", _) => Some(Check::Rows),
        ("nullValues", Some(_)) => Some(Check::Nulls),
        ("missingValues", Some(_)) => Some(Check::Missing(listed("missingValues", report).unwrap_or_default())),
        ("invalidValues", Some(_)) => {
            let values = listed("validValues", report);
            let pattern = arguments.as_mut().and_then(|arguments| arguments.get("pattern"));
            let pattern = pattern.and_then(|node| Some((text(node, "pattern", report)?, node)));
            if let Some((pattern, node)) = pattern
                && Regex::new(pattern).is_err()
            {
                let message = format!("{} is not a regular expression", quote(pattern));
                report.warning("contract/quality", &node.place, message);
                return None;
            }
            if values.is_none() && pattern.is_none() {
                let message = "the rule does not say which values are valid";
                report
                    .warning("contract/quality", fields.place, message)
                    .help("write `arguments: { validValues: […] }`, or a `pattern`");
                return None;
            }
            Some(Check::Invalid { values, pattern: pattern.map(|(pattern, _)| pattern.to_owned()) })
        }
        ("duplicateValues", Some(column)) => Some(Check::Duplicates(vec![column.to_owned()])),
        ("duplicateValues", None) => {
            let node = arguments.as_mut().and_then(|arguments| arguments.get("properties"));
            let columns = node.map(|node| texts(node, "properties", report)).unwrap_or_default();
            if columns.is_empty() {
                let message = "the rule does not say of which columns";
                report
                    .warning("contract/quality", fields.place, message)
                    .help("write `arguments: { properties: […] }`, or let it stand at a property");
                return None;
            }
            Some(Check::Duplicates(columns.into_iter().map(|(column, _)| column.to_owned()).collect()))
        }
        _ => None,
    })
}

/// The names that v3.0 of the standard had for metrics.
fn older(rule: &str, column: Option<&str>, fields: &mut Fields<'_>, report: &mut Report) -> Option<Option<Check>> {
    match (rule, column) {
        ("validValues", Some(_)) => {
            let values = list(fields.get("validValues")?, "validValues", report);
            let values = Some(values.iter().filter_map(literal).collect());
            Some(Some(Check::Invalid { values, pattern: None }))
        }
        ("duplicateCount", _) => library("duplicateValues", column, fields, report),
        ("nullCheck", _) => library("nullValues", column, fields, report),
        (metric, _) => library(metric, column, fields, report),
    }
}

/// A value that is listed; NULL is none.
fn literal(node: &Node) -> Option<Literal> {
    match &node.kind {
        Kind::Scalar { .. } if node.is_null() => None,
        Kind::Scalar { text, .. } if node.what() == "a text" => Some(Literal::Text(text.clone())),
        Kind::Scalar { text, .. } => Some(Literal::Plain(text.clone())),
        Kind::List(_) | Kind::Map(_) => None,
    }
}

/// What must hold; nothing where that cannot be told.
fn bounds(fields: &mut Fields<'_>, check: &Check, old: bool, node: &Node, report: &mut Report) -> Option<Vec<Bound>> {
    let written: Vec<_> =
        OPERATORS.into_iter().filter_map(|operator| Some((operator, fields.get(operator)?))).collect();
    if written.is_empty() && old && matches!(check, Check::Invalid { .. } | Check::Nulls) {
        return Some(vec![Bound { operator: "mustBe", with: vec![0.0] }]);
    }
    if written.is_empty() {
        report
            .warning("contract/quality", &node.place, "the rule does not say what must hold of its number")
            .help(format!("write a number, or two for what lies between, under one of {}", OPERATORS.join(", ")));
        return None;
    }
    let mut bounds = Vec::new();
    for (operator, node) in written {
        bounds.push(bound(operator, node, report)?);
    }
    if !can_hold(&bounds, check) {
        let message = format!("no number holds `{}`, so the rule fails whatever the data is", expected(&bounds));
        let help = match bounds.as_slice() {
            [_] => "what is counted is 0 or more",
            _ => "keep one of them, or write what may lie between: `mustBeBetween: [least, most]`",
        };
        report.fault("contract/quality", &node.place, message).help(help);
        return None;
    }
    Some(bounds)
}

/// One thing that must hold; nothing where that cannot be told.
fn bound(operator: &'static str, node: &Node, report: &mut Report) -> Option<Bound> {
    let (wanted, what, example) =
        if operator.ends_with("Between") { (2, "two numbers", "[1, 100]") } else { (1, "a number", "0") };
    let Some(with) = numbers(node).filter(|with| with.len() == wanted) else {
        let message = format!("`{operator}` is {what}, and this is {}", node.what());
        let noted = report.warning("contract/quality", &node.place, message);
        noted.help(format!("write it without quotes, like `{operator}: {example}`"));
        return None;
    };
    if let [least, most] = with.as_slice()
        && least > most
    {
        let message = format!("nothing lies between {least} and {most}, so the rule says nothing of the data");
        report
            .fault("contract/quality", &node.place, message)
            .help(format!("write the smaller number first: `{operator}: [{most}, {least}]`"));
        return None;
    }
    Some(Bound { operator, with })
}

/// Whether a number can hold all bounds. What holds changes at their numbers alone, so that these, what lies between two of
/// them and what lies beyond them stand for all; and what is counted is never below 0.
fn can_hold(bounds: &[Bound], check: &Check) -> bool {
    let mut ends: Vec<f64> = bounds.iter().flat_map(|bound| bound.with.iter().copied()).chain([0.0]).collect();
    ends.sort_by(f64::total_cmp);
    let between = ends.windows(2).filter_map(|pair| Some(pair.first()? / 2.0 + pair.last()? / 2.0));
    let beyond = [ends.first().map(|least| least * 2.0 - 1.0), ends.last().map(|most| most * 2.0 + 1.0)];
    let mut candidates = ends.iter().copied().chain(between).chain(beyond.into_iter().flatten());
    let is_number_of = |number: f64| number >= 0.0 || matches!(check, Check::Sql(_));
    candidates.any(|number| is_number_of(number) && bounds.iter().all(|bound| bound.holds(number)))
}

/// Bounds as a contract writes them.
fn expected(bounds: &[Bound]) -> String {
    bounds.iter().map(Bound::to_string).collect::<Vec<_>>().join(", ")
}

/// A number, or a list of numbers.
fn numbers(node: &Node) -> Option<Vec<f64>> {
    match &node.kind {
        Kind::Scalar { text, .. } if node.what() == "a number" => text.parse().ok().map(|number| vec![number]),
        Kind::List(items) => items.iter().map(|item| numbers(item)?.first().copied()).collect(),
        _ => None,
    }
}
