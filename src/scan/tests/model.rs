//! Schemas that evolve at random, and rows of them as plain values.
//!
//! A row is kept as JSON by field ids, as it was when it was written. What a table must show of it follows from the schema
//! of today alone: each field by its id, its default where the row is older than the field.

use datafusion::arrow::array::{Array, RecordBatch, make_array};
use datafusion::arrow::datatypes::{Field, FieldRef, Fields, Schema, TimeUnit};
use datafusion::arrow::error::ArrowError;
use datafusion::arrow::json::ReaderBuilder;
use datafusion::arrow::json::writer::{
    Encoder, EncoderFactory, EncoderOptions, JsonArray, NullableEncoder, WriterBuilder,
};
use iceberg::spec::PrimitiveType::{Date, Timestamp};
use iceberg::spec::{Datum, Literal, MapType};
use parquet::arrow::{ArrowWriter, PARQUET_FIELD_ID_META_KEY};
use serde_json::{Map, Value, json};

use super::*;

/// A field.
#[derive(Debug, Clone)]
pub(super) struct F {
    pub(super) id: i32,
    pub(super) name: String,
    /// What it is in rows that are older than it.
    pub(super) default: Option<Value>,
    pub(super) kind: K,
}

/// What is in a field.
#[derive(Debug, Clone)]
pub(super) enum K {
    Int,
    Long,
    Float,
    Double,
    Text,
    Date,
    Timestamp,
    /// With two digits behind the point, and this many in all.
    Decimal(u32),
    Struct(Vec<F>),
    List(Box<F>),
    Map(Box<F>, Box<F>),
}

/// Numbers that JSON has not, or does not tell from others; they are kept as text.
const UNUSUAL: [&str; 5] = ["NaN", "NaN", "-0.0", "inf", "-inf"];

/// A value as a number, if it is one.
pub(super) fn real(value: &Value) -> Option<f64> {
    match value.as_str() {
        Some(text) if UNUSUAL.contains(&text) => text.parse().ok(),
        Some(_) => None,
        None => value.as_f64(),
    }
}

pub(super) const NAMES: [&str; 6] = ["a", "b", "c", "d", "e", "f"];

/// Draws fields, rows and changes.
pub(super) struct Model {
    pub(super) chance: Chance,
    /// The last field id that was given away.
    pub(super) last: i32,
}

impl Model {
    fn id(&mut self) -> i32 {
        self.last += 1;
        self.last
    }

    pub(super) fn field(&mut self, name: &str, depth: usize) -> F {
        let id = self.id();
        let kind = match self.chance.below(if depth > 2 { 8 } else { 12 }) {
            0 => K::Int,
            1 => K::Long,
            2 => K::Float,
            3 => K::Double,
            4 => K::Text,
            5 => K::Date,
            6 => K::Timestamp,
            7 => K::Decimal(5),
            8 => K::List(Box::new(self.field("element", depth + 1))),
            9 => {
                let key = Box::new(F { id: self.id(), name: "key".into(), default: None, kind: K::Text });
                K::Map(key, Box::new(self.field("value", depth + 1)))
            }
            _ => {
                let count = 1 + self.chance.below(3);
                K::Struct(NAMES.iter().take(count).map(|name| self.field(name, depth + 1)).collect())
            }
        };
        F { id, name: name.to_owned(), default: None, kind }
    }

    pub(super) fn value(&mut self, kind: &K) -> Value {
        match self.chance.below(5) {
            0 => Value::Null,
            1 if matches!(kind, K::Float | K::Double) => json!(UNUSUAL[self.chance.below(UNUSUAL.len())]),
            _ => self.some_value(kind),
        }
    }

