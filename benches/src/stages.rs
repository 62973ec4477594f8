//! What each stage of a statement's way costs, by counts that are the same on every machine.
//!
//! ```text
//! contracts -> decision -> resolve -> plan -> prune -> masks -> encode        over the demo mesh, smaller than it is served
//!     allocations, their bytes, files, bytes sent -- held against --> benches/stages.json
//! ```
//!
//! A stage is done a few times, and the least that it took counts: what else goes on in the process only adds. Its time is told
//! as a multiple of another one of the same turn, and is not held against anything, since machines differ. Who changes what a
//! stage costs writes the figures anew with `--write`, and whoever reads that change sees them.

use std::alloc::System;
use std::fmt::Write;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;

use datafusion::arrow::array::RecordBatch;
use datafusion::arrow::datatypes::{DataType, Field, Schema};
use datafusion::datasource::empty::EmptyTable;
use datafusion::prelude::SessionContext;
use futures::TryStreamExt;
use futures::future::try_join_all;
use polder::flight::encode::{Encoder, Form};
use polder::packly::{DOMAINS, QUERY, write_domain, write_files};
use polder::session::{Engine, Options as EngineOptions, Planned, Request};
use polder_catalog::principal::Principal;
use serde_json::{Map, Value, json};
use stats_alloc::{INSTRUMENTED_SYSTEM, Region, StatsAlloc};

use crate::Result;
use crate::measure::median;
use crate::tables::{Setting, load};

/// What this build allocates with, and counts.
#[global_allocator]
static COUNTED: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

/// How large the demo's tables are, beside those that are served.
const SCALE: f64 = 0.05;
/// How often a stage is done in a turn.
const TIMES: usize = 20;
/// How far a count may be from what it was, as a part of that. Buffers that grow with what came before make bytes swing.
const TOLERANCES: [(&str, f64); 3] = [("allocations", 0.05), ("bytes", 0.35), ("done", 0.05)];

#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    /// The figures that these are held against
    #[arg(long, default_value = "benches/stages.json")]
    baseline: PathBuf,
    /// Write the figures there, and hold them against nothing
    #[arg(long)]
    write: bool,
}

/// What is measured, in the order of a statement's way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    /// A plan of DataFusion's own over an empty table: what times are told in.
    Unit,
    /// All files of the mesh, for each of its products.
    Contracts,
    /// One decision on a product without any cache.
    Decision,
    /// A name becomes a governed table.
    Resolve,
    /// A statement on one table that was never asked before.
    Plan,
    /// One that was.
    Again,
    /// The demo's query over four of its domains.
    Joined,
    /// A table of many files, of which a filter leaves a few.
    Prune,
    /// Rows as they are.
    Bare,
    /// The same rows through masks.
    Masked,
    /// And as messages.
    Encoded,
}

impl Stage {
    const ALL: [Self; 11] = [
        Self::Unit,
        Self::Contracts,
        Self::Decision,
        Self::Resolve,
        Self::Plan,
        Self::Again,
        Self::Joined,
        Self::Prune,
        Self::Bare,
        Self::Masked,
        Self::Encoded,
    ];

    fn name(self) -> &'static str {
        match self {
            Self::Unit => "a plan of DataFusion's own",
            Self::Contracts => "contracts, for each product",
            Self::Decision => "a decision without a cache",
            Self::Resolve => "resolve",
            Self::Plan => "plan, ad hoc",
            Self::Again => "plan, again",
            Self::Joined => "plan, four domains",
            Self::Prune => "prune",
            Self::Bare => "rows as they are",
            Self::Masked => "rows through masks",
            Self::Encoded => "masked rows as messages",
        }
    }
}

/// What one turn of a stage took, divided by how much it did.
#[derive(Debug, Clone, Copy)]
struct Figures {
    allocations: f64,
    bytes: f64,
    /// Files, rows or bytes sent, where that says something.
    done: Option<usize>,
    seconds: f64,
}

/// All that the stages work on.
struct Bench {
    home: PathBuf,
    engine: Arc<Engine>,
    plain: SessionContext,
    analyst: Principal,
    officer: Principal,
}

