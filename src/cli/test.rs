//! `polder test`: whether policies decide what their domains expect.

mod query;

use std::path::PathBuf;

use clap::Args;
use polder_catalog::document::{Finding, Severity};
use polder_catalog::mesh::Mesh;
use polder_catalog::policy::Reason;
use polder_catalog::trial::{Asked, Failure, Trial, Trials};

use super::check::{Format, as_json, human, sarif, write};
use super::{Failure as Failed, Outcome, find, grave, load};

/// Run the policy tests of a mesh
///
/// Reads `<domain>/tests/*.yaml` and holds what they expect against what the policies decide. Contracts and policies
/// are enough: no catalog and no table is opened, and a query is planned and not run.
/// Ends with 0 when every expectation holds, with 1 when one does not or a test or a domain is broken, and with 2 when
/// it could not run.
#[derive(Args)]
#[command(after_help = "Examples:\n  polder test .\n  polder test --format sarif mesh/ > failures.sarif")]
pub struct Test {
    /// The mesh directory
    #[arg(value_name = "DIR")]
    dir: PathBuf,
    /// How failures are written
    #[arg(long, value_enum, default_value_t = Format::Human)]
    format: Format,
}

/// A failure of one test, with whom it asks as.
struct Found {
    who: String,
    failure: Failure,
}

impl Test {
    /// Runs the command.
    pub async fn run(self) -> Outcome {
        let Self { dir, format } = self;
        find(&dir)?;
        let mesh = load(&dir)?;
        let Trials { trials, mut findings } = Trials::read(&mesh, &dir);
        let out: Vec<String> = mesh.domains_out().map(|domain| format!("`{domain}`")).collect();
        // Why they are out is told on stderr already.
        let broken = !out.is_empty() || grave(&findings);
        let name = mesh.name().to_owned();
        let found = failures(mesh, &trials).await?;
        match format {
            Format::Human => {
                let mut text: String = findings.iter().map(|finding| human(&dir, finding) + "\n\n").collect();
                text.extend(found.iter().map(|found| line(found) + "\n"));
                if !found.is_empty() {
                    text.push('\n');
                }
                text.push_str(&summary(&name, &trials, found.len(), &findings, &out));
                write(&text)?;
            }
            Format::Json | Format::Sarif => {
                findings.extend(found.iter().map(finding));
                match format {
                    Format::Sarif => write(&sarif(&findings).to_string())?,
                    _ => write(&serde_json::Value::from_iter(findings.iter().map(as_json)).to_string())?,
                }
            }
        }
        if broken || !found.is_empty() { Err(Failed::Findings) } else { Ok(()) }
    }
}

/// What does not hold, in the order of the tests.
async fn failures(mesh: Mesh, trials: &[Trial]) -> Result<Vec<Found>, Failed> {
    let mut found: Vec<(usize, Found)> = Vec::new();
    let mut queries = Vec::new();
    for (place, trial) in trials.iter().enumerate() {
        match &trial.asked {
            Asked::Product(product) => {
                let failures = product.hold(&mesh, &trial.principal).into_iter();
                found.extend(failures.map(|failure| (place, Found { who: trial.who.clone(), failure })));
            }
            Asked::Query(query) => queries.push((place, trial, query)),
        }
    }
    if !queries.is_empty() {
        let planner = query::Planner::start(mesh)?;
        for (place, trial, query) in queries {
            let failures = planner.hold(&trial.place, &trial.principal, query).await.into_iter();
            found.extend(failures.map(|failure| (place, Found { who: trial.who.clone(), failure })));
        }
    }
    found.sort_by_key(|(place, _)| *place);
    Ok(found.into_iter().map(|(_, found)| found).collect())
}

/// A failure in one line.
fn line(found: &Found) -> String {
    let Found { who, failure: Failure { place, what, expected, got, because, .. } } = found;
    let mut line = format!("{place}: {what} as {who}: expected {expected}, got {got}");
    if !because.is_empty() {
        line.push_str(&format!(", by {}", policies(because)));
    } else if got == "denied" {
        line.push_str(", since no policy permits it");
    }
    line
}

/// The policies behind a decision, each with its place.
pub(super) fn policies(because: &[Reason]) -> String {
    because.iter().map(|reason| format!("`{}` ({})", reason.policy, reason.place)).collect::<Vec<_>>().join(", ")
}

fn finding(found: &Found) -> Finding {
    let Found { who, failure } = found;
    let Failure { code, place, what, expected, got, because } = failure;
    Finding {
        code,
        severity: Severity::Error,
        place: place.clone(),
        domain: None,
        product: None,
        message: format!("{what} as {who}: expected {expected}, got {got}"),
        help: (!because.is_empty()).then(|| format!("decided by {}", policies(because))),
    }
}

fn summary(mesh: &str, trials: &[Trial], failed: usize, findings: &[Finding], out: &[String]) -> String {
    let expectations: usize = trials.iter().map(Trial::expectations).sum();
    let mut text = format!("mesh `{mesh}`: {}, {}", many(trials.len(), "test"), many(expectations, "expectation"));
    text.push_str(&match failed {
        0 if trials.is_empty() => String::new(),
        0 => ", all hold".to_owned(),
        failed => format!(", {failed} failed"),
    });
    if !findings.is_empty() {
        text.push_str(&format!("; {} in the tests themselves", many(findings.len(), "fault")));
    }
    if !out.is_empty() {
        text.push_str(&format!("; not run, since their domains are not served: {}", out.join(", ")));
    }
    text
}

/// `1 test`, `2 tests`.
pub(super) fn many(count: usize, what: &str) -> String {
    if count == 1 { format!("1 {what}") } else { format!("{count} {what}s") }
}
