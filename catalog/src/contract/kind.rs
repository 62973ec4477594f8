//! The types that a contract may name: Iceberg's for `physicalType`, the standard's for `logicalType`. Other spellings of
//! Iceberg's are read beside this.

use super::{LogicalType, PhysicalType};

/// Iceberg's types, for messages.
pub(crate) const PHYSICAL: &str = "boolean, int, long, float, double, decimal(p,s), date, time, timestamp, timestamptz, \
                                   timestamp_ns, timestamptz_ns, string, uuid, fixed[n], binary, struct, list, map, \
                                   unknown, variant, geometry, geography";

/// What `logicalType` accepts, for messages.
pub(crate) const LOGICAL: &str = "string, date, timestamp, time, number, integer, boolean, object, array, map";

/// Reads an Iceberg type as its specification writes it.
pub(crate) fn physical(text: &str) -> Option<PhysicalType> {
    let text = text.trim();
    Some(match text {
        "boolean" => PhysicalType::Boolean,
        "int" => PhysicalType::Int,
        "long" => PhysicalType::Long,
        "float" => PhysicalType::Float,
        "double" => PhysicalType::Double,
        "date" => PhysicalType::Date,
        "time" => PhysicalType::Time,
        "timestamp" => PhysicalType::Timestamp,
        "timestamptz" => PhysicalType::Timestamptz,
        "timestamp_ns" => PhysicalType::TimestampNs,
        "timestamptz_ns" => PhysicalType::TimestamptzNs,
        "string" => PhysicalType::String,
        "uuid" => PhysicalType::Uuid,
        "binary" => PhysicalType::Binary,
        "struct" => PhysicalType::Struct,
        "list" => PhysicalType::List,
        "map" => PhysicalType::Map,
        "unknown" => PhysicalType::Unknown,
        "variant" => PhysicalType::Variant,
        "geometry" => PhysicalType::Geometry,
        "geography" => PhysicalType::Geography,
        _ => return parameterized(text),
    })
}

fn parameterized(text: &str) -> Option<PhysicalType> {
    let inside = |name: &str, open: char, close: char| {
        text.strip_prefix(name)?.trim_start().strip_prefix(open)?.strip_suffix(close)
    };
    if let Some(arguments) = inside("decimal", '(', ')') {
        let (precision, scale) = arguments.split_once(',')?;
        return decimal(number(precision)?, number(scale)?);
    }
    let length = inside("fixed", '[', ']').or_else(|| inside("fixed", '(', ')'))?;
    number(length).filter(|n| *n > 0).map(|n| PhysicalType::Fixed(u64::from(n)))
}

/// A decimal, if Iceberg has one of this many digits.
pub(super) fn decimal(precision: u32, scale: u32) -> Option<PhysicalType> {
    let fits = (1..=38).contains(&precision) && scale <= precision;
    fits.then_some(PhysicalType::Decimal { precision, scale })
}

/// A whole number without a sign.
pub(super) fn number(text: &str) -> Option<u32> {
    let text = text.trim();
    text.bytes().all(|b| b.is_ascii_digit()).then(|| text.parse().ok()).flatten()
}

/// Whether a type is of a family.
pub(crate) fn agree(physical: &PhysicalType, logical: LogicalType) -> bool {
    use PhysicalType as P;
    match logical {
        // Texts, and whatever the standard has no family for.
        LogicalType::String => matches!(physical, P::String | P::Uuid | P::Binary | P::Fixed(_)),
        LogicalType::Date => {
            matches!(physical, P::Date | P::Timestamp | P::Timestamptz | P::TimestampNs | P::TimestamptzNs)
        }
        LogicalType::Timestamp => {
            matches!(physical, P::Timestamp | P::Timestamptz | P::TimestampNs | P::TimestamptzNs)
        }
        LogicalType::Time => matches!(physical, P::Time),
        LogicalType::Number => {
            matches!(physical, P::Int | P::Long | P::Float | P::Double | P::Decimal { .. })
        }
        LogicalType::Integer => matches!(physical, P::Int | P::Long | P::Decimal { scale: 0, .. }),
        LogicalType::Boolean => matches!(physical, P::Boolean),
        LogicalType::Object => matches!(physical, P::Struct | P::Map),
        LogicalType::Array => matches!(physical, P::List),
    }
}

/// Which types of the standard agree with one of Iceberg's, for who wrote another one.
pub(super) fn agreeing(physical: &PhysicalType) -> String {
    let goes_with = |name: &&str| logical(name).is_some_and(|family| agree(physical, family));
    let is_map = *physical == PhysicalType::Map;
    let families: Vec<&str> = LOGICAL.split(", ").filter(|name| goes_with(name) || is_map && *name == "map").collect();
    match families.as_slice() {
        [] => "take `logicalType` away: the standard has none for this type".to_owned(),
        families => format!("write `logicalType: {}`, or the type that the table has", families.join("` or `")),
    }
}

/// Reads a type of the standard.
pub(crate) fn logical(text: &str) -> Option<LogicalType> {
    Some(match text {
        "string" => LogicalType::String,
        "date" => LogicalType::Date,
        "timestamp" => LogicalType::Timestamp,
        "time" => LogicalType::Time,
        "number" => LogicalType::Number,
        "integer" => LogicalType::Integer,
        "boolean" => LogicalType::Boolean,
        "object" => LogicalType::Object,
        "array" => LogicalType::Array,
        _ => return None,
    })
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "tests")]
mod tests {
    use super::*;

    #[test]
    fn iceberg_types_are_read_as_written() {
        assert_eq!(physical("long"), Some(PhysicalType::Long));
        assert_eq!(physical("decimal(15,2)"), Some(PhysicalType::Decimal { precision: 15, scale: 2 }));
        assert_eq!(physical("decimal(38, 38)"), Some(PhysicalType::Decimal { precision: 38, scale: 38 }));
        assert_eq!(physical("fixed[16]"), Some(PhysicalType::Fixed(16)));
        assert_eq!(physical("fixed(16)"), Some(PhysicalType::Fixed(16)));
        for text in [
            "",
            "bigint",
            "LONG",
            "decimal",
            "decimal(39,2)",
            "decimal(0,0)",
            "decimal(5,6)",
            "decimal(+5,2)",
            "fixed[0]",
            "fixed[]",
            "fixed[16)",
            "list<long>",
            "decimal(5)",
        ] {
            assert_eq!(physical(text), None, "{text}");
        }
    }
}
