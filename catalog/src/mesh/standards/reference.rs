//! Columns that are said to hold each other's values, and could not: a join of them finds nothing, or does not run.
//!
//! ```text
//! customer -> shop.customers.idd       there is no such column
//! customer: long -> id: string         other types, other identifiers by their tags, or else other patterns
//! ```
//!
//! A foreign key that points out of the mesh is left alone, and so is what only one end says.

use crate::contract::{Column, Reference};
use crate::document::{Place, Value, nearest, quote};
use crate::mesh::declared::Declared;
use crate::mesh::identity::{Identity, identity};
use crate::mesh::{Domain, Product};
use crate::name::{DomainName, ProductName};

/// What is wrong with one column of a foreign key.
pub(crate) struct Misfit {
    /// The domain that says it.
    pub domain: DomainName,
    /// The column that refers.
    pub place: Place,
    pub message: String,
    pub help: String,
}

/// The foreign keys whose two ends do not fit each other.
pub(crate) fn across<'d>(domains: impl Iterator<Item = &'d Domain>, declared: &Declared) -> Vec<Misfit> {
    let domains: Vec<&Domain> = domains.collect();
    let mut found = Vec::new();
    for domain in &domains {
        for product in domain.products.values().flatten().filter(|product| product.is_alive()) {
            for reference in &product.contract.references {
                let Some(target) = target(&domains, domain, reference) else { continue };
                for (own, other) in reference.columns.iter().zip(&reference.to) {
                    let Some(own) = column(product, own) else { continue };
                    let said = match column(target, other) {
                        Some(other) => difference(own, target, other, declared),
                        None => missing(own, target, other),
                    };
                    let of = |(message, help)| Misfit {
                        domain: domain.name.clone(),
                        place: own.place.clone(),
                        message,
                        help,
                    };
                    found.extend(said.map(of));
                }
            }
        }
    }
    found
}

/// What is to be said of a column that the other product does not have.
fn missing(own: &Column, target: &Product, other: &str) -> Option<(String, String)> {
    if is_id(target, other) {
        return None;
    }
    let message = format!("`{}` refers to {} of `{}`, which is no column there", own.name, quote(other), target.name);
    let help = match nearest(other, target.contract.columns.iter().map(|column| column.name.as_str())) {
        Some(near) => format!("did you mean `{near}`?"),
        None => "name a column of its contract, or take the relationship away".to_owned(),
    };
    Some((message, help))
}

/// In what two ends differ, if in anything: whoever mends the first need not read of the others.
fn difference(own: &Column, target: &Product, other: &Column, declared: &Declared) -> Option<(String, String)> {
    let is = |what: &str, mine: String, theirs: String| {
        format!(
            "`{}` {what} {mine}, and `{}.{}`, to which it refers, {what} {theirs}",
            own.name, target.name, other.name
        )
    };
    let same = |what: &str| format!("give both ends the same {what}, so that they can be joined");
    if !super::is_kind(&own.kind, &other.kind) {
        return Some((is("is a", format!("`{}`", own.kind), format!("`{}`", other.kind)), same("type")));
    }
    if let Identity::Other(mine, theirs) = identity(own, other, declared) {
        return Some((is("is an", quote(mine), quote(theirs)), same("tag")));
    }
    let (mine, theirs) = (pattern(own, declared)?, pattern(other, declared)?);
    (mine != theirs).then(|| (is("has the pattern", quote(mine), quote(theirs)), same("pattern")))
}

/// The pattern of a column: its own, or that of what it identifies.
fn pattern<'a>(column: &'a Column, declared: &'a Declared) -> Option<&'a str> {
    let of_tag =
        |tag: &'a String| declared.holding(tag, |tag| tag.pattern.as_deref()).next().map(|(_, pattern)| pattern);
    column.pattern.as_deref().or_else(|| column.tags.iter().find_map(of_tag))
}

/// The newest major of the product that is meant.
fn target<'d>(domains: &[&'d Domain], own: &'d Domain, reference: &Reference) -> Option<&'d Product> {
    let domain = match &reference.domain {
        None => own,
        Some(name) => domains.iter().find(|domain| domain.name.as_str() == name)?,
    };
    let name = ProductName::new(domain.name.clone(), &reference.object).ok()?;
    domain.products.get(&name)?.iter().rfind(|product| product.is_alive())
}

fn column<'p>(product: &'p Product, name: &str) -> Option<&'p Column> {
    product.contract.columns.iter().find(|column| column.name == name)
}

/// Whether a property of the product's document has this `id`: the standard's long form names ids, which are not read here.
fn is_id(product: &Product, name: &str) -> bool {
    let objects = items(product.contract.document.get("schema")).iter();
    let mut properties = objects.flat_map(|object| items(object.get("properties")));
    properties.any(|property| matches!(property.get("id"), Some(Value::Text(id) | Value::Plain(id)) if **id == *name))
}

fn items(value: Option<&Value>) -> &[Value] {
    match value {
        Some(Value::List(items)) => items,
        _ => &[],
    }
}
