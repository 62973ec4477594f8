//! The tables of the domain `fulfillment`: parcels and the houses where they are packed.

use super::columns::{days, doubles, flags, instants, ints, longs, some_instants, texts};
use super::draw::{DAY, YEAR_SECONDS, YEAR_START, at, below, day_of, skewed};
use super::table::{Cut, DATE, DOUBLE, FLAG, INSTANT, INT, LONG, TEXT, Table};
use super::world::{World, customer_id, five_for_four};

pub const TABLES: [Table; 2] = [SHIPMENT_STATUS, WAREHOUSES];

/// Code, city, country, capacity in pallets, first day since 1970.
const HOUSES: [(&str, &str, &str, u64, i32); 6] = [
    ("WH-RTM", "Rotterdam", "NL", 18_000, 16_527),
    ("WH-LEJ", "Leipzig", "DE", 12_500, 17_136),
    ("WH-LYS", "Lyon", "FR", 7_000, 17_988),
    ("WH-PDX", "Portland", "US", 9_500, 18_341),
    ("WH-EWR", "Newark", "US", 11_000, 18_779),
    ("WH-POZ", "Poznan", "PL", 6_200, 19_416),
];
const CARRIERS: [&str; 5] = ["Kestrel", "Blue Mile", "Parcelwise", "Nordpost", "Tortuga"];
/// How many of a hundred parcels a carrier brings late.
const LATE: [u64; 5] = [3, 6, 9, 12, 27];
/// What `delay_hours` says of a lost parcel.
const LOST_HOURS: u64 = 240;

/// A parcel, as far as its columns depend on each other.
struct Parcel {
    order: u64,
    carrier: u64,
    shipped: i64,
    promised: i64,
    delivered: i64,
    late_hours: u64,
    status: &'static str,
}

fn parcel(world: World, row: u64) -> Parcel {
    let (order, is_extra) = five_for_four(row);
    let carrier = below(300, row, 5);
    let packing = 2 + below(301, row, 28) + if is_extra { 12 } else { 0 };
    let shipped = world.ordered_at(order) + packing.cast_signed() * 3_600 + below(302, row, 3_600).cast_signed();
    // The promise ends with its day.
    let promised = (shipped / DAY + 3) * DAY;
    let is_lost = below(303, row, 300) == 0;
    let is_late = below(304, row, 100) < at(&LATE, carrier);
    let late_hours = match (is_lost, is_late) {
        (true, _) => LOST_HOURS,
        (false, true) => 1 + skewed(305, row, 150),
        (false, false) => 0,
    };
    let delivered = if is_late {
        promised + late_hours.cast_signed() * 3_600
    } else {
        promised - 1 - below(306, row, 40 * 3_600).cast_signed()
    };
    let now = YEAR_START + YEAR_SECONDS;
    let status = if shipped > now {
        "packed"
    } else if is_lost && promised < now {
        "lost"
    } else if is_lost || delivered > now {
        "in_transit"
    } else {
        "delivered"
    };
    Parcel { order, carrier, shipped, promised, delivered, late_hours, status }
}

impl Parcel {
    /// Nothing is late before it is known to be: what is still under way has no delay yet.
    fn delay(&self) -> u64 {
        if matches!(self.status, "delivered" | "lost") { self.late_hours } else { 0 }
    }
}

const SHIPMENT_STATUS: Table = Table {
    namespace: "ops",
    name: "shipment_status",
    fields: || {
        vec![
            ("shipment_id", LONG, true),
            ("order_id", LONG, true),
            ("customer_id", TEXT, true),
            ("warehouse_id", TEXT, true),
            ("carrier", TEXT, true),
            ("status", TEXT, true),
            ("shipped_at", INSTANT, true),
            ("delivered_at", INSTANT, false),
            ("promised_on", DATE, true),
            ("is_delayed", FLAG, true),
            ("delay_hours", INT, true),
            ("weight_kg", DOUBLE, true),
        ]
    },
    rows: |world| world.orders / 4 * 5,
    cut: Cut::Even(4),
    columns: |world, rows| {
        Ok(vec![
            longs(rows, |row| row + 1),
            longs(rows, |row| five_for_four(row).0),
            texts(rows, |row| customer_id(world.order_customer(five_for_four(row).0))),
            texts(rows, |row| at(&HOUSES, below(307, row, 6)).0),
            texts(rows, |row| at(&CARRIERS, parcel(world, row).carrier)),
            texts(rows, |row| parcel(world, row).status),
            instants(rows, |row| parcel(world, row).shipped * 1_000),
            some_instants(rows, |row| {
                let parcel = parcel(world, row);
                (parcel.status == "delivered").then_some(parcel.delivered * 1_000)
            }),
            days(rows, |row| day_of(parcel(world, row).promised - 1)),
            flags(rows, |row| parcel(world, row).delay() > 0),
            ints(rows, |row| parcel(world, row).delay()),
            doubles(rows, |row| {
                let grams = 80 + world.order_quantity(parcel(world, row).order) * (20 + below(308, row, 60));
                f64::from(u32::try_from(grams).unwrap_or(u32::MAX)) / 1_000.0
            }),
        ])
    },
};

const WAREHOUSES: Table = Table {
    namespace: "ops",
    name: "warehouses",
    fields: || {
        vec![
            ("warehouse_id", TEXT, true),
            ("city", TEXT, true),
            ("country", TEXT, true),
            ("capacity_pallets", INT, true),
            ("opened_on", DATE, true),
        ]
    },
    rows: |_| 6,
    cut: Cut::Even(1),
    columns: |_, rows| {
        Ok(vec![
            texts(rows, |row| at(&HOUSES, row).0),
            texts(rows, |row| at(&HOUSES, row).1),
            texts(rows, |row| at(&HOUSES, row).2),
            ints(rows, |row| at(&HOUSES, row).3),
            days(rows, |row| at(&HOUSES, row).4),
        ])
    },
};
