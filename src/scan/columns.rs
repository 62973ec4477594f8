//! The columns of a scan: Iceberg fields under the query's names, as plain arrow types.

use std::collections::HashSet;
use std::sync::Arc;

use datafusion::arrow::datatypes::{DataType, Field, FieldRef, Schema, SchemaRef, TimeUnit};
use datafusion::common::ScalarValue;
use iceberg::spec::{NestedFieldRef, PrimitiveType, Transform, Type};

use super::ScanColumn;
use super::defaults;
use super::error::ScanError;
use super::lineage;
use crate::lake::OpenTable;
use crate::lake::metadata::Beyond;

/// A column with the field that it reads.
#[derive(Debug, Clone)]
pub(super) struct Bound {
    pub(super) name: String,
    pub(super) field: NestedFieldRef,
    /// Whether the table is or was partitioned by its plain value. Files may then leave the column out, and only their
    /// manifest has the value.
    pub(super) partition: bool,
    /// What the query sees of the field.
    pub(super) wanted: Wanted,
}

impl Bound {
    /// The way through structs that hold one field each, down to one that is none.
    pub(super) fn way(&self) -> Vec<&Wanted> {
        let mut way = vec![&self.wanted];
        while let Some(Inside::Struct(inside)) = way.last().map(|last| &last.inside)
            && let [only] = inside.as_slice()
        {
            way.push(only);
        }
        way
    }

    /// Where that way ends.
    pub(super) fn leaf(&self) -> &Wanted {
        self.way().pop().unwrap_or(&self.wanted)
    }
}

/// A field as the query sees it, at any depth.
#[derive(Debug, Clone)]
pub(super) struct Wanted {
    pub(super) id: i32,
    pub(super) field: FieldRef,
    /// What it is in rows that were written before the field came.
    pub(super) default: Option<ScalarValue>,
    pub(super) inside: Inside,
}

/// What is in a field.
#[derive(Debug, Clone)]
pub(super) enum Inside {
    Plain,
    Struct(Vec<Wanted>),
    List(Box<Wanted>),
    Map(Box<[Wanted; 2]>),
}

/// A value of text or bytes as a column of `kind` has it.
pub(super) fn viewed(value: ScalarValue, kind: &DataType) -> ScalarValue {
    match (kind, value) {
        (DataType::Utf8View, ScalarValue::Utf8(value)) => ScalarValue::Utf8View(value),
        (DataType::BinaryView, ScalarValue::Binary(value)) => ScalarValue::BinaryView(value),
        (_, value) => value,
    }
}

impl Wanted {
    /// The same column with views of its text or bytes: Parquet's reader makes them without copying. DataFusion reads
    /// them so where it may choose, and on TPC-H comparisons of text take two thirds of the time.
    fn viewed(self) -> Self {
        let view = match self.field.data_type() {
            DataType::Utf8 => DataType::Utf8View,
            DataType::Binary => DataType::BinaryView,
            _ => return self,
        };
        let default = self.default.map(|value| viewed(value, &view));
        Self { field: Arc::new(self.field.as_ref().clone().with_data_type(view)), default, ..self }
    }

    /// What the field is where a file does not have it, or nothing where it is required.
    pub(super) fn missing(&self) -> Option<ScalarValue> {
        match &self.default {
            Some(value) => Some(value.clone()),
            None if self.field.is_nullable() => ScalarValue::try_new_null(self.field.data_type()).ok(),
            None => None,
        }
    }

    /// Whether something in it is other than NULL, or an error, where a file lacks it: then a path to it is no path to one
    /// leaf of the file, but reads the struct that is there or NULL.
    pub(super) fn needs_its_struct(&self) -> bool {
        let Inside::Struct(inside) = &self.inside else { return false };
        inside.iter().any(|wanted| !wanted.missing().is_some_and(|value| value.is_null()) || wanted.needs_its_struct())
    }
}

