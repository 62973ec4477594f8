//! Queries of policy tests: planned by the engine over empty tables that are made of the contracts.
//!
//! ```text
//! contract --> an Iceberg metadata file without snapshots, in a directory that goes away --> the engine, as it is
//! ```
//!
//! So what a test meets is what a user would: the gate, the names, the grants, the guards and the verifier.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use polder_catalog::contract::{Column, LogicalType, PhysicalType, Type};
use polder_catalog::document::{Place, nearest};
use polder_catalog::mesh::{Domain, Mesh};
use polder_catalog::policy::{Mask, Reason};
use polder_catalog::principal::Principal;
use polder_catalog::trial::{Failure, OfQuery};
use serde_json::{Value, json};

use super::super::Failure as Failed;
use crate::error::{Class, Error};
use crate::session::{Effect, Engine, Line, Options, Pins};

/// Plans queries over the contracts of a mesh.
pub struct Planner {
    engine: Arc<Engine>,
    /// Where the tables are, for as long as they are needed.
    _folder: Folder,
}

impl Planner {
    /// Makes the tables of `mesh` anew, empty.
    pub fn start(mesh: Mesh) -> Result<Self, Failed> {
        let folder = Folder::new()?;
        let mut tables = BTreeMap::new();
        for domain in mesh.domains() {
            let of_domain = folder.0.join(domain.name.as_str());
            tables.insert(domain.name.clone(), empty_tables(domain, &of_domain)?);
        }
        let engine = Engine::start(mesh.with_tables(tables), Options::default())?;
        Ok(Self { engine, _folder: folder })
    }

    /// What of a query's expectations does not hold.
    pub async fn hold(&self, place: &Place, principal: &Principal, query: &OfQuery) -> Vec<Failure> {
        let planned = self.engine.plan(principal, &query.sql, &Pins::new()).await;
        let fail = |place: &Place, expected: String, got: String| Failure {
            code: "test/query",
            place: place.clone(),
            what: "the query".to_owned(),
            expected,
            got,
            because: Vec::new(),
        };
        match (planned, &query.error) {
            (Ok(_), Some((expected, place))) => vec![fail(place, expected.clone(), "an answer".to_owned())],
            (Err(error), None) => vec![fail(place, "an answer".to_owned(), one_line(&error))],
            (Err(error), Some((expected, place))) => match ends_with(&error, expected) {
                Ok(true) => Vec::new(),
                Ok(false) => vec![fail(place, expected.clone(), one_line(&error))],
                Err(expected) => vec![fail(place, expected, one_line(&error))],
            },
            (Ok(planned), None) => {
                let schema = planned.schema();
                let got: Vec<&str> = schema.fields().iter().map(|field| field.name().as_str()).collect();
                let mut failures = Vec::new();
                if let Some((expected, place)) = &query.columns
                    && *expected != got
                {
                    let what = "the columns of the query".to_owned();
                    failures.push(Failure { what, ..fail(place, expected.join(", "), got.join(", ")) });
                }
                if query.effects.is_empty() {
                    return failures;
                }
                let lines = match self.engine.explain_policy(principal, &query.sql).await {
                    Ok(lines) => lines,
                    Err(error) => return vec![fail(place, "an answer".to_owned(), one_line(&error))],
                };
                for (name, effect, place) in &query.effects {
                    let what = format!("the column `{name}` of the query");
                    if !got.contains(&name.as_str()) {
                        let none = format!("no such column among {}", got.join(", "));
                        failures.push(Failure { what, ..fail(place, effect.to_string(), none) });
                        continue;
                    }
                    let (masks, because) = masks(&lines, name);
                    if !effect.holds_of(&masks) {
                        let got: Vec<String> = masks.iter().map(|mask| format!("masked({mask})")).collect();
                        let got = if got.is_empty() { "raw".to_owned() } else { got.join(", ") };
                        failures.push(Failure { what, because, ..fail(place, effect.to_string(), got) });
                    }
                }
                failures
            }
        }
    }
}

/// The masks of what an output is made of, and the policies behind all that it is made of.
fn masks(lines: &[Line], output: &str) -> (Vec<Mask>, Vec<Reason>) {
    let of_it = lines.iter().filter(|line| line.output.as_deref() == Some(output) && line.via == "value");
    let (mut masks, mut because) = (Vec::new(), Vec::<Reason>::new());
    for line in of_it {
        if let Effect::Masked(mask) = &line.effect
            && !masks.contains(mask)
        {
            masks.push(mask.clone());
        }
        let more: Vec<_> = line.reasons.iter().filter(|reason| !because.contains(reason)).cloned().collect();
        because.extend(more);
    }
    (masks, because)
}

/// Whether an error is what a test writes: a class, and after a colon a part of the text. Otherwise what is wrong with
/// what it writes.
fn ends_with(error: &Error, expected: &str) -> Result<bool, String> {
    let (class, part) = expected.split_once(':').unwrap_or((expected, ""));
    let known = || Class::ALL.iter().map(|class| class.as_str());
    if !known().any(|known| known == class) {
        let help = nearest(class, known()).map(|near| format!(" (did you mean `{near}`?)"));
        return Err(format!("{expected}, which is no class of errors{}", help.unwrap_or_default()));
    }
    Ok(error.class.as_str() == class && error.to_string().contains(part.trim()))
}

fn one_line(error: &Error) -> String {
    format!("{}: {}", error.class.as_str(), error.message)
}

// ---- empty tables ----

/// A directory of this process, removed when it goes.
struct Folder(PathBuf);