pub(crate) async fn run(setting: &Setting, options: &Options) -> Result<String> {
    let bench = Bench::over(&setting.data.join("packly")).await?;
    let mut turns: Vec<Vec<Figures>> = vec![Vec::new(); Stage::ALL.len()];
    // The first turn fills caches.
    for round in 0..=setting.rounds {
        for (stage, turns) in Stage::ALL.into_iter().zip(&mut turns) {
            let figures = bench.turn(stage, round).await?;
            if round > 0 {
                turns.push(figures);
            }
        }
    }
    let unit = turns.first().map(|turns| median(turns.iter().map(|figures| figures.seconds))).unwrap_or(f64::NAN);
    let mut found = Map::new();
    for (stage, turns) in Stage::ALL.into_iter().zip(&turns) {
        let least = |of: fn(&Figures) -> f64| turns.iter().map(of).fold(f64::INFINITY, f64::min).round();
        let ratio = median(turns.iter().map(|figures| figures.seconds)) / unit;
        let mut line = json!({
            "allocations": least(|figures| figures.allocations),
            "bytes": least(|figures| figures.bytes),
            "time": (ratio * 100.0).round() / 100.0,
        });
        if let (Some(done), Some(line)) = (turns.first().and_then(|figures| figures.done), line.as_object_mut()) {
            line.insert("done".to_owned(), done.into());
        }
        println!("{}", json!({ "suite": "stages", "case": stage.name(), "figures": line }));
        found.insert(stage.name().to_owned(), line);
    }
    if options.write {
        std::fs::write(&options.baseline, serde_json::to_string_pretty(&found)? + "\n")?;
    }
    let baseline = std::fs::read_to_string(&options.baseline)
        .map_err(|error| format!("{}: {error}; `--write` makes it", options.baseline.display()))?;
    let (text, slips) = report(&found, &serde_json::from_str(&baseline)?)?;
    if slips.is_empty() {
        return Ok(text);
    }
    eprintln!("{text}\n{}\n", slips.join("\n"));
    Err("stages cost something else than they did; if that is meant, `--write` them anew and say why in the commit"
        .into())
}

/// A table of the figures, and which of them are not what they were.
fn report(found: &Map<String, Value>, baseline: &Map<String, Value>) -> Result<(String, Vec<String>)> {
    let mut text = String::from(
        "## Stages of a statement's way\n\n| stage | allocations | bytes | done | time |\n|---|---|---|---|---|\n",
    );
    let mut slips = Vec::new();
    for (stage, figures) in found {
        let figure = |figures: &Value, of: &str| figures.get(of).and_then(Value::as_f64);
        let [allocations, bytes, done, time] =
            ["allocations", "bytes", "done", "time"].map(|of| figure(figures, of).unwrap_or_default());
        writeln!(text, "| {stage} | {allocations:.0} | {bytes:.0} | {done:.0} | {time:.2} |")?;
        for (of, tolerance) in TOLERANCES {
            let (now, before) = (figure(figures, of), baseline.get(stage).and_then(|line| figure(line, of)));
            let is_near = match (now, before) {
                (Some(now), Some(before)) => (now - before).abs() <= tolerance * before,
                (now, before) => now == before,
            };
            if !is_near {
                let told =
                    |figure: Option<f64>| figure.map_or_else(|| "nothing".to_owned(), |figure| figure.to_string());
                slips.push(format!("{stage}: {of} {} and not {}", told(now), told(before)));
            }
        }
    }
    Ok((text, slips))
}

