//! How those who wrote a table spell its types: in the SQL of Spark and Trino, of the standard and of PostgreSQL.
//!
//! ```text
//! VARCHAR(18), varchar[18]       string         Iceberg's texts have no length
//! numeric(10,2)                  decimal(10,2)
//! timestamp(6) with time zone    timestamptz
//! timestamp                      timestamp      Iceberg's, which has no zone, though Spark's has one
//! smallint, numeric, json        nothing        none of Iceberg's types, or more than one
//! ```
//!
//! A word of Iceberg's own means what it means there, in capitals too. The type that is read is the one that the table must have,
//! so that what could be two is none.

use super::PhysicalType;
use super::kind::{PHYSICAL, decimal, number, physical};

/// Reads a type as its source spells it, if that means exactly one of Iceberg's.
pub(super) fn spelled(text: &str) -> Option<PhysicalType> {
    let text = in_round_brackets(in_one_case(text));
    physical(&text).or_else(|| foreign(&text))
}

/// What to write instead of a type that is none of Iceberg's.
pub(super) fn instead(text: &str) -> String {
    let text = in_one_case(text);
    let word = text.split(['(', '[', '<']).next().unwrap_or_default().trim_end();
    let near = near(word).map(str::to_owned).or_else(|| spelled(word).map(|kind| kind.to_string()));
    match near {
        Some(near) => format!("`{near}` is the nearest of Iceberg's types: write that if the table has it"),
        None => format!("write one of {PHYSICAL}, or what Spark or Trino call it"),
    }
}

fn in_one_case(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ").to_lowercase()
}

/// The length of a text and the digits of a decimal as SQL writes them: in square brackets they mean the same.
fn in_round_brackets(text: String) -> String {
    let square = text.strip_suffix(']').and_then(|text| text.split_once('['));
    let Some((word, inside)) = square.map(|(word, inside)| (word.trim_end(), inside)) else { return text };
    match (word, inside.split(',').count()) {
        ("varchar" | "char" | "character" | "character varying", 1) | ("decimal" | "dec" | "numeric", 2) => {
            format!("{word}({inside})")
        }
        _ => text,
    }
}

fn foreign(text: &str) -> Option<PhysicalType> {
    let (words, numbers) = apart(text)?;
    Some(match (words.as_str(), numbers.as_slice()) {
        ("bool", []) => PhysicalType::Boolean,
        ("integer" | "int4", []) => PhysicalType::Int,
        ("bigint", []) => PhysicalType::Long,
        ("real" | "float4", []) => PhysicalType::Float,
        ("double precision" | "float8", []) => PhysicalType::Double,
        ("decimal" | "dec" | "numeric", [precision]) => return decimal(*precision, 0),
        ("dec" | "numeric", [precision, scale]) => return decimal(*precision, *scale),
        ("varchar" | "char" | "character" | "character varying" | "bpchar", [] | [(1..)]) => PhysicalType::String,
        ("text", []) => PhysicalType::String,
        ("varbinary" | "bytea", []) => PhysicalType::Binary,
        ("time" | "time without time zone", [] | [0..=6]) => PhysicalType::Time,
        ("timestamp_ntz", []) => PhysicalType::Timestamp,
        ("timestamp_ltz", []) => PhysicalType::Timestamptz,
        ("timestamp" | "timestamp without time zone", [] | [0..=6]) => PhysicalType::Timestamp,
        ("timestamptz" | "timestamp with time zone", [] | [0..=6]) => PhysicalType::Timestamptz,
        ("timestamp" | "timestamp without time zone", [9]) => PhysicalType::TimestampNs,
        ("timestamptz" | "timestamp with time zone", [9]) => PhysicalType::TimestamptzNs,
        ("row", []) => PhysicalType::Struct,
        ("array", []) => PhysicalType::List,
        _ => return None,
    })
}

/// The words of a type, and the numbers that stand in brackets behind or between them.
fn apart(text: &str) -> Option<(String, Vec<u32>)> {
    let Some((before, rest)) = text.split_once('(') else { return Some((text.to_owned(), Vec::new())) };
    let (inside, after) = rest.split_once(')')?;
    let numbers = inside.split(',').map(number).collect::<Option<_>>()?;
    Some((format!("{} {}", before.trim_end(), after.trim_start()).trim_end().to_owned(), numbers))
}

