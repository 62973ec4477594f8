//! Meshes of a test's own: tables that Iceberg's writer writes, a contract for each that has all of its columns, and users
//! whose password is `guest`.

use std::collections::HashMap;
use std::fs;
use std::path::Path;
use std::sync::Arc;

use datafusion::arrow::array::{ArrayRef, RecordBatch};
use datafusion::arrow::datatypes::{DataType, Schema as ArrowSchema};
use iceberg::arrow::schema_to_arrow_schema;
use iceberg::spec::{DataFileFormat, NestedFieldRef, Schema, TableMetadataBuilder, Type};
use iceberg::table::Table;
use iceberg::transaction::{ApplyTransactionAction, Transaction};
use iceberg::writer::base_writer::data_file_writer::DataFileWriterBuilder;
use iceberg::writer::file_writer::ParquetWriterBuilder;
use iceberg::writer::file_writer::location_generator::{DefaultFileNameGenerator, DefaultLocationGenerator};
use iceberg::writer::file_writer::rolling_writer::RollingFileWriterBuilder;
use iceberg::writer::{IcebergWriter, IcebergWriterBuilder};
use iceberg::{Catalog, NamespaceIdent, TableCreation, TableIdent};
use parquet::file::properties::WriterProperties;
use polder::session::{Engine, Options};
use polder_catalog::mesh::Mesh;
use serde_json::{Value, json};

/// The namespace of all tables.
const NAMESPACE: &str = "own";

/// A domain with its tables and policies.
pub struct Domain<'a> {
    pub name: &'a str,
    pub tables: &'a [(&'a str, Schema)],
    pub policies: &'a str,
}

