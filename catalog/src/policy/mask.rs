//! Masks: how they are written, which one is stricter, and the types for which each is defined.

use std::fmt;
use std::sync::Arc;

use super::filter::Literal;
use super::filter::literal;
use super::planted::{self, Fault};
use crate::contract::{LogicalType, PhysicalType, Type};
use crate::document::{nearest, quote};

/// How values are hidden. What stands earlier hides more. Each keeps NULL as it is unless it says otherwise.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Mask {
    /// `replace-with-null`
    Null,
    /// `mask-to-fixed-value(v)`; without `v` a fixed value of the column's type. It stands for NULL as well.
    Fixed(Option<String>),
    /// `sha-256-query-local`: a digest that is salted anew for each query.
    Sha256QueryLocal,
    /// `hmac(key)`: a digest under a key of the mesh.
    Hmac(Arc<str>),
    /// `sha-256-global`: the digest of the value alone.
    Sha256Global,
    /// `bucket(n)`: rounded down to a multiple of `n`; NULL where that is no value of the type, or the value is no
    /// finite number.
    Bucket(Width),
    /// `truncate-to-year`: the start of the year; NULL where that is no value of the type.
    Year,
    /// `truncate-to-month`: the start of the month; NULL where that is no value of the type.
    Month,
    /// `mask-alphanum`: digits and all other characters are hidden, but for six marks: `( ) , . - @`.
    Alphanum,
    /// `show-last-4`: all but the last four characters are hidden; all of them where there are four or fewer.
    Last4,
    /// `show-first-4`: all but the first four characters are hidden; all of them where there are four or fewer.
    First4,
}

/// The width of a bucket, more than zero: `unscaled` · 10^-`scale`, in lowest terms.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Width {
    /// The digits, at most 38.
    pub unscaled: i128,
    /// How many of them stand behind the point.
    pub scale: u8,
}

impl fmt::Display for Mask {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())?;
        match self {
            Self::Fixed(Some(value)) => write!(f, "({value})"),
            Self::Hmac(key) => write!(f, "({key})"),
            Self::Bucket(width) => write!(f, "({width})"),
            _ => Ok(()),
        }
    }
}

impl fmt::Display for Width {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scale = usize::from(self.scale);
        if scale == 0 {
            return write!(f, "{}", self.unscaled);
        }
        let digits = format!("{:0>width$}", self.unscaled, width = scale + 1);
        let (whole, fraction) = digits.split_at(digits.len().saturating_sub(scale));
        write!(f, "{whole}.{fraction}")
    }
}

/// What each mask is called, strictest first.
pub(crate) const NAMES: [&str; 11] = [
    "replace-with-null",
    "mask-to-fixed-value",
    "sha-256-query-local",
    "hmac",
    "sha-256-global",
    "bucket",
    "truncate-to-year",
    "truncate-to-month",
    "mask-alphanum",
    "show-last-4",
    "show-first-4",
];

/// Why a text is not a mask that can be applied.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct NotAMask {
    pub message: String,
    pub help: Option<String>,
}

