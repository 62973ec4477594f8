//! The tables of the domain `wholesale`: orders, and the trade accounts that some of them ran over.

use super::columns::{days, instants, ints, longs, money, some_texts, texts};
use super::draw::{YEAR_SECONDS, YEAR_START, below, day_of, pick};
use super::table::{Cut, DATE, INSTANT, INT, LONG, MONEY, TEXT, Table};
use super::world::{World, account_id, country, customer_id, email, is_returned, names, sku};

pub const TABLES: [Table; 2] = [ORDERS, ACCOUNTS];

const ORDERS: Table = Table {
    namespace: "trade",
    name: "orders",
    fields: || {
        vec![
            ("order_id", LONG, true),
            ("customer_id", TEXT, true),
            ("account_id", TEXT, false),
            ("sku", TEXT, true),
            ("quantity", INT, true),
            ("total_eur", MONEY, true),
            ("status", TEXT, true),
            ("ordered_at", INSTANT, true),
        ]
    },
    rows: |world| world.orders,
    cut: Cut::Even(4),
    columns: |world, rows| {
        Ok(vec![
            longs(rows, |row| row + 1),
            texts(rows, |row| customer_id(world.order_customer(row + 1))),
            some_texts(rows, |row| world.order_account(row + 1).map(account_id)),
            texts(rows, |row| sku(world.order_item(row + 1))),
            ints(rows, |row| world.order_quantity(row + 1)),
            money(rows, |row| world.order_cents(row + 1))?,
            texts(rows, |row| status(world, row + 1)),
            instants(rows, |row| world.ordered_at(row + 1) * 1_000),
        ])
    },
};

/// The last days of the year are still under way.
fn status(world: World, order: u64) -> &'static str {
    match (YEAR_START + YEAR_SECONDS - world.ordered_at(order)) / 86_400 {
        0 => "open",
        1..=4 => "shipped",
        _ if is_returned(order) => "returned",
        _ => "completed",
    }
}

const ACCOUNTS: Table = Table {
    namespace: "trade",
    name: "accounts",
    fields: || {
        vec![
            ("account_id", TEXT, true),
            ("customer_id", TEXT, true),
            ("company_name", TEXT, true),
            ("contact_email", TEXT, true),
            ("country", TEXT, true),
            ("payment_terms_days", INT, true),
            ("credit_limit_eur", MONEY, true),
            ("opened_on", DATE, true),
        ]
    },
    rows: |world| world.accounts,
    cut: Cut::Even(1),
    columns: |world, rows| {
        let buyer = |row: u64| World::account_customer(row + 1);
        Ok(vec![
            texts(rows, |row| account_id(row + 1)),
            texts(rows, |row| customer_id(buyer(row))),
            texts(rows, |row| {
                let trade = pick(200, row, &["Ceramics", "Books", "Wines", "Prints", "Bikes", "Teas", "Toys", "Lamps"]);
                format!("{} {trade} {}", names(buyer(row)).1, row + 1)
            }),
            texts(rows, |row| email(buyer(row))),
            texts(rows, |row| country(buyer(row)).0),
            ints(rows, |row| pick(201, row, &[14, 30, 30, 60])),
            money(rows, |row| (1 + below(202, row, 50)) * 100_000)?,
            // Trade accounts open a month after the buyer's own.
            days(rows, |row| day_of(world.signed_up(buyer(row))) + 30),
        ])
    },
};
