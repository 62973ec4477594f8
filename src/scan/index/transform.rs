//! What a file's partition says about the columns that it was made from.
//!
//! ```text
//! identity(c) = 7        -> every c is 7                bucket(16, c) = 3  -> c is a value whose bucket is 3
//! truncate(10, c) = 20   -> c is in [20, 29]            day(c) = 19000     -> c is in [day 19000, day 19001)
//! ```
//!
//! Every interval is at least as wide as the truth. Where one would leave its type, that side is unknown.

use datafusion::arrow::array::{ArrayRef, BinaryArray, BinaryBuilder, BooleanArray};
use datafusion::arrow::datatypes::{DataType, TimeUnit};
use datafusion::common::ScalarValue;
use iceberg::spec::Transform;

use super::values::{MICROS_A_DAY, NANOS_A_DAY, typed, unscaled, whole};

/// The lowest and the highest value that a column of this type may have, for each partition value.
pub(super) fn interval(transform: Transform, values: &BinaryArray, of: &DataType) -> Option<(ArrayRef, ArrayRef)> {
    match transform {
        Transform::Truncate(width) => match of {
            DataType::Int32 | DataType::Int64 => {
                let last = i128::from(width).checked_sub(1)?;
                ends(values, of, |bytes| whole(bytes).map(|first| (i128::from(first), i128::from(first) + last)))
            }
            DataType::Decimal128(..) => {
                let last = i128::from(width).checked_sub(1)?;
                ends(values, of, |bytes| {
                    let first = unscaled(bytes)?;
                    Some((first, first.checked_add(last)?))
                })
            }
            DataType::Utf8 => prefixes(values, of, width, |text| after_text(text, width)),
            DataType::Binary => prefixes(values, of, width, |bytes| after_bytes(bytes, width)),
            _ => None,
        },
        Transform::Year => span(values, of, |year| days_before_year(year.checked_add(1970)?)),
        Transform::Month => span(values, of, days_before_month),
        Transform::Day => span(values, of, Some),
        Transform::Hour => {
            let hour = i128::from(unit(of)? / 24);
            if hour == 0 {
                return None;
            }
            ends(values, of, |bytes| since(whole(bytes)?, |hours| Some(i128::from(hours) * hour)))
        }
        Transform::Identity | Transform::Bucket(_) | Transform::Void | Transform::Unknown => None,
    }
}

/// Whether a partition value of null says that every value is null, and another one that none is.
pub(super) fn keeps_nulls(transform: Transform) -> bool {
    !matches!(transform, Transform::Void | Transform::Unknown)
}

/// How much a day is in a column of this type.
fn unit(of: &DataType) -> Option<i64> {
    match of {
        DataType::Date32 => Some(1),
        DataType::Timestamp(TimeUnit::Microsecond, _) => Some(MICROS_A_DAY),
        DataType::Timestamp(TimeUnit::Nanosecond, _) => Some(NANOS_A_DAY),
        _ => None,
    }
}

/// Intervals of whole days.
fn span(values: &BinaryArray, of: &DataType, first_day: impl Fn(i64) -> Option<i64>) -> Option<(ArrayRef, ArrayRef)> {
    let day = i128::from(unit(of)?);
    ends(values, of, |bytes| since(whole(bytes)?, |value| Some(i128::from(first_day(value)?) * day)))
}

/// From the start of a period to the last moment before the next. Writers used to cut times before 1970 towards it, so
/// that a file of such a period, or of the first one after, may have what belongs to the period before.
fn since(value: i64, start: impl Fn(i64) -> Option<i128>) -> Option<(i128, i128)> {
    let first = if value <= 0 { value.checked_sub(1)? } else { value };
    Some((start(first)?, start(value.checked_add(1)?)?.checked_sub(1)?))
}

/// Arrays of both ends. Where one is not in the type, neither is known: cutting a very low number may have gone round to
/// the other end of the type.
fn ends(
    values: &BinaryArray,
    of: &DataType,
    interval: impl Fn(&[u8]) -> Option<(i128, i128)>,
) -> Option<(ArrayRef, ArrayRef)> {
    let (mut low, mut high) = (BinaryBuilder::new(), BinaryBuilder::new());
    let decimal = matches!(of, DataType::Decimal128(..));
    let narrow = matches!(of, DataType::Int32 | DataType::Date32);
    let whole = |value: i128| {
        let fits = !narrow || i32::try_from(value).is_ok();
        i64::try_from(value).ok().filter(|_| fits).map(i64::to_le_bytes)
    };
    for value in values {
        let both = value.and_then(&interval);
        if decimal {
            low.append_option(both.map(|both| both.0.to_be_bytes()));
            high.append_option(both.map(|both| both.1.to_be_bytes()));
        } else {
            let both = both.and_then(|(first, last)| whole(first).zip(whole(last)));
            low.append_option(both.map(|both| both.0));
            high.append_option(both.map(|both| both.1));
        }
    }
    Some((typed(&low.finish(), of)?, typed(&high.finish(), of)?))
}

