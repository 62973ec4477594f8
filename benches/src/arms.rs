//! The arms of a comparison: ways to ask the same question of the same files.

use std::borrow::Cow;
use std::fmt;
use std::path::Path;
use std::sync::Arc;

use clap::ValueEnum;
use datafusion::arrow::array::RecordBatch;
use datafusion::catalog::{MemorySchemaProvider, TableProvider};
use datafusion::common::TableReference;
use datafusion::datasource::file_format::parquet::ParquetFormat;
use datafusion::datasource::listing::{ListingOptions, ListingTable, ListingTableConfig, ListingTableUrl};
use datafusion::execution::memory_pool::FairSpillPool;
use datafusion::execution::runtime_env::RuntimeEnvBuilder;
use datafusion::prelude::{SessionConfig, SessionContext};
use futures::TryStreamExt;
use futures::future::try_join_all;
use polder::lake::{self, Lake};
use polder::session::{Engine, Options, Pins, Request};
use polder_catalog::mesh::Mesh;
use polder_catalog::principal::Principal;

use crate::Result;
use crate::far;
use crate::governed::{self, Rules};
use crate::tables::{Setting, open, pin};

/// Bytes that queries may hold, in every arm.
const MEMORY: usize = 2 << 30;

/// A way to ask.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Arm {
    /// The whole engine, embedded: resolved, planned and verified for a principal who may read everything
    Session,
    /// The same over a store that answers 20 ms late
    Far,
    /// The same over that store with a cache
    Kept,
    /// Our scan of the Iceberg tables in a session of DataFusion's that is otherwise the plain one
    Scan,
    /// DataFusion's listing tables over the Parquet files, with their statistics
    Plain,
    /// The same without string views, to tell what those are worth
    PlainText,
    /// The whole engine, for a user who sees masks
    Masked,
    /// The same masks as SQL, for a user who may read everything
    MaskedByHand,
    /// The whole engine, for a user who sees some rows
    Filtered,
    /// The same rows by SQL, for a user who may read everything
    FilteredByHand,
}

impl fmt::Display for Arm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Session => "session",
            Self::Far => "far",
            Self::Kept => "kept",
            Self::Scan => "scan",
            Self::Plain => "plain",
            Self::PlainText => "plain-text",
            Self::Masked => "masked",
            Self::MaskedByHand => "masked-by-hand",
            Self::Filtered => "filtered",
            Self::FilteredByHand => "filtered-by-hand",
        })
    }
}

/// An arm that is ready for queries.
pub(crate) enum Ready {
    Session(Arc<Engine>, Principal, String),
    ByHand(Arc<Engine>, Principal, Box<Mesh>, Rules),
    Bare(Box<SessionContext>),
}

impl Ready {
    /// Opens every table; nothing is read yet but metadata, or footers where there is nothing else.
    pub(crate) async fn start(arm: Arm, setting: &Setting) -> Result<Self> {
        match arm {
            Arm::Session => {
                let (engine, principal) = engine(setting, setting.mesh()?, "bench")?;
                Ok(Self::Session(engine, principal, setting.tables()?.0))
            }
            Arm::Far | Arm::Kept => {
                let lake = if arm == Arm::Kept { far::kept(setting)? } else { far::far() };
                let (engine, principal) = engine_over(setting, setting.mesh()?, "bench", lake)?;
                Ok(Self::Session(engine, principal, setting.tables()?.0))
            }
            Arm::Masked | Arm::Filtered => {
                let rules = if arm == Arm::Masked { Rules::Masks } else { Rules::Rows };
                let (engine, principal) = engine(setting, governed::mesh(setting)?, rules.user())?;
                Ok(Self::Session(engine, principal, setting.tables()?.0))
            }
            Arm::MaskedByHand | Arm::FilteredByHand => {
                let rules = if arm == Arm::MaskedByHand { Rules::Masks } else { Rules::Rows };
                let mesh = setting.mesh()?;
                let (engine, principal) = engine(setting, setting.mesh()?, "bench")?;
                Ok(Self::ByHand(engine, principal, Box::new(mesh), rules))
            }
            Arm::Scan => {
                let lake = Lake::default();
                let context = bare(setting, Some(&lake))?;
                let (domain, tables) = setting.tables()?;
                let scans = tables.iter().map(async |table| {
                    let scan = pin(open(setting, &lake, "pinned", &format!("{domain}.{table}")).await?).await?;
                    register(&context, &domain, table, scan)
                });
                try_join_all(scans).await?;
                Ok(Self::Bare(Box::new(context)))
            }
            Arm::Plain | Arm::PlainText => {
                let context = bare(setting, None)?;
                let parquet = ParquetFormat::default().with_force_view_types(arm == Arm::Plain);
                let parquet = Arc::new(parquet);
                let (domain, tables) = setting.tables()?;
                let listings = tables.iter().map(async |table| {
                    let files = setting.files(&domain, table)?;
                    register(&context, &domain, table, Arc::new(listing(&context, &files, parquet.clone()).await?))
                });
                try_join_all(listings).await?;
                Ok(Self::Bare(Box::new(context)))
            }
        }
    }

