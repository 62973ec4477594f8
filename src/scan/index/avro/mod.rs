//! Avro container files, read by the schema that they carry.
//!
//! ```text
//! bytes -> Container (codec, Shape of a record) -> blocks, unpacked one at a time -> Cursor over one record
//! ```
//!
//! Nothing is believed that the bytes do not prove: a length is held against what is left, a schema against depth and
//! size, an unpacked block against a limit. There is no recursion in a shape, and every step of reading eats bytes.

mod container;
mod cursor;

use std::collections::HashMap;
use std::sync::Arc;

use serde_json::Value;

pub(super) use container::Container;
pub(super) use cursor::{Cursor, shortest};

/// How deep a schema may nest.
const DEPTH: usize = 32;
/// How many values a record may have, nested ones included.
const WEIGHT: usize = 4096;

/// What is wrong with the bytes of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub(super) struct Bad(pub(super) &'static str);

const CUT: Bad = Bad("it ends too early");
const SCHEMA: Bad = Bad("its schema is not understood");

/// What a writer wrote for one value.
#[derive(Debug)]
pub(super) enum Shape {
    Null,
    Bool,
    Int,
    Long,
    Float,
    Double,
    Bytes,
    Fixed(usize),
    /// Bytes of a decimal; given without those that only repeat its sign.
    Decimal(Arc<Self>),
    Array(Arc<Self>),
    /// Its keys are text.
    Map(Arc<Self>),
    Union(Vec<Arc<Self>>),
    Record(Vec<Field>),
}

/// A field of a record.
#[derive(Debug, Clone)]
pub(super) struct Field {
    pub(super) name: String,
    /// The id that Iceberg gives it.
    pub(super) id: Option<i32>,
    pub(super) shape: Arc<Shape>,
}

/// A value that is not nested.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Scalar<'a> {
    Bool(bool),
    Int(i32),
    Long(i64),
    Float(f32),
    Double(f64),
    Bytes(&'a [u8]),
}

impl Shape {
    /// The fields of a record.
    pub(super) fn fields(&self) -> Result<&[Field], Bad> {
        match self {
            Self::Record(fields) => Ok(fields),
            _ => Err(SCHEMA),
        }
    }

    /// Itself, or what it is when it is not null.
    pub(super) fn present(&self) -> &Self {
        match self {
            Self::Union(branches) => match branches.iter().find(|branch| !matches!(***branch, Self::Null)) {
                Some(branch) => branch,
                None => self,
            },
            _ => self,
        }
    }

    /// The fewest bytes that a value takes.
    fn least(&self) -> usize {
        match self {
            Self::Null => 0,
            Self::Fixed(length) => *length,
            Self::Decimal(bytes) => bytes.least(),
            Self::Float => 4,
            Self::Double => 8,
            Self::Record(fields) => fields.iter().fold(0, |sum, field| field.shape.least().saturating_add(sum)),
            _ => 1,
        }
    }

    /// How many values there are in it, counting an array or a map once.
    fn weight(&self) -> usize {
        let sum = |sum: usize, shape: &Self| sum.saturating_add(shape.weight());
        match self {
            Self::Array(item) | Self::Map(item) => item.weight().saturating_add(1),
            Self::Union(branches) => branches.iter().fold(1, |so_far, branch| sum(so_far, branch)),
            Self::Record(fields) => fields.iter().fold(1, |so_far, field| sum(so_far, &field.shape)),
            _ => 1,
        }
    }
}

/// Reads a schema. Each name stands for the shape that it was first given.
struct Schemas {
    named: HashMap<String, Arc<Shape>>,
}

impl Schemas {
    fn shape(&mut self, json: &Value, depth: usize) -> Result<Arc<Shape>, Bad> {
        if depth > DEPTH {
            return Err(Bad("its schema nests too deep"));
        }
        let shape = match json {
            Value::String(name) => return self.by_name(name),
            Value::Array(branches) => {
                let branches = branches.iter().map(|branch| self.shape(branch, depth + 1)).collect::<Result<_, _>>()?;
                Arc::new(Shape::Union(branches))
            }
            Value::Object(object) => {
                let shape = match object.get("type").ok_or(SCHEMA)? {
                    Value::String(kind) => match kind.as_str() {
                        "record" => Arc::new(Shape::Record(self.fields(object.get("fields"), depth)?)),
                        "array" => Arc::new(Shape::Array(self.item(object.get("items"), depth)?)),
                        "map" => Arc::new(Shape::Map(self.shape(object.get("values").ok_or(SCHEMA)?, depth + 1)?)),
                        "enum" => Arc::new(Shape::Int),
                        "fixed" => {
                            let size = object.get("size").and_then(Value::as_u64);
                            Arc::new(Shape::Fixed(size.and_then(|size| usize::try_from(size).ok()).ok_or(SCHEMA)?))
                        }
                        name => self.by_name(name)?,
                    },
                    nested => self.shape(nested, depth + 1)?,
                };
                let is_decimal = object.get("logicalType").and_then(Value::as_str) == Some("decimal");
                let shape = if is_decimal { Arc::new(Shape::Decimal(shape)) } else { shape };
                if let Some(name) = object.get("name").and_then(Value::as_str) {
                    self.named.entry(name.to_owned()).or_insert_with(|| Arc::clone(&shape));
                    if let Some(space) = object.get("namespace").and_then(Value::as_str) {
                        self.named.entry(format!("{space}.{name}")).or_insert_with(|| Arc::clone(&shape));
                    }
                }
                shape
            }
            _ => return Err(SCHEMA),
        };
        // Names let a short text stand for a large shape, so it is weighed at every step.
        if shape.weight() > WEIGHT { Err(Bad("its schema is too large")) } else { Ok(shape) }
    }

    fn by_name(&self, name: &str) -> Result<Arc<Shape>, Bad> {
        Ok(Arc::new(match name {
            "null" => Shape::Null,
            "boolean" => Shape::Bool,
            "int" => Shape::Int,
            "long" => Shape::Long,
            "float" => Shape::Float,
            "double" => Shape::Double,
            "bytes" | "string" => Shape::Bytes,
            _ => return self.named.get(name).map(Arc::clone).ok_or(SCHEMA),
        }))
    }

    fn fields(&mut self, json: Option<&Value>, depth: usize) -> Result<Vec<Field>, Bad> {
        let fields = json.and_then(Value::as_array).ok_or(SCHEMA)?;
        let field = |json: &Value| {
            Ok(Field {
                name: json.get("name").and_then(Value::as_str).ok_or(SCHEMA)?.to_owned(),
                id: json.get("field-id").and_then(Value::as_i64).and_then(|id| i32::try_from(id).ok()),
                shape: self.shape(json.get("type").ok_or(SCHEMA)?, depth + 1)?,
            })
        };
        fields.iter().map(field).collect()
    }

    /// Items without bytes would let a few bytes stand for any number of them.
    fn item(&mut self, json: Option<&Value>, depth: usize) -> Result<Arc<Shape>, Bad> {
        let item = self.shape(json.ok_or(SCHEMA)?, depth + 1)?;
        if item.least() == 0 { Err(SCHEMA) } else { Ok(item) }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests")]
mod tests;
