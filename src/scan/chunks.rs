//! Column chunks as they arrive from a store: whether their pages hold as many values as the footer says.
//!
//! Parquet's reader ends a column where its pages end and says nothing. A page that claims fewer values than it has would
//! make an answer short, and would move every row behind it to another position.

use std::collections::HashMap;
use std::ops::Range;
use std::sync::Arc;

use bytes::{Buf, Bytes};
use parquet::column::page::PageReader;
use parquet::errors::{ParquetError, Result};
use parquet::file::metadata::{ColumnChunkMetaData, ParquetMetaData};
use parquet::file::reader::{ChunkReader, Length, SerializedPageReader};

/// The column chunks of one file by where they begin.
pub(super) struct Chunks {
    metadata: Arc<ParquetMetaData>,
    places: HashMap<u64, (usize, usize)>,
}

impl Chunks {
    pub(super) fn of(metadata: Arc<ParquetMetaData>) -> Self {
        let groups = metadata.row_groups().iter().enumerate();
        let places = groups.flat_map(|(group, row_group)| {
            let columns = row_group.columns().iter().enumerate();
            columns.map(move |(column, chunk)| (chunk.byte_range().0, (group, column)))
        });
        Self { places: places.collect(), metadata }
    }

    /// Looks at the pages of what is a whole chunk. Single pages are left to the reader.
    pub(super) fn check(&self, range: &Range<u64>, bytes: &Bytes) -> Result<()> {
        let Some((group, column)) = self.places.get(&range.start) else { return Ok(()) };
        let Some(group) = self.metadata.row_groups().get(*group) else { return Ok(()) };
        let Some(chunk) = group.columns().get(*column) else { return Ok(()) };
        if chunk.byte_range() != (range.start, range.end.saturating_sub(range.start)) {
            return Ok(());
        }
        let is_flat = chunk.column_descr().max_rep_level() == 0;
        if is_flat && chunk.num_values() != group.num_rows() {
            return Err(wrong("a column does not have a value for each row"));
        }
        let found = values(chunk, range.start, bytes)?;
        match i64::try_from(found) == Ok(chunk.num_values()) {
            true => Ok(()),
            false => Err(wrong("the pages of a column do not hold the values that its footer counts")),
        }
    }
}

fn wrong(what: &str) -> ParquetError {
    ParquetError::General(what.to_owned())
}

/// How many values the pages of a chunk claim, by their headers alone.
fn values(chunk: &ColumnChunkMetaData, start: u64, bytes: &Bytes) -> Result<usize> {
    let file = Arc::new(Part { start, bytes: bytes.clone() });
    let mut pages = SerializedPageReader::new(file, chunk, 0, None)?;
    let mut values = 0usize;
    while let Some(page) = pages.peek_next_page()? {
        if !page.is_dict {
            values = values.saturating_add(page.num_levels.or(page.num_rows).unwrap_or_default());
        }
        pages.skip_next_page()?;
    }
    Ok(values)
}

/// A part of a file under the file's own offsets.
struct Part {
    start: u64,
    bytes: Bytes,
}

impl Part {
    fn from(&self, offset: u64) -> Result<Bytes> {
        let at = offset.checked_sub(self.start).and_then(|at| usize::try_from(at).ok());
        let at = at.filter(|at| *at <= self.bytes.len()).ok_or_else(|| wrong("a page begins outside its column"))?;
        Ok(self.bytes.slice(at..))
    }
}

impl Length for Part {
    fn len(&self) -> u64 {
        self.start.saturating_add(u64::try_from(self.bytes.len()).unwrap_or(u64::MAX))
    }
}

impl ChunkReader for Part {
    type T = bytes::buf::Reader<Bytes>;

    fn get_read(&self, start: u64) -> Result<Self::T> {
        Ok(self.from(start)?.reader())
    }

    fn get_bytes(&self, start: u64, length: usize) -> Result<Bytes> {
        let bytes = self.from(start)?;
        match length <= bytes.len() {
            true => Ok(bytes.slice(..length)),
            false => Err(wrong("a page ends outside its column")),
        }
    }
}
