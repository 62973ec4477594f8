//! `truncate-to-year` and `truncate-to-month`, in UTC; NULL where the start is no value of the type.

use std::sync::Arc;

use datafusion::arrow::array::types::{
    ArrowTimestampType, Date32Type, TimestampMicrosecondType, TimestampNanosecondType,
};
use datafusion::arrow::array::{Array, ArrayRef, AsArray};
use datafusion::arrow::datatypes::{DataType, TimeUnit};

use super::Failed;

/// What a moment is truncated to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Start {
    Year,
    Month,
}

/// The starts of the years or months that an array's values are in.
pub(super) fn truncate(array: &ArrayRef, start: Start) -> Result<ArrayRef, Failed> {
    match array.data_type() {
        DataType::Date32 => {
            let first = |day: i32| i32::try_from(start.of(i64::from(day))).ok();
            Ok(Arc::new(array.as_primitive::<Date32Type>().unary_opt::<_, Date32Type>(first)))
        }
        DataType::Timestamp(TimeUnit::Microsecond, _) => {
            Ok(moments::<TimestampMicrosecondType>(array, start, 86_400_000_000))
        }
        DataType::Timestamp(TimeUnit::Nanosecond, _) => {
            Ok(moments::<TimestampNanosecondType>(array, start, 86_400_000_000_000))
        }
        _ => Err(Failed),
    }
}

/// Moments of which a day has so many.
fn moments<T: ArrowTimestampType>(array: &ArrayRef, start: Start, day: i64) -> ArrayRef {
    let first = |moment: i64| start.of(moment.div_euclid(day)).checked_mul(day);
    let made = array.as_primitive::<T>().unary_opt::<_, T>(first);
    Arc::new(made.with_data_type(array.data_type().clone()))
}

impl Start {
    /// The first day of the year or month that a day since 1970 is in, in the Gregorian calendar. For all days that a
    /// type of 64 bits can tell it stays far from the ends of its numbers.
    fn of(self, day: i64) -> i64 {
        // Years of 365 or 366 days that begin with March, in eras of 400, so that the odd day comes last.
        let of_era = (day + 719_468).rem_euclid(146_097);
        let year_of_era = (of_era - of_era / 1_460 + of_era / 36_524 - of_era / 146_096) / 365;
        let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
        let month = (5 * of_year + 2) / 153;
        let march = day - of_year;
        match self {
            Self::Month => march + (153 * month + 2) / 5,
            // January and February are the end of such a year.
            Self::Year if month >= 10 => march + 306,
            Self::Year => march - if is_leap(year_of_era) { 60 } else { 59 },
        }
    }
}

/// Whether February had 29 days in the year of an era whose March this is.
fn is_leap(year: i64) -> bool {
    year % 4 == 0 && (year % 100 != 0 || year % 400 == 0)
}
