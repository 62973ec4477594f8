//! Which delete files apply to which data file.
//!
//! The rules are those of the specification's chapter on scan planning: position deletes and vectors apply to data that
//! is as old as they are or older, equality deletes only to older data; both stay in their partition, except equality
//! deletes of an unpartitioned spec, which reach everywhere. Where a vector applies, position deletes do not.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use crate::scan::entry::{DataFile, DeleteFile, DeleteKind, Partition};
use crate::scan::error::ScanError;

/// The live delete files of one snapshot.
#[derive(Debug, Clone, Default)]
pub(in crate::scan) struct DeleteIndex {
    vectors: HashMap<String, Arc<DeleteFile>>,
    /// Position deletes that name the only data file that they are about.
    of_file: HashMap<String, Vec<Arc<DeleteFile>>>,
    of_partition: HashMap<Partition, Vec<Arc<DeleteFile>>>,
    /// Equality deletes by what they compare, oldest first.
    keys: HashMap<Partition, Vec<Group>>,
    keys_everywhere: Vec<Group>,
    none: Arc<[Arc<DeleteFile>]>,
}

type Group = Vec<Arc<DeleteFile>>;

impl DeleteIndex {
    /// Sorts the delete files of `table`. `oldest` is a sequence number that no data file's is below.
    pub(in crate::scan) fn new(table: &str, deletes: Vec<Arc<DeleteFile>>, oldest: i64) -> Result<Self, ScanError> {
        let mut index = Self::default();
        let mut groups: BTreeMap<(Option<usize>, Vec<i32>), Group> = BTreeMap::new();
        let mut partitions: Vec<Partition> = Vec::new();
        let mut numbers: HashMap<Partition, usize> = HashMap::new();
        for delete in deletes {
            let broken = |what| ScanError::DeleteFile { table: table.to_owned(), file: delete.path.to_string(), what };
            match &delete.kind {
                DeleteKind::Vector { .. } => {
                    let Some(data_file) = delete.data_file.clone() else {
                        return Err(broken("is a deletion vector of no data file"));
                    };
                    if index.vectors.insert(data_file, Arc::clone(&delete)).is_some() {
                        return Err(broken("is one of two deletion vectors of the same data file"));
                    }
                }
                DeleteKind::Positions => match &delete.data_file {
                    Some(file) => index.of_file.entry(file.clone()).or_default().push(delete),
                    None => index.of_partition.entry(delete.partition.clone()).or_default().push(delete),
                },
                DeleteKind::Equality { .. } if delete.sequence <= oldest => {}
                DeleteKind::Equality { ids } => {
                    let partition = (!delete.partition.global).then(|| {
                        *numbers.entry(delete.partition.clone()).or_insert_with(|| {
                            partitions.push(delete.partition.clone());
                            partitions.len() - 1
                        })
                    });
                    let mut ids = ids.clone();
                    ids.sort_unstable();
                    ids.dedup();
                    if ids.is_empty() {
                        return Err(broken("names no fields to compare"));
                    }
                    groups.entry((partition, ids)).or_default().push(delete);
                }
            }
        }
        for ((partition, _), mut group) in groups {
            group.sort_by(|a, b| (a.sequence, a.path.as_ref()).cmp(&(b.sequence, b.path.as_ref())));
            match partition.and_then(|number| partitions.get(number)) {
                Some(partition) => index.keys.entry(partition.clone()).or_default().push(group),
                None => index.keys_everywhere.push(group),
            }
        }
        Ok(index)
    }

    /// Whether no row is deleted.
    pub(in crate::scan) fn is_empty(&self) -> bool {
        self.vectors.is_empty()
            && self.of_file.is_empty()
            && self.of_partition.is_empty()
            && self.keys.is_empty()
            && self.keys_everywhere.is_empty()
    }

    /// The delete files that a reader of `file` must look into. Equality deletes come as whole groups, so that all data
    /// files share one set of keys: those that are older than the data are in there, and whoever reads them compares
    /// the sequence numbers of the keys.
    pub(in crate::scan) fn of(&self, file: &DataFile) -> Arc<[Arc<DeleteFile>]> {
        if self.is_empty() {
            return Arc::clone(&self.none);
        }
        let mut found: Vec<Arc<DeleteFile>> = Vec::new();
        match self.vectors.get(&file.location) {
            Some(vector) => found.push(Arc::clone(vector)),
            None => {
                let of_file = self.of_file.get(&file.location).into_iter().flatten();
                let of_partition = self.of_partition.get(&file.partition).into_iter().flatten();
                found.extend(of_file.chain(of_partition).filter(|d| d.sequence >= file.sequence).cloned());
            }
        }
        let partition = self.keys.get(&file.partition).into_iter().flatten();
        for group in partition.chain(&self.keys_everywhere) {
            if group.last().is_some_and(|newest| newest.sequence > file.sequence) {
                found.extend(group.iter().cloned());
            }
        }
        if found.is_empty() { Arc::clone(&self.none) } else { found.into() }
    }

    /// The fields that equality deletes compare, each once.
    pub(in crate::scan) fn key_fields(&self) -> Vec<i32> {
        let groups = self.keys.values().flatten().chain(&self.keys_everywhere);
        let mut fields: Vec<i32> = groups
            .filter_map(|group| match &group.first()?.kind {
                DeleteKind::Equality { ids } => Some(ids),
                _ => None,
            })
            .flatten()
            .copied()
            .collect();
        fields.sort_unstable();
        fields.dedup();
        fields
    }
}
