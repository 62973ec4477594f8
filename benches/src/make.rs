//! Writes what PyIceberg cannot: variants of lineitem with deletes, and a table of many files that is only planned.
//!
//! ```text
//! lineitem's data files + delete files in deletes/ -> metadata/<variant>.metadata.json    (no data is copied)
//! ```
//!
//! A variant is another metadata file in the table's own directory, so every variant reads the very same data files.

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use datafusion::arrow::array::{ArrayRef, Int64Array, RecordBatch, StringArray};
use datafusion::arrow::datatypes::{DataType, Field, Schema as ArrowSchema, SchemaRef};
use iceberg::io::FileIO;
use iceberg::spec::{
    DataContentType, DataFile, DataFileBuilder, DataFileFormat, Datum, FormatVersion, MAIN_BRANCH, ManifestFile,
    ManifestList, ManifestListWriter, ManifestWriterBuilder, NestedField, Operation, PartitionSpec, PrimitiveType,
    Schema, Snapshot, SortOrder, Struct, Summary, TableMetadata, TableMetadataBuilder, Type, UnboundPartitionSpec,
};
use parquet::arrow::{ArrowWriter, PARQUET_FIELD_ID_META_KEY};
use roaring::RoaringTreemap;

use crate::Result;
use crate::arms::{Arm, Ready};
use crate::tables::Setting;

/// The variants of lineitem.
pub(crate) const VARIANTS: [&str; 5] = ["positions_1", "positions_20", "vectors_1", "vectors_20", "equality_1m"];

/// Reserved field ids of the columns of a positional delete file.
const PATH_ID: i32 = i32::MAX - 101;
const POSITION_ID: i32 = i32::MAX - 102;

/// How many keys the equality deletes name.
const KEYS: usize = 1_000_000;

/// Everything that is not there yet.
pub(crate) async fn all(setting: &Setting, files: usize) -> Result<()> {
    let list = setting.data.join("mesh/variants.json");
    let mut made: BTreeMap<String, String> = match std::fs::read(&list) {
        Ok(text) => serde_json::from_slice(&text)?,
        Err(_) => BTreeMap::new(),
    };
    let base = setting.pinned("pinned")?.remove("tpch.lineitem").ok_or("lineitem is not pinned")?;
    for variant in VARIANTS {
        let name = format!("tpch.{variant}");
        if made.contains_key(&name) {
            continue;
        }
        eprintln!("writing {variant}");
        let table = Table::open(&base, variant).await?;
        let place = match variant.split_once('_') {
            Some(("positions", percent)) => positions(table, percent.parse()?).await?,
            Some(("vectors", percent)) => vectors(table, percent.parse()?).await?,
            _ => equality(table, setting).await?,
        };
        made.insert(name, place);
        std::fs::write(&list, serde_json::to_vec_pretty(&made)?)?;
    }
    let name = format!("tpch.many_{files}");
    if let Entry::Vacant(place) = made.entry(name) {
        eprintln!("writing a table of {files} files");
        place.insert(many(setting, files).await?);
        std::fs::write(&list, serde_json::to_vec_pretty(&made)?)?;
    }
    Ok(())
}

/// A table that gets one more snapshot, in a metadata file of its own.
struct Table {
    io: FileIO,
    metadata: TableMetadata,
    variant: String,
    snapshot: i64,
    sequence: i64,
}

impl Table {
    async fn open(metadata: &str, variant: &str) -> Result<Self> {
        let io = FileIO::new_with_fs();
        let metadata = TableMetadata::read_from(&io, metadata).await?;
        Ok(Self::of(io, metadata, variant))
    }

    fn of(io: FileIO, metadata: TableMetadata, variant: &str) -> Self {
        let snapshot = 1_000_000 + i64::try_from(variant.len()).unwrap_or_default();
        let sequence = metadata.last_sequence_number() + 1;
        Self { io, metadata, variant: variant.to_owned(), snapshot, sequence }
    }

    fn place(&self, directory: &str, name: &str) -> String {
        format!("{}/{directory}/{}-{name}", self.metadata.location(), self.variant)
    }

    async fn put(&self, place: &str, bytes: Vec<u8>) -> Result<u64> {
        let size = u64::try_from(bytes.len())?;
        self.io.new_output(place)?.write(bytes.into()).await?;
        Ok(size)
    }