    /// A value that is not NULL.
    pub(super) fn some_value(&mut self, kind: &K) -> Value {
        let number = self.chance.below(40) as i64 - 8;
        match kind {
            K::Int => json!(number),
            K::Long => json!(if number > 28 { number << 33 } else { number }),
            K::Float | K::Double => json!(number as f64 / 2.0),
            K::Decimal(5) => json!(number as f64 / 4.0),
            K::Decimal(_) => json!(number as f64 * 1000.25),
            K::Text => json!(format!("t{number}")),
            K::Date => json!(format!("{}-0{}-15", 1968 + number.abs() % 5, 1 + number.abs() % 3)),
            K::Timestamp => json!(format!("{}-12-31T{:02}:00:00", 1968 + number.abs() % 5, 12 + number.abs() % 3)),
            K::Struct(fields) => {
                Value::Object(fields.iter().map(|field| (field.id.to_string(), self.value(&field.kind))).collect())
            }
            K::List(element) => {
                let count = self.chance.below(4);
                Value::Array((0..count).map(|_| self.value(&element.kind)).collect())
            }
            K::Map(_, value) => {
                let count = self.chance.below(4);
                Value::Object((0..count).map(|i| (format!("k{i}"), self.value(&value.kind))).collect())
            }
        }
    }

    /// One change somewhere in the schema: in the columns, or in a struct that is found by going down a random way. What
    /// is added may have a default where `defaults` allows it.
    pub(super) fn evolve(&mut self, level: &mut Vec<F>, depth: usize, defaults: bool) {
        let inside: Vec<usize> = (0..level.len()).filter(|i| struct_in(&mut level[*i].kind).is_some()).collect();
        if !inside.is_empty() && self.chance.below(3) > 0 {
            let pick = inside[self.chance.below(inside.len())];
            return self.evolve(struct_in(&mut level[pick].kind).unwrap(), depth + 1, defaults);
        }
        // The first column numbers the rows, and stays.
        let first = usize::from(depth == 0);
        let free = NAMES.iter().find(|name| level.iter().all(|field| field.name != **name));
        let pick = first + self.chance.below((level.len() - first).max(1));
        match (self.chance.below(6), free) {
            (0, Some(name)) if level.len() > first => level[pick].name = (*name).to_owned(),
            (1, _) if level.len() > first + 1 => drop(level.remove(pick)),
            (2 | 3, Some(name)) => {
                let mut field = self.field(name, depth);
                let may = matches!(field.kind, K::Int | K::Long | K::Double | K::Text | K::Date);
                if defaults && may && self.chance.below(2) == 0 {
                    field.default = Some(self.some_value(&field.kind));
                }
                level.insert(pick.min(level.len()), field);
            }
            (4, _) if level.len() > first + 1 => level[first..].rotate_left(pick - first),
            _ => level.iter_mut().for_each(|field| promote(&mut field.kind)),
        }
    }
}

fn promote(kind: &mut K) {
    match kind {
        K::Int => *kind = K::Long,
        K::Float => *kind = K::Double,
        K::Decimal(digits) => *digits = 12,
        K::List(inside) | K::Map(_, inside) => promote(&mut inside.kind),
        _ => {}
    }
}

fn struct_in(kind: &mut K) -> Option<&mut Vec<F>> {
    match kind {
        K::Struct(fields) => Some(fields),
        K::List(inside) | K::Map(_, inside) => struct_in(&mut inside.kind),
        _ => None,
    }
}

/// The Iceberg type of a value that holds no others.
pub(super) fn primitive(kind: &K) -> Option<iceberg::spec::PrimitiveType> {
    Some(match kind {
        K::Int => Int,
        K::Long => Long,
        K::Float => Float,
        K::Double => Double,
        K::Text => Text,
        K::Date => Date,
        K::Timestamp => Timestamp,
        K::Decimal(precision) => Decimal { precision: *precision, scale: 2 },
        K::Struct(_) | K::List(_) | K::Map(..) => return None,
    })
}

