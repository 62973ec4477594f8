//! The lake of one side of a world: real Iceberg tables, cut into commits, files and row groups by chance.

use std::collections::{BTreeMap, HashMap};
use std::fs;
use std::sync::Arc;

use datafusion::arrow::array::RecordBatch;
use iceberg::arrow::schema_to_arrow_schema;
use iceberg::spec::{
    DataFile, DataFileFormat, ListType, NestedField, PrimitiveType, Schema, SnapshotReference, SnapshotRetention,
    StructType, Type,
};
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
use tempfile::TempDir;

use super::chance::Chance;
use super::values::{Cell, Kind, array};
use super::world::{Column, Table, World};
use crate::own;

/// A lake, and engines over it.
pub struct Lake {
    engines: BTreeMap<(usize, usize), Arc<Engine>>,
    dir: TempDir,
}

impl Lake {
    /// Writes a side of a world. Tables that hide nothing are written alike for each `chance`.
    pub async fn of(world: &World, side: usize, mut chance: Chance) -> Self {
        let dir = tempfile::tempdir().unwrap();
        for (path, text) in world.files() {
            let path = dir.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        let mut lake = Self { engines: BTreeMap::new(), dir };
        let engine = lake.engine(1, 8192);
        let mesh = engine.mesh();
        let catalog = engine.lake().catalog(mesh.domain(&"lab".parse().unwrap()).unwrap()).await.unwrap();
        catalog.create_namespace(&NamespaceIdent::new("lab".into()), HashMap::new()).await.unwrap();
        for table in &world.tables {
            let mut chance = if table.is_restricted() { chance.fork() } else { Chance::new(7) };
            lake.write(catalog.as_ref(), table, side, &mut chance).await;
        }
        lake
    }

    /// An engine whose queries have so many partitions, and so many rows in a batch.
    pub fn engine(&mut self, threads: usize, batch: usize) -> Arc<Engine> {
        let dir = self.dir.path();
        let engine = self.engines.entry((threads, batch)).or_insert_with(|| {
            let mesh = Mesh::load(dir).unwrap_or_else(|findings| panic!("{findings:#?}"));
            assert!(mesh.findings().is_empty(), "{:#?}", mesh.findings());
            Engine::start(mesh, Options { threads: Some(threads), batch, ..Options::default() }).unwrap()
        });
        Arc::clone(engine)
    }

    async fn write(&self, catalog: &dyn Catalog, table: &Table, side: usize, chance: &mut Chance) {
        let namespace = NamespaceIdent::new("lab".into());
        let ident = TableIdent::new(namespace.clone(), table.name.clone());
        let creation = TableCreation::builder().name(table.name.clone()).schema(schema(&table.columns)).build();
        catalog.create_table(&namespace, creation).await.unwrap();
        for (phase, rows) in table.sides[side].iter().enumerate() {
            for commit in pieces(rows, 2, chance) {
                let target = catalog.load_table(&ident).await.unwrap();
                let mut files = Vec::new();
                for rows in pieces(commit, 3, chance) {
                    let group = *chance.pick(&[2, 9, 50, 10_000]);
                    files.extend(write(&target, &table.columns, rows, group).await);
                }
                let append = Transaction::new(&target);
                let append = append.fast_append().add_data_files(files).apply(append).unwrap();
                append.commit(catalog).await.unwrap();
            }
            if phase == 0 {
                let now = catalog.load_table(&ident).await.unwrap().metadata().current_snapshot_id().unwrap();
                let june = SnapshotReference::new(now, SnapshotRetention::Tag { max_ref_age_ms: None });
                let database = self.dir.path().join("lake/catalog.db");
                own::change(&catalog.load_table(&ident).await.unwrap(), &database, |builder| {
                    builder.set_ref("june", june).unwrap()
                })
                .await;
            }
        }
    }
}

/// Up to `most` pieces of some rows, none of them empty.
fn pieces<'a>(rows: &'a [Vec<Cell>], most: usize, chance: &mut Chance) -> Vec<&'a [Vec<Cell>]> {
    let mut rest = rows;
    let mut pieces = Vec::new();
    for _ in 0..chance.below(most) {
        if rest.len() < 2 {
            break;
        }
        let (piece, after) = rest.split_at(1 + chance.below(rest.len() - 1));
        pieces.push(piece);
        rest = after;
    }
    pieces.push(rest);
    pieces
}

fn schema(columns: &[Column]) -> Schema {
    // The ids of nested fields come after those of all columns.
    let fields = columns.iter().zip(1..).map(|(column, id)| {
        let nested = 100 + 10 * id;
        Arc::new(NestedField::optional(id, &column.name, kind(column.kind, nested)))
    });
    Schema::builder().with_fields(fields.collect::<Vec<_>>()).build().unwrap()
}

fn kind(kind: Kind, nested: i32) -> Type {
    Type::Primitive(match kind {
        Kind::Bool => PrimitiveType::Boolean,
        Kind::Int => PrimitiveType::Int,
        Kind::Long => PrimitiveType::Long,
        Kind::Float => PrimitiveType::Float,
        Kind::Double => PrimitiveType::Double,
        Kind::Decimal => PrimitiveType::Decimal { precision: 15, scale: 2 },
        Kind::Text => PrimitiveType::String,
        Kind::Date => PrimitiveType::Date,
        Kind::Time => PrimitiveType::Timestamp,
        Kind::Bytes => PrimitiveType::Binary,
        Kind::Pair => {
            let field = |id, name: &str, of| Arc::new(NestedField::optional(id, name, Type::Primitive(of)));
            return Type::Struct(StructType::new(vec![
                field(nested, "a", PrimitiveType::Int),
                field(nested + 1, "b", PrimitiveType::String),
            ]));
        }
        Kind::Numbers => {
            let item = NestedField::list_element(nested, Type::Primitive(PrimitiveType::Int), false);
            return Type::List(ListType::new(item.into()));
        }
    })
}

async fn write(table: &iceberg::table::Table, columns: &[Column], rows: &[Vec<Cell>], group: usize) -> Vec<DataFile> {
    let schema = table.metadata().current_schema();
    let arrow = Arc::new(schema_to_arrow_schema(schema).unwrap());
    let arrays = columns.iter().zip(arrow.fields()).enumerate().map(|(place, (column, field))| {
        let cells: Vec<Cell> = rows.iter().map(|row| row[place].clone()).collect();
        array(column.kind, field.data_type(), &cells)
    });
    let batch = RecordBatch::try_new(Arc::clone(&arrow), arrays.collect()).unwrap();
    let properties = WriterProperties::builder().set_max_row_group_row_count(Some(group)).build();
    let parquet = ParquetWriterBuilder::new(properties, Arc::clone(schema));
    let places = DefaultLocationGenerator::new(table.metadata()).unwrap();
    let names = DefaultFileNameGenerator::new(uuid::Uuid::new_v4().to_string(), None, DataFileFormat::Parquet);
    let files = RollingFileWriterBuilder::new_with_default_file_size(parquet, table.file_io().clone(), places, names);
    let mut writer = DataFileWriterBuilder::new(files).build(None).await.unwrap();
    writer.write(batch).await.unwrap();
    writer.close().await.unwrap()
}
