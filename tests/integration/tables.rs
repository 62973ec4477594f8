//! Tables that Spark, Iceberg's Java library, PyIceberg and DuckDB wrote, against what independent readers saw in them.
//!
//! `tests/tables/README.md` tells what each table is about. Its files are served as the bucket that they were written
//! to. Every table is read whole and compared row by row; then each of its plain columns is filtered by values that are
//! in it, and the filtered count is held against the same predicate evaluated over all rows, where nothing is pruned.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

use datafusion::arrow::array::{Array, AsArray, RecordBatch};
use datafusion::arrow::datatypes::{
    DataType, Date32Type, Decimal128Type, Float32Type, Float64Type, Int32Type, Int64Type, Schema,
    Time64MicrosecondType, TimeUnit, TimestampMicrosecondType, TimestampNanosecondType,
};
use futures::TryStreamExt;
use polder::error::{Class, Error};
use polder::flight::encode::{wire_batch, wire_schema};
use polder::session::{Engine, Options, Pins};
use polder_catalog::mesh::Mesh;
use serde_json::{Map, Value, json};
use tempfile::TempDir;

use crate::packly::packly;
use crate::s3::{Requests, serve_s3};

/// Declares a test for each table, and the list of all.
macro_rules! cases {
    ($($writer:ident: $($table:ident)+;)+) => {
        const CASES: &[(&str, &str)] = &[$($((stringify!($writer), stringify!($table)),)+)+];
        $(mod $writer {
            $(#[test]
            fn $table() {
                super::check(stringify!($writer), stringify!($table));
            })+
        })+
    };
}

cases! {
    duckdb: deletion_vectors position_deletes primitives;
    java: defaults equality_across_specs equality_and_positions equality_evolved equality_global equality_nulls
        equality_partitioned equality_sets nanoseconds unreadable_types;
    pyiceberg: evolved name_mapping overwritten parquet_features partitioned primitives_v1 primitives_v2 sorted_rows
        tagged;
    spark: bloom_filters branches_and_tags codecs copy_on_write deletion_vectors emptied evolved gzip_metadata
        identity_partitions metrics_modes nested nested_evolved never_written object_store_layout odd_names
        partition_source_dropped partitions_evolved_v1 partitions_evolved_v2 position_deletes position_deletes_by_file
        primitives_v1 primitives_v2 primitives_v3 required_columns rolled_back row_lineage sorted_rows special_paths
        transforms upgraded variant;
}

/// Tables with equality deletes, and the columns of their keys.
pub const KEYS: [(&str, &[&str]); 7] = [
    ("equality_across_specs", &["id"]),
    ("equality_and_positions", &["id"]),
    ("equality_evolved", &["id"]),
    ("equality_global", &["id"]),
    ("equality_nulls", &["id", "region", "n"]),
    ("equality_partitioned", &["n"]),
    ("equality_sets", &["region", "n", "day"]),
];

/// Tables whose files are not Parquet.
const REFUSED: [(&str, &str, &str); 2] = [("spark", "avro_files", "avro"), ("spark", "orc_files", "orc")];

/// A mesh of all tables.
pub struct Tables {
    pub engine: Arc<Engine>,
    dir: TempDir,
}

pub fn tests() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/tables")
}

/// The mesh that all tests share.
pub fn tables() -> &'static Tables {
    static TABLES: OnceLock<Tables> = OnceLock::new();
    TABLES.get_or_init(|| Tables::start(&Requests::default()))
}

impl Tables {
    /// Starts an engine over the tables, with a store that notes what is asked of it.
    pub fn start(requests: &Requests) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let (mesh, bucket) = (dir.path().join("mesh"), dir.path().join("s3"));
        copy(&tests().join("mesh"), &mesh);
        copy(&tests().join("data"), &bucket.join("polder-tables"));
        let address = packly().block_on(serve_s3(&bucket, requests));
        let secrets = mesh.join("secrets");
        fs::create_dir_all(&secrets).unwrap();
        fs::write(secrets.join("endpoint"), format!("http://{address}")).unwrap();
        fs::write(secrets.join("id"), "payments").unwrap();
        fs::write(secrets.join("key"), "not-much-of-a-secret").unwrap();
        let guest = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/packly/secrets/guest.argon2");
        fs::copy(guest, secrets.join("guest.argon2")).unwrap();
        restrict(&mesh);
        let mesh = Mesh::load(&mesh).unwrap_or_else(|findings| panic!("{findings:#?}"));
        assert!(mesh.findings().is_empty(), "{:#?}", mesh.findings());
        let engine = Engine::start(mesh, Options { threads: Some(2), ..Options::default() }).unwrap();
        Self { engine, dir }
    }

    pub fn ask(&self, user: &str, sql: &str) -> Result<(Arc<Schema>, Vec<RecordBatch>), Error> {
        packly().block_on(async {
            let principal = self.engine.mesh().principal(user).unwrap();
            let rows = self.engine.plan(&principal, sql, &Pins::new()).await?.run()?;
            let schema = rows.schema();
            Ok((schema, rows.try_collect().await?))
        })
    }

    /// The rows of a statement as text, in the text's order.
    pub fn rows(&self, user: &str, sql: &str) -> Vec<String> {
        let (_, batches) = self.ask(user, sql).unwrap_or_else(|error| panic!("{sql}: {error}"));
        let mut found: Vec<String> = batches.iter().flat_map(rows).map(|row| row.to_string()).collect();
        found.sort();
        found
    }
}

