//! Values as texts: numbers, dates and times.

use super::Literal;

/// The most digits that an exact number has.
pub(crate) const DIGITS: u32 = 38;

const DAY: i64 = 86_400_000_000;

/// `12`, `12.50`: digits and at most one point between them, without zeros that say nothing. A sign is no part of it.
pub(crate) fn number(text: &str) -> Option<Literal> {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, "0"));
    let is_digits = |part: &str| !part.is_empty() && part.bytes().all(|b| b.is_ascii_digit());
    if !(is_digits(whole) && is_digits(fraction)) {
        return None;
    }
    let (whole, fraction) = (whole.trim_start_matches('0'), fraction.trim_end_matches('0'));
    let scale = u8::try_from(fraction.len()).ok()?;
    if whole.len() + fraction.len() > DIGITS as usize {
        return None;
    }
    let digits = format!("0{whole}{fraction}");
    Some(Literal::Number { unscaled: digits.parse().ok()?, scale })
}

/// `2024-02-29`, as days since 1970.
pub(crate) fn date(text: &str) -> Option<i32> {
    let mut parts = text.split('-');
    let (year, month, day) = (digits(parts.next()?, 4)?, digits(parts.next()?, 2)?, digits(parts.next()?, 2)?);
    let leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    let longest = match month {
        4 | 6 | 9 | 11 => 30,
        2 if leap => 29,
        2 => 28,
        1..=12 => 31,
        _ => return None,
    };
    if !(1..=longest).contains(&day) || parts.next().is_some() {
        return None;
    }
    // Years from March, so that the odd day of a leap year comes last.
    let (year, month) = if month > 2 { (year, month - 3) } else { (year - 1, month + 9) };
    let (era, of_era) = (year.div_euclid(400), year.rem_euclid(400));
    let of_year = (153 * month + 2) / 5 + day - 1;
    let days = era * 146_097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719_468;
    i32::try_from(days).ok()
}

/// `12:34:56.789`, as microseconds of the day.
pub(crate) fn time(text: &str) -> Option<i64> {
    let (clock, fraction) = match text.split_once('.') {
        Some((clock, fraction)) => (clock, fraction),
        None => (text, "0"),
    };
    let mut parts = clock.split(':');
    let (hour, minute, second) = (digits(parts.next()?, 2)?, digits(parts.next()?, 2)?, digits(parts.next()?, 2)?);
    if parts.next().is_some() || hour > 23 || minute > 59 || second > 59 || fraction.len() > 6 {
        return None;
    }
    let micros = digits(&format!("{fraction:0<6}"), 6).filter(|_| !fraction.is_empty())?;
    Some(((hour * 60 + minute) * 60 + second) * 1_000_000 + micros)
}

/// `2024-02-29T12:34:56.789`, or with a space, as microseconds since 1970 on no particular clock.
pub(crate) fn timestamp(text: &str) -> Option<i64> {
    let (day, clock) = text.split_once(['T', ' '])?;
    i64::from(date(day)?).checked_mul(DAY)?.checked_add(time(clock)?)
}

/// The same with `Z` or an offset like `+01:00` behind it, as microseconds since 1970 UTC.
pub(crate) fn timestamptz(text: &str) -> Option<i64> {
    if let Some(local) = text.strip_suffix('Z') {
        return timestamp(local);
    }
    let at = text.len().checked_sub(6)?;
    let (local, offset) = (text.get(..at)?, text.get(at..)?);
    let sign = match offset.get(..1)? {
        "+" => 1,
        "-" => -1,
        _ => return None,
    };
    timestamp(local)?.checked_sub(sign * time(&format!("{}:00", offset.get(1..)?))?)
}

/// A number of exactly so many digits.
fn digits(text: &str, length: usize) -> Option<i64> {
    (text.len() == length && text.bytes().all(|b| b.is_ascii_digit())).then(|| text.parse().ok()).flatten()
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    #[test]
    fn days_are_counted_from_1970() {
        for (text, days) in [
            ("1970-01-01", 0),
            ("1969-12-31", -1),
            ("2000-02-29", 11_016),
            ("2024-03-01", 19_783),
            ("0001-01-01", -719_162),
            ("9999-12-31", 2_932_896),
        ] {
            assert_eq!(date(text), Some(days), "{text}");
        }
        for text in ["1900-02-29", "2024-13-01", "2024-1-1", "2024-01-00", "2024-01-01-01", "+024-01-01", ""] {
            assert_eq!(date(text), None, "{text}");
        }
    }

    #[test]
    fn times_have_a_clock_or_none() {
        assert_eq!(time("00:00:01.5"), Some(1_500_000));
        assert_eq!(timestamp("1970-01-02T00:00:00"), Some(DAY));
        assert_eq!(timestamp("1970-01-02 00:00:00.000001"), Some(DAY + 1));
        assert_eq!(timestamptz("1970-01-01T01:00:00+01:00"), Some(0));
        assert_eq!(timestamptz("1970-01-01T00:00:00-00:30"), Some(30 * 60 * 1_000_000));
        assert_eq!(timestamptz("1970-01-01T00:00:00Z"), Some(0));
        for text in ["1970-01-01", "1970-01-01T24:00:00", "1970-01-01T00:00:00Z", "1970-01-01T00:00:00."] {
            assert_eq!(timestamp(text), None, "{text}");
        }
        assert_eq!(timestamptz("1970-01-01T00:00:00"), None);
        assert_eq!(timestamptz("é:00"), None);
    }

    #[test]
    fn numbers_are_exact_and_in_lowest_terms() {
        let read = |text| match number(text) {
            Some(Literal::Number { unscaled, scale }) => Some((unscaled, scale)),
            _ => None,
        };
        assert_eq!(read("007.50"), Some((75, 1)));
        assert_eq!(read("0"), Some((0, 0)));
        assert_eq!(read("99999999999999999999999999999999999999"), Some((10_i128.pow(38) - 1, 0)));
        for text in ["100000000000000000000000000000000000000", "", ".", "1.", ".5", "1e3", "-1", "0x1", "1.2.3"] {
            assert_eq!(read(text), None, "{text}");
        }
    }
}
