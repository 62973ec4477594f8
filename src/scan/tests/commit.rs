//! Snapshots that a test puts together file by file.

use datafusion::arrow::array::RecordBatch;
use datafusion::arrow::datatypes::Field;
use iceberg::spec::{DataFile as Written, Literal, PartitionSpecRef};
use parquet::arrow::{ArrowWriter, PARQUET_FIELD_ID_META_KEY};
use roaring::RoaringTreemap;

use super::*;
use crate::scan::deletes::encode_vector;

/// A Parquet file with these columns.
pub(in crate::scan) fn parquet(columns: &[(&str, i32, ArrayRef)], props: Option<WriterProperties>) -> Vec<u8> {
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
pub(super) fn small() -> WriterProperties {
    WriterProperties::builder()
        .set_max_row_group_row_count(Some(50))
        .set_data_page_row_count_limit(8)
        .set_write_batch_size(4)
        .build()
}

/// What a test adds to its table in one snapshot.
pub(in crate::scan) struct Files<'a> {
    shop: &'a Shop,
    /// Where what is put next belongs.
    pub(in crate::scan) partition: Struct,
    pub(in crate::scan) spec: i32,
    /// The data sequence number of what is put, where it is older than the snapshot.
    pub(super) sequence: Option<i64>,
    pub(super) added: Vec<Written>,
}

impl<'a> Files<'a> {
    pub(in crate::scan) fn of(shop: &'a Shop) -> Self {
        Self { shop, partition: Struct::empty(), spec: 0, sequence: None, added: Vec::new() }
    }

    pub(in crate::scan) fn within(mut self, spec: i32, value: i64) -> Self {
        (self.spec, self.partition) = (spec, Struct::from_iter([Some(Literal::long(value))]));
        self
    }

    pub(in crate::scan) async fn put(
        &mut self,
        bytes: Vec<u8>,
        rows: u64,
        with: impl FnOnce(&mut DataFileBuilder),
    ) -> String {
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
    pub(in crate::scan) async fn data(&mut self, a: ArrayRef, b: ArrayRef) -> String {
        let rows = a.len() as u64;
        self.put(parquet(&[("a", 1, a), ("b", 2, b)], Some(small())), rows, |_| {}).await
    }

    pub(in crate::scan) async fn positions(&mut self, deleted: &[(&str, i64)], only: Option<&str>) {
        let paths = texts(&deleted.iter().map(|(path, _)| *path).collect::<Vec<_>>());
        let positions = longs(deleted.iter().map(|(_, position)| *position));
        let bytes = parquet(&[("file_path", 2_147_483_546, paths), ("pos", 2_147_483_545, positions)], None);
        let only = only.map(str::to_owned);
        self.put(bytes, deleted.len() as u64, |file| {
            file.content(DataContentType::PositionDeletes).referenced_data_file(only);
        })
        .await;
    }

    pub(in crate::scan) async fn vector(&mut self, of: &str, deleted: impl IntoIterator<Item = u64>) {
        let positions: RoaringTreemap = deleted.into_iter().collect();
        self.blob(of, encode_vector(&positions), positions.len()).await;
    }

    pub(in crate::scan) async fn blob(&mut self, of: &str, blob: Vec<u8>, rows: u64) {
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

    pub(in crate::scan) async fn keys(&mut self, columns: &[(&str, i32, ArrayRef)]) {
        let ids = columns.iter().map(|(_, id, _)| *id).collect();
        let rows = columns[0].2.len() as u64;
        self.put(parquet(columns, None), rows, |file| {
            file.content(DataContentType::EqualityDeletes).equality_ids(Some(ids));
        })
        .await;
    }

    /// Commits what was put as a snapshot on top of the current one.
    pub(in crate::scan) async fn commit(self) {
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
            // A spec may be of columns that only older schemas have.
            let spec = spec(self.spec);
            let mut schemas: Vec<_> = metadata.schemas_iter().collect();
            schemas.sort_by_key(|schema| (schema.schema_id() == metadata.current_schema_id(), schema.schema_id()));
            let schema = schemas.into_iter().rfind(|schema| spec.partition_type(schema).is_ok()).unwrap().clone();
            let builder = ManifestWriterBuilder::new(output(name), Some(id), schema, spec.as_ref().clone());
            let mut writer = match (name, is_v3) {
                ("data", false) => builder.build_v2_data(),
                ("data", true) => builder.build_v3_data(),
                (_, false) => builder.build_v2_deletes(),
                (_, true) => builder.build_v3_deletes(),
            };
            for file in files {
                writer.add_file(file, self.sequence.unwrap_or(sequence)).unwrap();
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
