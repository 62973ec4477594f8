//! Deleted rows: which are left out, and what is refused.

use std::collections::BTreeSet;

use datafusion::arrow::array::RecordBatch;
use datafusion::arrow::datatypes::Field;
use iceberg::spec::{
    DataFile as Written, Literal, PartitionSpecRef, Transform, UnboundPartitionField, UnboundPartitionSpec,
};
use parquet::arrow::{ArrowWriter, PARQUET_FIELD_ID_META_KEY};
use roaring::RoaringTreemap;

use super::*;
use crate::scan::deletes::encode_vector;

mod keys;
mod lineage;
mod positions;
mod random;

const ALL: [(&str, i32); 2] = [("a", 1), ("b", 2)];

/// A Parquet file with these columns.
fn parquet(columns: &[(&str, i32, ArrayRef)], props: Option<WriterProperties>) -> Vec<u8> {
    let field = |(name, id, array): &(&str, i32, ArrayRef)| {
        let id = [(PARQUET_FIELD_ID_META_KEY.to_owned(), id.to_string())];
        Field::new(*name, array.data_type().clone(), array.null_count() > 0 || *name != "file_path")
            .with_metadata(id.into())
    };
    let schema = Arc::new(datafusion::arrow::datatypes::Schema::new(columns.iter().map(field).collect::<Vec<_>>()));
    let arrays = columns.iter().map(|(_, _, array)| Arc::clone(array)).collect();
    let batch = RecordBatch::try_new(Arc::clone(&schema), arrays).unwrap();
    let mut writer = ArrowWriter::try_new(Vec::new(), schema, props).unwrap();
    writer.write(&batch).unwrap();
    writer.into_inner().unwrap()
}

/// Row groups and pages of a few rows.
fn small() -> WriterProperties {
    WriterProperties::builder()
        .set_max_row_group_row_count(Some(50))
        .set_data_page_row_count_limit(8)
        .set_write_batch_size(4)
        .build()
}

/// What a test adds to its table in one snapshot.
struct Files<'a> {
    shop: &'a Shop,
    partition: Struct,
    spec: i32,
    added: Vec<Written>,
}

impl<'a> Files<'a> {
    fn of(shop: &'a Shop) -> Self {
        Self { shop, partition: Struct::empty(), spec: 0, added: Vec::new() }
    }

    fn within(mut self, spec: i32, value: i64) -> Self {
        (self.spec, self.partition) = (spec, Struct::from_iter([Some(Literal::long(value))]));
        self
    }

    async fn put(&mut self, bytes: Vec<u8>, rows: u64, with: impl FnOnce(&mut DataFileBuilder)) -> String {
        let table = self.shop.load("t").await;
        let location = format!("{}/data/{}.parquet", table.metadata().location(), uuid::Uuid::new_v4());
        let size = bytes.len() as u64;
        table.file_io().new_output(&location).unwrap().write(bytes.into()).await.unwrap();
        let mut file = DataFileBuilder::default();
        file.content(DataContentType::Data)
            .file_path(location.clone())
            .file_format(DataFileFormat::Parquet)
            .partition(self.partition.clone())
            .partition_spec_id(self.spec)
            .record_count(rows)
            .file_size_in_bytes(size);
        with(&mut file);
        self.added.push(file.build().unwrap());
        location
    }

    /// A data file with the columns `a` and `b`; gives its location.
    async fn data(&mut self, a: ArrayRef, b: ArrayRef) -> String {
        let rows = a.len() as u64;
        self.put(parquet(&[("a", 1, a), ("b", 2, b)], Some(small())), rows, |_| {}).await
    }

    async fn positions(&mut self, deleted: &[(&str, i64)], only: Option<&str>) {
        let paths = texts(&deleted.iter().map(|(path, _)| *path).collect::<Vec<_>>());
        let positions = longs(deleted.iter().map(|(_, position)| *position));
        let bytes = parquet(&[("file_path", 2_147_483_546, paths), ("pos", 2_147_483_545, positions)], None);
        let only = only.map(str::to_owned);
        self.put(bytes, deleted.len() as u64, |file| {
            file.content(DataContentType::PositionDeletes).referenced_data_file(only);
        })
        .await;
    }

    async fn vector(&mut self, of: &str, deleted: impl IntoIterator<Item = u64>) {
        let positions: RoaringTreemap = deleted.into_iter().collect();
        self.blob(of, encode_vector(&positions), positions.len()).await;
    }

    async fn blob(&mut self, of: &str, blob: Vec<u8>, rows: u64) {
        let length = blob.len() as i64;
        let bytes = [b"PFA1", blob.as_slice(), b"PFA1"].concat();
        self.put(bytes, rows, |file| {
            file.content(DataContentType::PositionDeletes)
                .file_format(DataFileFormat::Puffin)
                .referenced_data_file(Some(of.to_owned()))
                .content_offset(Some(4))
                .content_size_in_bytes(Some(length));
        })
        .await;
    }

