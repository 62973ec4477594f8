//! Values of parameters as JSON: a list for `?` and `$1`, an object for `$name`.
//!
//! A value has the type that JSON gives it: text, a whole number, a number, true or false, null. It must fit the type of its
//! parameter exactly, as values that are bound over Flight must.

use std::sync::Arc;

use datafusion::arrow::array::{ArrayRef, BooleanArray, Float64Array, Int64Array, NullArray, StringArray};
use datafusion::arrow::datatypes::Schema;
use datafusion::arrow::record_batch::RecordBatch;
use serde::Deserialize;
use serde_json::{Map, Value};

use crate::error::{Class, Error};
use crate::session::Values;

/// From here on a number of 64 bits has no fractions, and may have been rounded.
const WHOLE: f64 = 9_223_372_036_854_775_808.0;

/// The values of a statement's parameters.
#[derive(Debug, PartialEq, Eq, Deserialize)]
#[serde(untagged)]
pub(super) enum Parameters {
    InOrder(Vec<Value>),
    ByName(Map<String, Value>),
}

impl Parameters {
    /// Makes sure that values which have names go to parameters which have names.
    pub(super) fn fit(&self, parameters: &Schema) -> Result<(), Error> {
        let numbered = |name: &str| name.trim_start_matches('$').starts_with(|first: char| first.is_ascii_digit());
        match self {
            Self::ByName(_) if parameters.fields().iter().any(|field| numbered(field.name())) => {
                Err(Error::new(Class::BadRequest, "an object is bound to parameters that have no names")
                    .help("send the values as a list, or name the parameters: `$name`"))
            }
            _ => Ok(()),
        }
    }

    /// As one row.
    pub(super) fn values(&self) -> Result<Values, Error> {
        let columns = match self {
            Self::InOrder(values) => {
                let named = values.iter().enumerate();
                named.map(|(place, value)| Ok((place.to_string(), column(value)?))).collect::<Result<Vec<_>, Error>>()
            }
            Self::ByName(values) => values.iter().map(|(name, value)| Ok((name.clone(), column(value)?))).collect(),
        }?;
        if columns.is_empty() {
            return Ok(Values::None);
        }
        let row =
            RecordBatch::try_from_iter_with_nullable(columns.into_iter().map(|(name, column)| (name, column, true)));
        row.map(|row| Values::Row(row, 0)).map_err(|_| Error::new(Class::Bug, "values could not be bound"))
    }
}

fn column(value: &Value) -> Result<ArrayRef, Error> {
    Ok(match value {
        Value::Null => Arc::new(NullArray::new(1)),
        Value::Bool(truth) => Arc::new(BooleanArray::from(vec![*truth])),
        Value::String(text) => Arc::new(StringArray::from(vec![text.as_str()])),
        Value::Number(number) => match (number.as_i64(), number.as_f64()) {
            (Some(whole), _) => Arc::new(Int64Array::from(vec![whole])),
            // A whole number beyond 64 bits would be rounded.
            (None, Some(number)) if number.abs() < WHOLE || number.fract() != 0.0 => {
                Arc::new(Float64Array::from(vec![number]))
            }
            (None, _) => {
                return Err(Error::new(Class::BadRequest, "a number is too large to be bound")
                    .help("send it as a text and cast it in the statement"));
            }
        },
        Value::Array(_) | Value::Object(_) => return Err(unfit()),
    })
}

fn unfit() -> Error {
    Error::new(Class::BadRequest, "a list or an object cannot be bound to a parameter")
        .help("bind texts, numbers, true, false and null")
}
