//! The columns of a scan: Iceberg fields under the query's names, as plain arrow types.

use std::collections::HashSet;
use std::sync::Arc;

use datafusion::arrow::datatypes::{DataType, Field, FieldRef, Schema, SchemaRef, TimeUnit};
use iceberg::spec::{NestedFieldRef, PrimitiveType, Transform, Type};
use iceberg::table::Table;

use super::ScanColumn;
use super::error::ScanError;
use super::lineage;

/// A column with the field that it reads.
#[derive(Debug, Clone)]
pub(super) struct Bound {
    pub(super) name: String,
    pub(super) field: NestedFieldRef,
    /// Whether the table is or was partitioned by its plain value. Files may then leave the column out, and only their
    /// manifest has the value.
    pub(super) partition: bool,
}

/// Looks the columns up by id in the table's current schema.
pub(super) fn bind(table: &Table, columns: Vec<ScanColumn>) -> Result<(Vec<Bound>, SchemaRef), ScanError> {
    let name = table.identifier().to_string();
    let schema = table.metadata().current_schema();
    let mut seen = HashSet::new();
    let mut bound = Vec::with_capacity(columns.len());
    let mut fields = Vec::with_capacity(columns.len());
    for column in columns {
        if !seen.insert(column.name.clone()) {
            return Err(ScanError::TwoColumns { table: name, column: column.name });
        }
        let mut top = schema.as_struct().fields().iter();
        let reserved = lineage::field(column.field_id);
        let Some(field) = top.find(|field| field.id == column.field_id).or(reserved.as_ref()) else {
            return Err(ScanError::NoField { table: name, field: column.field_id });
        };
        if field.initial_default.is_some() {
            let what = "a default for old rows";
            return Err(ScanError::Column { table: name, column: column.name, what });
        }
        fields.push(Field::new(&column.name, arrow_type(&field.field_type), !field.required));
        let partition = table
            .metadata()
            .partition_specs_iter()
            .flat_map(|spec| spec.fields())
            .any(|partition| partition.source_id == field.id && partition.transform == Transform::Identity);
        bound.push(Bound { name: column.name, field: Arc::clone(field), partition });
    }
    Ok((bound, Arc::new(Schema::new(fields))))
}

/// The plain arrow type of an Iceberg type, without field ids in it.
pub(super) fn arrow_type(iceberg: &Type) -> DataType {
    match iceberg {
        Type::Primitive(primitive) => primitive_type(primitive),
        Type::Struct(fields) => DataType::Struct(fields.fields().iter().map(nested).collect()),
        Type::List(list) => DataType::List(nested(&list.element_field)),
        Type::Map(map) => {
            let entry = vec![nested(&map.key_field), nested(&map.value_field)];
            DataType::Map(Arc::new(Field::new("key_value", DataType::Struct(entry.into()), false)), false)
        }
    }
}

fn nested(field: &NestedFieldRef) -> FieldRef {
    Arc::new(Field::new(&field.name, arrow_type(&field.field_type), !field.required))
}

fn primitive_type(primitive: &PrimitiveType) -> DataType {
    let utc = || Some(Arc::from("UTC"));
    match primitive {
        PrimitiveType::Boolean => DataType::Boolean,
        PrimitiveType::Int => DataType::Int32,
        PrimitiveType::Long => DataType::Int64,
        PrimitiveType::Float => DataType::Float32,
        PrimitiveType::Double => DataType::Float64,
        PrimitiveType::Decimal { precision, scale } => {
            DataType::Decimal128(u8::try_from(*precision).unwrap_or(38), i8::try_from(*scale).unwrap_or(38))
        }
        PrimitiveType::Date => DataType::Date32,
        PrimitiveType::Time => DataType::Time64(TimeUnit::Microsecond),
        PrimitiveType::Timestamp => DataType::Timestamp(TimeUnit::Microsecond, None),
        PrimitiveType::Timestamptz => DataType::Timestamp(TimeUnit::Microsecond, utc()),
        PrimitiveType::TimestampNs => DataType::Timestamp(TimeUnit::Nanosecond, None),
        PrimitiveType::TimestamptzNs => DataType::Timestamp(TimeUnit::Nanosecond, utc()),
        PrimitiveType::String => DataType::Utf8,
        PrimitiveType::Uuid => DataType::FixedSizeBinary(16),
        PrimitiveType::Fixed(length) => i32::try_from(*length).map_or(DataType::Binary, DataType::FixedSizeBinary),
        PrimitiveType::Binary => DataType::Binary,
    }
}
