//! The naive reader: rows in a list, and what was deleted when.

use super::*;

/// Rows that came together in one file.
#[derive(Debug)]
pub(super) struct Rows {
    pub(super) location: String,
    /// The commit that brought them.
    pub(super) commit: i64,
    /// How old they are for equality deletes.
    pub(super) sequence: i64,
    pub(super) spec: i32,
    /// The values of their partition, as text.
    pub(super) partition: Vec<String>,
    /// Each with the commit that deleted it by its position.
    pub(super) rows: Vec<(Map<String, Value>, Option<i64>)>,
    /// Whether a deletion vector says which.
    pub(super) vector: bool,
    /// The id of the first of them, where the table kept track.
    pub(super) first: Option<i64>,
}

/// One equality delete file.
#[derive(Debug)]
pub(super) struct Keys {
    pub(super) sequence: i64,
    /// The spec and the values of the partition that it is about; without, the whole table.
    pub(super) within: Option<(i32, Vec<String>)>,
    pub(super) fields: Vec<F>,
    pub(super) keys: Vec<Map<String, Value>>,
}

impl Keys {
    fn delete(&self, file: &Rows, row: &Map<String, Value>, upto: i64) -> bool {
        let value = |row: &Map<String, Value>, field: &F| shown(row.get(&field.id.to_string()), field);
        let equal = |key: &Map<String, Value>| self.fields.iter().all(|field| value(row, field) == value(key, field));
        let reaches = self.within.as_ref().is_none_or(|(spec, values)| (file.spec, &file.partition) == (*spec, values));
        self.sequence <= upto && self.sequence > file.sequence && reaches && self.keys.iter().any(equal)
    }
}

/// A table as its rows.
#[derive(Debug, Default)]
pub(super) struct Reference {
    pub(super) files: Vec<Rows>,
    pub(super) keys: Vec<Keys>,
    /// The snapshot of each commit.
    pub(super) snapshots: Vec<i64>,
}

impl Reference {
    pub(super) fn commits(&self) -> i64 {
        self.snapshots.len() as i64
    }

    pub(super) fn snapshot(&self, commit: i64) -> i64 {
        self.snapshots[commit as usize - 1]
    }

    /// The live rows after that many commits, as a schema shows them.
    pub(super) fn shown(&self, fields: &[F], upto: i64) -> Vec<Value> {
        self.live(upto).map(|(_, _, values)| row(values, fields)).collect()
    }

    /// The id of each of these rows, and when it changed.
    pub(super) fn lineage(&self, upto: i64) -> Vec<(Option<i64>, Option<i64>)> {
        let of =
            |(file, at, _): (&Rows, usize, _)| (file.first.map(|id| id + at as i64), file.first.map(|_| file.sequence));
        self.live(upto).map(of).collect()
    }

    fn live(&self, upto: i64) -> impl Iterator<Item = (&Rows, usize, &Map<String, Value>)> {
        let files = self.files.iter().filter(move |file| file.commit <= upto);
        let rows = files
            .flat_map(|file| file.rows.iter().enumerate().map(move |(at, (values, gone))| (file, at, values, gone)));
        let live = rows.filter(move |(file, _, values, gone)| {
            gone.is_none_or(|gone| gone > upto) && !self.keys.iter().any(|keys| keys.delete(file, values, upto))
        });
        live.map(|(file, at, values, _)| (file, at, values))
    }
}
