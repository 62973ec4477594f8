//! `polder check`: whether a mesh may be served, and why not.

use std::path::{Path, PathBuf};

use clap::{Args, ValueEnum};
use polder_catalog::document::{Finding, Severity};
use polder_catalog::mesh::Mesh;
use serde_json::json;

use super::{Failure, Outcome, find, grave};

/// Say whether a mesh may be served, and why not
///
/// Reads every file of the mesh and reports what is wrong with it: structure, contracts, policies, secrets.
/// Ends with 0 when nothing is kept from being served, with 1 when something is, and with 2 when it could not run.
#[derive(Args)]
#[command(after_help = "Examples:\n  polder check .\n  polder check --format sarif mesh/ > findings.sarif")]
pub struct Check {
    /// The mesh directory
    #[arg(value_name = "DIR")]
    dir: PathBuf,
    /// Look at the files alone and open no catalog
    #[arg(long)]
    offline: bool,
    /// How findings are written
    #[arg(long, value_enum, default_value_t = Format::Human)]
    format: Format,
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
    pub fn run(self) -> Outcome {
        let Self { dir, offline: _, format } = self;
        find(&dir)?;
        let (findings, summary) = match Mesh::load(&dir) {
            Ok(mesh) => {
                let summary = format!(
                    "mesh `{}`: {} domains and {} products can be served",
                    mesh.name(),
                    mesh.domains().count(),
                    mesh.products().count()
                );
                (mesh.findings().to_vec(), summary)
            }
            Err(findings) => (findings, "the mesh cannot be served".to_owned()),
        };
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

/// Writes a line to stdout.
pub fn write(text: &str) -> std::io::Result<()> {
    use std::io::Write;
    writeln!(std::io::stdout().lock(), "{text}")
}

/// A finding as a compiler shows it: what, where, the line with a caret, help.
pub fn human(dir: &Path, finding: &Finding) -> String {
    let Finding { code, severity, place, domain, message, help } = finding;
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
    if let (Some(domain), Severity::Error) = (domain, severity) {
        text.push_str(&format!("\n  note: domain `{domain}` is not served until this is mended"));
    }
    text
}

fn level(severity: Severity) -> &'static str {
    match severity {
        Severity::Error => "error",
        Severity::Warning => "warning",
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
        "message": finding.message,
        "help": finding.help,
    })
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
    let rules: Vec<_> = codes.into_iter().map(|code| json!({ "id": code })).collect();
    json!({
        "$schema": "https://json.schemastore.org/sarif-2.1.0.json",
        "version": "2.1.0",
        "runs": [{
            "tool": { "driver": { "name": "polder", "version": env!("CARGO_PKG_VERSION"), "rules": rules } },
            "results": results,
        }],
    })
}
