//! The text of events: OpenLineage 2-0-2, with facets of the versions that their URLs name.

use serde_json::{Map, Value, json};
use uuid::Uuid;

use super::super::clock;
use super::super::recent::Recorded;
use super::super::record::Outcome;
use super::{Answer, Part};
use crate::error::Class;

/// Who makes the events.
const PRODUCER: &str = concat!("urn:polder:", env!("CARGO_PKG_VERSION"));
const SPEC: &str = "https://openlineage.io/spec/2-0-2/OpenLineage.json#/$defs/RunEvent";
/// The longest event that says of each column what it is made of, in bytes.
const LONGEST: usize = 1 << 20;

/// A statement starts; nothing of one that reads no product.
pub(super) fn begun(recorded: &Recorded) -> Option<String> {
    event("START", recorded, recorded.at(), &Map::new(), &Map::new())
}

/// A statement has ended; nothing of one that reads no product.
pub(super) fn ended(recorded: &Recorded) -> Option<String> {
    let outcome = recorded.ended().map_or(Outcome::Failed(Class::Cancelled), |(outcome, _)| outcome);
    let (mut run, mut written) = (Map::new(), Map::new());
    let kind = match outcome {
        Outcome::Whole => {
            let (rows, bytes) = recorded.sent();
            let counted = json!({ "rowCount": rows, "size": bytes });
            written
                .insert("outputStatistics".to_owned(), facet("1-0-2", "OutputStatisticsOutputDatasetFacet", counted));
            "COMPLETE"
        }
        Outcome::Failed(Class::Cancelled) => "ABORT",
        Outcome::Failed(class) => {
            let message = json!({ "message": class.as_str(), "programmingLanguage": "SQL" });
            run.insert("errorMessage".to_owned(), facet("1-0-1", "ErrorMessageRunFacet", message));
            "FAIL"
        }
    };
    event(kind, recorded, clock::now(), &run, &written)
}

fn event(
    kind: &str,
    recorded: &Recorded,
    at: i64,
    run: &Map<String, Value>,
    written: &Map<String, Value>,
) -> Option<String> {
    let statement = recorded.statement();
    let answer = statement.answer.as_ref()?;
    let fingerprint = statement.asked.fingerprint.as_deref()?;
    let namespace = format!("polder://{}", answer.mesh);
    let inputs = answer.inputs.iter().map(|(product, snapshot)| input(&namespace, product, snapshot.as_deref()));
    let inputs: Vec<Value> = inputs.collect();
    let text = |lineage: Option<Value>| {
        let mut facets = Map::new();
        facets.extend(lineage.map(|lineage| ("columnLineage".to_owned(), lineage)));
        let output = json!({
            "namespace": namespace, "name": format!("answers.{fingerprint}"), "facets": facets, "outputFacets": written,
        });
        let job = json!({ "processingType": "BATCH", "integration": "POLDER", "jobType": "QUERY" });
        let engine = json!({ "name": "polder", "version": env!("CARGO_PKG_VERSION") });
        let mut about = run.clone();
        about.insert("processing_engine".to_owned(), facet("1-1-1", "ProcessingEngineRunFacet", engine));
        json!({
            "eventType": kind,
            "eventTime": clock::written(at),
            "producer": PRODUCER,
            "schemaURL": SPEC,
            "run": { "runId": run_id(recorded), "facets": about },
            "job": {
                "namespace": namespace,
                "name": format!("statements.{fingerprint}"),
                "facets": { "jobType": facet("2-0-4", "JobTypeJobFacet", job) },
            },
            "inputs": inputs,
            "outputs": [output],
        })
        .to_string()
    };
    let whole = text(Some(lineage(&namespace, answer)));
    // Of a very wide answer the datasets alone.
    Some(if whole.len() <= LONGEST { whole } else { text(None) })
}

/// The id of a run: that of the records of the audit log, as a UUID is written.
fn run_id(recorded: &Recorded) -> String {
    Uuid::try_parse(recorded.id()).unwrap_or_default().hyphenated().to_string()
}

fn input(namespace: &str, product: &str, snapshot: Option<&str>) -> Value {
    let version = snapshot.map(|snapshot| {
        json!({ "version": facet("1-0-1", "DatasetVersionDatasetFacet", json!({ "datasetVersion": snapshot })) })
    });
    json!({ "namespace": namespace, "name": product, "facets": version.unwrap_or_else(|| json!({})) })
}

/// What each column of the answer is made of.
fn lineage(namespace: &str, answer: &Answer) -> Value {
    let mut fields = Map::new();
    for (place, (name, parts)) in answer.columns.iter().enumerate() {
        let parts: Vec<Value> = parts.iter().map(|part| field(namespace, part)).collect();
        fields.insert(named(name, place, &fields), json!({ "inputFields": parts }));
    }
    let rows: Vec<Value> = answer.rows.iter().map(|part| field(namespace, part)).collect();
    facet("1-2-0", "ColumnLineageDatasetFacet", json!({ "fields": fields, "dataset": rows }))
}

