//! Random evolution of nested schemas, read by field id, against a naive reading of the same rows.

use iceberg::spec::FormatVersion;
use serde_json::{Map, Value, json};

use super::model::{F, K, Model, NAMES, as_json, bytes, leaves, of_iceberg, real, row};
use super::*;

#[tokio::test]
async fn any_evolution_reads_as_the_rows_say() {
    for seed in 0..6 {
        let mut model = Model { chance: Chance(seed), last: 1 };
        let shop = shop().await;
        shop.create("t", schema(vec![optional(1, "n", Long)])).await;
        shop.change("t", |builder| builder.upgrade_format_version(FormatVersion::V3).unwrap()).await;
        let mut fields = vec![F { id: 1, name: "n".into(), default: None, kind: K::Long }];
        fields.extend(NAMES.iter().take(3).map(|name| model.field(name, 0)));
        let mut all: Vec<Map<String, Value>> = Vec::new();
        for version in 0..3 {
            if version > 0 {
                (0..3).for_each(|_| model.evolve(&mut fields, 0, true));
            }
            shop.evolve("t", schema(fields.iter().map(of_iceberg).collect())).await;
            let first = all.len();
            for number in first..first + 20 {
                let value = |field: &F| (field.id.to_string(), model.value(&field.kind));
                let mut row: Map<String, Value> = fields.iter().map(value).collect();
                row.insert("1".into(), json!(number));
                all.push(row);
            }
            let table = shop.load("t").await;
            let file = put_rows(&table, &format!("v{version}"), bytes(&fields, &all[first..], true), 20).await;
            append_files(&shop, vec![file]).await;
            check(&shop, &fields, &all, &mut model.chance, seed).await;
        }
    }
}

async fn check(shop: &Shop, fields: &[F], all: &[Map<String, Value>], chance: &mut Chance, seed: u64) {
    let expected: Vec<Value> = all.iter().map(|values| row(values, fields)).collect();
    let columns: Vec<(&str, i32)> = fields.iter().map(|field| (field.name.as_str(), field.id)).collect();
    let mut paths = Vec::new();
    leaves(fields, &[], &mut paths);
    let is_number = |kind: &K| matches!(kind, K::Int | K::Long | K::Float | K::Double | K::Decimal(_));
    let numbers: Vec<_> = paths.into_iter().filter(|(_, field)| is_number(&field.kind)).map(|(path, _)| path).collect();
    for query in 0..5 {
        let path = &numbers[chance.below(numbers.len())];
        let bound = chance.below(30) as i64 - 6;
        let value =
            |row: &Value| path.iter().try_fold(row.clone(), |at, name| at.get(name).cloned()).unwrap_or_default();
        let op = ["<", ">", "="][chance.below(3)];
        let holds = |row: &&Value| {
            real(&value(row)).map(|number| number.total_cmp(&(bound as f64))).is_some_and(|order| match op {
                "<" => order.is_lt(),
                ">" => order.is_gt(),
                _ => order.is_eq(),
            })
        };
        let inside: String = path[1..].iter().map(|name| format!("['{name}']")).collect();
        let sql = format!("t.\"{}\"{inside}", path[0]);
        let everything = query == 0;
        let condition = if everything { "true".to_owned() } else { format!("{sql} {op} {bound}") };
        let expect: Vec<&Value> = expected.iter().filter(|row| everything || holds(row)).collect();
        for late in [false, true] {
            let context = context(shop);
            context.state_ref().write().config_mut().options_mut().execution.parquet.pushdown_filters = late;
            context.register_table("t", pin(shop, &columns).await.unwrap()).unwrap();
            for (select, expect) in [
                ("*".to_owned(), expect.iter().map(|row| (*row).clone()).collect::<Vec<_>>()),
                (format!("n, {sql} AS x"), expect.iter().map(|row| json!({"n": row["n"], "x": value(row)})).collect()),
            ] {
                let statement = format!("SELECT {select} FROM t WHERE {condition} ORDER BY n");
                let got = context.sql(&statement).await.unwrap().collect().await;
                let got = got.unwrap_or_else(|error| panic!("seed {seed}, {statement}: {error}\n{fields:#?}"));
                assert_eq!(as_json(&got), expect, "seed {seed}, late {late}, {statement}\n{fields:#?}");
            }
        }
    }
}
