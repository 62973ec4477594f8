//! The tables of the domain `storefront`: who shops, what they do, and what is on the shelf.

use std::sync::Arc;

use arrow::array::{ArrayRef, ListBuilder, StringBuilder, StructArray};
use arrow::datatypes::{DataType, Field};

use super::columns::{days, doubles, flags, instants, ints, longs, money, some_money, some_texts, texts};
use super::draw::{YEAR_SECONDS, YEAR_START, at, below, day_of, draw, pick, skewed};
use super::table::{Cut, DATE, DOUBLE, FLAG, INSTANT, INT, LONG, MONEY, TEXT, Table, int_struct, text_list};
use super::world::{country, customer_id, email, item_cents, names, sku, spread};

pub const TABLES: [Table; 3] = [CUSTOMER_EVENTS, CUSTOMERS, CATALOG_ITEMS];

const INTERESTS: [&str; 8] = ["moving", "gifts", "wine", "books", "ceramics", "plants", "returns", "recycling"];

const CUSTOMERS: Table = Table {
    namespace: "shop",
    name: "customers",
    fields: || {
        vec![
            ("customer_id", TEXT, true),
            ("email", TEXT, true),
            ("full_name", TEXT, true),
            ("phone", TEXT, false),
            ("tax_id", TEXT, false),
            ("region", TEXT, true),
            ("country", TEXT, true),
            ("city", TEXT, true),
            ("segment", TEXT, true),
            ("loyalty_tier", INT, true),
            ("marketing_consent", FLAG, true),
            ("signed_up_on", DATE, true),
            ("interests", text_list(14), true),
        ]
    },
    rows: |world| world.customers,
    cut: Cut::Even(2),
    columns: |world, rows| {
        let mut interests = ListBuilder::new(StringBuilder::new());
        for row in rows.clone() {
            let ticked = draw(107, row);
            for (bit, interest) in INTERESTS.iter().enumerate() {
                // Two bits each: a quarter of the customers ticks any one topic.
                if (ticked >> (2 * bit)) & 3 == 0 {
                    interests.values().append_value(interest);
                }
            }
            interests.append(true);
        }
        Ok(vec![
            texts(rows, |row| customer_id(row + 1)),
            texts(rows, |row| email(row + 1)),
            texts(rows, |row| {
                let (given, family) = names(row + 1);
                format!("{given} {family}")
            }),
            some_texts(rows, |row| {
                (below(100, row, 100) < 85)
                    .then(|| format!("{} 555 {:07}", country(row + 1).2, below(101, row, 10_000_000)))
            }),
            some_texts(rows, |row| {
                (below(102, row, 100) < 30)
                    .then(|| format!("{}{:09}", country(row + 1).0, below(103, row, 1_000_000_000)))
            }),
            texts(rows, |row| country(row + 1).1),
            texts(rows, |row| country(row + 1).0),
            texts(rows, |row| pick(104, row, &country(row + 1).3)),
            texts(rows, |row| pick(105, row, &["household", "household", "household", "maker", "reseller"])),
            ints(rows, |row| skewed(106, row, 4)),
            flags(rows, |row| below(108, row, 100) < 58),
            days(rows, |row| day_of(world.signed_up(row + 1))),
            Arc::new(interests.finish()),
        ])
    },
};

/// Five events make a visit; the further into it, the nearer to the till.
const STEPS: [[&str; 4]; 5] = [
    ["page_view", "page_view", "page_view", "search"],
    ["page_view", "page_view", "search", "search"],
    ["page_view", "page_view", "page_view", "add_to_cart"],
    ["page_view", "page_view", "add_to_cart", "checkout"],
    ["page_view", "page_view", "page_view", "purchase"],
];

fn step(row: u64) -> &'static str {
    let steps = STEPS.get(usize::try_from(row % 5).unwrap_or(0)).copied().unwrap_or_default();
    // One visitor decides all steps of the visit, so that who buys has put something into the cart before.
    at(&steps, draw(110, row / 5) >> 40)
}

const CUSTOMER_EVENTS: Table = Table {
    namespace: "shop",
    name: "customer_events",
    fields: || {
        vec![
            ("event_id", LONG, true),
            ("customer_id", TEXT, true),
            ("session_id", LONG, true),
            ("event_type", TEXT, true),
            ("occurred_at", INSTANT, true),
            ("device", TEXT, true),
            ("sku", TEXT, false),
            ("dwell_ms", INT, true),
            ("value_eur", MONEY, false),
        ]
    },
    rows: |world| world.events,
    cut: Cut::Monthly("occurred_at"),
    columns: |world, rows| {
        Ok(vec![
            longs(rows, |row| row + 1),
            texts(rows, |row| customer_id(world.visitor(row / 5))),
            longs(rows, |row| row / 5 + 1),
            texts(rows, step),
            instants(rows, |row| {
                let even = YEAR_START * 1_000 + spread(row, world.events, YEAR_SECONDS * 1_000);
                let drawn = even + below(111, row, 31_000).cast_signed();
                // Never into the next day, which may be the next month and so another partition.
                if day_of(drawn / 1_000) == day_of(even / 1_000) { drawn } else { even }
            }),
            texts(rows, |row| pick(112, row / 5, &["phone", "phone", "phone", "desktop", "desktop", "tablet"])),
            some_texts(rows, |row| (step(row) != "search").then(|| sku(1 + skewed(113, row / 5, world.items)))),
            ints(rows, |row| 400 + skewed(114, row, 180_000)),
            some_money(rows, |row| {
                matches!(step(row), "checkout" | "purchase").then(|| 250 + skewed(115, row / 5, 60_000))
            })?,
        ])
    },
};

const CATALOG_ITEMS: Table = Table {
    namespace: "shop",
    name: "catalog_items",
    fields: || {
        vec![
            ("sku", TEXT, true),
            ("title", TEXT, true),
            ("material", TEXT, true),
            ("list_price_eur", MONEY, true),
            ("recycled_share", DOUBLE, true),
            ("is_discontinued", FLAG, true),
            ("dimensions", int_struct(8, &["length_mm", "width_mm", "height_mm"]), true),
        ]
    },
    rows: |world| world.items,
    cut: Cut::Even(1),
    columns: |_, rows| {
        let kind = |row: u64| below(120, row, 5);
        let side = |name: &str, values: ArrayRef| (Arc::new(Field::new(name, DataType::Int32, false)), values);
        Ok(vec![
            texts(rows, |row| sku(row + 1)),
            texts(rows, |row| {
                let size = pick(121, row, &["Pocket", "Small", "Medium", "Large", "Pallet"]);
                let thing = at(&["box", "sheet roll", "mailer", "sleeve", "corner guard"], kind(row));
                format!("{size} {thing} {}", row + 1)
            }),
            texts(rows, |row| at(&["corrugated", "kraft", "mailer", "glassine", "recycled foam"], kind(row))),
            money(rows, |row| item_cents(row + 1))?,
            doubles(rows, |row| f64::from(u8::try_from(below(122, row, 21)).unwrap_or(0)) / 20.0),
            flags(rows, |row| below(123, row, 12) == 0),
            Arc::new(StructArray::from(vec![
                side("length_mm", ints(rows, |row| 200 + below(124, row, 20) * 50)),
                side("width_mm", ints(rows, |row| 100 + below(125, row, 10) * 10)),
                side("height_mm", ints(rows, |row| 10 + below(126, row, 9) * 10)),
            ])),
        ])
    },
};
