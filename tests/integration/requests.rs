//! What a query on a table of a thousand files asks of the object store: the files that may hold its rows, no others, and
//! nothing that is known already.
//!
//! The file `n` holds the keys `10 n`, `10 n + 2` and `10 n + 14`, so that the bounds of neighbours overlap and a key may
//! be within the bounds of two files.

use std::collections::{BTreeMap, HashMap};
use std::fs;
use std::path::Path;
use std::sync::{Arc, OnceLock};

use datafusion::arrow::array::{ArrayRef, AsArray, Int64Array, RecordBatch, StringArray};
use datafusion::arrow::datatypes::{DataType, Field, Int64Type, Schema};
use futures::TryStreamExt;
use iceberg::spec::{
    DataContentType, DataFile, DataFileBuilder, DataFileFormat, Datum, NestedField, PrimitiveType, Struct, Type,
};
use iceberg::transaction::{ApplyTransactionAction, Transaction};
use iceberg::{NamespaceIdent, TableCreation};
use parquet::arrow::{ArrowWriter, PARQUET_FIELD_ID_META_KEY};
use polder::session::{Engine, Options, Pins};
use polder_catalog::mesh::Mesh;
use serde_json::json;
use tempfile::TempDir;

use crate::packly::packly;
use crate::s3::{Requests, serve_s3};

const FILES: i64 = 1000;
const DATA: &str = "shop/ns/items/data/";

/// An engine that has cached nothing yet over the table, and what it asks of the table's store.
struct Shop {
    engine: Arc<Engine>,
    requests: Requests,
    _mesh: TempDir,
}

impl Shop {
    fn open() -> Self {
        static WRITTEN: OnceLock<TempDir> = OnceLock::new();
        let written = WRITTEN.get_or_init(|| {
            let dir = tempfile::tempdir().unwrap();
            fs::create_dir_all(dir.path().join("s3/keys").join(DATA)).unwrap();
            write_table(&Self::over(dir.path()).engine, &dir.path().join("s3/keys").join(DATA));
            dir
        });
        Self::over(written.path())
    }

    /// A server over what is in `dir`, and an engine over that.
    fn over(dir: &Path) -> Self {
        let requests = Requests::default();
        let address = packly().block_on(serve_s3(&dir.join("s3"), &requests));
        let mesh = tempfile::tempdir().unwrap();
        write_mesh(mesh.path(), &format!("http://{address}"), &dir.join("catalog.db"));
        let loaded = Mesh::load(mesh.path()).unwrap_or_else(|findings| panic!("{findings:#?}"));
        assert!(loaded.findings().is_empty(), "{:#?}", loaded.findings());
        let engine = Engine::start(loaded, Options { threads: Some(2), ..Options::default() }).unwrap();
        Self { engine, requests, _mesh: mesh }
    }

    /// The numbers that a query gives, in their order.
    fn ask(&self, sql: &str) -> Vec<i64> {
        let batches: Vec<RecordBatch> = packly().block_on(async {
            let principal = self.engine.mesh().principal("guest").unwrap();
            let planned = self.engine.plan(&principal, sql, &Pins::new()).await.unwrap();
            planned.run().unwrap().try_collect().await.unwrap()
        });
        let mut found: Vec<i64> =
            batches.iter().flat_map(|batch| batch.column(0).as_primitive::<Int64Type>().values().to_vec()).collect();
        found.sort_unstable();
        found
    }

    /// Asks, and gives the data files that were read with the number of requests for each, and the number of requests for
    /// anything else.
    fn read(&self, sql: &str, expect: &[i64]) -> (BTreeMap<i64, usize>, usize) {
        self.requests.take();
        assert_eq!(self.ask(sql), expect, "{sql}");
        let (mut files, mut others) = (BTreeMap::new(), 0);
        for request in self.requests.take() {
            assert_eq!(request.operation, "GetObject", "{sql}: {request:?}");
            match request.key.strip_prefix(DATA) {
                Some(file) => *files.entry(file.trim_end_matches(".parquet").parse().unwrap()).or_default() += 1,
                None => others += 1,
            }
        }
        (files, others)
    }
}

