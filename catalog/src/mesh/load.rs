//! From a directory to a mesh: `mesh.yaml`, then every domain's files, then the policies over all of them.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use super::declared::Declared;
use super::{Domain, Mesh, alias, domain, standards};
use crate::document::file::{File, list};
use crate::document::yaml::Node;
use crate::document::{Finding, Place, Report};
use crate::name::DomainName;
use crate::policy::Policies;
use crate::policy::check::{Known, Source, Sources};

/// A domain whose files have been read; it is served if its report stays without errors.
struct Candidate {
    domain: Option<Domain>,
    report: Report,
}

/// Cedar parses and checks by recursion, and its parser does not watch the stack: in a debug build a legal policy can
/// need more than the two megabytes of an ordinary thread.
const STACK: usize = 128 << 20;

pub(crate) fn load(dir: &Path) -> Result<Mesh, Vec<Finding>> {
    let loaded = std::thread::scope(|scope| {
        let thread = std::thread::Builder::new().name("mesh".into()).stack_size(STACK);
        thread.spawn_scoped(scope, || load_here(dir)).ok().and_then(|thread| thread.join().ok())
    });
    loaded.unwrap_or_else(|| {
        let mut report = Report::default();
        let place = Place { file: "mesh.yaml".into(), line: 1, column: 1 };
        report.error("mesh/load", &place, "loading stopped: the thread for it could not be started or failed");
        Err(report.into_findings())
    })
}

fn load_here(dir: &Path) -> Result<Mesh, Vec<Finding>> {
    // The mesh's own scope; beside it what concerns no scope as a whole, a missing password for one.
    let (mut report, mut aside) = (Report::default(), Report::default());
    let dir = std::path::absolute(dir).unwrap_or_else(|_| dir.to_owned());
    let declared = match File::read(&dir, "mesh.yaml", &mut report).and_then(|file| Node::parse(&file, &mut report)) {
        Some(root) => Declared::read(&root, &dir, &mut report, &mut aside),
        None => return Err(report.into_findings()),
    };
    let mut candidates = candidates(&dir, &declared, &mut report, &mut aside);
    for (name, place, message) in alias::across(candidates.values().filter_map(|c| c.domain.as_ref())) {
        if let Some(candidate) = candidates.get_mut(&name) {
            candidate.report.error("domain/shared-place", &place, message);
        }
    }
    for Candidate { domain, report } in candidates.values_mut() {
        if let Some(domain) = domain {
            alias::within(domain, &declared, report);
        }
    }
    let known = Known::new(
        &declared,
        candidates.values().filter_map(|candidate| candidate.domain.as_ref()),
        candidates.iter().filter(|(_, candidate)| candidate.report.is_broken()).map(|(name, _)| name.clone()).collect(),
    );
    let mut mesh_wide = Sources::default();
    read_policies(&dir, "policies", &mut mesh_wide, &mut report);
    let mesh_wide = mesh_wide.check(&known, None, &[], &mut report);

    let mut rules = BTreeMap::new();
    for (name, candidate) in &mut candidates {
        let mut sources = Sources::default();
        read_policies(&dir, &format!("{name}/policies"), &mut sources, &mut candidate.report);
        let own = sources.check(&known, Some(name), &mesh_wide, &mut candidate.report);
        if let Some(domain) = &candidate.domain {
            standards::check(domain, &declared, &mut candidate.report);
        }
        rules.insert(name.clone(), own);
    }

    let policies =
        if report.is_broken() { None } else { Policies::compile(&declared, &mesh_wide, &rules, &mut report) };
    let broken = report.is_broken();
    let mut findings = report.into_findings();
    findings.extend(aside.into_findings());
    let (mut domains, mut domains_out) = (BTreeMap::new(), BTreeSet::new());
    for (name, Candidate { domain, report }) in candidates {
        match domain.filter(|_| !report.is_broken()) {
            Some(domain) => {
                domains.insert(name, domain);
            }
            None => {
                domains_out.insert(name);
            }
        }
        findings.extend(report.into_findings());
    }
    findings.sort_by(|a, b| a.place.cmp(&b.place).then(b.severity.cmp(&a.severity)).then(a.code.cmp(b.code)));
    match policies {
        Some(policies) if !broken => Ok(Mesh { dir, declared, domains, domains_out, findings, policies }),
        _ => Err(findings),
    }
}

/// Every directory with a `domain.yaml`, read.
fn candidates(
    dir: &Path,
    declared: &Declared,
    report: &mut Report,
    aside: &mut Report,
) -> BTreeMap<DomainName, Candidate> {
    let mut candidates = BTreeMap::new();
    let names = list(dir).unwrap_or_else(|error| {
        let place = Place { file: "mesh.yaml".into(), line: 1, column: 1 };
        report.error("file/unreadable", &place, format!("cannot list the mesh directory: {error}"));
        Vec::new()
    });
    for name in names {
        // A link to nowhere is there as well, and must not pass for an absent domain.
        if std::fs::symlink_metadata(dir.join(&name).join("domain.yaml")).is_err() {
            continue;
        }
        match name.parse::<DomainName>() {
            Ok(name) => {
                let mut report = Report::new(Some(name.clone()));
                let domain = domain::load(dir, &name, declared, &mut report);
                candidates.insert(name, Candidate { domain, report });
            }
            Err(error) => {
                let place = Place { file: format!("{name}/domain.yaml").into(), line: 1, column: 1 };
                aside.error("domain/name", &place, error.to_string()).help("rename the directory");
            }
        }
    }
    candidates
}

fn read_policies(dir: &Path, folder: &str, sources: &mut Sources, report: &mut Report) {
    let names = list(&dir.join(folder)).unwrap_or_else(|error| {
        let place = Place { file: folder.into(), line: 1, column: 1 };
        report.error("file/unreadable", &place, format!("cannot read the directory: {error}"));
        Vec::new()
    });
    for name in names.into_iter().filter(|name| name.ends_with(".cedar")) {
        if let Some(file) = File::read(dir, &format!("{folder}/{name}"), report) {
            sources.add(Source::new(file), report);
        }
    }
}
