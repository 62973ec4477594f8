//! What can go wrong between a domain's configuration and an open table.

use crate::error::{Class, Error};

/// Why a table, a catalog or a store did not open. Its text names the domain, the table and the file, never a whole
/// location.
#[derive(Debug, thiserror::Error)]
pub enum LakeError {
    #[error("the catalog of domain `{domain}` does not exist")]
    NoCatalog { domain: String },
    #[error("the catalog of domain `{domain}` cannot be opened: {what}")]
    BadCatalog { domain: String, what: &'static str },
    #[error("the catalog of domain `{domain}` cannot be reached")]
    Catalog { domain: String, source: Box<dyn std::error::Error + Send + Sync> },
    #[error("the catalog of domain `{domain}` did not answer within {seconds} seconds")]
    Timeout { domain: String, seconds: u64 },
    #[error("the catalog of domain `{domain}` is let alone for some seconds, since it did not answer several times")]
    Down { domain: String },
    #[error("the catalog of domain `{domain}` does not take the credentials that it is asked with")]
    Refused { domain: String },
    #[error("the catalog of domain `{domain}` answered with the status {status}")]
    Answered { domain: String, status: u16 },
    #[error("what the catalog of domain `{domain}` answered cannot be understood: {what}")]
    Garbled { domain: String, what: &'static str },
    #[error("the store of domain `{domain}` cannot be opened")]
    Store { domain: String, source: Box<object_store::Error> },
    #[error("the store of domain `{domain}` cannot be opened: {what}")]
    BadStore { domain: String, what: &'static str },
    #[error("the storage option `{option}` of domain `{domain}` is unknown")]
    UnknownOption { domain: String, option: String, meant: Option<&'static str> },
    #[error("the storage option `{option}` of domain `{domain}` must be `true` or `false`")]
    NotBool { domain: String, option: String },
    #[error("`{table}` of domain `{domain}` is not a table name of the form `namespace.table`")]
    TableName { domain: String, table: String },
    #[error("the catalog of domain `{domain}` has no table `{table}`")]
    NoTable { domain: String, table: String },
    #[error("`{table}` is a view in the catalog of domain `{domain}`, which is not supported yet")]
    View { domain: String, table: String },
    #[error("metadata file `{file}` of table `{table}` in domain `{domain}` cannot be understood")]
    Metadata { domain: String, table: String, file: String, source: Box<dyn std::error::Error + Send + Sync> },
    #[error("metadata file `{file}` of table `{table}` in domain `{domain}` cannot be read")]
    Read { domain: String, table: String, file: String, source: Box<object_store::Error> },
    #[error("table {table} names a file outside the store of its domain")]
    Outside { table: String },
}

impl From<LakeError> for Error {
    fn from(error: LakeError) -> Self {
        let class = match &error {
            LakeError::TableName { .. }
            | LakeError::NoTable { .. }
            | LakeError::View { .. }
            | LakeError::Metadata { .. }
            | LakeError::Outside { .. } => Class::Drift,
            LakeError::NoCatalog { .. }
            | LakeError::BadCatalog { .. }
            | LakeError::Catalog { .. }
            | LakeError::Timeout { .. }
            | LakeError::Down { .. }
            | LakeError::Refused { .. }
            | LakeError::Answered { .. }
            | LakeError::Garbled { .. }
            | LakeError::Store { .. }
            | LakeError::BadStore { .. }
            | LakeError::UnknownOption { .. }
            | LakeError::NotBool { .. }
            | LakeError::Read { .. } => Class::Storage,
        };
        let out = Self::new(class, error.to_string());
        match error {
            LakeError::UnknownOption { meant: Some(meant), .. } => out.help(format!("did you mean `{meant}`?")),
            _ => out,
        }
    }
}
