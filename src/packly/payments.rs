//! The tables of the domain `payments`: attempts to pay, money given back, and what looked odd.

use super::columns::{doubles, instants, longs, money, some_texts, texts};
use super::draw::{below, pick, skewed};
use super::table::{Cut, DOUBLE, INSTANT, LONG, MONEY, TEXT, Table};
use super::world::{World, customer_id, five_for_four, is_returned};

pub const TABLES: [Table; 3] = [TRANSACTIONS, REFUNDS, FRAUD_SIGNALS];

/// Every fourth order was declined once before it was paid, the extra row of five for four.
fn captured(order: u64) -> u64 {
    let (group, place) = ((order - 1) / 4, (order - 1) % 4);
    group * 5 + place + 2
}

fn method(row: u64) -> &'static str {
    pick(500, five_for_four(row).0, &["card", "card", "card", "transfer", "wallet", "wallet", "invoice"])
}

/// A share between 0 and 1 that is small for most.
fn score(salt: u64, row: u64) -> f64 {
    f64::from(u16::try_from(skewed(salt, row, 1_000)).unwrap_or(0)) / 1_000.0
}

fn authorised_at(world: World, row: u64) -> i64 {
    let (order, is_extra) = five_for_four(row);
    world.ordered_at(order) * 1_000 + below(501, row, 20_000).cast_signed() + if is_extra { 0 } else { 45_000 }
}

const TRANSACTIONS: Table = Table {
    namespace: "ledger",
    name: "transactions",
    fields: || {
        vec![
            ("transaction_id", LONG, true),
            ("order_id", LONG, true),
            ("customer_id", TEXT, true),
            ("method", TEXT, true),
            ("card_last4", TEXT, false),
            ("amount_eur", MONEY, true),
            ("status", TEXT, true),
            ("risk_score", DOUBLE, true),
            ("authorised_at", INSTANT, true),
        ]
    },
    rows: |world| world.orders / 4 * 5,
    cut: Cut::Even(4),
    columns: |world, rows| {
        Ok(vec![
            longs(rows, |row| row + 1),
            longs(rows, |row| five_for_four(row).0),
            texts(rows, |row| customer_id(world.order_customer(five_for_four(row).0))),
            texts(rows, method),
            some_texts(rows, |row| {
                let payer = world.order_customer(five_for_four(row).0);
                (method(row) == "card").then(|| format!("{:04}", below(502, payer, 10_000)))
            }),
            money(rows, |row| world.order_cents(five_for_four(row).0))?,
            texts(rows, |row| match five_for_four(row) {
                (_, true) => "declined",
                (order, false) if is_returned(order) => "refunded",
                _ => "captured",
            }),
            doubles(rows, |row| score(503, row)),
            instants(rows, |row| authorised_at(world, row)),
        ])
    },
};

/// The order behind a refund.
fn refunded(row: u64) -> u64 {
    row * 25 + 7
}

const REFUNDS: Table = Table {
    namespace: "ledger",
    name: "refunds",
    fields: || {
        vec![
            ("refund_id", LONG, true),
            ("transaction_id", LONG, true),
            ("customer_id", TEXT, true),
            ("amount_eur", MONEY, true),
            ("reason", TEXT, true),
            ("refunded_at", INSTANT, true),
        ]
    },
    rows: |world| (world.orders + 18) / 25,
    cut: Cut::Even(1),
    columns: |world, rows| {
        Ok(vec![
            longs(rows, |row| row + 1),
            longs(rows, |row| captured(refunded(row))),
            texts(rows, |row| customer_id(world.order_customer(refunded(row)))),
            money(rows, |row| world.order_cents(refunded(row)))?,
            texts(rows, |row| pick(510, row, &["late", "late", "damaged", "wrong_item", "changed_mind"])),
            instants(rows, |row| {
                let days = 6 + below(511, row, 21);
                world.ordered_at(refunded(row)) * 1_000 + days.cast_signed() * 86_400_000
            }),
        ])
    },
};

const FRAUD_SIGNALS: Table = Table {
    namespace: "risk",
    name: "fraud_signals",
    fields: || {
        vec![
            ("signal_id", LONG, true),
            ("transaction_id", LONG, true),
            ("customer_id", TEXT, true),
            ("signal", TEXT, true),
            ("score", DOUBLE, true),
            ("raised_at", INSTANT, true),
        ]
    },
    rows: |world| world.orders / 30,
    cut: Cut::Even(1),
    columns: |world, rows| {
        let suspect = |row: u64| row * 30 + 11;
        Ok(vec![
            longs(rows, |row| row + 1),
            longs(rows, |row| captured(suspect(row))),
            texts(rows, |row| customer_id(world.order_customer(suspect(row)))),
            texts(rows, |row| pick(520, row, &["velocity", "address_mismatch", "stolen_card_list", "device_change"])),
            doubles(rows, |row| 1.0 - score(521, row) / 2.0),
            instants(rows, |row| world.ordered_at(suspect(row)) * 1_000 + 300_000),
        ])
    },
};
