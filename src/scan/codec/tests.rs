//! Scans that travel as bytes, read on the other side.

use datafusion::execution::runtime_env::RuntimeEnvBuilder;
use datafusion::physical_plan::{collect, displayable};
use datafusion::prelude::{SessionConfig, SessionContext};
use datafusion_proto::bytes::{
    physical_plan_from_bytes_with_extension_codec, physical_plan_to_bytes_with_extension_codec,
};
use iceberg::spec::PrimitiveType::{Double, Long, String as Text};
use iceberg::spec::{FormatVersion, Literal, NestedField, Struct, Transform, Type, UnboundPartitionSpec};

use super::super::tests::commit::{Files, parquet};
use super::super::tests::{column, context, longs, texts, two_files};
use super::*;
use crate::error::Class;
use crate::lake::fixture::{Shop, optional, schema, shop};
use crate::scan::{IcebergScan, cause};

async fn planned(shop: &Shop, columns: &[(&str, i32)], sql: &str) -> (SessionContext, Arc<dyn ExecutionPlan>) {
    let context = context(shop);
    let columns = columns.iter().map(|(name, id)| column(name, *id)).collect();
    context.register_table("t", IcebergScan::pin(shop.open("t").await, columns, None).await.unwrap()).unwrap();
    let plan = context.sql(sql).await.unwrap().create_physical_plan().await.unwrap();
    (context, plan)
}

fn encoded(plan: &Arc<dyn ExecutionPlan>) -> Vec<u8> {
    physical_plan_to_bytes_with_extension_codec(Arc::clone(plan), &ScanCodec::default()).unwrap().to_vec()
}

fn decoded(bytes: &[u8], context: &SessionContext) -> Result<Arc<dyn ExecutionPlan>> {
    physical_plan_from_bytes_with_extension_codec(bytes, &context.task_ctx(), &ScanCodec::default())
}

async fn table(plan: Arc<dyn ExecutionPlan>, context: &SessionContext) -> String {
    let batches = collect(plan, context.task_ctx()).await.unwrap();
    datafusion::arrow::util::pretty::pretty_format_batches(&batches).unwrap().to_string()
}

fn explained(plan: &Arc<dyn ExecutionPlan>) -> String {
    displayable(plan.as_ref()).set_show_statistics(true).indent(true).to_string()
}

/// The plan that comes out of the bytes explains itself as the one that went in, and gives the same rows.
pub(in crate::scan) async fn round_trips(shop: &Shop, columns: &[(&str, i32)], sql: &str) {
    let (context, plan) = planned(shop, columns, sql).await;
    let again = decoded(&encoded(&plan), &context).unwrap();
    assert_eq!(explained(&again), explained(&plan), "{sql}");
    assert_eq!(table(again, &context).await, table(plan, &context).await, "{sql}");
}

#[tokio::test]
async fn a_scan_gives_the_same_rows_after_its_way_through_bytes() {
    let shop = two_files().await;
    let all = [("text", 2), ("number", 1)];
    for sql in [
        "SELECT * FROM t ORDER BY number",
        "SELECT number FROM t ORDER BY 1",
        "SELECT text, number + 1 FROM t WHERE number > 1 AND text <> 'q' ORDER BY 2",
        "SELECT count(*) FROM t WHERE text IN ('x', 'r') OR number IS NULL",
        "SELECT number FROM t WHERE number >= 10 ORDER BY number LIMIT 2",
        "SELECT text FROM t ORDER BY number DESC LIMIT 2",
        "SELECT count(*) FROM (SELECT * FROM t LIMIT 4)",
        "SELECT a.text, b.number FROM t a JOIN t b ON a.number = b.number WHERE b.text > 'p' ORDER BY 2",
        "SELECT text, sum(number) FROM t GROUP BY text ORDER BY text",
    ] {
        round_trips(&shop, &all, sql).await;
    }
}

#[tokio::test]
async fn columns_keep_their_field_ids() {
    let shop = shop().await;
    shop.create("t", schema(vec![optional(1, "a", Long), optional(2, "b", Text)])).await;
    shop.append("t", vec![longs(0..3), texts(&["x", "y", "z"])]).await;
    // The names change places; whoever reads by name reads the wrong columns.
    shop.evolve("t", schema(vec![optional(2, "a", Text), optional(1, "b", Long), optional(3, "c", Double)])).await;
    let all = [("a", 2), ("b", 1), ("c", 3)];
    let sql = "SELECT a, b, c FROM t WHERE b >= 1 ORDER BY b";
    round_trips(&shop, &all, sql).await;
    let (context, plan) = planned(&shop, &all, sql).await;
    let rows = table(decoded(&encoded(&plan), &context).unwrap(), &context).await;
    assert!(rows.contains("| y | 1 |") && rows.contains("| z | 2 |") && !rows.contains("| x |"), "{rows}");
}

