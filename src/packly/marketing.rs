//! The tables of the domain `marketing`: campaigns, and the paid clicks that brought customers.

use super::columns::{days, flags, instants, longs, money, texts};
use super::draw::{DAY, YEAR_START, at, below, day_of};
use super::table::{Cut, DATE, FLAG, INSTANT, LONG, MONEY, TEXT, Table};
use super::world::{CHANNELS, World, channel, customer_id};

pub const TABLES: [Table; 2] = [PAID_ACQUISITION, CAMPAIGNS];

/// Campaigns run for a quarter, one per channel, over the two years before the demo's.
const QUARTER: i64 = 92 * DAY;
const QUARTERS: u64 = 8;
const FIRST_QUARTER: i64 = YEAR_START - 735 * DAY;

fn campaign_id(quarter: u64, channel: u64) -> String {
    format!("MK-{:02}", quarter * 5 + channel + 1)
}

/// Three clicks for every two paid customers: the second of the three is a second thought of the first customer.
fn clicker(world: World, row: u64) -> u64 {
    let paid = row / 3 * 2 + u64::from(row % 3 == 2);
    1 + paid * world.customers / (clicks(world) / 3 * 2)
}

/// Enough clicks to have brought 64 of a hundred customers.
fn clicks(world: World) -> u64 {
    world.customers * 32 / 100 * 3
}

/// A first click comes up to two days before the sign-up, a second one within minutes of it.
fn clicked_at(world: World, row: u64) -> i64 {
    let before = if row % 3 == 1 { below(400, row, 900) } else { 1_200 + below(400, row, 172_000) };
    world.signed_up(clicker(world, row)) - before.cast_signed()
}

fn quarter(second: i64) -> u64 {
    ((second - FIRST_QUARTER) / QUARTER).unsigned_abs().min(QUARTERS - 1)
}

const PAID_ACQUISITION: Table = Table {
    namespace: "growth",
    name: "paid_acquisition",
    fields: || {
        vec![
            ("touch_id", LONG, true),
            ("customer_id", TEXT, true),
            ("campaign_id", TEXT, true),
            ("channel", TEXT, true),
            ("clicked_at", INSTANT, true),
            ("is_first_touch", FLAG, true),
            ("cost_eur", MONEY, true),
        ]
    },
    rows: clicks,
    cut: Cut::Even(2),
    columns: |world, rows| {
        Ok(vec![
            longs(rows, |row| row + 1),
            texts(rows, |row| customer_id(clicker(world, row))),
            texts(rows, |row| campaign_id(quarter(clicked_at(world, row)), channel(clicker(world, row)))),
            texts(rows, |row| at(&CHANNELS, channel(clicker(world, row)))),
            instants(rows, |row| clicked_at(world, row) * 1_000),
            flags(rows, |row| row % 3 != 1),
            money(rows, |row| at(&[45, 30, 12, 65, 9], channel(clicker(world, row))) + below(401, row, 90))?,
        ])
    },
};

const CAMPAIGNS: Table = Table {
    namespace: "growth",
    name: "campaigns",
    fields: || {
        vec![
            ("campaign_id", TEXT, true),
            ("name", TEXT, true),
            ("channel", TEXT, true),
            ("starts_on", DATE, true),
            ("ends_on", DATE, true),
            ("budget_eur", MONEY, true),
        ]
    },
    rows: |_| QUARTERS * 5,
    cut: Cut::Even(1),
    columns: |_, rows| {
        let starts = |row: u64| FIRST_QUARTER + (row / 5).cast_signed() * QUARTER;
        Ok(vec![
            texts(rows, |row| campaign_id(row / 5, row % 5)),
            texts(rows, |row| {
                let theme = at(&["Thaw", "Moving Day", "Harvest", "Gift Rush"], row / 5);
                format!("{theme} {} ({})", 2023 + row / 20, at(&CHANNELS, row % 5))
            }),
            texts(rows, |row| at(&CHANNELS, row % 5)),
            days(rows, |row| day_of(starts(row))),
            days(rows, |row| day_of(starts(row) + QUARTER) - 1),
            money(rows, |row| (8 + below(410, row, 40)) * 50_000)?,
        ])
    },
};
