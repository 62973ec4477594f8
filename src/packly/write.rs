//! The demo's tables, written by Iceberg's own writers into a domain's catalog; nothing here knows where files are.

use std::collections::HashMap;
use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch, make_array};
use arrow::datatypes::SchemaRef;
use arrow::error::ArrowError;
use futures::{StreamExt, TryStreamExt, stream};
use iceberg::arrow::schema_to_arrow_schema;
use iceberg::spec::{DataFile, DataFileFormat, Literal, PartitionKey, Struct, Transform, UnboundPartitionSpec};
use iceberg::table::Table as IcebergTable;
use iceberg::transaction::{ApplyTransactionAction, Transaction};
use iceberg::writer::base_writer::data_file_writer::DataFileWriterBuilder;
use iceberg::writer::file_writer::ParquetWriterBuilder;
use iceberg::writer::file_writer::location_generator::{DefaultFileNameGenerator, DefaultLocationGenerator};
use iceberg::writer::file_writer::rolling_writer::RollingFileWriterBuilder;
use iceberg::writer::{IcebergWriter, IcebergWriterBuilder};
use iceberg::{Catalog, NamespaceIdent, TableCreation, TableIdent};
use parquet::basic::Compression;
use parquet::file::properties::WriterProperties;

use super::table::{Block, Cut, Table};
use super::world::World;
use super::{fulfillment, marketing, payments, storefront, wholesale};
use crate::error::{Class, Error};

/// The domains of Packly.
pub const DOMAINS: [&str; 5] = ["storefront", "wholesale", "fulfillment", "marketing", "payments"];

/// Blocks of one domain that are made at the same time.
const AT_ONCE: usize = 2;

/// Some rows that are written, or were there already.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Progress {
    /// The domain.
    pub domain: String,
    /// The table in the domain's catalog: `namespace.table`.
    pub table: String,
    /// How many rows, of the number that [`rows`] says, are done by this step.
    pub rows: u64,
}

pub(super) fn tables(domain: &str) -> &'static [Table] {
    match domain {
        "storefront" => &storefront::TABLES,
        "wholesale" => &wholesale::TABLES,
        "fulfillment" => &fulfillment::TABLES,
        "marketing" => &marketing::TABLES,
        "payments" => &payments::TABLES,
        _ => &[],
    }
}

/// How many rows all domains have together at `scale`; at 1 a million of them are shop events.
pub fn rows(scale: f64) -> u64 {
    let world = World::new(scale);
    DOMAINS.iter().flat_map(|domain| tables(domain)).map(|table| (table.rows)(world)).sum()
}

/// Writes the tables of `domain` into its `catalog`: the same rows every time. A table that already has data stays as
/// it is, whatever its scale.
///
/// # Errors
/// `BadRequest` for a domain that Packly does not have, `Storage` when the catalog or the store fails.
pub async fn write_domain(
    domain: &str,
    catalog: Arc<dyn Catalog>,
    scale: f64,
    progress: &(dyn Fn(Progress) + Send + Sync),
) -> Result<(), Error> {
    let tables = tables(domain);
    if tables.is_empty() {
        return Err(Error::new(Class::BadRequest, format!("the demo mesh has no domain `{domain}`")));
    }
    let world = World::new(scale);
    for table in tables {
        let name = format!("{}.{}", table.namespace, table.name);
        let done = |rows| progress(Progress { domain: domain.into(), table: name.clone(), rows });
        write_table(*table, catalog.as_ref(), world, &done).await.map_err(|error| {
            Error::new(Class::Storage, format!("cannot write table `{name}` of domain `{domain}`: {error}"))
        })?;
    }
    Ok(())
}

