//! What to say of columns that a statement compares for equality although they do not hold the same.
//!
//! ```text
//! a.b.c = d.e.f     an id.order, and an id.customer             they identify different things
//!                   hmac(pii), and raw or under another key     no values match
//!                   show-last-4, whatever it is compared with   values match that are not the same
//!                   both an id.order, a text and a number       they are of different types
//!                   d.e.c, an id.order, and c without a tag     one does not say what it identifies
//! ```
//!
//! The first of these that holds of a pair is told. What columns identify is a matter between domains, what masks do to
//! them is not. Whoever asks reads both columns, so that masks, tags and types of them are no secret. Columns of a
//! derived product whose sources are masked are left alone: what is told of these is told of the sources.

use std::collections::BTreeSet;
use std::fmt;

use datafusion::arrow::datatypes::DataType;
use polder_catalog::contract::Column;
use polder_catalog::mesh::{Identity, Mesh, Product};
use polder_catalog::name::ProductRef;
use polder_catalog::policy::{Access, Mask};

use super::describe::word;
use super::explanation::leaves;
use super::{Resolver, Scanned, Table};
use crate::guard::flow::{Base, Flow};

/// A column that is compared.
struct Side<'a> {
    /// Its name, the product's included.
    name: String,
    product: &'a Product,
    column: &'a Column,
    /// How it is read; nothing where what it is made of may be masked.
    shown: Option<Shown<'a>>,
    /// Its type as it is served, where it is no field of another column.
    kind: Option<DataType>,
}

/// How the one who asks reads a column.
#[derive(Clone, Copy)]
enum Shown<'a> {
    Raw,
    Masked(&'a Mask),
}

impl Resolver {
    /// What to say of the columns that a statement over `tables` compares.
    pub fn unlike(&self, flow: &Flow, tables: &[Scanned]) -> BTreeSet<String> {
        let side = |base| side(&self.mesh, base, tables);
        let sides = flow.equated.iter().filter_map(|(one, other)| side(one).zip(side(other)));
        sides.filter_map(|(one, other)| difference(&self.mesh, &one, &other)).collect()
    }
}

fn side<'a>(mesh: &'a Mesh, (scan, path): &Base, tables: &'a [Scanned]) -> Option<Side<'a>> {
    let (_, _, table) = tables.iter().find(|(name, ..)| name == scan)?;
    let (domain, product) = table.name.split_once('.')?;
    let product = mesh.product(&ProductRef::parse(domain, product).ok()?)?;
    let whole = matches!(path.as_slice(), [_]).then(|| table.provider.schema());
    let field = whole.zip(path.first()).and_then(|(schema, name)| schema.field_with_name(name).ok().cloned());
    Some(Side {
        name: format!("{}.{}", table.name, path.join(".")),
        product,
        column: declared(&product.contract.columns, path)?,
        shown: shown(table, path),
        kind: field.map(|field| field.data_type().clone()),
    })
}

fn declared<'a>(columns: &'a [Column], path: &[String]) -> Option<&'a Column> {
    let (name, inside) = path.split_first()?;
    let column = columns.iter().find(|column| column.name == *name)?;
    if inside.is_empty() { Some(column) } else { declared(&column.fields, inside) }
}

fn shown<'a>(table: &'a Table, path: &[String]) -> Option<Shown<'a>> {
    if is_masked_beneath(table, path) {
        return None;
    }
    let [(_, grant)] = leaves(&table.grants, path).try_into().ok()?;
    match &grant.access {
        Access::Raw => Some(Shown::Raw),
        Access::Masked(mask) => Some(Shown::Masked(mask)),
        Access::Denied | Access::Nested(_) => None,
    }
}

/// Whether a column of a derived product may hold masked values of what it is made of.
fn is_masked_beneath(table: &Table, path: &[String]) -> bool {
    let Some(beneath) = &table.beneath else { return false };
    let made = beneath.flow.outputs.iter().find(|(name, _)| path.first() == Some(name));
    beneath.by_owner || made.is_none_or(|(_, sources)| sources.iter().any(|source| source.masked))
}

fn difference(mesh: &Mesh, one: &Side<'_>, other: &Side<'_>) -> Option<String> {
    let between = one.product.name.domain() != other.product.name.domain();
    let identity = if between { mesh.identity(one.column, other.column) } else { Identity::Unsaid };
    if let Identity::Other(first, second) = identity {
        return Some(told(
            one,
            &format!("an `{first}`"),
            other,
            &format!("an `{second}`"),
            "they identify different things",
        ));
    }
    if let (Some(first), Some(second)) = (one.shown, other.shown)
        && let Some(found) = found(first, second)
    {
        return Some(told(one, &first.to_string(), other, &second.to_string(), found));
    }
    match (identity, &one.kind, &other.kind) {
        (Identity::Same(tag), Some(first), Some(second)) if family(first) != family(second) => {
            let why = format!("both are an `{tag}` and are of different types");
            Some(told(one, &word(first), other, &word(second), &why))
        }
        (Identity::Half(tag), ..) if one.column.name.eq_ignore_ascii_case(&other.column.name) => {
            let why = format!("one is an `{tag}`, and the other does not say what it identifies");
            Some(format!("`{}` is compared with `{}`: {why}", one.name, other.name))
        }
        _ => None,
    }
}

fn told(one: &Side<'_>, first: &str, other: &Side<'_>, second: &str, why: &str) -> String {
    format!("`{}` ({first}) is compared with `{}` ({second}): {why}", one.name, other.name)
}

/// What a comparison finds, where it is not what it would find without masks.
fn found(one: Shown<'_>, other: Shown<'_>) -> Option<&'static str> {
    match (one.mask(), other.mask()) {
        (None, None) => None,
        (Some(Mask::Null), _) | (_, Some(Mask::Null)) => Some("no values match"),
        (one, other) if one.is_some_and(is_digest) || other.is_some_and(is_digest) => {
            (one != other).then_some("no values match")
        }
        _ => Some("values match that are not the same"),
    }
}

/// Whether a mask gives different values to different values.
fn is_digest(mask: &Mask) -> bool {
    matches!(mask, Mask::Hmac(_) | Mask::Sha256Global | Mask::Sha256QueryLocal)
}

/// Types that hold the same values when they are compared.
fn family(of: &DataType) -> DataType {
    match of {
        DataType::Utf8View | DataType::LargeUtf8 => DataType::Utf8,
        of if of.is_integer() => DataType::Int64,
        of => of.clone(),
    }
}

impl<'a> Shown<'a> {
    fn mask(self) -> Option<&'a Mask> {
        match self {
            Self::Raw => None,
            Self::Masked(mask) => Some(mask),
        }
    }
}

impl fmt::Display for Shown<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Raw => f.write_str("raw"),
            Self::Masked(mask) => write!(f, "masked with `{mask}`"),
        }
    }
}
