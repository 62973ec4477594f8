//! Values of random tables, and how a value may differ where a mask or a denial hides the difference.

use std::sync::Arc;

use datafusion::arrow::array::{
    ArrayRef, BinaryArray, BooleanArray, Date32Array, Decimal128Array, Float32Array, Float64Array, Int32Array,
    Int64Array, ListArray, StringArray, StructArray, TimestampMicrosecondArray,
};
use datafusion::arrow::buffer::{NullBuffer, OffsetBuffer};
use datafusion::arrow::datatypes::DataType;

use super::chance::Chance;

/// The types of columns.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Bool,
    Int,
    Long,
    Float,
    Double,
    /// `decimal(15, 2)`, in hundredths.
    Decimal,
    Text,
    Date,
    Time,
    Bytes,
    /// `struct<a: int, b: string>`
    Pair,
    /// `list<int>`
    Numbers,
}

pub const KINDS: [Kind; 12] = [
    Kind::Bool,
    Kind::Int,
    Kind::Long,
    Kind::Float,
    Kind::Double,
    Kind::Decimal,
    Kind::Text,
    Kind::Date,
    Kind::Time,
    Kind::Bytes,
    Kind::Pair,
    Kind::Numbers,
];

#[derive(Debug, Clone, PartialEq)]
pub enum Cell {
    Null,
    Bool(bool),
    Int(i64),
    Float(f64),
    Text(String),
    Bytes(Vec<u8>),
    Many(Vec<Cell>),
}

/// What values may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Temper {
    /// No function of a query fails on them: small numbers that are not zero, texts that are numbers.
    Tame,
    /// Such that functions may fail on.
    Wild,
    /// The ends of all ranges besides, as they may stand in hidden cells.
    Hostile,
}

/// How a principal sees a column.
#[derive(Debug, Clone, PartialEq)]
pub enum Shown {
    Raw,
    Masked(Mask),
    Denied,
    /// The two fields of a pair.
    Fields(Box<[Shown; 2]>),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Mask {
    Null,
    Fixed,
    Local,
    Hmac,
    Global,
    Bucket,
    Year,
    Month,
    Alphanum,
    Last4,
    First4,
}

impl Mask {
    /// As a policy writes it.
    pub fn text(self) -> &'static str {
        match self {
            Self::Null => "replace-with-null",
            Self::Fixed => "mask-to-fixed-value",
            Self::Local => "sha-256-query-local",
            Self::Hmac => "hmac(pii)",
            Self::Global => "sha-256-global",
            Self::Bucket => "bucket(10)",
            Self::Year => "truncate-to-year",
            Self::Month => "truncate-to-month",
            Self::Alphanum => "mask-alphanum",
            Self::Last4 => "show-last-4",
            Self::First4 => "show-first-4",
        }
    }

    pub fn is_hash(self) -> bool {
        matches!(self, Self::Local | Self::Hmac | Self::Global)
    }

    /// Those that are defined for values of a kind.
    pub fn of(kind: Kind) -> &'static [Self] {
        use Mask::*;
        match kind {
            Kind::Bool => &[Null, Fixed],
            Kind::Int | Kind::Long => &[Null, Fixed, Local, Hmac, Global, Bucket],
            Kind::Float | Kind::Double | Kind::Decimal | Kind::Numbers => &[Null, Fixed, Bucket],
            Kind::Text => &[Null, Fixed, Local, Hmac, Global, Alphanum, Last4, First4],
            Kind::Date | Kind::Time => &[Null, Fixed, Year, Month],
            Kind::Bytes => &[Null, Fixed, Local, Hmac, Global],
            Kind::Pair => &[Null],
        }
    }
}

const WORDS: [&str; 7] = ["EU", "US", "NL", "Delft", "a.b@x.example", "+31 20-555", "Gouda North"];
const DAY: i64 = 86_400_000_000;