    async fn current(&self) -> Result<Vec<ManifestFile>> {
        let Some(snapshot) = self.metadata.current_snapshot() else { return Ok(Vec::new()) };
        let bytes = self.io.new_input(snapshot.manifest_list())?.read().await?;
        // The list is as old as its snapshot, and so is its layout: what wrote these tables writes version 2.
        Ok(ManifestList::parse_with_version(&bytes, FormatVersion::V2)?.entries().to_vec())
    }

    /// Its data files with their rows.
    async fn data(&self) -> Result<Vec<DataFile>> {
        let mut files = Vec::new();
        for manifest in self.current().await? {
            for entry in manifest.load_manifest(&self.io).await?.entries() {
                files.push(entry.data_file().clone());
            }
        }
        Ok(files)
    }

    async fn manifest(&self, name: &str, files: Vec<DataFile>, deletes: bool) -> Result<ManifestFile> {
        let output = self.io.new_output(self.place("metadata", &format!("{name}.avro")))?;
        let schema = Arc::clone(self.metadata.current_schema());
        let spec: PartitionSpec = self.metadata.default_partition_spec().as_ref().clone();
        let builder = ManifestWriterBuilder::new(output, Some(self.snapshot), schema, spec);
        let mut writer = match (self.metadata.format_version(), deletes) {
            (FormatVersion::V3, true) => builder.build_v3_deletes(),
            (_, true) => builder.build_v2_deletes(),
            (_, false) => builder.build_v2_data(),
        };
        for file in files {
            writer.add_file(file, self.sequence)?;
        }
        Ok(writer.write_manifest_file().await?)
    }

    /// Writes the list, the snapshot and the metadata, and says where the metadata is.
    async fn commit(self, manifests: Vec<ManifestFile>) -> Result<String> {
        let list = self.place("metadata", "list.avro");
        let parent = self.metadata.current_snapshot().map(|snapshot| snapshot.snapshot_id());
        let output = self.io.new_output(&list)?.writer().await?;
        let third = self.metadata.format_version() == FormatVersion::V3;
        let mut writer = if third {
            let first = Some(self.metadata.next_row_id());
            ManifestListWriter::v3(output, self.snapshot, parent, self.sequence, first)
        } else {
            ManifestListWriter::v2(output, self.snapshot, parent, self.sequence)
        };
        writer.add_manifests(self.current().await?.into_iter().chain(manifests))?;
        let rows = writer.next_row_id();
        writer.close().await?;
        let time = self.metadata.last_updated_ms() + 1;
        let snapshot = Snapshot::builder()
            .with_snapshot_id(self.snapshot)
            .with_parent_snapshot_id(parent)
            .with_sequence_number(self.sequence)
            .with_timestamp_ms(time)
            .with_manifest_list(list)
            .with_summary(Summary { operation: Operation::Delete, additional_properties: HashMap::new() })
            .with_schema_id(self.metadata.current_schema_id());
        let first = self.metadata.next_row_id();
        let snapshot = match rows {
            Some(next) => snapshot.with_row_range(first, next - first).build(),
            None => snapshot.build(),
        };
        let place = self.place("metadata", "00001.metadata.json");
        let built = self.metadata.clone().into_builder(None).set_branch_snapshot(snapshot, MAIN_BRANCH)?.build()?;
        self.put(&place, serde_json::to_vec(&built.metadata)?).await?;
        Ok(place)
    }
}

