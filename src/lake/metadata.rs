//! Table metadata: a JSON file becomes iceberg's model and what that model cannot say.
//!
//! ```text
//! {"id": 7, "name": "v", "type": "variant"}                         -> a binary field 7, and 7 is `variant`
//! {"id": 8, "name": "n", "type": "int", "initial-default": 5}       -> an int field 8, and 8 has been 5
//! ```
//!
//! `iceberg` refuses a whole table for one type that it does not know. Here such a type has a stand-in, and the field is
//! remembered, so that only its column is kept from queries. Defaults are kept as they are written, since `iceberg` makes
//! NULL of those that it cannot read.
//!
//! Partitions and orders of a kind that `iceberg` does not know keep no table from being read either. Such a transform
//! becomes `unknown`, from which nothing follows, and a field of several columns becomes one of its first under it. The
//! values of such partitions stay what they are: deletes are still held to their partition. A field without a value
//! (`void`) whose column is gone is left out, since `iceberg` looks for its column.
//!
//! Metadata files never change, so each is decoded once.

use std::cmp::Reverse;
use std::collections::{HashMap, HashSet};
use std::io::Read;
use std::sync::Arc;

use iceberg::spec::{DEFAULT_SCHEMA_ID, TableMetadata, TableMetadataRef, Transform};
use serde_json::{Value, json};

use super::memory::Weighed;

/// The longest metadata that is read, packed or not.
pub(super) const MAX_BYTES: u64 = 64 * 1024 * 1024;
/// The longest value of fixed length: a column of NULLs takes as much for each row.
const MAX_FIXED: u32 = 64 * 1024;
/// What stands in for a type that is not known.
const STAND_IN: &str = "binary";

/// What table metadata says of the fields that it has, or had, beyond iceberg's model, by their ids.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Beyond {
    kinds: HashMap<i32, String>,
    defaults: HashMap<i32, Value>,
}

impl Beyond {
    /// The type of a field that has a stand-in.
    pub fn kind(&self, id: i32) -> Option<&str> {
        self.kinds.get(&id).map(String::as_str)
    }

    #[cfg(test)]
    pub(crate) fn of<const N: usize>(kinds: [(i32, &str); N]) -> Self {
        Self { kinds: kinds.into_iter().map(|(id, kind)| (id, kind.to_owned())).collect(), ..Self::default() }
    }

    /// What a field is in rows that were written before it came, as JSON.
    pub fn initial(&self, id: i32) -> Option<&Value> {
        self.defaults.get(&id)
    }
}

/// A decoded metadata file.
#[derive(Debug)]
pub(super) struct Decoded {
    pub(super) metadata: TableMetadataRef,
    pub(super) beyond: Arc<Beyond>,
    bytes: usize,
}

impl Weighed for Decoded {
    fn bytes(&self) -> usize {
        self.bytes
    }
}