/// A value of a column. `flavour` is what the tame texts of the column are: numbers, dates or words.
pub fn random(kind: Kind, temper: Temper, flavour: usize, chance: &mut Chance) -> Cell {
    if chance.one_in(8) {
        return Cell::Null;
    }
    let tame = temper == Temper::Tame || chance.one_in(2);
    match kind {
        Kind::Bool => Cell::Bool(chance.one_in(2)),
        Kind::Int if tame => Cell::Int(chance.within(1, 12)),
        Kind::Int => Cell::Int(*chance.pick(&[0, -1, 3, 20, -17, 1000, i64::from(i32::MAX), i64::from(i32::MIN)])),
        Kind::Long if tame => Cell::Int(chance.within(1, 12)),
        Kind::Long => Cell::Int(*chance.pick(&[0, -1, 5, 21, 127, 1 << 40, i64::MAX, i64::MIN])),
        Kind::Float | Kind::Double if tame => Cell::Float(*chance.pick(&[0.5, 1.0, 2.5, 7.25, -3.0, 12.0])),
        Kind::Float | Kind::Double => {
            Cell::Float(*chance.pick(&[0.0, -0.0, f64::NAN, f64::INFINITY, f64::NEG_INFINITY, 1e30, -42.0]))
        }
        Kind::Decimal if tame => Cell::Int(chance.within(1, 2000)),
        Kind::Decimal => Cell::Int(*chance.pick(&[0, 999_999_999_999_999, -999_999_999_999_999, -50, 123_456])),
        Kind::Text if tame => Cell::Text(match flavour {
            0 => chance.within(1, 40).to_string(),
            1 => format!("2024-{:02}-{:02}", chance.within(1, 12), chance.within(1, 28)),
            _ => (*chance.pick(&WORDS)).to_owned(),
        }),
        Kind::Text => {
            Cell::Text((*chance.pick(&["", "secret", "(", "zz", "0", "é漢字 ok", "-1", "%", "99999999999"])).to_owned())
        }
        Kind::Date if temper == Temper::Hostile && chance.one_in(3) => {
            Cell::Int(*chance.pick(&[i64::from(i32::MIN), i64::from(i32::MAX)]))
        }
        Kind::Date => Cell::Int(if tame { chance.within(19_000, 20_000) } else { chance.within(-700_000, 2_900_000) }),
        Kind::Time if temper == Temper::Hostile && chance.one_in(3) => Cell::Int(*chance.pick(&[i64::MIN, i64::MAX])),
        Kind::Time => {
            let day = if tame { chance.within(19_000, 20_000) } else { chance.within(-700_000, 2_900_000) };
            Cell::Int(day * DAY + chance.within(0, DAY - 1))
        }
        Kind::Bytes if tame => Cell::Bytes(chance.pick(&WORDS).as_bytes().to_vec()),
        Kind::Bytes => Cell::Bytes(chance.pick(&[&[][..], &[0xff, 0xfe], &[0], b"31"]).to_vec()),
        Kind::Pair => {
            Cell::Many(vec![random(Kind::Int, temper, flavour, chance), random(Kind::Text, temper, flavour, chance)])
        }
        Kind::Numbers => Cell::Many((0..chance.below(4)).map(|_| random(Kind::Int, temper, flavour, chance)).collect()),
    }
}

/// Another value that is shown as the same.
pub fn vary(kind: Kind, cell: &Cell, shown: &Shown, renamed: bool, chance: &mut Chance) -> Cell {
    let any = |chance: &mut Chance| {
        let flavour = chance.below(3);
        random(kind, Temper::Hostile, flavour, chance)
    };
    match (shown, cell) {
        (Shown::Raw, cell) => cell.clone(),
        (Shown::Denied | Shown::Masked(Mask::Null), _) => any(chance),
        (Shown::Fields(fields), Cell::Many(cells)) => {
            let of = |(place, shown): (usize, &Shown)| {
                vary([Kind::Int, Kind::Text][place], &cells[place], shown, renamed, chance)
            };
            Cell::Many(fields.iter().enumerate().map(of).collect())
        }
        (Shown::Fields(_), cell) => cell.clone(),
        // A mask acts on each item.
        (Shown::Masked(_), Cell::Null) if kind == Kind::Numbers => Cell::Null,
        (Shown::Masked(_), Cell::Many(items)) => {
            Cell::Many(items.iter().map(|item| vary(Kind::Int, item, shown, renamed, chance)).collect())
        }
        (Shown::Masked(Mask::Fixed), _) => any(chance),
        (Shown::Masked(mask), cell) if mask.is_hash() => {
            if renamed {
                rename(cell)
            } else {
                cell.clone()
            }
        }
        (Shown::Masked(mask), cell) => {
            // Draw until one is shown alike; most buckets have more than one value, and none has less.
            let image = image(kind, cell, *mask);
            let near = |chance: &mut Chance| match (cell, chance.one_in(6)) {
                (_, true) => any(chance),
                (Cell::Int(at), _) if *mask == Mask::Bucket => {
                    Cell::Int(at.saturating_add(chance.within(-9, 9) * if kind == Kind::Decimal { 100 } else { 1 }))
                }
                (Cell::Int(at), _) if kind == Kind::Time => {
                    Cell::Int(at.saturating_add(chance.within(-30 * DAY, 30 * DAY)))
                }
                (Cell::Int(at), _) => Cell::Int(at.saturating_add(chance.within(-200, 200))),
                (Cell::Float(at), _) => Cell::Float(at + chance.within(-18, 18) as f64 * 0.5),
                (Cell::Text(text), _) => Cell::Text(reshaped(text, chance)),
                _ => any(chance),
            };
            let fits = |cell: &Cell| match (kind, cell) {
                (Kind::Int | Kind::Date, Cell::Int(value)) => i32::try_from(*value).is_ok(),
                (Kind::Decimal, Cell::Int(value)) => value.abs() < 1_000_000_000_000_000,
                _ => true,
            };
            let mut drawn = (0..20).map(|_| near(chance)).filter(|cell| fits(cell));
            drawn.find(|other| self::image(kind, other, *mask) == image).unwrap_or_else(|| cell.clone())
        }
    }
}