/// The type that a table most likely has for a word that does not say it.
fn near(word: &str) -> Option<&'static str> {
    Some(match word {
        "tinyint" | "smallint" | "byte" | "short" | "int2" | "serial" | "smallserial" => "int",
        "int8" | "bigserial" => "long",
        "decimal" | "dec" | "numeric" | "number" | "money" => "decimal(p,s)",
        "json" | "jsonb" | "xml" | "enum" | "clob" | "nchar" | "nvarchar" => "string",
        "blob" => "binary",
        "datetime" => "timestamp",
        "object" | "record" => "struct",
        _ => return None,
    })
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "tests")]
mod tests {
    use super::*;

    #[test]
    fn what_means_one_type_is_read_in_any_case() {
        for (text, expected) in [
            ("LONG", "long"),
            ("Bool", "boolean"),
            ("INTEGER", "int"),
            ("int4", "int"),
            ("BIGINT", "long"),
            ("real", "float"),
            ("DOUBLE  PRECISION", "double"),
            ("decimal(5)", "decimal(5,0)"),
            ("NUMERIC (10, 2)", "decimal(10,2)"),
            ("VARCHAR(40)", "string"),
            ("char(1)", "string"),
            ("varchar[50]", "string"),
            ("CHAR [1]", "string"),
            ("decimal[10,2]", "decimal(10,2)"),
            ("Numeric[5, 0]", "decimal(5,0)"),
            ("character varying(255)", "string"),
            ("text", "string"),
            ("VARBINARY", "binary"),
            ("bytea", "binary"),
            ("time(6)", "time"),
            ("timestamp(3)", "timestamp"),
            ("timestamp_ntz", "timestamp"),
            ("TIMESTAMP_LTZ", "timestamptz"),
            ("timestamp(6) with time zone", "timestamptz"),
            ("timestamp (6)with time zone", "timestamptz"),
            ("timestamp without time zone", "timestamp"),
            ("TIMESTAMP(9) WITH TIME ZONE", "timestamptz_ns"),
            ("Fixed[16]", "fixed[16]"),
            ("ROW", "struct"),
            ("array", "list"),
        ] {
            assert_eq!(spelled(text), physical(expected), "{text}");
            assert!(physical(expected).is_some(), "{expected}");
        }
    }

    /// In Spark `timestamp` has a zone, and in PostgreSQL `float` is twice as long.
    #[test]
    fn the_words_of_iceberg_mean_what_they_mean_there() {
        for word in ["int", "float", "double", "date", "time", "timestamp", "binary", "string", "unknown"] {
            assert_eq!(spelled(&word.to_uppercase()), physical(word));
        }
    }

    #[test]
    fn what_could_be_two_or_is_none_is_not_read() {
        for (text, near) in [
            ("smallint", "`int`"),
            ("tinyint", "`int`"),
            ("serial", "`int`"),
            ("int8", "`long`"),
            ("numeric", "`decimal(p,s)`"),
            ("DECIMAL", "`decimal(p,s)`"),
            ("decimal(39,2)", "`decimal(p,s)`"),
            ("numeric(2,3)", "`decimal(p,s)`"),
            ("numeric(+5,2)", "`decimal(p,s)`"),
            ("float(3,2)", "`float`"),
            ("json", "`string`"),
            ("varchar[0]", "`string`"),
            ("varchar[]", "`string`"),
            ("varchar[5)", "`string`"),
            ("numeric[10]", "`decimal(p,s)`"),
            ("decimal[39,2]", "`decimal(p,s)`"),
            ("int[3]", "`int`"),
            ("varchar(0)", "`string`"),
            ("varchar()", "`string`"),
            ("varchar(5", "`string`"),
            ("varchar(5))", "`string`"),
            ("timestamp(8)", "`timestamp`"),
            ("datetime", "`timestamp`"),
            ("array<string>", "`list`"),
            ("row(a varchar)", "`struct`"),
            ("map(varchar, bigint)", "`map`"),
            ("time with time zone", "one of boolean"),
            ("AccountNumber", "one of boolean"),
            ("", "one of boolean"),
        ] {
            assert_eq!(spelled(text), None, "{text}");
            assert!(instead(text).contains(near), "{text}: {}", instead(text));
        }
    }
}
