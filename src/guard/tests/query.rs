//! Sealed queries: the verifier looks inside, and takes one for no other.

use datafusion::datasource::MemTable;
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_expr::expressions::lit;

use super::super::query::{QueryExec, Seal};
use super::super::steady::Spares;
use super::super::verify::Refusal;
use super::*;

/// A derived product of these columns, whose plans bear `seal`.
fn derived(inner: &Arc<dyn ExecutionPlan>, seal: &Seal, mask: Option<Mask>) -> Arc<dyn TableProvider> {
    let table = Arc::new(MemTable::try_new(inner.schema(), vec![vec![]]).unwrap());
    let treatment = mask.map_or(Treatment::Raw, Treatment::Masked);
    let columns = vec![GovernedColumn { name: "city".to_owned(), treatment }];
    let shown = Shown { columns, rows: None, restricted: true };
    let source = Source::query(table, seal.clone(), Spares::default());
    govern(TableReference::bare("towns"), source, shown, &Keys::new([])).unwrap()
}

#[tokio::test]
async fn a_sealed_query_is_verified_inside_and_for_what_it_stands() {
    let shop = people().await;
    let table = of_the_eu(&shop, &permits(equals(&["region"], "EU"))).await;
    let context = context(&shop);
    context.register_table("people", Arc::clone(&table)).unwrap();
    let inner = plan(&context, &table, "SELECT city FROM people").await;
    let seal = Seal::default();
    let sealed = |seal: &Seal, below: Vec<Arc<dyn PhysicalExpr>>| {
        Arc::new(QueryExec::new("towns", inner.schema(), Arc::clone(&inner), seal.clone(), below))
            as Arc<dyn ExecutionPlan>
    };
    let towns = derived(&inner, &seal, None);
    let verify = |tables: &[&Arc<dyn TableProvider>], plan: &Arc<dyn ExecutionPlan>| {
        Cleared::of(tables.iter().copied()).unwrap().verify_physical(plan)
    };
    assert_eq!(verify(&[&table, &towns], &sealed(&seal, Vec::new())), Ok(()));
    assert_eq!(
        shown(&datafusion::physical_plan::collect(sealed(&seal, vec![lit(true)]), context.task_ctx()).await.unwrap()),
        ["Delft", "Delft"]
    );
    // What is inside was not decided for this statement.
    let inside = verify(&[&towns], &sealed(&seal, Vec::new()));
    assert_eq!(inside, Err(Refusal::Guard("people".to_owned(), "another decision")));
    // The derived product was not, or the plan is that of another one.
    let unknown = Err(Refusal::NotCleared("a source".to_owned()));
    assert_eq!(verify(&[&table], &sealed(&seal, Vec::new())), unknown);
    assert_eq!(verify(&[&table, &towns], &sealed(&Seal::default(), Vec::new())), unknown);
    // Its own mask was left away.
    let masked = derived(&inner, &seal, Some(Mask::Null));
    let bare = verify(&[&table, &masked], &sealed(&seal, Vec::new()));
    assert_eq!(bare, Err(Refusal::Unguarded("towns".to_owned())));
}
