//! Guarded scans of real tables: what comes out of them, and plans that were corrupted on purpose.

mod channel;
mod corrupt;
mod query;
mod scans;
mod steady;

use std::sync::Arc;

use datafusion::arrow::array::{ArrayRef, Int64Array, RecordBatch, StringArray};
use datafusion::arrow::util::display::{ArrayFormatter, FormatOptions};
use datafusion::catalog::TableProvider;
use datafusion::common::TableReference;
use datafusion::common::tree_node::{TreeNode, TreeNodeRecursion};
use datafusion::execution::runtime_env::RuntimeEnvBuilder;
use datafusion::physical_plan::ExecutionPlan;
use datafusion::prelude::{SessionConfig, SessionContext};
use iceberg::spec::PrimitiveType::{Long, String as Text};
use polder_catalog::document::Place;
use polder_catalog::policy::filter::{Comparison, Filter, Literal, Value};
use polder_catalog::policy::{Mask, Reason, RowRule, Rows};

use super::exec::GuardExec;
use super::filter::lower;
use super::mask::Keys;
use super::table::{GovernedColumn, Shown, Source, Treatment, govern};
use super::verify::Cleared;
use crate::lake::fixture::{Shop, optional, schema, shop};
use crate::scan::{IcebergScan, ScanColumn};

fn texts<'a>(values: impl IntoIterator<Item = Option<&'a str>>) -> ArrayRef {
    Arc::new(values.into_iter().collect::<StringArray>())
}

fn longs(values: impl IntoIterator<Item = i64>) -> ArrayRef {
    Arc::new(values.into_iter().collect::<Int64Array>())
}

fn column(name: &str, field_id: i32) -> ScanColumn {
    ScanColumn { name: name.to_owned(), field_id, fields: None }
}

fn named(path: &[&str]) -> Value {
    Value::Column(path.iter().map(|name| Arc::from(*name)).collect())
}

/// `path = 'text'`
fn equals(path: &[&str], text: &str) -> Filter {
    Filter::Compare(Comparison::Equal, named(path), Value::Literal(Literal::Text(text.into())))
}

fn rule(filter: Option<Filter>) -> RowRule {
    let place = Place { file: "shop/policies/rows.cedar".into(), line: 1, column: 1 };
    RowRule { filter: filter.map(Arc::new), reason: Reason { policy: "rows".into(), place } }
}

fn permits(filter: Filter) -> Rows {
    Rows::Closed { permits: vec![rule(Some(filter))], forbids: Vec::new() }
}

/// Three towns in two regions, and one row whose region is unknown.
async fn people() -> Shop {
    let shop = shop().await;
    let fields = ["city", "email", "phone", "region", "note"];
    let mut columns = vec![optional(1, "id", Long)];
    columns.extend(fields.iter().zip(2..).map(|(name, id)| optional(id, name, Text)));
    shop.create("people", schema(columns)).await;
    let file = |ids: [i64; 2], regions: [Option<&str>; 2]| {
        vec![
            longs(ids),
            texts([Some("Delft"), Some("Gouda")]),
            texts([Some("a@x.example"), Some("b@x.example")]),
            texts([Some("1"), None]),
            texts(regions),
            texts([Some("7"), Some("n/a")]),
        ]
    };
    shop.append("people", file([1, 2], [Some("EU"), Some("US")])).await;
    shop.append("people", file([3, 4], [Some("EU"), None])).await;
    shop
}

/// The first columns as they are treated, then those that only `rows` reads.
async fn governed(
    shop: &Shop,
    table: &str,
    columns: Vec<(ScanColumn, Option<Mask>)>,
    beyond: Vec<ScanColumn>,
    rows: &Rows,
) -> Arc<dyn TableProvider> {
    let all = columns.iter().map(|(column, _)| column.clone()).chain(beyond).collect();
    let scan = IcebergScan::pin(shop.open(table).await, all, None).await.unwrap();
    let rows = lower(rows, &scan.schema(), &str::to_owned).unwrap();
    let columns = columns.into_iter().map(|(column, mask)| GovernedColumn {
        name: column.name,
        treatment: mask.map_or(Treatment::Raw, Treatment::Masked),
    });
    let shown = Shown { columns: columns.collect(), rows, restricted: true };
    let source = Arc::clone(&scan);
    let source = Source::new(scan, move |plan| source.is_read_by(plan));
    govern(TableReference::bare(table), source, shown, &Keys::new([])).unwrap()
}

/// `people` for somebody in the EU: email hashed, phone empty, region not granted.
async fn of_the_eu(shop: &Shop, rows: &Rows) -> Arc<dyn TableProvider> {
    let columns = vec![
        (column("id", 1), None),
        (column("city", 2), None),
        (column("email", 3), Some(Mask::Sha256Global)),
        (column("phone", 4), Some(Mask::Null)),
        (column("note", 6), None),
    ];
    governed(shop, "people", columns, vec![column("region", 5)], rows).await
}

fn context(shop: &Shop) -> SessionContext {
    let runtime = RuntimeEnvBuilder::new().with_object_store_registry(shop.lake.stores()).build_arc().unwrap();
    let mut config = SessionConfig::new().with_target_partitions(2);
    config.options_mut().sql_parser.map_string_types_to_utf8view = false;
    SessionContext::new_with_config_rt(config, runtime)
}

/// The verified plan of a statement on one governed table.
async fn plan(context: &SessionContext, table: &Arc<dyn TableProvider>, sql: &str) -> Arc<dyn ExecutionPlan> {
    let logical = context.state().create_logical_plan(sql).await.unwrap();
    let logical = context.state().optimize(&logical).unwrap();
    let cleared = Cleared::of([table]).unwrap();
    assert_eq!(cleared.verify(&logical), Ok(()), "{sql}\n{}", logical.display_indent());
    let plan = context.state().query_planner().create_physical_plan(&logical, &context.state()).await.unwrap();
    assert_eq!(cleared.verify_physical(&plan), Ok(()), "{sql}\n{plan:#?}");
    plan
}

fn shown(batches: &[RecordBatch]) -> Vec<String> {
    let options = FormatOptions::default().with_null("-");
    let mut lines = Vec::new();
    for batch in batches {
        let columns: Vec<_> =
            batch.columns().iter().map(|c| ArrayFormatter::try_new(c.as_ref(), &options).unwrap()).collect();
        lines.extend(
            (0..batch.num_rows())
                .map(|row| columns.iter().map(|column| column.value(row).to_string()).collect::<Vec<_>>().join(" ")),
        );
    }
    lines
}

/// What a statement on one governed table gives.
async fn rows(shop: &Shop, table: &Arc<dyn TableProvider>, sql: &str) -> Vec<String> {
    let context = context(shop);
    context.register_table("people", Arc::clone(table)).unwrap();
    let plan = plan(&context, table, sql).await;
    shown(&datafusion::physical_plan::collect(plan, context.task_ctx()).await.unwrap())
}

/// The guards in a plan.
fn guards(plan: &Arc<dyn ExecutionPlan>) -> Vec<GuardExec> {
    let mut found = Vec::new();
    plan.apply(|node| {
        found.extend(node.downcast_ref::<GuardExec>().cloned());
        Ok(TreeNodeRecursion::Continue)
    })
    .unwrap();
    found
}
