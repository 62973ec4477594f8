//! Filters and their values, as one writes them.

use std::fmt;

use crate::policy::filter::{Comparison, Filter, Literal, Operator, Value};

impl fmt::Display for Filter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Constant(truth) => f.write_str(if *truth { "TRUE" } else { "FALSE" }),
            Self::Holds(value) => value.fmt(f),
            Self::Compare(comparison, left, right) => write!(f, "{left} {} {right}", sign(*comparison)),
            Self::And(parts) => joined(f, parts, " AND ", |part| matches!(part, Self::Or(_))),
            Self::Or(parts) => joined(f, parts, " OR ", |_| false),
            Self::Not(inner) => write!(f, "NOT ({inner})"),
            Self::In(value, items) => {
                let items: Vec<String> = items.iter().map(Value::to_string).collect();
                write!(f, "{value} IN ({})", items.join(", "))
            }
            Self::Between(value, low, high) => write!(f, "{value} BETWEEN {low} AND {high}"),
            Self::Like { value, pattern, escape } => {
                write!(f, "{value} LIKE {}", quoted(pattern))?;
                escape.map_or(Ok(()), |escape| write!(f, " ESCAPE {}", quoted(&escape.to_string())))
            }
            Self::IsNull(value) => write!(f, "{value} IS NULL"),
        }
    }
}

fn joined(
    f: &mut fmt::Formatter<'_>,
    parts: &[Filter],
    word: &str,
    is_weaker: impl Fn(&Filter) -> bool,
) -> fmt::Result {
    for (place, part) in parts.iter().enumerate() {
        f.write_str(if place == 0 { "" } else { word })?;
        if is_weaker(part) { write!(f, "({part})")? } else { write!(f, "{part}")? }
    }
    Ok(())
}

impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Column(path) => f.write_str(&path.join(".")),
            Self::Literal(literal) => literal.fmt(f),
            Self::Arithmetic(operator, left, right) => {
                let operator = match operator {
                    Operator::Add => "+",
                    Operator::Subtract => "-",
                    Operator::Multiply => "*",
                };
                write!(f, "({left} {operator} {right})")
            }
        }
    }
}

impl fmt::Display for Literal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Boolean(truth) => f.write_str(if *truth { "TRUE" } else { "FALSE" }),
            Self::Number { unscaled, scale } => f.write_str(&number(*unscaled, u32::from(*scale))),
            Self::Text(text) => f.write_str(&quoted(text)),
            Self::Date(days) => write!(f, "DATE '{}'", date(i128::from(*days))),
            Self::Timestamp(micros) => write!(f, "TIMESTAMP '{}'", time(i128::from(*micros), 6, false)),
            Self::Timestamptz(micros) => write!(f, "TIMESTAMP '{}'", time(i128::from(*micros), 6, true)),
            Self::Float(bits) => write!(f, "{:e}", f64::from_bits(*bits)),
        }
    }
}

fn sign(comparison: Comparison) -> &'static str {
    match comparison {
        Comparison::Equal => "=",
        Comparison::NotEqual => "<>",
        Comparison::Less => "<",
        Comparison::LessOrEqual => "<=",
        Comparison::Greater => ">",
        Comparison::GreaterOrEqual => ">=",
    }
}

/// A text in single quotes.
pub(crate) fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', "''"))
}

/// `unscaled` · 10^-`scale`.
pub(crate) fn number(unscaled: i128, scale: u32) -> String {
    let minus = if unscaled < 0 { "-" } else { "" };
    let digits = format!("{:0>width$}", unscaled.unsigned_abs(), width = scale as usize + 1);
    let (whole, fraction) = digits.split_at(digits.len().saturating_sub(scale as usize));
    if fraction.is_empty() { format!("{minus}{whole}") } else { format!("{minus}{whole}.{fraction}") }
}

/// Days since 1970 as a date.
pub(crate) fn date(days: i128) -> String {
    // Years from March, so that the odd day of a leap year comes last.
    let days = days.saturating_add(719_468);
    let (era, of_era) = (days.div_euclid(146_097), days.rem_euclid(146_097));
    let of_cycle = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * of_cycle + of_cycle / 4 - of_cycle / 100);
    let month = (5 * of_year + 2) / 153;
    let day = of_year - (153 * month + 2) / 5 + 1;
    let (month, next) = if month < 10 { (month + 3, 0) } else { (month - 9, 1) };
    format!("{:04}-{month:02}-{day:02}", of_cycle + era * 400 + next)
}

/// `unscaled` · 10^-`scale` seconds since 1970, in UTC or on no clock.
pub(crate) fn time(unscaled: i128, scale: u32, zoned: bool) -> String {
    let one = 10_i128.checked_pow(scale).unwrap_or(i128::MAX);
    let (seconds, fraction) = (unscaled.div_euclid(one), unscaled.rem_euclid(one));
    let (days, seconds) = (seconds.div_euclid(86_400), seconds.rem_euclid(86_400));
    let clock = format!("{:02}:{:02}:{:02}", seconds / 3600, seconds / 60 % 60, seconds % 60);
    let fraction = match fraction {
        0 => String::new(),
        digits => format!(".{digits:0>width$}", width = scale as usize).trim_end_matches('0').to_owned(),
    };
    format!("{} {clock}{fraction}{}", date(days), if zoned { "Z" } else { "" })
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "tests")]
mod tests {
    use super::*;
    use crate::policy::filter::literal;

    #[test]
    fn times_are_written_as_they_are_read() {
        for text in ["1970-01-01", "2024-02-29", "1900-02-28", "2000-03-01", "0001-01-01", "9999-12-31"] {
            assert_eq!(date(literal::date(text).unwrap().into()), text);
        }
        for text in ["1969-12-31 23:59:59.999999", "2024-02-29 12:34:56.5", "1970-01-01 00:00:00"] {
            assert_eq!(time(literal::timestamp(text).unwrap().into(), 6, false), text);
        }
    }

    #[test]
    fn numbers_are_written_with_their_points() {
        let written = [(5, 0), (-5, 2), (1234, 2), (0, 0), (-100, 1)].map(|(unscaled, scale)| number(unscaled, scale));
        assert_eq!(written, ["5", "-0.05", "12.34", "0", "-10.0"]);
    }
}
