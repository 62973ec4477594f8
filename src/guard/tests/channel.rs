//! Errors never depend on hidden rows: functions that fail on them alone, at every share of rows that are shown.

use super::*;

/// Each fails on what hidden rows hold and on nothing that is shown.
const FAILING: [&str; 12] = [
    "CAST(v AS BIGINT) = 1",
    "10 / z = 10",
    "10 % z = 0",
    "CAST(big AS INT) + 0 = 1",
    "extract(year FROM CAST(d AS DATE)) = 2024",
    "to_timestamp(d) IS NOT NULL",
    "arrow_cast(v, 'Int8') + 0 = 1",
    "factorial(big) = 1",
    "CAST(big AS DECIMAL(5, 0)) + 1 = 2",
    "regexp_like('a', pat)",
    "decode(hex, 'hex') IS NOT NULL",
    "12 / (big - 1099511627776) = 0",
];

const ROWS: i64 = 600;

/// Which part of a hundred rows is shown, spread as if by chance.
fn is_shown(row: i64, percent: i64) -> bool {
    (row * 37 + row / 100 * 11) % 100 < percent
}

async fn table(percent: i64, nulls: bool) -> Shop {
    let shop = shop().await;
    let fields = [("region", Text), ("v", Text), ("z", Long), ("big", Long), ("d", Text), ("pat", Text), ("hex", Text)];
    let mut columns = vec![optional(1, "id", Long)];
    columns.extend(fields.iter().zip(2..).map(|((name, of), id)| optional(id, name, of.clone())));
    shop.create("people", schema(columns)).await;
    let ids: Vec<i64> = (0..ROWS).collect();
    let text = |yes: &'static str, no: &'static str| {
        texts(ids.iter().map(|id| Some(if is_shown(*id, percent) { yes } else { no })))
    };
    let long = |yes: i64, no: i64| longs(ids.iter().map(|id| if is_shown(*id, percent) { yes } else { no }));
    let region = texts(ids.iter().map(|id| match is_shown(*id, percent) {
        true => Some("EU"),
        false if nulls && id % 3 > 0 => None,
        false => Some("US"),
    }));
    let columns = vec![
        longs(ids.iter().copied()),
        region,
        text("1", "secret"),
        long(1, 0),
        long(1, 1 << 40),
        text("2024-01-01", "secret"),
        text("a", "("),
        text("31", "zz"),
    ];
    shop.append("people", columns).await;
    shop
}

#[tokio::test]
async fn no_function_fails_on_a_row_that_is_not_shown() {
    for percent in [1, 5, 20, 21, 50, 95, 99] {
        for nulls in [false, true] {
            let shop = table(percent, nulls).await;
            let names = ["id", "v", "z", "big", "d", "pat", "hex"];
            let columns = names.iter().zip([1, 3, 4, 5, 6, 7, 8]);
            let columns = columns.map(|(name, id)| (column(name, id), None)).collect();
            let eu = permits(equals(&["region"], "EU"));
            let people = governed(&shop, "people", columns, vec![column("region", 2)], &eu).await;
            let all = names.iter().zip([1, 3, 4, 5, 6, 7, 8]).map(|(name, id)| column(name, id)).collect();
            let raw = IcebergScan::pin(shop.open("people").await, all, None).await.unwrap();
            let shown = (0..ROWS).filter(|row| is_shown(*row, percent)).count().to_string();
            let context = context(&shop);
            context.register_table("people", Arc::clone(&people)).unwrap();
            context.register_table("raw", raw).unwrap();
            for failing in FAILING {
                let tells =
                    context.sql(&format!("SELECT count(*) FROM raw WHERE {failing}")).await.unwrap().collect().await;
                assert!(tells.is_err(), "{failing} does not fail on what is hidden");
                for sql in [
                    format!("SELECT count(*) FROM people WHERE {failing}"),
                    format!("SELECT count(*) FROM people WHERE id >= 0 AND {failing}"),
                    format!("SELECT count(*) FROM (SELECT {failing} AS c FROM people) WHERE c"),
                    format!("SELECT count(*) FROM people WHERE CASE WHEN id >= 0 THEN {failing} END"),
                ] {
                    assert_eq!(rows(&shop, &people, &sql).await, [shown.as_str()], "{percent} % {nulls}: {sql}");
                }
            }
        }
    }
}
