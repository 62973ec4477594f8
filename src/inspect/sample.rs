//! A few rows of a table go through the detectors, texts and whole numbers, and its figures tell of NULLs.

use std::collections::BTreeMap;

use datafusion::arrow::array::{Array, ArrayRef, AsArray};
use datafusion::arrow::datatypes::{DataType, Decimal128Type, Int32Type, Int64Type};
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

/// Looks at `rows` rows of a product's columns that hold texts or whole numbers.
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
    for (path, sample) in looked_at(engine, open, bound, rows, &detectors).await? {
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

/// Looks at the texts and whole numbers in `rows` rows of these columns.
pub(super) async fn looked_at<'d>(
    engine: &Engine,
    open: &OpenTable,
    mut columns: Vec<ScanColumn>,
    rows: usize,
    detectors: &'d [Detector],
) -> Result<Samples<'d>, Error> {
    let schema = open.table.metadata().current_schema();
    columns.retain(|column| schema.field_by_id(column.field_id).is_some_and(|field| says_something(field)));
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

/// Whether a text or a whole number lies anywhere in a field.
fn says_something(field: &NestedField) -> bool {
    match field.field_type.as_ref() {
        Type::Primitive(PrimitiveType::Decimal { scale, .. }) => *scale == 0,
        Type::Primitive(kind) => matches!(kind, PrimitiveType::String | PrimitiveType::Int | PrimitiveType::Long),
        Type::Struct(fields) => fields.fields().iter().any(|field| says_something(field)),
        Type::List(list) => says_something(&list.element_field),
        Type::Map(map) => says_something(&map.value_field),
    }
}

fn look<'d>(samples: &mut Samples<'d>, detectors: &'d [Detector], path: &mut Vec<String>, array: &ArrayRef) {
    let mut of = |values: &mut dyn FnMut(&mut Sample<'d>)| {
        values(samples.entry(path.clone()).or_insert_with(|| Sample::new(detectors)));
    };
    match array.data_type() {
        DataType::Utf8 => of(&mut |sample| looked(sample, array.as_string::<i32>().iter())),
        DataType::LargeUtf8 => of(&mut |sample| looked(sample, array.as_string::<i64>().iter())),
        DataType::Utf8View => of(&mut |sample| looked(sample, array.as_string_view().iter())),
        DataType::Int32 => of(&mut |sample| counted(sample, array.as_primitive::<Int32Type>().iter())),
        DataType::Int64 => of(&mut |sample| counted(sample, array.as_primitive::<Int64Type>().iter())),
        DataType::Decimal128(_, 0) => of(&mut |sample| counted(sample, array.as_primitive::<Decimal128Type>().iter())),
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

fn looked<'t>(sample: &mut Sample<'_>, texts: impl Iterator<Item = Option<&'t str>>) {
    texts.flatten().for_each(|text| sample.look(text));
}

fn counted(sample: &mut Sample<'_>, numbers: impl Iterator<Item = Option<impl Into<i128>>>) {
    numbers.flatten().for_each(|number| sample.look_at_number(number.into()));
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use std::sync::Arc;

    use datafusion::arrow::array::Decimal128Array;
    use polder_catalog::detect::Kind;

    use super::*;

    #[test]
    fn whole_numbers_in_decimals_are_looked_at() {
        let cards = [4_111_111_111_111_111, 5_500_000_000_000_004, 378_282_246_310_005, 4_012_888_888_881_881, 5];
        let found = |scale: i8| {
            let numbers = Decimal128Array::from_iter_values(cards).with_precision_and_scale(19, scale).unwrap();
            let (mut samples, detectors) = (Samples::new(), [Detector::Known(Kind::Card)]);
            look(&mut samples, &detectors, &mut vec!["paid_with".to_owned()], &(Arc::new(numbers) as ArrayRef));
            samples
                .values()
                .flat_map(|sample| sample.verdicts("paid_with"))
                .map(|(_, share)| share.found)
                .sum::<usize>()
        };
        assert_eq!((found(0), found(2)), (4, 0));
    }

    #[test]
    fn a_decimal_without_a_fraction_says_something() {
        let field = |scale| {
            let kind = PrimitiveType::Decimal { precision: 19, scale };
            NestedField::required(1, "paid_with", Type::Primitive(kind))
        };
        assert!(says_something(&field(0)) && !says_something(&field(2)));
    }
}