    async fn keys(&mut self, columns: &[(&str, i32, ArrayRef)]) {
        let ids = columns.iter().map(|(_, id, _)| *id).collect();
        let rows = columns[0].2.len() as u64;
        self.put(parquet(columns, None), rows, |file| {
            file.content(DataContentType::EqualityDeletes).equality_ids(Some(ids));
        })
        .await;
    }

    /// Commits what was put as a snapshot on top of the current one.
    async fn commit(self) {
        let table = self.shop.load("t").await;
        let metadata = table.metadata();
        let current = metadata.current_snapshot().cloned();
        let (id, sequence) = (1000 + metadata.last_sequence_number(), metadata.last_sequence_number() + 1);
        let place = |name: &str| format!("{}/metadata/{name}-{id}.avro", metadata.location());
        let output = |name: &str| table.file_io().new_output(place(name)).unwrap();
        let is_v3 = metadata.format_version() == iceberg::spec::FormatVersion::V3;
        let spec = |id: i32| -> PartitionSpecRef { Arc::clone(metadata.partition_spec_by_id(id).unwrap()) };
        let mut manifests = Vec::new();
        let (data, deletes): (Vec<_>, Vec<_>) =
            self.added.into_iter().partition(|file| file.content_type() == DataContentType::Data);
        let rows: u64 = data.iter().map(Written::record_count).sum();
        for (name, files) in [("data", data), ("deletes", deletes)] {
            if files.is_empty() {
                continue;
            }
            let schema = metadata.current_schema().clone();
            let builder = ManifestWriterBuilder::new(output(name), Some(id), schema, spec(self.spec).as_ref().clone());
            let mut writer = match (name, is_v3) {
                ("data", false) => builder.build_v2_data(),
                ("data", true) => builder.build_v3_data(),
                (_, false) => builder.build_v2_deletes(),
                (_, true) => builder.build_v3_deletes(),
            };
            for file in files {
                writer.add_file(file, sequence).unwrap();
            }
            manifests.push(writer.write_manifest_file().await.unwrap());
        }
        let mut old = Vec::new();
        if let Some(current) = &current {
            old = table.manifest_list_reader(current).load().await.unwrap().entries().to_vec();
        }
        let parent = current.as_ref().map(|current| current.snapshot_id());
        let file = output("list").writer().await.unwrap();
        let mut list = match is_v3 {
            false => ManifestListWriter::v2(file, id, parent, sequence),
            true => ManifestListWriter::v3(file, id, parent, sequence, Some(metadata.next_row_id())),
        };
        list.add_manifests(old.into_iter().chain(manifests)).unwrap();
        list.close().await.unwrap();
        let snapshot = Snapshot::builder()
            .with_snapshot_id(id)
            .with_parent_snapshot_id(parent)
            .with_sequence_number(sequence)
            .with_timestamp_ms(metadata.last_updated_ms() + 1)
            .with_manifest_list(place("list"))
            .with_summary(Summary { operation: Operation::Overwrite, additional_properties: Default::default() })
            .with_schema_id(metadata.current_schema_id());
        let snapshot = match is_v3 {
            false => snapshot.build(),
            true => snapshot.with_row_range(metadata.next_row_id(), rows).build(),
        };
        self.shop.change("t", |builder| builder.set_branch_snapshot(snapshot, "main").unwrap()).await;
    }
}

async fn table(version: u8) -> Shop {
    let shop = shop().await;
    shop.create("t", schema(vec![optional(1, "a", Long), optional(2, "b", Text)])).await;
    if version == 3 {
        shop.change("t", |builder| builder.upgrade_format_version(iceberg::spec::FormatVersion::V3).unwrap()).await;
    }
    shop
}

/// Rows `a` from `from` to below `to`, with `b` telling `a` modulo 7.
async fn data(files: &mut Files<'_>, from: i64, to: i64) -> String {
    let b: Vec<String> = (from..to).map(|a| format!("b{}", a % 7)).collect();
    let b: Vec<&str> = b.iter().map(String::as_str).collect();
    files.data(longs(from..to), texts(&b)).await
}

async fn numbers(shop: &Shop, sql: &str) -> Vec<i64> {
    let got = rows(shop, &ALL, sql).await.unwrap();
    got.iter().map(|row| row.parse().unwrap()).collect()
}

fn settings(pushdown: bool) -> SessionConfig {
    let mut config = SessionConfig::new().with_target_partitions(2).with_batch_size(16);
    config.options_mut().execution.parquet.pushdown_filters = pushdown;
    config
}

fn context_with(shop: &Shop, config: SessionConfig) -> SessionContext {
    let runtime = RuntimeEnvBuilder::new().with_object_store_registry(shop.lake.stores()).build_arc().unwrap();
    SessionContext::new_with_config_rt(config, runtime)
}

/// Gives the table a partition by the plain value of `a`, and its id.
async fn partitioned(shop: &Shop) -> i32 {
    let field = UnboundPartitionField::builder().source_id(1).name("p".to_owned()).transform(Transform::Identity);
    let spec = UnboundPartitionSpec::builder().add_partition_fields([field.build()]).unwrap().build();
    shop.change("t", |builder| builder.add_default_partition_spec(spec).unwrap()).await;
    shop.load("t").await.metadata().default_partition_spec_id()
}
