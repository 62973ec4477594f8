//! A domain's Iceberg catalog and object store become open tables; one I/O stack for metadata and data.

use std::sync::Arc;

use datafusion::execution::object_store::{ObjectStoreRegistry, ObjectStoreUrl};
use object_store::ObjectStore;
use polder_catalog::mesh::Domain;

use crate::error::Error;

/// Every domain's lake, opened when first asked for and kept open.
#[derive(Debug, Default)]
pub struct Lake {}

/// An Iceberg table at the metadata that its catalog pointed to when it was opened.
#[derive(Debug, Clone)]
pub struct OpenTable {
    /// The table; its `FileIO` reads through `store`.
    pub table: iceberg::table::Table,
    /// Where the table's files are.
    pub store: Arc<dyn ObjectStore>,
    /// The name under which DataFusion finds `store`; it names the domain, so that no domain reads with another's
    /// credentials.
    pub url: ObjectStoreUrl,
}

impl Lake {
    /// Opens `table` (`namespace.table`) of `domain`.
    ///
    /// # Errors
    /// `Storage` when the catalog or the store cannot be reached, `Drift` when there is no such table.
    pub async fn open(&self, _domain: &Domain, _table: &str) -> Result<OpenTable, Error> {
        todo!()
    }

    /// The stores of all open lakes, for DataFusion to read data files with. It knows no other store.
    pub fn stores(&self) -> Arc<dyn ObjectStoreRegistry> {
        todo!()
    }
}
