//! What somebody sees of a statement, and whether two such answers differ.

use std::collections::BTreeMap;
use std::sync::Arc;

use datafusion::arrow::array::{ArrayRef, Int64Array, RecordBatch};
use datafusion::arrow::compute::concat_batches;
use datafusion::arrow::datatypes::SchemaRef;
use datafusion::arrow::ipc::writer::StreamWriter;
use futures::TryStreamExt;
use polder::error::Error;
use polder::flight::encode::{wire_batch, wire_schema};
use polder::session::{Engine, Request, Values};
use polder_catalog::principal::Principal;

use super::query::Query;
use crate::lines::cells;

/// All that is seen of a statement.
#[derive(Debug)]
pub struct Answer {
    pub rows: Result<Rows, Error>,
    /// With parameters in the places of its numbers, to which these are bound.
    pub bound: Option<Result<Rows, Error>>,
    /// Both once more, by plans that were kept.
    pub again: [Option<Result<Rows, Error>>; 2],
    pub plan: Result<Vec<Vec<String>>, String>,
    pub policy: Result<Vec<Vec<String>>, String>,
    pub profile: Result<Vec<Vec<String>>, String>,
}

#[derive(Debug)]
pub struct Rows {
    pub schema: String,
    pub notices: Vec<String>,
    pub lines: Vec<Vec<String>>,
    /// As they travel: batch by batch, and as one.
    pub bytes: [Vec<u8>; 2],
}

/// Asks a statement, what its plan is, and what the policies say of it.
pub async fn ask(engine: &Arc<Engine>, who: &Principal, query: &Query) -> Answer {
    let request = |sql: &str, values| Request { values, ..Request::new(sql) };
    let (mut bound, mut bound_again) = (None, None);
    if let Some((sql, values)) = parameters(&query.sql) {
        let ask = || rows(engine, who, request(&sql, Values::Row(values.clone(), 0)));
        bound = Some(ask().await);
        // The second time its plan is kept, the third time it is used.
        let _ = ask().await;
        bound_again = Some(ask().await);
    }
    let ask = || rows(engine, who, request(&query.sql, Values::None));
    Answer {
        rows: ask().await,
        again: [Some(ask().await), bound_again],
        bound,
        plan: told(engine, who, query, "EXPLAIN").await,
        policy: told(engine, who, query, "EXPLAIN POLICY").await,
        profile: told(engine, who, query, "EXPLAIN ANALYZE").await,
    }
}

async fn told(engine: &Arc<Engine>, who: &Principal, query: &Query, what: &str) -> Result<Vec<Vec<String>>, String> {
    match query.is_select {
        true => match rows(engine, who, Request::new(format!("{what} {}", query.sql))).await {
            Ok(rows) => Ok(rows.lines),
            Err(error) => Err(error.to_string()),
        },
        false => Ok(Vec::new()),
    }
}

/// The statement with parameters in the places of the numbers that are compared or reckoned with, and these numbers.
fn parameters(sql: &str) -> Option<(String, RecordBatch)> {
    let (mut made, mut numbers): (String, Vec<ArrayRef>) = (String::new(), Vec::new());
    let mut quoted: Option<char> = None;
    let mut rest = sql;
    while let Some(letter) = rest.chars().next() {
        quoted = match quoted {
            Some(quote) if letter == quote => None,
            None if letter == '\'' || letter == '"' => Some(letter),
            other => other,
        };
        let digits = rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len());
        let taken = digits.max(letter.len_utf8());
        let part = matches!(rest[taken..].chars().next(), Some(c) if c.is_alphanumeric() || c == '.' || c == '_');
        let reckoned = made.trim_end().ends_with(['=', '<', '>', '+', '-', '*', '/', '%']);
        match rest[..digits].parse::<i64>() {
            Ok(number) if quoted.is_none() && reckoned && !part => {
                made.push('?');
                numbers.push(Arc::new(Int64Array::from(vec![number])));
            }
            _ => made.push_str(&rest[..taken]),
        }
        rest = &rest[taken..];
    }
    let named = numbers.into_iter().enumerate().map(|(place, number)| (place.to_string(), number));
    let values = RecordBatch::try_from_iter(named).ok()?;
    Some((made, values)).filter(|(_, values)| values.num_columns() > 0)
}

async fn rows(engine: &Arc<Engine>, who: &Principal, request: Request) -> Result<Rows, Error> {
    let planned = engine.plan_request(who, request).await?;
    let schema = planned.schema();
    let (notices, told) = (planned.notices().to_vec(), planned.snapshots().keys().cloned().collect::<Vec<_>>());
    let batches: Vec<RecordBatch> = planned.run()?.try_collect().await?;
    let wire = wire_schema(&schema);
    let lines = cells(&batches).collect();
    let whole = concat_batches(&schema, &batches).unwrap();
    let bytes = [written(&wire, &batches), written(&wire, &[whole])];
    Ok(Rows { schema: format!("{schema:?} {told:?}"), notices, lines, bytes })
}

