//! A table that no contract describes yet, as a contract would begin: what it says of itself, and what is found in it.

use iceberg::spec::{NestedField, Type};
use polder_catalog::mesh::{Domain, Mesh};
use polder_catalog::starter::{Field, Kind, Table};

use super::look::partitions;
use super::sample::{Samples, looked_at};
use crate::error::Error;
use crate::lake::OpenTable;
use crate::scan::ScanColumn;
use crate::session::Engine;

/// What a table is, and what was found in it that no tag of the mesh stands for.
pub struct Described {
    /// The table.
    pub table: Table,
    /// Columns and what they hold, in words.
    pub untagged: Vec<(String, String)>,
}

/// Describes a table of a domain, by `rows` of its rows as well.
///
/// # Errors
/// `Storage` when it cannot be opened or read, `Drift` when there is no such table.
pub async fn describe(
    engine: &Engine,
    mesh: &Mesh,
    domain: &Domain,
    table: &str,
    rows: usize,
) -> Result<Described, Error> {
    let open = engine.lake().open(domain, table).await?;
    let metadata = open.table.metadata();
    let schema = metadata.current_schema();
    let is_read = |field: &&std::sync::Arc<NestedField>| open.beyond.kind(field.id).is_none();
    let columns = schema.as_struct().fields().iter().filter(is_read).map(|field| ScanColumn {
        name: field.name.clone(),
        field_id: field.id,
        fields: None,
    });
    let detectors = mesh.detectors();
    let samples = match rows {
        0 => Samples::new(),
        rows => looked_at(engine, &open, columns.collect(), rows, &detectors).await?,
    };
    let keys: Vec<i32> = schema.identifier_field_ids().collect();
    let partitions = partitions(metadata, schema);
    let mut found = Found { mesh, open: &open, samples, untagged: Vec::new() };
    let mut fields = Vec::new();
    for field in schema.as_struct().fields() {
        let mut described = found.field(field, &mut Vec::new());
        described.key = position(&keys, &field.id);
        described.partition = position(&partitions, &field.name);
        fields.push(described);
    }
    let description = metadata.properties().get("comment").or_else(|| metadata.properties().get("doc")).cloned();
    let untagged = found.untagged;
    Ok(Described { table: Table { name: table.to_owned(), description, fields }, untagged })
}

/// From 1, if it is among them.
fn position<T: PartialEq>(of: &[T], wanted: &T) -> Option<u32> {
    u32::try_from(of.iter().position(|one| one == wanted)? + 1).ok()
}

/// What is known while a table is described.
struct Found<'a> {
    mesh: &'a Mesh,
    open: &'a OpenTable,
    samples: Samples<'a>,
    untagged: Vec<(String, String)>,
}

impl Found<'_> {
    fn field(&mut self, field: &NestedField, path: &mut Vec<String>) -> Field {
        path.push(field.name.clone());
        let mut tags = Vec::new();
        if let Some(sample) = self.samples.get(path.as_slice()) {
            let (found, unknown) = self.mesh.tags_for(&field.name, sample);
            tags = found;
            self.untagged.extend(unknown.into_iter().map(|what| (path.join("."), what)));
        }
        if tags.is_empty() && matches!(field.field_type.as_ref(), Type::Primitive(kind) if kind.to_string() == "string")
        {
            tags = self.mesh.tags_for_name(&field.name);
        }
        let kind = self.kind(field, path);
        path.pop();
        Field {
            name: field.name.clone(),
            kind,
            required: field.required,
            description: field.doc.clone(),
            key: None,
            partition: None,
            tags,
        }
    }

    fn kind(&mut self, field: &NestedField, path: &mut Vec<String>) -> Kind {
        if let Some(beyond) = self.open.beyond.kind(field.id) {
            // A contract writes it without its arguments.
            return Kind::Plain(beyond.split('(').next().unwrap_or_default().to_owned());
        }
        match field.field_type.as_ref() {
            Type::Primitive(kind) => Kind::Plain(kind.to_string()),
            Type::Struct(fields) => Kind::Struct(fields.fields().iter().map(|field| self.field(field, path)).collect()),
            Type::List(list) => Kind::List(Box::new(self.kind(&list.element_field, path))),
            Type::Map(map) => {
                Kind::Map(Box::new(self.kind(&map.key_field, path)), Box::new(self.kind(&map.value_field, path)))
            }
        }
    }
}