fn prefixes(
    values: &BinaryArray,
    of: &DataType,
    width: u32,
    after: impl Fn(&[u8]) -> Option<Vec<u8>>,
) -> Option<(ArrayRef, ArrayRef)> {
    if width == 0 {
        return None;
    }
    let mut high = BinaryBuilder::new();
    for value in values {
        high.append_option(value.and_then(&after));
    }
    Some((typed(values, of)?, typed(&high.finish(), of)?))
}

/// The text itself when it is too short to have been cut, whatever a writer counts, else one that is behind all that
/// begin with it.
fn after_text(bytes: &[u8], width: u32) -> Option<Vec<u8>> {
    let text = std::str::from_utf8(bytes).ok()?;
    if bytes.len() < usize::try_from(width).ok()? {
        return Some(bytes.to_vec());
    }
    let mut letters: Vec<char> = text.chars().collect();
    while let Some(last) = letters.pop() {
        // A range of letters steps over what is none.
        if let Some(next) = (last..=char::MAX).nth(1) {
            letters.push(next);
            return Some(letters.into_iter().collect::<String>().into_bytes());
        }
    }
    None
}

fn after_bytes(bytes: &[u8], width: u32) -> Option<Vec<u8>> {
    let mut bytes = bytes.to_vec();
    if bytes.len() < usize::try_from(width).ok()? {
        return Some(bytes);
    }
    while let Some(last) = bytes.pop() {
        if let Some(next) = last.checked_add(1) {
            bytes.push(next);
            return Some(bytes);
        }
    }
    None
}

fn days_before_month(month: i64) -> Option<i64> {
    let year = month.div_euclid(12).checked_add(1970)?;
    const BEFORE: [i64; 12] = [0, 31, 59, 90, 120, 151, 181, 212, 243, 273, 304, 334];
    let place = usize::try_from(month.rem_euclid(12)).ok()?;
    let leap = year.rem_euclid(4) == 0 && (year.rem_euclid(100) != 0 || year.rem_euclid(400) == 0);
    days_before_year(year)?.checked_add(*BEFORE.get(place)?)?.checked_add(i64::from(leap && place > 1))
}

/// Days from 1970-01-01 to the first of January, in the calendar of today also where it was not in use.
fn days_before_year(year: i64) -> Option<i64> {
    let past = year.checked_sub(1)?;
    let leaps = past.div_euclid(4) - past.div_euclid(100) + past.div_euclid(400);
    past.checked_mul(365)?.checked_add(leaps)?.checked_sub(719_162)
}

/// The buckets that a value may be in; `None` for a value that has none.
pub(super) fn buckets(value: &ScalarValue, count: u32) -> Option<Vec<i64>> {
    let long = |value: i64| Some(vec![value.to_le_bytes().to_vec()]);
    let bytes = match value {
        ScalarValue::Int32(Some(value)) | ScalarValue::Date32(Some(value)) => long(i64::from(*value)),
        ScalarValue::Int64(Some(value))
        | ScalarValue::Time64Microsecond(Some(value))
        | ScalarValue::TimestampMicrosecond(Some(value), _) => long(*value),
        // Before 1970 writers disagree on how nanoseconds become the microseconds that are hashed.
        ScalarValue::TimestampNanosecond(Some(value), _) => {
            Some(vec![(value / 1000).to_le_bytes().to_vec(), value.div_euclid(1000).to_le_bytes().to_vec()])
        }
        ScalarValue::Decimal128(Some(value), ..) => Some(vec![super::avro::shortest(&value.to_be_bytes()).to_vec()]),
        ScalarValue::Utf8(Some(value)) | ScalarValue::Utf8View(Some(value)) => Some(vec![value.as_bytes().to_vec()]),
        ScalarValue::Binary(Some(value))
        | ScalarValue::BinaryView(Some(value))
        | ScalarValue::FixedSizeBinary(_, Some(value)) => Some(vec![value.clone()]),
        _ => None,
    }?;
    let bucket = |bytes: &Vec<u8>| i64::from(murmur3(bytes) & 0x7fff_ffff).checked_rem(i64::from(count));
    bytes.iter().map(bucket).collect()
}

