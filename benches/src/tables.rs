//! The tables that prepare.py and `make` left behind.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

use polder::lake::{Lake, OpenTable};
use polder::scan::{IcebergScan, ScanColumn};
use polder_catalog::mesh::{CatalogConfig, Domain, Mesh, Storage};

use crate::Result;

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

    /// The domain and the names of the tables that prepare.py made.
    pub(crate) fn tables(&self) -> Result<(String, Vec<String>)> {
        let names: Vec<String> = self.pinned("pinned")?.into_keys().collect();
        let domain = names.first().and_then(|name| name.split('.').next()).ok_or("no table is pinned")?.to_owned();
        let tables = names.iter().filter_map(|name| name.split_once('.')).map(|(_, table)| table.to_owned()).collect();
        Ok((domain, tables))
    }

    /// Where the Parquet files of a table are, and nothing else.
    pub(crate) fn files(&self, domain: &str, table: &str) -> Result<PathBuf> {
        Ok(std::fs::canonicalize(self.data.join("lake").join(domain).join(table).join("data"))?)
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