/// Writes the files of a mesh: its domains, and users with their groups and attributes.
pub fn write_mesh(dir: &Path, mut mesh: Value, users: &[(&str, &[&str], Value)], domains: &[Domain<'_>]) {
    let guest = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/packly/secrets/guest.argon2");
    fs::create_dir_all(dir.join("secrets")).unwrap();
    fs::copy(guest, dir.join("secrets/guest.argon2")).unwrap();
    let user = |(name, groups, attributes): &(&str, &[&str], Value)| {
        let hash = "${file:secrets/guest.argon2}";
        json!({ "name": name, "password_hash": hash, "groups": groups, "attributes": attributes })
    };
    mesh["auth"] = json!({ "users": users.iter().map(user).collect::<Vec<_>>() });
    fs::write(dir.join("mesh.yaml"), mesh.to_string()).unwrap();
    for domain in domains {
        let place = dir.join(domain.name);
        fs::create_dir_all(place.join("products")).unwrap();
        fs::create_dir_all(place.join("policies")).unwrap();
        let catalog = json!({
            "type": "sql",
            "uri": format!("sqlite:lake/{}/catalog.db", domain.name),
            "warehouse": format!("file:lake/{}", domain.name),
        });
        let owner = json!({ "team": domain.name });
        let about = json!({ "name": domain.name, "kind": "shared", "owner": owner, "catalog": catalog });
        fs::write(place.join("domain.yaml"), about.to_string()).unwrap();
        fs::write(place.join("policies/access.cedar"), domain.policies).unwrap();
        for (table, schema) in domain.tables {
            let contract = contract(domain.name, table, schema);
            fs::write(place.join(format!("products/{table}.odcs.yaml")), format!("{contract:#}")).unwrap();
        }
    }
}

/// A contract that has all columns of a table, under their names.
pub fn contract(domain: &str, table: &str, schema: &Schema) -> Value {
    let properties: Vec<Value> = schema.as_struct().fields().iter().map(declared).collect();
    json!({
        "apiVersion": "v3.1.0", "kind": "DataContract", "id": format!("{domain}-{table}"), "name": table,
        "version": "1.0.0", "status": "active",
        "schema": [{ "name": table, "physicalName": format!("{NAMESPACE}.{table}"), "properties": properties }],
    })
}

fn declared(field: &NestedFieldRef) -> Value {
    let inside = |kind: &Type| match kind {
        Type::Struct(of) => of.fields().iter().map(declared).collect(),
        _ => Vec::<Value>::new(),
    };
    let (kind, properties) = match field.field_type.as_ref() {
        Type::Primitive(of) => (of.to_string(), Vec::new()),
        of @ Type::Struct(_) => ("struct".to_owned(), inside(of)),
        Type::List(of) => ("list".to_owned(), inside(&of.element_field.field_type)),
        Type::Map(of) => ("map".to_owned(), inside(&of.value_field.field_type)),
    };
    json!({ "name": field.name, "physicalType": kind, "properties": properties })
}

/// Starts an engine over a mesh that loads without findings.
pub fn start(dir: &Path) -> Arc<Engine> {
    let mesh = Mesh::load(dir).unwrap_or_else(|findings| panic!("{findings:#?}"));
    assert!(mesh.findings().is_empty(), "{:#?}", mesh.findings());
    Engine::start(mesh, Options { threads: Some(2), ..Options::default() }).unwrap()
}

/// The Iceberg catalog of a domain.
pub async fn catalog(engine: &Engine, domain: &str) -> Arc<dyn Catalog> {
    let mesh = engine.mesh();
    engine.lake().catalog(mesh.domain(&domain.parse().unwrap()).unwrap()).await.unwrap()
}

/// Makes an empty table.
pub async fn create(catalog: &dyn Catalog, table: &str, schema: &Schema) {
    let namespace = NamespaceIdent::new(NAMESPACE.into());
    if !catalog.namespace_exists(&namespace).await.unwrap() {
        catalog.create_namespace(&namespace, HashMap::new()).await.unwrap();
    }
    let creation = TableCreation::builder().name(table.into()).schema(schema.clone()).build();
    catalog.create_table(&namespace, creation).await.unwrap();
}

pub async fn load(catalog: &dyn Catalog, table: &str) -> Table {
    catalog.load_table(&TableIdent::from_strs([NAMESPACE, table]).unwrap()).await.unwrap()
}

/// Appends a file whose columns `fill` makes, each of a type.
pub async fn append(catalog: &dyn Catalog, table: &str, fill: impl Fn(&str, &DataType) -> ArrayRef) {
    let table = load(catalog, table).await;
    let schema = table.metadata().current_schema();
    let arrow: Arc<ArrowSchema> = Arc::new(schema_to_arrow_schema(schema).unwrap());
    let columns = arrow.fields().iter().map(|field| fill(field.name(), field.data_type())).collect();
    let batch = RecordBatch::try_new(arrow, columns).unwrap();
    let parquet = ParquetWriterBuilder::new(WriterProperties::default(), Arc::clone(schema));
    let places = DefaultLocationGenerator::new(table.metadata()).unwrap();
    let names = DefaultFileNameGenerator::new(uuid::Uuid::new_v4().to_string(), None, DataFileFormat::Parquet);
    let rolling = RollingFileWriterBuilder::new_with_default_file_size(parquet, table.file_io().clone(), places, names);
    let mut writer = DataFileWriterBuilder::new(rolling).build(None).await.unwrap();
    writer.write(batch).await.unwrap();
    let files = writer.close().await.unwrap();
    let added = Transaction::new(&table);
    let added = added.fast_append().add_data_files(files).apply(added).unwrap();
    added.commit(catalog).await.unwrap();
}

/// Changes a table's metadata in a way that iceberg's transactions do not know; its catalog is a SQLite `database`.
pub async fn change(table: &Table, database: &Path, with: impl FnOnce(TableMetadataBuilder) -> TableMetadataBuilder) {
    let built = with(table.metadata().clone().into_builder(None)).build().unwrap().metadata;
    let location = format!("{}/metadata/00009-{}.metadata.json", built.location(), uuid::Uuid::new_v4());
    let json = serde_json::to_vec(&built).unwrap();
    table.file_io().new_output(&location).unwrap().write(json.into()).await.unwrap();
    let pool = sqlx::SqlitePool::connect(&format!("sqlite:{}", database.display())).await.unwrap();
    let done = sqlx::query("UPDATE iceberg_tables SET metadata_location = ? WHERE table_name = ?")
        .bind(location)
        .bind(table.identifier().name())
        .execute(&pool)
        .await
        .unwrap();
    assert_eq!(done.rows_affected(), 1);
}
