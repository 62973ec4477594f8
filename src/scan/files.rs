//! A snapshot's data files with what their manifests know about them, and the choice of those that may match.

use std::collections::HashSet;
use std::sync::Arc;

use datafusion::arrow::array::{ArrayRef, BooleanArray, UInt64Array};
use datafusion::arrow::datatypes::{DataType, FieldRef, SchemaRef};
use datafusion::common::pruning::PruningStatistics;
use datafusion::common::stats::Precision;
use datafusion::common::{Column, ColumnStatistics, Result, ScalarValue, Statistics};
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_optimizer::pruning::PruningPredicate;
use futures::{StreamExt, TryStreamExt, stream};
use iceberg::spec::{
    DataContentType, DataFile, DataFileFormat, Datum, Literal, PartitionField, PrimitiveLiteral, SnapshotRef, Transform,
};

use super::columns::Bound;
use super::entry::{DataFile as DataFileEntry, DeleteFile, DeleteKind, Known, Partition};
use super::error::ScanError;
use super::lineage;
use crate::error::Error;
use crate::lake::OpenTable;

/// How many manifests are read at once.
const MANIFESTS: usize = 8;

/// Reads the manifests of `snapshot`, and refuses what would make an answer wrong.
pub(super) async fn read(
    open: &OpenTable,
    snapshot: &SnapshotRef,
    columns: &[Bound],
    schema: &SchemaRef,
) -> Result<(Vec<DataFileEntry>, Vec<DeleteFile>), Error> {
    let table = open.table.identifier().to_string();
    let failed = |source| ScanError::Metadata { table: table.clone(), source: Box::new(source) };
    let unsupported = |what: &str| ScanError::Unsupported { table: table.clone(), what: what.to_owned() };
    if snapshot.encryption_key_id().is_some() || open.table.metadata().encryption_keys_iter().len() > 0 {
        return Err(unsupported("encryption").into());
    }
    let list = open.table.manifest_list_reader(snapshot).load().await.map_err(failed)?;
    let live = list.entries().iter().filter(|manifest| manifest.has_added_files() || manifest.has_existing_files());
    let mut manifests = Vec::new();
    for manifest in live {
        if manifest.key_metadata.as_ref().is_some_and(|key| !key.is_empty()) {
            return Err(unsupported("encryption").into());
        }
        manifests.push(manifest.clone());
    }
    let first_rows: Vec<_> = manifests.iter().map(|manifest| manifest.first_row_id).collect();
    let io = open.table.file_io();
    let loaded: Vec<_> = stream::iter(manifests)
        .map(|file| async move { file.load_manifest(io).await })
        .buffered(MANIFESTS)
        .try_collect()
        .await
        .map_err(failed)?;

    let mut files = Vec::new();
    let mut deletes = Vec::new();
    for (manifest, first_row) in loaded.into_iter().zip(first_rows) {
        let mut next_row = first_row.and_then(|row| i64::try_from(row).ok());
        let spec = manifest.metadata().partition_spec();
        for entry in manifest.entries().iter().filter(|entry| entry.is_alive()) {
            let file = entry.data_file();
            if file.key_metadata().is_some_and(|key| !key.is_empty()) {
                return Err(unsupported("encryption").into());
            }
            let sequence = entry.sequence_number().ok_or_else(|| unsupported("files without a sequence number"))?;
            let path = open.path(file.file_path())?;
            let partition =
                Partition { spec: spec.spec_id(), global: spec.is_unpartitioned(), values: file.partition().clone() };
            let kind = match (file.content_type(), file.file_format()) {
                (DataContentType::Data, DataFileFormat::Parquet) => {
                    let known = |bound: &Bound, field: &FieldRef| match lineage::field(bound.field.id) {
                        // What a file holds of row lineage is not what its rows have.
                        Some(_) => Known::default(),
                        None => partition_value(file, spec.fields(), bound.field.id, field.data_type())
                            .unwrap_or_else(|| known(file, bound.field.id, field.data_type())),
                    };
                    // Files that were added with their manifest have their rows numbered by it.
                    let first_row = next_row.map(|next| file.first_row_id().unwrap_or(next));
                    if file.first_row_id().is_none() {
                        let rows = i64::try_from(file.record_count()).unwrap_or(i64::MAX);
                        next_row = next_row.map(|next| next.saturating_add(rows));
                    }
                    files.push(DataFileEntry {
                        path,
                        location: file.file_path().to_owned(),
                        size: file.file_size_in_bytes(),
                        rows: file.record_count(),
                        sequence,
                        first_row,
                        partition,
                        columns: columns.iter().zip(schema.fields()).map(|(b, f)| known(b, f)).collect(),
                    });
                    continue;
                }
                (DataContentType::EqualityDeletes, DataFileFormat::Parquet) => {
                    DeleteKind::Equality { ids: file.equality_ids().unwrap_or_default() }
                }
                (DataContentType::PositionDeletes, DataFileFormat::Parquet) => DeleteKind::Positions,
                (DataContentType::PositionDeletes, DataFileFormat::Puffin) => {
                    let place = |number: Option<i64>| number.and_then(|number| u64::try_from(number).ok());
                    match (place(file.content_offset()), place(file.content_size_in_bytes())) {
                        (Some(offset), Some(length)) => DeleteKind::Vector { offset, length },
                        _ => return Err(unsupported("deletion vectors without their place").into()),
                    }
                }
                (_, other) => return Err(unsupported(&format!("files in the format `{other}`")).into()),
            };
            deletes.push(DeleteFile {
                kind,
                path,
                size: file.file_size_in_bytes(),
                rows: file.record_count(),
                sequence,
                partition,
                data_file: file.referenced_data_file(),
            });
        }
    }
    Ok((files, deletes))
}

