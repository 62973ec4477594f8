//! Opens a domain's SQL catalog, for reading or for the writer of its tables.

use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use iceberg::CatalogBuilder;
use iceberg_catalog_sql::{SqlBindStyle, SqlCatalogBuilder};

use super::error::LakeError;
use super::storage::LakeStorage;

const PATIENCE: Duration = Duration::from_secs(10);

/// Waits for a catalog or a store, but not forever.
pub(super) async fn in_time<T>(domain: &str, work: impl Future<Output = Result<T, LakeError>>) -> Result<T, LakeError> {
    tokio::time::timeout(PATIENCE, work)
        .await
        .unwrap_or_else(|_| Err(LakeError::Timeout { domain: domain.to_owned(), seconds: PATIENCE.as_secs() }))
}

/// The file of a `sqlite:` URI.
pub(super) fn sqlite_file<'a>(domain: &str, uri: &'a str) -> Result<&'a Path, LakeError> {
    let bad = |what| LakeError::BadCatalog { domain: domain.to_owned(), what };
    let rest = uri.strip_prefix("sqlite:").ok_or_else(|| bad("its uri is not `sqlite:` and a path"))?;
    let path = rest.strip_prefix("//").unwrap_or(rest);
    if path.contains('?') {
        return Err(bad("its uri has options"));
    }
    if !path.starts_with('/') {
        return Err(bad("its uri has no absolute path"));
    }
    Ok(Path::new(path))
}

/// Opens the SQLite catalog in `file`. Reading opens it read-only, so that a served catalog cannot be changed.
pub(super) async fn sqlite(
    domain: &str,
    name: &str,
    file: &Path,
    warehouse: &str,
    storage: LakeStorage,
    create: bool,
) -> Result<Arc<dyn iceberg::Catalog>, LakeError> {
    if !create && !file.is_file() {
        return Err(LakeError::NoCatalog { domain: domain.to_owned() });
    }
    let mode = if create { "rwc" } else { "ro" };
    let uri = format!("sqlite://{}?mode={mode}", escape(&file.to_string_lossy()));
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
