//! The index of real tables: what is loaded, what is kept, what a scan makes of it.

use datafusion::arrow::array::{ArrayRef, Int64Array, StringArray};
use datafusion::datasource::physical_plan::FileScanConfig;
use datafusion::datasource::source::DataSourceExec;
use datafusion::execution::runtime_env::RuntimeEnvBuilder;
use datafusion::physical_plan::displayable;
use datafusion::prelude::{SessionConfig, SessionContext};
use parquet::file::properties::WriterProperties;

use super::*;
use crate::lake::fixture::{Shop, optional, schema, shop, write};
use crate::lake::memory::Weighed;
use crate::scan::{IcebergScan, ScanColumn};

fn longs(values: impl IntoIterator<Item = i64>) -> ArrayRef {
    Arc::new(Int64Array::from_iter_values(values))
}

async fn pin(shop: &Shop) -> Arc<IcebergScan> {
    let columns = vec![
        ScanColumn { name: "a".into(), field_id: 1, fields: None },
        ScanColumn { name: "b".into(), field_id: 2, fields: None },
    ];
    IcebergScan::pin(shop.open("t").await, columns, None).await.unwrap()
}

#[allow(clippy::disallowed_methods, reason = "a test makes its own DataFusion session")]
fn context(shop: &Shop, config: SessionConfig) -> SessionContext {
    let runtime = RuntimeEnvBuilder::new().with_object_store_registry(shop.lake.stores()).build_arc().unwrap();
    SessionContext::new_with_config_rt(config.with_target_partitions(2), runtime)
}

fn manifests(scan: &IcebergScan) -> &[Arc<DataManifest>] {
    &scan.files.manifests
}

#[tokio::test]
async fn a_manifest_is_decoded_once_whoever_asks_and_a_new_snapshot_decodes_its_own() {
    let shop = shop().await;
    shop.create("t", schema(vec![optional(1, "a", Long), optional(2, "b", Long)])).await;
    shop.append("t", vec![longs(0..3), longs(0..3)]).await;
    let (one, two) = tokio::join!(pin(&shop), pin(&shop));
    assert_eq!((manifests(&one).len(), manifests(&two).len()), (1, 1));
    assert!(Arc::ptr_eq(&manifests(&one)[0], &manifests(&two)[0]));
    shop.append("t", vec![longs(5..9), longs(5..9)]).await;
    let three = pin(&shop).await;
    assert_eq!(manifests(&three).len(), 2);
    assert_eq!(manifests(&three).iter().filter(|m| Arc::ptr_eq(m, &manifests(&one)[0])).count(), 1);
    assert_eq!(three.files.all().len(), 2);
    assert_eq!(three.files.oldest(), Some(1));
}

#[tokio::test]
async fn a_broken_manifest_is_an_error_that_names_it_and_is_not_kept() {
    let shop = shop().await;
    shop.create("t", schema(vec![optional(1, "a", Long), optional(2, "b", Long)])).await;
    shop.append("t", vec![longs(0..3), longs(0..3)]).await;
    let table = shop.load("t").await;
    let snapshot = table.metadata().current_snapshot().unwrap();
    let list = table.manifest_list_reader(snapshot).load().await.unwrap();
    let place = list.entries()[0].manifest_path.trim_start_matches("file://").to_owned();
    let whole = std::fs::read(&place).unwrap();
    std::fs::write(&place, &whole[..whole.len() / 2]).unwrap();
    let columns = || vec![ScanColumn { name: "a".into(), field_id: 1, fields: None }];
    let error = IcebergScan::pin(shop.open("t").await, columns(), None).await.unwrap_err();
    assert_eq!(error.class, crate::error::Class::Drift);
    let name = place.rsplit('/').next().unwrap();
    assert!(error.message.contains(name) && error.message.contains("`ns.t`"), "{error}");
    assert!(!error.message.contains(shop.dir.path().to_str().unwrap()), "{error}");
    std::fs::write(&place, whole).unwrap();
    assert_eq!(pin(&shop).await.files.all().len(), 1);
}