#[tokio::test]
async fn a_file_keeps_its_row_count_and_is_still_held_against_it() {
    let shop = two_files().await;
    let (context, plan) = planned(&shop, &[("a", 1)], "SELECT a FROM t").await;
    let again = decoded(&encoded(&plan), &context).unwrap();
    let exec = again.downcast_ref::<DataSourceExec>().unwrap();
    let config = exec.data_source().downcast_ref::<FileScanConfig>().unwrap();
    let files: Vec<_> = config.file_groups.iter().flat_map(FileGroup::iter).collect();
    assert_eq!(files.len(), 2);
    assert!(files.iter().all(|file| file.extension::<FileFacts>().unwrap().rows == 3));

    let mut none = Deletes::default();
    let mut nodes: Vec<_> = files.iter().map(|file| FileNode::of(file, &mut none).unwrap()).collect();
    nodes[0].rows = 4;
    let groups = with_facts(config.file_groups.clone(), &nodes, &[], 1).unwrap();
    let config = FileScanConfigBuilder::from(config.clone()).with_file_groups(groups).build();
    let lying = collect(DataSourceExec::from_data_source(config), context.task_ctx()).await.unwrap_err();
    assert!(cause(&lying).unwrap().message.contains("another number of rows"), "{lying}");
}

#[tokio::test]
async fn two_stores_stay_apart_in_the_cache_of_footers() {
    let shop = two_files().await;
    let (context, plan) = planned(&shop, &[("a", 1)], "SELECT a FROM t").await;
    let again = decoded(&encoded(&plan), &context).unwrap();
    let times = |plan: &Arc<dyn ExecutionPlan>| {
        let exec = plan.downcast_ref::<DataSourceExec>().unwrap();
        let config = exec.data_source().downcast_ref::<FileScanConfig>().unwrap();
        let files = config.file_groups.iter().flat_map(FileGroup::iter);
        files.map(|file| file.object_meta.last_modified).collect::<Vec<_>>()
    };
    assert_eq!(times(&again), times(&plan));
}

#[tokio::test]
async fn a_store_that_is_not_open_is_refused() {
    let shop = two_files().await;
    let (_, plan) = planned(&shop, &[("a", 1)], "SELECT a FROM t").await;
    let stranger = self::shop().await;
    let there = RuntimeEnvBuilder::new().with_object_store_registry(stranger.lake.stores()).build_arc().unwrap();
    let there = SessionContext::new_with_config_rt(SessionConfig::new(), there);
    let error = decoded(&encoded(&plan), &there).unwrap_err();
    assert!(error.to_string().contains("no domain's store is there"), "{error}");
}

#[tokio::test]
async fn a_scan_of_anything_but_a_lake_is_refused() {
    let shop = two_files().await;
    let (context, plan) = planned(&shop, &[("a", 1)], "SELECT a FROM t").await;
    let exec = plan.downcast_ref::<DataSourceExec>().unwrap();
    let node = ScanCodec::default().message(exec.data_source().downcast_ref::<FileScanConfig>().unwrap()).unwrap();
    let refused = |change: &dyn Fn(&mut ScanNode)| {
        let mut changed = node.clone();
        change(&mut changed);
        let error = ScanCodec::default().try_decode(&changed.encode_to_vec(), &[], &context.task_ctx()).unwrap_err();
        let error = cause(&error).cloned().unwrap_or_else(|| panic!("{error}"));
        assert_eq!(error.class, Class::Bug);
        error.message
    };
    assert!(refused(&|n| n.version = 2).contains("another version"));
    assert!(refused(&|n| n.config = None).contains("not whole"));
    assert!(refused(&|n| n.columns.clear()).contains("contradict"));
    assert!(refused(&|n| n.columns[0].name = "b".into()).contains("contradict"));
    assert!(refused(&|n| n.columns[0].field = b"{}".to_vec()).contains("field"));
    assert!(refused(&|n| n.files.truncate(1)).contains("other files"));
    assert!(refused(&|n| n.files[0].deletes.push(0)).contains("names deletes"));
    assert!(refused(&|n| n.visible = 9).contains("contradict"));
    for url in ["file:///", "", "s3://bucket"] {
        assert!(refused(&|n| n.config.as_mut().unwrap().object_store_url = url.into()).contains("its store"), "{url}");
    }
    assert!(
        ScanCodec::default()
            .try_encode(Arc::new(datafusion::physical_plan::empty::EmptyExec::new(plan.schema())), &mut vec![])
            .is_err()
    );
}

/// A small generator of numbers that are the same in every run.
fn random(state: &mut u64) -> u64 {
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    *state
}