impl Bench {
    /// Over the demo mesh in `home`, which is made there the first time.
    async fn over(home: &Path) -> Result<Self> {
        write_files(home)?;
        let options = EngineOptions { threads: Some(1), ..EngineOptions::default() };
        let engine = Engine::start(load(home)?, options)?;
        let (mesh, lake) = (engine.mesh(), engine.lake());
        let domains = DOMAINS.map(|name| {
            let (mesh, lake) = (&mesh, &lake);
            async move {
                let domain = name.parse().ok().and_then(|name| mesh.domain(&name)).ok_or("a domain is missing")?;
                Result::Ok(write_domain(name, lake.catalog(domain).await?, SCALE, &|_| ()).await?)
            }
        });
        try_join_all(domains).await?;
        let user = |name| mesh.principal(name).ok_or("a user is missing");
        let (analyst, officer) = (user("analyst-eu")?, user("privacy-officer")?);
        let plain = SessionContext::new();
        let columns = ["a", "b", "c"].map(|name| Field::new(name, DataType::Int64, true));
        plain.register_table("t", Arc::new(EmptyTable::new(Arc::new(Schema::new(columns.to_vec())))))?;
        Ok(Self { home: home.to_owned(), engine, plain, analyst, officer })
    }

    /// Does a stage some times.
    async fn turn(&self, stage: Stage, round: usize) -> Result<Figures> {
        let (region, begin, mut done, mut units) = (Region::new(COUNTED), Instant::now(), None, 0);
        for time in 0..TIMES {
            let number = round * TIMES + time;
            let (unit, what) = self.once(stage, number).await?;
            units += unit;
            done = what;
        }
        let (seconds, change) = (begin.elapsed().as_secs_f64(), region.change());
        let of = |count: usize| count as f64 / units as f64;
        let allocations = of(change.allocations + change.reallocations);
        Ok(Figures { allocations, bytes: of(change.bytes_allocated), done, seconds: seconds / units as f64 })
    }

    /// Does a stage once: how many things that were, and what is said of it.
    async fn once(&self, stage: Stage, number: usize) -> Result<(usize, Option<usize>)> {
        let plan = |principal, sql: String| self.engine.plan_request(principal, Request::new(sql));
        let customers = "SELECT customer_id, email, phone, full_name FROM storefront.customers";
        Ok(match stage {
            Stage::Unit => {
                let frame = self.plain.sql(&format!("SELECT a, b FROM t WHERE c = {number} ORDER BY a")).await?;
                frame.create_physical_plan().await?;
                (1, None)
            }
            Stage::Contracts => (load(&self.home)?.products().count(), None),
            Stage::Decision => {
                let mesh = self.engine.mesh();
                let decided = mesh.products().map(|(_, product)| mesh.decide(&self.analyst, product));
                (decided.count(), None)
            }
            Stage::Resolve => {
                plan(&self.analyst, "DESCRIBE storefront.customers".to_owned()).await?;
                (1, None)
            }
            Stage::Plan => {
                let columns = plan(&self.analyst, format!("{customers} WHERE customer_id = 'C{number:08}'")).await?;
                (1, Some(columns.schema().fields().len()))
            }
            Stage::Again => {
                plan(&self.analyst, format!("{customers} WHERE customer_id = 'C'")).await?;
                (1, None)
            }
            Stage::Joined => {
                plan(&self.analyst, format!("{QUERY} -- {number}")).await?;
                (1, None)
            }
            Stage::Prune => {
                let late = format!(
                    "SELECT event_type FROM storefront.customer_events WHERE occurred_at > '2025-10-15' AND customer_id <> '{number}'"
                );
                (1, Some(plan(&self.officer, late).await?.files()))
            }
            Stage::Bare => (1, Some(rows(plan(&self.officer, customers.to_owned()).await?).await?)),
            Stage::Masked => (1, Some(rows(plan(&self.analyst, customers.to_owned()).await?).await?)),
            Stage::Encoded => {
                let planned = plan(&self.analyst, customers.to_owned()).await?;
                let encoder = Encoder::new(&planned.schema(), Form::default())?;
                let sent = planned.send(encoder, ())?.try_fold(0, |sent, message| async move {
                    Ok(sent + message.data_header.len() + message.data_body.len())
                });
                (1, Some(sent.await?))
            }
        })
    }
}

async fn rows(planned: Planned) -> Result<usize> {
    let batches: Vec<RecordBatch> = planned.run()?.try_collect().await?;
    Ok(batches.iter().map(RecordBatch::num_rows).sum())
}
