//! Plans that were corrupted on purpose, and what the verifier says of each.

use datafusion::arrow::datatypes::DataType;
use datafusion::common::tree_node::{Transformed, TransformedResult};
use datafusion::datasource::{provider_as_source, source_as_provider};
use datafusion::logical_expr::{LogicalPlan, Operator};
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_expr::expressions::{BinaryExpr, Column, cast, lit};
use datafusion::physical_plan::filter_pushdown::{ChildFilterPushdownResult, ChildPushdownResult, FilterPushdownPhase};
use datafusion::physical_plan::projection::{ProjectionExec, ProjectionExpr};

use super::super::verify::Refusal;
use super::*;

const SQL: &str = "SELECT city, email, phone, note FROM people WHERE id > 0";

/// A shop, a table for somebody in the EU, and the plan of a statement on it.
async fn planned() -> (Shop, Arc<dyn TableProvider>, Arc<dyn ExecutionPlan>) {
    let shop = people().await;
    let table = of_the_eu(&shop, &permits(equals(&["region"], "EU"))).await;
    let context = context(&shop);
    context.register_table("people", Arc::clone(&table)).unwrap();
    let plan = plan(&context, &table, SQL).await;
    (shop, table, plan)
}

/// A plan with other guards.
fn with(plan: &Arc<dyn ExecutionPlan>, other: &dyn Fn(GuardExec) -> Arc<dyn ExecutionPlan>) -> Arc<dyn ExecutionPlan> {
    let replaced = Arc::clone(plan).transform_up(|node| {
        Ok(match node.downcast_ref::<GuardExec>() {
            Some(guard) => Transformed::yes(other(guard.clone())),
            None => Transformed::no(node),
        })
    });
    replaced.data().unwrap()
}

fn at(schema: &datafusion::arrow::datatypes::SchemaRef, name: &str) -> Arc<dyn PhysicalExpr> {
    Arc::new(Column::new_with_schema(name, schema).unwrap())
}

/// `CAST(note AS INT) > 0`
fn failing(guard: &GuardExec) -> Arc<dyn PhysicalExpr> {
    let schema = guard.source.schema();
    let number = cast(at(&schema, "note"), &schema, DataType::Int64).unwrap();
    Arc::new(BinaryExpr::new(number, Operator::Gt, lit(0_i64)))
}

fn shown_as(guard: &mut GuardExec, name: &str, expr: Arc<dyn PhysicalExpr>) {
    guard.shown.iter_mut().filter(|(shown, _)| shown == name).for_each(|(_, shown)| *shown = Arc::clone(&expr));
}

#[tokio::test]
async fn each_corruption_of_a_guard_is_refused() {
    let (shop, table, plan) = planned().await;
    let cleared = Cleared::of([&table]).unwrap();
    assert_eq!(cleared.verify_physical(&plan), Ok(()));
    let other = of_the_eu(&shop, &permits(equals(&["region"], "EU"))).await;
    let other_context = context(&shop);
    other_context.register_table("people", Arc::clone(&other)).unwrap();
    let others = guards(&super::plan(&other_context, &other, SQL).await);
    let other = others.first().unwrap();
    type Corruption<'a> = (&'a str, &'a str, Box<dyn Fn(GuardExec) -> GuardExec + 'a>);
    let corruptions: Vec<Corruption<'_>> = vec![
        (
            "filter dropped",
            "another row filter",
            Box::new(|mut guard| {
                guard.rows = None;
                guard
            }),
        ),
        (
            "filter weakened",
            "another row filter",
            Box::new(|mut guard| {
                guard.rows = Some(lit(true));
                guard
            }),
        ),
        (
            "mask dropped",
            "another mask",
            Box::new(|mut guard| {
                let raw = at(&guard.source.schema(), "email");
                shown_as(&mut guard, "email", raw);
                guard
            }),
        ),
        (
            "masks swapped",
            "another mask",
            Box::new(|mut guard| {
                let mask = |name: &str| guard.shown.iter().find(|(shown, _)| shown == name).unwrap().1.clone();
                let (email, phone) = (mask("email"), mask("phone"));
                shown_as(&mut guard, "email", phone);
                shown_as(&mut guard, "phone", email);
                guard
            }),
        ),
        (
            "projection widened",
            "another mask",
            Box::new(|mut guard| {
                let raw = at(&guard.source.schema(), "region");
                guard.shown.push(("region".to_owned(), raw));
                guard
            }),
        ),
        (
            "a column that is not granted under the name of one that is",
            "another mask",
            Box::new(|mut guard| {
                let raw = at(&guard.source.schema(), "region");
                shown_as(&mut guard, "city", raw);
                guard
            }),
        ),
        (
            "columns moved",
            "columns out of their places",
            Box::new(|mut guard| {
                let wrong = guard.source.schema().index_of("region").unwrap();
                shown_as(&mut guard, "city", Arc::new(Column::new("city", wrong)));
                guard
            }),
        ),
        (
            "provider swapped",
            "another source",
            Box::new(|mut guard| {
                guard.source = Arc::clone(&other.source);
                guard
            }),
        ),
        (
            "mask before filter",
            "another source",
            Box::new(|mut guard| {
                let schema = guard.source.schema();
                let columns = schema.fields().iter().map(|field| ProjectionExpr {
                    expr: if field.name() == "region" { lit("EU") } else { at(&schema, field.name()) },
                    alias: field.name().clone(),
                });
                guard.source = Arc::new(ProjectionExec::try_new(columns.collect::<Vec<_>>(), guard.source).unwrap());
                guard
            }),
        ),
        (
            "user predicate below the barrier",
            "a predicate below it that may tell of hidden rows",
            Box::new(|mut guard| {
                guard.below.push(failing(&guard));
                guard
            }),
        ),
        (
            "user predicate in the source",
            "a predicate in its source that may tell of hidden rows",
            Box::new(|mut guard| {
                let filter = ChildFilterPushdownResult { filter: failing(&guard), child_results: Vec::new() };
                let pushed = ChildPushdownResult { parent_filters: vec![filter], self_filters: Vec::new() };
                let config = datafusion::config::ConfigOptions::default();
                let answer =
                    guard.source.handle_child_pushdown_result(FilterPushdownPhase::Pre, pushed, &config).unwrap();
                guard.source = answer.updated_node.unwrap();
                guard
            }),
        ),
        (
            "another principal's grants",
            "another decision",
            Box::new(|mut guard| {
                guard.clearance = Arc::clone(&other.clearance);
                guard
            }),
        ),
    ];
    for (what, refusal, corrupt) in corruptions {
        let corrupted = with(&plan, &|guard| Arc::new(corrupt(guard)));
        assert_eq!(
            cleared.verify_physical(&corrupted),
            Err(Refusal::Guard("people".to_owned(), leak(refusal))),
            "{what}"
        );
    }
    let unguarded = with(&plan, &|guard| guard.source);
    assert_eq!(cleared.verify_physical(&unguarded), Err(Refusal::Unguarded("people".to_owned())));
}

