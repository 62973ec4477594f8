//! Plans that were corrupted on purpose, and what the verifier says of each.

use std::sync::Arc;

use datafusion::arrow::array::{Int64Array, RecordBatch, StringArray};
use datafusion::arrow::datatypes::{DataType, Field, Schema};
use datafusion::catalog::TableProvider;
use datafusion::common::TableReference;
use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::datasource::{MemTable, provider_as_source};
use datafusion::functions_aggregate::expr_fn::count;
use datafusion::logical_expr::{Expr, LogicalPlan, LogicalPlanBuilder, col, exists, lit};
use datafusion::prelude::SessionContext;
use polder_catalog::policy::Mask;

use super::verify::{Refusal, verify};
use super::{GovernedColumn, Treatment, govern};

fn raw_table() -> Arc<dyn TableProvider> {
    let schema = Arc::new(Schema::new(vec![
        Field::new("id", DataType::Int64, false),
        Field::new("city", DataType::Utf8, true),
        Field::new("email", DataType::Utf8, true),
        Field::new("phone", DataType::Utf8, true),
    ]));
    let batch = RecordBatch::try_new(
        schema.clone(),
        vec![
            Arc::new(Int64Array::from(vec![1, 2])),
            Arc::new(StringArray::from(vec!["Delft", "Gouda"])),
            Arc::new(StringArray::from(vec!["a@x.example", "b@x.example"])),
            Arc::new(StringArray::from(vec!["1", "2"])),
        ],
    );
    Arc::new(MemTable::try_new(schema, vec![vec![batch.unwrap()]]).unwrap())
}

/// `people`: id and city raw, email hashed, phone empty.
fn governed() -> Arc<dyn TableProvider> {
    let column = |name: &str, treatment| GovernedColumn { name: name.to_owned(), treatment };
    let columns = vec![
        column("id", Treatment::Raw),
        column("city", Treatment::Raw),
        column("email", Treatment::Masked(Mask::Sha256Global)),
        column("phone", Treatment::Masked(Mask::Null)),
    ];
    govern(TableReference::bare("people"), raw_table(), columns).unwrap()
}

fn context() -> SessionContext {
    let context = SessionContext::new();
    context.register_table("people", governed()).unwrap();
    context.register_table("bypass", raw_table()).unwrap();
    context
}

/// The optimized plan of a statement.
async fn plan(sql: &str) -> LogicalPlan {
    let context = context();
    let plan = context.state().create_logical_plan(sql).await.unwrap();
    context.state().optimize(&plan).unwrap()
}

/// The scan below the masks of `people`, as a corrupt rewrite would use it.
async fn bare_scan() -> LogicalPlanBuilder {
    let plan = context().state().create_logical_plan("SELECT id, city, email, phone FROM people").await.unwrap();
    let mut scan = None;
    plan.apply(|node| {
        if let LogicalPlan::TableScan(found) = node {
            scan = Some(LogicalPlan::TableScan(found.clone()));
        }
        Ok(datafusion::common::tree_node::TreeNodeRecursion::Continue)
    })
    .unwrap();
    LogicalPlanBuilder::from(scan.unwrap())
}

fn check(plan: LogicalPlan, place: &str) {
    match verify(&plan) {
        Err(Refusal::Unmasked(_, found)) => assert_eq!(found, place, "{}", plan.display_indent()),
        other => panic!("{other:?} for\n{}", plan.display_indent()),
    }
}

#[tokio::test]
async fn plans_with_their_masks_pass_however_the_optimizer_turns_them() {
    for sql in [
        "SELECT * FROM people",
        "SELECT email FROM people WHERE city = 'Delft' ORDER BY email LIMIT 1",
        "SELECT upper(email) FROM people WHERE email LIKE 'a%' OR email IS NULL",
        "SELECT email, count(*) FROM people GROUP BY email HAVING count(*) > 0",
        "SELECT a.email FROM people a JOIN people b ON a.email = b.email AND a.id < b.id",
        "SELECT id FROM people WHERE email IN (SELECT email FROM people WHERE id > 1)",
        "SELECT id FROM people p WHERE EXISTS (SELECT 1 FROM people q WHERE q.email = p.email AND q.id <> p.id)",
        "SELECT (SELECT max(email) FROM people) AS m, phone FROM people",
        "SELECT email FROM people UNION SELECT city FROM people",
        "SELECT DISTINCT email, phone FROM people",
        "SELECT rank() OVER (PARTITION BY email ORDER BY id) FROM people",
        "WITH RECURSIVE r(e, n) AS (SELECT email AS e, 1 AS n FROM people UNION ALL SELECT e, n + 1 FROM r WHERE n < 3) SELECT * FROM r",
        "SELECT CASE WHEN email > 'm' THEN email ELSE phone END FROM people",
        "SELECT count(*) FROM people",
    ] {
        let plan = plan(sql).await;
        assert_eq!(verify(&plan), Ok(()), "{sql}\n{}", plan.display_indent());
    }
}

