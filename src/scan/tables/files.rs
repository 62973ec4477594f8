//! Manifests, files and partitions of one snapshot: what its manifests say.

use std::collections::BTreeMap;
use std::sync::Arc;

use datafusion::arrow::array::{
    ArrayRef, BooleanArray, Int32Array, Int64Array, RecordBatch, StringArray, TimestampMillisecondArray,
};
use datafusion::arrow::error::ArrowError;
use iceberg::spec::{DataContentType, ManifestContentType, ManifestFile, ManifestList, SnapshotRef};

use super::shown::{PartitionBounds, PartitionValue, Shown};
use super::{failed, lists, moment, record};
use crate::error::Error;
use crate::lake::OpenTable;
use crate::scan::index::{self, Told, ToldColumn};

/// One manifest of a snapshot.
#[derive(Debug)]
pub(super) struct ManifestRow {
    manifest: ManifestFile,
    path: String,
    partitions: Vec<PartitionBounds>,
}

/// One live file of a snapshot.
#[derive(Debug)]
pub(super) struct FileRow {
    content: DataContentType,
    path: String,
    format: String,
    spec: i32,
    partition: Vec<PartitionValue>,
    rows: i64,
    bytes: i64,
    sequence: Option<i64>,
    sort_order: Option<i32>,
    added_by: Option<i64>,
    added_at: Option<i64>,
    columns: Vec<ColumnRow>,
}

/// What a manifest knows of one column in one file.
#[derive(Debug)]
struct ColumnRow {
    column: Arc<str>,
    bytes: Option<i64>,
    values: Option<i64>,
    nulls: Option<i64>,
    nans: Option<i64>,
    lower: Option<String>,
    upper: Option<String>,
}

/// The live files of one partition, added up.
#[derive(Debug, Default)]
pub(super) struct PartitionRow {
    partition: Vec<PartitionValue>,
    spec: i32,
    files: i64,
    rows: i64,
    bytes: i64,
    position_deletes: (i64, i64),
    equality_deletes: (i64, i64),
    /// The youngest snapshot that added one of them: when, and which.
    updated: Option<(i64, i64)>,
}

async fn list(open: &OpenTable, snapshot: Option<&SnapshotRef>) -> Result<Option<ManifestList>, Error> {
    match snapshot {
        None => Ok(None),
        Some(snapshot) => {
            let list = open.table.manifest_list_reader(snapshot).load().await;
            Ok(Some(list.map_err(|source| failed(open, source))?))
        }
    }
}

/// The manifests of a snapshot, in the order of its list.
pub(super) async fn manifests(
    open: &OpenTable,
    shown: &Shown,
    snapshot: Option<&SnapshotRef>,
) -> Result<Vec<ManifestRow>, Error> {
    let list = list(open, snapshot).await?;
    let row = |manifest: &ManifestFile| ManifestRow {
        path: shown.paths.relative(&manifest.manifest_path),
        partitions: shown
            .partition_bounds(manifest.partition_spec_id, manifest.partitions.as_deref().unwrap_or_default()),
        manifest: manifest.clone(),
    };
    Ok(list.iter().flat_map(|list| list.entries()).map(row).collect())
}

/// Gives the live files of a snapshot to `each`, manifest by manifest in the order of its list.
pub(super) async fn files(
    open: &OpenTable,
    shown: &Shown,
    snapshot: Option<&SnapshotRef>,
    mut each: impl FnMut(Vec<FileRow>) -> Result<(), Error>,
) -> Result<(), Error> {
    let Some(snapshot) = snapshot else { return Ok(()) };
    let rows = |spec: i32, files: Vec<Told>| each(files.iter().map(|file| row(open, shown, spec, file)).collect());
    index::tell(open, snapshot, rows).await
}

fn row(open: &OpenTable, shown: &Shown, spec: i32, file: &Told) -> FileRow {
    let snapshot = file.snapshot.and_then(|id| open.table.metadata().snapshot_by_id(id));
    FileRow {
        content: match file.content {
            0 => DataContentType::Data,
            1 => DataContentType::PositionDeletes,
            _ => DataContentType::EqualityDeletes,
        },
        path: shown.paths.relative(&file.location),
        format: file.format.clone(),
        spec,
        partition: shown.partition(spec, &file.partition),
        rows: number(file.rows),
        bytes: number(file.size),
        sequence: Some(file.sequence),
        sort_order: file.sort_order,
        added_by: file.snapshot,
        added_at: snapshot.map(|snapshot| snapshot.timestamp_ms()),
        columns: columns(shown, file),
    }
}

