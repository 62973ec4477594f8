//! How many bytes a call may make at most, told from its arguments before it is made.
//!
//! ```text
//! repeat(t, 1000)               as often as it says: bytes of t × 1000
//! replace(t, 'ab', 'xyz…')      as often as `ab` fits
//! concat(t, u), make_array(…)   all that goes in
//! ```
//!
//! What a function makes of a byte is taken for the most that it may be; where a list has no plain length, for all of it.

use std::collections::HashSet;
use std::sync::Arc;

use datafusion::arrow::array::{Array, ArrayRef, AsArray, GenericListArray, OffsetSizeTrait};
use datafusion::arrow::datatypes::DataType;
use datafusion::common::ScalarValue;
use datafusion::logical_expr::ColumnarValue;

/// The functions whose result may be larger than each of their arguments, or which take more steps than these are long, by
/// the names that DataFusion gives them.
pub(super) const GROWING: [&str; 50] = [
    "array_append",
    "array_concat",
    "array_except",
    "array_has_all",
    "array_has_any",
    "array_intersect",
    "array_pop_front",
    "array_prepend",
    "array_repeat",
    "array_replace",
    "array_replace_all",
    "array_replace_n",
    "array_resize",
    "array_to_string",
    "array_union",
    "arrays_zip",
    "btrim",
    "concat",
    "concat_ws",
    "encode",
    "decode",
    "generate_series",
    "levenshtein",
    "lower",
    "lpad",
    "ltrim",
    "make_array",
    "make_map",
    "map",
    "named_struct",
    "overlay",
    "quote_literal",
    "range",
    "regexp_count",
    "regexp_instr",
    "regexp_like",
    "regexp_match",
    "regexp_replace",
    "repeat",
    "replace",
    "rpad",
    "rtrim",
    "split_part",
    "string_to_array",
    "struct",
    "to_char",
    "to_hex",
    "translate",
    "upper",
    "initcap",
];

/// What an operator is called that holds texts against patterns.
pub(super) const MATCH: &str = "~";

/// The functions that hold texts against patterns, which are their second arguments.
const MATCHING: [&str; 6] = [MATCH, "regexp_count", "regexp_instr", "regexp_like", "regexp_match", "regexp_replace"];

/// The bytes of one number that is written out.
const WRITTEN: u64 = 40;

/// The bytes of a place in a list of texts.
const PLACE: u64 = 16;

/// The bytes of a place among values of many lengths, and of one among views of them.
const OFFSET: u64 = 4;
const VIEW: u64 = 16;

/// The bytes that are compared at once.
const WORD: u64 = 8;

/// The arguments of a call over so many rows.
pub(super) struct Arguments<'a> {
    pub(super) values: &'a [ColumnarValue],
    pub(super) rows: u64,
}