/// Adds the user `outsider`, who may not see `KEYS`, and a product with the row lineage of `spark.row_lineage`.
fn restrict(mesh: &Path) {
    let path = mesh.join("mesh.yaml");
    let mut text: Value = serde_json::from_str(&fs::read_to_string(&path).unwrap()).unwrap();
    let mut outsider = text["auth"]["users"][0].clone();
    outsider["name"] = json!("outsider");
    outsider["groups"] = json!(["readers", "outsiders"]);
    text["auth"]["users"].as_array_mut().unwrap().push(outsider);
    text["groups"] = json!(["readers", "outsiders"]);
    fs::write(path, text.to_string()).unwrap();
    let policies: String = KEYS
        .iter()
        .flat_map(|(table, columns)| columns.iter().map(move |column| format!("java.{table}.{column}")))
        .map(|column| {
            format!(
                "@id(\"no-{column}\")\nforbid (principal in Group::\"outsiders\", action in Action::\"see\", \
                 resource in Column::\"{column}\");\n"
            )
        })
        .collect();
    fs::write(mesh.join("java/policies/outsiders.cedar"), policies).unwrap();

    let products = mesh.join("spark/products");
    let mut lineage: Value =
        serde_json::from_str(&fs::read_to_string(products.join("row_lineage.odcs.yaml")).unwrap()).unwrap();
    lineage["id"] = json!("row_lineage_ids");
    lineage["schema"][0]["name"] = json!("row_lineage_ids");
    let columns = lineage["schema"][0]["properties"].as_array_mut().unwrap();
    for name in ["_row_id", "_last_updated_sequence_number"] {
        columns.push(json!({ "name": name, "physicalType": "long" }));
    }
    fs::write(products.join("row_lineage_ids.odcs.yaml"), lineage.to_string()).unwrap();
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let to = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy(&entry.path(), &to);
        } else {
            fs::copy(entry.path(), to).unwrap();
        }
    }
}

fn ask(sql: &str) -> Result<(Arc<Schema>, Vec<RecordBatch>), Error> {
    tables().ask("guest", sql)
}

/// What independent readers saw: the columns that can be read, those that cannot, and the rows.
pub struct Expected {
    pub columns: Vec<String>,
    unreadable: Vec<String>,
    pub rows: Vec<Value>,
}

impl Expected {
    pub fn of(writer: &str, table: &str) -> Self {
        let path = tests().join("expected").join(writer).join(format!("{table}.jsonl"));
        let text = fs::read_to_string(path).unwrap();
        let mut lines = text.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
        let head = lines.next().unwrap();
        let names =
            |key: &str| head[key].as_array().unwrap().iter().map(|name| name.as_str().unwrap().into()).collect();
        Self { columns: names("columns"), unreadable: names("unreadable"), rows: lines.collect() }
    }
}