/// The contract's columns of which the manifest knows anything, by name.
fn columns(shown: &Shown, file: &Told) -> Vec<ColumnRow> {
    let row = |(id, column): (i32, &Arc<str>)| {
        let ToldColumn { bytes, values, nulls, nans, lower, upper } = file.columns.get(&id)?;
        let bound = |bytes: &Option<Vec<u8>>| shown.bound(id, bytes.as_deref()?);
        Some(ColumnRow {
            column: Arc::clone(column),
            bytes: *bytes,
            values: *values,
            nulls: *nulls,
            nans: *nans,
            lower: bound(lower),
            upper: bound(upper),
        })
    };
    let mut columns: Vec<ColumnRow> = shown.columns().filter_map(row).collect();
    columns.sort_by(|a, b| a.column.cmp(&b.column));
    columns
}

/// Files added up by partition, in the order of specs and values.
#[derive(Debug, Default)]
pub(super) struct Partitions(BTreeMap<(i32, Vec<PartitionValue>), PartitionRow>);

impl Partitions {
    pub(super) fn add(&mut self, file: FileRow) {
        let row = self.0.entry((file.spec, file.partition)).or_default();
        let (count, rows) = match file.content {
            DataContentType::Data => {
                row.bytes = row.bytes.saturating_add(file.bytes);
                (&mut row.files, &mut row.rows)
            }
            DataContentType::PositionDeletes => (&mut row.position_deletes.0, &mut row.position_deletes.1),
            DataContentType::EqualityDeletes => (&mut row.equality_deletes.0, &mut row.equality_deletes.1),
        };
        *count = count.saturating_add(1);
        *rows = rows.saturating_add(file.rows);
        row.updated = row.updated.max(file.added_at.zip(file.added_by));
    }

    pub(super) fn rows(self) -> Vec<PartitionRow> {
        self.0.into_iter().map(|((spec, partition), row)| PartitionRow { spec, partition, ..row }).collect()
    }
}

pub(super) fn manifest_batch(rows: &[ManifestRow]) -> Result<RecordBatch, ArrowError> {
    let counts = |pick: fn(&ManifestFile) -> Option<i64>| longs(rows.iter().map(move |row| pick(&row.manifest)));
    let bounds = || rows.iter().flat_map(|row| &row.partitions);
    let partitions = lists(
        rows.iter().map(|row| row.partitions.len()),
        vec![
            ("column", false, texts(bounds().map(|bounds| Some(bounds.column.as_ref())))),
            ("transform", false, texts(bounds().map(|bounds| Some(bounds.transform.as_str())))),
            ("contains_null", false, flags(bounds().map(|bounds| Some(bounds.contains_null)))),
            ("contains_nan", true, flags(bounds().map(|bounds| bounds.contains_nan))),
            ("lower", true, texts(bounds().map(|bounds| bounds.lower.as_deref()))),
            ("upper", true, texts(bounds().map(|bounds| bounds.upper.as_deref()))),
        ],
    )?;
    record(vec![
        ("content", false, texts(rows.iter().map(|row| Some(manifest_content(row.manifest.content))))),
        ("path", false, texts(rows.iter().map(|row| Some(row.path.as_str())))),
        ("length", false, counts(|manifest| Some(manifest.manifest_length))),
        ("partition_spec_id", false, ints(rows.iter().map(|row| Some(row.manifest.partition_spec_id)))),
        ("sequence_number", false, counts(|manifest| Some(manifest.sequence_number))),
        ("added_snapshot_id", false, counts(|manifest| Some(manifest.added_snapshot_id))),
        ("added_files_count", true, counts(|manifest| manifest.added_files_count.map(i64::from))),
        ("existing_files_count", true, counts(|manifest| manifest.existing_files_count.map(i64::from))),
        ("deleted_files_count", true, counts(|manifest| manifest.deleted_files_count.map(i64::from))),
        ("added_rows_count", true, counts(|manifest| manifest.added_rows_count.map(number))),
        ("existing_rows_count", true, counts(|manifest| manifest.existing_rows_count.map(number))),
        ("deleted_rows_count", true, counts(|manifest| manifest.deleted_rows_count.map(number))),
        ("partitions", false, partitions),
    ])
}

