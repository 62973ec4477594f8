//! The live rows of a data file, as DataFusion's Parquet source takes them and as positions.

use std::ops::Range;

use datafusion::datasource::physical_plan::parquet::{ParquetAccessPlan, RowGroupAccess};
use datafusion_datasource::FileRange;
use parquet::arrow::arrow_reader::{RowSelection, RowSelector};
use parquet::file::metadata::{ParquetMetaData, RowGroupMetaData};
use roaring::RoaringTreemap;

/// Which rows to read: those of the row groups that begin in `range`, without the deleted ones.
pub(super) fn plan(
    metadata: &ParquetMetaData,
    range: Option<&FileRange>,
    deleted: Option<&RoaringTreemap>,
) -> ParquetAccessPlan {
    let accesses = row_groups(metadata).map(|(group, rows)| match deleted {
        _ if !owns(range, group) => RowGroupAccess::Skip,
        None => RowGroupAccess::Scan,
        Some(deleted) => {
            let mut positions = deleted.iter();
            positions.advance_to(rows.start);
            select(&rows, positions)
        }
    });
    ParquetAccessPlan::new(accesses.collect())
}

/// The positions of the rows that `plan` reads.
pub(super) fn live(metadata: &ParquetMetaData, plan: &ParquetAccessPlan) -> Vec<Range<u64>> {
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

/// The rows of one row group; `deleted` begins in it and may go on behind it.
fn select(rows: &Range<u64>, deleted: impl Iterator<Item = u64>) -> RowGroupAccess {
    let mut runs: Vec<RowSelector> = Vec::new();
    let mut at = rows.start;
    for position in deleted.take_while(|position| rows.contains(position)) {
        if position > at {
            runs.push(RowSelector::select(narrow(position - at)));
        }
        match runs.last_mut() {
            Some(run) if run.skip => run.row_count += 1,
            _ => runs.push(RowSelector::skip(1)),
        }
        at = position.saturating_add(1);
    }
    if at == rows.start && runs.is_empty() {
        return RowGroupAccess::Scan;
    }
    if at < rows.end {
        runs.push(RowSelector::select(narrow(rows.end - at)));
    }
    match runs.iter().all(|run| run.skip) {
        true => RowGroupAccess::Skip,
        false => RowGroupAccess::Selection(RowSelection::from(runs)),
    }
}

fn narrow(rows: u64) -> usize {
    usize::try_from(rows).unwrap_or(usize::MAX)
}

fn wide(rows: usize) -> u64 {
    u64::try_from(rows).unwrap_or(u64::MAX)
}
