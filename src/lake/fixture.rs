//! Real tables for tests: written by iceberg's writer through a lake's own stack.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use datafusion::arrow::array::{ArrayRef, RecordBatch};
use iceberg::arrow::schema_to_arrow_schema;
use iceberg::spec::{DataFile, DataFileFormat, NestedField, Schema, TableMetadata, TableMetadataBuilder, Type};
use iceberg::table::Table;
use iceberg::transaction::{ApplyTransactionAction, Transaction};
use iceberg::writer::base_writer::data_file_writer::DataFileWriterBuilder;
use iceberg::writer::file_writer::ParquetWriterBuilder;
use iceberg::writer::file_writer::location_generator::{DefaultFileNameGenerator, DefaultLocationGenerator};
use iceberg::writer::file_writer::rolling_writer::RollingFileWriterBuilder;
use iceberg::writer::{IcebergWriter, IcebergWriterBuilder};
use iceberg::{Catalog, NamespaceIdent, TableCreation, TableIdent};
use parquet::file::properties::WriterProperties;
use polder_catalog::mesh::{Asking, CatalogConfig, Domain, Owner};
use polder_catalog::secret::Secret;
use tempfile::TempDir;

use super::{Lake, OpenTable};

/// A domain with a lake in a temporary directory.
pub(crate) struct Shop {
    pub(crate) dir: TempDir,
    pub(crate) lake: Lake,
    pub(crate) domain: Domain,
    pub(crate) catalog: Arc<dyn Catalog>,
}

pub(crate) fn sql_domain(name: &str, db: &Path, warehouse: &str, storage: &[(&str, &str)]) -> Domain {
    let uri = Secret::new(format!("sqlite:{}", db.display()));
    domain(name, CatalogConfig::Sql { name: name.into(), uri, warehouse: warehouse.into() }, storage)
}

pub(crate) fn domain(name: &str, catalog: CatalogConfig, storage: &[(&str, &str)]) -> Domain {
    Domain {
        name: name.parse().unwrap(),
        description: None,
        owner: Owner { team: "t".into(), email: None, chat: None },
        catalog,
        catalog_place: polder_catalog::document::Place { file: "shop/domain.yaml".into(), line: 1, column: 1 },
        asking: Asking::default(),
        storage: storage.iter().map(|(spelling, value)| (*spelling, Secret::new(*value))).collect(),
        products: BTreeMap::new(),
    }
}

pub(crate) fn optional(id: i32, name: &str, of: iceberg::spec::PrimitiveType) -> Arc<NestedField> {
    NestedField::optional(id, name, Type::Primitive(of)).into()
}

pub(crate) fn schema(fields: Vec<Arc<NestedField>>) -> Schema {
    Schema::builder().with_fields(fields).build().unwrap()
}

/// A shop whose lake is a local directory.
pub(crate) async fn shop() -> Shop {
    let dir = tempfile::tempdir().unwrap();
    let warehouse = format!("file://{}/lake", dir.path().display());
    let domain = sql_domain("shop", &dir.path().join("cat/catalog.db"), &warehouse, &[]);
    shop_in(dir, domain).await
}

pub(crate) async fn shop_in(dir: TempDir, domain: Domain) -> Shop {
    shop_of(dir, domain, Lake::default()).await
}

pub(crate) async fn shop_of(dir: TempDir, domain: Domain, lake: Lake) -> Shop {
    let catalog = lake.catalog(&domain).await.unwrap();
    catalog.create_namespace(&NamespaceIdent::new("ns".into()), Default::default()).await.unwrap();
    Shop { dir, lake, domain, catalog }
}

impl Lake {
    /// Lets the catalog of a domain restrict how one of its tables is read.
    pub(crate) fn restrict(&self, domain: &str, table: &str, restrictions: serde_json::Value) {
        self.demands.put(domain, table, restrictions);
    }
}

impl Shop {
    pub(crate) async fn create(&self, table: &str, schema: Schema) {
        let creation = TableCreation::builder().name(table.into()).schema(schema).build();
        self.catalog.create_table(&NamespaceIdent::new("ns".into()), creation).await.unwrap();
    }

    pub(crate) async fn load(&self, table: &str) -> Table {
        self.catalog.load_table(&TableIdent::from_strs(["ns", table]).unwrap()).await.unwrap()
    }

    pub(crate) async fn open(&self, table: &str) -> OpenTable {
        self.lake.open(&self.domain, &format!("ns.{table}")).await.unwrap()
    }

    /// Appends one file with these columns, in the order of the table's current schema.
    pub(crate) async fn append(&self, table: &str, columns: Vec<ArrayRef>) {
        let table = self.load(table).await;
        let files = write(&table, columns, WriterProperties::default()).await;
        let tx = Transaction::new(&table);
        let tx = tx.fast_append().add_data_files(files).apply(tx).unwrap();
        tx.commit(self.catalog.as_ref()).await.unwrap();
    }

    /// Gives the table another schema, as an engine that can rename and retype columns would.
    pub(crate) async fn evolve(&self, table: &str, schema: Schema) {
        self.change(table, |builder| builder.add_current_schema(schema).unwrap()).await;
    }

    pub(crate) async fn change(&self, name: &str, with: impl FnOnce(TableMetadataBuilder) -> TableMetadataBuilder) {
        let table = self.load(name).await;
        let metadata: TableMetadata = table.metadata().clone();
        let built = with(metadata.into_builder(None)).build().unwrap().metadata;
        let location = format!("{}/metadata/00009-{}.metadata.json", built.location(), uuid::Uuid::new_v4());
        let json = serde_json::to_vec(&built).unwrap();
        table.file_io().new_output(&location).unwrap().write(json.into()).await.unwrap();
        let CatalogConfig::Sql { uri, .. } = &self.domain.catalog else { unreachable!() };
        let pool = sqlx::SqlitePool::connect(uri.expose()).await.unwrap();
        let done = sqlx::query("UPDATE iceberg_tables SET metadata_location = ? WHERE table_name = ?")
            .bind(location)
            .bind(name)
            .execute(&pool)
            .await
            .unwrap();
        assert_eq!(done.rows_affected(), 1);
    }
}

pub(crate) async fn write(table: &Table, columns: Vec<ArrayRef>, props: WriterProperties) -> Vec<DataFile> {
    let schema = table.metadata().current_schema();
    let arrow = Arc::new(schema_to_arrow_schema(schema).unwrap());
    let batch = RecordBatch::try_new(arrow, columns).unwrap();
    let parquet = ParquetWriterBuilder::new(props, schema.clone());
    let places = DefaultLocationGenerator::new(table.metadata()).unwrap();
    let names = DefaultFileNameGenerator::new(uuid::Uuid::new_v4().to_string(), None, DataFileFormat::Parquet);
    let rolling = RollingFileWriterBuilder::new_with_default_file_size(parquet, table.file_io().clone(), places, names);
    let mut writer = DataFileWriterBuilder::new(rolling).build(None).await.unwrap();
    writer.write(batch).await.unwrap();
    writer.close().await.unwrap()
}
