//! Deciding in a vast mesh: what loading it costs and its policies take, how long a decision lasts without any cache,
//! and the longest one while the mesh is loaded again beside it.

use std::fmt::Write;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use clap::Args;
use polder_catalog::mesh::{Mesh, Product};
use polder_catalog::policy::Decision;
use polder_catalog::principal::Principal;
use serde_json::json;

use crate::Result;
use crate::measure::{Cost, median, memory, process_seconds};
use crate::tables::Setting;
use crate::vast::Vast;

#[derive(Args)]
pub(crate) struct Options {
    /// Policies of the mesh, of which every product has about ten
    #[arg(long, default_value_t = 100_000)]
    policies: usize,
    /// Loads this mesh and does no more than say what memory is in use: the bench asks itself so in a process of its own
    #[arg(long, hide = true)]
    resident: Option<std::path::PathBuf>,
}

/// The columns of every product.
const COLUMNS: usize = 50;
/// The users of the mesh, and the products that each asks for.
const ASKING: (usize, usize) = (200, 50);

pub(crate) fn run(setting: &Setting, options: &Options) -> Result<String> {
    if let Some(dir) = &options.resident {
        let mesh = load(dir)?;
        println!("{}", memory().0);
        drop(mesh);
        return Ok(String::new());
    }
    let domains = (options.policies / 1000).max(2);
    let products = (options.policies / 10 / domains).max(1);
    let vast = Vast { domains, products, columns: COLUMNS, policies: options.policies };
    let (whole, bare) = (setting.data.join("vast/whole"), setting.data.join("vast/bare"));
    write(&vast, &whole, |_| true)?;
    write(&vast, &bare, |name| !name.ends_with(".cedar"))?;
    let policies = resident(setting, &whole)?.saturating_sub(resident(setting, &bare)?);
    println!("{}", json!({ "suite": "decide", "case": "policies", "bytes": policies }));

    let mut loads = Vec::new();
    for _ in 0..setting.rounds {
        let (cpu, start) = (process_seconds(), Instant::now());
        let mesh = load(&whole)?;
        let cost = Cost { wall: start.elapsed().as_secs_f64(), cpu: process_seconds() - cpu };
        drop(mesh);
        println!("{}", json!({ "suite": "decide", "case": "load", "seconds": cost.wall, "cpu": cost.cpu }));
        loads.push(cost);
    }
    let mesh = load(&whole)?;
    let asked = asked(&mesh)?;
    let least = fastest(setting, &mesh, &asked);
    told("fastest of the rounds", &least);
    let alone = sorted(decisions(&mesh, &asked));
    told("alone", &alone);
    let (reloads, beside) = reloading(setting, &whole, &mesh, &asked)?;
    told("while it is loaded again", &beside);
    Ok(report(&vast, policies, &loads, [&least, &alone, &beside], &reloads))
}

fn load(dir: &Path) -> Result<Mesh> {
    let mesh = Mesh::load(dir).map_err(|findings| format!("the vast mesh is broken: {:?}", findings.first()))?;
    if mesh.domains_out().next().is_some() {
        return Err("a domain of the vast mesh is out".into());
    }
    Ok(mesh)
}

/// Writes the files that are chosen, unless they are there.
fn write(vast: &Vast, dir: &Path, chosen: impl Fn(&str) -> bool) -> Result<()> {
    let stamp = dir.with_extension("complete");
    let size = format!("{vast:?}");
    if std::fs::read_to_string(&stamp).is_ok_and(|found| found == size) {
        return Ok(());
    }
    if dir.exists() {
        std::fs::remove_dir_all(dir)?;
    }
    for (name, text) in vast.files().into_iter().filter(|(name, _)| chosen(name)) {
        let path = dir.join(name);
        std::fs::create_dir_all(path.parent().ok_or("a file lies in a folder")?)?;
        std::fs::write(path, text)?;
    }
    Ok(std::fs::write(stamp, size)?)
}

/// The memory of a process that has loaded the mesh in `dir` and done nothing else.
fn resident(setting: &Setting, dir: &Path) -> Result<u64> {
    let mut itself = std::process::Command::new(std::env::current_exe()?);
    let told = itself.arg("--data").arg(&setting.data).arg("decide").arg("--resident").arg(dir).output()?;
    if !told.status.success() {
        return Err(String::from_utf8_lossy(&told.stderr).into());
    }
    Ok(String::from_utf8(told.stdout)?.trim().parse()?)
}

