//! A data file's footer as a scan needs it: with field ids, and without the arrow schema of its writer.
//!
//! ```text
//! file: a int64, no ids  + mapping {a -> 1}     ->  a int64 = id 1
//! file: a = id 1, arrow says large text         ->  a = id 1, text
//! file: a = id 1         + partition {2: 'eu'}  ->  a = id 1, and a note that 2 is 'eu' wherever it is asked for
//! ```
//!
//! DataFusion makes a file's schema from its footer alone, so whatever else decides what a file's columns mean is put
//! there. A footer without any field id never leaves this room: DataFusion would map its columns by place.
//!
//! The writer's arrow schema is dropped since it can lack the ids that the columns have, and asks for types that would
//! only be cast.
//!
//! Where a file has timestamps of twelve bytes, DataFusion 54 makes its nested columns anew and forgets their ids. So the
//! footer of such a file notes all ids in the order of its fields, outer ones first, and [`identified`] gives them back.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use base64::Engine;
use base64::prelude::BASE64_STANDARD_NO_PAD;
use datafusion::arrow::datatypes::{DataType, Field, FieldRef, Fields, Schema, SchemaRef};
use datafusion::common::ScalarValue;
use datafusion_proto::protobuf;
use iceberg::table::Table;
use parquet::arrow::{ARROW_SCHEMA_META_KEY, PARQUET_FIELD_ID_META_KEY, parquet_to_arrow_schema};
use parquet::basic::Type as Physical;
use parquet::errors::ParquetError;
use parquet::file::metadata::{FileMetaData, KeyValue, ParquetMetaData, ParquetMetaDataBuilder};
use parquet::schema::types::{SchemaDescriptor, Type, TypePtr};
use prost::Message;

use super::adapter::field_id;
use super::columns::viewed;
use super::mapping::{NameMapping, PROPERTY};

/// Under which a footer notes the value that a file has for a column in its partition alone.
const NOTE: &str = "polder.partition.";

/// Under which a footer notes the ids of its fields.
const IDS: &str = "polder.ids";

/// What a file's partition says of columns by their ids: their value, or that it cannot be read.
pub(super) type Constants = Arc<[(i32, Option<ScalarValue>)]>;

/// How the names of files without ids are mapped.
#[derive(Debug, Clone)]
pub(super) enum Names {
    None,
    Unreadable,
    Mapped(Arc<NameMapping>),
}

impl Names {
    /// Those of a table.
    pub(super) fn of(table: &Table) -> Self {
        Self::read(table.metadata().properties().get(PROPERTY).map(String::as_str))
    }

    /// Those of a property's text.
    pub(super) fn read(text: Option<&str>) -> Self {
        match text {
            None => Self::None,
            Some(text) => NameMapping::parse(text).map_or(Self::Unreadable, |mapping| Self::Mapped(Arc::new(mapping))),
        }
    }

    /// A text that is read as these.
    pub(super) fn text(&self) -> Option<String> {
        match self {
            Self::None => None,
            Self::Unreadable => Some(String::new()),
            Self::Mapped(mapping) => Some(mapping.to_string()),
        }
    }
}

/// Why a footer cannot be used.
#[derive(Debug)]
pub(super) enum Unfit {
    NoIds,
    NoMapping,
    Noted,
    /// Two columns of one name beside each other: DataFusion tells columns apart by their names.
    Twins,
    Parquet(ParquetError),
}

/// What a footer notes of a column.
#[derive(Debug, PartialEq)]
pub(super) enum Constant {
    None,
    Unreadable,
    Value(ScalarValue),
}

/// A footer that was made to fit, and whether it is the same for whoever reads the file.
pub(super) struct Fitted {
    pub(super) metadata: Arc<ParquetMetaData>,
    pub(super) lasting: bool,
}

/// Makes a footer fit; nothing where it already does.
pub(super) fn fit(metadata: &ParquetMetaData, names: &Names, constants: &Constants) -> Result<Option<Fitted>, Unfit> {
    let file = metadata.file_metadata();
    let notes = file.key_value_metadata().map_or(&[][..], Vec::as_slice);
    if notes.iter().any(|note| note.key.starts_with(NOTE) || note.key == IDS) {
        return Err(Unfit::Noted);
    }
    let root = file.schema_descr().root_schema();
    if has_twins(root) {
        return Err(Unfit::Twins);
    }
    let mapped = if has_ids(root) { None } else { Some(map(root, names)?) };
    let is_absent = |id: i32| !ids(mapped.as_deref().unwrap_or(root)).any(|found| found == id);
    let absent: Vec<KeyValue> = constants.iter().filter(|(id, _)| is_absent(*id)).map(note).collect();
    let is_writers = |note: &&KeyValue| note.key == ARROW_SCHEMA_META_KEY;
    let is_mapped = mapped.is_some();
    let schema = match mapped {
        Some(root) => Arc::new(SchemaDescriptor::new(root)),
        None => file.schema_descr_ptr(),
    };
    let forgotten = if forgets_ids(&schema) { Some(noted_ids(&schema)?) } else { None };
    let lasting = !is_mapped && absent.is_empty() && forgotten.is_none();
    if lasting && !notes.iter().any(|note| is_writers(&note)) {
        return Ok(None);
    }
    let kept = notes.iter().filter(|note| !is_writers(note)).cloned().chain(absent).chain(forgotten).collect();
    let file = FileMetaData::new(
        file.version(),
        file.num_rows(),
        file.created_by().map(str::to_owned),
        Some(kept),
        schema,
        file.column_orders().cloned(),
    );
    let metadata = ParquetMetaDataBuilder::new(file)
        .set_row_groups(metadata.row_groups().to_vec())
        .set_column_index(metadata.column_index().cloned())
        .set_offset_index(metadata.offset_index().cloned())
        .build();
    Ok(Some(Fitted { metadata: Arc::new(metadata), lasting }))
}