/// The scan of a plan, as a message.
fn message(plan: &Arc<dyn ExecutionPlan>) -> ScanNode {
    let mut node = None;
    plan.apply(|part| {
        if let Some(config) = part.downcast_ref::<DataSourceExec>().and_then(|e| e.data_source().downcast_ref()) {
            node = Some(ScanCodec::default().message(config).unwrap());
        }
        Ok(TreeNodeRecursion::Continue)
    })
    .unwrap();
    node.unwrap()
}

/// Damages a message again and again, and gives what was read of it all the same.
fn damaged(whole: &[u8], context: &SessionContext, mut read: impl FnMut(Arc<dyn ExecutionPlan>)) -> usize {
    let (mut state, mut refused) = (0x9e37_79b9_7f4a_7c15, 0);
    for _ in 0..4000 {
        let mut bytes = whole.to_vec();
        for _ in 0..=random(&mut state) % 4 {
            let at = usize::try_from(random(&mut state)).unwrap() % bytes.len();
            match random(&mut state) % 3 {
                0 => bytes[at] = u8::try_from(random(&mut state) & 0xff).unwrap(),
                1 => bytes[at] ^= 1 << (random(&mut state) % 8),
                _ => bytes.truncate(at.max(1)),
            }
        }
        let decoded =
            catch_unwind(AssertUnwindSafe(|| ScanCodec::default().try_decode(&bytes, &[], &context.task_ctx())));
        match decoded.unwrap() {
            Err(_) => refused += 1,
            Ok(plan) => read(plan),
        }
    }
    refused
}

#[tokio::test]
async fn damaged_bytes_are_an_error_or_a_plan_and_never_a_panic() {
    let shop = two_files().await;
    let columns = [("text", 2), ("number", 1)];
    let sql = "SELECT number + 1 FROM t WHERE number > 1 AND text IN ('x', 'y', 'r') LIMIT 3";
    let (context, plan) = planned(&shop, &columns, sql).await;
    let refused = damaged(&message(&plan).encode_to_vec(), &context, |plan| drop(explained(&plan)));
    assert!(refused > 1000, "{refused}");
}

/// A table with all that a scan carries beside its files: defaults, a name mapping, keys, positions, constants.
async fn laden() -> Shop {
    let shop = shop().await;
    shop.create("t", schema(vec![optional(1, "a", Long), optional(2, "b", Text)])).await;
    shop.change("t", |builder| {
        let names = r#"[{"field-id": 1, "names": ["a"]}, {"field-id": 2, "names": ["b", "c"]}]"#;
        let spec = UnboundPartitionSpec::builder().add_partition_field(2, "b", Transform::Identity).unwrap().build();
        let property = [("schema.name-mapping.default".to_owned(), names.to_owned())].into();
        let builder = builder.upgrade_format_version(FormatVersion::V3).unwrap().set_properties(property).unwrap();
        builder.add_default_partition_spec(spec).unwrap()
    })
    .await;
    let spec = shop.load("t").await.metadata().default_partition_spec_id();
    let mut files = Files::of(&shop);
    (files.spec, files.partition) = (spec, Struct::from_iter([Some(Literal::string("x"))]));
    let first = files.put(parquet(&[("a", 1, longs(0..9))], None), 9, |_| {}).await;
    files.vector(&first, [3, 4]).await;
    files.commit().await;
    let mut files = Files::of(&shop);
    files.keys(&[("a", 1, longs([5])), ("b", 2, texts(&["x"]))]).await;
    files.keys(&[("a", 1, longs([6]))]).await;
    files.commit().await;
    let late = NestedField::optional(3, "d", Type::Primitive(Long)).with_initial_default(Literal::long(7));
    shop.evolve("t", schema(vec![optional(1, "a", Long), optional(2, "b", Text), late.into()])).await;
    shop
}

#[tokio::test]
async fn damaged_scans_with_deletes_and_all_are_an_error_or_a_plan_that_ends() {
    let shop = laden().await;
    let columns = [("text", 2), ("number", 1), ("late", 3)];
    let sql = "SELECT number, text, late FROM t WHERE number < 8 AND late = 7";
    round_trips(&shop, &columns, sql).await;
    let (context, plan) = planned(&shop, &columns, sql).await;
    assert_eq!(table(Arc::clone(&plan), &context).await.matches("| x ").count(), 4);
    let node = message(&plan);
    assert!(node.files[0].deletes.len() == 3 && !node.files[0].constants.is_empty());
    let mut plans = Vec::new();
    let refused = damaged(&node.encode_to_vec(), &context, |plan| {
        drop(explained(&plan));
        plans.push(plan);
    });
    assert!(refused > 1000 && plans.len() > 100, "{refused}");
    for plan in plans.into_iter().step_by(5) {
        // It reads something, or says what is wrong.
        _ = collect(plan, context.task_ctx()).await;
    }
}
