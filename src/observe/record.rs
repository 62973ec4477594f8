//! What a record says, and its text.

use std::net::IpAddr;

use serde::Serialize;

use super::clock;
use super::lineage::Answer;
use super::recent::Recorded;
use super::traces::Parent;
use crate::error::Class;

/// The longest record that names all columns, in bytes.
const LONGEST: usize = 4 << 20;

/// The way that a statement came by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Over {
    /// From this process itself.
    #[default]
    Embedded,
    /// Over Flight SQL.
    Flight,
    /// Over HTTP.
    Http,
}

impl Over {
    /// Every way, once, in their order.
    pub const ALL: [Self; 3] = [Self::Embedded, Self::Flight, Self::Http];

    /// The word for it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Embedded => "embedded",
            Self::Flight => "flight",
            Self::Http => "http",
        }
    }
}

/// Where a statement came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
pub struct Origin {
    /// By which way.
    pub over: Over,
    /// From which address.
    #[serde(rename = "from")]
    pub peer: Option<IpAddr>,
    /// The span of its caller.
    #[serde(skip)]
    pub parent: Option<Parent>,
}

/// Who asked what.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Asked {
    /// The principal's id.
    pub who: String,
    /// Its groups.
    pub groups: Vec<String>,
    /// The purpose that was declared.
    pub purpose: Option<String>,
    /// The text, without its literals unless the mesh says otherwise; none of what cannot be read.
    pub statement: Option<String>,
    /// Whether the text is longer than what is kept of it.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub cut: bool,
    /// What statements have in common that differ in their literals alone.
    pub fingerprint: Option<String>,
}

/// A table that is read.
#[derive(Debug, Clone, Serialize)]
pub struct Read {
    /// The product or system table.
    pub product: String,
    /// Its version, as the statement writes it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
    /// The snapshot. As text: it does not fit the numbers of many JSON readers.
    pub snapshot: Option<String>,
    /// The derived product with the rights of whose owner it was read, where that was not who asked.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rights_of: Option<String>,
    /// Whether the principal may know the snapshot.
    #[serde(skip)]
    pub told: bool,
    /// The columns that have a say in the answer.
    pub columns: Vec<Column>,
    /// How many of them are not told here, since there are too many.
    #[serde(skip_serializing_if = "is_none")]
    pub left_out: usize,
    /// The policies on its rows.
    pub rows: Vec<String>,
}

/// A column that has a say in an answer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Column {
    /// Its name, with the fields inside of it behind dots.
    pub column: String,
    /// How it reaches the answer: `value`, `predicate`, `join`, `group`, `order`, `window`.
    pub via: Vec<&'static str>,
    /// `raw` or `masked`.
    pub effect: &'static str,
    /// The mask.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mask: Option<String>,
    /// The policies that say so.
    pub policies: Vec<String>,
}

/// A statement as it is recorded.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Statement {
    /// Who asked what.
    #[serde(flatten)]
    pub asked: Asked,
    /// What it reads.
    pub reads: Vec<Read>,
    /// What its answer is made of, for who follows that.
    #[serde(skip)]
    pub answer: Option<Answer>,
}

/// How a statement ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// All of its rows were read.
    Whole,
    /// With an error of this class.
    Failed(Class),
}

impl Outcome {
    /// The words for it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Whole => "ok",
            Self::Failed(class) => class.as_str(),
        }
    }
}

/// What every record begins with, and what it says.
#[derive(Serialize)]
struct Body<'a, T: Serialize> {
    at: String,
    kind: &'a str,
    #[serde(flatten)]
    says: T,
}

/// The text of a record without its place in the chain: a JSON object.
pub(super) fn body(at: i64, kind: &str, says: impl Serialize) -> String {
    // What is serialized has texts for keys, so that this cannot fail.
    serde_json::to_string(&Body { at: clock::written(at), kind, says })
        .unwrap_or_else(|_| "{\"kind\":\"unwritten\"}".to_owned())
}

#[derive(Serialize)]
struct Begun<'a> {
    id: &'a str,
    #[serde(flatten)]
    origin: Origin,
    #[serde(flatten)]
    statement: &'a Statement,
}

#[derive(Serialize)]
struct Ended<'a> {
    outcome: &'static str,
    rows: u64,
    bytes: u64,
    ms: u64,
    #[serde(flatten)]
    of: Of<'a>,
}

#[derive(Serialize)]
struct Of<'a> {
    id: &'a str,
    who: &'a str,
}

#[derive(Serialize)]
struct Refused<'a> {
    #[serde(flatten)]
    begun: Begun<'a>,
    outcome: &'static str,
    ms: u64,
}

fn is_none(count: &usize) -> bool {
    *count == 0
}

fn start<'a>(recorded: &'a Recorded, statement: &'a Statement) -> Begun<'a> {
    Begun { id: recorded.id(), origin: recorded.origin(), statement }
}

/// A statement starts. One that reads very many columns is told with their number alone.
pub(super) fn begun(recorded: &Recorded) -> String {
    let whole = body(recorded.at(), "begin", start(recorded, recorded.statement()));
    if whole.len() <= LONGEST {
        return whole;
    }
    let mut shorter = recorded.statement().clone();
    for read in &mut shorter.reads {
        read.left_out = read.columns.len();
        read.columns = Vec::new();
    }
    body(recorded.at(), "begin", start(recorded, &shorter))
}

/// A statement has ended.
pub(super) fn ended(recorded: &Recorded) -> String {
    let (rows, bytes) = recorded.sent();
    let (outcome, took) = recorded.ended().unwrap_or((Outcome::Failed(Class::Cancelled), 0));
    let of = Of { id: recorded.id(), who: &recorded.statement().asked.who };
    body(clock::now(), "end", Ended { outcome: outcome.as_str(), rows, bytes, ms: took / 1_000, of })
}

/// A statement was refused before it ran.
pub(super) fn refused(recorded: &Recorded) -> String {
    let (outcome, took) = recorded.ended().unwrap_or((Outcome::Failed(Class::Bug), 0));
    body(
        recorded.at(),
        "refused",
        Refused { begun: start(recorded, recorded.statement()), outcome: outcome.as_str(), ms: took / 1_000 },
    )
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use std::sync::Arc;

    use super::*;

    #[test]
    fn a_record_is_one_line_of_json_whatever_the_statement_holds() {
        let asked = Asked { who: "ad\"a".to_owned(), statement: Some("a\nb\u{1}ü".to_owned()), ..Asked::default() };
        let recorded = Recorded::new(Arc::new(Statement { asked, ..Statement::default() }), Origin::default());
        for record in [begun(&recorded), ended(&recorded), refused(&recorded)] {
            assert!(!record.contains('\n'), "{record}");
            let record: serde_json::Value = serde_json::from_str(&record).unwrap();
            assert_eq!(record.get("who").unwrap(), "ad\"a");
        }
    }

    #[test]
    fn very_many_columns_are_told_by_their_number() {
        let column = |number: usize| Column {
            column: format!("c{number}"),
            via: vec!["value"],
            effect: "raw",
            mask: None,
            policies: vec!["all".to_owned()],
        };
        let read = Read {
            product: "d.p".to_owned(),
            version: None,
            snapshot: None,
            rights_of: None,
            told: true,
            columns: (0..100_000).map(column).collect(),
            left_out: 0,
            rows: Vec::new(),
        };
        let statement = Statement { reads: vec![read], ..Statement::default() };
        let record = begun(&Recorded::new(Arc::new(statement), Origin::default()));
        assert!(record.len() < 1_000 && record.contains("\"left_out\":100000"), "{} bytes", record.len());
    }
}
