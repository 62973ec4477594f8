//! What can go wrong between a domain's configuration and an open table.

use std::time::Duration;

use super::catalog::breaker::Part;
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
    #[error("the {part} of domain `{domain}` did not answer within {within:?}")]
    Timeout { domain: String, part: Part, within: Duration },
    #[error("the {part} of domain `{domain}` is let alone for some seconds, since it did not answer several times")]
    Down { domain: String, part: Part },
    #[error("the catalog of domain `{domain}` does not take the credentials that it is asked with")]
    Refused { domain: String },
    #[error("the catalog of domain `{domain}` answered with the status {status}")]
    Answered { domain: String, status: u16 },
    #[error("the catalog of domain `{domain}` answered that it failed")]
    Failed { domain: String },
    #[error("what the catalog of domain `{domain}` answered cannot be understood: {what}")]
    Garbled { domain: String, what: &'static str },
    #[error("the store of domain `{domain}` cannot be opened")]
    Store { domain: String, source: Box<object_store::Error> },
    #[error("the store of domain `{domain}` cannot be opened: {what}")]
    BadStore { domain: String, what: &'static str },
    #[error("`{table}` of domain `{domain}` is not a table name of the form `namespace.table`")]
    TableName { domain: String, table: String },
    #[error("the catalog of domain `{domain}` has no table `{table}`")]
    NoTable { domain: String, table: String },
    #[error("`{table}` is a view in the catalog of domain `{domain}`, and no table")]
    View { domain: String, table: String },
    #[error("there is no view `{view}` in the catalog of domain `{domain}`")]
    NoView { domain: String, view: String },
    #[error("the catalog of domain `{domain}` is none whose views are read")]
    Viewless { domain: String },
    #[error("`{table}` in the catalog of domain `{domain}` cannot be read: {what}")]
    Unfit { domain: String, table: String, what: &'static str },
    #[error("metadata file `{file}` of table `{table}` in domain `{domain}` cannot be understood")]
    Metadata { domain: String, table: String, file: String, source: Box<dyn std::error::Error + Send + Sync> },
    #[error("metadata file `{file}` of table `{table}` in domain `{domain}` cannot be read")]
    Read { domain: String, table: String, file: String, source: Box<object_store::Error> },
    #[error("a metadata file in the store of domain `{domain}` cannot be read")]
    Unread { domain: String, source: Box<object_store::Error> },
    #[error("table {table} names a file outside the store of its domain")]
    Outside { table: String },
}

impl LakeError {
    /// Whether a catalog or a store failed itself, and would fail whoever asks next. An answer that is no good is none.
    pub(super) fn is_failure(&self) -> bool {
        match self {
            Self::Catalog { .. } | Self::Timeout { .. } | Self::Failed { .. } => true,
            Self::Answered { status, .. } => *status >= 500,
            Self::Read { source, .. } | Self::Unread { source, .. } => is_generic(source),
            _ => false,
        }
    }

    /// What a catalog or a store does that keeps all of its tables from being read.
    pub(super) fn ailment(&self) -> Option<&'static str> {
        match self {
            Self::Timeout { .. } | Self::Down { .. } => Some("does not answer in time"),
            Self::Catalog { .. } => Some("cannot be reached"),
            Self::Answered { .. } | Self::Failed { .. } => Some("answers with errors"),
            Self::Refused { .. } => Some("does not take the credentials that it is asked with"),
            Self::NoCatalog { .. } => Some("does not exist"),
            Self::BadCatalog { .. } | Self::BadStore { .. } | Self::Store { .. } => Some("cannot be opened"),
            Self::Read { source, .. } | Self::Unread { source, .. } => ailment_of(source),
            _ => None,
        }
    }
}

/// What S3 calls tokens that have ended.
const ENDED: [&str; 3] = ["ExpiredToken", "InvalidToken", "TokenRefreshRequired"];

/// What a store does that keeps all of its files from being read.
pub(super) fn ailment_of(error: &object_store::Error) -> Option<&'static str> {
    match is_refusal(error) {
        true => Some("does not take the credentials that it is asked with"),
        false => is_generic(error).then_some("cannot be reached"),
    }
}

/// Whether a store does not take the credentials that it is asked with. S3 says of a token that has ended that the request
/// is a bad one.
pub(super) fn is_refusal(error: &object_store::Error) -> bool {
    use object_store::Error::{Generic, PermissionDenied, Unauthenticated};
    match error {
        PermissionDenied { .. } | Unauthenticated { .. } => true,
        Generic { source, .. } => {
            let said = format!("{source:?}");
            said.contains("400") && ENDED.iter().any(|code| said.contains(&format!("<Code>{code}</Code>")))
        }
        _ => false,
    }
}

/// What object stores say when there was no answer that means anything. On this machine it is about one file.
fn is_generic(error: &object_store::Error) -> bool {
    matches!(error, object_store::Error::Generic { store, .. } if *store != "LocalFileSystem")
}

impl From<LakeError> for Error {
    fn from(error: LakeError) -> Self {
        let class = match &error {
            LakeError::TableName { .. }
            | LakeError::NoTable { .. }
            | LakeError::View { .. }
            | LakeError::NoView { .. }
            | LakeError::Viewless { .. }
            | LakeError::Unfit { .. }
            | LakeError::Metadata { .. }
            | LakeError::Outside { .. } => Class::Drift,
            LakeError::NoCatalog { .. }
            | LakeError::BadCatalog { .. }
            | LakeError::Catalog { .. }
            | LakeError::Timeout { .. }
            | LakeError::Down { .. }
            | LakeError::Refused { .. }
            | LakeError::Answered { .. }
            | LakeError::Failed { .. }
            | LakeError::Garbled { .. }
            | LakeError::Store { .. }
            | LakeError::BadStore { .. }
            | LakeError::Read { .. }
            | LakeError::Unread { .. } => Class::Storage,
        };
        let told = Self::new(class, error.to_string());
        match error {
            LakeError::View { .. } | LakeError::Viewless { .. } => {
                told.help("views of REST catalogs are read, with `physicalType: view` beside `physicalName`")
            }
            _ => told,
        }
    }
}
