//! How long each part of a statement takes: spans of OpenTelemetry, one tree for each statement.
//!
//! ```text
//! caller's span (traceparent) -> statement -> gate
//!                                             resolve -> decide, open       for each table
//!                                             plan    -> optimize, verify
//!                                             wait                          for its turn in a resource group
//!                                             execute -> scan, encode
//! ```
//!
//! A tree is kept until its statement has ended and then leaves as a whole, in the JSON of OTLP. Its spans name products,
//! the fingerprint of the statement and the id by which the audit log knows it. There is no value of the data in them, no text
//! of a statement and nobody's name. Nothing waits for who receives them: see `feed`.
//!
//! The work that is measured does not carry its trace along: a task knows it, so that what measures nothing costs nothing.

mod otlp;
mod parent;
mod span;

use std::sync::Arc;
use std::time::Duration;

pub use parent::Parent;
pub use span::{Stretch, Trace, spanned, timed, under};

use super::feed::{Feed, Manner};
use super::record::Origin;
use super::sink::{Sink, Unusable};

/// Where servers take spans, if nothing else is said.
const PLACE: &str = "/v1/traces";
/// Traces that leave together, and how long the first of them waits for others.
const TOGETHER: (usize, Duration) = (128, Duration::from_secs(1));
/// Statements by what became of their spans.
const TRACES: Manner = Manner::each("traces", "polder_traces_total", "Traces of statements").together(
    TOGETHER.0,
    TOGETHER.1,
    otlp::request,
);

/// Where spans go.
#[derive(Debug)]
pub struct Traces {
    feed: Feed,
    /// How many of 2^64 statements are traced of those whose callers do not say.
    share: u64,
}