/// Looks the columns up by id in the table's current schema.
pub(super) fn bind(open: &OpenTable, columns: Vec<ScanColumn>) -> Result<(Vec<Bound>, SchemaRef), ScanError> {
    let name = open.told();
    let metadata = open.table.metadata();
    let schema = metadata.current_schema();
    let mut seen = HashSet::new();
    let mut bound = Vec::with_capacity(columns.len());
    for column in columns {
        if !seen.insert(column.name.clone()) {
            return Err(ScanError::TwoColumns { table: name, column: column.name });
        }
        let mut top = schema.as_struct().fields().iter();
        let reserved = lineage::field(column.field_id);
        let Some(field) = top.find(|field| field.id == column.field_id).or(reserved.as_ref()) else {
            return Err(ScanError::NoField { table: name, field: column.field_id });
        };
        let wanted = match want(field, &column.name, column.fields.as_deref(), &open.beyond) {
            Ok(wanted) => wanted.viewed(),
            Err(what) => return Err(ScanError::Column { table: name, column: column.name, what }),
        };
        let partition = metadata
            .partition_specs_iter()
            .flat_map(|spec| spec.fields())
            .any(|partition| partition.source_id == field.id && partition.transform == Transform::Identity);
        bound.push(Bound { name: column.name, field: Arc::clone(field), partition, wanted });
    }
    let fields: Vec<FieldRef> = bound.iter().map(|bound| Arc::clone(&bound.wanted.field)).collect();
    Ok((bound, Arc::new(Schema::new(fields))))
}

/// What a query sees of a field: all of it, or the selected fields of the struct that is in it, however deep in lists and
/// maps.
pub(super) fn want(
    field: &NestedFieldRef,
    name: &str,
    selected: Option<&[ScanColumn]>,
    beyond: &Beyond,
) -> Result<Wanted, String> {
    let (inside, data_type) = match field.field_type.as_ref() {
        Type::Primitive(primitive) => (Inside::Plain, plain(field.id, primitive, beyond)?),
        Type::Struct(fields) => {
            let inside: Result<Vec<Wanted>, String> = match selected {
                None => fields.fields().iter().map(|field| want(field, &field.name, None, beyond)).collect(),
                Some(selected) => selected
                    .iter()
                    .map(|column| {
                        let field = fields.fields().iter().find(|field| field.id == column.field_id);
                        let field = field.ok_or_else(|| format!("field {}, which is not in it", column.field_id))?;
                        want(field, &column.name, column.fields.as_deref(), beyond)
                    })
                    .collect(),
            };
            let inside = inside?;
            let fields = inside.iter().map(|wanted| Arc::clone(&wanted.field)).collect();
            (Inside::Struct(inside), DataType::Struct(fields))
        }
        Type::List(list) => {
            let element = want(&list.element_field, &list.element_field.name, selected, beyond)?;
            let data_type = DataType::List(Arc::clone(&element.field));
            (Inside::List(Box::new(element)), data_type)
        }
        Type::Map(map) => {
            let key = want(&map.key_field, &map.key_field.name, None, beyond)?;
            let value = want(&map.value_field, &map.value_field.name, selected, beyond)?;
            let entry = DataType::Struct(vec![Arc::clone(&key.field), Arc::clone(&value.field)].into());
            let data_type = DataType::Map(Arc::new(Field::new("key_value", entry, false)), false);
            (Inside::Map(Box::new([key, value])), data_type)
        }
    };
    let default = match beyond.initial(field.id) {
        None => None,
        Some(value) => {
            let read = match &inside {
                Inside::Struct(inside) => defaults::of_struct(value, inside),
                _ => defaults::value(value, &data_type),
            };
            Some(read.ok_or_else(|| "a default for old rows that cannot be read".to_owned())?)
        }
    };
    Ok(Wanted { id: field.id, field: Arc::new(Field::new(name, data_type, !field.required)), default, inside })
}

fn plain(id: i32, primitive: &PrimitiveType, beyond: &Beyond) -> Result<DataType, String> {
    match beyond.kind(id) {
        None => Ok(primitive_type(primitive)),
        // It is NULL in every row, and arrow's own type for that cannot be sorted or sent to every client.
        Some("unknown") => Ok(DataType::Utf8),
        Some(kind) => Err(format!("the type `{kind}`, which cannot be read")),
    }
}

/// The plain arrow type of an Iceberg type, without field ids in it.
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