/// A value as Iceberg's metadata has it, in the type that its column has now.
pub(super) fn datum(value: &Value, kind: &K) -> Option<Datum> {
    if value.is_null() {
        return None;
    }
    let (whole, real, text) = (value.as_i64(), real(value), value.as_str());
    Some(match kind {
        K::Int => Datum::int(whole.unwrap() as i32),
        K::Long => Datum::long(whole.unwrap()),
        K::Float => Datum::float(real.unwrap() as f32),
        K::Double => Datum::double(real.unwrap()),
        K::Text => Datum::string(text.unwrap()),
        K::Date => Datum::date_from_str(text.unwrap()).unwrap(),
        K::Timestamp => Datum::timestamp_from_str(text.unwrap()).unwrap(),
        K::Decimal(_) => {
            let unscaled = (real.unwrap() * 100.0) as i128;
            Datum::try_from_bytes(&unscaled.to_be_bytes(), primitive(kind)?).unwrap()
        }
        K::Struct(_) | K::List(_) | K::Map(..) => return None,
    })
}

pub(super) fn of_iceberg(field: &F) -> Arc<NestedField> {
    let kind = match &field.kind {
        K::Struct(fields) => Type::Struct(StructType::new(fields.iter().map(of_iceberg).collect())),
        K::List(element) => Type::List(ListType::new(of_iceberg(element))),
        K::Map(key, value) => {
            let key = NestedField::map_key_element(key.id, Type::Primitive(Text));
            Type::Map(MapType::new(key.into(), of_iceberg(value)))
        }
        plain => Type::Primitive(primitive(plain).unwrap()),
    };
    let built = NestedField::optional(field.id, &field.name, kind);
    let default = field.default.as_ref().and_then(|value| datum(value, &field.kind));
    Arc::new(match default {
        Some(value) => built.with_initial_default(Literal::Primitive(value.literal().clone())),
        None => built,
    })
}

fn of_arrow(field: &F, ids: bool) -> Field {
    let of_arrow = |field: &F| of_arrow(field, ids);
    let kind = match &field.kind {
        K::Int => DataType::Int32,
        K::Long => DataType::Int64,
        K::Float => DataType::Float32,
        K::Double => DataType::Float64,
        K::Text => DataType::Utf8,
        K::Date => DataType::Date32,
        K::Timestamp => DataType::Timestamp(TimeUnit::Microsecond, None),
        K::Decimal(precision) => DataType::Decimal128(*precision as u8, 2),
        K::Struct(fields) => DataType::Struct(fields.iter().map(of_arrow).collect::<Fields>()),
        K::List(element) => DataType::List(Arc::new(of_arrow(element))),
        K::Map(key, value) => {
            let pair = Fields::from(vec![of_arrow(key).with_nullable(false), of_arrow(value)]);
            DataType::Map(Arc::new(Field::new("key_value", DataType::Struct(pair), false)), false)
        }
    };
    let id = ids.then(|| (PARQUET_FIELD_ID_META_KEY.to_owned(), field.id.to_string()));
    Field::new(&field.name, kind, true).with_metadata(id.into_iter().collect())
}

/// A value as its file has it: by the names of that time.
fn written(value: &Value, kind: &K) -> Value {
    match (kind, value) {
        (K::Struct(fields), Value::Object(inside)) => {
            let one = |field: &F| (field.name.clone(), written(&inside[&field.id.to_string()], &field.kind));
            Value::Object(fields.iter().map(one).collect())
        }
        (K::List(element), Value::Array(inside)) => inside.iter().map(|value| written(value, &element.kind)).collect(),
        (K::Map(_, kind), Value::Object(inside)) => {
            Value::Object(inside.iter().map(|(key, value)| (key.clone(), written(value, &kind.kind))).collect())
        }
        _ => value.clone(),
    }
}

/// A value as the table shows it today.
pub(super) fn shown(value: Option<&Value>, field: &F) -> Value {
    let Some(value) = value else { return field.default.clone().unwrap_or_default() };
    match (&field.kind, value) {
        (K::Struct(fields), Value::Object(inside)) => row(inside, fields),
        (K::List(element), Value::Array(inside)) => inside.iter().map(|value| shown(Some(value), element)).collect(),
        (K::Map(_, kind), Value::Object(inside)) => {
            Value::Object(inside.iter().map(|(key, value)| (key.clone(), shown(Some(value), kind))).collect())
        }
        _ => value.clone(),
    }
}