impl Mask {
    /// Reads a mask as policies and tags write it; `keys` are those that the mesh declares.
    pub(crate) fn parse<'k>(text: &str, keys: impl IntoIterator<Item = &'k str>) -> Result<Self, NotAMask> {
        let (name, argument) = match text.split_once('(') {
            None => (text, None),
            Some((name, rest)) => match rest.strip_suffix(')') {
                Some(argument) => (name, Some(argument)),
                None => return Err(unknown(text, text)),
            },
        };
        let fault = |message: String, help: Option<String>| Err(NotAMask { message, help });
        let mask = match (name, argument) {
            ("mask-to-fixed-value", argument) => return Ok(Self::Fixed(argument.map(str::to_owned))),
            ("hmac", Some(argument)) => return key(argument, keys).map(Self::Hmac),
            ("hmac", None) => {
                return fault(
                    "the mask `hmac` needs a key".into(),
                    Some("write `hmac(name)`, a name of `keys`".into()),
                );
            }
            ("bucket", argument) => match argument.and_then(width) {
                Some(width) => return Ok(Self::Bucket(width)),
                None => {
                    let help = "write `bucket(n)`, with a number above zero like `10` or `0.5`";
                    return fault(format!("the mask {} has no width", quote(text)), Some(help.into()));
                }
            },
            ("replace-with-null", _) => Self::Null,
            ("sha-256-query-local", _) => Self::Sha256QueryLocal,
            ("sha-256-global", _) => Self::Sha256Global,
            ("truncate-to-year", _) => Self::Year,
            ("truncate-to-month", _) => Self::Month,
            ("mask-alphanum", _) => Self::Alphanum,
            ("show-last-4", _) => Self::Last4,
            ("show-first-4", _) => Self::First4,
            (name, _) => return Err(unknown(text, name)),
        };
        match argument {
            None => Ok(mask),
            Some(_) => fault(format!("the mask `{name}` takes no argument"), None),
        }
    }

    /// Where it stands in the order of strictness; the least hides most.
    fn rank(&self) -> usize {
        match self {
            Self::Null => 0,
            Self::Fixed(_) => 1,
            Self::Sha256QueryLocal => 2,
            Self::Hmac(_) => 3,
            Self::Sha256Global => 4,
            Self::Bucket(_) => 5,
            Self::Year => 6,
            Self::Month => 7,
            Self::Alphanum => 8,
            Self::Last4 => 9,
            Self::First4 => 10,
        }
    }

    /// What it is called, without its argument.
    pub fn name(&self) -> &'static str {
        NAMES.get(self.rank()).copied().unwrap_or_default()
    }

    /// The strictest of several, whatever their order: one of the strictest kind, if all of that kind are the same, and
    /// else a fixed value. `None` of none.
    pub(crate) fn strictest<'m>(masks: impl IntoIterator<Item = &'m Self>) -> Option<Self> {
        let masks: Vec<&Self> = masks.into_iter().collect();
        let weakest = planted::is(Fault::WeakestMask);
        let first = masks.iter().min_by_key(|mask| if weakest { NAMES.len() - mask.rank() } else { mask.rank() })?;
        let agreed = masks.iter().filter(|mask| mask.rank() == first.rank()).all(|mask| mask == first);
        Some(if agreed { (*first).clone() } else { Self::Fixed(None) })
    }

    /// The names of the masks that are defined for values of this type, whatever their arguments.
    pub(crate) fn names_for(kind: &Type) -> String {
        let one = Width { unscaled: 1, scale: 0 };
        let masks = [
            Self::Null,
            Self::Fixed(None),
            Self::Sha256QueryLocal,
            Self::Hmac("".into()),
            Self::Sha256Global,
            Self::Bucket(one),
            Self::Year,
            Self::Month,
            Self::Alphanum,
            Self::Last4,
            Self::First4,
        ];
        let names: Vec<&str> = masks.iter().filter(|mask| mask.applies_to(kind)).map(Self::name).collect();
        names.join(", ")
    }

    /// Whether the mask is defined for values of this type. A list stands for elements that only its table knows.
    pub fn applies_to(&self, kind: &Type) -> bool {
        match kind {
            Type::Physical(kind) => self.is_defined(kind),
            Type::Logical(kind) => self.is_defined(&typical(*kind)),
        }
    }

    /// The table of masks and types.
    fn is_defined(&self, kind: &PhysicalType) -> bool {
        use PhysicalType as P;
        let is_time = matches!(kind, P::Date | P::Timestamp | P::Timestamptz | P::TimestampNs | P::TimestamptzNs);
        match (self, kind) {
            (Self::Null, _) | (_, P::List) => true,
            (_, P::Struct | P::Map | P::Unknown | P::Variant | P::Geometry | P::Geography) => false,
            (Self::Fixed(None), _) => true,
            (Self::Fixed(Some(value)), kind) => is_value_of(value, kind),
            (Self::Sha256QueryLocal | Self::Hmac(_) | Self::Sha256Global, kind) => {
                matches!(kind, P::String | P::Binary | P::Int | P::Long)
            }
            (Self::Bucket(width), kind) => width.fits(kind),
            (Self::Year | Self::Month, _) => is_time,
            (Self::Alphanum | Self::Last4 | Self::First4, kind) => *kind == P::String,
        }
    }
}

