//! `polder check`: whether a mesh may be served, and why not.

mod derived;
mod fix;
mod live;

use std::collections::HashSet;
use std::path::{Path, PathBuf};

use clap::{Args, ValueEnum};
use polder_catalog::codes::Page;
use polder_catalog::document::{Finding, Place, Severity};
use polder_catalog::mesh::{Mesh, Product};
use polder_catalog::name::{DomainName, ProductRef};
use polder_catalog::proof::{Claim, NoClaim, examine};
use serde_json::json;

use super::test::many;
use super::{Failure, Outcome, find, grave};
use crate::session::{Engine, Options};

/// Say whether a mesh may be served, and why not
///
/// Reads every file of the mesh and reports what is wrong with it: structure, contracts, standards, policies, secrets.
/// Opens every table and holds it against its contract: columns, types, keys, partitions, NULLs, freshness. Looks at some
/// rows of each for what the tags do not say, and tells no value of them. A lake that does not answer is reported, and
/// holds up no other.
/// Proves for everybody who could ever ask that nobody reads a tag's values but those whom it names, and says which
/// policies it overrules.
/// Ends with 0 when nothing is kept from being served and every claim is proved, with 1 when not, and with 2 when it could
/// not run.
#[derive(Args)]
#[command(after_help = "Examples:\n  polder check .\n  polder check --offline .\n  \
                  polder check --format sarif mesh/ > findings.sarif\n  \
                  polder check --claim 'no one outside fraud-team can read pii.card' .\n  \
                  polder check --offline --fix .")]
pub struct Check {
    /// The mesh directory
    #[arg(value_name = "DIR")]
    dir: PathBuf,
    /// Look at the files alone and open no catalog
    #[arg(long)]
    offline: bool,
    /// How many rows of each table are looked at for what its tags do not say; 0 looks at metadata alone
    #[arg(long, value_name = "ROWS", default_value_t = 1000, conflicts_with = "offline")]
    sample: usize,
    /// Write the tags that derived columns inherit and lack into their contracts first; all else in the files stays as it is
    #[arg(long)]
    fix: bool,
    /// How findings are written
    #[arg(long, value_enum, default_value_t = Format::Human)]
    format: Format,
    /// Prove this of the mesh too: `no one [outside GROUP, …] can read|see TAG|DOMAIN.PRODUCT[.COLUMN]`
    #[arg(long = "claim", value_name = "CLAIM")]
    claims: Vec<String>,
}

/// How findings are written.
#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// For people
    Human,
    /// One JSON array
    Json,
    /// For code review
    Sarif,
}

impl Check {
    /// Runs the command.
    pub async fn run(self) -> Outcome {
        let Self { dir, offline, sample, fix, format, claims } = self;
        find(&dir)?;
        if fix {
            fix::tags(&dir).await?;
        }
        let (mut findings, summary) = match Mesh::load(&dir) {
            Ok(mesh) => looked_into(mesh, &claims, offline, sample).await?,
            Err(findings) => (findings, "the mesh cannot be served".to_owned()),
        };
        findings = findings.into_iter().map(Finding::helped).collect();
        in_order(&mut findings);
        match format {
            Format::Human => {
                let mut text: String = findings.iter().map(|finding| human(&dir, finding) + "\n\n").collect();
                text.push_str(&summary);
                write(&text)?;
            }
            Format::Json => write(&serde_json::Value::from_iter(findings.iter().map(as_json)).to_string())?,
            Format::Sarif => write(&sarif(&findings).to_string())?,
        }
        if grave(&findings) { Err(Failure::Findings) } else { Ok(()) }
    }
}

/// What is found in a mesh, and in a line what of it can be served: by its files, by an engine in the queries of derived
/// products, and unless it is offline in the tables.
async fn looked_into(
    mesh: Mesh,
    claims: &[String],
    offline: bool,
    sample: usize,
) -> Result<(Vec<Finding>, String), Failure> {
    let mut findings = mesh.findings().to_vec();
    findings.extend(proved(&mesh, claims)?);
    let derives = mesh.products().any(|(_, product)| product.contract.query().is_some());
    if offline && !derives {
        let summary = summary(&mesh, &findings);
        return Ok((findings, summary));
    }
    let engine = Engine::start(mesh, Options::default())?;
    findings.extend(derived::flaws(&engine, offline).await?);
    let mut said = String::new();
    if !offline {
        let (of_tables, looked) = live::found(&engine, sample).await;
        findings.extend(of_tables);
        said = looked;
    }
    let summary = summary(&engine.mesh(), &findings) + &said;
    Ok((findings, summary))
}

