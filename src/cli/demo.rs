//! `polder demo`: the Packly mesh, one question asked by three users, and then a server.

use std::io::Write;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use clap::Args;
use futures::TryStreamExt;
use futures::future::try_join_all;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use super::serve::{Listen, for_many, until_stopped};
use super::{Limits, Outcome, engine, terminal};
use crate::error::{Class, Error};
use crate::format::table;
use crate::packly::{DENIED_QUERY, DOMAINS, QUERY, USERS, rows, write_domain, write_files};
use crate::server::Follow;
use crate::session::{Engine, Pins};

/// Make the Packly mesh, query it as three users, and serve it
///
/// Packly is a made-up company with five domains and about a million shop events. Its files and tables are made in DIR
/// once and used again after that.
#[derive(Args)]
#[command(after_help = "Examples:\n  polder demo\n  polder demo --dir /tmp/packly --once")]
pub struct Demo {
    /// Where the mesh and its tables are made
    #[arg(long, value_name = "DIR", default_value = "demo")]
    dir: PathBuf,
    /// End after the queries
    #[arg(long)]
    once: bool,
    #[command(flatten)]
    listen: Listen,
    #[command(flatten)]
    limits: Limits,
}

impl Demo {
    /// Runs the command.
    pub async fn run(self) -> Outcome {
        let Self { dir, once, listen, limits } = self;
        write_files(&dir)?;
        let engine = engine(&dir, for_many(limits.options(), None))?;
        make_tables(&engine).await?;
        show_queries(&engine).await?;
        if once {
            return Ok(());
        }
        terminal::say("");
        terminal::say("try, in another terminal (each user's password is its name):");
        terminal::say(&format!(
            "  POLDER_PASSWORD=analyst-eu polder sql --url grpc://{} --as analyst-eu -c 'SHOW TABLES'",
            listen.address()
        ));
        terminal::say("");
        // A demo ends with its terminal.
        let follow = Follow { every: Duration::from_secs(2), hangup: false };
        until_stopped(engine, listen, follow, None).await
    }
}

/// Writes every domain's tables, all domains at once.
async fn make_tables(engine: &Engine) -> Result<(), Error> {
    let begun = Instant::now();
    let bar = ProgressBar::with_draw_target(Some(rows(1.0)), ProgressDrawTarget::stderr());
    if let Ok(style) = ProgressStyle::with_template("making Packly's tables {bar:30} {percent:>3} %  {msg}") {
        bar.set_style(style);
    }
    let mesh = engine.mesh();
    let lake = engine.lake();
    let report = |progress: crate::packly::Progress| {
        bar.inc(progress.rows);
        bar.set_message(progress.table);
    };
    let domains = DOMAINS.into_iter().map(|name| {
        let (mesh, lake, report) = (&mesh, &lake, &report);
        async move {
            let domain = name.parse().ok().and_then(|name| mesh.domain(&name)).ok_or_else(|| {
                Error::new(Class::Drift, format!("the demo's domain `{name}` is not served"))
                    .help("mend its files, or remove the directory to make them anew")
            })?;
            write_domain(name, lake.catalog(domain).await?, 1.0, report).await
        }
    });
    try_join_all(domains).await?;
    bar.finish_and_clear();
    terminal::say(&format!("Packly's tables are ready ({:.1} s)", begun.elapsed().as_secs_f64()));
    Ok(())
}

/// Asks both of the demo's questions as three users.
async fn show_queries(engine: &Arc<Engine>) -> Outcome {
    let mut out = std::io::stdout().lock();
    for sql in [QUERY, DENIED_QUERY] {
        writeln!(out, "\n{sql}")?;
        for user in USERS {
            let begun = Instant::now();
            let (answer, notices) = match ask(engine, user, sql).await {
                Ok(answer) => answer,
                // Being refused is part of what the demo shows; anything else is a failure of it.
                Err(error) if matches!(error.class, Class::Denied | Class::UnknownName) => {
                    (error.to_string(), Vec::new())
                }
                Err(error) => return Err(error.into()),
            };
            writeln!(out, "\nas {user} ({:.2} s):", begun.elapsed().as_secs_f64())?;
            writeln!(out, "{answer}")?;
            notices.iter().try_for_each(|notice| writeln!(out, "note: {notice}"))?;
        }
    }
    out.flush()?;
    Ok(())
}

async fn ask(engine: &Arc<Engine>, user: &str, sql: &str) -> Result<(String, Vec<String>), Error> {
    let principal = engine
        .mesh()
        .principal(user)
        .ok_or_else(|| Error::new(Class::Drift, format!("the demo's user `{user}` is not declared")))?;
    let planned = engine.plan(&principal, sql, &Pins::new()).await?;
    let notices = planned.notices().to_vec();
    let schema = planned.schema();
    let batches: Vec<_> = planned.run()?.try_collect().await?;
    let table = table(schema, &batches)
        .map_err(|error| Error::new(Class::Bug, format!("the rows cannot be shown: {error}")))?;
    Ok((table, notices))
}
