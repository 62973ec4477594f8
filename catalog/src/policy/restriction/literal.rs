//! Values in a row filter: Iceberg's JSON for single values, as values of the field that they are held against.

use serde_json::Value;

use super::fields::Found;
use super::{Unenforced, json};
use crate::contract::PhysicalType;
use crate::policy::filter::{Literal, literal};

/// A literal, which may say its type.
pub(super) fn one(json: &Value, field: &Found<'_>) -> Result<Literal, Unenforced> {
    if !json.is_object() {
        return plain(json, field);
    }
    let mut members = json::Members::of(json, "a literal")?;
    if members.text("type", "a literal")? != "literal" {
        return Err(Unenforced::Computed);
    }
    let value = members.required("value", "the value of a literal")?;
    typed(&mut members, field)?;
    members.close()?;
    plain(value, field)
}

/// The literals of a set, which may say the type of all.
pub(super) fn several(json: &Value, field: &Found<'_>) -> Result<Vec<Literal>, Unenforced> {
    const WHAT: &str = "a list of literals";
    if let Value::Array(items) = json {
        return items.iter().map(|item| one(item, field)).collect();
    }
    let mut members = json::Members::of(json, WHAT)?;
    if members.text("type", WHAT)? != "literals" {
        return Err(Unenforced::Shape(WHAT));
    }
    let values = members.required("values", WHAT)?.as_array().ok_or(Unenforced::Shape(WHAT))?;
    typed(&mut members, field)?;
    members.close()?;
    values.iter().map(|value| plain(value, field)).collect()
}

/// Whether `json` is a literal and no reference or function.
pub(super) fn is_one(json: &Value) -> bool {
    json.as_object().is_none_or(|members| members.get("type").and_then(Value::as_str) == Some("literal"))
}

/// A type that a literal says must be that of the field, or one whose values are values of it.
fn typed(members: &mut json::Members<'_>, field: &Found<'_>) -> Result<(), Unenforced> {
    let Some(said) = members.optional("data-type") else { return Ok(()) };
    let said: String = said.as_str().unwrap_or_default().split_whitespace().collect();
    let kind = &field.field.kind;
    let narrower = matches!((said.as_str(), kind), ("int", PhysicalType::Long) | ("float", PhysicalType::Double));
    if said == kind.to_string() || narrower { Ok(()) } else { Err(Unenforced::NoValue(field.id())) }
}

fn plain(json: &Value, field: &Found<'_>) -> Result<Literal, Unenforced> {
    use PhysicalType as P;
    let text = || json.as_str();
    let whole = || json.as_i64().map(|number| Literal::Number { unscaled: number.into(), scale: 0 });
    let value = match &field.field.kind {
        P::Boolean => json.as_bool().map(Literal::Boolean),
        P::Int | P::Long => whole(),
        P::Decimal { .. } => text().map_or_else(whole, decimal),
        P::Float => json.as_f64().filter(|number| (*number as f32).is_finite()).map(Literal::float),
        P::Double => json.as_f64().map(Literal::float),
        P::Date => text().and_then(literal::date).map(Literal::Date),
        P::Timestamp | P::TimestampNs => text().and_then(literal::timestamp).map(Literal::Timestamp),
        P::Timestamptz | P::TimestamptzNs => text().and_then(literal::timestamptz).map(Literal::Timestamptz),
        P::String => text().map(|text| Literal::Text(text.into())),
        _ => None,
    };
    value.ok_or(Unenforced::NoValue(field.id()))
}

fn decimal(text: &str) -> Option<Literal> {
    match text.strip_prefix('-') {
        None => literal::number(text),
        Some(digits) => match literal::number(digits)? {
            // No number has more than 38 digits, so each has an opposite.
            Literal::Number { unscaled, scale } => Some(Literal::Number { unscaled: -unscaled, scale }),
            _ => None,
        },
    }
}