impl Arguments<'_> {
    /// The bytes that a call makes at most.
    pub(super) fn made_by(&self, function: &str) -> u64 {
        let all = || (0..self.values.len()).fold(0_u64, |sum, place| sum.saturating_add(self.bytes(place)));
        match function {
            "repeat" | "array_repeat" => {
                let wide = if function == "repeat" { self.bytes(0) } else { self.bytes(0).max(self.rows * 8) };
                // A list that is repeated `-1` times is empty.
                wide.saturating_mul(self.number(1).unwrap_or(u64::MAX))
            }
            "lpad" | "rpad" => {
                let widest = if self.values.len() > 2 { self.widest(2).min(4) } else { 1 };
                self.bytes(0).saturating_add(self.times(self.number(1), widest.max(1)))
            }
            "array_resize" => self.bytes(0).saturating_add(self.times(self.number(1), self.widest(2).max(8))),
            "range" | "generate_series" => self.times(self.length(), 16),
            "replace" => {
                let shortest = self.shortest(1).max(1);
                let places = self.bytes(0).saturating_add(self.rows) / shortest;
                self.bytes(0).saturating_add(places.saturating_mul(self.widest(2)))
            }
            "regexp_replace" => self.replaced(),
            // Each group may have found all of the text, beside what the whole pattern finds.
            "regexp_match" => {
                let text = self.bytes(0).saturating_add(self.rows.saturating_mul(PLACE));
                text.saturating_mul(self.groups(1).saturating_add(1))
            }
            "array_replace" | "array_replace_all" | "array_replace_n" => {
                let values = self.elements(0, 1).saturating_mul(self.widest(2));
                self.bytes(0).saturating_add(values)
            }
            "array_to_string" => {
                let (apart, null) = (self.widest(1), if self.values.len() > 2 { self.widest(2) } else { 0 });
                let each = apart.saturating_add(null).saturating_add(WRITTEN);
                // Lists in lists are written one after the other, and what is NULL among them is written too.
                self.bytes(0).saturating_add(self.elements(0, usize::MAX).saturating_mul(each))
            }
            // Where a list is shorter than another it is filled up.
            "arrays_zip" => all().saturating_mul(self.values.len() as u64),
            "concat_ws" => {
                let between = (self.values.len() as u64).saturating_mul(self.bytes(0));
                all().saturating_add(between)
            }
            // A letter is a pair of digits in hexadecimal, another letter of up to four bytes, or a list's value: a view of it.
            "encode" | "quote_literal" | "to_hex" => self.bytes(0).saturating_mul(2),
            "translate" | "upper" | "lower" | "initcap" => self.bytes(0).saturating_mul(3),
            "string_to_array" => self.bytes(0).saturating_mul(20),
            "array_has_all" | "array_has_any" => self.rows,
            MATCH | "regexp_count" | "regexp_instr" | "regexp_like" => self.rows.saturating_mul(WORD),
            "btrim" | "ltrim" | "rtrim" => self.bytes(0),
            // A sign for a part of a date becomes its name.
            "to_char" => self.rows.saturating_mul(self.widest(1)).saturating_mul(16),
            _ => all(),
        }
    }

    /// The steps of the row that takes the most, where these grow faster than what goes in.
    pub(super) fn steps_of(&self, function: &str) -> u64 {
        let constant = self.values.iter().any(|value| matches!(value, ColumnarValue::Scalar(_)));
        match function {
            // Each letter is looked for among all others.
            "levenshtein" | "btrim" | "ltrim" | "rtrim" => self.widest(0).saturating_mul(self.widest(1)),
            "array_has_all" => self.compared(),
            // It hashes a list that is constant.
            "array_has_any" if !constant => self.compared(),
            _ => 0,
        }
    }

    /// The bytes of text that are held against patterns, if a function does so.
    pub(super) fn matched_by(&self, function: &str) -> Option<u64> {
        MATCHING.contains(&function).then(|| self.bytes(0))
    }

    /// How many patterns the rows of such a function have; none where it is one of the statement.
    pub(super) fn patterns_of(&self, function: &str) -> usize {
        let (true, Some(ColumnarValue::Array(patterns))) = (MATCHING.contains(&function), self.values.get(1)) else {
            return 0;
        };
        match datafusion::arrow::compute::cast(patterns, &DataType::Utf8View) {
            Ok(patterns) => patterns.as_string_view().iter().flatten().collect::<HashSet<_>>().len(),
            Err(_) => patterns.len(),
        }
    }

    /// The steps of a row whose lists are compared, each value with each: a word is a step. A list that is constant is copied
    /// for each row before.
    fn compared(&self) -> u64 {
        let Some(((left, one), (right, other))) = self.lists(0).zip(self.lists(1)) else { return 0 };
        let words = (one.min(other) / WORD).max(1);
        let pairs = left.iter().zip(&right).map(|(left, right)| left.saturating_mul(*right)).max();
        let copied = self.values.iter().map(|value| match value {
            ColumnarValue::Scalar(value) if self.rows > 1 => width(value),
            _ => 0,
        });
        copied.fold(pairs.unwrap_or_default().saturating_mul(words), u64::saturating_add)
    }

    /// How many values each list of an argument holds, and the bytes of the widest of these.
    fn lists(&self, place: usize) -> Option<(Vec<u64>, u64)> {
        let (lists, times) = match self.values.get(place)? {
            ColumnarValue::Array(array) => (Arc::clone(array), 1),
            ColumnarValue::Scalar(value) => (value.to_array().ok()?, usize::try_from(self.rows).ok()?),
        };
        Some((counts(&lists).repeat(times), widest(&values(&lists)?)))
    }

    /// Without the flag `g` one place of each row is replaced; what it is replaced with may quote what was found.
    fn replaced(&self) -> u64 {
        let everywhere = match self.values.get(3) {
            Some(ColumnarValue::Scalar(flags)) => flags.try_as_str().flatten().is_some_and(|flags| flags.contains('g')),
            Some(ColumnarValue::Array(_)) => true,
            None => false,
        };
        let (text, with) = (self.bytes(0), self.widest(2));
        let quotes = match self.values.get(2) {
            Some(ColumnarValue::Scalar(with)) => {
                with.try_as_str().flatten().map_or(0, |with| with.matches(['\\', '$']).count() as u64)
            }
            _ => with / 2,
        };
        let places = if everywhere { text.saturating_add(self.rows) } else { self.rows };
        text.saturating_add(places.saturating_mul(with)).saturating_add(text.saturating_mul(quotes))
    }

    /// How many groups a pattern has at most.
    fn groups(&self, place: usize) -> u64 {
        let opened = |pattern: &str| pattern.matches('(').count() as u64;
        match self.values.get(place) {
            Some(ColumnarValue::Scalar(pattern)) => pattern.try_as_str().flatten().map_or(0, opened),
            // A pattern has no more groups than letters.
            Some(ColumnarValue::Array(patterns)) => match patterns.data_type() {
                DataType::Utf8 => patterns.as_string::<i32>().iter().flatten().map(opened).max().unwrap_or_default(),
                DataType::LargeUtf8 => {
                    patterns.as_string::<i64>().iter().flatten().map(opened).max().unwrap_or_default()
                }
                DataType::Utf8View => patterns.as_string_view().iter().flatten().map(opened).max().unwrap_or_default(),
                _ => self.widest(place),
            },
            None => 0,
        }
    }

    fn times(&self, number: Option<u64>, bytes: u64) -> u64 {
        self.rows.saturating_mul(number.unwrap_or(u64::MAX)).saturating_mul(bytes)
    }

    /// The bytes of an argument, in all rows.
    fn bytes(&self, place: usize) -> u64 {
        match self.values.get(place) {
            Some(ColumnarValue::Array(array)) => bytes(array),
            Some(ColumnarValue::Scalar(value)) => self.rows.saturating_mul(width(value)),
            None => 0,
        }
    }

    /// The bytes of the widest value of an argument.
    fn widest(&self, place: usize) -> u64 {
        match self.values.get(place) {
            Some(ColumnarValue::Array(array)) => widest(array),
            Some(ColumnarValue::Scalar(value)) => width(value),
            None => 0,
        }
    }

    fn shortest(&self, place: usize) -> u64 {
        match self.values.get(place) {
            Some(ColumnarValue::Array(array)) => lengths(array).min().unwrap_or_default(),
            Some(ColumnarValue::Scalar(value)) => width(value),
            None => 0,
        }
    }

    /// How many values the lists of an argument hold, to such a depth.
    fn elements(&self, place: usize, depth: usize) -> u64 {
        match self.values.get(place) {
            Some(ColumnarValue::Array(array)) => elements(array, depth),
            Some(ColumnarValue::Scalar(value)) => {
                self.rows.saturating_mul(value.to_array().map_or(u64::MAX, |array| elements(&array, depth)))
            }
            None => 0,
        }
    }

    /// An argument that says how often; none where it is too large for what there is.
    fn number(&self, place: usize) -> Option<u64> {
        let largest = |array: &ArrayRef| {
            let numbers = datafusion::arrow::compute::cast(array, &DataType::Int64).ok()?;
            let numbers = numbers.as_primitive_opt::<datafusion::arrow::datatypes::Int64Type>()?;
            let most = numbers.iter().flatten().max().unwrap_or_default();
            Some(u64::try_from(most).unwrap_or_default())
        };
        match self.values.get(place)? {
            ColumnarValue::Array(array) => largest(array),
            ColumnarValue::Scalar(value) => largest(&value.to_array().ok()?),
        }
    }

    /// How long a series is from its ends, where they are numbers that stand in the statement. Others are as long as what the
    /// gate lets through.
    fn length(&self) -> Option<u64> {
        let end = |place: usize| match self.values.get(place) {
            Some(ColumnarValue::Scalar(value)) => match value.cast_to(&DataType::Int64) {
                Ok(ScalarValue::Int64(number)) => number,
                _ => None,
            },
            _ => None,
        };
        let (start, stop, step) = match self.values.len() {
            1 => (Some(0), end(0), Some(1)),
            2 => (end(0), end(1), Some(1)),
            _ => (end(0), end(1), end(2)),
        };
        let (Some(start), Some(stop)) = (start, stop) else { return Some(0) };
        Some(stop.abs_diff(start) / step.unwrap_or(1).unsigned_abs().max(1) + 1)
    }
}

