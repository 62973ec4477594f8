//! From a directory to a mesh: `mesh.yaml`, then every domain's files, then the policies over all of them.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::declared::Declared;
use super::each::each;
use super::{Domain, Mesh, Product, Withheld, alias, domain, standards};
use crate::document::file::{File, Tree};
use crate::document::yaml::Node;
use crate::document::{Finding, Place, Report};
use crate::name::{DomainName, ProductName};
use crate::policy::Policies;
use crate::policy::check::{Sources, Taken};
use crate::policy::condition::Gathering;
use crate::policy::known::Known;

/// A domain whose files have been read; it is served if its report stays without errors.
struct Candidate {
    domain: Option<Domain>,
    report: Report,
}

pub(crate) fn load(tree: Tree<'_>) -> Result<Mesh, Vec<Finding>> {
    // On a thread of the right size.
    let loaded = each(vec![&tree], load_here).and_then(|loaded| loaded.into_iter().next().flatten());
    loaded.unwrap_or_else(|| {
        let mut report = Report::default();
        let place = Place { file: "mesh.yaml".into(), line: 1, column: 1 };
        report.error("mesh/load", &place, "loading stopped: a thread for it could not be started or failed");
        Err(report.into_findings())
    })
}

/// `None` when a thread failed.
fn load_here(tree: &Tree<'_>) -> Option<Result<Mesh, Vec<Finding>>> {
    // The mesh's own scope; beside it what concerns no scope as a whole, a missing password for one.
    let (mut report, mut aside) = (Report::default(), Report::default());
    let declared = match File::read(tree, "mesh.yaml", &mut report).and_then(|file| Node::parse(&file, &mut report)) {
        Some(root) => Declared::read(&root, tree, &mut report, &mut aside),
        None => return Some(Err(report.into_findings())),
    };
    let mut candidates = candidates(tree, &declared, &mut report, &mut aside)?;
    for (name, place, message) in alias::across(candidates.values().filter_map(|c| c.domain.as_ref())) {
        if let Some(candidate) = candidates.get_mut(&name) {
            candidate.report.error("domain/shared-place", &place, message);
        }
    }
    for (name, place, message) in standards::across(candidates.values().filter_map(|c| c.domain.as_ref())) {
        if let Some(candidate) = candidates.get_mut(&name) {
            let noted = candidate.report.warning("standards/reference", &place, message);
            noted.help("give both ends the same type, so that they can be joined");
        }
    }
    let mut reports = BTreeMap::new();
    let mut read = BTreeMap::new();
    for (name, Candidate { domain, report }) in candidates {
        reports.insert(name.clone(), report);
        read.insert(name, domain);
    }
    let out = reports.iter().filter(|(_, report)| report.is_broken()).map(|(name, _)| name.clone()).collect();
    let known = Known::new(&declared, read.values().flatten(), out, &mut report);
    let conditions = Gathering::default();
    let mut taken = Taken::default();
    let sources = read_policies(tree, "policies", &mut report);
    let mesh_wide = sources.check(&known, None, &mut taken, &conditions, &mut report);
    let policies = each(reports.into_iter().collect(), |(name, mut report): (DomainName, Report)| {
        let sources = read_policies(tree, &format!("{name}/policies"), &mut report);
        // What one domain takes is free for the next.
        let rules = sources.check(&known, Some(&name), &mut taken.below(), &conditions, &mut report);
        (name, rules, report)
    })?;
    let (mut rules, mut reports) = (BTreeMap::new(), BTreeMap::new());
    for (name, of_domain, report) in policies {
        rules.insert(name.clone(), of_domain);
        reports.insert(name, report);
    }

    let policies = match report.is_broken() {
        true => None,
        false => Policies::compile(&declared, conditions.close(), mesh_wide, rules, &mut report),
    };
    let broken = report.is_broken();
    let mut findings = report.into_findings();
    findings.extend(aside.into_findings());
    let (mut domains, mut domains_out, mut withheld) = (BTreeMap::new(), BTreeSet::new(), BTreeMap::new());
    for ((name, domain), report) in read.into_iter().zip(reports.into_values()) {
        match domain.filter(|_| !report.is_broken()) {
            Some(mut domain) => {
                withhold(&mut domain, &report, &mut withheld);
                domains.insert(name, domain);
            }
            None => {
                domains_out.insert(name);
            }
        }
        findings.extend(report.into_findings());
    }
    findings.sort_by(|a, b| a.place.cmp(&b.place).then(b.severity.cmp(&a.severity)).then(a.code.cmp(b.code)));
    Some(match policies {
        Some(policies) if !broken => Ok(Mesh {
            dir: tree.dir().to_owned(),
            declared,
            domains,
            domains_out,
            withheld,
            findings,
            policies,
            watch: Arc::default(),
        }),
        _ => Err(findings),
    })
}

/// Takes the products out of a domain that fall short of a standard. Policies may still name them.
fn withhold(domain: &mut Domain, report: &Report, withheld: &mut BTreeMap<ProductName, Vec<Withheld>>) {
    for (name, majors) in &mut domain.products {
        let (out, served): (Vec<Product>, Vec<Product>) =
            std::mem::take(majors).into_iter().partition(|product| report.refusal(product).is_some());
        *majors = served;
        for product in out.into_iter().filter(Product::is_alive) {
            let Some(finding) = report.refusal(&product).cloned() else { continue };
            let (major, status) = (product.contract.major, product.contract.status);
            withheld.entry(name.clone()).or_default().push(Withheld { major, status, finding });
        }
    }
    domain.products.retain(|_, majors| !majors.is_empty());
}

/// Every directory with a `domain.yaml`, read and held against what needs no other domain; `None` when a thread failed.
fn candidates(
    tree: &Tree<'_>,
    declared: &Declared,
    report: &mut Report,
    aside: &mut Report,
) -> Option<BTreeMap<DomainName, Candidate>> {
    let mut domains = Vec::new();
    let names = tree.list("").unwrap_or_else(|error| {
        let place = Place { file: "mesh.yaml".into(), line: 1, column: 1 };
        report.error("file/unreadable", &place, format!("cannot list the mesh directory: {error}"));
        Vec::new()
    });
    for name in names {
        if !tree.has(&format!("{name}/domain.yaml")) {
            continue;
        }
        match name.parse::<DomainName>() {
            Ok(name) => domains.push(name),
            Err(error) => {
                let place = Place { file: format!("{name}/domain.yaml").into(), line: 1, column: 1 };
                aside.error("domain/name", &place, error.to_string()).help("rename the directory");
            }
        }
    }
    let candidates = each(domains, |name: DomainName| {
        let mut report = Report::new(Some(name.clone()));
        let domain = domain::load(tree, &name, declared, &mut report);
        if let Some(domain) = &domain {
            alias::within(domain, declared, &mut report);
            standards::check(domain, declared, &mut report);
        }
        (name, Candidate { domain, report })
    });
    Some(candidates?.into_iter().collect())
}

fn read_policies(tree: &Tree<'_>, folder: &str, report: &mut Report) -> Sources {
    let mut sources = Sources::default();
    let names = tree.list(folder).unwrap_or_else(|error| {
        let place = Place { file: folder.into(), line: 1, column: 1 };
        report.error("file/unreadable", &place, format!("cannot read the directory: {error}"));
        Vec::new()
    });
    for name in names.into_iter().filter(|name| name.ends_with(".cedar")) {
        if let Some(file) = File::read(tree, &format!("{folder}/{name}"), report) {
            sources.add(file);
        }
    }
    sources
}