#[tokio::test]
async fn an_index_is_small() {
    let types = [Long, Long, Long, Long, Timestamp, Date, Double, Decimal { precision: 12, scale: 2 }];
    let types = [types.as_slice(), &[String, String, Int, Int]].concat();
    let schema = table(&types);
    let spec = spec(&schema, 1, &[(5, Transform::Day)]);
    let mut dice = Dice(3);
    let entries = (0..2000).map(|at| {
        let row: Vec<_> = types.iter().map(|of| Some(random(&mut dice, of))).collect();
        let bounds: HashMap<i32, Datum> = (1..).zip(row.iter().flatten().cloned()).collect();
        let counts: HashMap<i32, u64> = (1..=12).map(|id| (id, 1000)).collect();
        let name = format!("ts_day=2026-01-01/00000-{at:05}-6f0b4a2e-7c1d-4d0e-9d5c-1f2e3d4c5b6a-0{at:04}");
        let mut builder = file(&name, &spec, partition_of(&spec, &row), 4);
        builder.lower_bounds(bounds.clone()).upper_bounds(bounds).value_counts(counts.clone());
        builder.null_value_counts(counts.clone()).column_sizes(counts).nan_value_counts([(7, 0)].into());
        (builder.build().unwrap(), false)
    });
    let (bytes, listed, ..) = manifest(Version::Two, &schema, &spec, entries.collect()).await;
    let read = manifest::decode_data(&bytes, &Frame { listed: &listed, spec: &spec }).unwrap();
    let each = read.bytes() / read.len();
    assert!(each < 700, "{each} bytes for a file with twelve columns");
}

#[tokio::test]
async fn a_file_is_split_by_its_row_groups_so_that_all_partitions_read() {
    let shop = shop().await;
    shop.create("t", schema(vec![optional(1, "a", Long), optional(2, "b", Long)])).await;
    let props = WriterProperties::builder().set_max_row_group_row_count(Some(1000)).build();
    let table = shop.load("t").await;
    let numbers = || longs((0..8000).map(|n| n * 7919 % 8009));
    let files = write(&table, vec![numbers(), numbers()], props).await;
    super::super::super::tests::append_files(&shop, files).await;
    let mut config = SessionConfig::new();
    config.options_mut().optimizer.repartition_file_min_size = 1024;
    let context = context(&shop, config);
    let plan = context.read_table(pin(&shop).await).unwrap().create_physical_plan().await.unwrap();
    let scan = plan.downcast_ref::<DataSourceExec>().unwrap().data_source();
    let groups = &scan.downcast_ref::<FileScanConfig>().unwrap().file_groups;
    let pieces: Vec<_> = groups.iter().map(|group| group.files()[0].range.clone().unwrap()).collect();
    assert_eq!((pieces.len(), pieces[0].start, pieces[0].end), (2, 0, pieces[1].start));
    let size = groups[0].files()[0].object_meta.size;
    assert_eq!(pieces[1].end, i64::try_from(size).unwrap());
    let batches = datafusion::physical_plan::collect(plan, context.task_ctx()).await.unwrap();
    assert_eq!(batches.iter().map(|batch| batch.num_rows()).sum::<usize>(), 8000);
}

#[tokio::test]
async fn rows_are_filtered_while_reading_where_the_filter_is_a_small_part_of_the_bytes_and_leaves_few_rows() {
    let (distinct, kinds) = (|n| n * 7919 % 2003, |n| n * 7919 % 2003 % 4);
    for (key, sql, late, rows) in [
        (distinct as fn(i64) -> i64, "SELECT a, b FROM t WHERE a = 7", true, 1),
        (distinct, "SELECT a, b FROM t WHERE a IN (7, 8, 9)", true, 3),
        (distinct, "SELECT a, b FROM t WHERE a BETWEEN 100 AND 119", true, 20),
        (distinct, "SELECT a, b FROM t WHERE a > 100", false, 1899),
        (distinct, "SELECT a FROM t WHERE a = 7", false, 1),
        (kinds, "SELECT b FROM t WHERE a = 1", false, 500),
    ] {
        let shop = shop().await;
        shop.create("t", schema(vec![optional(1, "a", Long), optional(2, "b", String)])).await;
        let texts =
            (0..2000i64).map(|n| format!("{:x}", n.wrapping_mul(0x9e37_79b9_7f4a_7c15_u64.cast_signed())).repeat(9));
        let texts: ArrayRef = Arc::new(StringArray::from_iter_values(texts));
        shop.append("t", vec![longs((0..2000).map(key)), texts]).await;
        let context = context(&shop, SessionConfig::new());
        context.register_table("t", pin(&shop).await).unwrap();
        let plan = context.sql(sql).await.unwrap().create_physical_plan().await.unwrap();
        let shown = displayable(plan.as_ref()).indent(false).to_string();
        assert_eq!(!shown.contains("FilterExec"), late, "{sql}: {shown}");
        let batches = datafusion::physical_plan::collect(plan, context.task_ctx()).await.unwrap();
        let found = batches.iter().map(|batch| batch.num_rows()).sum::<usize>();
        assert!(found.abs_diff(rows) <= 3, "{sql}: {found}");
    }
}
