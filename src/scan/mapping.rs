//! The name mapping of a table: field ids for files that have none, by the names of their columns.
//!
//! ```text
//! [{"field-id": 1, "names": ["id", "record_id"]}, {"field-id": 2, "names": ["tags"], "fields": [{"field-id": 3, "names": ["element"]}]}]
//! ```
//!
//! Its text comes from table metadata. One that is not understood whole maps nothing at all.

use std::collections::HashSet;
use std::sync::Arc;

use parquet::basic::{ConvertedType, LogicalType};
use parquet::errors::Result;
use parquet::schema::types::{Type, TypePtr};
use serde_json::Value;

/// The table property that holds it.
pub(super) const PROPERTY: &str = "schema.name-mapping.default";
/// The longest text that is read.
const MAX_BYTES: usize = 4 * 1024 * 1024;

/// Ids by name, level by level.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct NameMapping {
    fields: Vec<Mapped>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Mapped {
    id: Option<i32>,
    names: Vec<String>,
    fields: Vec<Mapped>,
}

impl NameMapping {
    /// Reads the property's text.
    pub(super) fn parse(text: &str) -> Option<Self> {
        if text.len() > MAX_BYTES {
            return None;
        }
        // The parser of JSON bounds its depth, and so the depth of what is read from it.
        let fields = fields(&serde_json::from_str(text).ok()?)?;
        let mut ids = HashSet::new();
        are_once(&fields, &mut ids).then_some(Self { fields })
    }

    /// The schema of a file with the ids that its names map to.
    ///
    /// # Errors
    /// When the file's schema is none.
    pub(super) fn apply(&self, root: &Type) -> Result<TypePtr> {
        let inside = children(root).iter().map(|field| with_ids(field, find(&self.fields, field.name())));
        group(root, None, inside.collect::<Result<_>>()?)
    }
}

fn fields(json: &Value) -> Option<Vec<Mapped>> {
    let fields = json.as_array()?.iter().map(|field| {
        let names = field.get("names")?.as_array()?;
        let names = names.iter().map(|name| name.as_str().map(str::to_owned)).collect::<Option<_>>()?;
        let id = match field.get("field-id") {
            None | Some(Value::Null) => None,
            Some(id) => Some(i32::try_from(id.as_i64()?).ok()?),
        };
        let fields = match field.get("fields") {
            None | Some(Value::Null) => Vec::new(),
            Some(inside) => fields(inside)?,
        };
        Some(Mapped { id, names, fields })
    });
    fields.collect()
}

/// Whether no id is there twice, and no name twice among its neighbours.
fn are_once<'a>(fields: &'a [Mapped], ids: &mut HashSet<i32>) -> bool {
    let mut names: HashSet<&'a str> = HashSet::new();
    fields.iter().all(|field| {
        field.id.is_none_or(|id| ids.insert(id))
            && field.names.iter().all(|name| names.insert(name))
            && are_once(&field.fields, ids)
    })
}

fn find<'a>(fields: &'a [Mapped], name: &str) -> Option<&'a Mapped> {
    fields.iter().find(|field| field.names.iter().any(|known| known == name))
}

fn children(of: &Type) -> &[TypePtr] {
    if of.is_group() { of.get_fields() } else { &[] }
}

/// A column with the ids of its mapping. What has none there gets none.
fn with_ids(found: &TypePtr, mapped: Option<&Mapped>) -> Result<TypePtr> {
    let id = mapped.and_then(|mapped| mapped.id);
    let inside = mapped.map_or(&[][..], |mapped| &mapped.fields);
    let info = found.get_basic_info();
    if found.is_primitive() {
        return primitive(found, id);
    }
    let is = |logical: &LogicalType, converted: &[ConvertedType]| {
        info.logical_type_ref() == Some(logical) || converted.contains(&info.converted_type())
    };
    // Lists and maps have a level between them and what is in them, which has no id, and the mapping has names of its
    // own for what is in them.
    let fields = match children(found) {
        [repeated] if is(&LogicalType::List, &[ConvertedType::LIST]) => {
            let element = find(inside, "element");
            match children(repeated) {
                [only] if repeated.name() != "array" && repeated.name() != format!("{}_tuple", found.name()) => {
                    vec![group(repeated, None, vec![with_ids(only, element)?])?]
                }
                _ => vec![with_ids(repeated, element)?],
            }
        }
        [entries] if is(&LogicalType::Map, &[ConvertedType::MAP, ConvertedType::MAP_KEY_VALUE]) => {
            let names = ["key", "value"].into_iter();
            let pair = children(entries).iter().zip(names).map(|(field, name)| with_ids(field, find(inside, name)));
            vec![group(entries, None, pair.collect::<Result<_>>()?)?]
        }
        fields => fields.iter().map(|field| with_ids(field, find(inside, field.name()))).collect::<Result<_>>()?,
    };
    group(found, id, fields)
}