/// A table of so many data files with so many rows each, taken from the first rows of another table of TPC-H. Says where
/// its metadata is.
pub(crate) async fn small_files(
    setting: &Setting,
    from: &str,
    name: &str,
    files: usize,
    rows: usize,
) -> Result<String> {
    let base = setting.pinned("pinned")?.remove(&format!("tpch.{from}")).ok_or("the table is not pinned")?;
    let like = Table::open(&base, name).await?.metadata;
    let location = format!("file://{}/lake/tpch/{name}", std::fs::canonicalize(&setting.data)?.display());
    let schema = like.current_schema().as_ref().clone();
    let ids: HashMap<String, i32> =
        schema.as_struct().fields().iter().map(|field| (field.name.clone(), field.id)).collect();
    let spec = UnboundPartitionSpec::default();
    let order = SortOrder::unsorted_order();
    let built = TableMetadataBuilder::new(schema, spec, order, location, FormatVersion::V2, HashMap::new())?.build()?;
    let table = Table::of(FileIO::new_with_fs(), built.metadata, name);
    let source = Ready::start(Arm::PlainText, setting).await?;
    let batches = source.ask(&format!("SELECT * FROM tpch.{from} LIMIT {}", files * rows)).await?;
    let first = batches.first().ok_or("the table is empty")?;
    let columns = first.schema();
    let fields = columns.fields().iter().map(|field| {
        let id = ids.get(field.name()).copied().unwrap_or_default();
        (field.name().clone(), id, field.data_type().clone())
    });
    let fields: Vec<_> = fields.collect();
    let named: Vec<(&str, i32, DataType)> =
        fields.iter().map(|(name, id, of)| (name.as_str(), *id, of.clone())).collect();
    let all = datafusion::arrow::compute::concat_batches(&first.schema(), &batches)?;
    let mut entries = Vec::new();
    for number in 0..files {
        let part = all.slice(number * rows, rows);
        let place = table.place("data", &format!("{number:05}.parquet"));
        let size = table.put(&place, parquet(self::schema(&named), part.columns().to_vec())?).await?;
        entries.push(
            DataFileBuilder::default()
                .content(DataContentType::Data)
                .file_path(place)
                .file_format(DataFileFormat::Parquet)
                .partition(Struct::empty())
                .partition_spec_id(table.metadata.default_partition_spec_id())
                .record_count(u64::try_from(rows)?)
                .file_size_in_bytes(size)
                .build()?,
        );
    }
    let manifest = table.manifest("files", entries, false).await?;
    table.commit(vec![manifest]).await
}

/// Whether a row is among so many of a hundred: scattered evenly, the same in every run.
fn deleted(position: u64, percent: u64) -> bool {
    (position.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 32) % 100 < percent
}

/// One positional delete file for each data file, as Spark writes them by default.
async fn positions(table: Table, percent: u64) -> Result<String> {
    let mut files = Vec::new();
    for (number, data) in table.data().await?.iter().enumerate() {
        let positions: Vec<i64> = (0..data.record_count())
            .filter(|position| deleted(*position, percent))
            .map(i64::try_from)
            .collect::<std::result::Result<_, _>>()?;
        let paths = StringArray::from_iter_values(positions.iter().map(|_| data.file_path()));
        let rows = u64::try_from(positions.len())?;
        let columns: Vec<ArrayRef> = vec![Arc::new(paths), Arc::new(Int64Array::from(positions))];
        let schema = schema(&[("file_path", PATH_ID, DataType::Utf8), ("pos", POSITION_ID, DataType::Int64)]);
        let place = table.place("deletes", &format!("{number:05}.parquet"));
        let size = table.put(&place, parquet(schema, columns)?).await?;
        let path = Datum::string(data.file_path());
        files.push(
            DataFileBuilder::default()
                .content(DataContentType::PositionDeletes)
                .file_path(place)
                .file_format(DataFileFormat::Parquet)
                .partition(Struct::empty())
                .partition_spec_id(table.metadata.default_partition_spec_id())
                .record_count(rows)
                .file_size_in_bytes(size)
                .lower_bounds(HashMap::from([(PATH_ID, path.clone())]))
                .upper_bounds(HashMap::from([(PATH_ID, path)]))
                .build()?,
        );
    }
    let manifest = table.manifest("deletes", files, true).await?;
    table.commit(vec![manifest]).await
}

