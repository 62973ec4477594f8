//! The text of spans: the JSON of OTLP 1, in which ids are hexadecimal and 64-bit numbers are texts.

use serde_json::{Value, json};

use super::super::record::{Outcome, Over};
use super::span::{Ended, Kept, Span};

/// The kinds of span that there are here: one that answers a caller, and one inside of it.
const SERVER: u8 = 2;
const INTERNAL: u8 = 1;
/// The status of a span that failed.
const FAILED: u8 = 2;

/// The spans of one statement, as the elements of an array: that of the statement itself has the id `root`.
pub(super) fn spans(kept: &Kept, root: u64, over: Over, (from, to): (u64, u64)) -> String {
    let mut about = vec![text("db.system.name", "polder"), text("polder.over", over.as_str())];
    if kept.left_out > 0 {
        about.push(number("polder.spans_left_out", kept.left_out));
    }
    about.extend(kept.ended.iter().flat_map(outcome));
    let mut statement = json!({
        "traceId": format!("{:032x}", kept.trace), "spanId": id(root), "name": "statement", "kind": SERVER,
        "startTimeUnixNano": from.to_string(), "endTimeUnixNano": to.to_string(), "attributes": about,
    });
    let failed = kept.ended.as_ref().filter(|ended| ended.outcome != Outcome::Whole);
    let more = [
        kept.parent.map(|parent| ("parentSpanId", id(parent).into())),
        kept.link.map(|(trace, span)| ("links", json!([{ "traceId": format!("{trace:032x}"), "spanId": id(span) }]))),
        failed.map(|ended| ("status", json!({ "code": FAILED, "message": ended.outcome.as_str() }))),
    ];
    if let Some(statement) = statement.as_object_mut() {
        statement.extend(more.into_iter().flatten().map(|(key, value)| (key.to_owned(), value)));
    }
    let mut all = statement.to_string();
    for span in &kept.spans {
        all.push(',');
        all.push_str(&inside(kept.trace, span).to_string());
    }
    all
}

/// One request for many statements.
pub(super) fn request(statements: &[String]) -> String {
    let version = env!("CARGO_PKG_VERSION");
    let resource = json!({ "attributes": [text("service.name", "polder"), text("service.version", version)] });
    let scope = json!({ "name": "polder", "version": version });
    let spans = statements.join(",");
    format!(r#"{{"resourceSpans":[{{"resource":{resource},"scopeSpans":[{{"scope":{scope},"spans":[{spans}]}}]}}]}}"#)
}

fn inside(trace: u128, span: &Span) -> Value {
    let product = span.product.as_ref().map(|product| text("polder.product", product));
    let busy = span.busy.map(|busy| number("polder.busy_us", u64::try_from(busy.as_micros()).unwrap_or(u64::MAX)));
    json!({
        "traceId": format!("{trace:032x}"), "spanId": id(span.id), "parentSpanId": id(span.parent),
        "name": span.name, "kind": INTERNAL,
        "startTimeUnixNano": span.from.to_string(), "endTimeUnixNano": span.to.to_string(),
        "attributes": product.into_iter().chain(busy).collect::<Vec<Value>>(),
    })
}

fn outcome(ended: &Ended) -> Vec<Value> {
    let products: Vec<Value> = ended.products.iter().map(|product| json!({ "stringValue": product })).collect();
    let mut about = vec![
        text("polder.id", &ended.id),
        text("polder.outcome", ended.outcome.as_str()),
        number("polder.rows", ended.rows),
        number("polder.bytes", ended.bytes),
        json!({ "key": "polder.products", "value": { "arrayValue": { "values": products } } }),
    ];
    about.extend(ended.fingerprint.as_ref().map(|fingerprint| text("polder.fingerprint", fingerprint)));
    about
}

fn id(span: u64) -> String {
    format!("{span:016x}")
}

fn text(key: &str, value: &str) -> Value {
    json!({ "key": key, "value": { "stringValue": value } })
}

fn number(key: &str, value: u64) -> Value {
    json!({ "key": key, "value": { "intValue": value.to_string() } })
}
