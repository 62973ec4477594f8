//! The entities that policies speak of, and the schema of their types.

use cedar_policy::{EntityId, EntityTypeName, EntityUid, Schema};
use serde_json::{Value, json};

use crate::mesh::declared::{AttributeType, Declared};

/// The types of entities.
pub(crate) const TYPES: [&str; 6] = ["Domain", "Product", "Column", "Tag", "Group", "User"];

/// The actions, and the groups that they lie in.
pub(crate) const ACTIONS: [&str; 5] = ["discover", "read", "read_masked", "read_rows", "see"];

/// The parsed names of the types, so that making a uid cannot fail.
#[derive(Debug, Clone)]
pub(crate) struct Types {
    pub product: EntityTypeName,
    pub column: EntityTypeName,
    pub tag: EntityTypeName,
    pub group: EntityTypeName,
    pub user: EntityTypeName,
    pub action: EntityTypeName,
}

impl Types {
    /// `None` never happens: the names are valid.
    pub fn new() -> Option<Self> {
        let name = |text: &str| text.parse().ok();
        Some(Self {
            product: name("Product")?,
            column: name("Column")?,
            tag: name("Tag")?,
            group: name("Group")?,
            user: name("User")?,
            action: name("Action")?,
        })
    }
}

/// The uid of an entity.
pub(crate) fn uid(kind: &EntityTypeName, id: &str) -> EntityUid {
    EntityUid::from_type_name_and_id(kind.clone(), EntityId::new(id))
}

/// The schema that every policy of the mesh must be valid against.
pub(crate) fn schema(declared: &Declared) -> Option<Schema> {
    let attributes: serde_json::Map<String, Value> = declared
        .attributes
        .iter()
        .map(|(name, kind)| {
            let mut kind = match kind {
                AttributeType::String => json!({ "type": "String" }),
                AttributeType::Long => json!({ "type": "Long" }),
                AttributeType::Bool => json!({ "type": "Boolean" }),
                AttributeType::Strings => json!({ "type": "Set", "element": { "type": "String" } }),
            };
            if let Some(kind) = kind.as_object_mut() {
                kind.insert("required".into(), false.into());
            }
            (name.clone(), kind)
        })
        .collect();
    let context = json!({ "type": "Record", "attributes": { "purpose": { "type": "String", "required": false } } });
    let on = |resource: &str| json!({ "principalTypes": ["User"], "resourceTypes": [resource], "context": context });
    let mut actions = serde_json::Map::new();
    for (name, resource, group) in [
        ("discover", "Product", None),
        ("read_rows", "Product", None),
        ("read", "Column", Some("see")),
        ("read_masked", "Column", Some("see")),
    ] {
        let groups = group.map(|group| json!([{ "id": group }])).unwrap_or_else(|| json!([]));
        actions.insert(name.into(), json!({ "appliesTo": on(resource), "memberOf": groups }));
    }
    actions.insert("see".into(), json!({}));
    Schema::from_json_value(json!({ "": {
        "entityTypes": {
            "Domain": {},
            "Product": { "memberOfTypes": ["Product", "Domain", "Tag"] },
            "Column": { "memberOfTypes": ["Column", "Product", "Tag"] },
            "Tag": { "memberOfTypes": ["Tag"] },
            "Group": {},
            "User": { "memberOfTypes": ["Group"], "shape": { "type": "Record", "attributes": attributes } },
        },
        "actions": actions,
    } }))
    .ok()
}
