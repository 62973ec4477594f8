//! Equality deletes by fields inside of structs.

use serde_json::{Map, Value, json};

use super::*;
use crate::scan::codec::tests::round_trips;
use crate::scan::tests::model::{F, K, bytes, of_iceberg};

const COLUMNS: [(&str, i32); 2] = [("a", 1), ("s", 3)];

fn field(id: i32, name: &str, kind: K) -> F {
    F { id, name: name.to_owned(), default: None, kind }
}

fn all() -> Vec<F> {
    let p = field(5, "p", K::Struct(vec![field(6, "y", K::Text)]));
    let s = vec![field(4, "x", K::Int), p, field(7, "z", K::Long)];
    vec![field(1, "a", K::Long), field(3, "s", K::Struct(s))]
}

async fn evolve(shop: &Shop, fields: &[F]) {
    shop.evolve("t", schema(fields.iter().map(of_iceberg).collect())).await;
}

fn parquet_of(fields: &[F], rows: Value) -> (Vec<u8>, u64) {
    let rows: Vec<Map<String, Value>> = serde_json::from_value(rows).unwrap();
    (bytes(fields, &rows, true), rows.len() as u64)
}

/// Five rows: whole ones and some with NULL at each depth.
async fn table_with_structs() -> Shop {
    let shop = table(2).await;
    evolve(&shop, &all()).await;
    let (bytes, rows) = parquet_of(
        &all(),
        json!([
            {"1": 1, "3": {"4": 1, "5": {"6": "u"}, "7": 0}},
            {"1": 2, "3": {"4": null, "5": {"6": "v"}, "7": 0}},
            {"1": 3, "3": null},
            {"1": 4, "3": {"4": 2, "5": null, "7": 0}},
            {"1": 5, "3": {"4": 3, "5": {"6": null}, "7": 0}},
        ]),
    );
    let mut files = Files::of(&shop);
    files.put(bytes, rows, |_| {}).await;
    files.commit().await;
    shop
}

async fn delete(shop: &Shop, fields: &[F], keys: Value, ids: &[i32]) {
    let (bytes, rows) = parquet_of(fields, keys);
    let mut files = Files::of(shop);
    files
        .put(bytes, rows, |file| {
            file.content(DataContentType::EqualityDeletes).equality_ids(Some(ids.to_vec()));
        })
        .await;
    files.commit().await;
}

fn only_x() -> Vec<F> {
    vec![field(3, "s", K::Struct(vec![field(4, "x", K::Int)]))]
}

fn only_y() -> Vec<F> {
    vec![field(3, "s", K::Struct(vec![field(5, "p", K::Struct(vec![field(6, "y", K::Text)]))]))]
}

async fn left(shop: &Shop) -> String {
    let sql = "SELECT a FROM t ORDER BY a";
    round_trips(shop, &COLUMNS, sql).await;
    let with_structs = rows(shop, &COLUMNS, "SELECT a, s FROM t ORDER BY a").await.unwrap().len();
    let only = rows(shop, &[("a", 1)], sql).await.unwrap();
    assert_eq!(only.len(), with_structs);
    only.join(" ")
}

#[tokio::test]
async fn a_key_in_a_struct_is_null_where_the_struct_is() {
    let shop = table_with_structs().await;
    delete(&shop, &only_x(), json!([{"3": {"4": 1}}, {"3": {"4": 9}}]), &[4]).await;
    assert_eq!(left(&shop).await, "2 3 4 5");
    delete(&shop, &only_x(), json!([{"3": {"4": null}}]), &[4]).await;
    assert_eq!(left(&shop).await, "4 5");

    let shop = table_with_structs().await;
    delete(&shop, &only_y(), json!([{"3": null}, {"3": {"5": {"6": "u"}}}]), &[6]).await;
    assert_eq!(left(&shop).await, "2");
}

#[tokio::test]
async fn keys_beside_a_struct_and_in_it_are_compared_together() {
    let shop = table_with_structs().await;
    let fields = [vec![field(1, "a", K::Long)], only_y()].concat();
    let keys = json!([
        {"1": 1, "3": {"5": {"6": "v"}}}, {"1": 2, "3": {"5": {"6": "v"}}},
        {"1": 4, "3": {"5": null}}, {"1": 5, "3": {"5": {"6": "w"}}},
    ]);
    delete(&shop, &fields, keys, &[1, 6]).await;
    assert_eq!(left(&shop).await, "1 3 5");
    let both = vec![field(3, "s", K::Struct(vec![field(4, "x", K::Int), field(7, "z", K::Long)]))];
    delete(&shop, &both, json!([{"3": {"4": 3, "7": 0}}, {"3": {"4": 1, "7": 1}}, {"3": null}]), &[4, 7]).await;
    assert_eq!(left(&shop).await, "1");
}

#[tokio::test]
async fn a_key_in_a_struct_is_found_after_it_was_renamed_promoted_and_dropped() {
    let shop = table_with_structs().await;
    delete(&shop, &only_x(), json!([{"3": {"4": 2}}]), &[4]).await;
    let inside = vec![field(7, "x", K::Long), field(4, "y", K::Long)];
    evolve(&shop, &[field(3, "t", K::Struct(inside)), field(1, "a", K::Long)]).await;
    assert_eq!(left(&shop).await, "1 2 3 5");
    let promoted = vec![field(3, "s", K::Struct(vec![field(4, "y", K::Long)]))];
    delete(&shop, &promoted, json!([{"3": {"4": 3}}]), &[4]).await;
    assert_eq!(left(&shop).await, "1 2 3");
    evolve(&shop, &[field(1, "a", K::Long), field(3, "s", K::Struct(vec![field(7, "z", K::Long)]))]).await;
    assert_eq!(left(&shop).await, "1 2 3");
    evolve(&shop, &[field(1, "a", K::Long)]).await;
    assert_eq!(rows(&shop, &[("a", 1)], "SELECT a FROM t ORDER BY a").await.unwrap(), ["1", "2", "3"]);
}

#[tokio::test]
async fn a_delete_file_with_the_struct_and_without_the_key_fails_the_scan() {
    let shop = table_with_structs().await;
    let other = vec![field(3, "s", K::Struct(vec![field(7, "z", K::Long)]))];
    delete(&shop, &other, json!([{"3": {"7": 0}}]), &[4]).await;
    let error = the_cause(rows(&shop, &COLUMNS, "SELECT a FROM t").await);
    assert_eq!(error.class, Class::Storage);
    assert!(error.message.contains("does not have the columns of its kind"), "{error}");
}

#[tokio::test]
async fn keys_in_lists_are_refused() {
    let shop = table(2).await;
    let element = Box::new(field(4, "element", K::Struct(vec![field(5, "x", K::Long)])));
    evolve(&shop, &[field(1, "a", K::Long), field(3, "l", K::List(element))]).await;
    let mut files = Files::of(&shop);
    data(&mut files, 0, 3).await;
    files.commit().await;
    delete(&shop, &[field(5, "x", K::Long)], json!([{"5": 1}]), &[5]).await;
    let error = pin(&shop, &[("a", 1)]).await.unwrap_err();
    assert!(error.message.contains("field 5") && error.class == Class::Drift, "{error}");
}