/// The bytes of one value.
pub(super) fn width(value: &ScalarValue) -> u64 {
    match value.try_as_str() {
        Some(text) => text.map_or(0, str::len) as u64,
        None => value.size() as u64,
    }
}

/// The bytes that the values of an array have, whatever else their buffers hold.
pub(super) fn bytes(array: &ArrayRef) -> u64 {
    let places = places(array);
    match array.data_type() {
        DataType::Utf8
        | DataType::LargeUtf8
        | DataType::Utf8View
        | DataType::Binary
        | DataType::LargeBinary
        | DataType::BinaryView => lengths(array).fold(places, u64::saturating_add),
        DataType::Struct(_) => array.as_struct().columns().iter().map(bytes).fold(places, u64::saturating_add),
        _ => match values(array) {
            Some(values) => places.saturating_add(bytes(&values)),
            None => array.to_data().get_slice_memory_size().map_or(u64::MAX, |bytes| bytes as u64),
        },
    }
}

/// The bytes that tell where values of many lengths are. Views list all buffers that they look into, and lists of views those
/// of all views they were put together from: four times as many with each `array_concat(a, a, a, a)`.
fn places(array: &ArrayRef) -> u64 {
    let buffers = match array.data_type() {
        DataType::Utf8View => array.as_string_view().data_buffers(),
        DataType::BinaryView => array.as_binary_view().data_buffers(),
        _ => return (array.len() as u64).saturating_mul(OFFSET),
    };
    (array.len() as u64).saturating_mul(VIEW).saturating_add(size_of_val(buffers) as u64)
}

