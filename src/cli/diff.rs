//! `polder diff`: what breaks whom between two states of a mesh, and who gains or loses access to what.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use clap::{Args, ValueEnum};
use polder_catalog::diff::{AccessChange, ContractChange, Diff as Found, Direction, Outgrown, State, diff};
use polder_catalog::mesh::Mesh;
use polder_catalog::name::ProductRef;
use serde_json::{Value, json};

use super::check::write;
use super::test::{many, policies};
use super::{Failure, Outcome, find, load, terminal};
use crate::observe::{Readers, Reading};

use crate::session::{Engine, Options, Use};

/// How many of those whom a change breaks are named.
const NAMED: usize = 6;

/// Say what changes between two states of a mesh
///
/// Compares contracts (what breaks, and whom) and access: for every combination of groups, purposes and attributes that
/// the policies on a product tell apart, and not for the listed users alone, who gains or loses what. Where there are too
/// many combinations, or policies changed and one of them compares by arithmetic or extension types, it says that access
/// was not compared in full. Of what breaks it names the derived products that read it.
/// Ends with 0 when nothing breaks and nobody's access to what was there changes, with 1 when something does or was not
/// compared in full, and with 2 when it could not run. New products and columns alone are no change to anybody.
#[derive(Args)]
#[command(
    after_help = "Examples:\n  git worktree add ../before main && polder diff ../before .\n  polder diff --format json old/ new/\n  \
                  polder diff --audit /var/log/polder/audit old/ new/"
)]
pub struct Diff {
    /// The directory of the mesh as it was
    #[arg(value_name = "OLD")]
    old: PathBuf,
    /// The directory of the mesh as it is to be
    #[arg(value_name = "NEW")]
    new: PathBuf,
    /// Name who read what breaks, by this audit log or one of its files
    #[arg(long, value_name = "FILE|DIR")]
    audit: Option<PathBuf>,
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
    pub async fn run(self) -> Outcome {
        let Self { old, new, audit, format } = self;
        find(&old)?;
        find(&new)?;
        let (before, after) = (whole(&old)?, whole(&new)?);
        let engine = Engine::start(before, Options::default()).map_err(|error| Failure::Environment(error.message))?;
        let before = engine.mesh();
        let state = |mesh| State::read(mesh).map_err(Failure::Environment);
        let found = diff(&state(&*before)?, &state(&after)?);
        let uses = engine.uses().await?;
        let told = Told { read: audit.map(|path| Read::of(&path, &before)).transpose()?, uses };
        match format {
            Format::Human => write(&human(&found, &told))?,
            Format::Json => write(&as_json(&found, &told).to_string())?,
        }
        let breaks = found.contracts.iter().any(|change| change.breaks);
        let is_partial = !found.cut.is_empty() || !found.opaque.is_empty();
        if breaks || !found.access.is_empty() || is_partial { Err(Failure::Findings) } else { Ok(()) }
    }
}

/// What is known of those whom a change breaks, beside who may read it.
struct Told<'m> {
    read: Option<Read<'m>>,
    uses: Vec<Use>,
}

impl Told<'_> {
    /// The derived products that read what a change breaks.
    fn derived(&self, change: &ContractChange) -> BTreeSet<String> {
        let is_about = |used: &&Use| {
            let path = used.path.join(".");
            let within = |outer: &str, inner: &str| {
                inner.strip_prefix(outer).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
            };
            let column = change.column.as_deref();
            (used.product.to_string() == change.product || used.named.to_string() == change.product)
                && column.is_none_or(|column| within(column, &path) || within(&path, column))
        };
        let derived = self.uses.iter().filter(|_| change.breaks).filter(is_about);
        derived.map(|used| used.by.to_string()).collect()
    }
}

/// What was read, by an audit log.
struct Read<'m> {
    readers: Readers,
    /// The mesh as it was when it was read.
    mesh: &'m Mesh,
}

