//! What a guarded scan shows, and what stands in its plan.

use datafusion::common::stats::Precision;
use datafusion::common::{ColumnStatistics, ScalarValue};
use datafusion::datasource::physical_plan::{FileGroup, FileScanConfig};
use datafusion::datasource::source::DataSourceExec;
use datafusion::physical_expr::expressions::DynamicFilterPhysicalExpr;
use datafusion::physical_expr::split_conjunction;
use datafusion::physical_expr::utils::collect_columns;
use datafusion::physical_plan::displayable;
use iceberg::spec::{NestedField, StructType, Type};

use super::super::{WithoutFigures, figures};
use super::*;

#[tokio::test]
async fn rows_that_are_not_shown_are_nowhere_and_masks_are_over_the_others() {
    let shop = people().await;
    let eu = of_the_eu(&shop, &permits(equals(&["region"], "EU"))).await;
    assert_eq!(rows(&shop, &eu, "SELECT id, city, phone FROM people ORDER BY id").await, ["1 Delft -", "3 Delft -"]);
    assert_eq!(rows(&shop, &eu, "SELECT count(*) FROM people").await, ["2"]);
    assert_eq!(rows(&shop, &eu, "SELECT max(id) FROM people").await, ["3"]);
    assert_eq!(rows(&shop, &eu, "SELECT id FROM people WHERE city = 'Gouda'").await, Vec::<String>::new());
    assert_eq!(rows(&shop, &eu, "SELECT id FROM people WHERE id > 1 AND note = '7'").await, ["3"]);
    assert_eq!(rows(&shop, &eu, "SELECT id FROM people WHERE email = 'a@x.example'").await, Vec::<String>::new());
    let hashes = rows(&shop, &eu, "SELECT DISTINCT email FROM people").await;
    assert!(hashes.len() == 1 && hashes.iter().all(|hash| hash.len() == 64), "{hashes:?}");
    for joined in [
        "SELECT a.id FROM people a JOIN people b ON a.email = b.email AND a.id < b.id",
        "SELECT id FROM people WHERE id = (SELECT min(id) FROM people)",
        "SELECT id FROM people p WHERE EXISTS (SELECT 1 FROM people q WHERE q.city = p.city AND q.id > p.id)",
        "SELECT id FROM people ORDER BY id LIMIT 1",
        "WITH RECURSIVE r(n) AS (SELECT min(id) AS n FROM people UNION ALL SELECT n + 1 FROM r WHERE n < 1) SELECT n FROM r",
        "SELECT CAST(note AS INT) - 6 FROM people WHERE id = 1",
        "SELECT id FROM (SELECT id, rank() OVER (PARTITION BY email ORDER BY id) AS n FROM people) WHERE n = 1",
    ] {
        assert_eq!(rows(&shop, &eu, joined).await, ["1"], "{joined}");
    }
}

#[tokio::test]
async fn a_rule_hides_what_is_unknown_to_it() {
    let shop = people().await;
    let all = "SELECT id FROM people ORDER BY id";
    let eu = || equals(&["region"], "EU");
    let closed = |permits: Vec<Option<Filter>>, forbids: Vec<Option<Filter>>| Rows::Closed {
        permits: permits.into_iter().map(rule).collect(),
        forbids: forbids.into_iter().map(rule).collect(),
    };
    let not_us = Filter::Not(Box::new(equals(&["region"], "US")));
    for (rules, shown) in [
        (closed(vec![], vec![]), vec![]),
        (closed(vec![None], vec![]), vec!["1", "2", "3", "4"]),
        (closed(vec![Some(not_us)], vec![]), vec!["1", "3"]),
        (closed(vec![Some(eu()), Some(equals(&["city"], "Gouda"))], vec![]), vec!["1", "2", "3", "4"]),
        (closed(vec![None], vec![Some(eu())]), vec!["2"]),
        (closed(vec![None], vec![None]), vec![]),
        (Rows::Except(vec![rule(Some(eu()))]), vec!["2"]),
        (Rows::Except(vec![rule(Some(Filter::IsNull(named(&["region"]))))]), vec!["1", "2", "3"]),
        (Rows::Except(vec![rule(Some(Filter::Constant(false)))]), vec!["1", "2", "3", "4"]),
    ] {
        let table = of_the_eu(&shop, &rules).await;
        assert_eq!(rows(&shop, &table, all).await, shown, "{rules:?}");
    }
}

#[tokio::test]
async fn figures_are_of_what_its_reader_could_count() {
    let shop = people().await;
    let masked = of_the_eu(&shop, &Rows::All).await;
    let told = figures(masked.as_ref(), &[0, 2]).unwrap();
    assert_eq!(told.num_rows, Precision::Exact(4));
    let [id, city, email] = [0, 1, 2].map(|place| told.column_statistics.get(place).cloned().unwrap());
    assert_eq!(id.max_value, Precision::Exact(ScalarValue::Int64(Some(4))));
    assert_eq!([city, email], [ColumnStatistics::new_unknown(), ColumnStatistics::new_unknown()]);
    let hidden = of_the_eu(&shop, &permits(equals(&["region"], "EU"))).await;
    assert_eq!(figures(hidden.as_ref(), &[0]), None);
}

