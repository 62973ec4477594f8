//! The only maker of DataFusion sessions: the statement gate, planning, limits, and the life of a query.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use datafusion::arrow::datatypes::SchemaRef;
use datafusion::arrow::record_batch::RecordBatch;
use futures::Stream;
use polder_catalog::mesh::Mesh;
use polder_catalog::principal::Principal;

use crate::error::Error;

/// What an engine may use.
#[derive(Debug, Clone)]
pub struct Options {
    /// Bytes for all queries together before they spill.
    pub memory: usize,
    /// Where they spill to; a temporary directory by default.
    pub spill: Option<PathBuf>,
    /// How long one statement may take.
    pub timeout: Duration,
    /// Threads that plan and execute, and partitions of a query; the machine's cores by default.
    pub threads: Option<usize>,
}

/// The snapshots that a query reads, by product.
pub type Pins = BTreeMap<String, i64>;

/// A mesh and what it takes to query it. Shared by every connection.
#[derive(Debug)]
pub struct Engine {}

/// A product as a listing shows it.
#[derive(Debug, Clone)]
pub struct Listed {
    /// `domain` (or `mesh`, `information_schema`): the SQL schema.
    pub schema: String,
    /// `product` or `product@1`: the SQL table.
    pub table: String,
    /// `BASE TABLE` for products, `SYSTEM TABLE` for what the mesh says of itself.
    pub kind: &'static str,
    /// What it is, for people.
    pub description: Option<String>,
}

/// A statement that was admitted, planned and verified for one principal.
#[derive(Debug)]
pub struct Planned {}

/// The rows of a running query. Dropping it cancels the query.
#[derive(Debug)]
pub struct Rows {}

impl Engine {
    /// Starts an engine over a mesh.
    ///
    /// # Errors
    /// When the spill directory cannot be used.
    pub fn start(_mesh: Mesh, _options: Options) -> Result<Arc<Self>, Error> {
        todo!()
    }

    /// The mesh that is served now.
    pub fn mesh(&self) -> Arc<Mesh> {
        todo!()
    }

    /// Admits, resolves, plans and verifies one statement. `pins` fixes the snapshots of the products that it names
    /// and is empty for the newest ones.
    ///
    /// # Errors
    /// Every class that a statement can fail with before it runs.
    pub async fn plan(self: &Arc<Self>, _principal: &Principal, _sql: &str, _pins: &Pins) -> Result<Planned, Error> {
        todo!()
    }

    /// What `principal` may discover, the system tables included, in the order of names.
    pub fn list(&self, _principal: &Principal) -> Vec<Listed> {
        todo!()
    }

    /// The schema under which `principal` sees a table of that listing.
    ///
    /// # Errors
    /// The same as for a query that names it.
    pub async fn table_schema(
        self: &Arc<Self>,
        _principal: &Principal,
        _schema: &str,
        _table: &str,
    ) -> Result<SchemaRef, Error> {
        todo!()
    }
}

impl Planned {
    /// The columns of the result.
    pub fn schema(&self) -> SchemaRef {
        todo!()
    }

    /// The snapshots that it reads.
    pub fn pins(&self) -> &Pins {
        todo!()
    }

    /// What the user should know, one sentence each: deprecated products, masked columns.
    pub fn notices(&self) -> &[String] {
        todo!()
    }

    /// Runs it.
    ///
    /// # Errors
    /// When it cannot be started.
    pub fn run(self) -> Result<Rows, Error> {
        todo!()
    }
}

impl Rows {
    /// The columns of the result.
    pub fn schema(&self) -> SchemaRef {
        todo!()
    }
}

impl Stream for Rows {
    type Item = Result<RecordBatch, Error>;

    fn poll_next(self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        todo!()
    }
}