impl<'m> Read<'m> {
    fn of(path: &Path, mesh: &'m Mesh) -> Result<Self, Failure> {
        let readers = Readers::read(path).map_err(|cause| {
            Failure::Environment(format!("the audit log `{}` cannot be read: {cause}", path.display()))
        })?;
        if readers.passed_over > 0 {
            terminal::say(&format!("{} of the audit log are no records", many(readers.passed_over, "line")));
        }
        Ok(Self { readers, mesh })
    }

    /// Who read what a change breaks.
    fn readers(&self, change: &ContractChange) -> Vec<Reading> {
        if !change.breaks {
            return Vec::new();
        }
        let mut names = vec![change.product.clone()];
        let plain = change.product.rsplit_once('@').and_then(|(name, major)| {
            let (schema, table) = name.split_once('.')?;
            let meant = self.mesh.product(&ProductRef::parse(schema, table).ok()?)?;
            (meant.contract.major.to_string() == major).then(|| name.to_owned())
        });
        names.extend(plain);
        self.readers.of(&names, change.column.as_deref())
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

fn human(found: &Found, told: &Told<'_>) -> String {
    let mut text = String::new();
    let mut section = |title: &str, lines: Vec<String>| {
        if !lines.is_empty() {
            text.push_str(&format!("{title}\n{}\n\n", lines.join("\n")));
        }
    };
    let contracts = grouped(&found.contracts, |change| &change.product, |change| contract(change, told));
    section("contracts", contracts);
    section("versions", found.outgrown.iter().map(outgrown).collect());
    section("access", grouped(&found.access, |change| &change.product, access));
    let cut = found.cut.iter().map(|product| format!("  {product}: there are more combinations than were compared"));
    let opaque = found
        .opaque
        .iter()
        .map(|product| format!("  {product}: its policies changed, and some compare by arithmetic or extension types"));
    section("not compared in full", cut.chain(opaque).collect());
    let breaks = found.contracts.iter().filter(|change| change.breaks).count();
    text + &match (found.contracts.len(), found.access.len()) {
        (0, 0) if !found.cut.is_empty() || !found.opaque.is_empty() => "nothing that was compared changes".to_owned(),
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

fn contract(change: &ContractChange, told: &Told<'_>) -> String {
    let ContractChange { what, breaks, whom, place, .. } = change;
    let mark = if *breaks { "breaks" } else { "      " };
    let mut line = format!("    {mark}  {what} ({place})");
    if !whom.is_empty() {
        let named: Vec<&str> = whom.iter().take(NAMED).map(String::as_str).collect();
        let more = whom.len().saturating_sub(NAMED);
        let more = if more > 0 { format!("; and {more} more") } else { String::new() };
        line.push_str(&format!("\n            read by: {}{more}", named.join("; ")));
    }
    let derived = told.derived(change);
    if !derived.is_empty() {
        line.push_str(&format!("\n            derived from it: {}", Vec::from_iter(derived).join(", ")));
    }
    let read = told.read.as_ref().map(|read| read.readers(change)).unwrap_or_default();
    for Reading { who, statements, last } in &read {
        let times = many(*statements, "statement");
        line.push_str(&format!("\n            was read by {who}: {times}, the last at {last}"));
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

fn as_json(found: &Found, told: &Told<'_>) -> Value {
    let reading =
        |Reading { who, statements, last }: Reading| json!({ "who": who, "statements": statements, "last": last });
    let contracts = found.contracts.iter().map(|change| {
        let read = told.read.as_ref();
        let readers = read.map(|read| Value::from_iter(read.readers(change).into_iter().map(reading)));
        json!({
            "readers": readers,
            "derived": told.derived(change),
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
    json!({ "versions": Value::from_iter(versions), "contracts": Value::from_iter(contracts), "access": Value::from_iter(access), "cut": found.cut, "opaque": found.opaque })
}
