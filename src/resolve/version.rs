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
    let lists = |table: &str| {
        let (domain, name) = product.split_once('.').unwrap_or_default();
        format!("{domain}.\"{name}${table}\" lists them")
    };
    let gone = |what: String, table: &str| {
        let error = Error::new(Class::UnknownName, format!("`{product}` has no {what}"));
        if listed { error.help(lists(table)) } else { error }
    };
    let kept = |id: i64| match metadata.snapshot_by_id(id) {
        Some(snapshot) => Ok(Some(snapshot.clone())),
        None => Err(gone(format!("snapshot {id}, or no longer"), "snapshots")),
    };
    match which {
        Which::Newest => Ok(metadata.current_snapshot().cloned()),
        Which::Id(id) => kept(*id),
        Which::Ref(name) => match metadata.snapshot_for_ref(name) {
            Some(snapshot) => Ok(Some(snapshot.clone())),
            None => Err(gone(format!("branch or tag `{name}`"), "refs")),
        },
        Which::Time(instant) => {
            let mut log = metadata.history().iter().rev();
            match log.find(|entry| entry.timestamp_ms().saturating_mul(1000) <= *instant) {
                Some(entry) => kept(entry.snapshot_id),
                None => Err(gone("snapshot at that time: its history begins later".to_owned(), "history")),
            }
        }
    }
}