/// What of a mesh can be served, as far as nothing was found against it.
fn summary(mesh: &Mesh, findings: &[Finding]) -> String {
    let errors = || findings.iter().filter(|finding| finding.severity == Severity::Error);
    let products: HashSet<&ProductRef> = errors().filter_map(|finding| finding.product.as_ref()).collect();
    let whole = errors().filter(|finding| finding.product.is_none());
    let domains: HashSet<&DomainName> = whole.filter_map(|finding| finding.domain.as_ref()).collect();
    let is_served = |product: &Product| {
        let major = |major| ProductRef { product: product.name.clone(), major };
        let named = [None, Some(product.contract.major)].map(major);
        !domains.contains(product.name.domain()) && !named.iter().any(|name| products.contains(name))
    };
    let served = mesh.products().filter(|(_, product)| is_served(product)).count();
    let domains = mesh.domains().filter(|domain| !domains.contains(&domain.name)).count();
    format!("mesh `{}`: {} and {} can be served", mesh.name(), many(domains, "domain"), many(served, "product"))
}

/// By files and lines.
fn in_order(findings: &mut [Finding]) {
    findings.sort_by(|a, b| a.place.cmp(&b.place).then(b.severity.cmp(&a.severity)).then(a.code.cmp(b.code)));
}

/// What the prover finds: of the tags, of the standards, and of these claims. One that cannot be read of a mesh with errors
/// is one more of them: what it names may be out for another.
fn proved(mesh: &Mesh, claims: &[String]) -> Result<Vec<Finding>, Failure> {
    let (mut read, mut unread) = (Vec::new(), Vec::new());
    for text in claims {
        match Claim::parse(text, mesh) {
            Ok(claim) => read.push(claim),
            Err(fault) if grave(mesh.findings()) => unread.push(fault.finding(Place::top())),
            Err(NoClaim { message, help }) => {
                let help = help.map(|help| format!("\n  help: {help}")).unwrap_or_default();
                return Err(Failure::Environment(format!("{message}{help}")));
            }
        }
    }
    unread.extend(examine(mesh, &read).findings());
    Ok(unread)
}

/// Writes a line to stdout.
pub fn write(text: &str) -> std::io::Result<()> {
    use std::io::Write;
    writeln!(std::io::stdout().lock(), "{text}")
}

/// A finding as a compiler shows it: what, where, the line with a caret, help.
pub fn human(dir: &Path, finding: &Finding) -> String {
    let Finding { code, severity, place, domain, product, message, help } = finding;
    let mut text = format!("{}[{code}]: {message}\n  --> {place}", level(*severity));
    let line = std::fs::read_to_string(dir.join(place.file.as_ref()))
        .ok()
        .and_then(|file| file.lines().nth((place.line as usize).saturating_sub(1)).map(str::to_owned));
    // A line with a literal secret is not shown again.
    if let Some(line) = line.filter(|line| !line.trim().is_empty() && !code.starts_with("secret/")) {
        let number = place.line.to_string();
        let margin = " ".repeat(number.len());
        let before: String = line
            .chars()
            .take((place.column as usize).saturating_sub(1))
            .map(|letter| if letter == '\t' { '\t' } else { ' ' })
            .collect();
        text.push_str(&format!("\n {margin} |\n {number} | {line}\n {margin} | {before}^"));
    }
    if let Some(help) = help {
        text.push_str(&format!("\n  help: {help}"));
    }
    match (product, domain, severity) {
        (Some(product), _, Severity::Error) => {
            text.push_str(&format!("\n  note: product `{product}` is not served until this is mended"));
        }
        (None, Some(domain), Severity::Error) => {
            text.push_str(&format!("\n  note: domain `{domain}` is not served until this is mended"));
        }
        _ => {}
    }
    text
}

fn level(severity: Severity) -> &'static str {
    match severity {
        Severity::Error => "error",
        Severity::Warning => "warning",
        Severity::Note => "note",
    }
}

/// A finding as an object of JSON.
pub fn as_json(finding: &Finding) -> serde_json::Value {
    json!({
        "code": finding.code,
        "severity": level(finding.severity),
        "file": &*finding.place.file,
        "line": finding.place.line,
        "column": finding.place.column,
        "domain": finding.domain.as_ref().map(|domain| domain.as_str()),
        "product": finding.product.as_ref().map(ToString::to_string),
        "message": finding.message,
        "help": finding.help,
    })
}

/// The page of a code as code review shows it.
fn rule(code: &str) -> serde_json::Value {
    match polder_catalog::codes::find(code) {
        Ok(Page { means, why, write, .. }) => json!({
            "id": code,
            "shortDescription": { "text": means },
            "fullDescription": { "text": why },
            "help": { "text": write },
        }),
        Err(_) => json!({ "id": code }),
    }
}