/// The name of a column; of one without a name, whose text could hold a literal, its place.
fn named(name: &str, place: usize, before: &Map<String, Value>) -> String {
    let plain = name.chars().all(|c| c.is_alphanumeric() || c == '_') && name.chars().any(char::is_alphabetic);
    match plain && !before.contains_key(name) {
        true => name.to_owned(),
        false => format!("column {}", place + 1),
    }
}

fn field(namespace: &str, part: &Part) -> Value {
    let (kind, subtype) = match part.via {
        "value" => ("DIRECT", None),
        "predicate" => ("INDIRECT", Some("FILTER")),
        "join" => ("INDIRECT", Some("JOIN")),
        "group" => ("INDIRECT", Some("GROUP_BY")),
        "order" => ("INDIRECT", Some("SORT")),
        "window" => ("INDIRECT", Some("WINDOW")),
        _ => ("INDIRECT", None),
    };
    let mut how = json!({ "type": kind, "masking": part.masked });
    if let (Some(subtype), Some(how)) = (subtype, how.as_object_mut()) {
        how.insert("subtype".to_owned(), subtype.into());
    }
    json!({ "namespace": namespace, "name": part.product, "field": part.column, "transformations": [how] })
}

fn facet(version: &str, name: &str, says: Value) -> Value {
    let mut facet = Map::new();
    facet.insert("_producer".to_owned(), PRODUCER.into());
    facet.insert(
        "_schemaURL".to_owned(),
        format!("https://openlineage.io/spec/facets/{version}/{name}.json#/$defs/{name}").into(),
    );
    if let Value::Object(says) = says {
        facet.extend(says);
    }
    Value::Object(facet)
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests")]
mod tests {
    use std::sync::Arc;
    use std::time::Duration;

    use super::*;
    use crate::observe::{Asked, Origin, Statement};

    fn recorded(columns: Vec<(String, Vec<Part>)>) -> Recorded {
        let inputs = vec![("shop.orders".to_owned(), Some("7".to_owned()))];
        let answer = Answer { mesh: "m".to_owned(), inputs, columns, rows: vec![part("open", "predicate")] };
        let asked = Asked { who: "ada".to_owned(), fingerprint: Some("f00d".to_owned()), ..Asked::default() };
        Recorded::new(Arc::new(Statement { asked, reads: Vec::new(), answer: Some(answer) }), Origin::default())
    }

    fn part(column: &str, via: &'static str) -> Part {
        Part { product: "shop.orders".to_owned(), column: column.to_owned(), via, masked: column == "email" }
    }

    fn read(event: Option<String>) -> Value {
        serde_json::from_str(&event.unwrap()).unwrap()
    }

    #[test]
    fn both_ends_of_a_run_say_what_columns_are_made_of() {
        let columns = [("total", "total"), ("Utf8(\"secret\")", "total"), ("total", "email"), ("e", "email")];
        let columns = columns.map(|(name, of)| (name.to_owned(), vec![part(of, "value")]));
        let recorded = recorded(columns.to_vec());
        recorded.end(Outcome::Whole, Duration::ZERO);
        let (begun, ended) = (read(begun(&recorded)), read(ended(&recorded)));
        assert_eq!((&begun["eventType"], &ended["eventType"]), (&json!("START"), &json!("COMPLETE")));
        assert_eq!((&begun["run"]["runId"], &begun["job"]), (&ended["run"]["runId"], &ended["job"]));
        assert_eq!(begun["inputs"][0]["facets"]["version"]["datasetVersion"], "7");
        let lineage = &ended["outputs"][0]["facets"]["columnLineage"];
        let names: Vec<&String> = lineage["fields"].as_object().unwrap().keys().collect();
        assert_eq!(names, ["total", "column 2", "column 3", "e"]);
        assert_eq!(lineage["fields"]["e"]["inputFields"][0]["transformations"][0]["masking"], true);
        assert_eq!(lineage["dataset"][0]["transformations"][0]["subtype"], "FILTER");
        let text = format!("{begun}{ended}");
        assert!(!text.contains("secret") && !text.contains("ada"), "{text}");
    }

    #[test]
    fn an_end_says_how() {
        for (class, kind) in [(Class::Cancelled, "ABORT"), (Class::Limit, "FAIL")] {
            let recorded = recorded(Vec::new());
            recorded.end(Outcome::Failed(class), Duration::ZERO);
            assert_eq!(read(ended(&recorded))["eventType"], kind);
        }
    }

    #[test]
    fn a_very_wide_answer_is_told_by_its_datasets() {
        let wide = (0..20_000).map(|number| (format!("c{number}"), vec![part("total", "value")])).collect();
        let event = begun(&recorded(wide)).unwrap();
        assert!(event.len() < 2_000 && !event.contains("columnLineage"), "{} bytes", event.len());
    }
}
