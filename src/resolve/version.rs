//! Which snapshot of a table a statement means.
//!
//! A time means the snapshot that was the newest one then: what the table's *log* says, in which a rollback is an
//! entry like any other, and not the youngest snapshot before it. Who may read a product may read each of its
//! snapshots, by the grants of today; only those who may read all of it unmasked are told where they are listed.

use datafusion::common::TableReference;
use iceberg::spec::{SnapshotRef, TableMetadata};

use crate::error::{Class, Error};

/// The snapshot that is meant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Which {
    /// The newest one, or none while the table has none.
    Newest,
    /// The one with this id.
    Id(i64),
    /// The one that this branch or tag points to.
    Ref(String),
    /// The one that was the newest at this microsecond since 1970.
    Time(i64),
}

/// A version of a table, as a statement names it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct At {
    /// The snapshot that is meant.
    pub which: Which,
    /// How the statement says it, or `None` where it says nothing.
    pub text: Option<String>,
}

impl At {
    /// A table that is named without a version: at the snapshot that was pinned before, or else at the newest one.
    pub fn newest(pin: Option<i64>) -> Self {
        Self { which: pin.map_or(Which::Newest, Which::Id), text: None }
    }
}

/// The name of a table at a version, which is another one for each version.
pub fn versioned(reference: &TableReference, version: Option<&str>) -> TableReference {
    let Some(version) = version else { return reference.clone() };
    let table = format!("{} {version}", reference.table());
    match reference.schema() {
        Some(schema) => TableReference::partial(schema, table),
        None => TableReference::bare(table),
    }
}