fn check(writer: &str, table: &str) {
    let expected = Expected::of(writer, table);
    let from = format!("{writer}.{table}");
    let columns: Vec<String> = expected.columns.iter().map(|name| quoted(name)).collect();
    let (schema, batches) = ask(&format!("SELECT {} FROM {from}", columns.join(", "))).unwrap();
    let mut found: Vec<String> = batches.iter().flat_map(rows).map(|row| row.to_string()).collect();
    let mut wanted: Vec<String> = expected.rows.iter().map(Value::to_string).collect();
    found.sort();
    wanted.sort();
    let missing: Vec<&String> = wanted.iter().filter(|row| !found.contains(row)).collect();
    let extra: Vec<&String> = found.iter().filter(|row| !wanted.contains(row)).collect();
    assert!(
        found == wanted,
        "{from}: {} rows of {}\nmissing: {missing:#?}\nextra: {extra:#?}",
        found.len(),
        wanted.len()
    );

    let (_, counted) = ask(&format!("SELECT count(*) FROM {from}")).unwrap();
    assert_eq!(count(&counted), wanted.len() as i64, "{from}: count(*)");
    let mut wrong = Vec::new();
    for field in schema.fields() {
        let predicates = predicates(field.name(), field.data_type(), &expected.rows);
        let counts: Vec<String> =
            predicates.iter().map(|filter| format!("count(CASE WHEN {filter} THEN 1 END)")).collect();
        let whole = match ask(&format!("SELECT {} FROM {from}", counts.join(", "))) {
            Ok((_, batches)) => batches,
            Err(error) => {
                wrong.push(format!("{predicates:?} without pruning: {error}"));
                continue;
            }
        };
        for (at, predicate) in predicates.iter().enumerate() {
            let whole = whole[0].column(at).as_primitive::<Int64Type>().value(0);
            match ask(&format!("SELECT count(*) FROM {from} WHERE {predicate}")) {
                Ok((_, pruned)) if count(&pruned) == whole => {}
                Ok((_, pruned)) => wrong.push(format!("{predicate}: {} rows, not {whole}", count(&pruned))),
                Err(error) => wrong.push(format!("{predicate}: {error}")),
            }
        }
    }
    assert!(wrong.is_empty(), "{from}: {wrong:#?}");
    for column in &expected.unreadable {
        assert!(ask(&format!("SELECT {} FROM {from}", quoted(column))).is_err(), "{from}: {column} cannot be read");
    }
}

pub fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

fn count(batches: &[RecordBatch]) -> i64 {
    batches[0].column(0).as_primitive::<Int64Type>().value(0)
}

/// Filters by a column: whether it is NULL, and by the value in the middle of its values' text.
fn predicates(name: &str, kind: &DataType, rows: &[Value]) -> Vec<String> {
    let column = quoted(name);
    let mut predicates = vec![format!("{column} IS NULL")];
    if kind.is_nested() {
        return predicates;
    }
    let values: BTreeSet<String> = rows
        .iter()
        .filter_map(|row| match &row[name] {
            Value::Null => None,
            Value::String(text) => Some(text.clone()),
            other => Some(other.to_string()),
        })
        .collect();
    let values: Vec<String> = values.into_iter().collect();
    let Some(value) = values.get(values.len() / 2) else { return predicates };
    let literal = match kind {
        DataType::Binary | DataType::FixedSizeBinary(_) => format!("arrow_cast(X'{value}', '{kind}')"),
        _ => format!("arrow_cast('{}', '{kind}')", value.replace('\'', "''")),
    };
    for operator in ["=", "<", ">="] {
        predicates.push(format!("{column} {operator} {literal}"));
    }
    predicates
}

fn rows(batch: &RecordBatch) -> Vec<Value> {
    let schema = wire_schema(&batch.schema());
    let batch = wire_batch(&schema, batch).unwrap();
    let row = |row| -> Map<String, Value> {
        let named = schema.fields().iter().zip(batch.columns());
        named.map(|(field, column)| (field.name().clone(), canonical(column, row))).collect()
    };
    (0..batch.num_rows()).map(|at| Value::Object(row(at))).collect()
}

