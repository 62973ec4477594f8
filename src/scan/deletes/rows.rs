//! The live rows of a data file, as DataFusion's Parquet source takes them and as positions.

use std::ops::Range;

use datafusion::common::{Result, internal_err};
use datafusion::datasource::physical_plan::parquet::{ParquetAccessPlan, RowGroupAccess};
use datafusion_datasource::FileRange;
use parquet::arrow::arrow_reader::{RowSelection, RowSelector};
use parquet::file::metadata::{ParquetMetaData, RowGroupMetaData};

use super::gone::Gone;

/// How deleted rows are left out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Leave {
    /// They are not read.
    Unread,
    /// Where a row group has live rows it is read whole, and the others are filtered out afterwards.
    ToFilter,
}

/// Which rows to read: those of the row groups that begin in `range`, without the deleted ones.
pub(super) fn plan(
    metadata: &ParquetMetaData,
    range: Option<&FileRange>,
    gone: Option<&Gone>,
    leave: Leave,
) -> ParquetAccessPlan {
    let accesses = row_groups(metadata).map(|(group, rows)| match gone {
        _ if !owns(range, group) => RowGroupAccess::Skip,
        None => RowGroupAccess::Scan,
        Some(gone) if leave == Leave::ToFilter => match gone.covers(&rows) {
            true => RowGroupAccess::Skip,
            false => RowGroupAccess::Scan,
        },
        Some(gone) => select(&rows, &gone.live(&rows)),
    });
    ParquetAccessPlan::new(accesses.collect())
}

/// The positions of rows in the order in which they are read.
#[derive(Debug)]
pub(super) struct Positions {
    left: std::vec::IntoIter<Range<u64>>,
    now: Range<u64>,
}

impl Positions {
    pub(super) fn new(metadata: &ParquetMetaData, plan: &ParquetAccessPlan) -> Self {
        Self { left: read(metadata, plan).into_iter(), now: 0..0 }
    }

    /// Those of the next `rows` rows.
    pub(super) fn next(&mut self, rows: usize) -> Result<Vec<Range<u64>>> {
        let mut found = Vec::new();
        let mut missing = wide(rows);
        while missing > 0 {
            let end = self.now.start.saturating_add(missing).min(self.now.end);
            if self.now.start < end {
                missing -= end - self.now.start;
                found.push(self.now.start..end);
                self.now.start = end;
                continue;
            }
            let Some(range) = self.left.next() else {
                return internal_err!("a file gave more rows than it has");
            };
            self.now = range;
        }
        Ok(found)
    }
}

/// The positions of the rows that `plan` reads.
fn read(metadata: &ParquetMetaData, plan: &ParquetAccessPlan) -> Vec<Range<u64>> {
    let mut live = Vec::new();
    for ((_, rows), access) in row_groups(metadata).zip(plan.inner()) {
        match access {
            RowGroupAccess::Skip => {}
            RowGroupAccess::Scan => live.push(rows),
            RowGroupAccess::Selection(selection) => {
                let mut at = rows.start;
                for run in selection.iter() {
                    let end = at.saturating_add(wide(run.row_count));
                    if !run.skip {
                        live.push(at..end);
                    }
                    at = end;
                }
            }
        }
    }
    live
}

/// The row groups that are read, in this order, each as a plan of its own.
pub(super) fn one_by_one(plan: ParquetAccessPlan, order: Vec<usize>) -> impl Iterator<Item = ParquetAccessPlan> + Send {
    let groups = plan.into_inner();
    order.into_iter().filter_map(move |group| {
        let access = groups.get(group).filter(|access| access.should_scan())?;
        let mut only = ParquetAccessPlan::new_none(groups.len());
        only.set(group, access.clone());
        Some(only)
    })
}

/// The row groups, each with the positions of its rows in the file.
fn row_groups(metadata: &ParquetMetaData) -> impl Iterator<Item = (&RowGroupMetaData, Range<u64>)> {
    metadata.row_groups().iter().scan(0u64, |start, group| {
        let end = start.saturating_add(u64::try_from(group.num_rows()).unwrap_or_default());
        Some((group, std::mem::replace(start, end)..end))
    })
}

/// DataFusion's own rule, so that a file that was split is read once.
fn owns(range: Option<&FileRange>, group: &RowGroupMetaData) -> bool {
    let (Some(range), Some(first)) = (range, group.columns().first()) else { return true };
    range.contains(first.dictionary_page_offset().unwrap_or_else(|| first.data_page_offset()))
}

/// The access to a row group of which these rows are live.
fn select(rows: &Range<u64>, live: &[Range<u64>]) -> RowGroupAccess {
    if live.is_empty() {
        return RowGroupAccess::Skip;
    }
    let mut runs: Vec<RowSelector> = Vec::with_capacity(2 * live.len() + 1);
    let mut at = rows.start;
    for run in live {
        if run.start > at {
            runs.push(RowSelector::skip(narrow(run.start - at)));
        }
        runs.push(RowSelector::select(narrow(run.end - run.start)));
        at = run.end;
    }
    if at < rows.end {
        runs.push(RowSelector::skip(narrow(rows.end - at)));
    }
    match runs.iter().any(|run| run.skip) {
        true => RowGroupAccess::Selection(RowSelection::from(runs)),
        false => RowGroupAccess::Scan,
    }
}

pub(super) fn narrow(rows: u64) -> usize {
    usize::try_from(rows).unwrap_or(usize::MAX)
}

pub(super) fn wide(rows: usize) -> u64 {
    u64::try_from(rows).unwrap_or(u64::MAX)
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::single_range_in_vec_init, reason = "tests")]
mod tests {
    use super::*;

    #[test]
    fn positions_jump_over_what_is_not_read() {
        let mut positions = Positions { left: vec![2..4, 4..4, 7..9].into_iter(), now: 0..0 };
        assert_eq!(positions.next(3).unwrap(), [2..4, 7..8]);
        assert_eq!(positions.next(1).unwrap(), [8..9]);
        assert!(positions.next(1).is_err());
    }

    #[test]
    fn a_row_group_is_read_in_parts_whole_or_not_at_all() {
        let gone = Gone::new((10..20).chain([21, 29]).collect());
        let select = |rows: Range<u64>| select(&rows, &gone.live(&rows));
        assert_eq!(select(0..10), RowGroupAccess::Scan);
        assert_eq!(select(10..20), RowGroupAccess::Skip);
        let runs = [(1, false), (1, true), (7, false), (1, true)];
        let runs = runs.map(|(row_count, skip)| RowSelector { row_count, skip });
        assert_eq!(select(20..30), RowGroupAccess::Selection(runs.to_vec().into()));
    }
}