async fn write_table(
    table: Table,
    catalog: &dyn Catalog,
    world: World,
    done: &(dyn Fn(u64) + Send + Sync),
) -> Result<(), iceberg::Error> {
    let target = open_or_create(table, catalog).await?;
    if target.metadata().current_snapshot().is_some() {
        done((table.rows)(world));
        return Ok(());
    }
    let target = Arc::new(target);
    let files: Vec<Vec<DataFile>> = stream::iter(table.blocks(world).into_iter().zip(0..))
        .map(|(block, number)| {
            let target = Arc::clone(&target);
            async move {
                let rows = block.rows.end - block.rows.start;
                let written = tokio::spawn(write_block(table, target, world, block, number));
                let files = written.await.map_err(|error| unexpected("a writer ended early", error))??;
                done(rows);
                Ok::<_, iceberg::Error>(files)
            }
        })
        .buffered(AT_ONCE)
        .try_collect()
        .await?;
    let append = Transaction::new(&target);
    let append = append.fast_append().add_data_files(files.into_iter().flatten()).apply(append)?;
    append.commit(catalog).await?;
    Ok(())
}

async fn open_or_create(table: Table, catalog: &dyn Catalog) -> Result<IcebergTable, iceberg::Error> {
    let namespace = NamespaceIdent::new(table.namespace.into());
    let ident = TableIdent::new(namespace.clone(), table.name.into());
    if !catalog.namespace_exists(&namespace).await? {
        catalog.create_namespace(&namespace, HashMap::new()).await?;
    }
    if catalog.table_exists(&ident).await? {
        return catalog.load_table(&ident).await;
    }
    let schema = table.schema()?;
    let spec = match table.cut {
        Cut::Even(_) => None,
        Cut::Monthly(column) => {
            let source = schema.field_by_name(column).map(|field| field.id).unwrap_or_default();
            let name = format!("{column}_month");
            Some(UnboundPartitionSpec::builder().add_partition_field(source, name, Transform::Month)?.build())
        }
    };
    let creation = TableCreation::builder().name(table.name.into()).schema(schema).partition_spec_opt(spec).build();
    catalog.create_table(&namespace, creation).await
}

async fn write_block(
    table: Table,
    target: Arc<IcebergTable>,
    world: World,
    block: Block,
    number: u32,
) -> Result<Vec<DataFile>, iceberg::Error> {
    let metadata = target.metadata();
    let schema = Arc::clone(metadata.current_schema());
    let arrow_schema = Arc::new(schema_to_arrow_schema(&schema)?);
    let rows = block.rows.clone();
    let batch = tokio::task::spawn_blocking(move || batch(table, world, &rows, arrow_schema))
        .await
        .map_err(|error| unexpected("a generator ended early", error))?
        .map_err(|error| unexpected("generated columns do not fit their schema", error))?;

    let properties = WriterProperties::builder().set_compression(Compression::SNAPPY).build();
    let names = DefaultFileNameGenerator::new(format!("{number:05}"), None, DataFileFormat::Parquet);
    let files = RollingFileWriterBuilder::new_with_default_file_size(
        ParquetWriterBuilder::new(properties, Arc::clone(&schema)),
        target.file_io().clone(),
        DefaultLocationGenerator::new(metadata)?,
        names,
    );
    let partition = block.month.map(|month| {
        let spec = metadata.default_partition_spec().as_ref().clone();
        PartitionKey::new(spec, schema, Struct::from_iter([Some(Literal::int(month))]))
    });
    let mut writer = DataFileWriterBuilder::new(files).build(partition).await?;
    writer.write(batch).await?;
    writer.close().await
}

/// The rows of a block under `schema`, which differs from what generators know in the field ids of nested fields.
pub(super) fn batch(
    table: Table,
    world: World,
    rows: &std::ops::Range<u64>,
    schema: SchemaRef,
) -> Result<RecordBatch, ArrowError> {
    let columns = (table.columns)(world, rows)?
        .into_iter()
        .zip(schema.fields())
        .map(|(column, field)| {
            if column.data_type() == field.data_type() || !field.data_type().is_nested() {
                return Ok(column);
            }
            Ok(make_array(column.to_data().into_builder().data_type(field.data_type().clone()).build()?))
        })
        .collect::<Result<Vec<ArrayRef>, ArrowError>>()?;
    RecordBatch::try_new(schema, columns)
}

fn unexpected(what: &str, source: impl std::error::Error + Send + Sync + 'static) -> iceberg::Error {
    iceberg::Error::new(iceberg::ErrorKind::Unexpected, what).with_source(source)
}