impl Width {
    /// Whether multiples of it are values of this type.
    fn fits(self, kind: &PhysicalType) -> bool {
        match kind {
            PhysicalType::Int => self.scale == 0 && i32::try_from(self.unscaled).is_ok(),
            PhysicalType::Long => self.scale == 0 && i64::try_from(self.unscaled).is_ok(),
            PhysicalType::Float | PhysicalType::Double => true,
            PhysicalType::Decimal { precision, scale } => is_decimal(&self.to_string(), *precision, *scale),
            _ => false,
        }
    }
}

fn unknown(text: &str, name: &str) -> NotAMask {
    NotAMask {
        message: format!("the mask {} is unknown", quote(text)),
        help: nearest(name, NAMES).map(|known| format!("did you mean `{known}`?")),
    }
}

fn key<'k>(name: &str, keys: impl IntoIterator<Item = &'k str>) -> Result<Arc<str>, NotAMask> {
    let keys: Vec<&str> = keys.into_iter().collect();
    if keys.contains(&name) {
        return Ok(name.into());
    }
    let message = format!("the key {} of a mask is not declared", quote(name));
    let help = match nearest(name, keys) {
        Some(known) => format!("did you mean `{known}`?"),
        None => "declare it in `keys` of `mesh.yaml`".to_owned(),
    };
    Err(NotAMask { message, help: Some(help) })
}

fn width(text: &str) -> Option<Width> {
    let Literal::Number { unscaled, scale } = literal::number(text)? else { return None };
    (unscaled > 0).then_some(Width { unscaled, scale })
}

/// The type that columns of a family mostly have. The table may hold the narrowest of it, so a value must fit into that;
/// the engine holds a mask against the type that the table turns out to have.
fn typical(kind: LogicalType) -> PhysicalType {
    match kind {
        LogicalType::String => PhysicalType::String,
        LogicalType::Date => PhysicalType::Date,
        LogicalType::Timestamp => PhysicalType::Timestamp,
        LogicalType::Time => PhysicalType::Time,
        LogicalType::Number | LogicalType::Integer => PhysicalType::Int,
        LogicalType::Boolean => PhysicalType::Boolean,
        LogicalType::Object => PhysicalType::Struct,
        LogicalType::Array => PhysicalType::List,
    }
}

/// Whether `value`, as a policy writes it, is a value of this type.
fn is_value_of(value: &str, kind: &PhysicalType) -> bool {
    use PhysicalType as P;
    match kind {
        P::String => true,
        P::Boolean => matches!(value, "true" | "false"),
        P::Int => value.parse::<i32>().is_ok(),
        P::Long => value.parse::<i64>().is_ok(),
        P::Float => value.parse::<f32>().is_ok_and(f32::is_finite),
        P::Double => value.parse::<f64>().is_ok_and(f64::is_finite),
        P::Decimal { precision, scale } => is_decimal(value, *precision, *scale),
        P::Date => literal::date(value).is_some(),
        P::Time => literal::time(value).is_some(),
        P::Timestamp => literal::timestamp(value).is_some(),
        P::Timestamptz => literal::timestamptz(value).is_some(),
        // Sixty-four bits of nanoseconds hold fewer years.
        P::TimestampNs => literal::timestamp(value).is_some_and(|micros| micros.checked_mul(1000).is_some()),
        P::TimestamptzNs => literal::timestamptz(value).is_some_and(|micros| micros.checked_mul(1000).is_some()),
        P::Uuid => is_uuid(value),
        _ => false,
    }
}

