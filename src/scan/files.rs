//! A snapshot's data files with what their manifests know about them, and the choice of those that may match.

use std::collections::HashSet;
use std::sync::Arc;

use datafusion::arrow::array::{ArrayRef, BooleanArray, UInt64Array};
use datafusion::arrow::datatypes::{DataType, SchemaRef};
use datafusion::common::pruning::PruningStatistics;
use datafusion::common::stats::Precision;
use datafusion::common::{Column, ColumnStatistics, Result, ScalarValue, Statistics};
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_optimizer::pruning::PruningPredicate;
use futures::{StreamExt, TryStreamExt, stream};
use iceberg::spec::{
    DataContentType, DataFile, DataFileFormat, Datum, Literal, ManifestContentType, PartitionField, PrimitiveLiteral,
    SnapshotRef, Transform,
};
use object_store::path::Path;

use super::columns::Bound;
use super::error::ScanError;
use crate::error::Error;
use crate::lake::OpenTable;

/// How many manifests are read at once.
const MANIFESTS: usize = 8;

/// One live data file.
#[derive(Debug, Clone)]
pub(super) struct DataFileEntry {
    pub(super) path: Path,
    pub(super) size: u64,
    pub(super) rows: u64,
    pub(super) columns: Vec<Known>,
}

/// What a manifest knows about one column of one file.
#[derive(Debug, Clone, Default)]
pub(super) struct Known {
    min: Option<ScalarValue>,
    max: Option<ScalarValue>,
    nulls: Option<u64>,
    /// Whether there is a NaN for certain.
    nan: bool,
    /// Whether the bounds are values that are there. Those of text may be cut short, and those of floats leave out NaN.
    exact: bool,
}

/// Reads the manifests of `snapshot`, and refuses what would make an answer wrong.
pub(super) async fn read(
    open: &OpenTable,
    snapshot: &SnapshotRef,
    columns: &[Bound],
    schema: &SchemaRef,
) -> Result<Vec<DataFileEntry>, Error> {
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
    let io = open.table.file_io();
    let loaded: Vec<_> = stream::iter(manifests)
        .map(|file| async move { file.load_manifest(io).await.map(|manifest| (file.content, manifest)) })
        .buffered(MANIFESTS)
        .try_collect()
        .await
        .map_err(failed)?;

    let mut files = Vec::new();
    for (content, manifest) in loaded {
        let partition = manifest.metadata().partition_spec().fields();
        for entry in manifest.entries().iter().filter(|entry| entry.is_alive()) {
            let file = entry.data_file();
            match (content, file.content_type()) {
                (ManifestContentType::Data, DataContentType::Data) => {}
                (_, DataContentType::EqualityDeletes) => return Err(unsupported("equality deletes").into()),
                (_, DataContentType::PositionDeletes) if file.file_format() == DataFileFormat::Puffin => {
                    return Err(unsupported("deletion vectors").into());
                }
                _ => return Err(unsupported("position deletes").into()),
            }
            match file.file_format() {
                DataFileFormat::Parquet => {}
                other => return Err(unsupported(&format!("data files in the format `{other}`")).into()),
            }
            if file.key_metadata().is_some_and(|key| !key.is_empty()) {
                return Err(unsupported("encryption").into());
            }
            files.push(DataFileEntry {
                path: open.path(file.file_path())?,
                size: file.file_size_in_bytes(),
                rows: file.record_count(),
                columns: columns
                    .iter()
                    .zip(schema.fields())
                    .map(|(bound, field)| {
                        let constant = partition_value(file, partition, bound.field.id, field.data_type());
                        constant.unwrap_or_else(|| known(file, bound.field.id, field.data_type()))
                    })
                    .collect(),
            });
        }
    }
    Ok(files)
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