#[tokio::test]
async fn without_anything_guarded_in_use_the_plan_is_the_scans_own() {
    let shop = people().await;
    let masked = of_the_eu(&shop, &Rows::All).await;
    let context = context(&shop);
    context.register_table("people", Arc::clone(&masked)).unwrap();
    let names = [("id", 1), ("city", 2), ("email", 3), ("phone", 4), ("note", 6)];
    let open = names.map(|(name, id)| (column(name, id), None)).into();
    let open = governed(&shop, "people", open, Vec::new(), &Rows::All).await;
    let free = super::context(&shop);
    free.register_table("people", Arc::clone(&open)).unwrap();
    for sql in [
        "SELECT id, city FROM people WHERE city = 'Delft' AND CAST(note AS INT) > 0",
        "SELECT count(*), max(id) FROM people",
        "SELECT a.id FROM people a JOIN people b ON a.id = b.id ORDER BY a.id LIMIT 3",
    ] {
        let (one, other) = (plan(&context, &masked, sql).await, plan(&free, &open, sql).await);
        let told = |plan: &Arc<dyn ExecutionPlan>| {
            displayable(plan.as_ref()).set_show_statistics(true).indent(true).to_string()
        };
        assert_eq!(told(&one), told(&other), "{sql}");
        assert!(guards(&one).is_empty());
    }
    assert_eq!(guards(&plan(&context, &masked, "SELECT phone FROM people").await).len(), 1);
}

#[tokio::test]
async fn a_plan_that_is_shown_has_no_figures_of_what_a_guard_hides() {
    let shop = people().await;
    let eu = of_the_eu(&shop, &permits(equals(&["region"], "EU"))).await;
    let shown_plan = || async {
        let context = context(&shop);
        let state = datafusion::execution::SessionStateBuilder::new_from_existing(context.state());
        let config = context.state().config().clone().with_extension(Arc::new(WithoutFigures));
        let context = SessionContext::new_with_state(state.with_config(config).build());
        context.register_table("people", Arc::clone(&eu)).unwrap();
        let plan = plan(&context, &eu, "SELECT city, email FROM people WHERE id = 1 AND upper(note) = '7'").await;
        displayable(plan.as_ref()).set_show_statistics(true).indent(true).to_string()
    };
    let before = shown_plan().await;
    assert!(
        before.contains(
            "GuardExec: people, projection=[city, email, note], masked=[email: sha-256-global], rows=filtered"
        ),
        "{before}"
    );
    assert!(!before.contains("EU") && !before.contains("parquet") && !before.contains("Inexact"), "{before}");
    for region in [Some("US"), None] {
        let more = vec![longs([9]), texts([None]), texts([None]), texts([None]), texts([region]), texts([None])];
        shop.append("people", more).await;
    }
    assert_eq!(shown_plan().await, before);
}

#[tokio::test]
async fn conditions_in_any_words_go_below_or_stay_above_as_the_verifier_has_it() {
    let shop = people().await;
    let eu = of_the_eu(&shop, &permits(equals(&["region"], "EU"))).await;
    let cases = [
        ("(id = 1) IS TRUE", vec!["1"]),
        ("(id = 1) IS NOT TRUE", vec!["3"]),
        ("(id = 1) IS FALSE", vec!["3"]),
        ("(id = 1) IS NOT FALSE", vec!["1"]),
        ("(id = 1) IS UNKNOWN", vec![]),
        ("(id = 1) IS NOT UNKNOWN", vec!["1", "3"]),
        ("(id = 1) = (city = 'Delft')", vec!["1"]),
        ("id NOT IN (1, 2, NULL)", vec![]),
        ("id IN (1, NULL)", vec!["1"]),
        ("id IN (NULL)", vec![]),
        ("city ILIKE 'DELFT' AND id < 3", vec!["1"]),
    ];
    for (condition, expect) in cases {
        let sql = format!("SELECT id FROM people WHERE {condition} ORDER BY id");
        assert_eq!(rows(&shop, &eu, &sql).await, expect, "{condition}");
    }
}

#[tokio::test]
async fn a_leakproof_predicate_opens_no_more_files_than_without_the_filter() {
    let shop = people().await;
    let context = context(&shop);
    let rows = permits(equals(&["note"], "7"));
    let filtered = of_the_eu(&shop, &rows).await;
    context.register_table("people", Arc::clone(&filtered)).unwrap();
    for (sql, files) in [("SELECT city FROM people WHERE id = 3", 1), ("SELECT city FROM people WHERE id + 0 = 3", 2)] {
        let plan = plan(&context, &filtered, sql).await;
        let guards = guards(&plan);
        let source = guards.first().unwrap().source.downcast_ref::<DataSourceExec>().unwrap();
        let config = source.data_source().downcast_ref::<FileScanConfig>().unwrap();
        assert_eq!(config.file_groups.iter().map(FileGroup::len).sum::<usize>(), files, "{sql}");
    }
}

