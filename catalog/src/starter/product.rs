//! A contract for a table that is there.

use super::{Field, Kind, Table, list, mapping, plain, text, todo};
use crate::document::Value;
use crate::mesh::{Domain, Mesh};
use crate::name::ProductName;

/// The contract that a table has by what it says of itself, as a draft.
pub fn product(mesh: &Mesh, domain: &Domain, name: &ProductName, table: &Table) -> String {
    let standards = &mesh.declared.standards;
    let wants = |what: &str| standards.require_of_product.contains(&what);
    let description = [("purpose", Some(todo("what it is for")))];
    let promised = standards.levels.iter().map(|level| level.property());
    let required = ["freshness", "retention"].into_iter().filter(|what| wants(what));
    let mut levels: Vec<&str> = promised.chain(required).collect();
    levels.sort_unstable();
    levels.dedup();
    let levels = levels.into_iter().map(|property| {
        let value = todo(&format!("the {property} that it promises"));
        mapping([
            ("property", Some(text(property))),
            ("value", Some(value)),
            ("unit", Some(todo("h, d, y or percent"))),
        ])
    });
    let licence = wants("licence").then(|| {
        let value = todo("under which licence it may be used");
        Value::List(vec![mapping([("property", Some(text("licence"))), ("value", Some(value))])])
    });
    let object = mapping([
        ("name", Some(text(name.name()))),
        ("logicalType", Some(text("object"))),
        ("physicalType", Some(text("table"))),
        ("physicalName", Some(text(&table.name))),
        ("description", Some(table.description.as_deref().map_or_else(|| todo("what one row is"), text))),
        ("properties", list(table.fields.iter().map(|field| column(mesh, field)).collect())),
    ]);
    mapping([
        ("apiVersion", Some(text("v3.1.0"))),
        ("kind", Some(text("DataContract"))),
        ("id", Some(text(&format!("{}-{}-1", domain.name, name.name())))),
        ("name", Some(text(name.name()))),
        ("version", Some(text("1.0.0"))),
        ("status", Some(text("draft"))),
        ("domain", Some(text(domain.name.as_str()))),
        ("description", Some(mapping(description))),
        ("schema", Some(Value::List(vec![object]))),
        ("support", Some(Value::List(vec![support(domain)]))),
        ("slaProperties", list(levels.collect())),
        ("customProperties", licence),
    ])
    .to_yaml()
}

/// Where the domain's owner is reached.
fn support(domain: &Domain) -> Value {
    let channel = domain.owner.chat.as_deref().or(domain.owner.email.as_deref());
    mapping([("channel", Some(channel.map_or_else(|| todo("where its users get help"), text)))])
}

fn column(mesh: &Mesh, field: &Field) -> Value {
    let wants = |what: &str| mesh.declared.standards.require_of_column.contains(&what);
    let description = match &field.description {
        Some(description) => Some(text(description)),
        None => wants("description").then(|| todo("what it holds")),
    };
    let classification = match mesh.classification_of(&field.tags) {
        Some(class) => Some(text(&class)),
        None => wants("classification").then(|| {
            let known = mesh.declared.standards.classifications.as_deref().unwrap_or_default();
            todo(&known.join(", "))
        }),
    };
    let tags = list(field.tags.iter().map(|tag| text(tag)).collect());
    let tags = tags.or_else(|| wants("tags").then(|| Value::List(vec![])));
    let position = |place: Option<u32>| place.map(plain);
    let is = |place: Option<u32>| place.map(|_| plain(true));
    let mut entries = vec![("name", Some(text(&field.name)))];
    entries.extend(types(&field.kind));
    entries.extend([
        ("required", field.required.then(|| plain(true))),
        ("primaryKey", is(field.key)),
        ("primaryKeyPosition", position(field.key)),
        ("partitioned", is(field.partition)),
        ("partitionKeyPosition", position(field.partition)),
        ("classification", classification),
        ("tags", tags),
        ("description", description),
    ]);
    entries.extend(inside(mesh, &field.kind));
    mapping(entries)
}

/// How the standard and Iceberg call a type.
fn types(kind: &Kind) -> [(&'static str, Option<Value>); 2] {
    let (logical, physical) = match kind {
        Kind::Struct(_) => (Some("object"), "struct"),
        Kind::List(_) => (Some("array"), "list"),
        // Before v3.2 the standard has no word for it.
        Kind::Map(..) => (None, "map"),
        Kind::Plain(kind) => (family(kind), kind.as_str()),
    };
    [("logicalType", logical.map(text)), ("physicalType", Some(text(physical)))]
}

/// The standard's family of an Iceberg type, where it has one.
fn family(kind: &str) -> Option<&'static str> {
    Some(match kind.split(['(', '[']).next().unwrap_or_default() {
        "boolean" => "boolean",
        "int" | "long" => "integer",
        "float" | "double" | "decimal" => "number",
        "date" => "date",
        "time" => "time",
        "timestamp" | "timestamptz" | "timestamp_ns" | "timestamptz_ns" => "timestamp",
        "string" | "uuid" | "binary" | "fixed" => "string",
        _ => return None,
    })
}

/// What lies inside of a type.
fn inside(mesh: &Mesh, kind: &Kind) -> Option<(&'static str, Option<Value>)> {
    let properties = |fields: &[Field]| list(fields.iter().map(|field| column(mesh, field)).collect());
    Some(match kind {
        Kind::Plain(_) => return None,
        Kind::Struct(fields) => ("properties", properties(fields)),
        Kind::List(element) => ("items", Some(nameless(mesh, element))),
        // What lies in a map's values is described as of the map itself: that every version of the standard has.
        Kind::Map(_, value) => match value.as_ref() {
            Kind::Struct(fields) => ("properties", properties(fields)),
            Kind::Plain(_) => return None,
            other => return inside(mesh, other),
        },
    })
}

/// An element of a list.
fn nameless(mesh: &Mesh, kind: &Kind) -> Value {
    mapping(types(kind).into_iter().chain(inside(mesh, kind)))
}
