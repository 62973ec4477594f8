//! The keys that the contract standard defines, level by level.
//!
//! A misspelt `tags` would leave a column unprotected and say nothing, so a key that is near a known one breaks the
//! contract. What is near none is somebody's own and is served with a warning. The lists are those of v3.0, v3.1 and
//! v3.2 together: what one version of the standard lacks is no slip in another.

use crate::document::fields::Fields;
use crate::document::{Report, nearest, quote};

/// The contract itself.
pub(crate) const CONTRACT: &[&str] = &[
    "apiVersion",
    "authoritativeDefinitions",
    "context",
    "contractCreatedTs",
    "customProperties",
    "dataProduct",
    "description",
    "domain",
    "id",
    "kind",
    "name",
    "price",
    "roles",
    "schema",
    "servers",
    "slaDefaultElement",
    "slaProperties",
    "status",
    "support",
    "tags",
    "team",
    "tenant",
    "version",
];

/// Its `description`.
pub(crate) const DESCRIPTION: &[&str] =
    &["authoritativeDefinitions", "customProperties", "limitations", "purpose", "usage"];

/// A schema object.
pub(crate) const OBJECT: &[&str] = &[
    "authoritativeDefinitions",
    "businessName",
    "context",
    "customProperties",
    "dataGranularityDescription",
    "deprecated",
    "description",
    "id",
    "logicalType",
    "name",
    "physicalName",
    "physicalType",
    "properties",
    "quality",
    "relationships",
    "synonyms",
    "tags",
];

/// A property, the `items` of one, and the key and the value of a map.
pub(crate) const PROPERTY: &[&str] = &[
    "authoritativeDefinitions",
    "businessName",
    "classification",
    "criticalDataElement",
    "customProperties",
    "deprecated",
    "description",
    "encryptedName",
    "enum",
    "examples",
    "id",
    "items",
    "logicalType",
    "logicalTypeOptions",
    "map",
    "name",
    "partitionKeyPosition",
    "partitioned",
    "physicalName",
    "physicalType",
    "primaryKey",
    "primaryKeyPosition",
    "properties",
    "quality",
    "relationships",
    "required",
    "semanticType",
    "synonyms",
    "tags",
    "transformDescription",
    "transformLogic",
    "transformSourceObjects",
    "unique",
];

/// The `map` of a property.
pub(crate) const MAP: &[&str] = &["id", "key", "value"];

/// A channel of `support`.
pub(crate) const SUPPORT: &[&str] =
    &["channel", "customProperties", "description", "id", "invitationUrl", "scope", "tool", "url"];

/// An entry of `slaProperties`.
pub(crate) const SLA: &[&str] = &[
    "authoritativeDefinitions",
    "customProperties",
    "description",
    "driver",
    "element",
    "id",
    "property",
    "schedule",
    "scheduler",
    "unit",
    "value",
    "valueExt",
];

/// An entry of `relationships`.
pub(crate) const RELATIONSHIP: &[&str] = &["customProperties", "from", "id", "to", "type"];

/// An entry of `customProperties`.
pub(crate) const CUSTOM: &[&str] = &["description", "id", "property", "value", "vendor"];

/// Notes every key of `fields` that is not in `standard`.
pub(crate) fn check(fields: &Fields<'_>, standard: &[&'static str], report: &mut Report) {
    for key in fields.keys().filter(|key| !standard.contains(&key.text.as_str())) {
        if key.text == "tags" {
            // Indented too far or not enough, tags would protect nothing.
            report
                .error("contract/unknown-key", &key.place, "`tags` means nothing here")
                .help("tags stand on the contract, on a schema object or on a property");
            continue;
        }
        let message = format!("the key {} is not part of the contract standard", quote(&key.text));
        match nearest(&key.text, standard.iter().copied().chain(["tags"])) {
            Some(name) => {
                report.error("contract/unknown-key", &key.place, message).help(format!("did you mean `{name}`?"));
            }
            None => {
                report
                    .warning("contract/unknown-key", &key.place, message)
                    .help("own data goes into `customProperties`");
            }
        }
    }
}