impl Traces {
    /// Sends spans to `sink` from a thread of its own. Of the statements whose callers do not say whether they are to be
    /// traced, this `share` is: a number between 0 and 1.
    ///
    /// # Errors
    /// When the sink cannot be had, or the thread.
    pub fn to(sink: Sink, share: f64) -> Result<Arc<Self>, Unusable> {
        let feed = Feed::to(sink.at(PLACE), TRACES)?;
        #[allow(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            clippy::cast_precision_loss,
            reason = "a share"
        )]
        let share = (share.clamp(0.0, 1.0) * u64::MAX as f64) as u64;
        Ok(Arc::new(Self { feed, share }))
    }

    /// The trace of a statement that starts, if it is to be traced.
    pub(super) fn begin(self: &Arc<Self>, origin: &Origin) -> Option<Arc<Trace>> {
        let random = uuid::Uuid::new_v4().as_u128();
        let ids = match origin.parent {
            Some(parent) => parent.sampled.then_some((parent.trace, Some(parent.span))),
            // The lower half of such a number is all random but for two bits at its top.
            None => self.draws(random).then_some((random, None)),
        };
        let (trace, parent) = ids?;
        Some(Arc::new(Trace::begin(Arc::clone(self), trace, parent, origin.over)))
    }

    fn draws(&self, random: u128) -> bool {
        #[allow(clippy::cast_possible_truncation, reason = "the lower half is what is wanted")]
        let number = (random as u64) << 2;
        number <= self.share && self.share > 0
    }

    pub(super) async fn close(&self) {
        self.feed.close().await;
    }

    pub(super) fn render(&self) -> String {
        self.feed.render()
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests")]
mod tests {
    use serde_json::Value;

    use super::*;
    use crate::error::Class;
    use crate::observe::{Asked, Observer, Outcome, Statement};

    fn origin(header: &str) -> Origin {
        Origin { parent: Parent::read(header), ..Origin::default() }
    }

    fn spans(text: &str) -> Vec<Value> {
        let whole: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        let spans =
            whole.iter().flat_map(|said| said["resourceSpans"][0]["scopeSpans"][0]["spans"].as_array().unwrap());
        spans.cloned().collect()
    }

    fn attribute<'a>(span: &'a Value, key: &str) -> &'a Value {
        let mut all = span["attributes"].as_array().unwrap().iter();
        all.find(|attribute| attribute["key"] == key).map_or(&Value::Null, |attribute| &attribute["value"])
    }

    #[tokio::test]
    async fn a_statement_becomes_a_tree_under_the_span_of_its_caller() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("traces");
        let traces = Traces::to(Sink::File(file.clone()), 0.0).unwrap();
        let observer = Arc::new(Observer::default().tracing(Some(traces)));
        assert!(observer.trace(&Origin::default()).is_none(), "nobody wants it traced");
        assert!(observer.trace(&origin("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-00")).is_none());
        let origin = origin("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01");
        let trace = observer.trace(&origin);
        assert!(trace.is_some());
        under(trace.clone(), async {
            timed("gate", None, || ());
            spanned("resolve", None, async { timed("decide", Some("shop.orders".to_owned()), || ()) }).await;
        })
        .await;
        let asked = Asked { who: "ada".to_owned(), statement: Some("SELECT 'x'".to_owned()), ..Asked::default() };
        let statement = Arc::new(Statement { asked, ..Statement::default() });
        let (entry, _commit) = observer.begin(statement, origin, trace.clone()).unwrap();
        drop(trace);
        entry.rows(3);
        entry.ended(Outcome::Failed(Class::Limit));
        drop(entry);
        observer.close().await;

        let text = std::fs::read_to_string(file).unwrap();
        assert!(!text.contains("ada") && !text.contains("SELECT"), "{text}");
        let spans = spans(&text);
        let named = |name: &str| spans.iter().find(|span| span["name"] == name).unwrap();
        let root = named("statement");
        assert_eq!(root["parentSpanId"], "b7ad6b7169203331");
        assert!(spans.iter().all(|span| span["traceId"] == "0af7651916cd43dd8448eb211c80319c"));
        assert_eq!(
            (&named("gate")["parentSpanId"], &named("resolve")["parentSpanId"]),
            (&root["spanId"], &root["spanId"])
        );
        assert_eq!(named("decide")["parentSpanId"], named("resolve")["spanId"]);
        assert_eq!(attribute(named("decide"), "polder.product")["stringValue"], "shop.orders");
        assert_eq!((&root["status"]["code"], &root["status"]["message"]), (&2.into(), &"limit".into()));
        assert_eq!(attribute(root, "polder.rows")["intValue"], "3");
        let (from, to) = (root["startTimeUnixNano"].as_str().unwrap(), root["endTimeUnixNano"].as_str().unwrap());
        assert!(from.parse::<u64>().unwrap() <= to.parse::<u64>().unwrap());
    }

    #[tokio::test]
    async fn a_tree_has_a_bound_and_says_what_it_left_out() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("traces");
        let observer = Observer::default().tracing(Some(Traces::to(Sink::File(file.clone()), 1.0).unwrap()));
        let trace = observer.trace(&Origin::default());
        let long = "x".repeat(1_000);
        under(trace, async { (0..1_000).for_each(|_| timed("decide", Some(long.clone()), || ())) }).await;
        observer.close().await;
        let text = std::fs::read_to_string(file).unwrap();
        let spans = spans(&text);
        assert!(spans.len() < 100 && text.len() < 64 << 10, "{} spans, {} bytes", spans.len(), text.len());
        let root = spans.iter().find(|span| span["name"] == "statement").unwrap();
        assert_eq!(attribute(root, "polder.spans_left_out")["intValue"], (1_001 - spans.len()).to_string());
        assert_eq!(root["parentSpanId"], Value::Null);
    }

    #[test]
    fn about_as_many_are_traced_as_were_asked_for() {
        let drawn = |share: f64| {
            let traces = Traces::to(Sink::Stdout, share).unwrap();
            (0..2_000).filter(|_| traces.draws(uuid::Uuid::new_v4().as_u128())).count()
        };
        assert_eq!((drawn(0.0), drawn(1.0)), (0, 2_000));
        let half = drawn(0.25);
        assert!((350..650).contains(&half), "{half}");
    }
}