/// The values that the lists of an array hold, where it is one of lists.
fn values(array: &ArrayRef) -> Option<ArrayRef> {
    fn within<O: OffsetSizeTrait>(list: &GenericListArray<O>) -> Option<ArrayRef> {
        let (first, last) = list.value_offsets().first().zip(list.value_offsets().last())?;
        Some(list.values().slice(first.as_usize(), last.as_usize().saturating_sub(first.as_usize())))
    }
    match array.data_type() {
        DataType::List(_) => within(array.as_list::<i32>()),
        DataType::LargeList(_) => within(array.as_list::<i64>()),
        DataType::FixedSizeList(..) => Some(Arc::clone(array.as_fixed_size_list().values())),
        _ => None,
    }
}

/// The bytes of the widest value of an array.
fn widest(array: &ArrayRef) -> u64 {
    if let Some(width) = array.data_type().primitive_width() {
        return width as u64;
    }
    match (array.data_type(), values(array)) {
        (DataType::Boolean | DataType::Null, _) => 1,
        (DataType::Struct(_), _) => array.as_struct().columns().iter().map(widest).fold(PLACE, u64::saturating_add),
        (_, Some(values)) => {
            let longest = counts(array).into_iter().max().unwrap_or_default();
            longest.saturating_mul(widest(&values).saturating_add(PLACE)).saturating_add(PLACE)
        }
        (_, None) => lengths(array).max().unwrap_or_else(|| bytes(array)),
    }
}

/// How many values each list of an array holds; nothing of what is no list.
fn counts(array: &ArrayRef) -> Vec<u64> {
    match array.data_type() {
        DataType::List(_) => apart(array.as_list::<i32>().value_offsets()).collect(),
        DataType::LargeList(_) => apart(array.as_list::<i64>().value_offsets()).collect(),
        DataType::FixedSizeList(_, length) => vec![u64::try_from(*length).unwrap_or_default(); array.len()],
        _ => Vec::new(),
    }
}

/// How far each offset is from the one before.
fn apart<O: Copy + Into<i64>>(offsets: &[O]) -> Box<dyn Iterator<Item = u64> + '_> {
    let pairs = offsets.iter().zip(offsets.iter().skip(1));
    Box::new(pairs.map(|(from, to)| (*to).into().abs_diff((*from).into())))
}

/// How many bytes each text of an array has; nothing of what is no text.
fn lengths(array: &ArrayRef) -> Box<dyn Iterator<Item = u64> + '_> {
    match array.data_type() {
        DataType::Utf8 => apart(array.as_string::<i32>().value_offsets()),
        DataType::LargeUtf8 => apart(array.as_string::<i64>().value_offsets()),
        DataType::Binary => apart(array.as_binary::<i32>().value_offsets()),
        DataType::LargeBinary => apart(array.as_binary::<i64>().value_offsets()),
        DataType::Utf8View => Box::new(array.as_string_view().lengths().map(u64::from)),
        DataType::BinaryView => Box::new(array.as_binary_view().lengths().map(u64::from)),
        _ => Box::new(std::iter::empty()),
    }
}

/// How many values the lists of an array hold, and those of the lists among them to such a depth.
pub(super) fn elements(array: &ArrayRef, depth: usize) -> u64 {
    let Some(values) = values(array) else { return 0 };
    let deeper = if depth > 1 { elements(&values, depth - 1) } else { 0 };
    (values.len() as u64).saturating_add(deeper)
}