/// One deletion vector for each data file, each in a Puffin file of its own.
async fn vectors(table: Table, percent: u64) -> Result<String> {
    let built = table.metadata.clone().into_builder(None).upgrade_format_version(FormatVersion::V3)?.build()?;
    let table = Table::of(table.io, built.metadata, &table.variant);
    let mut files = Vec::new();
    for (number, data) in table.data().await?.iter().enumerate() {
        let positions: RoaringTreemap = (0..data.record_count()).filter(|at| deleted(*at, percent)).collect();
        let (bytes, offset, length) = puffin(&positions, data.file_path(), table.snapshot, table.sequence)?;
        let place = table.place("deletes", &format!("{number:05}.puffin"));
        let size = table.put(&place, bytes).await?;
        files.push(
            DataFileBuilder::default()
                .content(DataContentType::PositionDeletes)
                .file_path(place)
                .file_format(DataFileFormat::Puffin)
                .partition(Struct::empty())
                .partition_spec_id(table.metadata.default_partition_spec_id())
                .record_count(positions.len())
                .file_size_in_bytes(size)
                .referenced_data_file(Some(data.file_path().to_owned()))
                .content_offset(Some(offset))
                .content_size_in_bytes(Some(length))
                .build()?,
        );
    }
    let manifest = table.manifest("deletes", files, true).await?;
    table.commit(vec![manifest]).await
}

/// A Puffin file with one vector, and where that is in it. The layout is in Iceberg's Puffin specification.
fn puffin(positions: &RoaringTreemap, data: &str, snapshot: i64, sequence: i64) -> Result<(Vec<u8>, i64, i64)> {
    const MAGIC: &[u8] = b"PFA1";
    let mut vector = vec![0xD1, 0xD3, 0x39, 0x64];
    positions.serialize_into(&mut vector)?;
    let mut bytes = MAGIC.to_vec();
    let offset = bytes.len();
    bytes.extend(u32::try_from(vector.len())?.to_be_bytes());
    bytes.extend(&vector);
    bytes.extend(crc32fast::hash(&vector).to_be_bytes());
    let length = bytes.len() - offset;
    let footer = serde_json::json!({ "blobs": [{
        "type": "deletion-vector-v1", "fields": [], "snapshot-id": snapshot, "sequence-number": sequence,
        "offset": offset, "length": length,
        "properties": { "referenced-data-file": data, "cardinality": positions.len().to_string() },
    }]});
    let footer = serde_json::to_vec(&footer)?;
    bytes.extend(MAGIC);
    bytes.extend(&footer);
    bytes.extend(i32::try_from(footer.len())?.to_le_bytes());
    bytes.extend([0; 4]);
    bytes.extend(MAGIC);
    Ok((bytes, i64::try_from(offset)?, i64::try_from(length)?))
}

/// A million keys of two columns, in four files, all of rows that are there.
async fn equality(table: Table, setting: &Setting) -> Result<String> {
    let plain = Ready::start(Arm::Plain, setting).await?;
    let every = "SELECT l_orderkey, l_linenumber FROM tpch.lineitem WHERE (l_orderkey * 7 + l_linenumber) % 5 = 0";
    let batches = plain.ask(&format!("{every} LIMIT {KEYS}")).await?;
    let fields = ["l_orderkey", "l_linenumber"].map(|name| {
        let field = table.metadata.current_schema().field_by_name(name);
        field.map(|field| (name, field.id)).ok_or("lineitem has no key")
    });
    let mut keyed = Vec::new();
    let first = batches.first().ok_or("lineitem is empty")?;
    for (field, column) in fields.into_iter().zip(first.columns()) {
        let (name, id) = field?;
        keyed.push((name, id, column.data_type().clone()));
    }
    let schema = schema(&keyed);
    let ids: Vec<i32> = keyed.iter().map(|(_, id, _)| *id).collect();
    let all = datafusion::arrow::compute::concat_batches(&first.schema(), &batches)?;
    let share = all.num_rows().div_ceil(4).max(1);
    let mut files = Vec::new();
    for begin in (0..all.num_rows()).step_by(share) {
        let part = all.slice(begin, share.min(all.num_rows() - begin));
        let place = table.place("deletes", &format!("{begin}.parquet"));
        let size = table.put(&place, parquet(Arc::clone(&schema), part.columns().to_vec())?).await?;
        files.push(
            DataFileBuilder::default()
                .content(DataContentType::EqualityDeletes)
                .file_path(place)
                .file_format(DataFileFormat::Parquet)
                .partition(Struct::empty())
                .partition_spec_id(table.metadata.default_partition_spec_id())
                .record_count(u64::try_from(part.num_rows())?)
                .file_size_in_bytes(size)
                .equality_ids(Some(ids.clone()))
                .build()?,
        );
    }
    let manifest = table.manifest("deletes", files, true).await?;
    table.commit(vec![manifest]).await
}