fn written(wire: &SchemaRef, batches: &[RecordBatch]) -> Vec<u8> {
    let mut bytes = StreamWriter::try_new(Vec::new(), wire).unwrap();
    batches.iter().for_each(|batch| bytes.write(&wire_batch(wire, batch).unwrap()).unwrap());
    bytes.into_inner().unwrap()
}

/// Whether a lake gives, at some time, the plan that another one gave. DataFusion puts some columns in an order by chance.
pub async fn plans_alike(engine: &Arc<Engine>, who: &Principal, query: &Query, plan: &Answer) -> bool {
    for _ in 0..12 {
        if told(engine, who, query, "EXPLAIN").await == plan.plan {
            return true;
        }
    }
    false
}

/// Where two answers to a statement differ beside their plans, if they do. In one partition even their bytes are the same.
pub fn difference(query: &Query, one_partition: bool, a: &Answer, b: &Answer) -> Option<String> {
    let told =
        |what: &str, a: &dyn std::fmt::Debug, b: &dyn std::fmt::Debug| Some(format!("{what}\nA: {a:#?}\nB: {b:#?}"));
    if a.policy != b.policy {
        return told("EXPLAIN POLICY", &a.policy, &b.policy);
    }
    if query.is_restricted && counts(&a.profile) != counts(&b.profile) {
        return told("EXPLAIN ANALYZE", &a.profile, &b.profile);
    }
    let differ = |a: Option<&Result<Rows, Error>>, b: Option<&Result<Rows, Error>>, how: &str| {
        let (a, b) = a.zip(b)?;
        rows_differ(query, one_partition, a, b).map(|found| format!("{how}, {found}"))
    };
    rows_differ(query, one_partition, &a.rows, &b.rows)
        .or_else(|| differ(a.bound.as_ref(), b.bound.as_ref(), "with parameters"))
        .or_else(|| differ(a.again[0].as_ref(), b.again[0].as_ref(), "the second time"))
        .or_else(|| differ(a.again[1].as_ref(), b.again[1].as_ref(), "with parameters, the third time"))
        .or_else(|| differ(Some(&a.rows), a.again[0].as_ref(), "from the first time to the second"))
        .or_else(|| differ(a.bound.as_ref(), a.again[1].as_ref(), "from the first time to the third, with parameters"))
}

/// What a profile tells beside the plan, which `EXPLAIN` is compared by: each figure in it.
fn counts(profile: &Result<Vec<Vec<String>>, String>) -> Result<Vec<String>, String> {
    let figures = ["rows=", "elapsed=", "metrics=", "bytes=", "batches=", "time="];
    let lines = profile.as_ref().map_err(String::clone)?.iter().flatten().flat_map(|text| text.lines());
    Ok(lines.filter(|line| figures.iter().any(|figure| line.contains(figure))).map(str::to_owned).collect())
}

fn rows_differ(query: &Query, one_partition: bool, a: &Result<Rows, Error>, b: &Result<Rows, Error>) -> Option<String> {
    let told =
        |what: &str, a: &dyn std::fmt::Debug, b: &dyn std::fmt::Debug| Some(format!("{what}\nA: {a:#?}\nB: {b:#?}"));
    let (a, b) = match (a, b) {
        (Ok(a), Ok(b)) => (a, b),
        // Which of several values is quoted is chance, where all of them may be.
        (Err(a), Err(b)) if !query.is_restricted && a.class == b.class => return None,
        (Err(a), Err(b)) if a.to_string() == b.to_string() => return None,
        (a, b) => {
            let told = |answer: &Result<Rows, Error>| match answer {
                Ok(rows) => format!("{} rows", rows.lines.len()),
                Err(error) => error.to_string(),
            };
            return Some(format!("outcome\nA: {}\nB: {}", told(a), told(b)));
        }
    };
    if (&a.schema, &a.notices) != (&b.schema, &b.notices) {
        return told("schema", &(&a.schema, &a.notices), &(&b.schema, &b.notices));
    }
    let lines = |rows: &Rows| {
        let mut lines = renamed(&rows.lines, &query.hashes);
        if !query.is_ordered {
            lines.sort();
        }
        lines
    };
    let (of_a, of_b) = (lines(a), lines(b));
    if of_a != of_b {
        return told("rows", &of_a, &of_b);
    }
    if query.is_ordered && one_partition && query.hashes.is_empty() {
        let [batches, whole] = [0, 1].map(|part| a.bytes[part] != b.bytes[part]);
        if whole || query.is_cut && batches {
            return Some("bytes".to_owned());
        }
    }
    None
}

/// Lines in which each hash has a name by where it stands first.
fn renamed(lines: &[Vec<String>], hashes: &[usize]) -> Vec<Vec<String>> {
    let mut names: BTreeMap<String, String> = BTreeMap::new();
    let mut line = |line: &Vec<String>| {
        let mut line = line.clone();
        for place in hashes.iter() {
            let next = format!("#{}", names.len());
            if line[*place] != "NULL" {
                line[*place] = names.entry(line[*place].clone()).or_insert(next).clone();
            }
        }
        line
    };
    lines.iter().map(&mut line).collect()
}
