//! Starters: what a domain team would have to copy by hand is written down for it, and what only people can say stands
//! there as `TODO`, which keeps it from being served until it is said.
//!
//! ```text
//! a table's columns, types, keys and documentation, and what detectors found  --product-->  a contract
//! a contract and its tags                                                     --policy--->  who finds and reads it
//! ```

mod policy;
mod product;

pub use policy::policy;
pub use product::product;

use crate::document::Value;
use crate::name::DomainName;

/// How a text begins that somebody still has to write.
pub(crate) const TODO: &str = "TODO";

/// Whether a text is still to be written.
pub(crate) fn is_todo(text: &str) -> bool {
    text.strip_prefix(TODO).is_some_and(|rest| !rest.starts_with(|letter: char| letter.is_alphanumeric()))
}

/// A field of a table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Field {
    /// Its name.
    pub name: String,
    /// Its type.
    pub kind: Kind,
    /// Whether it is never NULL.
    pub required: bool,
    /// What the table says of it.
    pub description: Option<String>,
    /// Its place in the table's key, from 1.
    pub key: Option<u32>,
    /// Its place among the columns that the table is partitioned by, from 1.
    pub partition: Option<u32>,
    /// What was found in it, as tags of the mesh.
    pub tags: Vec<String>,
}

/// The type of a field, as Iceberg has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Kind {
    /// One that has nothing inside, as its specification writes it.
    Plain(String),
    /// A struct.
    Struct(Vec<Field>),
    /// A list, and the type of its elements.
    List(Box<Kind>),
    /// A map, and the types of its keys and values.
    Map(Box<Kind>, Box<Kind>),
}

/// What a table says of itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Table {
    /// `namespace.table` in its domain's catalog.
    pub name: String,
    /// What it is.
    pub description: Option<String>,
    /// Its columns.
    pub fields: Vec<Field>,
}

/// A `domain.yaml`, for a catalog at `uri` with this warehouse.
pub fn domain(name: &DomainName, team: Option<&str>, uri: &str, warehouse: Option<&str>) -> String {
    let kind = if uri.starts_with("http:") || uri.starts_with("https:") { "rest" } else { "sql" };
    let catalog = [("type", Some(text(kind))), ("uri", Some(text(uri))), ("warehouse", warehouse.map(text))];
    let team = team.map_or_else(|| todo("the team that answers for it"), text);
    mapping([
        ("name", Some(text(name.as_str()))),
        ("kind", Some(text("source-aligned"))),
        ("owner", Some(mapping([("team", Some(team))]))),
        ("description", Some(todo("what this domain knows"))),
        ("catalog", Some(mapping(catalog))),
    ])
    .to_yaml()
}

fn todo(what: &str) -> Value {
    Value::Text(format!("{TODO}: {what}").into())
}

fn text(text: &str) -> Value {
    Value::Text(text.into())
}

fn plain(value: impl ToString) -> Value {
    Value::Plain(value.to_string().into())
}

/// A mapping of what there is.
fn mapping<'k>(entries: impl IntoIterator<Item = (&'k str, Option<Value>)>) -> Value {
    Value::Map(entries.into_iter().filter_map(|(key, value)| Some((key.into(), value?))).collect())
}

fn list(items: Vec<Value>) -> Option<Value> {
    (!items.is_empty()).then_some(Value::List(items))
}