impl Folder {
    fn new() -> Result<Self, Failed> {
        let failed =
            |error: std::io::Error| Failed::Environment(format!("no temporary directory can be made: {error}"));
        let parent = std::env::temp_dir();
        for attempt in 0..100 {
            let path = parent.join(format!("polder-test-{}-{attempt}", std::process::id()));
            match std::fs::create_dir(&path) {
                Ok(()) => return Ok(Self(path.canonicalize().map_err(failed)?)),
                Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {}
                Err(error) => return Err(failed(error)),
            }
        }
        Err(failed(std::io::ErrorKind::AlreadyExists.into()))
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        // What stays behind in a temporary directory is nobody's failure.
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// Writes a metadata file for each table of a domain, and says where they are.
fn empty_tables(domain: &Domain, folder: &Path) -> std::io::Result<BTreeMap<String, String>> {
    let mut columns: BTreeMap<&str, Vec<&Column>> = BTreeMap::new();
    for product in domain.products.values().flatten() {
        // A derived product has no table, and is made of those of others.
        let Some(table) = product.contract.table() else { continue };
        columns.entry(table).or_default().extend(&product.contract.columns);
    }
    let mut tables = BTreeMap::new();
    for (number, (table, columns)) in columns.into_iter().enumerate() {
        let location = folder.join(number.to_string());
        let file = location.join("metadata/v1.metadata.json");
        std::fs::create_dir_all(location.join("metadata"))?;
        let url = |path: &Path| format!("file://{}", path.display());
        std::fs::write(&file, metadata(&url(&location), &columns).to_string())?;
        tables.insert(table.to_owned(), url(&file));
    }
    Ok(tables)
}

/// A table without snapshots that keeps every contract of these columns.
fn metadata(location: &str, columns: &[&Column]) -> Value {
    let mut ids = Ids::new(columns);
    let fields = ids.fields(columns);
    json!({
        "format-version": 3,
        "table-uuid": "00000000-0000-4000-8000-000000000000",
        "location": location,
        "last-sequence-number": 0,
        "last-updated-ms": 0,
        "last-column-id": ids.last,
        "current-schema-id": 0,
        "schemas": [{ "schema-id": 0, "type": "struct", "fields": fields }],
        "default-spec-id": 0,
        "partition-specs": [{ "spec-id": 0, "fields": [] }],
        "last-partition-id": 999,
        "default-sort-order-id": 0,
        "sort-orders": [{ "order-id": 0, "fields": [] }],
        "next-row-id": 0,
    })
}

/// Field ids: those that contracts pin, and others that are free.
struct Ids {
    last: i32,
}

impl Ids {
    fn new(columns: &[&Column]) -> Self {
        fn highest(column: &Column) -> i32 {
            column.fields.iter().map(highest).chain(column.field_id).max().unwrap_or(0)
        }
        Self { last: columns.iter().map(|column| highest(column)).max().unwrap_or(0) }
    }

    fn free(&mut self) -> i32 {
        self.last = self.last.saturating_add(1);
        self.last
    }

    /// The fields that keep all of `columns`: those of one physical name are one field, and the exact type counts.
    fn fields(&mut self, columns: &[&Column]) -> Vec<Value> {
        let mut names: Vec<&str> = Vec::new();
        for column in columns {
            // Row lineage is no field of a schema.
            let is_lineage = matches!(column.physical_name.as_str(), "_row_id" | "_last_updated_sequence_number");
            if !is_lineage && !names.contains(&column.physical_name.as_str()) {
                names.push(&column.physical_name);
            }
        }
        let of = |name: &str| columns.iter().copied().filter(|column| column.physical_name == name).collect::<Vec<_>>();
        names.into_iter().map(|name| self.field(name, &of(name))).collect()
    }

    fn field(&mut self, name: &str, columns: &[&Column]) -> Value {
        let pinned = columns.iter().find_map(|column| column.field_id);
        let id = pinned.unwrap_or_else(|| self.free());
        let exact = columns.iter().find(|column| matches!(column.kind, Type::Physical(_))).or(columns.first());
        let nested: Vec<&Column> = columns.iter().flat_map(|column| &column.fields).collect();
        let kind = exact.map_or(json!("string"), |column| self.kind(&column.kind, &nested));
        json!({ "id": id, "name": name, "required": false, "type": kind })
    }

    fn kind(&mut self, kind: &Type, nested: &[&Column]) -> Value {
        match kind {
            Type::Physical(PhysicalType::Struct) | Type::Logical(LogicalType::Object) => self.record(nested),
            Type::Physical(PhysicalType::List) | Type::Logical(LogicalType::Array) => {
                let id = self.free();
                json!({ "type": "list", "element-id": id, "element-required": false, "element": self.inside(nested) })
            }
            Type::Physical(PhysicalType::Map) => {
                let (key, value) = (self.free(), self.free());
                json!({ "type": "map", "key-id": key, "key": "string", "value-id": value, "value-required": false,
                    "value": self.inside(nested) })
            }
            Type::Physical(kind) => json!(kind.to_string().replace(',', ", ")),
            Type::Logical(LogicalType::Number) => json!("double"),
            Type::Logical(LogicalType::Integer) => json!("long"),
            Type::Logical(kind) => json!(kind.to_string()),
        }
    }

    /// What a list or a map holds: a struct of the fields that contracts declare, or else some text.
    fn inside(&mut self, nested: &[&Column]) -> Value {
        if nested.is_empty() { json!("string") } else { self.record(nested) }
    }

    fn record(&mut self, nested: &[&Column]) -> Value {
        json!({ "type": "struct", "fields": self.fields(nested) })
    }
}
