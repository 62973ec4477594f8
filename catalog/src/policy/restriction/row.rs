//! `required-row-filter`: a predicate of Iceberg's becomes a [`Filter`] that is true for the rows that pass.
//!
//! ```text
//! not (a = 1 and b starts with 'x')   ->   (a <> 1 or a is null) or (not b like 'x%' or b is null)
//! ```
//!
//! Iceberg's predicates are true or false: `not-eq`, `not-in` and `not-starts-with` are true for NULL, and comparisons by
//! order false. Negations are pushed down to the comparisons, as Iceberg does, so that what remains has none above an
//! unknown, and unknown means that a row does not pass.
//!
//! Its order of floating-point numbers has NaN nowhere, and its reader has it last; zeros have one sign or two. A
//! comparison is true here only where it is true either way.

use std::sync::Arc;

use serde_json::Value;

use super::fields::{Found, Table};
use super::{Unenforced, json, literal};
use crate::contract::PhysicalType;
use crate::policy::filter::{self, Comparison, Filter, Literal};

/// How deep predicates may lie in each other: what walks a filter walks it recursively.
pub(super) const DEPTH: usize = 64;
pub(super) const PREDICATES: usize = 1000;
pub(super) const VALUES: usize = 10_000;

/// Reads the filter of a table.
pub(super) fn read(json: &Value, table: &Table<'_>) -> Result<Filter, Unenforced> {
    let mut reader = Reader { table, predicates: 0, values: 0 };
    reader.predicate(json, false, DEPTH)
}

struct Reader<'t> {
    table: &'t Table<'t>,
    predicates: usize,
    values: usize,
}

const PREDICATE: &str = "a predicate";

impl<'t> Reader<'t> {
    /// The predicate, or what is true exactly where it is false.
    fn predicate(&mut self, json: &Value, negated: bool, depth: usize) -> Result<Filter, Unenforced> {
        let depth = depth.checked_sub(1).ok_or(Unenforced::TooLarge)?;
        self.predicates += 1;
        if self.predicates > PREDICATES {
            return Err(Unenforced::TooLarge);
        }
        if let Value::Bool(truth) = json {
            return Ok(Filter::Constant(*truth != negated));
        }
        let mut members = json::Members::of(json, PREDICATE)?;
        let kind = members.text("type", PREDICATE)?;
        let filter = match kind {
            "true" | "false" => Filter::Constant((kind == "true") != negated),
            "literal" => {
                let truth = members.required("value", PREDICATE)?.as_bool().ok_or(Unenforced::Shape(PREDICATE))?;
                Filter::Constant(truth != negated)
            }
            "not" => self.predicate(members.required("child", PREDICATE)?, !negated, depth)?,
            "and" | "or" => {
                let (left, right) = (members.required("left", PREDICATE)?, members.required("right", PREDICATE)?);
                let both = vec![self.predicate(left, negated, depth)?, self.predicate(right, negated, depth)?];
                if (kind == "and") != negated { Filter::And(both) } else { Filter::Or(both) }
            }
            "is-null" | "not-null" | "is-nan" | "not-nan" => self.test(kind, &mut members, negated)?,
            "in" | "not-in" => self.set(kind, &mut members, negated)?,
            kind => match Order::named(kind) {
                Some(order) => self.comparison(kind, order, &mut members, negated)?,
                None => return Err(Unenforced::Predicate(kind.to_owned())),
            },
        };
        members.close()?;
        Ok(filter)
    }

