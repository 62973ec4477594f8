//! How many values a column has, for whoever orders joins.
//!
//! ```text
//! counted   what was found when the table was analyzed: the sketch of the pinned snapshot, or of the nearest one before it
//! thrown    where some file has more rows than there are values between its bounds, rows stand anywhere among all values
//! ```
//!
//! Nothing is read for it but what is known already: a sketch's count stands in the table's metadata, beside where it lies.
//! Of a column for which neither tells anything nothing is said, so that it may be a key. The lines of TPC-H at scale 10
//! have nearly as many rows as there are numbers of orders, and looked more like the key of orders than orders do.

use iceberg::spec::{BlobMetadata, SnapshotRef, TableMetadata};

use super::index::Occupied;

/// What the specification calls the sketches that count values.
const SKETCH: &str = "apache-datasketches-theta-v1";

/// The part of the rows from which on a count is taken for all of them. Sketches of 4 096 entries, as they are usual, are
/// wrong by less than a twentieth in all but one of a thousand columns.
const ALL: f64 = 0.95;

/// How many times as many rows there may be since. What was counted in a small part tells little of the whole.
const GROWN: usize = 4;

/// The values that were counted in a column when `snapshot`, or one that it stands on, was analyzed. `rows` is how many there
/// are now.
pub(super) fn counted(metadata: &TableMetadata, snapshot: i64, field: i32, rows: usize) -> Option<usize> {
    if metadata.statistics_iter().len() == 0 {
        return None;
    }
    let mut at = metadata.snapshot_by_id(snapshot);
    // No more than there are: parents that were written in a circle end too.
    for _ in 0..metadata.snapshots().len() {
        let here = at?;
        let blobs = metadata.statistics_for_snapshot(here.snapshot_id()).map(|file| file.blob_metadata.as_slice());
        if let Some(count) = blobs.unwrap_or_default().iter().find_map(|blob| of_blob(blob, field)) {
            let total = total(here).filter(|total| *total > 0 && *total >= rows / GROWN)?;
            let were_all = count as f64 >= total as f64 * ALL;
            return Some(if were_all { rows } else { count.min(rows) });
        }
        at = here.parent_snapshot_id().and_then(|parent| metadata.snapshot_by_id(parent));
    }
    None
}

fn of_blob(blob: &BlobMetadata, field: i32) -> Option<usize> {
    let is_of = blob.r#type == SKETCH && blob.fields == [field];
    is_of.then(|| blob.properties.get("ndv")?.parse().ok()).flatten()
}

fn total(snapshot: &SnapshotRef) -> Option<usize> {
    snapshot.summary().additional_properties.get("total-records")?.parse().ok()
}

/// The values of a column some of which stand more than once.
#[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "no more than there are rows")]
pub(super) fn thrown(occupied: Occupied) -> Option<usize> {
    let (rows, span) = (occupied.rows as f64, occupied.span as f64);
    let values = span * -(-rows / span).exp_m1();
    occupied.crowded.then_some(values.min(rows) as usize)
}
