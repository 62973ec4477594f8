//! All that a manifest says of its live files, for people to look at.

use std::collections::BTreeMap;

use super::super::avro::Bad;
use super::{Frame, each_live};

/// A live file, whatever it holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::scan) struct Told {
    /// 0 for data, 1 for deleted positions, 2 for deleted keys.
    pub(in crate::scan) content: i64,
    pub(in crate::scan) location: String,
    pub(in crate::scan) format: String,
    pub(in crate::scan) rows: u64,
    pub(in crate::scan) size: u64,
    pub(in crate::scan) sequence: i64,
    pub(in crate::scan) sort_order: Option<i32>,
    /// The snapshot that added it.
    pub(in crate::scan) snapshot: Option<i64>,
    /// One value for each field of the spec, kept as the index keeps them.
    pub(in crate::scan) partition: Vec<Option<Vec<u8>>>,
    pub(in crate::scan) columns: BTreeMap<i32, ToldColumn>,
}

/// What a manifest says of one column of a file.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(in crate::scan) struct ToldColumn {
    pub(in crate::scan) bytes: Option<i64>,
    pub(in crate::scan) values: Option<i64>,
    pub(in crate::scan) nulls: Option<i64>,
    pub(in crate::scan) nans: Option<i64>,
    pub(in crate::scan) lower: Option<Vec<u8>>,
    pub(in crate::scan) upper: Option<Vec<u8>>,
}

/// Reads a manifest of data files or of delete files.
pub(in crate::scan::index) fn decode_told(bytes: &[u8], frame: &Frame<'_>) -> Result<Vec<Told>, Bad> {
    let mut files = Vec::new();
    each_live(bytes, frame, true, |draft, sequence| {
        let mut columns: BTreeMap<i32, ToldColumn> = BTreeMap::new();
        type Place = fn(&mut ToldColumn) -> &mut Option<i64>;
        let counts: [(&[(i32, i64)], Place); 4] = [
            (&draft.sizes, |column| &mut column.bytes),
            (&draft.values, |column| &mut column.values),
            (&draft.nulls, |column| &mut column.nulls),
            (&draft.nans, |column| &mut column.nans),
        ];
        for (found, place) in counts {
            for (id, count) in found.iter().filter(|(_, count)| *count >= 0) {
                *place(columns.entry(*id).or_default()) = Some(*count);
            }
        }
        for (id, bound) in &draft.lower {
            columns.entry(*id).or_default().lower = Some(bound.to_vec());
        }
        for (id, bound) in &draft.upper {
            columns.entry(*id).or_default().upper = Some(bound.to_vec());
        }
        files.push(Told {
            content: draft.head.content,
            location: draft.head.location.to_owned(),
            format: draft.head.format.to_ascii_lowercase(),
            rows: draft.head.rows,
            size: draft.head.size,
            sequence,
            sort_order: draft.head.sort_order,
            snapshot: draft.head.snapshot.or(frame.listed.snapshot),
            partition: draft.partition().map(|value| value.map(<[u8]>::to_vec)).collect(),
            columns,
        });
        Ok(())
    })?;
    Ok(files)
}