/// Who asks for what, in an order that keeps nothing near what was asked before.
fn asked(mesh: &Mesh) -> Result<Vec<(Principal, &Product)>> {
    let products: Vec<&Product> = mesh.products().map(|(_, product)| product).collect();
    let (users, each) = ASKING;
    let mut asked = Vec::with_capacity(users * each);
    for n in 0..each {
        for user in 0..users {
            let principal = mesh.principal(&format!("u{user}")).ok_or("a user is missing")?;
            let product = products.get((user * 7919 + n * 104_729) % products.len());
            asked.push((principal, *product.ok_or("there are no products")?));
        }
    }
    Ok(asked)
}

/// How long each decision took on a product that may be discovered; what is hidden is decided at once and would flatter.
fn decisions(mesh: &Mesh, asked: &[(Principal, &Product)]) -> Vec<Option<Duration>> {
    let decide = |(principal, product): &(Principal, &Product)| {
        let start = Instant::now();
        let decision = mesh.decide(principal, product);
        let elapsed = start.elapsed();
        matches!(decision, Decision::Granted(_)).then_some(elapsed)
    };
    asked.iter().map(decide).collect()
}

/// The same, sorted, each decision with the fastest of several turns: on a busy machine the others tell who else worked.
fn fastest(setting: &Setting, mesh: &Mesh, asked: &[(Principal, &Product)]) -> Vec<Duration> {
    let turns = (0..setting.rounds.max(1)).map(|_| decisions(mesh, asked));
    let least = turns.reduce(|a, b| a.into_iter().zip(b).map(|(a, b)| a.min(b)).collect());
    sorted(least.unwrap_or_default())
}

fn sorted(took: Vec<Option<Duration>>) -> Vec<Duration> {
    let mut took: Vec<Duration> = took.into_iter().flatten().collect();
    took.sort();
    took
}

/// Decides for as long as another thread loads the mesh again, as often as there are rounds; and what each load took.
fn reloading(
    setting: &Setting,
    dir: &Path,
    mesh: &Mesh,
    asked: &[(Principal, &Product)],
) -> Result<(Vec<f64>, Vec<Duration>)> {
    let loading = AtomicBool::new(true);
    std::thread::scope(|scope| {
        let reloads = scope.spawn(|| {
            let loads = (0..setting.rounds).map(|_| {
                let start = Instant::now();
                load(dir).map(|_| start.elapsed().as_secs_f64())
            });
            let loads = loads.collect::<Result<Vec<_>>>();
            loading.store(false, Ordering::Relaxed);
            loads
        });
        let mut took = Vec::new();
        while loading.load(Ordering::Relaxed) {
            took.extend(decisions(mesh, asked));
        }
        let reloads = reloads.join().map_err(|_| "loading failed")?;
        Ok((reloads?, sorted(took)))
    })
}

/// One of `hundredths`, of durations that are sorted.
fn quantile(took: &[Duration], hundredths: usize) -> f64 {
    let at = (took.len() * hundredths / 100).min(took.len().saturating_sub(1));
    took.get(at).map_or(f64::NAN, Duration::as_secs_f64)
}

fn told(case: &str, took: &[Duration]) {
    let (p50, p99, most) = (quantile(took, 50), quantile(took, 99), quantile(took, 100));
    let line =
        json!({ "suite": "decide", "case": case, "decisions": took.len(), "p50": p50, "p99": p99, "most": most });
    println!("{line}");
}

fn report(
    vast: &Vast,
    policies: u64,
    loads: &[Cost],
    [least, alone, beside]: [&[Duration]; 3],
    reloads: &[f64],
) -> String {
    let Vast { domains, products, columns, policies: count } = vast;
    let mut text = format!(
        "## Deciding in a vast mesh\n\n{} products of {columns} columns in {domains} domains, {count} policies.\n\n\
         | what | |\n|---|---|\n",
        domains * products,
    );
    let mut line = |what: &str, figure: String| {
        let _ = writeln!(text, "| {what} | {figure} |");
    };
    let (wall, cpu) = (median(loads.iter().map(|c| c.wall)), median(loads.iter().map(|c| c.cpu)));
    line("load", format!("{wall:.2} s ({cpu:.2} s of CPU time)"));
    line("memory of the policies", format!("{} MB", policies / 1_000_000));
    let micros = |took: &[Duration]| {
        let of = |hundredths| 1e6 * quantile(took, hundredths);
        format!("{:.0} µs, {:.0} µs, {:.0} µs", of(50), of(99), of(100))
    };
    line("decision without a cache, the fastest of some turns: p50, p99, longest", micros(least));
    line("decision without a cache, one turn: p50, p99, longest", micros(alone));
    line("load while another thread decides", format!("{:.2} s", median(reloads.iter().copied())));
    line("decision while the mesh is loaded: p50, p99, longest", micros(beside));
    text
}