/// Other letters and digits in the places of letters and digits.
fn reshaped(text: &str, chance: &mut Chance) -> String {
    let other = |letter: char| match letter {
        _ if chance.one_in(3) => letter,
        '0'..='9' => *chance.pick(&['0', '5', '9']),
        '(' | ')' | ',' | '.' | '-' | '@' => letter,
        _ => *chance.pick(&['x', ' ', 'é', '漢', '+', '%']),
    };
    text.chars().map(other).collect()
}

fn rename(cell: &Cell) -> Cell {
    match cell {
        Cell::Int(value) => Cell::Int(value ^ 1),
        Cell::Bytes(bytes) => Cell::Bytes(bytes.iter().map(|byte| byte ^ 1).collect()),
        Cell::Text(text) => {
            let other = |letter: char| match letter {
                '0'..='9' => char::from(b'0' + b'9' - u8::try_from(letter).unwrap()),
                'a'..='z' => letter.to_ascii_uppercase(),
                other => other.to_ascii_lowercase(),
            };
            Cell::Text(text.chars().map(other).collect())
        }
        other => other.clone(),
    }
}

/// What a mask shows of a value, as the text of the law says it.
fn image(kind: Kind, cell: &Cell, mask: Mask) -> Cell {
    let range = match kind {
        Kind::Int | Kind::Date => i128::from(i32::MIN)..=i128::from(i32::MAX),
        Kind::Decimal => -999_999_999_999_999..=999_999_999_999_999,
        _ => i128::from(i64::MIN)..=i128::from(i64::MAX),
    };
    let whole = |value: i128| match range.contains(&value) {
        true => Cell::Int(i64::try_from(value).unwrap()),
        false => Cell::Null,
    };
    match (mask, cell) {
        (_, Cell::Null) => Cell::Null,
        (Mask::Bucket, Cell::Int(value)) => {
            let width = if kind == Kind::Decimal { 1000 } else { 10 };
            let value = i128::from(*value);
            whole(value - value.rem_euclid(width))
        }
        (Mask::Bucket, Cell::Float(value)) => {
            let down = (value / 10.0).floor() * 10.0;
            if down.is_finite() { Cell::Text(format!("{:?}", down + 0.0)) } else { Cell::Null }
        }
        (Mask::Year | Mask::Month, Cell::Int(value)) => {
            let day = if kind == Kind::Time { value.div_euclid(DAY) } else { *value };
            let (year, month) = civil(day);
            let start = i128::from(first_day(year, if mask == Mask::Year { 1 } else { month }));
            whole(if kind == Kind::Time { start * i128::from(DAY) } else { start })
        }
        (Mask::Alphanum, Cell::Text(text)) => Cell::Text(hidden(text)),
        (Mask::Last4 | Mask::First4, Cell::Text(text)) => {
            let letters: Vec<char> = text.chars().collect();
            let part = |letters: &[char]| letters.iter().collect::<String>();
            Cell::Text(match letters.len() {
                0..=4 => hidden(text),
                length if mask == Mask::Last4 => hidden(&part(&letters[..length - 4])) + &part(&letters[length - 4..]),
                _ => part(&letters[..4]) + &hidden(&part(&letters[4..])),
            })
        }
        (_, other) => other.clone(),
    }
}

fn hidden(text: &str) -> String {
    let one = |letter: char| match letter {
        '0'..='9' => 'n',
        '(' | ')' | ',' | '.' | '-' | '@' => letter,
        _ => 'x',
    };
    text.chars().map(one).collect()
}