/// A column that the file is partitioned by has one value, which DataFusion then takes instead of the file's column:
/// the file need not have it.
fn partition_value(file: &DataFile, partition: &[PartitionField], id: i32, data_type: &DataType) -> Option<Known> {
    let is_plain = |field: &PartitionField| field.source_id == id && field.transform == Transform::Identity;
    let index = partition.iter().position(is_plain)?;
    match file.partition().fields().get(index)? {
        None => Some(Known { nulls: Some(file.record_count()), exact: true, ..Known::default() }),
        Some(Literal::Primitive(literal)) if !literal.is_nan() => {
            let value = scalar(literal, data_type)?;
            Some(Known { min: Some(value.clone()), max: Some(value), nulls: Some(0), nan: false, exact: true })
        }
        Some(_) => None,
    }
}

fn known(file: &DataFile, id: i32, data_type: &DataType) -> Known {
    let nulls = file.null_value_counts().get(&id).copied();
    let is_float = matches!(data_type, DataType::Float32 | DataType::Float64);
    // NaN sorts above every number here and is in no bound, so a bound holds only where there is none.
    let nans = file.nan_value_counts().get(&id).copied();
    if data_type.is_nested() || (is_float && nans != Some(0)) {
        return Known { nulls, nan: nans.is_some_and(|nans| nans > 0), ..Known::default() };
    }
    let bound = |datum: Option<&Datum>| datum.and_then(|datum| scalar(datum.literal(), data_type));
    Known {
        min: bound(file.lower_bounds().get(&id)),
        max: bound(file.upper_bounds().get(&id)),
        nulls,
        nan: false,
        exact: !is_float && !matches!(data_type, DataType::Utf8 | DataType::Binary | DataType::FixedSizeBinary(_)),
    }
}

/// A bound as a value of the column's type. One written before a promotion is a smaller type of the same kind.
fn scalar(literal: &PrimitiveLiteral, data_type: &DataType) -> Option<ScalarValue> {
    use datafusion::arrow::datatypes::TimeUnit::{Microsecond, Nanosecond};
    Some(match (literal, data_type) {
        (PrimitiveLiteral::Boolean(v), DataType::Boolean) => ScalarValue::Boolean(Some(*v)),
        (PrimitiveLiteral::Int(v), DataType::Int32) => ScalarValue::Int32(Some(*v)),
        (PrimitiveLiteral::Int(v), DataType::Int64) => ScalarValue::Int64(Some(i64::from(*v))),
        (PrimitiveLiteral::Long(v), DataType::Int64) => ScalarValue::Int64(Some(*v)),
        (PrimitiveLiteral::Float(v), DataType::Float32) => ScalarValue::Float32(Some(v.0)),
        (PrimitiveLiteral::Float(v), DataType::Float64) => ScalarValue::Float64(Some(f64::from(v.0))),
        (PrimitiveLiteral::Double(v), DataType::Float64) => ScalarValue::Float64(Some(v.0)),
        (PrimitiveLiteral::Int128(v), DataType::Decimal128(p, s)) => ScalarValue::Decimal128(Some(*v), *p, *s),
        (PrimitiveLiteral::Int(v), DataType::Date32) => ScalarValue::Date32(Some(*v)),
        (PrimitiveLiteral::Long(v), DataType::Time64(Microsecond)) => ScalarValue::Time64Microsecond(Some(*v)),
        (PrimitiveLiteral::Long(v), DataType::Timestamp(Microsecond, tz)) => {
            ScalarValue::TimestampMicrosecond(Some(*v), tz.clone())
        }
        (PrimitiveLiteral::Long(v), DataType::Timestamp(Nanosecond, tz)) => {
            ScalarValue::TimestampNanosecond(Some(*v), tz.clone())
        }
        (PrimitiveLiteral::String(v), DataType::Utf8) => ScalarValue::Utf8(Some(v.clone())),
        (PrimitiveLiteral::Binary(v), DataType::Binary) => ScalarValue::Binary(Some(v.clone())),
        _ => return None,
    })
}