    /// All rows of a query.
    pub(crate) async fn ask(&self, sql: &str) -> Result<Vec<RecordBatch>> {
        self.run(&self.text(sql)?).await
    }

    /// How this arm words a query.
    pub(crate) fn text<'a>(&self, sql: &'a str) -> Result<Cow<'a, str>> {
        Ok(match self {
            Self::ByHand(.., mesh, rules) => rules.by_hand(mesh, sql)?.into(),
            Self::Session(..) | Self::Bare(_) => sql.into(),
        })
    }

    /// All rows of a statement in this arm's words.
    pub(crate) async fn run(&self, sql: &str) -> Result<Vec<RecordBatch>> {
        match self {
            Self::Session(engine, principal, domain) => {
                let request = Request { schema: Some(domain.clone()), ..Request::new(sql) };
                Ok(engine.plan_request(principal, request).await?.run()?.try_collect().await?)
            }
            Self::ByHand(engine, principal, ..) => {
                Ok(engine.plan(principal, sql, &Pins::new()).await?.run()?.try_collect().await?)
            }
            Self::Bare(context) => Ok(context.sql(sql).await?.collect().await?),
        }
    }
}

/// The whole engine over a mesh, and a user of it.
fn engine(setting: &Setting, mesh: Mesh, user: &str) -> Result<(Arc<Engine>, Principal)> {
    engine_over(setting, mesh, user, lake::Options::default())
}

fn engine_over(setting: &Setting, mesh: Mesh, user: &str, lake: lake::Options) -> Result<(Arc<Engine>, Principal)> {
    let options = Options { memory: MEMORY, threads: Some(setting.threads), lake, ..Options::default() };
    let principal = mesh.principal(user).ok_or_else(|| format!("the mesh has no user `{user}`"))?;
    Ok((Engine::start(mesh, options)?, principal))
}

/// A session without a mesh. With a lake it finds that lake's stores and no others.
pub(crate) fn bare(setting: &Setting, lake: Option<&Lake>) -> Result<SessionContext> {
    let mut runtime = RuntimeEnvBuilder::new().with_memory_pool(Arc::new(FairSpillPool::new(MEMORY)));
    if let Some(lake) = lake {
        runtime = runtime.with_object_store_registry(lake.stores());
    }
    let (domain, _) = setting.tables()?;
    let config = SessionConfig::new().with_target_partitions(setting.threads).with_collect_statistics(true);
    let config = config.with_default_catalog_and_schema("datafusion", &domain);
    let context = SessionContext::new_with_config_rt(config, runtime.build_arc()?);
    let catalog = context.catalog("datafusion").ok_or("the session has no catalog")?;
    catalog.register_schema(&domain, Arc::new(MemorySchemaProvider::new()))?;
    Ok(context)
}

pub(crate) fn register(
    context: &SessionContext,
    domain: &str,
    table: &str,
    provider: Arc<dyn TableProvider>,
) -> Result<()> {
    context.register_table(TableReference::partial(domain, table), provider)?;
    Ok(())
}

async fn listing(context: &SessionContext, files: &Path, format: Arc<ParquetFormat>) -> Result<ListingTable> {
    let place = ListingTableUrl::parse(format!("{}/", files.display()))?;
    let options =
        ListingOptions::new(format).with_session_config_options(context.state().config()).with_collect_stat(true);
    let config = ListingTableConfig::new(place).with_listing_options(options);
    let config = config.infer_schema(&context.state()).await?;
    Ok(ListingTable::try_new(config)?)
}