/// Findings as a log that code review shows.
pub fn sarif(findings: &[Finding]) -> serde_json::Value {
    let results: Vec<_> = findings
        .iter()
        .map(|finding| {
            let text = match &finding.help {
                Some(help) => format!("{}\n{help}", finding.message),
                None => finding.message.clone(),
            };
            json!({
                "ruleId": finding.code,
                "level": level(finding.severity),
                "message": { "text": text },
                "locations": [{ "physicalLocation": {
                    "artifactLocation": { "uri": &*finding.place.file },
                    "region": { "startLine": finding.place.line.max(1), "startColumn": finding.place.column.max(1) },
                } }],
            })
        })
        .collect();
    let mut codes: Vec<&str> = findings.iter().map(|finding| finding.code).collect();
    codes.sort_unstable();
    codes.dedup();
    let rules: Vec<_> = codes.into_iter().map(rule).collect();
    json!({
        "$schema": "https://json.schemastore.org/sarif-2.1.0.json",
        "version": "2.1.0",
        "runs": [{
            "tool": { "driver": { "name": "polder", "version": env!("CARGO_PKG_VERSION"), "rules": rules } },
            "results": results,
        }],
    })
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests")]
mod tests {
    use super::*;

    const MESH: &str = "mesh: small\ngroups: [analysts, privacy]\nstandards:\n  severity: { identifiers: error }\n  \
                        claims: [\"no one outside analysts can read shop.orders.total\"]\ntags:\n  \
                        pii: { unmasked_for: [privacy] }\n  id.customer: { type: string }\n";
    const DOMAIN: &str = "name: shop\nkind: shared\nowner: { team: analysts }\ncatalog: { type: metadata, tables: { s.t: \"s3://b/v1.metadata.json\" } }\n";
    const PEOPLE: &str = "apiVersion: v3.1.0\nkind: DataContract\nid: p\nversion: 1.0.0\nstatus: active\nschema:\n  \
                          - name: people\n    physicalName: s.p\n    properties:\n      \
                          - { name: buyer, physicalType: long, tags: [id.customer] }\n";
    const ORDERS: &str = "apiVersion: v3.1.0\nkind: DataContract\nid: o\nversion: 1.0.0\nstatus: active\nschema:\n  \
                          - name: orders\n    physicalName: s.o\n    properties:\n      \
                          - { name: total, physicalType: long }\n      - { name: mail, physicalType: string, tags: [pii] }\n";
    const RULES: &str = "@id(\"seen\") permit (principal, action == Action::\"discover\", resource);\n\
                         @id(\"all\") permit (principal, action == Action::\"read\", resource);\n";

    /// What a mesh with a bit of everything wrong is told.
    async fn told() -> (tempfile::TempDir, Vec<Finding>) {
        let dir = tempfile::tempdir().unwrap();
        for (name, text) in [
            ("mesh.yaml", MESH),
            ("shop/domain.yaml", DOMAIN),
            ("shop/products/people.odcs.yaml", PEOPLE),
            ("shop/products/orders.odcs.yaml", ORDERS),
            ("shop/policies/all.cedar", RULES),
        ] {
            let path = dir.path().join(name);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        }
        let mesh = Mesh::load(dir.path()).ok().unwrap();
        let mut found = [mesh.findings(), &proved(&mesh, &[]).ok().unwrap()].concat();
        in_order(&mut found);
        (dir, found)
    }

    #[tokio::test]
    async fn people_are_told_as_by_a_compiler() {
        let (dir, found) = told().await;
        let text: Vec<String> = found.iter().map(|finding| human(dir.path(), finding)).collect();
        assert_eq!(text.join("\n\n"), include_str!("check/told.txt").trim_end());
    }

    #[tokio::test]
    async fn programs_are_told_the_same() {
        let (_dir, found) = told().await;
        for (finding, told) in found.iter().zip(found.iter().map(as_json)) {
            assert_eq!(told["code"], finding.code);
            assert_eq!(told["line"], finding.place.line);
            assert!(["error", "warning", "note"].contains(&told["severity"].as_str().unwrap()));
            assert!(told["message"].is_string() && told["file"].is_string() && told["column"].is_u64());
        }
        let refused = found.iter().map(as_json).find(|told| told["code"] == "standards/identifier").unwrap();
        assert_eq!(refused["product"], "shop.people@1");
    }

    /// What the SARIF 2.1.0 schema asks of a log like ours: the keys that must be there, and the values that may.
    #[tokio::test]
    async fn code_review_gets_a_log_of_the_right_structure() {
        let (_dir, found) = told().await;
        let log = sarif(&found);
        assert_eq!(log["version"], "2.1.0");
        let driver = &log["runs"][0]["tool"]["driver"];
        assert_eq!(driver["name"], "polder");
        let rules: Vec<&str> =
            driver["rules"].as_array().unwrap().iter().map(|rule| rule["id"].as_str().unwrap()).collect();
        for rule in driver["rules"].as_array().unwrap() {
            for key in ["shortDescription", "fullDescription", "help"] {
                assert!(!rule[key]["text"].as_str().unwrap().is_empty(), "{rule}");
            }
        }
        let results = log["runs"][0]["results"].as_array().unwrap();
        assert_eq!(results.len(), found.len());
        for result in results {
            assert!(rules.contains(&result["ruleId"].as_str().unwrap()), "{result}");
            assert!(["none", "note", "warning", "error"].contains(&result["level"].as_str().unwrap()));
            assert!(result["message"]["text"].is_string());
            let place = &result["locations"][0]["physicalLocation"];
            let uri = place["artifactLocation"]["uri"].as_str().unwrap();
            assert!(!uri.starts_with('/') && !uri.contains('\\'), "{uri}");
            assert!(place["region"]["startLine"].as_u64().unwrap() >= 1);
            assert!(place["region"]["startColumn"].as_u64().unwrap() >= 1);
        }
    }
}