/// A schema as data files have it: every field with its id.
fn schema(fields: &[(&str, i32, DataType)]) -> SchemaRef {
    let field = |(name, id, of): &(&str, i32, DataType)| {
        let id = HashMap::from([(PARQUET_FIELD_ID_META_KEY.to_owned(), id.to_string())]);
        Field::new(*name, of.clone(), false).with_metadata(id)
    };
    Arc::new(ArrowSchema::new(fields.iter().map(field).collect::<Vec<_>>()))
}

fn parquet(schema: SchemaRef, columns: Vec<ArrayRef>) -> Result<Vec<u8>> {
    let batch = RecordBatch::try_new(Arc::clone(&schema), columns)?;
    let mut writer = ArrowWriter::try_new(Vec::new(), schema, None)?;
    writer.write(&batch)?;
    Ok(writer.into_inner()?)
}

/// Columns of the table of many files: their types in turn.
const TYPES: [PrimitiveType; 4] =
    [PrimitiveType::Long, PrimitiveType::String, PrimitiveType::Double, PrimitiveType::Timestamptz];

/// How many columns it has; each has bounds.
const COLUMNS: i32 = 12;

/// Files in one of its manifests.
const IN_MANIFEST: usize = 5_000;

/// Entries of files that do not exist. `c1` is a key that rises from file to file, the others are scattered.
async fn many(setting: &Setting, files: usize) -> Result<String> {
    let fields = (1..=COLUMNS)
        .zip(TYPES.into_iter().cycle())
        .map(|(id, of)| Arc::new(NestedField::optional(id, format!("c{id}"), Type::Primitive(of))));
    let schema = Schema::builder().with_fields(fields).build()?;
    let location = format!("file://{}/lake/tpch/many_{files}", std::fs::canonicalize(&setting.data)?.display());
    let built = TableMetadataBuilder::new(
        schema,
        UnboundPartitionSpec::default(),
        SortOrder::unsorted_order(),
        location.clone(),
        FormatVersion::V2,
        HashMap::new(),
    )?
    .build()?;
    let table = Table::of(FileIO::new_with_fs(), built.metadata, "many");
    let mut manifests = Vec::new();
    for first in (0..files).step_by(IN_MANIFEST) {
        let entries = first..files.min(first + IN_MANIFEST);
        let entries = entries.map(|number| entry(&location, number)).collect::<Result<Vec<_>>>()?;
        manifests.push(table.manifest(&format!("{first:08}"), entries, false).await?);
    }
    table.commit(manifests).await
}

fn entry(location: &str, number: usize) -> Result<DataFile> {
    const ROWS: u64 = 1_000_000;
    let at = i64::try_from(number)?;
    let bounds = |low: bool| {
        (1..=COLUMNS)
            .zip(TYPES.into_iter().cycle())
            .map(|(id, of)| {
                let scattered = at.wrapping_mul(i64::from(id) * 7_919) % 100_003;
                let value = if id == 1 { at * 1_000_000 } else { scattered };
                let value = if low { value } else { value + 999_999 };
                let datum = match of {
                    PrimitiveType::Long => Datum::long(value),
                    PrimitiveType::Double => Datum::double(value as f64),
                    PrimitiveType::Timestamptz => Datum::timestamptz_micros(value * 1_000_000),
                    _ => Datum::string(format!("{value:016}")),
                };
                (id, datum)
            })
            .collect::<HashMap<_, _>>()
    };
    let counts = |count: u64| (1..=COLUMNS).map(|id| (id, count)).collect::<HashMap<_, _>>();
    Ok(DataFileBuilder::default()
        .content(DataContentType::Data)
        .file_path(format!("{location}/data/{number:08}-{}.parquet", uuid::Uuid::from_u128(number as u128)))
        .file_format(DataFileFormat::Parquet)
        .partition(Struct::empty())
        .partition_spec_id(0)
        .record_count(ROWS)
        .file_size_in_bytes(128 << 20)
        .column_sizes(counts(10 << 20))
        .value_counts(counts(ROWS))
        .null_value_counts(counts(0))
        .lower_bounds(bounds(true))
        .upper_bounds(bounds(false))
        .build()?)
}