/// The 32-bit x86 variant with seed 0, by which Iceberg makes buckets.
fn murmur3(bytes: &[u8]) -> u32 {
    let scramble = |word: u32| word.wrapping_mul(0xcc9e_2d51).rotate_left(15).wrapping_mul(0x1b87_3593);
    let (words, tail) = bytes.as_chunks::<4>();
    let mut hash = words.iter().fold(0u32, |hash, word| {
        (hash ^ scramble(u32::from_le_bytes(*word))).rotate_left(13).wrapping_mul(5).wrapping_add(0xe654_6b64)
    });
    let last = tail.iter().rev().fold(0u32, |word, byte| (word << 8) | u32::from(*byte));
    if !tail.is_empty() {
        hash ^= scramble(last);
    }
    // The length is counted in 32 bits by definition.
    #[allow(clippy::cast_possible_truncation, reason = "the hash takes the length modulo 2^32")]
    let length = bytes.len() as u32;
    hash ^= length;
    hash = (hash ^ (hash >> 16)).wrapping_mul(0x85eb_ca6b);
    hash = (hash ^ (hash >> 13)).wrapping_mul(0xc2b2_ae35);
    hash ^ (hash >> 16)
}

/// Which of the files can have none of `wanted`, by their buckets: false where it cannot.
pub(super) fn can_hold(values: &BinaryArray, wanted: &[i64]) -> BooleanArray {
    let may = |value: Option<&[u8]>| match value {
        // A bucket of null holds nulls alone, and no value equals null.
        None => Some(false),
        Some(bytes) => whole(bytes).is_some_and(|bucket| !wanted.contains(&bucket)).then_some(false),
    };
    values.iter().map(may).collect()
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests")]
mod tests {
    use super::*;
    use iceberg::spec::{Datum, PrimitiveLiteral};
    use iceberg::transform::create_transform_function;

    fn partition(transform: Transform, datum: &Datum) -> Option<Vec<u8>> {
        let value = create_transform_function(&transform).unwrap().transform_literal(datum).unwrap()?;
        Some(match value.literal() {
            PrimitiveLiteral::Int(v) => i64::from(*v).to_le_bytes().to_vec(),
            PrimitiveLiteral::Long(v) => v.to_le_bytes().to_vec(),
            PrimitiveLiteral::Int128(v) => v.to_be_bytes().to_vec(),
            PrimitiveLiteral::String(v) => v.as_bytes().to_vec(),
            PrimitiveLiteral::Binary(v) => v.clone(),
            other => unreachable!("{other:?}"),
        })
    }

    /// The value lies in the interval that its own partition value gives.
    fn check(transform: Transform, datum: &Datum, value: &ScalarValue) {
        within(transform, &partition(transform, datum).unwrap(), value);
    }

    fn within(transform: Transform, partition: &[u8], value: &ScalarValue) {
        let of = value.data_type();
        let (low, high) = interval(transform, &BinaryArray::from_vec(vec![partition]), &of).unwrap();
        let (low, high) =
            (ScalarValue::try_from_array(&low, 0).unwrap(), ScalarValue::try_from_array(&high, 0).unwrap());
        assert!(low.is_null() || low <= *value, "{transform} of {value}: {low} is above it");
        assert!(high.is_null() || high >= *value, "{transform} of {value}: {high} is below it");
    }

    fn numbers() -> impl Iterator<Item = i64> {
        let mut seed = 42u64;
        let random = std::iter::repeat_with(move || {
            seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            seed.cast_signed() >> (seed % 60)
        });
        [0, 1, -1, 9, 10, -9, -10, -11, 86_399_999_999, -86_400_000_000, -86_400_000_001].into_iter().chain(random)
    }

    #[test]
    fn a_value_is_in_the_interval_of_its_partition() {
        for n in numbers().take(3000) {
            for width in [1, 7, 10, 1000] {
                check(Transform::Truncate(width), &Datum::long(n), &ScalarValue::Int64(Some(n)));
                let decimal = Datum::decimal_from_str(format!("{n}")).unwrap();
                check(Transform::Truncate(width), &decimal, &ScalarValue::Decimal128(Some(n.into()), 38, 0));
                let text: String = n.to_string().chars().map(|c| char::from_u32(u32::from(c) * 97).unwrap()).collect();
                check(Transform::Truncate(width), &Datum::string(&text), &ScalarValue::Utf8(Some(text)));
                let bytes = n.to_be_bytes().to_vec();
                let cut = bytes[..bytes.len().min(width as usize)].to_vec();
                within(Transform::Truncate(width), &cut, &ScalarValue::Binary(Some(bytes)));
            }
            let small = i32::try_from(n % 2_000_000_000).unwrap();
            check(Transform::Truncate(9), &Datum::int(small), &ScalarValue::Int32(Some(small)));
            let (day, micros) = (i32::try_from(n % 90_000_000).unwrap(), n % 8_000_000_000_000_000);
            for transform in [Transform::Year, Transform::Month, Transform::Day] {
                check(transform, &Datum::date(day), &ScalarValue::Date32(Some(day)));
            }
            for transform in [Transform::Year, Transform::Month, Transform::Day, Transform::Hour] {
                let value = ScalarValue::TimestampMicrosecond(Some(micros), None);
                check(transform, &Datum::timestamp_micros(micros), &value);
                check(transform, &Datum::timestamp_nanos(n), &ScalarValue::TimestampNanosecond(Some(n), None));
            }
        }
    }

    #[test]
    fn intervals_are_not_wider_than_they_need() {
        let of = |transform, value: i64, data_type| {
            let values = BinaryArray::from_vec(vec![&value.to_le_bytes()]);
            let (low, high) = interval(transform, &values, &data_type).unwrap();
            (ScalarValue::try_from_array(&low, 0).unwrap(), ScalarValue::try_from_array(&high, 0).unwrap())
        };
        let days = |low, high| (ScalarValue::Date32(Some(low)), ScalarValue::Date32(Some(high)));
        assert_eq!(of(Transform::Year, 54, DataType::Date32), days(19723, 20088));
        assert_eq!(of(Transform::Month, 54 * 12 + 1, DataType::Date32), days(19754, 19782));
        // Before 1970 the period before is let in.
        assert_eq!(of(Transform::Year, -1, DataType::Date32), days(-731, -1));
        let micros = DataType::Timestamp(TimeUnit::Microsecond, None);
        let (low, high) = of(Transform::Hour, 5, micros.clone());
        assert_eq!(low, ScalarValue::TimestampMicrosecond(Some(5 * 3_600_000_000), None));
        assert_eq!(high, ScalarValue::TimestampMicrosecond(Some(6 * 3_600_000_000 - 1), None));
        assert!(of(Transform::Year, 400_000_000, micros).0.is_null());
        let longs = |low, high| (ScalarValue::Int64(Some(low)), ScalarValue::Int64(Some(high)));
        assert_eq!(of(Transform::Truncate(10), -20, DataType::Int64), longs(-20, -11));
        assert_eq!(
            of(Transform::Truncate(10), i64::MAX - 7, DataType::Int64),
            (ScalarValue::Int64(None), ScalarValue::Int64(None))
        );
        assert_eq!(after_text(b"ab", 3).unwrap(), b"ab");
        assert_eq!(after_text(b"abc", 3).unwrap(), b"abd");
        assert_eq!(after_text("a\u{d7ff}".as_bytes(), 2).unwrap(), "a\u{e000}".as_bytes());
        assert_eq!(after_text("\u{10ffff}".as_bytes(), 1), None);
        assert_eq!(after_bytes(&[1, 255], 2).unwrap(), [2]);
        assert_eq!(after_bytes(&[255, 255], 2), None);
    }

    #[test]
    fn buckets_are_those_that_iceberg_makes() {
        for n in numbers().take(1000) {
            let expect = |datum: Datum| {
                i64::from_le_bytes(partition(Transform::Bucket(16), &datum).unwrap().try_into().unwrap())
            };
            let own = |value: ScalarValue| buckets(&value, 16).unwrap();
            assert_eq!(own(ScalarValue::Int64(Some(n))), [expect(Datum::long(n))]);
            let decimal = Datum::decimal_from_str(format!("{n}")).unwrap();
            assert_eq!(own(ScalarValue::Decimal128(Some(n.into()), 38, 0)), [expect(decimal)], "{n}");
            assert_eq!(own(ScalarValue::Utf8(Some(n.to_string()))), [expect(Datum::string(n.to_string()))]);
            assert_eq!(own(ScalarValue::TimestampMicrosecond(Some(n), None)), [expect(Datum::timestamp_micros(n))]);
            let nanos = own(ScalarValue::TimestampNanosecond(Some(n), None));
            assert!(nanos.contains(&expect(Datum::timestamp_nanos(n))));
            let bytes = n.to_be_bytes()[..usize::try_from(n.unsigned_abs() % 8).unwrap()].to_vec();
            assert_eq!(own(ScalarValue::Binary(Some(bytes.clone()))), [expect(Datum::binary(bytes))]);
        }
        assert_eq!(buckets(&ScalarValue::Float64(Some(1.0)), 16), None);
        assert_eq!(buckets(&ScalarValue::Int64(Some(1)), 0), None);
    }
}
