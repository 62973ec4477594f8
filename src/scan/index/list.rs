//! A manifest list: which manifests a snapshot has, and what their entries inherit.
//!
//! It is read by the schema that it carries, so that a list of an older format is read in a table of a newer one.
//!
//! A list that is cut between two blocks is a shorter list to Avro. What a snapshot's summary says that it added is
//! counted by the commit that wrote the list, and what was added is in it: a list with fewer files is refused. The
//! totals of a summary prove nothing. Each writer adds to those of the snapshot before, so that one that counted wrong,
//! or did not count, is wrong in all that follow, and a good table would be refused for it.

use std::collections::HashMap;

use super::avro::{Bad, Container, Cursor, Scalar, Shape};
use crate::lake::memory::Weighed;

/// The manifests of a snapshot.
#[derive(Debug)]
pub(super) struct ManifestList {
    pub(super) manifests: Vec<Listed>,
}

/// A manifest as its list has it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Listed {
    pub(super) location: String,
    pub(super) length: i64,
    pub(super) spec: i32,
    /// Whether it lists delete files.
    pub(super) deletes: bool,
    /// The sequence number of files that were added by it.
    pub(super) sequence: i64,
    /// The snapshot that files were added by which name none.
    pub(super) snapshot: Option<i64>,
    /// How many files were added by it, and how many it took over; `None` when the writer did not say.
    pub(super) added: Option<i64>,
    pub(super) existing: Option<i64>,
    pub(super) encrypted: bool,
    /// The row id of the first row of the first file that has no row id of its own.
    pub(super) first_row: Option<i64>,
}

impl Listed {
    /// Whether it may have a file that is still there.
    pub(super) fn is_live(&self) -> bool {
        self.added != Some(0) || self.existing != Some(0)
    }

    /// How many files that are still there it has, where its writer said so.
    fn live(&self) -> Option<i64> {
        self.added?.checked_add(self.existing?)
    }
}

impl ManifestList {
    /// Whether files are missing that the summary of its snapshot says were added. Of delete files some may be many:
    /// writers count those that they merge.
    pub(super) fn lacks(&self, summary: &HashMap<String, String>) -> bool {
        let told = |name| summary.get(name).and_then(|count: &String| count.parse::<i64>().ok()).unwrap_or_default();
        let live = |deletes: bool| {
            let mut counts = self.manifests.iter().filter(|listed| listed.deletes == deletes).map(Listed::live);
            // One that does not say how many it has may have any number.
            counts.try_fold(0i64, |sum, count| sum.checked_add(count?)).unwrap_or(i64::MAX)
        };
        live(false) < told("added-data-files") || live(true) < told("added-delete-files").min(1)
    }
}

impl Weighed for ManifestList {
    fn bytes(&self) -> usize {
        let each = |listed: &Listed| listed.location.capacity() + size_of::<Listed>();
        size_of::<Self>() + self.manifests.iter().map(each).sum::<usize>()
    }
}

/// What is read of an entry.
#[derive(Debug, Clone, Copy)]
enum Slot {
    Location,
    Length,
    Spec,
    Content,
    Sequence,
    Snapshot,
    Added,
    Existing,
    Key,
    FirstRow,
    Other,
}

const SLOTS: [(Slot, i32, &str); 10] = [
    (Slot::Location, 500, "manifest_path"),
    (Slot::Length, 501, "manifest_length"),
    (Slot::Spec, 502, "partition_spec_id"),
    (Slot::Content, 517, "content"),
    (Slot::Sequence, 515, "sequence_number"),
    (Slot::Snapshot, 503, "added_snapshot_id"),
    (Slot::Added, 504, "added_files_count"),
    (Slot::Existing, 505, "existing_files_count"),
    (Slot::Key, 519, "key_metadata"),
    (Slot::FirstRow, 520, "first_row_id"),
];

/// Reads a whole list.
pub(super) fn decode(bytes: &[u8]) -> Result<ManifestList, Bad> {
    let container = Container::open(bytes)?;
    let fields = container.shape.fields()?;
    let slot = |id: Option<i32>, name: &str| {
        let fits = |slot: &&(Slot, i32, &str)| id.map_or(slot.2 == name, |id| slot.1 == id);
        SLOTS.iter().find(fits).map_or(Slot::Other, |slot| slot.0)
    };
    let slots: Vec<(Slot, &Shape)> =
        fields.iter().map(|field| (slot(field.id, &field.name), field.shape.as_ref())).collect();
    for needed in [500, 502] {
        if !SLOTS.iter().any(|s| s.1 == needed && fields.iter().any(|f| f.id.map_or(f.name == s.2, |id| id == needed)))
        {
            return Err(Bad("it does not say where its manifests are"));
        }
    }
    let mut manifests = Vec::new();
    container.each_block(|mut cursor, count| {
        for _ in 0..count {
            manifests.push(entry(&mut cursor, &slots)?);
        }
        if cursor.is_empty() { Ok(()) } else { Err(Bad("a block in it is longer than its entries")) }
    })?;
    Ok(ManifestList { manifests })
}

fn entry(cursor: &mut Cursor<'_>, slots: &[(Slot, &Shape)]) -> Result<Listed, Bad> {
    let mut listed = Listed::default();
    for (slot, shape) in slots {
        match slot {
            Slot::Other => cursor.skip(shape)?,
            Slot::Location => listed.location = text(cursor.scalar(shape)?)?.to_owned(),
            Slot::Key => {
                let key = cursor.scalar(shape)?;
                listed.encrypted = key.is_some_and(|key| !matches!(key, Scalar::Bytes(b"")));
            }
            Slot::Length => listed.length = number(cursor.scalar(shape)?)?.unwrap_or_default(),
            Slot::Spec => {
                let spec = number(cursor.scalar(shape)?)?.and_then(|spec| i32::try_from(spec).ok());
                listed.spec = spec.ok_or(Bad("a manifest in it has no partition spec"))?;
            }
            Slot::Content => {
                listed.deletes = match number(cursor.scalar(shape)?)? {
                    None | Some(0) => false,
                    Some(1) => true,
                    Some(_) => return Err(Bad("a manifest in it has unknown content")),
                }
            }
            Slot::Sequence => listed.sequence = number(cursor.scalar(shape)?)?.unwrap_or_default(),
            Slot::Snapshot => listed.snapshot = number(cursor.scalar(shape)?)?,
            Slot::Added => listed.added = number(cursor.scalar(shape)?)?,
            Slot::Existing => listed.existing = number(cursor.scalar(shape)?)?,
            Slot::FirstRow => listed.first_row = number(cursor.scalar(shape)?)?,
        }
    }
    Ok(listed)
}

/// A whole number, where there is one.
pub(super) fn number(value: Option<Scalar<'_>>) -> Result<Option<i64>, Bad> {
    match value {
        None => Ok(None),
        Some(Scalar::Int(value)) => Ok(Some(i64::from(value))),
        Some(Scalar::Long(value)) => Ok(Some(value)),
        Some(_) => Err(Bad("a number in it is something else")),
    }
}

/// A text that must be there.
pub(super) fn text(value: Option<Scalar<'_>>) -> Result<&str, Bad> {
    match value {
        Some(Scalar::Bytes(bytes)) => std::str::from_utf8(bytes).map_err(|_| Bad("a text in it is not text")),
        _ => Err(Bad("a text in it is missing")),
    }
}