pub(super) fn file_batch(rows: &[FileRow]) -> Result<RecordBatch, ArrowError> {
    let known = || rows.iter().flat_map(|row| &row.columns);
    let columns = lists(
        rows.iter().map(|row| row.columns.len()),
        vec![
            ("column", false, texts(known().map(|column| Some(column.column.as_ref())))),
            ("size_in_bytes", true, longs(known().map(|column| column.bytes))),
            ("value_count", true, longs(known().map(|column| column.values))),
            ("null_count", true, longs(known().map(|column| column.nulls))),
            ("nan_count", true, longs(known().map(|column| column.nans))),
            ("lower", true, texts(known().map(|column| column.lower.as_deref()))),
            ("upper", true, texts(known().map(|column| column.upper.as_deref()))),
        ],
    )?;
    record(vec![
        ("content", false, texts(rows.iter().map(|row| Some(content(row.content))))),
        ("file_path", false, texts(rows.iter().map(|row| Some(row.path.as_str())))),
        ("file_format", false, texts(rows.iter().map(|row| Some(row.format.as_str())))),
        ("spec_id", false, ints(rows.iter().map(|row| Some(row.spec)))),
        ("partition", false, partition_lists(rows.iter().map(|row| row.partition.as_slice()))?),
        ("record_count", false, longs(rows.iter().map(|row| Some(row.rows)))),
        ("file_size_in_bytes", false, longs(rows.iter().map(|row| Some(row.bytes)))),
        ("sequence_number", true, longs(rows.iter().map(|row| row.sequence))),
        ("snapshot_id", true, longs(rows.iter().map(|row| row.added_by))),
        ("sort_order_id", true, ints(rows.iter().map(|row| row.sort_order))),
        ("columns", false, columns),
    ])
}

pub(super) fn partition_batch(rows: &[PartitionRow]) -> Result<RecordBatch, ArrowError> {
    let sums = |pick: fn(&PartitionRow) -> i64| longs(rows.iter().map(move |row| Some(pick(row))));
    let updated = rows.iter().map(|row| row.updated.map(|(at, _)| at)).collect::<TimestampMillisecondArray>();
    record(vec![
        ("partition", false, partition_lists(rows.iter().map(|row| row.partition.as_slice()))?),
        ("spec_id", false, ints(rows.iter().map(|row| Some(row.spec)))),
        ("record_count", false, sums(|row| row.rows)),
        ("file_count", false, sums(|row| row.files)),
        ("total_data_file_size_in_bytes", false, sums(|row| row.bytes)),
        ("position_delete_record_count", false, sums(|row| row.position_deletes.1)),
        ("position_delete_file_count", false, sums(|row| row.position_deletes.0)),
        ("equality_delete_record_count", false, sums(|row| row.equality_deletes.1)),
        ("equality_delete_file_count", false, sums(|row| row.equality_deletes.0)),
        ("last_updated_at", true, Arc::new(updated.with_data_type(moment()))),
        ("last_updated_snapshot_id", true, longs(rows.iter().map(|row| row.updated.map(|(_, by)| by)))),
    ])
}

fn partition_lists<'a>(partitions: impl Iterator<Item = &'a [PartitionValue]> + Clone) -> Result<ArrayRef, ArrowError> {
    let values = || partitions.clone().flatten();
    lists(
        partitions.clone().map(<[PartitionValue]>::len),
        vec![
            ("column", false, texts(values().map(|value| Some(value.column.as_ref())))),
            ("transform", false, texts(values().map(|value| Some(value.transform.as_str())))),
            ("value", true, texts(values().map(|value| value.value.as_deref()))),
        ],
    )
}

fn manifest_content(content: ManifestContentType) -> &'static str {
    match content {
        ManifestContentType::Data => "data",
        ManifestContentType::Deletes => "deletes",
    }
}

fn content(content: DataContentType) -> &'static str {
    match content {
        DataContentType::Data => "data",
        DataContentType::PositionDeletes => "position deletes",
        DataContentType::EqualityDeletes => "equality deletes",
    }
}

/// A count as SQL can hold it.
fn number(count: u64) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}

fn texts<'a>(values: impl Iterator<Item = Option<&'a str>>) -> ArrayRef {
    Arc::new(values.collect::<StringArray>())
}

fn longs(values: impl Iterator<Item = Option<i64>>) -> ArrayRef {
    Arc::new(values.collect::<Int64Array>())
}

fn ints(values: impl Iterator<Item = Option<i32>>) -> ArrayRef {
    Arc::new(values.collect::<Int32Array>())
}

fn flags(values: impl Iterator<Item = Option<bool>>) -> ArrayRef {
    Arc::new(values.collect::<BooleanArray>())
}