fn leak(text: &str) -> &'static str {
    Box::leak(text.to_owned().into_boxed_str())
}

#[tokio::test]
async fn a_bare_scan_of_a_masked_column_is_refused() {
    let shop = people().await;
    let table = of_the_eu(&shop, &Rows::All).await;
    let context = context(&shop);
    context.register_table("people", Arc::clone(&table)).unwrap();
    let masked = plan(&context, &table, "SELECT email FROM people").await;
    let unmasked = with(&masked, &|guard| guard.source);
    let cleared = Cleared::of([&table]).unwrap();
    assert_eq!(cleared.verify_physical(&unmasked), Err(Refusal::Unguarded("people".to_owned())));
    let raw = IcebergScan::pin(shop.open("people").await, vec![column("id", 1)], None).await.unwrap();
    let raw = raw.scan(&context.state(), None, &[], None).await.unwrap();
    assert_eq!(cleared.verify_physical(&raw), Err(Refusal::NotCleared("a source".to_owned())));
}

#[tokio::test]
async fn a_table_that_was_not_governed_for_this_statement_is_refused_also_in_a_subquery() {
    let (shop, table, _) = planned().await;
    let context = context(&shop);
    let ids = vec![column("id", 1)];
    let bypass = IcebergScan::pin(shop.open("people").await, ids, None).await.unwrap();
    let another = of_the_eu(&shop, &Rows::All).await;
    context.register_table("people", Arc::clone(&table)).unwrap();
    context.register_table("bypass", Arc::clone(&bypass) as Arc<dyn TableProvider>).unwrap();
    context.register_table("another", another).unwrap();
    let cleared = Cleared::of([&table]).unwrap();
    for name in ["bypass", "another"] {
        for sql in [
            format!("SELECT id FROM {name}"),
            format!("SELECT id FROM people WHERE id IN (SELECT id FROM {name})"),
            format!("SELECT id FROM people p WHERE EXISTS (SELECT 1 FROM {name} b WHERE b.id > p.id)"),
            format!("SELECT (SELECT max(id) FROM {name}) FROM people"),
        ] {
            let unoptimized = context.state().create_logical_plan(&sql).await.unwrap();
            let plan = context.state().optimize(&unoptimized).unwrap();
            for plan in [unoptimized, plan] {
                assert_eq!(cleared.verify(&plan), Err(Refusal::NotCleared(name.to_owned())), "{sql}");
            }
        }
    }
    let plan = context.state().create_logical_plan("SELECT city FROM people").await.unwrap();
    let source = provider_as_source(bypass);
    let swapped = plan.transform_down(|node| {
        Ok(match node {
            LogicalPlan::TableScan(mut scan) => {
                assert!(source_as_provider(&scan.source).is_ok());
                scan.source = Arc::clone(&source);
                Transformed::yes(LogicalPlan::TableScan(scan))
            }
            other => Transformed::no(other),
        })
    });
    assert_eq!(cleared.verify(&swapped.data().unwrap()), Err(Refusal::NotCleared("people".to_owned())));
    assert!(
        Cleared::of([
            &(Arc::new(datafusion::datasource::empty::EmptyTable::new(table.schema())) as Arc<dyn TableProvider>)
        ])
        .is_err()
    );
}
