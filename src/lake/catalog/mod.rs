//! The catalogs that domains have: where a table's metadata is now, and under which conditions it is read.
//!
//! ```text
//! Sql       a SQLite file                -> location
//! Postgres  a PostgreSQL server          -> location
//! Pinned    a list in domain.yaml        -> location
//! Rest      GET …/tables/{table}         -> location, metadata, credentials of its store, read-restrictions
//! Glue      GetTable                     -> location
//! Buckets   GetTableMetadataLocation     -> location
//! Hive      get_table_req                -> location
//! ```
//!
//! Each is asked through [`Tables`] alone. A catalog never opens a store, and what it answers is not yet decoded.

pub(super) mod aws;
pub(super) mod breaker;
#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests")]
mod conformance;
pub(super) mod hive;
mod http;
mod pinned;
mod pointer;
pub(super) mod postgres;
pub(super) mod rest;
pub(super) mod sql;

use std::fmt::Debug;
use std::sync::Arc;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use bytes::Bytes;
use iceberg::TableIdent;
use serde_json::Value;

use self::breaker::Part;
use super::error::LakeError;
use super::vended::Lease;
use super::view::View;
pub(super) use pinned::Pinned;

/// How long a catalog or a store may take to answer, unless its domain says another time.
pub(super) const PATIENCE: Duration = Duration::from_secs(10);
/// How old what a catalog elsewhere said of a table may be, unless its domain says another time.
pub const STALENESS: Duration = Duration::from_secs(3);

/// What a catalog says of a table.
#[derive(Debug, Clone)]
pub(super) struct Found {
    /// Where its metadata file is.
    pub(super) location: String,
    /// What stands in that file, where the catalog says so itself.
    pub(super) metadata: Option<Bytes>,
    /// What the catalog demands of readers.
    pub(super) restrictions: Option<Arc<Value>>,
    /// What the table's store is read with, where the catalog lends it.
    pub(super) lease: Option<Lease>,
    /// When the catalog was asked.
    pub(super) asked: Instant,
}

impl Found {
    /// The memory that it takes.
    pub(super) fn bytes(&self) -> usize {
        self.location.len() + self.metadata.as_ref().map_or(0, Bytes::len) + 1024
    }

    /// A table of which nothing but the place is known.
    pub(super) fn at(location: String) -> Self {
        Self { location, metadata: None, restrictions: None, lease: None, asked: Instant::now() }
    }
}

/// A catalog that is only read.
#[async_trait]
pub(super) trait Tables: Debug + Send + Sync {
    /// What it says of a table now; nothing for one that it does not have.
    async fn find(&self, table: &TableIdent) -> Result<Option<Found>, LakeError>;

    /// What it says of a view now; nothing for one that it does not have.
    async fn view(&self, _view: &TableIdent) -> Result<Option<View>, LakeError> {
        Ok(None)
    }

    /// Whether it can have views that are read here.
    fn has_views(&self) -> bool {
        false
    }

    /// How old an answer of it may be before it is asked again.
    fn staleness(&self) -> Duration {
        Duration::ZERO
    }

    /// Whether it can demand anything of readers.
    fn may_restrict(&self) -> bool {
        false
    }
}

/// Waits for a catalog, but not forever.
pub(super) async fn in_time<T>(domain: &str, work: impl Future<Output = Result<T, LakeError>>) -> Result<T, LakeError> {
    let late = || LakeError::Timeout { domain: domain.to_owned(), part: Part::Catalog, within: PATIENCE };
    tokio::time::timeout(PATIENCE, work).await.unwrap_or_else(|_| Err(late()))
}
