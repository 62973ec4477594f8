//! From files to a mesh: `mesh.yaml`, then every domain's files, then the policies over all of them.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::declared::Declared;
use super::each::each;
use super::versions::Versions;
use super::{Domain, Mesh, Product, Withheld, alias, domain, standards};
use crate::document::file::{File, Tree};
use crate::document::yaml::Node;
use crate::document::{Finding, Place, Report, nearest, quote};
use crate::name::{DomainName, ProductName};
use crate::policy::Policies;
use crate::policy::check::{Sources as Written, Taken};
use crate::policy::condition::Gathering;
use crate::policy::known::Known;

/// From where each part of a mesh is read.
pub(super) struct Sources<'t> {
    /// `mesh.yaml` and the mesh-wide policies.
    pub mesh: Tree<'t>,
    /// Every domain, and nothing for one that is out whatever its files say.
    pub domains: BTreeMap<DomainName, Option<Tree<'t>>>,
    /// Domains that may declare more than what is read of them, so that the mesh's policies may name more than is known.
    pub beyond: BTreeSet<DomainName>,
}

/// What was read, and what is wrong with it.
#[derive(Default)]
pub(super) struct Loaded {
    /// The mesh with the domains that can be served; nothing when its own files are broken.
    pub mesh: Option<Mesh>,
    /// What is wrong with its own files.
    pub of_mesh: Vec<Finding>,
    /// What is wrong with each domain.
    pub of_domains: BTreeMap<DomainName, Vec<Finding>>,
    /// Whether `mesh.yaml` is broken by itself, whatever the domains are.
    pub undeclared: bool,
}

/// A domain whose files have been read; it is served if its report stays without errors.
struct Candidate {
    domain: Option<Domain>,
    report: Report,
}

/// Loads on the calling thread, which needs a large stack. `None` when another thread failed.
pub(super) fn load(sources: &Sources<'_>) -> Option<Loaded> {
    // The mesh's own scope; beside it what concerns no scope as a whole, a missing password for one.
    let (mut report, mut aside) = (Report::default(), Report::default());
    let tree = &sources.mesh;
    let declared = match File::read(tree, "mesh.yaml", &mut report).and_then(|file| Node::parse(&file, &mut report)) {
        Some(root) => Declared::read(&root, tree, &mut report, &mut aside),
        None => return Some(Loaded { of_mesh: report.into_findings(), undeclared: true, ..Loaded::default() }),
    };
    let undeclared = report.is_broken();
    let custom = standards::Custom::read(tree, &mut report);
    let mut candidates = candidates(sources, &declared, &custom)?;
    for (name, place, message) in alias::across(candidates.values().filter_map(|c| c.domain.as_ref())) {
        if let Some(candidate) = candidates.get_mut(&name) {
            candidate.report.error("domain/shared-place", &place, message);
        }
    }
    for misfit in standards::across(candidates.values().filter_map(|c| c.domain.as_ref()), &declared) {
        if let Some(candidate) = candidates.get_mut(&misfit.domain) {
            candidate.report.warning("standards/reference", &misfit.place, misfit.message).help(misfit.help);
        }
    }
    let mut reports = BTreeMap::new();
    let mut read = BTreeMap::new();
    for (name, Candidate { domain, report }) in candidates {
        reports.insert(name.clone(), report);
        read.insert(name, domain);
    }
    let unread = sources.domains.iter().filter(|(_, tree)| tree.is_none()).map(|(name, _)| name.clone());
    let mut domains_out: BTreeSet<DomainName> = unread.collect();
    let broken = reports.iter().filter(|(_, report)| report.is_broken()).map(|(name, _)| name.clone());
    let out = domains_out.iter().cloned().chain(broken).collect();
    let read_domains: Vec<&Domain> = read.values().flatten().collect();
    standards::check_unused(&declared, &read_domains, &out, &mut report);
    let known = Known::new(&declared, read.values().flatten(), out, &sources.beyond, &mut report);
    let conditions = Gathering::default();
    let mut taken = Taken::default();
    let mesh_wide = read_policies(tree, "policies", &mut report);
    let mesh_wide = mesh_wide.check(&known, None, &mut taken, &conditions, &mut report);
    let policies = each(reports.into_iter().collect(), |(name, mut report): (DomainName, Report)| {
        let tree = sources.domains.get(&name).copied().flatten();
        let of_domain = tree.map(|tree| read_policies(&tree, &format!("{name}/policies"), &mut report));
        // What one domain takes is free for the next.
        let rules =
            of_domain.unwrap_or_default().check(&known, Some(&name), &mut taken.below(), &conditions, &mut report);
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
    let mut of_mesh = report.into_findings();
    of_mesh.extend(aside.into_findings());
    let (mut domains, mut of_domains, mut withheld) = (BTreeMap::new(), BTreeMap::new(), BTreeMap::new());
    for ((name, domain), report) in read.into_iter().zip(reports.into_values()) {
        match domain.filter(|_| !report.is_broken()) {
            Some(mut domain) => {
                withhold(&mut domain, &report, &mut withheld);
                domains.insert(name.clone(), domain);
            }
            None => {
                domains_out.insert(name.clone());
            }
        }
        of_domains.insert(name, report.into_findings());
    }
    let mesh = policies.filter(|_| !broken).map(|policies| Mesh {
        dir: tree.dir().to_owned(),
        declared,
        domains,
        domains_out,
        withheld,
        findings: Vec::new(),
        policies,
        watch: Arc::default(),
        versions: Versions::default(),
    });
    Some(Loaded { mesh, of_mesh, of_domains, undeclared })
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

/// Every domain, read and held against what needs no other domain; `None` when a thread failed.
fn candidates(
    sources: &Sources<'_>,
    declared: &Declared,
    custom: &standards::Custom,
) -> Option<BTreeMap<DomainName, Candidate>> {
    let trees = sources.domains.iter().filter_map(|(name, tree)| Some((name, (*tree)?))).collect();
    let candidates = each(trees, |(name, tree): (&DomainName, Tree<'_>)| {
        let mut report = Report::new(Some(name.clone()));
        let loaded = domain::load(&tree, name, declared, &mut report);
        if let Some((domain, owner)) = &loaded {
            alias::within(domain, declared, &mut report);
            standards::check(domain, declared, &mut report);
            custom.check(domain, &mut report);
            unheard(domain, owner, declared, &mut report);
        }
        (name.clone(), Candidate { domain: loaded.map(|(domain, _)| domain), report })
    });
    Some(candidates?.into_iter().collect())
}

/// Notes that nobody is told why a product is withheld: who asks is told as a member of the owner's team. As long as all
/// are served a team may be called as it likes.
fn unheard(domain: &Domain, owner: &Place, declared: &Declared, report: &mut Report) {
    let mut alive = domain.products.values().flatten().filter(|product| product.is_alive());
    let Some(product) = alive.find(|product| report.refusal(product).is_some()) else { return };
    let team = &domain.owner.team;
    if declared.groups.contains(team) {
        return;
    }
    let message = format!("`{}` is withheld, and the team {} is no group that is told why", product.name, quote(team));
    let instead = match nearest(team, declared.groups.iter().map(String::as_str)) {
        Some(near) => format!("did you mean `{near}`?"),
        None => "name one of the `groups` of mesh.yaml, or declare it there;".to_owned(),
    };
    report
        .warning("domain/team", owner, message)
        .help(format!("{instead} its members read the reason in `mesh.health`, and the check and the log of the server alone tell it now"));
}

fn read_policies(tree: &Tree<'_>, folder: &str, report: &mut Report) -> Written {
    let mut sources = Written::default();
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