/// The snapshot of the table of `product`; `listed` when the principal may see which ones there are.
pub(super) fn choose(
    product: &str,
    metadata: &TableMetadata,
    which: &Which,
    listed: bool,
) -> Result<Option<SnapshotRef>, Error> {
    let shown = |table: &str| {
        let (domain, name) = product.split_once('.').unwrap_or_default();
        format!("{domain}.\"{name}${table}\" shows what there is")
    };
    let missing = |what: String, table: &str| {
        let error = Error::new(Class::UnknownName, format!("`{product}` {what}"));
        if listed { error.help(shown(table)) } else { error }
    };
    let kept = |id: i64| match metadata.snapshot_by_id(id) {
        Some(snapshot) => Ok(Some(snapshot.clone())),
        None => Err(missing(format!("keeps no snapshot {id}"), "snapshots")),
    };
    match which {
        Which::Newest => Ok(metadata.current_snapshot().cloned()),
        Which::Id(id) => kept(*id),
        Which::Ref(name) => match metadata.snapshot_for_ref(name) {
            Some(snapshot) => Ok(Some(snapshot.clone())),
            None => Err(missing(format!("has no branch or tag `{name}`"), "refs")),
        },
        Which::Time(instant) => {
            let mut log = metadata.history().iter().rev();
            match log.find(|entry| entry.timestamp_ms().saturating_mul(1000) <= *instant) {
                Some(entry) => kept(entry.snapshot_id),
                None => Err(missing("had no snapshot at that time: its history begins later".to_owned(), "history")),
            }
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use serde_json::json;

    use super::*;

    /// A table whose log says which snapshot was current from which millisecond on, with all snapshots but `expired`.
    fn table(log: &[(i64, i64)], expired: &[i64]) -> TableMetadata {
        let mut snapshots: Vec<i64> = log.iter().map(|(_, id)| *id).filter(|id| !expired.contains(id)).collect();
        snapshots.sort_unstable();
        snapshots.dedup();
        let snapshot = |id: &i64| {
            let first = log.iter().find(|(_, logged)| logged == id).unwrap().0;
            json!({ "snapshot-id": id, "sequence-number": 1, "timestamp-ms": first, "manifest-list": "s3://b/t/m.avro",
                "summary": { "operation": "append" }, "schema-id": 0 })
        };
        let mut file = json!({
            "format-version": 2, "table-uuid": "9c12d441-03fe-4693-9a96-a0705ddf69c1", "location": "s3://b/t",
            "last-sequence-number": 9, "last-updated-ms": 9000, "last-column-id": 1, "current-schema-id": 0,
            "schemas": [{ "type": "struct", "schema-id": 0, "fields": [{ "id": 1, "name": "a", "required": false, "type": "long" }] }],
            "default-spec-id": 0, "partition-specs": [{ "spec-id": 0, "fields": [] }], "last-partition-id": 999,
            "default-sort-order-id": 0, "sort-orders": [{ "order-id": 0, "fields": [] }],
            "snapshots": snapshots.iter().map(snapshot).collect::<Vec<_>>(),
            "snapshot-log": log.iter().map(|(at, id)| json!({ "timestamp-ms": at, "snapshot-id": id })).collect::<Vec<_>>(),
        });
        if let Some((_, current)) = log.last() {
            file["current-snapshot-id"] = json!(current);
            file["refs"] = json!({ "main": { "snapshot-id": current, "type": "branch" },
                "june": { "snapshot-id": snapshots.first(), "type": "tag" } });
        }
        serde_json::from_value(file).unwrap()
    }

    fn id(table: &TableMetadata, which: &Which) -> Result<Option<i64>, String> {
        let chosen = choose("d.p", table, which, false);
        chosen.map(|snapshot| snapshot.map(|s| s.snapshot_id())).map_err(|error| error.message)
    }

    fn at(table: &TableMetadata, milliseconds: i64) -> Result<Option<i64>, String> {
        id(table, &Which::Time(milliseconds * 1000))
    }

    #[test]
    fn a_time_means_what_was_the_newest_then_a_rollback_included() {
        let table = table(&[(1000, 1), (2000, 2), (3000, 1), (4000, 3)], &[]);
        for (when, expect) in [(1000, 1), (1999, 1), (2000, 2), (2999, 2), (3000, 1), (3999, 1), (4000, 3), (9999, 3)] {
            assert_eq!(at(&table, when), Ok(Some(expect)), "at {when}");
        }
        assert_eq!(id(&table, &Which::Time(1_999_999)), Ok(Some(1)), "a microsecond before");
        for when in [999, 0, -5000, i64::MIN / 1000] {
            assert!(at(&table, when).unwrap_err().contains("its history begins later"), "at {when}");
        }
    }

    #[test]
    fn of_two_snapshots_at_one_time_the_later_in_the_log_counts() {
        assert_eq!(at(&table(&[(1000, 1), (2000, 7), (2000, 3)], &[]), 2000), Ok(Some(3)));
    }

    #[test]
    fn ids_and_refs_mean_what_the_table_has() {
        let table = table(&[(1000, 1), (2000, 2)], &[]);
        assert_eq!(id(&table, &Which::Newest), Ok(Some(2)));
        assert_eq!(id(&table, &Which::Id(1)), Ok(Some(1)));
        assert_eq!(id(&table, &Which::Id(3)), Err("`d.p` keeps no snapshot 3".to_owned()));
        assert_eq!(id(&table, &Which::Ref("main".into())), Ok(Some(2)));
        assert_eq!(id(&table, &Which::Ref("june".into())), Ok(Some(1)));
        assert_eq!(id(&table, &Which::Ref("July".into())), Err("`d.p` has no branch or tag `July`".to_owned()));
    }

    #[test]
    fn a_table_without_snapshots_has_nothing_at_any_time() {
        let table = table(&[], &[]);
        assert_eq!(id(&table, &Which::Newest), Ok(None));
        assert!(at(&table, 5000).is_err());
        assert!(id(&table, &Which::Ref("main".into())).is_err());
    }

    #[test]
    fn a_snapshot_that_has_expired_is_named() {
        let table = table(&[(1000, 1), (2000, 2)], &[1]);
        assert_eq!(at(&table, 1500), Err("`d.p` keeps no snapshot 1".to_owned()));
        let told = choose("d.p", &table, &Which::Id(1), true).unwrap_err();
        assert_eq!(told.help.unwrap(), "d.\"p$snapshots\" shows what there is");
    }
}
