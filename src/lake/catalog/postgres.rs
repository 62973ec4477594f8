//! A domain's SQL catalog on a PostgreSQL server, which is only asked.
//!
//! Nothing is taken from the environment of the process or from its user's files: a domain has what it declares.

use std::fmt;
use std::sync::OnceLock;
use std::time::Duration;

use async_trait::async_trait;
use iceberg::TableIdent;
use sqlx::postgres::{PgConnectOptions, PgPool, PgPoolOptions, PgRow};
use sqlx::{ConnectOptions, Row};
use url::Url;

use super::sql::{READERS, entry};
use super::{Found, STALENESS, Tables};
use crate::lake::error::LakeError;

/// How long a connection may take. One that is refused is tried again for as long.
const CONNECT: Duration = Duration::from_secs(5);
/// What would be sent along or trusted though no domain declares it.
const FOREIGN: [&str; 4] = ["PGSSLCERT", "PGSSLKEY", "PGSSLROOTCERT", "PGOPTIONS"];

/// A PostgreSQL catalog that is only read.
pub(in crate::lake) struct Postgres {
    domain: String,
    name: String,
    options: PgConnectOptions,
    open: OnceLock<PgPool>,
}

impl fmt::Debug for Postgres {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Postgres").field("domain", &self.domain).finish_non_exhaustive()
    }
}

/// Whether a catalog is on a server.
pub(in crate::lake) fn is_server(uri: &str) -> bool {
    uri.starts_with("postgres:")
}

impl Postgres {
    pub(in crate::lake) fn new(domain: &str, name: &str, uri: &str) -> Result<Self, LakeError> {
        let bad = |what| LakeError::BadCatalog { domain: domain.to_owned(), what };
        if FOREIGN.into_iter().any(|name| std::env::var_os(name).is_some()) {
            return Err(bad("the environment of this process has settings of its own for PostgreSQL"));
        }
        let options: PgConnectOptions = uri.parse().map_err(|_| bad("its uri is none"))?;
        // A password that is not declared could be another's, from the environment or a file.
        let declared = Url::parse(uri).is_ok_and(|uri| uri.password().is_some());
        let options = if declared { options } else { options.password("") };
        let options = options.application_name("polder").disable_statement_logging();
        Ok(Self { domain: domain.to_owned(), name: name.to_owned(), options, open: OnceLock::new() })
    }

    fn pool(&self) -> &PgPool {
        self.open.get_or_init(|| {
            let pool = PgPoolOptions::new().max_connections(READERS).acquire_timeout(CONNECT);
            pool.connect_lazy_with(self.options.clone())
        })
    }

    async fn look_up(&self, kind: &'static str, table: &TableIdent) -> Result<Option<PgRow>, sqlx::Error> {
        let sql = format!(
            "SELECT metadata_location, {kind} FROM iceberg_tables \
             WHERE catalog_name = $1 AND table_namespace = $2 AND table_name = $3"
        );
        let query = sqlx::query(&sql).bind(self.name.as_str()).bind(table.namespace().join(".")).bind(table.name());
        query.fetch_optional(self.pool()).await
    }

    fn failed(&self, error: sqlx::Error) -> LakeError {
        let domain = self.domain.clone();
        let code = error.as_database_error().and_then(|error| error.code()).unwrap_or_default().into_owned();
        match code.as_str() {
            "42P01" | "3D000" => LakeError::NoCatalog { domain },
            "42501" => LakeError::Refused { domain },
            code if code.starts_with("28") => LakeError::Refused { domain },
            _ => LakeError::Catalog { domain, source: Box::new(error) },
        }
    }
}

#[async_trait]
impl Tables for Postgres {
    async fn find(&self, table: &TableIdent) -> Result<Option<Found>, LakeError> {
        let mut found = self.look_up("iceberg_type", table).await;
        // Catalogs of older writers have no column that tells tables from views, and hold tables alone.
        if found.as_ref().is_err_and(is_older) {
            found = self.look_up("NULL AS iceberg_type", table).await;
        }
        let Some(row) = found.map_err(|error| self.failed(error))? else { return Ok(None) };
        let read = row.try_get("iceberg_type").and_then(|kind| Ok((kind, row.try_get("metadata_location")?)));
        let (kind, location) = read.map_err(|error| self.failed(error))?;
        entry(&self.domain, table, kind, location)
    }

    fn staleness(&self) -> Duration {
        STALENESS
    }
}

fn is_older(error: &sqlx::Error) -> bool {
    error.as_database_error().and_then(|error| error.code()).is_some_and(|code| code == "42703")
}