fn map(root: &Type, names: &Names) -> Result<TypePtr, Unfit> {
    let mapped = match names {
        Names::None => return Err(Unfit::NoIds),
        Names::Unreadable => return Err(Unfit::NoMapping),
        Names::Mapped(mapping) => mapping.apply(root).map_err(Unfit::Parquet)?,
    };
    if has_ids(&mapped) { Ok(mapped) } else { Err(Unfit::NoIds) }
}

/// Whether anything below has an id.
fn has_ids(of: &Type) -> bool {
    of.is_group() && of.get_fields().iter().any(|field| field.get_basic_info().has_id() || has_ids(field))
}

fn has_twins(of: &Type) -> bool {
    if !of.is_group() {
        return false;
    }
    let mut names = HashSet::new();
    of.get_fields().iter().any(|field| !names.insert(field.name()) || has_twins(field))
}

/// Whether DataFusion forgets the ids of this file's nested columns.
fn forgets_ids(schema: &SchemaDescriptor) -> bool {
    schema.columns().iter().any(|column| column.physical_type() == Physical::INT96)
        && schema.root_schema().get_fields().iter().any(|field| field.is_group())
}

fn noted_ids(schema: &SchemaDescriptor) -> Result<KeyValue, Unfit> {
    fn add(fields: &Fields, into: &mut Vec<String>) {
        for field in fields {
            into.push(field_id(field).map_or_else(String::new, |id| id.to_string()));
            add(&inside(field), into);
        }
    }
    let arrow = parquet_to_arrow_schema(schema, None).map_err(Unfit::Parquet)?;
    let mut ids = Vec::new();
    add(arrow.fields(), &mut ids);
    Ok(KeyValue::new(IDS.to_owned(), ids.join(",")))
}

/// What is directly in a nested field.
fn inside(field: &Field) -> Fields {
    match field.data_type() {
        DataType::Struct(fields) => fields.clone(),
        DataType::List(inside) | DataType::LargeList(inside) | DataType::Map(inside, _) => {
            [Arc::clone(inside)].into_iter().collect()
        }
        _ => Fields::empty(),
    }
}

/// A file's schema with the ids that its footer notes; `None` where they are not those of its fields.
pub(super) fn identified(schema: &SchemaRef) -> Option<SchemaRef> {
    fn identify<'a>(field: &FieldRef, ids: &mut impl Iterator<Item = &'a str>) -> Option<FieldRef> {
        let id = Some(ids.next()?).filter(|id| !id.is_empty());
        let metadata = id.map(|id| (PARQUET_FIELD_ID_META_KEY.to_owned(), id.to_owned()));
        let mut only = |of: &FieldRef| identify(of, ids);
        let kind = match field.data_type() {
            DataType::Struct(fields) => DataType::Struct(fields.iter().map(only).collect::<Option<_>>()?),
            DataType::List(of) => DataType::List(only(of)?),
            DataType::LargeList(of) => DataType::LargeList(only(of)?),
            DataType::Map(of, sorted) => DataType::Map(only(of)?, *sorted),
            plain => plain.clone(),
        };
        Some(Arc::new(field.as_ref().clone().with_data_type(kind).with_metadata(metadata.into_iter().collect())))
    }
    let Some(ids) = schema.metadata().get(IDS) else { return Some(Arc::clone(schema)) };
    let mut ids = ids.split(',');
    let fields = schema.fields().iter().map(|field| identify(field, &mut ids)).collect::<Option<Fields>>()?;
    let all = ids.next().is_none();
    all.then(|| Arc::new(Schema::new_with_metadata(fields, schema.metadata().clone())))
}

fn ids(root: &Type) -> impl Iterator<Item = i32> {
    root.get_fields().iter().map(|field| field.get_basic_info()).filter(|info| info.has_id()).map(|info| info.id())
}

fn note((id, value): &(i32, Option<ScalarValue>)) -> KeyValue {
    let written = value.as_ref().and_then(|value| protobuf::ScalarValue::try_from(value).ok());
    let text = written.map(|value| BASE64_STANDARD_NO_PAD.encode(value.encode_to_vec()));
    // A note without a text would be lost on its way into the schema.
    KeyValue::new(format!("{NOTE}{id}"), text.unwrap_or_default())
}

/// What the footer that a schema was made from notes of a column.
pub(super) fn constant(schema: &HashMap<String, String>, id: i32, data_type: &DataType) -> Constant {
    let Some(text) = schema.get(&format!("{NOTE}{id}")) else { return Constant::None };
    let bytes = BASE64_STANDARD_NO_PAD.decode(text).ok().filter(|bytes| !bytes.is_empty());
    let value = bytes.and_then(|bytes| protobuf::ScalarValue::decode(bytes.as_slice()).ok());
    let value = value.and_then(|value| ScalarValue::try_from(&value).ok()).map(|value| viewed(value, data_type));
    match value.filter(|value| value.data_type() == *data_type) {
        Some(value) => Constant::Value(value),
        None => Constant::Unreadable,
    }
}
