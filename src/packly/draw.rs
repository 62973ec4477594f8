//! Chance and calendar without state: every value is drawn from its table, row and field alone, so rows come out the
//! same whichever block, order or thread makes them.

/// 2025-01-01T00:00:00Z in seconds since 1970: the first second of the demo's year.
pub const YEAR_START: i64 = 1_735_689_600;
/// The seconds in 2025.
pub const YEAR_SECONDS: i64 = 365 * DAY;
/// The seconds in a day.
pub const DAY: i64 = 86_400;
/// The first day of each month of 2025, and of the month after, counted from [`YEAR_START`].
pub const MONTHS: [i64; 13] = [0, 31, 59, 90, 120, 151, 181, 212, 243, 273, 304, 334, 365];

/// A number drawn for `row` of the stream `salt`: splitmix64's finalizer over both.
pub fn draw(salt: u64, row: u64) -> u64 {
    let mut z = salt.wrapping_mul(0xD1B5_4A32_D192_ED03).wrapping_add(row.wrapping_mul(0x9E37_79B9_7F4A_7C15));
    z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    z ^ (z >> 31)
}

/// A number below `limit`, evenly.
pub fn below(salt: u64, row: u64, limit: u64) -> u64 {
    ((draw(salt, row) >> 32) * limit) >> 32
}

/// A number below `limit`, with the low ones up to twenty times as often: few do much, many do little.
pub fn skewed(salt: u64, row: u64, limit: u64) -> u64 {
    const LEAN: u64 = (1 << 31) / 20;
    let even = draw(salt, row) >> 33;
    let leaning = (even * (even + LEAN)) >> 31;
    leaning * limit / ((1 << 31) + LEAN)
}

/// `index` below `count` in another order, one to one: so that what is frequent is not what came first.
pub fn shuffled(index: u64, count: u64) -> u64 {
    // A prime that divides no count of the demo.
    (index * 65_537 + 7) % count.max(1)
}

/// One of `list`, evenly.
pub fn pick<T: Copy + Default>(salt: u64, row: u64, list: &[T]) -> T {
    at(list, below(salt, row, list.len() as u64))
}

/// The entry of `list` at `index`, around its end.
pub fn at<T: Copy + Default>(list: &[T], index: u64) -> T {
    list.iter().copied().nth(usize::try_from(index).unwrap_or(0) % list.len().max(1)).unwrap_or_default()
}

/// Days since 1970 of a second since 1970.
pub fn day_of(second: i64) -> i32 {
    i32::try_from(second.div_euclid(DAY)).unwrap_or(0)
}