impl DataFileEntry {
    /// Whether a column of floats holds NaN. Parquet's own statistics leave NaN out, DataFusion prunes by them all the
    /// same, and would lose rows that its own comparison keeps.
    pub(super) fn has_nan(&self) -> bool {
        self.columns.iter().any(|known| known.nan)
    }

    /// What DataFusion may believe about this file.
    pub(super) fn statistics(&self) -> Statistics {
        let column = |known: &Known| {
            let value = |value: &Option<ScalarValue>| match value {
                Some(value) if known.exact => Precision::Exact(value.clone()),
                Some(value) => Precision::Inexact(value.clone()),
                None => Precision::Absent,
            };
            ColumnStatistics {
                null_count: known
                    .nulls
                    .and_then(|n| usize::try_from(n).ok())
                    .map_or(Precision::Absent, Precision::Exact),
                min_value: value(&known.min),
                max_value: value(&known.max),
                ..ColumnStatistics::new_unknown()
            }
        };
        Statistics {
            num_rows: usize::try_from(self.rows).map_or(Precision::Absent, Precision::Exact),
            total_byte_size: usize::try_from(self.size).map_or(Precision::Absent, Precision::Inexact),
            column_statistics: self.columns.iter().map(column).collect(),
        }
    }
}

/// The statistics of several files together.
pub(super) fn together<'a>(files: impl Iterator<Item = &'a DataFileEntry>, schema: &SchemaRef) -> Result<Statistics> {
    let each: Vec<Statistics> = files.map(DataFileEntry::statistics).collect();
    if each.is_empty() {
        let mut none = Statistics::new_unknown(schema);
        none.num_rows = Precision::Exact(0);
        return Ok(none);
    }
    Statistics::try_merge_iter(each.iter(), schema)
}

/// Which files may hold a row for which `predicate` is true.
pub(super) fn prune(
    files: &[DataFileEntry],
    schema: &SchemaRef,
    predicate: Arc<dyn PhysicalExpr>,
) -> Result<Vec<bool>> {
    let pruning = PruningPredicate::try_new(predicate, Arc::clone(schema))?;
    if pruning.always_true() {
        return Ok(vec![true; files.len()]);
    }
    pruning.prune(&Bounds { files, schema })
}

/// The manifests' bounds in the form that a pruning predicate reads.
struct Bounds<'a> {
    files: &'a [DataFileEntry],
    schema: &'a SchemaRef,
}

impl Bounds<'_> {
    fn values(&self, column: &Column, pick: impl Fn(&Known) -> &Option<ScalarValue>) -> Option<ArrayRef> {
        let (index, field) = self.schema.column_with_name(&column.name)?;
        let null = ScalarValue::try_new_null(field.data_type()).ok()?;
        let values =
            self.files.iter().map(|file| file.columns.get(index).and_then(|k| pick(k).clone()).unwrap_or(null.clone()));
        ScalarValue::iter_to_array(values).ok()
    }
}

impl PruningStatistics for Bounds<'_> {
    fn min_values(&self, column: &Column) -> Option<ArrayRef> {
        self.values(column, |known| &known.min)
    }

    fn max_values(&self, column: &Column) -> Option<ArrayRef> {
        self.values(column, |known| &known.max)
    }

    fn num_containers(&self) -> usize {
        self.files.len()
    }

    fn null_counts(&self, column: &Column) -> Option<ArrayRef> {
        let (index, _) = self.schema.column_with_name(&column.name)?;
        let counts = self.files.iter().map(|file| file.columns.get(index).and_then(|known| known.nulls));
        Some(Arc::new(counts.collect::<UInt64Array>()))
    }

    fn row_counts(&self) -> Option<ArrayRef> {
        Some(Arc::new(self.files.iter().map(|file| Some(file.rows)).collect::<UInt64Array>()))
    }

    fn contained(&self, _column: &Column, _values: &HashSet<ScalarValue>) -> Option<BooleanArray> {
        None
    }
}
