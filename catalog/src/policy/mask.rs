//! Masks: how they are written, which one is stricter, and the types for which each is defined.

use super::Mask;
use crate::contract::{LogicalType, PhysicalType, Type};
use crate::document::{nearest, quote};

/// The masks of the vocabulary that this engine does not apply yet.
const LATER: [&str; 8] = [
    "sha-256-query-local",
    "hmac",
    "bucket",
    "truncate-to-year",
    "truncate-to-month",
    "mask-alphanum",
    "show-last-4",
    "show-first-4",
];

const KNOWN: [&str; 3] = ["replace-with-null", "mask-to-fixed-value", "sha-256-global"];

/// Why a text is not a mask that can be applied.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct NotAMask {
    pub message: String,
    pub help: Option<String>,
}

impl Mask {
    /// Reads a mask as policies and tags write it.
    pub(crate) fn parse(text: &str) -> Result<Self, NotAMask> {
        let (name, argument) = match text.split_once('(') {
            None => (text, None),
            Some((name, rest)) => match rest.strip_suffix(')') {
                Some(argument) => (name, Some(argument)),
                None => return Err(unknown(text, text)),
            },
        };
        match (name, argument) {
            ("replace-with-null", None) => Ok(Self::Null),
            ("sha-256-global", None) => Ok(Self::Sha256Global),
            ("mask-to-fixed-value", argument) => Ok(Self::Fixed(argument.map(str::to_owned))),
            ("replace-with-null" | "sha-256-global", Some(_)) => {
                Err(NotAMask { message: format!("the mask `{name}` takes no argument"), help: None })
            }
            (name, _) if LATER.contains(&name) => Err(NotAMask {
                message: format!("the mask {} is not supported yet", quote(text)),
                help: Some(format!("these are: {}", KNOWN.join(", "))),
            }),
            (name, _) => Err(unknown(text, name)),
        }
    }

    /// The one that hides at least as much as both.
    pub(crate) fn strictest(self, other: Self) -> Self {
        match (self, other) {
            (Self::Fixed(a), Self::Fixed(b)) if a != b => Self::Fixed(None),
            (a, b) => a.min(b),
        }
    }

    /// Whether the mask is defined for values of this type.
    pub fn applies_to(&self, kind: &Type) -> bool {
        match self {
            Self::Null => true,
            Self::Sha256Global => matches!(
                kind,
                Type::Physical(PhysicalType::String | PhysicalType::Binary) | Type::Logical(LogicalType::String)
            ),
            Self::Fixed(None) => has_default(kind),
            Self::Fixed(Some(value)) => is_value_of(value, kind),
        }
    }
}

fn unknown(text: &str, name: &str) -> NotAMask {
    NotAMask {
        message: format!("the mask {} is unknown", quote(text)),
        help: nearest(name, KNOWN.into_iter().chain(LATER)).map(|known| format!("did you mean `{known}`?")),
    }
}

/// Whether there is a fixed value of this type that stands for any other.
fn has_default(kind: &Type) -> bool {
    use PhysicalType as P;
    match kind {
        Type::Physical(kind) => !matches!(kind, P::Struct | P::List | P::Map),
        Type::Logical(kind) => !matches!(kind, LogicalType::Object | LogicalType::Array),
    }
}

/// Whether `value`, as a policy writes it, is a value of this type.
fn is_value_of(value: &str, kind: &Type) -> bool {
    use PhysicalType as P;
    match kind {
        Type::Physical(kind) => match kind {
            P::String => true,
            P::Boolean => matches!(value, "true" | "false"),
            P::Int => value.parse::<i32>().is_ok(),
            P::Long => value.parse::<i64>().is_ok(),
            P::Float => value.parse::<f32>().is_ok_and(f32::is_finite),
            P::Double => value.parse::<f64>().is_ok_and(f64::is_finite),
            P::Decimal { precision, scale } => is_decimal(value, *precision, *scale),
            P::Date => is_date(value),
            _ => false,
        },
        // The table may hold the narrowest type of the family, so the value must fit into that.
        Type::Logical(kind) => match kind {
            LogicalType::String => true,
            LogicalType::Boolean => matches!(value, "true" | "false"),
            LogicalType::Integer | LogicalType::Number => value.parse::<i32>().is_ok(),
            LogicalType::Date => is_date(value),
            _ => false,
        },
    }
}