fn is_uuid(value: &str) -> bool {
    let lengths = value.split('-').map(str::len);
    lengths.eq([8, 4, 4, 4, 12]) && value.bytes().all(|b| b == b'-' || b.is_ascii_hexdigit())
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

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "tests")]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<Mask, NotAMask> {
        Mask::parse(text, ["mesh", "pii"])
    }

    /// One of each kind, strictest first.
    fn all() -> Vec<Mask> {
        NAMES
            .iter()
            .map(|name| match *name {
                "hmac" => parse("hmac(pii)").unwrap(),
                "bucket" => parse("bucket(10)").unwrap(),
                name => parse(name).unwrap(),
            })
            .collect()
    }

    #[test]
    fn masks_are_written_as_they_are_read() {
        for text in NAMES.into_iter().filter(|name| !["hmac", "bucket"].contains(name)).chain([
            "mask-to-fixed-value(a(b))",
            "mask-to-fixed-value()",
            "hmac(pii)",
            "bucket(10)",
            "bucket(0.05)",
            "bucket(12.5)",
            "bucket(99999999999999999999999999999999999999)",
        ]) {
            assert_eq!(parse(text).unwrap().to_string(), text);
        }
        assert_eq!(parse("bucket(010.50)").unwrap().to_string(), "bucket(10.5)");
    }

    #[test]
    fn what_is_no_mask_says_why() {
        let fault = |text: &str| {
            let fault = parse(text).unwrap_err();
            format!("{} / {}", fault.message, fault.help.unwrap_or_default())
        };
        assert!(fault("replace-with-nul").ends_with("did you mean `replace-with-null`?"));
        assert!(fault("replace-with-null(x)").contains("takes no argument"));
        assert!(fault("show-last-4(4)").contains("takes no argument"));
        assert!(fault("hmac").contains("hmac(name)"));
        assert!(fault("hmac(pij)").ends_with("did you mean `pii`?"));
        assert!(fault("hmac(unheard-of)").contains("`keys`"));
        for text in ["bucket", "bucket()", "bucket(0)", "bucket(0.0)", "bucket(-1)", "bucket(1e3)", "bucket(ten)"] {
            assert!(fault(text).contains("has no width"), "{text}");
        }
        assert!(fault("mask-to-fixed-value(x").contains("unknown"));
        assert!(fault("").contains("unknown"));
    }

    #[test]
    fn the_strictest_wins_in_every_order() {
        let masks = all();
        for (place, mask) in masks.iter().enumerate() {
            for weaker in &masks[place..] {
                assert_eq!(Mask::strictest([mask, weaker]), Some(mask.clone()));
                assert_eq!(Mask::strictest([weaker, mask]), Some(mask.clone()));
            }
        }
        assert_eq!(Mask::strictest([]), None);
    }

    #[test]
    fn arguments_that_differ_count_only_in_the_strictest_kind() {
        let (b5, b10, first) = (parse("bucket(5)").unwrap(), parse("bucket(10)").unwrap(), Mask::First4);
        let hmac = parse("hmac(pii)").unwrap();
        for three in [[&b5, &b10, &first], [&first, &b10, &b5], [&b10, &first, &b5]] {
            assert_eq!(Mask::strictest(three), Some(Mask::Fixed(None)));
        }
        for three in [[&b5, &b10, &hmac], [&hmac, &b10, &b5], [&b10, &hmac, &b5]] {
            assert_eq!(Mask::strictest(three), Some(hmac.clone()));
        }
        let (a, b) = (parse("mask-to-fixed-value(a)").unwrap(), parse("mask-to-fixed-value(b)").unwrap());
        assert_eq!(Mask::strictest([&a, &b]), Some(Mask::Fixed(None)));
        assert_eq!(Mask::strictest([&a, &Mask::Fixed(None)]), Some(Mask::Fixed(None)));
        assert_eq!(Mask::strictest([&hmac, &parse("hmac(mesh)").unwrap()]), Some(Mask::Fixed(None)));
    }

    #[test]
    fn each_mask_is_defined_for_its_types() {
        let types = "boolean int long float double decimal(9,2) date time timestamp timestamptz timestamp_ns \
                     timestamptz_ns string uuid fixed[4] binary struct list map unknown variant";
        let expect = [
            types,
            "boolean int long float double decimal(9,2) date time timestamp timestamptz timestamp_ns timestamptz_ns \
             string uuid fixed[4] binary list",
            "int long string binary list",
            "int long string binary list",
            "int long string binary list",
            "int long float double decimal(9,2) list",
            "date timestamp timestamptz timestamp_ns timestamptz_ns list",
            "date timestamp timestamptz timestamp_ns timestamptz_ns list",
            "string list",
            "string list",
            "string list",
        ];
        for (mask, expect) in all().iter().zip(expect) {
            let defined = types
                .split(' ')
                .filter(|kind| mask.applies_to(&Type::Physical(crate::contract::kind::physical(kind).unwrap())));
            assert_eq!(defined.collect::<Vec<_>>().join(" "), expect, "{mask}");
        }
    }

    #[test]
    fn the_masks_of_a_type_are_told_by_their_names() {
        let of = |kind: &str| Mask::names_for(&Type::Physical(crate::contract::kind::physical(kind).unwrap()));
        assert_eq!(of("double"), "replace-with-null, mask-to-fixed-value, bucket");
        assert_eq!(of("date"), "replace-with-null, mask-to-fixed-value, truncate-to-year, truncate-to-month");
        assert_eq!(of("struct"), "replace-with-null");
        assert_eq!(of("list"), NAMES.join(", "));
    }

    #[test]
    fn an_argument_must_be_a_value_of_the_type() {
        let on = |mask: &str, kind: &str| {
            parse(mask).unwrap().applies_to(&Type::Physical(crate::contract::kind::physical(kind).unwrap()))
        };
        for (value, kind, fits) in [
            ("999.99", "decimal(5,2)", true),
            ("-0.5", "decimal(5,2)", true),
            ("1000", "decimal(5,2)", false),
            ("0.001", "decimal(5,2)", false),
            ("2024-02-29", "date", true),
            ("2023-02-29", "date", false),
            ("12:34:56", "time", true),
            ("25:00:00", "time", false),
            ("2024-02-29T12:00:00.5", "timestamp", true),
            ("2024-02-29T12:00:00Z", "timestamp", false),
            ("2024-02-29T12:00:00+01:00", "timestamptz", true),
            ("9000-01-01T00:00:00", "timestamp_ns", false),
            ("123e4567-e89b-12d3-a456-426614174000", "uuid", true),
            ("123e4567", "uuid", false),
            ("0", "boolean", false),
            ("3000000000", "int", false),
            ("x", "string", true),
            ("x", "binary", false),
        ] {
            assert_eq!(on(&format!("mask-to-fixed-value({value})"), kind), fits, "{value} {kind}");
        }
        for (width, kind, fits) in [
            ("5", "int", true),
            ("0.5", "int", false),
            ("3000000000", "int", false),
            ("3000000000", "long", true),
            ("0.5", "decimal(5,2)", true),
            ("0.001", "decimal(5,2)", false),
            ("0.5", "double", true),
        ] {
            assert_eq!(on(&format!("bucket({width})"), kind), fits, "{width} {kind}");
        }
        assert!(parse("mask-to-fixed-value(x)").unwrap().applies_to(&Type::Logical(LogicalType::String)));
        assert!(!parse("mask-to-fixed-value(3000000000)").unwrap().applies_to(&Type::Logical(LogicalType::Integer)));
    }
}
