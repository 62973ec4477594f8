//! `polder diff`: what breaks whom between two states of a mesh, and who gains or loses access to what.

use std::path::{Path, PathBuf};

use clap::{Args, ValueEnum};
use polder_catalog::diff::{AccessChange, ContractChange, Diff as Found, Direction, Outgrown, State, diff};
use polder_catalog::mesh::Mesh;
use serde_json::{Value, json};

use super::check::write;
use super::test::{many, policies};
use super::{Failure, Outcome, find, load};

/// How many of those whom a change breaks are named.
const NAMED: usize = 6;

/// Say what changes between two states of a mesh
///
/// Compares contracts (what breaks, and whom) and access: for every combination of groups, purposes and attributes that
/// the policies on a product name, and not for the listed users alone, who gains or loses what.
/// Ends with 0 when nothing breaks and nobody's access to what was there changes, with 1 when something does, and with
/// 2 when it could not run. New products and columns alone are no change to anybody.
#[derive(Args)]
#[command(
    after_help = "Examples:\n  git worktree add ../before main && polder diff ../before .\n  polder diff --format json old/ new/"
)]
pub struct Diff {
    /// The directory of the mesh as it was
    #[arg(value_name = "OLD")]
    old: PathBuf,
    /// The directory of the mesh as it is to be
    #[arg(value_name = "NEW")]
    new: PathBuf,
    /// How changes are written
    #[arg(long, value_enum, default_value_t = Format::Human)]
    format: Format,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Format {
    /// For people
    Human,
    /// One JSON object
    Json,
}

impl Diff {
    /// Runs the command.
    pub fn run(self) -> Outcome {
        let Self { old, new, format } = self;
        find(&old)?;
        find(&new)?;
        let (before, after) = (whole(&old)?, whole(&new)?);
        let state = |mesh| State::read(mesh).map_err(Failure::Environment);
        let found = diff(&state(&before)?, &state(&after)?);
        match format {
            Format::Human => write(&human(&found))?,
            Format::Json => write(&as_json(&found).to_string())?,
        }
        let breaks = found.contracts.iter().any(|change| change.breaks);
        if breaks || !found.access.is_empty() || !found.cut.is_empty() { Err(Failure::Findings) } else { Ok(()) }
    }
}

/// A mesh of which every domain is served: what is out could change without being seen.
fn whole(dir: &Path) -> Result<Mesh, Failure> {
    let mesh = load(dir)?;
    let out: Vec<String> = mesh.domains_out().map(|domain| format!("`{domain}`")).collect();
    if out.is_empty() {
        return Ok(mesh);
    }
    let message =
        format!("in `{}` these domains are not served, so they cannot be compared: {}", dir.display(), out.join(", "));
    Err(Failure::Environment(message))
}

// ---- for people ----

fn human(found: &Found) -> String {
    let mut text = String::new();
    let mut section = |title: &str, lines: Vec<String>| {
        if !lines.is_empty() {
            text.push_str(&format!("{title}\n{}\n\n", lines.join("\n")));
        }
    };
    section("contracts", grouped(&found.contracts, |change| &change.product, contract));
    section("versions", found.outgrown.iter().map(outgrown).collect());
    section("access", grouped(&found.access, |change| &change.product, access));
    let cut = found.cut.iter().map(|product| format!("  {product}: there are more combinations than were compared"));
    section("not compared in full", cut.collect());
    let breaks = found.contracts.iter().filter(|change| change.breaks).count();
    text + &match (found.contracts.len(), found.access.len()) {
        (0, 0) => "nothing changes".to_owned(),
        (contracts, access) => format!(
            "{}, of which {breaks} break; {}",
            many(contracts, "contract change"),
            many(access, "access change"),
        ),
    }
}

/// The lines of changes, under the names of their products.
fn grouped<T>(changes: &[T], product: impl Fn(&T) -> &String, line: impl Fn(&T) -> String) -> Vec<String> {
    let mut lines = Vec::new();
    let mut last = None;
    for change in changes {
        if last != Some(product(change)) {
            lines.push(format!("  {}", product(change)));
            last = Some(product(change));
        }
        lines.push(line(change));
    }
    lines
}

fn contract(change: &ContractChange) -> String {
    let ContractChange { what, breaks, whom, place, .. } = change;
    let mark = if *breaks { "breaks" } else { "      " };
    let mut line = format!("    {mark}  {what} ({place})");
    if !whom.is_empty() {
        let named: Vec<&str> = whom.iter().take(NAMED).map(String::as_str).collect();
        let more = whom.len().saturating_sub(NAMED);
        let more = if more > 0 { format!("; and {more} more") } else { String::new() };
        line.push_str(&format!("\n            read by: {}{more}", named.join("; ")));
    }
    line
}

fn outgrown(found: &Outgrown) -> String {
    let Outgrown { product, version, needs, breaks, place } = found;
    let how = if *breaks { ", in a file of its own beside this one" } else { "" };
    format!("  {product}: {version} is not enough: this needs {needs}{how} ({place})")
}

fn direction(direction: Direction) -> &'static str {
    match direction {
        Direction::Gains => "gains",
        Direction::Loses => "loses",
        Direction::Changes => "changes",
    }
}

fn access(change: &AccessChange) -> String {
    let AccessChange { who, direction: way, what, from, to, because, .. } = change;
    let mut line = format!("    {:<7} {who}: {} ({from} -> {to})", direction(*way), what.join(", "));
    if !because.is_empty() {
        line.push_str(&format!(", by {}", policies(because)));
    }
    line
}

// ---- for programs ----

fn as_json(found: &Found) -> Value {
    let contracts = found.contracts.iter().map(|change| {
        json!({
            "product": change.product,
            "what": change.what,
            "breaks": change.breaks,
            "whom": change.whom,
            "file": &*change.place.file,
            "line": change.place.line,
            "column": change.place.column,
        })
    });
    let access = found.access.iter().map(|change| {
        let because = change
            .because
            .iter()
            .map(|reason| json!({ "policy": &*reason.policy, "file": &*reason.place.file, "line": reason.place.line }));
        json!({
            "product": change.product,
            "who": change.who,
            "direction": direction(change.direction),
            "what": change.what,
            "from": change.from,
            "to": change.to,
            "policies": Value::from_iter(because),
        })
    });
    let versions = found.outgrown.iter().map(|found| {
        json!({
            "product": found.product,
            "version": found.version,
            "needs": found.needs,
            "breaks": found.breaks,
            "file": &*found.place.file,
            "line": found.place.line,
        })
    });
    json!({ "versions": Value::from_iter(versions), "contracts": Value::from_iter(contracts), "access": Value::from_iter(access), "cut": found.cut })
}
