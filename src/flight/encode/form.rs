//! The form in which a client asks for rows: the types of their columns, and compression.
//!
//! | header | says |
//! |---|---|
//! | `x-polder-types` | `plain` (the default), or `rich`: views and dictionaries travel as such |
//! | `x-polder-compression` | `none` (the default), `lz4` or `zstd`: the buffers of each message are compressed |
//! | `x-polder-endpoints` | `1` (the default) to `64`: into how many parts, read side by side and in no order, rows are cut |
//!
//! All stand for the call that they come with, so a client that wants rich types says so when it asks for the schema and
//! when it asks for the rows. A value that is not known is refused: a client that asks for what it does not get would
//! not understand the answer.

use datafusion::arrow::ipc::CompressionType;
use tonic::metadata::MetadataMap;

use crate::error::{Class, Error};

const TYPES: &str = "x-polder-types";
const COMPRESSION: &str = "x-polder-compression";
const ENDPOINTS: &str = "x-polder-endpoints";
/// The most endpoints of one result.
const MOST_ENDPOINTS: usize = 64;

/// Which types travel.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Types {
    /// Those that every client reads.
    #[default]
    Plain,
    /// Views and dictionaries too.
    Rich,
}

/// How rows travel.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Form {
    /// The types of the columns.
    pub types: Types,
    /// What compresses the buffers, if anything does.
    pub compression: Option<CompressionType>,
}

impl Form {
    /// What the headers of a call ask for.
    pub(in crate::flight) fn read(metadata: &MetadataMap) -> Result<Self, Error> {
        let types = match one(metadata, TYPES)? {
            None | Some("plain") => Types::Plain,
            Some("rich") => Types::Rich,
            Some(other) => return Err(unknown("form of types", other, "`plain` or `rich`")),
        };
        let compression = match one(metadata, COMPRESSION)? {
            None | Some("none") => None,
            Some("lz4") => Some(CompressionType::LZ4_FRAME),
            Some("zstd") => Some(CompressionType::ZSTD),
            Some(other) => return Err(unknown("compression", other, "`lz4`, `zstd` or `none`")),
        };
        Ok(Self { types, compression })
    }
}

/// Into how many parts the rows of a call's statement may be cut.
pub(in crate::flight) fn endpoints(metadata: &MetadataMap) -> Result<usize, Error> {
    let Some(given) = one(metadata, ENDPOINTS)? else { return Ok(1) };
    let number = given.parse().ok().filter(|number| (1..=MOST_ENDPOINTS).contains(number));
    number.ok_or_else(|| unknown("number of endpoints", given, "1 to 64"))
}

fn one<'a>(metadata: &'a MetadataMap, name: &str) -> Result<Option<&'a str>, Error> {
    let mut values = metadata.get_all(name).iter();
    let Some(value) = values.next() else { return Ok(None) };
    match (value.to_str(), values.next()) {
        (Ok(value), None) => Ok(Some(value)),
        _ => Err(Error::new(Class::BadRequest, format!("the header `{name}` is not one word"))),
    }
}

fn unknown(what: &str, given: &str, known: &str) -> Error {
    Error::new(Class::BadRequest, format!("there is no {what} `{given}`")).help(format!("ask for {known}"))
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    fn read(headers: &[(&'static str, &str)]) -> Result<Form, Error> {
        let mut metadata = MetadataMap::new();
        for (name, value) in headers {
            metadata.append(*name, value.parse().unwrap());
        }
        Form::read(&metadata)
    }

    #[test]
    fn rows_are_plain_unless_one_asks_for_more() {
        assert_eq!(read(&[]).unwrap(), Form::default());
        assert_eq!(read(&[(TYPES, "plain"), (COMPRESSION, "none")]).unwrap(), Form::default());
        let rich = Form { types: Types::Rich, compression: Some(CompressionType::ZSTD) };
        assert_eq!(read(&[(TYPES, "rich"), (COMPRESSION, "zstd")]).unwrap(), rich);
        let lz4 = Form { compression: Some(CompressionType::LZ4_FRAME), ..Form::default() };
        assert_eq!(read(&[(COMPRESSION, "lz4")]).unwrap(), lz4);
    }

    #[test]
    fn what_is_not_known_is_refused() {
        for (name, value) in [(TYPES, "fancy"), (TYPES, ""), (TYPES, "RICH"), (COMPRESSION, "gzip"), (COMPRESSION, "")]
        {
            let error = read(&[(name, value)]).unwrap_err();
            assert_eq!(error.class, Class::BadRequest, "{name}: {value}");
            assert!(error.message.contains(&format!("`{value}`")), "{error}");
        }
        assert!(read(&[(TYPES, "rich"), (TYPES, "plain")]).is_err());
    }
}
