//! Which files and row groups a sort wants first.
//!
//! ```text
//! ORDER BY key DESC LIMIT 10:   files by the upper bound of key, the greatest first
//!     -> ten rows are found, a dynamic filter says what comes too late to be among them
//!     -> a file or row group whose bounds say so is not opened; each is asked about when its turn comes
//! ```
//!
//! DataFusion's own order of files goes by the lower bound whatever is asked for, and it looks at the row groups of a
//! file once, when the file is opened and the filter knows nothing yet.
//!
//! This only decides what is read first. **No order is announced** to the plan above, also where files carry the id of a
//! sort order. Such an id is a claim that no writer is made to keep and that readers cannot look into: some write it for
//! all files of a table, whatever is in them, and it does not say by which order of text. An announced order takes the
//! sort out of a plan, so a file that lies would give wrong answers; a check of each batch would make tables unreadable
//! that other engines read. What is left to gain is a full sort of a whole table: bounds, which must be right anyway,
//! already let `LIMIT` stop early.

use std::cmp::Ordering;
use std::sync::Arc;

use datafusion::arrow::array::{Array, ArrayRef};
use datafusion::arrow::compute::{SortOptions, sort_to_indices};
use datafusion::common::stats::Precision;
use datafusion::common::{ColumnStatistics, Result, ScalarValue};
use datafusion::datasource::listing::PartitionedFile;
use datafusion::physical_expr::PhysicalSortExpr;
use datafusion::physical_expr::expressions::Column;
use datafusion::physical_expr::projection::ProjectionExprs;
use parquet::arrow::arrow_reader::statistics::StatisticsConverter;
use parquet::arrow::arrow_reader::{ArrowReaderMetadata, ArrowReaderOptions};
use parquet::file::metadata::ParquetMetaData;

use super::adapter::field_id;

/// The column that a sort begins with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Best {
    /// Its place among a scan's columns.
    pub(super) column: usize,
    options: SortOptions,
}

impl Best {
    /// `None` for a sort that begins with something else than a column.
    pub(super) fn of(order: &[PhysicalSortExpr], projection: &ProjectionExprs) -> Option<Self> {
        let first = order.first()?;
        let shown = first.expr.downcast_ref::<Column>()?;
        let read = projection.iter().nth(shown.index())?.expr.downcast_ref::<Column>()?;
        Some(Self { column: read.index(), options: first.options })
    }

    /// Those that can hold the first rows come first, and those of which nothing is known come last.
    pub(super) fn files(&self, mut files: Vec<PartitionedFile>) -> Vec<PartitionedFile> {
        files.sort_by_cached_key(|file| {
            let known = file.statistics.as_ref().and_then(|known| known.column_statistics.get(self.column));
            let has_nulls = known.is_some_and(|known| known.null_count.get_value().is_some_and(|nulls| *nulls > 0));
            let bound = known.and_then(|known| self.bound(&known.min_value, &known.max_value).get_value().cloned());
            Rank { later: !(has_nulls && self.options.nulls_first), bound, descending: self.options.descending }
        });
        files
    }

    fn bound<T>(&self, min: T, max: T) -> T {
        if self.options.descending { max } else { min }
    }

    /// The numbers of a file's row groups; `field` is the column's.
    pub(super) fn row_groups(&self, metadata: &Arc<ParquetMetaData>, field: i32) -> Result<Vec<usize>> {
        let in_order = || (0..metadata.num_row_groups()).collect();
        let file = ArrowReaderMetadata::try_new(Arc::clone(metadata), ArrowReaderOptions::new())?;
        let Some(column) = file.schema().fields().iter().find(|column| field_id(column) == Some(field)) else {
            return Ok(in_order());
        };
        let columns = metadata.file_metadata().schema_descr();
        let Ok(told) = StatisticsConverter::try_new(column.name(), file.schema(), columns) else {
            return Ok(in_order());
        };
        let groups = metadata.row_groups();
        let (Ok(min), Ok(max)) = (told.row_group_mins(groups), told.row_group_maxes(groups)) else {
            return Ok(in_order());
        };
        let bound: ArrayRef = self.bound(min, max);
        let options = SortOptions { descending: self.options.descending, nulls_first: false };
        let Ok(sorted) = sort_to_indices(&bound, Some(options), None) else { return Ok(in_order()) };
        let sorted = sorted.values().iter().filter_map(|group| usize::try_from(*group).ok());
        let Ok(nulls) = told.row_group_null_counts(groups) else { return Ok(sorted.collect()) };
        let goes_first = |group: &usize| {
            self.options.nulls_first && *group < nulls.len() && nulls.is_valid(*group) && nulls.value(*group) > 0
        };
        let (mut first, rest): (Vec<usize>, Vec<usize>) = sorted.partition(goes_first);
        first.extend(rest);
        Ok(first)
    }
}

/// Where a file stands.
#[derive(PartialEq)]
struct Rank {
    later: bool,
    bound: Option<ScalarValue>,
    descending: bool,
}

impl Eq for Rank {}

impl PartialOrd for Rank {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Rank {
    fn cmp(&self, other: &Self) -> Ordering {
        let bounds = || match (&self.bound, &other.bound) {
            (Some(a), Some(b)) => {
                let order = a.partial_cmp(b).unwrap_or(Ordering::Equal);
                if self.descending { order.reverse() } else { order }
            }
            (a, b) => b.is_some().cmp(&a.is_some()),
        };
        self.later.cmp(&other.later).then_with(bounds)
    }
}

/// The file with all of its bounds as ones to leave it out by. They may be cut, and are bounds all the same; DataFusion
/// believes only in those that are exact, but takes a column whose two are equal for that value.
pub(super) fn with_bounds(mut file: PartitionedFile) -> PartitionedFile {
    let Some(statistics) = &mut file.statistics else { return file };
    let is_cut = |known: &ColumnStatistics| matches!((&known.min_value, &known.max_value), (Precision::Inexact(min), Precision::Inexact(max)) if min < max);
    if !statistics.column_statistics.iter().any(is_cut) {
        return file;
    }
    for known in Arc::make_mut(statistics).column_statistics.iter_mut().filter(|known| is_cut(known)) {
        for bound in [&mut known.min_value, &mut known.max_value] {
            if let Precision::Inexact(value) = bound {
                *bound = Precision::Exact(value.clone());
            }
        }
    }
    file
}
