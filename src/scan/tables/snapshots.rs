//! Snapshots, history and refs: what the table's metadata file says.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;

use datafusion::arrow::array::{
    ArrayRef, BooleanArray, Int32Array, Int64Array, MapBuilder, StringArray, StringBuilder, TimestampMillisecondArray,
};
use datafusion::arrow::error::ArrowError;
use iceberg::spec::{SnapshotRef, SnapshotReference, SnapshotRetention, TableMetadata};

use super::{Made, batches, record};

/// The beginnings of the counters in a snapshot's summary. Writers put properties of their own beside them, and the
/// values of partitions.
const COUNTED: [&str; 4] = ["added-", "deleted-", "removed-", "total-"];

/// Every snapshot that is kept, oldest first.
pub(super) fn snapshots(metadata: &TableMetadata) -> Made {
    let mut snapshots: Vec<&SnapshotRef> = metadata.snapshots().collect();
    snapshots.sort_by_key(|snapshot| (snapshot.timestamp_ms(), snapshot.snapshot_id()));
    batches(&snapshots, |rows| {
        let mut summary = MapBuilder::new(None, StringBuilder::new(), StringBuilder::new());
        for snapshot in rows {
            let counters: BTreeMap<&String, &String> = snapshot
                .summary()
                .additional_properties
                .iter()
                .filter(|(name, value)| is_counter(name, value))
                .collect();
            for (name, value) in counters {
                summary.keys().append_value(name);
                summary.values().append_value(value);
            }
            summary.append(true)?;
        }
        record(vec![
            ("committed_at", false, moments(rows.iter().map(|snapshot| snapshot.timestamp_ms()))),
            ("snapshot_id", false, Arc::new(Int64Array::from_iter_values(rows.iter().map(|s| s.snapshot_id())))),
            ("parent_id", true, Arc::new(rows.iter().map(|s| s.parent_snapshot_id()).collect::<Int64Array>())),
            ("operation", false, texts(rows.iter().map(|s| s.summary().operation.as_str()))),
            (
                "sequence_number",
                false,
                Arc::new(Int64Array::from_iter_values(rows.iter().map(|s| s.sequence_number()))),
            ),
            ("schema_id", true, Arc::new(rows.iter().map(|s| s.schema_id()).collect::<Int32Array>())),
            ("summary", false, Arc::new(summary.finish())),
        ])
    })
}

/// Whether a property of a summary is one of Iceberg's counters.
fn is_counter(name: &str, value: &str) -> bool {
    (COUNTED.iter().any(|start| name.starts_with(start)) || name == "changed-partition-count")
        && name.bytes().all(|b| b.is_ascii_lowercase() || b == b'-')
        && !value.is_empty()
        && value.bytes().all(|b| b.is_ascii_digit())
}

/// Which snapshot was the newest, and from when on, in the order of the log.
pub(super) fn history(metadata: &TableMetadata) -> Made {
    let mut ancestors = HashSet::new();
    let mut next = metadata.current_snapshot();
    // A chain that bites its own tail ends where it does.
    while let Some(snapshot) = next.filter(|snapshot| ancestors.insert(snapshot.snapshot_id())) {
        next = snapshot.parent_snapshot_id().and_then(|parent| metadata.snapshot_by_id(parent));
    }
    let parent = |id: i64| metadata.snapshot_by_id(id).and_then(|snapshot| snapshot.parent_snapshot_id());
    batches(metadata.history(), |rows| {
        record(vec![
            ("made_current_at", false, moments(rows.iter().map(|entry| entry.timestamp_ms()))),
            ("snapshot_id", false, Arc::new(Int64Array::from_iter_values(rows.iter().map(|entry| entry.snapshot_id)))),
            ("parent_id", true, Arc::new(rows.iter().map(|entry| parent(entry.snapshot_id)).collect::<Int64Array>())),
            (
                "is_current_ancestor",
                false,
                Arc::new(BooleanArray::from_iter(rows.iter().map(|e| Some(ancestors.contains(&e.snapshot_id))))),
            ),
        ])
    })
}

/// Branches and tags, by name.
pub(super) fn refs(metadata: &TableMetadata) -> Made {
    let refs = named(metadata).map_err(|error| ArrowError::ExternalError(Box::new(error)))?;
    let refs: Vec<(String, SnapshotReference)> = refs.into_iter().collect();
    batches(&refs, |rows| {
        let kept = |pick: fn(&SnapshotRetention) -> Option<i64>| -> ArrayRef {
            Arc::new(rows.iter().map(|(_, to)| pick(&to.retention)).collect::<Int64Array>())
        };
        record(vec![
            ("name", false, texts(rows.iter().map(|(name, _)| name.as_str()))),
            ("type", false, texts(rows.iter().map(|(_, to)| if to.is_branch() { "BRANCH" } else { "TAG" }))),
            ("snapshot_id", false, Arc::new(Int64Array::from_iter_values(rows.iter().map(|(_, to)| to.snapshot_id)))),
            (
                "max_reference_age_in_ms",
                true,
                kept(|retention| match retention {
                    SnapshotRetention::Branch { max_ref_age_ms, .. } | SnapshotRetention::Tag { max_ref_age_ms } => {
                        *max_ref_age_ms
                    }
                }),
            ),
            (
                "min_snapshots_to_keep",
                true,
                kept(|retention| match retention {
                    SnapshotRetention::Branch { min_snapshots_to_keep, .. } => min_snapshots_to_keep.map(i64::from),
                    SnapshotRetention::Tag { .. } => None,
                }),
            ),
            (
                "max_snapshot_age_in_ms",
                true,
                kept(|retention| match retention {
                    SnapshotRetention::Branch { max_snapshot_age_ms, .. } => *max_snapshot_age_ms,
                    SnapshotRetention::Tag { .. } => None,
                }),
            ),
        ])
    })
}

/// The refs of a table. `iceberg` gives them one by one under names that are known already, and all of them only in
/// the file that it would write; a table of format 1 has none there but its main branch.
fn named(metadata: &TableMetadata) -> serde_json::Result<BTreeMap<String, SnapshotReference>> {
    let mut written = serde_json::to_value(metadata)?;
    match written.get_mut("refs").map(serde_json::Value::take) {
        Some(refs) => serde_json::from_value(refs),
        None => {
            let main = |id| SnapshotReference::new(id, SnapshotRetention::branch(None, None, None));
            Ok(metadata.current_snapshot_id().map(|id| ("main".to_owned(), main(id))).into_iter().collect())
        }
    }
}

fn moments(milliseconds: impl Iterator<Item = i64>) -> ArrayRef {
    Arc::new(TimestampMillisecondArray::from_iter_values(milliseconds).with_data_type(super::moment()))
}

fn texts<'a>(values: impl Iterator<Item = &'a str>) -> ArrayRef {
    Arc::new(StringArray::from_iter_values(values))
}