    fn test(&self, kind: &str, members: &mut json::Members<'_>, negated: bool) -> Result<Filter, Unenforced> {
        let found = self.field(members.one_of(["child", "term"], "a field")?)?;
        let (negated, test) = match kind.strip_prefix("not-") {
            Some(test) => (!negated, test),
            None => (negated, kind.strip_prefix("is-").unwrap_or(kind)),
        };
        let (value, is_float) = (value(found, kind)?, is_float(found));
        let is_null = || Filter::IsNull(value.clone());
        match (test, negated) {
            ("null", false) if is_known(found) => Ok(is_null()),
            ("null", true) if is_known(found) => Ok(Filter::Not(is_null().into())),
            ("nan", false) if is_float => Ok(Filter::Or(beyond(&value).into())),
            ("nan", true) if is_float => {
                let [low, high] = beyond(&value).map(|nan| Filter::Not(nan.into()));
                Ok(Filter::Or(vec![is_null(), Filter::And(vec![low, high])]))
            }
            _ => Err(Unenforced::Incomparable(kind.to_owned(), found.id())),
        }
    }

    fn set(&mut self, kind: &str, members: &mut json::Members<'_>, negated: bool) -> Result<Filter, Unenforced> {
        let found = self.field(members.one_of(["child", "term"], "a field")?)?;
        let literals = literal::several(members.required("values", "a list of literals")?, found)?;
        self.values = self.values.saturating_add(literals.len());
        if self.values > VALUES {
            return Err(Unenforced::TooLarge);
        }
        let value = value(found, kind)?;
        Ok(if (kind == "in") != negated { within(value, literals) } else { without(value, literals) })
    }

    fn comparison(
        &self,
        kind: &str,
        order: Order,
        members: &mut json::Members<'_>,
        negated: bool,
    ) -> Result<Filter, Unenforced> {
        let left = members.one_of(["left", "term"], "a field")?;
        let right = members.one_of(["right", "value"], "a literal")?;
        // A name that stands alone is a field in the older form, and a text in the newer one.
        let is_turned = literal::is_one(left) && members.optional("term").is_none();
        let (field, literal, order) =
            if is_turned { (right, left, order.turned().ok_or(Unenforced::Computed)?) } else { (left, right, order) };
        let found = self.field(field)?;
        let (literal, value) = (literal::one(literal, found)?, value(found, kind)?);
        order.filter(value, literal, negated).ok_or_else(|| Unenforced::Incomparable(kind.to_owned(), found.id()))
    }

    /// The field that a value expression is. What is computed of fields cannot be held against anything here.
    fn field(&self, json: &Value) -> Result<&'t Found<'t>, Unenforced> {
        if let Value::String(name) = json {
            return self.table.by_name(name);
        }
        let mut members = json::Members::of(json, "a field")?;
        let found = match members.text("type", "a field")? {
            "reference" => match members.optional("id") {
                Some(id) => self.table.by_id(json::id(id)?),
                None => {
                    let name = members.one_of(["name", "term"], "a field")?;
                    self.table.by_name(name.as_str().ok_or(Unenforced::Shape("the name of a field"))?)
                }
            },
            "transform" if members.text("transform", "a transform")? == "identity" => {
                match members.required("term", "a field")? {
                    Value::String(name) => self.table.by_name(name),
                    _ => Err(Unenforced::Computed),
                }
            }
            _ => return Err(Unenforced::Computed),
        };
        members.close()?;
        found
    }
}

/// The value of a field in a row.
fn value(found: &Found<'_>, kind: &str) -> Result<filter::Value, Unenforced> {
    let path = found.value().ok_or_else(|| Unenforced::Incomparable(kind.to_owned(), found.id()))?;
    Ok(filter::Value::Column(path))
}

fn is_float(found: &Found<'_>) -> bool {
    matches!(found.field.kind, PhysicalType::Float | PhysicalType::Double)
}

/// Whether it is of a type that can be read.
fn is_known(found: &Found<'_>) -> bool {
    use PhysicalType as P;
    !matches!(found.field.kind, P::Unknown | P::Variant | P::Geometry | P::Geography)
}

/// True where a floating-point number is none: beyond the infinities there is nothing else.
fn beyond(value: &filter::Value) -> [Filter; 2] {
    let than =
        |comparison, end| Filter::Compare(comparison, value.clone(), filter::Value::Literal(Literal::float(end)));
    [than(Comparison::Less, f64::NEG_INFINITY), than(Comparison::Greater, f64::INFINITY)]
}