/// Why metadata cannot be decoded.
#[derive(Debug, thiserror::Error)]
pub(super) enum Undecoded {
    #[error("it is longer than any that is read")]
    TooLong,
    #[error("it cannot be unpacked")]
    Packed(#[source] std::io::Error),
    #[error("it is not table metadata")]
    Json(#[source] serde_json::Error),
}

/// Decodes a metadata file, which may be packed.
pub(super) fn decode(file: &[u8]) -> Result<Decoded, Undecoded> {
    let mut unpacked = Vec::new();
    let text = match file {
        [0x1f, 0x8b, ..] => {
            let unpacking = flate2::read::MultiGzDecoder::new(file).take(MAX_BYTES.saturating_add(1));
            { unpacking }.read_to_end(&mut unpacked).map_err(Undecoded::Packed)?;
            unpacked.as_slice()
        }
        _ => file,
    };
    if u64::try_from(text.len()).map_or(true, |length| length > MAX_BYTES) {
        return Err(Undecoded::TooLong);
    }
    // The parser bounds the depth, so what walks over its result may recurse.
    let mut json: Value = serde_json::from_slice(text).map_err(Undecoded::Json)?;
    let mut schemas = HashMap::new();
    if let Some(schema) = json.get_mut("schema") {
        read_schema(schema, &mut schemas);
    }
    for schema in json.get_mut("schemas").and_then(Value::as_array_mut).into_iter().flatten() {
        read_schema(schema, &mut schemas);
    }
    read_partitions(&mut json);
    let metadata: TableMetadata = serde_json::from_value(json).map_err(Undecoded::Json)?;
    let beyond = youngest(&metadata, &schemas);
    // The model is about as large as the text, and the names in it are indexed.
    let bytes = std::mem::size_of::<Decoded>().saturating_add(text.len().saturating_mul(2));
    Ok(Decoded { metadata: Arc::new(metadata), beyond: Arc::new(beyond), bytes })
}

/// Makes partition specs and sort orders such that iceberg's model holds them.
fn read_partitions(json: &mut Value) {
    let current = current_ids(json);
    let is_gone = |field: &Value| {
        let gone = number(field.get("source-id")).is_some_and(|id| !current.contains(&id));
        gone && field.get("transform").and_then(Value::as_str) == Some("void")
    };
    let each = |fields: &mut Vec<Value>| fields.iter_mut().for_each(read_transform);
    let specs = json.get_mut("partition-specs").and_then(Value::as_array_mut).into_iter().flatten();
    for fields in specs.filter_map(|spec| spec.get_mut("fields")).filter_map(Value::as_array_mut) {
        each(fields);
        fields.retain(|field| !is_gone(field));
    }
    if let Some(fields) = json.get_mut("partition-spec").and_then(Value::as_array_mut) {
        each(fields);
        fields.retain(|field| !is_gone(field));
    }
    let orders = json.get_mut("sort-orders").and_then(Value::as_array_mut).into_iter().flatten();
    orders.filter_map(|order| order.get_mut("fields")).filter_map(Value::as_array_mut).for_each(each);
}

/// The ids of all fields of the current schema, at any depth.
fn current_ids(json: &Value) -> HashSet<i32> {
    fn add(of: &Value, into: &mut HashSet<i32>) {
        for (name, inside) in of.as_object().into_iter().flatten() {
            match name.as_str() {
                "id" | "element-id" | "key-id" | "value-id" => into.extend(number(Some(inside))),
                "fields" => inside.as_array().into_iter().flatten().for_each(|field| add(field, into)),
                "type" | "element" | "key" | "value" => add(inside, into),
                _ => {}
            }
        }
    }
    let current = json.get("current-schema-id").filter(|id| !id.is_null());
    let is_current = |schema: &&Value| current.is_some() && schema.get("schema-id") == current;
    let schemas = json.get("schemas").and_then(Value::as_array);
    let schema = schemas.and_then(|schemas| schemas.iter().find(is_current)).or_else(|| json.get("schema"));
    let mut ids = HashSet::new();
    schema.into_iter().for_each(|schema| add(schema, &mut ids));
    ids
}

/// One field of a partition spec or of a sort order.
fn read_transform(field: &mut Value) {
    let sources = field.get("source-ids").and_then(Value::as_array);
    let (first, several) = (sources.and_then(|ids| ids.first()).cloned(), sources.is_some_and(|ids| ids.len() > 1));
    let Some(field) = field.as_object_mut() else { return };
    if let Some(first) = first {
        field.entry("source-id").or_insert(first);
    }
    let is_known = |text: &str| text.parse::<Transform>().is_ok();
    if several || field.get("transform").and_then(Value::as_str).is_some_and(|text| !is_known(text)) {
        field.insert("transform".to_owned(), json!("unknown"));
    }
}

/// What is said of each field by the current schema, or by the youngest that has it: rows are deleted by fields that are
/// gone.
fn youngest(metadata: &TableMetadata, schemas: &HashMap<i32, Beyond>) -> Beyond {
    let mut order: Vec<_> = metadata.schemas_iter().collect();
    order.sort_by_key(|schema| (schema.schema_id() != metadata.current_schema_id(), Reverse(schema.schema_id())));
    let mut all = Beyond::default();
    for id in schemas.values().flat_map(|beyond| beyond.kinds.keys().chain(beyond.defaults.keys())) {
        let schema = order.iter().find(|schema| schema.field_by_id(*id).is_some());
        let Some(beyond) = schema.and_then(|schema| schemas.get(&schema.schema_id())) else { continue };
        all.kinds.extend(beyond.kinds.get_key_value(id).map(|(id, kind)| (*id, kind.clone())));
        all.defaults.extend(beyond.defaults.get_key_value(id).map(|(id, value)| (*id, value.clone())));
    }
    all
}

fn read_schema(schema: &mut Value, schemas: &mut HashMap<i32, Beyond>) {
    let id = number(schema.get("schema-id")).unwrap_or(DEFAULT_SCHEMA_ID);
    let mut beyond = Beyond::default();
    read_fields(schema, &mut beyond);
    schemas.insert(id, beyond);
}

fn read_fields(of: &mut Value, beyond: &mut Beyond) {
    for field in of.get_mut("fields").and_then(Value::as_array_mut).into_iter().flatten() {
        let Some(id) = number(field.get("id")) else { continue };
        if let Some(default) = field.get("initial-default").filter(|default| !default.is_null()) {
            beyond.defaults.insert(id, default.clone());
        }
        if let Some(kind) = field.get_mut("type") {
            read_type(kind, id, beyond);
        }
    }
}

fn read_type(kind: &mut Value, id: i32, beyond: &mut Beyond) {
    let name = match &*kind {
        Value::String(name) => name.as_str(),
        _ => kind.get("type").and_then(Value::as_str).unwrap_or_default(),
    };
    match (name, kind.is_object()) {
        ("struct", true) => return read_fields(kind, beyond),
        ("list", true) => return read_inside(kind, &[("element-id", "element")], beyond),
        ("map", true) => return read_inside(kind, &[("key-id", "key"), ("value-id", "value")], beyond),
        (name, false) if is_known(name) => return,
        _ => {}
    }
    let shown: String = name.chars().filter(char::is_ascii_graphic).take(32).collect();
    beyond.kinds.insert(id, shown);
    *kind = Value::String(STAND_IN.to_owned());
}

fn read_inside(kind: &mut Value, places: &[(&str, &str)], beyond: &mut Beyond) {
    for (id, inside) in places {
        let Some(id) = number(kind.get(id)) else { continue };
        if let Some(inside) = kind.get_mut(inside) {
            read_type(inside, id, beyond);
        }
    }
}

fn number(json: Option<&Value>) -> Option<i32> {
    i32::try_from(json?.as_i64()?).ok()
}

/// Whether a plain type is one that arrow holds.
fn is_known(name: &str) -> bool {
    let arguments = |kind: &str, open: char, close: char| {
        name.strip_prefix(kind)?
            .strip_prefix(open)?
            .strip_suffix(close)?
            .split(',')
            .map(|n| n.trim().parse().ok())
            .collect()
    };
    let decimal: Option<Vec<u32>> = arguments("decimal", '(', ')');
    let fixed: Option<Vec<u32>> = arguments("fixed", '[', ']');
    match (decimal.as_deref(), fixed.as_deref()) {
        (Some(&[precision, scale]), _) => (1..=38).contains(&precision) && scale <= precision,
        (_, Some(&[length])) => (1..=MAX_FIXED).contains(&length),
        _ => matches!(
            name,
            "boolean"
                | "int"
                | "long"
                | "float"
                | "double"
                | "date"
                | "time"
                | "timestamp"
                | "timestamptz"
                | "timestamp_ns"
                | "timestamptz_ns"
                | "string"
                | "uuid"
                | "binary"
        ),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::panic, reason = "tests")]
mod tests {
    use std::io::Write;

    use super::*;
    use crate::scan::tests::mutations;

    const V3: &str = r#"{"format-version": 3, "table-uuid": "9c12d441-03fe-4693-9a96-a0705ddf69c1", "location": "s3://b/t",
        "last-sequence-number": 1, "last-updated-ms": 1602638573590, "last-column-id": 20, "current-schema-id": 1, "next-row-id": 0,
        "schemas": [
            {"type": "struct", "schema-id": 0, "fields": [{"id": 1, "name": "a", "required": true, "type": "unknown"}]},
            {"type": "struct", "schema-id": 1, "fields": [
                {"id": 1, "name": "a", "required": true, "type": "long"},
                {"id": 2, "name": "v", "required": false, "type": "variant"},
                {"id": 3, "name": "d", "required": false, "type": "decimal(9, 2)", "initial-default": "1.50", "write-default": "2.50"},
                {"id": 4, "name": "s", "required": false, "type": {"type": "struct", "fields": [
                    {"id": 5, "name": "g", "required": false, "type": "geography(srid:4326, vincenty)"},
                    {"id": 6, "name": "t", "required": false, "type": "timestamp_ns", "initial-default": "2017-11-16T22:31:08.000001001"}]}},
                {"id": 7, "name": "l", "required": false, "type": {"type": "list", "element-id": 8, "element": "fixed[4]", "element-required": false}},
                {"id": 9, "name": "m", "required": false, "type": {"type": "map", "key-id": 10, "key": "string", "value-id": 11,
                    "value": {"type": "tuple"}, "value-required": false}}]}],
        "default-spec-id": 0, "partition-specs": [{"spec-id": 0, "fields": [{"name": "a", "transform": "identity", "source-id": 1, "field-id": 1000}]}],
        "last-partition-id": 1000, "default-sort-order-id": 0, "sort-orders": [{"order-id": 0, "fields": []}],
        "properties": {"x": "y"}, "current-snapshot-id": 3, "refs": {"main": {"snapshot-id": 3, "type": "branch"}},
        "snapshots": [{"snapshot-id": 3, "timestamp-ms": 1602638573590, "sequence-number": 1, "first-row-id": 0, "added-rows": 0,
            "summary": {"operation": "append"}, "manifest-list": "s3://b/t/m.avro", "schema-id": 1}],
        "snapshot-log": [], "metadata-log": []}"#;

    #[test]
    fn what_the_model_cannot_say_is_remembered_of_the_current_schema() {
        let decoded = decode(V3.as_bytes()).unwrap_or_else(|error| panic!("{error:?}"));
        let kinds: Vec<_> = (1..=11).filter_map(|id| decoded.beyond.kind(id).map(|kind| (id, kind))).collect();
        assert_eq!(kinds, [(2, "variant"), (5, "geography(srid:4326,vincenty)"), (11, "tuple")]);
        let defaults: Vec<_> = (1..=11).filter_map(|id| decoded.beyond.initial(id)).collect();
        assert_eq!(defaults, ["1.50", "2017-11-16T22:31:08.000001001"]);
        assert_eq!(decoded.metadata.current_schema().as_struct().fields().len(), 6);
    }

    #[test]
    fn packed_metadata_is_read_and_too_much_of_it_is_not() {
        let pack = |bytes: &[u8]| {
            let mut packer = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
            packer.write_all(bytes).unwrap();
            packer.finish().unwrap()
        };
        assert_eq!(decode(&pack(V3.as_bytes())).unwrap().beyond, decode(V3.as_bytes()).unwrap().beyond);
        let bomb = pack(&vec![b' '; usize::try_from(MAX_BYTES).unwrap() + 1]);
        assert!(matches!(decode(&bomb), Err(Undecoded::TooLong)));
        assert!(matches!(decode(&[0x1f, 0x8b, 0, 0]), Err(Undecoded::Packed(_))));
        assert!(matches!(decode("[".repeat(100_000).as_bytes()), Err(Undecoded::Json(_))));
    }

    #[test]
    fn no_mutation_of_metadata_panics() {
        let mut read = 0;
        mutations(V3.as_bytes(), 20_000, |bytes| read += usize::from(decode(bytes).is_ok()));
        assert!(read > 100, "{read}");
    }
}