#[tokio::test]
async fn what_an_operator_learns_reaches_the_scan_through_the_guard_by_plain_columns_alone() {
    let shop = people().await;
    let context = context(&shop);
    let eu = of_the_eu(&shop, &permits(equals(&["region"], "EU"))).await;
    context.register_table("people", Arc::clone(&eu)).unwrap();
    let join = |on: &str| format!("SELECT p.city FROM people p JOIN people q ON {on} WHERE q.city = 'Delft'");
    for (sql, reaches) in [
        ("SELECT city FROM people ORDER BY id LIMIT 1".to_owned(), Some("id")),
        ("SELECT city FROM people ORDER BY email LIMIT 1".to_owned(), None),
        ("SELECT city FROM people ORDER BY CAST(note AS INT) LIMIT 1".to_owned(), None),
        (join("p.id = q.id"), Some("id")),
        (join("p.note = q.note AND p.id < q.id"), Some("note")),
        (join("p.email = q.email"), None),
        (join("p.phone = q.phone AND p.id = q.id"), None),
        (join("CAST(p.note AS BIGINT) = CAST(q.note AS BIGINT)"), None),
        (join("upper(p.note) = upper(q.note)"), None),
        ("SELECT city FROM people WHERE id IN (SELECT id FROM people WHERE city = 'Delft')".to_owned(), Some("id")),
        ("SELECT city FROM people WHERE email IN (SELECT phone FROM people WHERE city = 'Delft')".to_owned(), None),
    ] {
        let plan = plan(&context, &eu, &sql).await;
        assert!(!guards(&plan).is_empty());
        let mut over: Vec<String> = Vec::new();
        for guard in guards(&plan) {
            let source = guard.source.downcast_ref::<DataSourceExec>().unwrap();
            let config = source.data_source().downcast_ref::<FileScanConfig>().unwrap();
            let filter = config.file_source().filter();
            for part in filter.iter().flat_map(split_conjunction) {
                if part.is::<DynamicFilterPhysicalExpr>() {
                    over.extend(collect_columns(part).iter().map(|column| column.name().to_owned()));
                }
            }
        }
        assert_eq!(over.iter().map(String::as_str).collect::<Vec<_>>(), Vec::from_iter(reaches), "{sql}");
    }
}

#[tokio::test]
async fn a_rule_on_a_field_reads_it_beside_the_fields_that_are_shown() {
    use datafusion::arrow::array::StructArray;
    use datafusion::arrow::buffer::NullBuffer;
    use datafusion::arrow::datatypes::DataType;
    let shop = shop().await;
    let inside = StructType::new(vec![optional(3, "town", Text), optional(4, "street", Text)]);
    let address = NestedField::optional(2, "address", Type::Struct(inside));
    shop.create("people", schema(vec![optional(1, "id", Long), address.into()])).await;
    let current = shop.load("people").await.metadata().current_schema().clone();
    let arrow = iceberg::arrow::schema_to_arrow_schema(&current).unwrap();
    let DataType::Struct(fields) = arrow.field(1).data_type().clone() else { unreachable!() };
    let towns = texts([Some("Delft"), Some("Gouda"), Some("Delft"), Some("Delft")]);
    let streets = texts([Some("Dam"), Some("Dam"), None, Some("Kade")]);
    let nulls = NullBuffer::from(vec![true, false, true, true]);
    let addresses = StructArray::new(fields, vec![towns, streets], Some(nulls));
    shop.append("people", vec![longs(1..5), Arc::new(addresses)]).await;
    let part = |name: &str, of: &str, id| ScanColumn {
        name: name.to_owned(),
        field_id: 2,
        fields: Some(vec![column(of, id)]),
    };
    for (rules, ids) in [
        (permits(equals(&["beyond", "street"], "Dam")), vec!["1 {town: Delft}"]),
        (permits(Filter::IsNull(named(&["beyond", "street"]))), vec!["2 -", "3 {town: Delft}"]),
        (Rows::Except(vec![rule(Some(equals(&["beyond", "street"], "Dam")))]), vec!["4 {town: Delft}"]),
    ] {
        let columns = vec![(column("id", 1), None), (part("address", "town", 3), None)];
        let table = governed(&shop, "people", columns, vec![part("beyond", "street", 4)], &rules).await;
        assert_eq!(rows(&shop, &table, "SELECT id, address FROM people ORDER BY id").await, ids, "{rules:?}");
    }
}
