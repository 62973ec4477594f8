//! The tables that prepare.py and `make` left behind.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

use polder::lake::{Lake, OpenTable};
use polder::scan::{IcebergScan, ScanColumn};
use polder_catalog::mesh::{CatalogConfig, Domain, Mesh, Storage};

use crate::Result;

/// The tables of TPC-H.
pub(crate) const TPCH: [&str; 8] =
    ["customer", "lineitem", "nation", "orders", "part", "partsupp", "region", "supplier"];

/// What every arm of a run shares.
pub(crate) struct Setting {
    pub(crate) data: PathBuf,
    pub(crate) threads: usize,
    pub(crate) rounds: usize,
    /// The mesh, read once: opening a table that nobody opened before is not reading the mesh.
    pub(crate) declared: OnceLock<Mesh>,
}

impl Setting {
    pub(crate) fn mesh(&self) -> Result<Mesh> {
        load(&self.data.join("mesh"))
    }

    /// A domain with these metadata files for its tables.
    pub(crate) fn domain(&self, tables: BTreeMap<String, String>) -> Result<Domain> {
        let mesh = match self.declared.get() {
            Some(mesh) => mesh,
            None => {
                let mesh = self.mesh()?;
                self.declared.get_or_init(|| mesh)
            }
        };
        let like = mesh.domains().next().ok_or("the mesh has no domain")?;
        Ok(Domain {
            name: like.name.clone(),
            description: None,
            owner: polder_catalog::mesh::Owner { team: "bench".into(), email: None, chat: None },
            catalog: CatalogConfig::Metadata(tables),
            catalog_place: like.catalog_place.clone(),
            asking: Default::default(),
            storage: Storage::default(),
            products: BTreeMap::new(),
        })
    }

    /// The metadata files of prepare.py (`pinned`) or of `make` (`variants`), by table.
    pub(crate) fn pinned(&self, list: &str) -> Result<BTreeMap<String, String>> {
        let path = self.data.join("mesh").join(format!("{list}.json"));
        let text = std::fs::read(&path).map_err(|error| format!("{}: {error}", path.display()))?;
        Ok(serde_json::from_slice(&text)?)
    }

    /// Where the Parquet files of a table are, and nothing else.
    pub(crate) fn files(&self, table: &str) -> Result<PathBuf> {
        Ok(std::fs::canonicalize(self.data.join("lake/tpch").join(table).join("data"))?)
    }
}

/// The mesh in a directory.
pub(crate) fn load(directory: &Path) -> Result<Mesh> {
    Mesh::load(directory).map_err(|findings| {
        let findings: Vec<String> = findings.iter().map(|finding| format!("{finding:?}")).collect();
        findings.join("\n").into()
    })
}

/// All columns of a table, under their own names.
pub(crate) async fn pin(open: OpenTable) -> Result<Arc<IcebergScan>> {
    let schema = open.table.metadata().current_schema();
    let fields = schema.as_struct().fields().iter();
    let columns =
        fields.map(|field| ScanColumn { name: field.name.clone(), field_id: field.id, fields: None }).collect();
    Ok(IcebergScan::pin(open, columns, None).await?)
}

/// One of the tables of a list, open.
pub(crate) async fn open(setting: &Setting, lake: &Lake, list: &str, table: &str) -> Result<OpenTable> {
    Ok(lake.open(&setting.domain(setting.pinned(list)?)?, table).await?)
}