/// A value as `tests/tables/expect.py` writes it.
fn canonical(array: &dyn Array, row: usize) -> Value {
    use DataType as D;
    if array.is_null(row) {
        return Value::Null;
    }
    let list = |items: &dyn Array| -> Vec<Value> { (0..items.len()).map(|item| canonical(items, item)).collect() };
    match array.data_type() {
        D::Boolean => json!(array.as_boolean().value(row)),
        D::Int32 => json!(array.as_primitive::<Int32Type>().value(row)),
        D::Int64 => json!(array.as_primitive::<Int64Type>().value(row)),
        D::Float32 => json!(format!("{:?}", f64::from(array.as_primitive::<Float32Type>().value(row)))),
        D::Float64 => json!(format!("{:?}", array.as_primitive::<Float64Type>().value(row))),
        D::Decimal128(_, _) => json!(array.as_primitive::<Decimal128Type>().value_as_string(row)),
        D::Date32 => json!(array.as_primitive::<Date32Type>().value_as_date(row).unwrap().to_string()),
        D::Time64(TimeUnit::Microsecond) => {
            let time = array.as_primitive::<Time64MicrosecondType>().value_as_time(row).unwrap();
            json!(time.format("%H:%M:%S%.6f").to_string())
        }
        D::Timestamp(unit, zone) => {
            let (time, format) = match unit {
                TimeUnit::Nanosecond => {
                    (array.as_primitive::<TimestampNanosecondType>().value_as_datetime(row), "%Y-%m-%dT%H:%M:%S%.9f")
                }
                _ => (array.as_primitive::<TimestampMicrosecondType>().value_as_datetime(row), "%Y-%m-%dT%H:%M:%S%.6f"),
            };
            json!(format!("{}{}", time.unwrap().format(format), if zone.is_some() { "Z" } else { "" }))
        }
        D::Utf8 => json!(array.as_string::<i32>().value(row)),
        D::Binary => json!(hex(array.as_binary::<i32>().value(row))),
        D::FixedSizeBinary(_) => json!(hex(array.as_fixed_size_binary().value(row))),
        D::Struct(fields) => {
            let named = fields.iter().zip(array.as_struct().columns());
            Value::Object(named.map(|(field, column)| (field.name().clone(), canonical(column, row))).collect())
        }
        D::List(_) => Value::Array(list(&array.as_list::<i32>().value(row))),
        D::Map(_, _) => {
            let entries = array.as_map().value(row);
            let pairs = list(entries.column(0)).into_iter().zip(list(entries.column(1)));
            let mut pairs: Vec<Value> = pairs.map(|(key, value)| json!([key, value])).collect();
            pairs.sort_by_key(|pair| pair[0].to_string());
            Value::Array(pairs)
        }
        other => panic!("a column came as {other}"),
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The two levels of directories, or of files without their endings, below a directory.
fn listed(dir: &str) -> BTreeSet<(String, String)> {
    let mut found = BTreeSet::new();
    for writer in fs::read_dir(tests().join(dir)).unwrap() {
        let writer = writer.unwrap();
        for table in fs::read_dir(writer.path()).unwrap() {
            let table = table.unwrap().path();
            let table = table.file_stem().unwrap().to_str().unwrap().to_owned();
            found.insert((writer.file_name().to_str().unwrap().to_owned(), table));
        }
    }
    found
}

#[test]
fn every_table_is_a_case_and_has_an_expectation() {
    let refused = REFUSED.iter().map(|(writer, table, _)| (*writer, *table));
    let cases = CASES.iter().copied().chain(refused);
    let cases: BTreeSet<(String, String)> = cases.map(|(writer, table)| (writer.into(), table.into())).collect();
    assert_eq!(listed("data"), cases);
    assert_eq!(listed("expected"), cases);
}

#[test]
fn a_flipped_bit_is_an_error_where_the_writer_left_checksums() {
    let tables = Tables::start(&Requests::default());
    let sql = "SELECT * FROM spark.primitives_v2";
    let clean = tables.rows("guest", sql);
    let data = tables.dir.path().join("s3/polder-tables/spark/primitives_v2/data");
    let file = fs::read_dir(&data).unwrap().map(|entry| entry.unwrap().path());
    let file = file.filter(|path| path.extension().is_some_and(|kind| kind == "parquet")).min().unwrap();
    let bytes = fs::read(&file).unwrap();
    let footer = u32::from_le_bytes(bytes[bytes.len() - 8..bytes.len() - 4].try_into().unwrap()) as usize;
    let pages = 4..bytes.len() - 8 - footer;
    let mut caught = 0;
    for at in pages.clone().step_by(pages.len() / 100) {
        let mut spoilt = bytes.clone();
        spoilt[at] ^= 1;
        fs::write(&file, spoilt).unwrap();
        match tables.ask("guest", sql) {
            Err(error) => {
                assert!(error.to_string().contains("primitives_v2"), "{error}");
                caught += 1;
            }
            // What a page says of itself beside its rows may be anything.
            Ok(_) => assert!(tables.rows("guest", sql) == clean, "a bit at {at} of {} changes rows", bytes.len()),
        }
    }
    assert!(caught > 20, "{caught} flips of {}", pages.len());
}

#[test]
fn files_that_are_not_parquet_are_refused_by_name() {
    for (writer, table, format) in REFUSED {
        let error = ask(&format!("SELECT * FROM {writer}.{table}")).unwrap_err();
        assert_eq!(error.class, Class::Drift, "{error}");
        assert!(error.to_string().to_lowercase().contains(format), "{error}");
    }
}