fn write_mesh(dir: &Path, endpoint: &str, catalog: &Path) {
    let write = |file: &str, value: &serde_json::Value| {
        let path = dir.join(file);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        // JSON is YAML.
        fs::write(path, value.to_string()).unwrap();
    };
    let guest = json!({ "name": "guest", "password_hash": "${file:secrets/guest.argon2}", "groups": ["readers"] });
    write("mesh.yaml", &json!({ "mesh": "keys", "groups": ["readers"], "auth": { "users": [guest] } }));
    write(
        "shop/domain.yaml",
        &json!({
            "name": "shop", "kind": "shared", "owner": { "team": "shop" },
            "catalog": { "type": "sql", "uri": format!("sqlite:{}", catalog.display()), "warehouse": "s3://keys/shop" },
            "storage": {
                "endpoint": endpoint, "region": "us-east-1", "allow_http": "true",
                "access_key_id": "${file:secrets/id}", "secret_access_key": "${file:secrets/key}",
            },
        }),
    );
    let column = |name: &str, kind: &str| json!({ "name": name, "physicalType": kind });
    write(
        "shop/products/items.odcs.yaml",
        &json!({
            "apiVersion": "v3.1.0", "kind": "DataContract", "id": "items", "name": "items", "version": "1.0.0",
            "status": "active",
            "schema": [{
                "name": "items", "physicalName": "ns.items",
                "properties": [column("key", "long"), column("price", "long"), column("name", "string")],
            }],
        }),
    );
    let policy = |action: &str| {
        format!(
            "@id(\"{action}\")\npermit (principal in Group::\"readers\", action == Action::\"{action}\", \
             resource in Domain::\"shop\");\n"
        )
    };
    fs::create_dir_all(dir.join("shop/policies")).unwrap();
    fs::write(dir.join("shop/policies/access.cedar"), policy("discover") + &policy("read")).unwrap();
    let secrets = dir.join("secrets");
    fs::create_dir_all(&secrets).unwrap();
    let guest = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/packly/secrets/guest.argon2");
    fs::copy(guest, secrets.join("guest.argon2")).unwrap();
    fs::write(secrets.join("id"), "payments").unwrap();
    fs::write(secrets.join("key"), "not-much-of-a-secret").unwrap();
}

/// Creates the table, and appends all of its files in one snapshot.
fn write_table(engine: &Engine, data: &Path) {
    packly().block_on(async {
        let mesh = engine.mesh();
        let catalog = engine.lake().catalog(mesh.domain(&"shop".parse().unwrap()).unwrap()).await.unwrap();
        let namespace = NamespaceIdent::new("ns".to_owned());
        catalog.create_namespace(&namespace, HashMap::new()).await.unwrap();
        let field = |id, name: &str, of| NestedField::optional(id, name, Type::Primitive(of)).into();
        let schema = iceberg::spec::Schema::builder()
            .with_fields([
                field(1, "key", PrimitiveType::Long),
                field(2, "price", PrimitiveType::Long),
                field(3, "name", PrimitiveType::String),
            ])
            .build()
            .unwrap();
        let creation = TableCreation::builder()
            .name("items".to_owned())
            .location("s3://keys/shop/ns/items".to_owned())
            .schema(schema)
            .build();
        let table = catalog.create_table(&namespace, creation).await.unwrap();
        let append = Transaction::new(&table);
        let files = (0..FILES).map(|file| write_file(file, data));
        let append = append.fast_append().add_data_files(files).apply(append).unwrap();
        append.commit(catalog.as_ref()).await.unwrap();
    });
}

/// The keys of a file.
fn keys(file: i64) -> [i64; 3] {
    [file * 10, file * 10 + 2, file * 10 + 14]
}

fn write_file(file: i64, data: &Path) -> DataFile {
    let field = |id: i32, name: &str, of| {
        let id = HashMap::from([(PARQUET_FIELD_ID_META_KEY.to_owned(), id.to_string())]);
        Field::new(name, of, true).with_metadata(id)
    };
    let schema = Schema::new(vec![
        field(1, "key", DataType::Int64),
        field(2, "price", DataType::Int64),
        field(3, "name", DataType::Utf8),
    ]);
    let keys = keys(file);
    let columns: Vec<ArrayRef> = vec![
        Arc::new(Int64Array::from_iter_values(keys)),
        Arc::new(Int64Array::from_iter_values(keys.map(|key| key * 100))),
        Arc::new(StringArray::from_iter_values(keys.map(|key| format!("item {key}")))),
    ];
    let batch = RecordBatch::try_new(Arc::new(schema), columns).unwrap();
    // Cut as writers cut them: the upper one is above all names.
    let names = keys.map(|key| format!("item {key}"));
    let (first, last) = (names.iter().min().unwrap(), names.iter().max().unwrap().clone() + "~");
    let mut writer = ArrowWriter::try_new(Vec::new(), batch.schema(), None).unwrap();
    writer.write(&batch).unwrap();
    let bytes = writer.into_inner().unwrap();
    fs::write(data.join(format!("{file:04}.parquet")), &bytes).unwrap();
    DataFileBuilder::default()
        .content(DataContentType::Data)
        .file_path(format!("s3://keys/{DATA}{file:04}.parquet"))
        .file_format(DataFileFormat::Parquet)
        .partition(Struct::empty())
        .partition_spec_id(0)
        .record_count(3)
        .file_size_in_bytes(bytes.len() as u64)
        .null_value_counts(HashMap::from([(1, 0), (3, 0)]))
        .lower_bounds(HashMap::from([(1, Datum::long(keys[0])), (3, Datum::string(first))]))
        .upper_bounds(HashMap::from([(1, Datum::long(keys[2])), (3, Datum::string(last))]))
        .build()
        .unwrap()
}