fn or_null(value: filter::Value, filter: Filter) -> Filter {
    Filter::Or(vec![Filter::IsNull(value), filter])
}

/// True where the value is one of `literals`.
fn within(value: filter::Value, literals: Vec<Literal>) -> Filter {
    match literals.is_empty() {
        true => Filter::Constant(false),
        false => Filter::In(value, literals.into_iter().map(filter::Value::Literal).collect()),
    }
}

/// True where the value is none of `literals`, with whatever sign a zero has.
fn without(value: filter::Value, mut literals: Vec<Literal>) -> Filter {
    if literals.is_empty() {
        return Filter::Constant(true);
    }
    if literals.iter().any(Literal::is_float_zero) {
        literals.extend([Literal::float(0.0), Literal::float(-0.0)]);
    }
    or_null(value.clone(), Filter::Not(within(value, literals).into()))
}

/// A comparison of a field with a literal.
#[derive(Debug, Clone, Copy)]
enum Order {
    By(Comparison),
    StartsWith,
    NotStartsWith,
}

impl Order {
    fn named(kind: &str) -> Option<Self> {
        Some(match kind {
            "lt" => Self::By(Comparison::Less),
            "lt-eq" => Self::By(Comparison::LessOrEqual),
            "gt" => Self::By(Comparison::Greater),
            "gt-eq" => Self::By(Comparison::GreaterOrEqual),
            "eq" => Self::By(Comparison::Equal),
            "not-eq" => Self::By(Comparison::NotEqual),
            "starts-with" => Self::StartsWith,
            "not-starts-with" => Self::NotStartsWith,
            _ => return None,
        })
    }

    /// The same with its sides changed.
    fn turned(self) -> Option<Self> {
        match self {
            Self::By(comparison) => Some(Self::By(comparison.turned())),
            Self::StartsWith | Self::NotStartsWith => None,
        }
    }

    fn opposite(self) -> Self {
        match self {
            Self::By(comparison) => Self::By(comparison.opposite()),
            Self::StartsWith => Self::NotStartsWith,
            Self::NotStartsWith => Self::StartsWith,
        }
    }

    /// `None` where the type of the literal has no such comparison.
    fn filter(self, value: filter::Value, literal: Literal, negated: bool) -> Option<Filter> {
        use Comparison as C;
        Some(match if negated { self.opposite() } else { self } {
            Self::By(C::NotEqual) => without(value, vec![literal]),
            Self::By(C::Equal) => Filter::Compare(C::Equal, value, filter::Value::Literal(literal)),
            Self::By(comparison) => ordered(comparison, value, literal),
            Self::StartsWith => starts_with(value, &literal)?,
            Self::NotStartsWith => or_null(value.clone(), Filter::Not(starts_with(value, &literal)?.into())),
        })
    }
}

/// A comparison by order, which NaN has none of.
fn ordered(comparison: Comparison, value: filter::Value, literal: Literal) -> Filter {
    let compare = |literal| Filter::Compare(comparison, value.clone(), filter::Value::Literal(literal));
    let Literal::Float(_) = literal else { return compare(literal) };
    // Less than zero with either sign, or more.
    let literal = match comparison {
        Comparison::Less if literal.is_float_zero() => Literal::float(-0.0),
        Comparison::Greater if literal.is_float_zero() => Literal::float(0.0),
        _ => literal,
    };
    let numbers = beyond(&value).map(|nan| Filter::Not(nan.into()));
    Filter::And([compare(literal)].into_iter().chain(numbers).collect())
}

fn starts_with(value: filter::Value, literal: &Literal) -> Option<Filter> {
    let Literal::Text(text) = literal else { return None };
    let mut pattern = String::with_capacity(text.len() + 1);
    for letter in text.chars() {
        if matches!(letter, '%' | '_' | '\\') {
            pattern.push('\\');
        }
        pattern.push(letter);
    }
    pattern.push('%');
    Some(Filter::Like { value, pattern: Arc::from(pattern), escape: Some('\\') })
}
