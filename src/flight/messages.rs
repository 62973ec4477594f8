//! Messages of Flight and Flight SQL that arrow-flight has no types for, or older ones: sessions, and what a prepared
//! statement does.

use std::collections::HashMap;

pub use arrow_flight::sql::Any;
use bytes::Bytes;
use prost::Message as _;

/// A prepared statement, as Flight SQL knows it since Arrow 21.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Prepared {
    /// What it is known by.
    #[prost(bytes = "bytes", tag = "1")]
    pub prepared_statement_handle: Bytes,
    /// Its columns.
    #[prost(bytes = "bytes", tag = "2")]
    pub dataset_schema: Bytes,
    /// Its parameters.
    #[prost(bytes = "bytes", tag = "3")]
    pub parameter_schema: Bytes,
    /// Whether it changes something. Clients that are not told guess.
    #[prost(bool, optional, tag = "4")]
    pub is_update: Option<bool>,
}

impl Prepared {
    /// As it travels.
    pub fn any(&self) -> Any {
        Any {
            type_url: "type.googleapis.com/arrow.flight.protocol.sql.ActionCreatePreparedStatementResult".to_owned(),
            value: self.encode_to_vec().into(),
        }
    }
}

/// Options to set.
#[derive(Clone, PartialEq, prost::Message)]
pub struct SetSessionOptionsRequest {
    /// By their names. One without a value is unset.
    #[prost(map = "string, message", tag = "1")]
    pub session_options: HashMap<String, SessionOptionValue>,
}

/// Which options could not be set.
#[derive(Clone, PartialEq, prost::Message)]
pub struct SetSessionOptionsResult {
    /// By their names.
    #[prost(map = "string, message", tag = "1")]
    pub errors: HashMap<String, SetError>,
}

/// Why an option could not be set.
#[derive(Clone, PartialEq, prost::Message)]
pub struct SetError {
    /// One of [`Unset`].
    #[prost(enumeration = "Unset", tag = "1")]
    pub value: i32,
}

/// Why an option could not be set.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, prost::Enumeration)]
#[repr(i32)]
pub enum Unset {
    /// Nobody knows.
    Unspecified = 0,
    /// There is no such option.
    InvalidName = 1,
    /// It cannot have this value.
    InvalidValue = 2,
    /// It cannot be set.
    Error = 3,
}

/// The options of a session.
#[derive(Clone, PartialEq, prost::Message)]
pub struct GetSessionOptionsResult {
    /// By their names.
    #[prost(map = "string, message", tag = "1")]
    pub session_options: HashMap<String, SessionOptionValue>,
}

/// The value of an option.
#[derive(Clone, PartialEq, prost::Message)]
pub struct SessionOptionValue {
    /// The value, if there is one.
    #[prost(oneof = "OptionValue", tags = "1, 2, 3, 4, 5")]
    pub option_value: Option<OptionValue>,
}

/// The value of an option, by its type.
#[derive(Clone, PartialEq, prost::Oneof)]
#[allow(missing_docs, reason = "the names are Flight's own")]
pub enum OptionValue {
    #[prost(string, tag = "1")]
    String(String),
    #[prost(bool, tag = "2")]
    Bool(bool),
    #[prost(sfixed64, tag = "3")]
    Int64(i64),
    #[prost(double, tag = "4")]
    Double(f64),
    #[prost(message, tag = "5")]
    StringList(StringList),
}

/// Several texts.
#[derive(Clone, PartialEq, prost::Message)]
pub struct StringList {
    /// The texts.
    #[prost(string, repeated, tag = "1")]
    pub values: Vec<String>,
}

/// How the end of a session went.
#[derive(Clone, PartialEq, prost::Message)]
pub struct CloseSessionResult {
    /// One of [`Closed`].
    #[prost(enumeration = "Closed", tag = "1")]
    pub status: i32,
}

/// How the end of a session went.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, prost::Enumeration)]
#[repr(i32)]
pub enum Closed {
    /// Nobody knows.
    Unspecified = 0,
    /// It is closed.
    Closed = 1,
    /// It is being closed.
    Closing = 2,
    /// It cannot be closed.
    NotCloseable = 3,
}