/// The year and month of a day since 1970.
fn civil(day: i64) -> (i64, i64) {
    let mut year = 1970 + day.div_euclid(366);
    while first_day(year + 1, 1) <= day {
        year += 1 + (day - first_day(year + 1, 1)) / 366;
    }
    while first_day(year, 1) > day {
        year -= 1 + (first_day(year, 1) - day) / 367;
    }
    let month = (1..=12).rev().find(|month| first_day(year, *month) <= day).unwrap();
    (year, month)
}

fn first_day(year: i64, month: i64) -> i64 {
    let before = year - 1;
    let leaps = before.div_euclid(4) - before.div_euclid(100) + before.div_euclid(400);
    let is_leap = year.rem_euclid(4) == 0 && (year.rem_euclid(100) != 0 || year.rem_euclid(400) == 0);
    let lengths = [31, if is_leap { 29 } else { 28 }, 31, 30, 31, 30, 31, 31, 30, 31, 30];
    before * 365 + leaps + lengths.iter().take(usize::try_from(month - 1).unwrap()).sum::<i64>() - 719_162
}

fn text(cell: &Cell) -> Option<&str> {
    if let Cell::Text(text) = cell { Some(text) } else { None }
}

fn bytes(cell: &Cell) -> Option<&[u8]> {
    if let Cell::Bytes(bytes) = cell { Some(bytes) } else { None }
}

/// Values as an array of a table's own type.
#[allow(clippy::cast_possible_truncation, reason = "values of a kind fit its type")]
pub fn array(kind: Kind, of: &DataType, cells: &[Cell]) -> ArrayRef {
    let ints = || cells.iter().map(|cell| if let Cell::Int(value) = cell { Some(*value) } else { None });
    let floats = || cells.iter().map(|cell| if let Cell::Float(value) = cell { Some(*value) } else { None });
    let made: ArrayRef = match kind {
        Kind::Bool => {
            let value = |cell: &Cell| if let Cell::Bool(value) = cell { Some(*value) } else { None };
            Arc::new(cells.iter().map(value).collect::<BooleanArray>())
        }
        Kind::Int => Arc::new(ints().map(|value| value.map(|value| value as i32)).collect::<Int32Array>()),
        Kind::Long => Arc::new(ints().collect::<Int64Array>()),
        Kind::Float => Arc::new(floats().map(|value| value.map(|value| value as f32)).collect::<Float32Array>()),
        Kind::Double => Arc::new(floats().collect::<Float64Array>()),
        Kind::Decimal => {
            let made = ints().map(|value| value.map(i128::from)).collect::<Decimal128Array>();
            Arc::new(made.with_precision_and_scale(15, 2).unwrap())
        }
        Kind::Text => Arc::new(cells.iter().map(text).collect::<StringArray>()),
        Kind::Date => Arc::new(ints().map(|value| value.map(|value| value as i32)).collect::<Date32Array>()),
        Kind::Time => Arc::new(ints().collect::<TimestampMicrosecondArray>()),
        Kind::Bytes => {
            let made: ArrayRef = Arc::new(cells.iter().map(bytes).collect::<BinaryArray>());
            datafusion::arrow::compute::cast(&made, of).unwrap()
        }
        Kind::Pair => {
            let DataType::Struct(fields) = of else { panic!("{of}") };
            let part = |place: usize| -> Vec<Cell> {
                let of = |cell: &Cell| if let Cell::Many(cells) = cell { cells[place].clone() } else { Cell::Null };
                cells.iter().map(of).collect()
            };
            let columns = vec![
                array(Kind::Int, fields[0].data_type(), &part(0)),
                array(Kind::Text, fields[1].data_type(), &part(1)),
            ];
            let nulls: NullBuffer = cells.iter().map(|cell| *cell != Cell::Null).collect::<Vec<bool>>().into();
            Arc::new(StructArray::try_new_with_length(fields.clone(), columns, Some(nulls), cells.len()).unwrap())
        }
        Kind::Numbers => {
            let DataType::List(item) = of else { panic!("{of}") };
            let items = |cell: &Cell| if let Cell::Many(items) = cell { items.clone() } else { Vec::new() };
            let lengths = OffsetBuffer::from_lengths(cells.iter().map(|cell| items(cell).len()));
            let all: Vec<Cell> = cells.iter().flat_map(items).collect();
            let nulls: NullBuffer = cells.iter().map(|cell| *cell != Cell::Null).collect::<Vec<bool>>().into();
            let values = array(Kind::Int, item.data_type(), &all);
            Arc::new(ListArray::try_new(Arc::clone(item), lengths, values, Some(nulls)).unwrap())
        }
    };
    assert_eq!(made.data_type(), of);
    made
}