fn each(files: &[i64], requests: usize) -> BTreeMap<i64, usize> {
    files.iter().map(|file| (*file, requests)).collect()
}

/// What it takes to open the table: the metadata file, the manifest list and the manifest.
const METADATA: usize = 3;

#[test]
fn a_key_is_looked_for_in_the_files_whose_bounds_hold_it() {
    let shop = Shop::open();
    // Within the bounds of one file; the file reads its footer, its page index and both columns.
    let one = "SELECT price FROM shop.items WHERE key = 5005";
    assert_eq!(shop.read(one, &[]), (each(&[500], 3), METADATA));
    for (key, files, expect) in
        [(5010, vec![500, 501], vec![501_000]), (5013, vec![500, 501], vec![]), (0, vec![0], vec![0])]
    {
        let sql = format!("SELECT price FROM shop.items WHERE key = {key}");
        let (found, others) = shop.read(&sql, &expect);
        assert_eq!((found.into_keys().collect::<Vec<_>>(), others), (files.clone(), 0), "{sql}");
        // What is at the file's end is known from then on.
        assert_eq!(shop.read(&sql, &expect), (each(&files, 1), 0), "{sql}");
    }
    for sql in ["SELECT price FROM shop.items WHERE key = 20000", "SELECT price FROM shop.items WHERE key < 0"] {
        assert_eq!(shop.read(sql, &[]), (each(&[], 0), 0), "{sql}");
    }
}

#[test]
fn several_keys_are_looked_for_where_each_may_be() {
    // The bounds of a file end at 4 of the next ten: 70 is in those of 6 and 7, and 3008 in those of 300 alone.
    let files = [6, 7, 300, 998, 999];
    let expect = [7000, 999_200];
    for sql in [
        "SELECT price FROM shop.items WHERE key IN (70, 3008, 9992)",
        // The keys are known when the other side of the join was read.
        "SELECT price FROM shop.items AS i JOIN (VALUES (70), (3008), (9992)) AS v(key) ON i.key = v.key",
    ] {
        let shop = Shop::open();
        let (found, others) = shop.read(sql, &expect);
        assert_eq!((found.into_keys().collect::<Vec<_>>(), others), (files.to_vec(), METADATA), "{sql}");
        assert_eq!(shop.read(sql, &expect), (each(&files, 1), 0), "{sql}");
    }
}

/// Two partitions look for them at the same time, and each finds out with its next file what the other one found.
#[test]
fn the_first_rows_of_a_sort_are_looked_for_where_they_may_be() {
    let mut all: Vec<i64> = (0..FILES).flat_map(keys).collect();
    all.sort_unstable();
    let by_name = |key: &i64| std::cmp::Reverse(format!("item {key}"));
    let mut names = all.clone();
    names.sort_by_key(by_name);
    let last: Vec<i64> = all.iter().rev().copied().take(10).collect();
    for (order, keys) in [
        ("key DESC", &last[..]),
        ("key DESC NULLS LAST", &last),
        ("key", &all[..10]),
        ("key NULLS FIRST", &all[..10]),
        ("name DESC", &names[..10]),
        ("name, price", &names.iter().rev().copied().take(10).collect::<Vec<_>>()),
    ] {
        let shop = Shop::open();
        let sql = format!("SELECT price FROM shop.items ORDER BY {order} LIMIT 10");
        let mut expect: Vec<i64> = keys.iter().map(|key| key * 100).collect();
        expect.sort_unstable();
        let (found, others) = shop.read(&sql, &expect);
        assert!(found.len() <= 16 && others == METADATA, "{sql}: {found:?}");
        // What is at a file's end is known from then on.
        let (found, others) = shop.read(&sql, &expect);
        assert!(found.len() <= 16 && others == 0, "{sql}: {found:?}");
    }
}

#[test]
fn what_metadata_tells_is_not_read() {
    let shop = Shop::open();
    assert_eq!(shop.read("SELECT count(*) FROM shop.items", &[3 * FILES]), (each(&[], 0), METADATA));
}