fn is_decimal(value: &str, precision: u32, scale: u32) -> bool {
    let digits = value.strip_prefix('-').unwrap_or(value);
    let (whole, fraction) = digits.split_once('.').unwrap_or((digits, "0"));
    let numeric = |part: &str| !part.is_empty() && part.bytes().all(|b| b.is_ascii_digit());
    let fits = |part: &str, most: u32| u32::try_from(part.len()).is_ok_and(|length| length <= most);
    numeric(whole)
        && numeric(fraction)
        && fits(whole.trim_start_matches('0'), precision - scale.min(precision))
        && fits(fraction.trim_end_matches('0'), scale)
}

fn is_date(value: &str) -> bool {
    let mut parts = value.split('-');
    let mut number = |length: usize| {
        parts
            .next()
            .filter(|part| part.len() == length && part.bytes().all(|b| b.is_ascii_digit()))
            .and_then(|part| part.parse::<u32>().ok())
    };
    let (Some(year), Some(month), Some(day)) = (number(4), number(2), number(2)) else { return false };
    let leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    let days = match month {
        4 | 6 | 9 | 11 => 30,
        2 if leap => 29,
        2 => 28,
        1..=12 => 31,
        _ => return false,
    };
    (1..=days).contains(&day) && parts.next().is_none()
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "tests")]
mod tests {
    use super::*;

    #[test]
    fn masks_are_read_as_written() {
        assert_eq!(Mask::parse("replace-with-null"), Ok(Mask::Null));
        assert_eq!(Mask::parse("sha-256-global"), Ok(Mask::Sha256Global));
        assert_eq!(Mask::parse("mask-to-fixed-value"), Ok(Mask::Fixed(None)));
        assert_eq!(Mask::parse("mask-to-fixed-value(a(b))"), Ok(Mask::Fixed(Some("a(b)".into()))));
        for text in ["hmac(pii)", "bucket(10)", "show-last-4", "truncate-to-year"] {
            assert!(Mask::parse(text).unwrap_err().message.contains("not supported yet"), "{text}");
        }
        assert_eq!(
            Mask::parse("replace-with-nul").unwrap_err().help.as_deref(),
            Some("did you mean `replace-with-null`?")
        );
        assert!(Mask::parse("mask-to-fixed-value(x").is_err());
        assert!(Mask::parse("replace-with-null(x)").is_err());
        assert!(Mask::parse("").is_err());
    }

    #[test]
    fn the_strictest_wins_and_disagreeing_values_lose_theirs() {
        let fixed = |value: &str| Mask::Fixed(Some(value.into()));
        assert_eq!(Mask::Sha256Global.strictest(Mask::Null), Mask::Null);
        assert_eq!(Mask::Sha256Global.strictest(fixed("a")), fixed("a"));
        assert_eq!(fixed("a").strictest(fixed("a")), fixed("a"));
        assert_eq!(fixed("a").strictest(fixed("b")), Mask::Fixed(None));
        assert_eq!(fixed("a").strictest(Mask::Fixed(None)), Mask::Fixed(None));
    }

    #[test]
    fn a_mask_is_defined_only_where_its_value_is_one_of_the_type() {
        let decimal = Type::Physical(PhysicalType::Decimal { precision: 5, scale: 2 });
        let fixed = |value: &str| Mask::Fixed(Some(value.into()));
        assert!(fixed("999.99").applies_to(&decimal));
        assert!(fixed("-0.5").applies_to(&decimal));
        assert!(!fixed("1000").applies_to(&decimal));
        assert!(!fixed("0.001").applies_to(&decimal));
        let date = Type::Physical(PhysicalType::Date);
        assert!(fixed("2024-02-29").applies_to(&date));
        assert!(!fixed("2023-02-29").applies_to(&date));
        assert!(!fixed("0").applies_to(&Type::Physical(PhysicalType::Boolean)));
        assert!(!fixed("3000000000").applies_to(&Type::Physical(PhysicalType::Int)));
        assert!(fixed("x").applies_to(&Type::Logical(LogicalType::String)));
        let list = Type::Physical(PhysicalType::List);
        assert!(Mask::Null.applies_to(&list));
        assert!(!Mask::Fixed(None).applies_to(&list));
        assert!(!Mask::Sha256Global.applies_to(&Type::Physical(PhysicalType::Long)));
    }
}
