//! A domain's SQL catalog in a SQLite file: where it has the metadata of its tables, and the whole of it for the writer of
//! its tables.

use std::collections::HashMap;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use iceberg::{CatalogBuilder, TableIdent};
use iceberg_catalog_sql::{SqlBindStyle, SqlCatalogBuilder};
use sqlx::sqlite::{SqliteConnectOptions, SqlitePool, SqlitePoolOptions, SqliteRow};
use sqlx::{ConnectOptions, Row};

use super::{Found, Tables, in_time};
use crate::lake::error::LakeError;
use crate::lake::storage::LakeStorage;

/// How many connections to one catalog are open at most.
pub(super) const READERS: u32 = 4;

/// Which file it is, whatever its name is by now.
type Inode = (u64, u64);

/// A SQLite catalog that is only read. It opens when a table is first looked for, and one that does not exist is looked for
/// again next time.
#[derive(Debug)]
pub(in crate::lake) struct Sql {
    domain: String,
    name: String,
    file: PathBuf,
    open: Mutex<Option<(Inode, SqlitePool)>>,
}

impl Sql {
    pub(in crate::lake) fn new(domain: &str, name: &str, uri: &str) -> Result<Self, LakeError> {
        let file = sqlite_file(domain, uri)?.to_owned();
        Ok(Self { domain: domain.to_owned(), name: name.to_owned(), file, open: Mutex::default() })
    }

    /// What reads the file that has its name now: one that took the place of another is another catalog.
    async fn pool(&self) -> Result<SqlitePool, LakeError> {
        let found = tokio::fs::metadata(&self.file).await;
        let found = found.map_err(|_| LakeError::NoCatalog { domain: self.domain.clone() })?;
        let inode = (found.dev(), found.ino());
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, pool)) = open.as_ref().filter(|(of, _)| *of == inode) {
            return Ok(pool.clone());
        }
        let pool = reading(&self.domain, &self.file)?;
        *open = Some((inode, pool.clone()));
        Ok(pool)
    }
}

#[async_trait]
impl Tables for Sql {
    async fn find(&self, table: &TableIdent) -> Result<Option<Found>, LakeError> {
        let failed = |source| LakeError::Catalog { domain: self.domain.clone(), source: Box::new(source) };
        let found = metadata_location(&self.pool().await?, &self.name, table).await.map_err(failed)?;
        found.map_or(Ok(None), |(kind, location)| entry(&self.domain, table, kind, location))
    }
}

/// What a row of a catalog's list says: its kind, where it has one, and where its metadata is.
pub(super) fn entry(
    domain: &str,
    table: &TableIdent,
    kind: Option<String>,
    location: Option<String>,
) -> Result<Option<Found>, LakeError> {
    match kind.as_deref() {
        None | Some("TABLE") => Ok(location.map(Found::at)),
        Some("VIEW") => Err(LakeError::View { domain: domain.to_owned(), table: table.to_string() }),
        Some(_) => Ok(None),
    }
}

/// The file of a `sqlite:` URI.
pub(in crate::lake) fn sqlite_file<'a>(domain: &str, uri: &'a str) -> Result<&'a Path, LakeError> {
    let bad = |what| LakeError::BadCatalog { domain: domain.to_owned(), what };
    let rest = uri.strip_prefix("sqlite:").ok_or_else(|| bad("only SQL catalogs in SQLite are read yet"))?;
    let path = rest.strip_prefix("//").unwrap_or(rest);
    if path.contains('?') {
        return Err(bad("its uri has options"));
    }
    if !path.starts_with('/') {
        return Err(bad("its uri has no absolute path"));
    }
    Ok(Path::new(path))
}

/// Opens the SQLite catalog in `file` for writing, and makes it where there is none.
pub(in crate::lake) async fn writing(
    domain: &str,
    name: &str,
    file: &Path,
    warehouse: &str,
    storage: LakeStorage,
) -> Result<Arc<dyn iceberg::Catalog>, LakeError> {
    let uri = format!("sqlite://{}?mode=rwc", escape(&file.to_string_lossy()));
    let work = SqlCatalogBuilder::default()
        .uri(uri)
        .warehouse_location(warehouse.trim_end_matches('/'))
        .sql_bind_style(SqlBindStyle::QMark)
        .with_storage_factory(Arc::new(storage))
        .load(name, HashMap::new());
    let failed = |source| LakeError::Catalog { domain: domain.to_owned(), source: Box::new(source) };
    let catalog = in_time(domain, async { work.await.map_err(failed) }).await?;
    Ok(Arc::new(catalog))
}

/// A SQLite catalog that is only read.
pub(in crate::lake) fn reading(domain: &str, file: &Path) -> Result<SqlitePool, LakeError> {
    if !file.is_file() {
        return Err(LakeError::NoCatalog { domain: domain.to_owned() });
    }
    let options = SqliteConnectOptions::new().filename(file).read_only(true).disable_statement_logging();
    Ok(SqlitePoolOptions::new().max_connections(READERS).connect_lazy_with(options))
}

/// What the catalog has of a table, if it has it: its kind, and where its metadata file is.
async fn metadata_location(
    pool: &SqlitePool,
    catalog: &str,
    table: &TableIdent,
) -> Result<Option<(Option<String>, Option<String>)>, sqlx::Error> {
    // Catalogs of older writers have no column that tells tables from views, and hold tables alone.
    let mut found = look_up(pool, "iceberg_type", catalog, table).await;
    if found.as_ref().is_err_and(|error| error.to_string().contains("no such column: iceberg_type")) {
        found = look_up(pool, "NULL AS iceberg_type", catalog, table).await;
    }
    let Some(row) = found? else { return Ok(None) };
    Ok(Some((row.try_get("iceberg_type")?, row.try_get("metadata_location")?)))
}

async fn look_up(
    pool: &SqlitePool,
    kind: &'static str,
    catalog: &str,
    table: &TableIdent,
) -> Result<Option<SqliteRow>, sqlx::Error> {
    let sql = format!(
        "SELECT metadata_location, {kind} FROM iceberg_tables \
         WHERE catalog_name = ? AND table_namespace = ? AND table_name = ?"
    );
    sqlx::query(&sql).bind(catalog).bind(table.namespace().join(".")).bind(table.name()).fetch_optional(pool).await
}

/// Percent-encodes what a URL would take for something other than a path.
fn escape(path: &str) -> String {
    path.bytes().fold(String::new(), |mut out, b| {
        if b.is_ascii_alphanumeric() || b"/-_.~".contains(&b) {
            out.push(char::from(b));
        } else {
            out.push_str(&format!("%{b:02X}"));
        }
        out
    })
}
