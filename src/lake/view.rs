//! A view of a catalog, as its metadata says it: texts in the SQL of others, and what their names mean.
//!
//! ```text
//! GET …/views/{v}  ->  { metadata: { versions: [{ representations: [{ sql, dialect }], default-namespace }], schemas } }
//! ```
//!
//! Nothing of it is understood here, and nothing but its current version is kept.

use std::collections::BTreeMap;

use serde::Deserialize;

use super::catalog::rest::or_nothing;

/// In which property Spark keeps the names that the text of a view gives to its columns.
const MADE: &str = "spark.query-column-names";

/// The current version of a view.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct View {
    /// Its text, once for each kind of SQL that somebody wrote it in.
    pub texts: Vec<Text>,
    /// The catalog in which names lie that name none, if that is not its own.
    pub catalog: Option<String>,
    /// The namespace in which names lie that name none.
    pub namespace: Vec<String>,
    /// The columns that it has, in order.
    pub columns: Vec<String>,
    /// What its text calls them, where that is known and may be something else.
    pub made: Option<Vec<String>>,
}

/// The text of a view.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Text {
    /// Which SQL it is, in lower case: `spark`, `trino`…
    pub dialect: String,
    /// The query.
    pub sql: String,
}

#[derive(Deserialize)]
struct Loaded {
    metadata: Metadata,
}

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
struct Metadata {
    current_version_id: i64,
    versions: Vec<Version>,
    schemas: Vec<Schema>,
    #[serde(default, deserialize_with = "or_nothing")]
    properties: BTreeMap<String, String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
struct Version {
    version_id: i64,
    schema_id: i64,
    representations: Vec<Representation>,
    default_catalog: Option<String>,
    #[serde(default, deserialize_with = "or_nothing")]
    default_namespace: Vec<String>,
}

/// Kinds other than `sql` may come.
#[derive(Deserialize)]
struct Representation {
    #[serde(rename = "type")]
    kind: String,
    sql: Option<String>,
    dialect: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
struct Schema {
    schema_id: Option<i64>,
    fields: Vec<Field>,
}

#[derive(Deserialize)]
struct Field {
    name: String,
}

impl View {
    /// What stands in a catalog's answer for a view; nothing where that is none.
    pub(super) fn decode(bytes: &[u8]) -> Option<Self> {
        let Loaded { metadata } = serde_json::from_slice(bytes).ok()?;
        let Metadata { current_version_id, versions, schemas, properties } = metadata;
        let version = versions.into_iter().find(|version| version.version_id == current_version_id)?;
        let schema = schemas.into_iter().find(|schema| schema.schema_id.unwrap_or(0) == version.schema_id)?;
        let text = |Representation { kind, sql, dialect }| {
            let dialect: String = dialect?;
            (kind == "sql").then_some(Text { dialect: dialect.to_lowercase(), sql: sql? })
        };
        Some(Self {
            texts: version.representations.into_iter().filter_map(text).collect(),
            catalog: version.default_catalog.filter(|name| !name.is_empty()),
            namespace: version.default_namespace,
            columns: schema.fields.into_iter().map(|field| field.name).collect(),
            made: properties.get(MADE).map(|names| names.split(',').map(|name| name.trim().to_owned()).collect()),
        })
    }

    /// The memory that it takes.
    pub(super) fn bytes(&self) -> usize {
        let texts: usize = self.texts.iter().map(|text| text.sql.len()).sum();
        let names = self.columns.iter().chain(self.made.iter().flatten()).map(|name| name.len() + 24);
        names.fold(texts + 1024, usize::saturating_add)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_current_version_alone_is_kept_with_all_of_its_texts() {
        let version = |id: i64, schema: i64, sql: &str| {
            json!({ "version-id": id, "schema-id": schema, "timestamp-ms": 1, "summary": {}, "default-catalog": null,
                "default-namespace": ["a", "b"], "representations": [
                    { "type": "sql", "sql": sql, "dialect": "Spark" }, { "type": "substrait", "plan": "…" }] })
        };
        let metadata = json!({
            "view-uuid": "u", "format-version": 1, "location": "s3://b/v", "current-version-id": 2,
            "versions": [version(1, 0, "SELECT old"), version(2, 1, "SELECT x, y FROM t")],
            "schemas": [{ "type": "struct", "fields": [], "schema-id": 0 },
                { "type": "struct", "schema-id": 1, "fields": [
                    { "id": 1, "name": "p", "required": false, "type": "int" },
                    { "id": 2, "name": "q", "required": false, "type": "int" }] }],
            "version-log": [], "properties": { "spark.query-column-names": "x, y" },
        });
        let answer = json!({ "metadata-location": "s3://b/v/1.json", "metadata": metadata, "config": null });
        let texts = |names: [&str; 2]| names.map(str::to_owned).to_vec();
        let view = View {
            texts: vec![Text { dialect: "spark".to_owned(), sql: "SELECT x, y FROM t".to_owned() }],
            catalog: None,
            namespace: texts(["a", "b"]),
            columns: texts(["p", "q"]),
            made: Some(texts(["x", "y"])),
        };
        assert_eq!(View::decode(answer.to_string().as_bytes()), Some(view));
        assert_eq!(View::decode(br#"{ "metadata": {} }"#), None);
    }
}