fn group(found: &Type, id: Option<i32>, fields: Vec<TypePtr>) -> Result<TypePtr> {
    let info = found.get_basic_info();
    let mut builder = Type::group_type_builder(found.name())
        .with_converted_type(info.converted_type())
        .with_logical_type(info.logical_type_ref().cloned())
        .with_fields(fields)
        .with_id(id);
    if info.has_repetition() {
        builder = builder.with_repetition(info.repetition());
    }
    Ok(Arc::new(builder.build()?))
}

fn primitive(found: &Type, id: Option<i32>) -> Result<TypePtr> {
    let Type::PrimitiveType { basic_info, physical_type, type_length, scale, precision } = found else {
        return group(found, id, children(found).to_vec());
    };
    let built = Type::primitive_type_builder(found.name(), *physical_type)
        .with_repetition(basic_info.repetition())
        .with_converted_type(basic_info.converted_type())
        .with_logical_type(basic_info.logical_type_ref().cloned())
        .with_length(*type_length)
        .with_precision(*precision)
        .with_scale(*scale)
        .with_id(id)
        .build()?;
    Ok(Arc::new(built))
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests")]
mod tests {
    use parquet::schema::parser::parse_message_type;

    use super::*;

    const MAPPING: &str = r#"[
        {"field-id": 1, "names": ["id", "record_id"]},
        {"field-id": 2, "names": ["tags"], "fields": [{"field-id": 3, "names": ["element"]}]},
        {"field-id": 4, "names": ["m"], "fields": [
            {"field-id": 5, "names": ["key"]},
            {"field-id": 6, "names": ["value"], "fields": [{"field-id": 7, "names": ["x"]}, {"names": ["y"]}]}]},
        {"field-id": 8, "names": [], "fields": null}]"#;

    fn ids(of: &Type, path: &str, out: &mut Vec<String>) {
        for field in children(of) {
            let path = format!("{path}{}", field.name());
            if field.get_basic_info().has_id() {
                out.push(format!("{path}={}", field.get_basic_info().id()));
            }
            ids(field, &format!("{path}."), out);
        }
    }

    #[test]
    fn names_give_ids_through_lists_and_maps_however_their_writer_spelt_them() {
        let message = "message m {
            required int64 record_id; optional int64 stranger;
            optional group tags (LIST) { repeated group bag { optional binary array_element (STRING); } }
            optional group m (MAP) { repeated group map { required binary k; optional group v {
                optional int32 x; optional int32 y; optional int32 z; } } } }";
        let mut found = Vec::new();
        ids(
            &NameMapping::parse(MAPPING).unwrap().apply(&parse_message_type(message).unwrap()).unwrap(),
            "",
            &mut found,
        );
        assert_eq!(
            found,
            ["record_id=1", "tags=2", "tags.bag.array_element=3", "m=4", "m.map.k=5", "m.map.v=6", "m.map.v.x=7"]
        );
        let old = "message m { optional group tags (LIST) { repeated binary array (STRING); } }";
        let mut found = Vec::new();
        ids(&NameMapping::parse(MAPPING).unwrap().apply(&parse_message_type(old).unwrap()).unwrap(), "", &mut found);
        assert_eq!(found, ["tags=2", "tags.array=3"]);
    }

    #[test]
    fn a_mapping_that_is_not_understood_maps_nothing() {
        for text in [
            "",
            "{}",
            "[1]",
            r#"[{"field-id": 1}]"#,
            r#"[{"field-id": 1, "names": "a"}]"#,
            r#"[{"field-id": "1", "names": ["a"]}]"#,
            r#"[{"field-id": 4294967296, "names": ["a"]}]"#,
            r#"[{"field-id": 1, "names": ["a"]}, {"field-id": 2, "names": ["a"]}]"#,
            r#"[{"field-id": 1, "names": ["a"]}, {"field-id": 1, "names": ["b"]}]"#,
        ] {
            assert_eq!(NameMapping::parse(text), None, "{text}");
        }
        let deep = format!("{}{}", r#"[{"names":[],"fields":"#.repeat(5000), "null}]".repeat(5000));
        assert_eq!(NameMapping::parse(&deep), None);
    }

    #[test]
    fn no_mutation_of_a_mapping_panics() {
        let root = parse_message_type("message m { optional int64 id; }").unwrap();
        crate::scan::tests::mutations(MAPPING.as_bytes(), 20_000, |bytes| {
            if let Some(mapping) = std::str::from_utf8(bytes).ok().and_then(NameMapping::parse) {
                mapping.apply(&root).unwrap();
            }
        });
    }
}
