//! A few rows of a table go through the detectors, and its figures tell of NULLs.

use std::collections::BTreeMap;

use datafusion::arrow::array::{Array, ArrayRef, AsArray};
use datafusion::arrow::datatypes::DataType;
use datafusion::catalog::TableProvider;
use datafusion::common::stats::Precision;
use iceberg::spec::{NestedField, PrimitiveType, Type};
use polder_catalog::contract::Column;
use polder_catalog::detect::{Detector, Sample};
use polder_catalog::document::Finding;
use polder_catalog::mesh::Mesh;
use polder_catalog::name::ProductRef;

use crate::error::Error;
use crate::lake::OpenTable;
use crate::resolve::bind::bind;
use crate::scan::{IcebergScan, ScanColumn};
use crate::session::Engine;

/// What rows and figures tell.
pub(super) struct Sampled {
    pub(super) findings: Vec<Finding>,
    /// How many NULLs required columns have that the table does not require, as far as is known.
    pub(super) nulls: Vec<(String, Option<u64>)>,
}

/// Samples of columns, and of the fields inside of them, by the names that lead there.
pub(super) type Samples<'d> = BTreeMap<Vec<String>, Sample<'d>>;

/// Looks at `rows` rows of a product's columns that hold texts.
pub(super) async fn sample(
    engine: &Engine,
    mesh: &Mesh,
    name: &ProductRef,
    open: &OpenTable,
    rows: usize,
) -> Result<Sampled, Error> {
    let mut sampled = Sampled { findings: Vec::new(), nulls: Vec::new() };
    let Some(product) = mesh.product(name) else { return Ok(sampled) };
    let contract = &product.contract;
    let schema = open.table.metadata().current_schema();
    let bound = bind(name, contract, schema, &open.beyond)?.columns;
    let is_promised = |column: &&ScanColumn| {
        let promised = contract.columns.iter().any(|own| own.name == column.name && own.required);
        promised && schema.field_by_id(column.field_id).is_some_and(|field| !field.required)
    };
    let promised = bound.iter().filter(is_promised).cloned().collect();
    sampled.nulls = nulls(open, promised).await?;
    let detectors = mesh.detectors();
    for (path, sample) in texts(engine, open, bound, rows, &detectors).await? {
        if let Some(path) = lead(&contract.columns, &path) {
            sampled.findings.extend(mesh.untagged(product, &path, &sample));
            sampled.findings.extend(mesh.misshapen(product, &path, &sample));
        }
    }
    Ok(sampled)
}

/// The columns that lead to a field.
fn lead<'c>(mut columns: &'c [Column], names: &[String]) -> Option<Vec<&'c Column>> {
    let mut path = Vec::with_capacity(names.len());
    for name in names {
        let column = columns.iter().find(|column| column.name == *name)?;
        path.push(column);
        columns = &column.fields;
    }
    Some(path)
}

/// How many NULLs columns have, by the figures of all their files.
async fn nulls(open: &OpenTable, columns: Vec<ScanColumn>) -> Result<Vec<(String, Option<u64>)>, Error> {
    if columns.is_empty() {
        return Ok(Vec::new());
    }
    let names: Vec<String> = columns.iter().map(|column| column.name.clone()).collect();
    let scan = IcebergScan::pin(open.clone(), columns, None).await?;
    let figures = scan.statistics().map(|statistics| statistics.column_statistics).unwrap_or_default();
    let known = |nth: usize| match figures.get(nth).map(|figures| figures.null_count) {
        Some(Precision::Exact(nulls)) => u64::try_from(nulls).ok(),
        Some(Precision::Inexact(_) | Precision::Absent) | None => None,
    };
    Ok(names.into_iter().enumerate().map(|(nth, name)| (name, known(nth))).collect())
}

/// Looks at the texts in `rows` rows of these columns.
pub(super) async fn texts<'d>(
    engine: &Engine,
    open: &OpenTable,
    mut columns: Vec<ScanColumn>,
    rows: usize,
    detectors: &'d [Detector],
) -> Result<Samples<'d>, Error> {
    let schema = open.table.metadata().current_schema();
    columns.retain(|column| schema.field_by_id(column.field_id).is_some_and(|field| has_text(field)));
    let mut samples = Samples::new();
    if columns.is_empty() {
        return Ok(samples);
    }
    let scan = IcebergScan::pin(open.clone(), columns, None).await?;
    for batch in engine.sample(&scan, rows).await? {
        for (field, array) in batch.schema().fields().iter().zip(batch.columns()) {
            look(&mut samples, detectors, &mut vec![field.name().clone()], array);
        }
    }
    Ok(samples)
}

/// Whether a text lies anywhere in a field.
fn has_text(field: &NestedField) -> bool {
    match field.field_type.as_ref() {
        Type::Primitive(kind) => *kind == PrimitiveType::String,
        Type::Struct(fields) => fields.fields().iter().any(|field| has_text(field)),
        Type::List(list) => has_text(&list.element_field),
        Type::Map(map) => has_text(&map.value_field),
    }
}

fn look<'d>(samples: &mut Samples<'d>, detectors: &'d [Detector], path: &mut Vec<String>, array: &ArrayRef) {
    let mut sample = |texts: &mut dyn Iterator<Item = &str>| {
        let sample = samples.entry(path.clone()).or_insert_with(|| Sample::new(detectors));
        texts.for_each(|text| sample.look(text));
    };
    match array.data_type() {
        DataType::Utf8 => sample(&mut array.as_string::<i32>().iter().flatten()),
        DataType::LargeUtf8 => sample(&mut array.as_string::<i64>().iter().flatten()),
        DataType::Utf8View => sample(&mut array.as_string_view().iter().flatten()),
        DataType::List(_) => look(samples, detectors, path, array.as_list::<i32>().values()),
        DataType::LargeList(_) => look(samples, detectors, path, array.as_list::<i64>().values()),
        DataType::Map(..) => look(samples, detectors, path, array.as_map().values()),
        DataType::Struct(fields) => {
            for (field, array) in fields.iter().zip(array.as_struct().columns()) {
                path.push(field.name().clone());
                look(samples, detectors, path, array);
                path.pop();
            }
        }
        _ => {}
    }
}