#[tokio::test]
async fn a_table_that_nobody_governed_is_refused_also_in_a_subquery() {
    for sql in ["SELECT id FROM bypass", "SELECT id FROM people WHERE id IN (SELECT id FROM bypass)"] {
        assert_eq!(verify(&plan(sql).await), Err(Refusal::NotCleared("bypass".to_owned())), "{sql}");
    }
    let source = provider_as_source(raw_table());
    let swapped = plan("SELECT city FROM people")
        .await
        .transform_down(|node| {
            Ok(match node {
                LogicalPlan::TableScan(mut scan) => {
                    scan.source = Arc::clone(&source);
                    Transformed::yes(LogicalPlan::TableScan(scan))
                }
                other => Transformed::no(other),
            })
        })
        .unwrap();
    assert_eq!(verify(&swapped.data), Err(Refusal::NotCleared("people".to_owned())));
}

#[tokio::test]
async fn a_dropped_mask_is_refused() {
    check(bare_scan().await.build().unwrap(), "the result");
    check(bare_scan().await.project([col("people.email")]).unwrap().build().unwrap(), "the result");
    check(bare_scan().await.project([col("people.email").alias("city")]).unwrap().build().unwrap(), "the result");
    check(bare_scan().await.alias("p").unwrap().project([col("p.phone")]).unwrap().build().unwrap(), "the result");
}

#[tokio::test]
async fn a_raw_value_in_any_expression_is_refused() {
    let city = || [col("people.city")];
    let raw = || col("people.email").eq(lit("a@x.example"));
    let scan = bare_scan;
    check(scan().await.filter(raw()).unwrap().project(city()).unwrap().build().unwrap(), "a predicate");
    check(
        scan().await.sort([col("people.email").sort(true, true)]).unwrap().project(city()).unwrap().build().unwrap(),
        "a sort",
    );
    check(scan().await.project([raw()]).unwrap().build().unwrap(), "an expression");
    check(scan().await.aggregate([col("people.email")], [count(lit(1))]).unwrap().build().unwrap(), "an aggregate");
    check(
        scan().await.aggregate(Vec::<Expr>::new(), [count(col("people.email"))]).unwrap().build().unwrap(),
        "an aggregate",
    );
    check(scan().await.distinct().unwrap().project(city()).unwrap().build().unwrap(), "a distinct");
    let twice = scan().await.union(scan().await.build().unwrap()).unwrap().build().unwrap();
    check(twice, "a union");
    let other = scan().await.alias("other").unwrap().build().unwrap();
    let joined = scan().await.join_on(
        other,
        datafusion::logical_expr::JoinType::Inner,
        [col("people.email").eq(col("other.email"))],
    );
    check(joined.unwrap().project(city()).unwrap().build().unwrap(), "a join");
    let inside = Arc::new(scan().await.filter(raw()).unwrap().build().unwrap());
    let outside = LogicalPlanBuilder::empty(true).filter(exists(inside)).unwrap().build().unwrap();
    check(outside, "a predicate");
}

#[tokio::test]
async fn another_columns_mask_is_no_mask() {
    // `phone` owes NULL, so a hash of it is a leak: there are few phone numbers.
    let hashed = super::mask::masked(&Mask::Sha256Global, col("people.phone"), &DataType::Utf8).unwrap();
    check(bare_scan().await.project([hashed]).unwrap().build().unwrap(), "an expression");
}

#[tokio::test]
async fn a_governed_table_shows_its_masks_where_it_is_scanned_without_being_expanded() {
    let context = SessionContext::new();
    let frame = context.read_table(governed()).unwrap();
    let rows = frame.select_columns(&["email", "phone"]).unwrap().collect().await.unwrap();
    let shown = datafusion::arrow::util::pretty::pretty_format_batches(&rows).unwrap().to_string();
    assert!(!shown.contains('@') && shown.len() > 128, "{shown}");
}