pub(super) fn row(values: &Map<String, Value>, fields: &[F]) -> Value {
    let one = |field: &F| (field.name.clone(), shown(values.get(&field.id.to_string()), field));
    Value::Object(fields.iter().map(one).collect())
}

/// The paths to what holds no other values and is not in a list or a map.
pub(super) fn leaves<'a>(fields: &'a [F], prefix: &[String], out: &mut Vec<(Vec<String>, &'a F)>) {
    for field in fields {
        let path = [prefix, std::slice::from_ref(&field.name)].concat();
        match &field.kind {
            K::Struct(inside) => leaves(inside, &path, out),
            K::List(_) | K::Map(..) => {}
            _ => out.push((path, field)),
        }
    }
}

/// A Parquet file of some rows.
pub(super) fn bytes(fields: &[F], rows: &[Map<String, Value>], ids: bool) -> Vec<u8> {
    let schema = Arc::new(Schema::new(fields.iter().map(|field| of_arrow(field, ids)).collect::<Vec<_>>()));
    let kind = K::Struct(fields.to_vec());
    let rows: Vec<Value> = rows.iter().map(|row| written(&Value::Object(row.clone()), &kind)).collect();
    let mut decoder = ReaderBuilder::new(Arc::clone(&schema)).build_decoder().unwrap();
    decoder.serialize(&rows).unwrap();
    let batch = decoder.flush().unwrap().unwrap();
    let props = WriterProperties::builder()
        .set_max_row_group_row_count(Some(7))
        .set_data_page_row_count_limit(2)
        .set_write_batch_size(2)
        .set_bloom_filter_enabled(true)
        .build();
    let mut writer = ArrowWriter::try_new(Vec::new(), schema, Some(props)).unwrap();
    writer.write(&batch).unwrap();
    writer.into_inner().unwrap()
}

pub(super) fn as_json(batches: &[RecordBatch]) -> Vec<Value> {
    let builder = WriterBuilder::new().with_explicit_nulls(true).with_encoder_factory(Arc::new(Reals));
    let mut writer = builder.build::<_, JsonArray>(Vec::new());
    writer.write_batches(&batches.iter().collect::<Vec<_>>()).unwrap();
    writer.finish().unwrap();
    let text = writer.into_inner();
    if text.is_empty() { Vec::new() } else { serde_json::from_slice(&text).unwrap() }
}

/// Writes unusual numbers as text, where arrow writes NULL or a plain zero.
#[derive(Debug)]
struct Reals;

impl EncoderFactory for Reals {
    fn make_default_encoder<'a>(
        &self,
        _field: &'a FieldRef,
        array: &'a dyn Array,
        _options: &'a EncoderOptions,
    ) -> Result<Option<NullableEncoder<'a>>, ArrowError> {
        if !array.data_type().is_floating() {
            return Ok(None);
        }
        let wide = datafusion::arrow::compute::cast(&make_array(array.to_data()), &DataType::Float64)?;
        let values = wide.as_any().downcast_ref::<Float64Array>().unwrap().values().to_vec();
        Ok(Some(NullableEncoder::new(Box::new(Wide(values)), array.nulls().cloned())))
    }
}

struct Wide(Vec<f64>);

impl Encoder for Wide {
    fn encode(&mut self, index: usize, out: &mut Vec<u8>) {
        let value = self.0[index];
        let text = match UNUSUAL.iter().find(|text| text.parse::<f64>().unwrap().total_cmp(&value).is_eq()) {
            Some(text) => format!("\"{text}\""),
            None if value.is_nan() => "\"NaN\"".to_owned(),
            None => format!("{value:?}"),
        };
        out.extend(text.as_bytes());
    }
}
