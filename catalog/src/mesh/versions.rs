//! The next version of a mesh: what of its files does not hold stays as it was in the version before.
//!
//! ```text
//!            on disk now                what is served
//! mesh.yaml  a new forbid               the new forbid, which binds every domain
//! shop       a contract is broken       shop as it was, decided by the new forbid: kept, and told so
//! depot      a new product              depot with its new product
//! harbour    broken, and as it was it
//!            names a group that is gone out, as at the start
//! ```
//!
//! A part is the mesh's own files, or all files of one domain. Each is taken as a whole in one of its versions: new policies
//! over old contracts could show what the new contracts protect. A version is its texts, so that what is kept is read again
//! under the files around it as if it had just been written, and must hold there. The files on disk decide what there is:
//! a domain without its `domain.yaml` is gone. Without a version before, a broken part is out.
//!
//! Parts can be broken by each other alone, where the mesh's policies name what a domain no longer has. Then the mesh's own
//! files go first, and those of the changed domains stay behind that do not go with them.
//!
//! Nobody's rights outlast their end because somebody's file is broken: the mesh's own files take away from every domain,
//! also from one that is kept, and a domain that must not be served as it was is ended by taking its `domain.yaml` away.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::SystemTime;

use super::Mesh;
use super::each::each;
use super::load::{self, Loaded, Sources};
use crate::document::file::Tree;
use crate::document::texts::{Record, Texts};
use crate::document::{Finding, Place, Report, Severity};
use crate::name::DomainName;

/// Of what a mesh was made.
#[derive(Debug, Default)]
pub(crate) struct Versions {
    own: Arc<Texts>,
    domains: BTreeMap<DomainName, Arc<Texts>>,
    /// The domains that are not as they are on disk, and since when.
    pub kept: BTreeMap<DomainName, SystemTime>,
    /// Since when the mesh's own files are not as they are on disk, if they are not.
    pub behind: Option<SystemTime>,
}

/// Loads what is in `tree`. What of it does not hold is as it was `before`.
pub(super) fn load(tree: Tree<'_>, before: Option<&Mesh>) -> Result<Mesh, Vec<Finding>> {
    // On a thread of the right size.
    let load = |tree| Loading::new(tree, before).map_or_else(|findings| Some(Err(findings)), |loading| loading.load());
    let loaded = each(vec![tree], load).and_then(|loaded| loaded.into_iter().next().flatten());
    loaded.unwrap_or_else(|| {
        let mut report = Report::default();
        report.error("mesh/load", &Place::top(), "loading stopped: a thread for it could not be started or failed");
        Err(report.into_findings())
    })
}

/// Which version of a part is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Version {
    /// What is there now.
    Now,
    /// What the mesh before was made of.
    Before,
    /// None: the domain is out.
    None,
}

/// Which version of each part is read.
#[derive(Debug, Clone)]
struct Choice {
    own: Version,
    domains: BTreeMap<DomainName, Version>,
    /// The domains whose files on disk do not hold, so that nobody knows what they would declare.
    beyond: BTreeSet<DomainName>,
    /// The domains that are on disk as they were before, and stand back for another one alone.
    same: BTreeSet<DomainName>,
    /// What is wrong with the files of domains that are not read as they are now.
    told: BTreeMap<DomainName, Vec<Finding>>,
}

/// What came of a choice.
struct Outcome {
    loaded: Loaded,
    own: Texts,
    domains: BTreeMap<DomainName, Texts>,
}

struct Loading<'t> {
    tree: Tree<'t>,
    before: Option<&'t Mesh>,
    names: Vec<DomainName>,
    /// What concerns no part: directories that are no domains.
    aside: Vec<Finding>,
}

impl<'t> Loading<'t> {
    fn new(tree: Tree<'t>, before: Option<&'t Mesh>) -> Result<Self, Vec<Finding>> {
        let (mut report, mut names) = (Report::default(), Vec::new());
        let listed = tree.list("").map_err(|error| {
            let mut report = Report::default();
            report.error("file/unreadable", &Place::top(), format!("cannot list the mesh directory: {error}"));
            report.into_findings()
        })?;
        for name in listed.into_iter().filter(|name| tree.has(&format!("{name}/domain.yaml"))) {
            match name.parse::<DomainName>() {
                Ok(name) => names.push(name),
                Err(error) => {
                    let place = Place { file: format!("{name}/domain.yaml").into(), line: 1, column: 1 };
                    report.error("domain/name", &place, error.to_string()).help("rename the directory");
                }
            }
        }
        Ok(Self { tree, before, names, aside: report.into_findings() })
    }

    /// `None` when a thread failed.
    fn load(&self) -> Option<Result<Mesh, Vec<Finding>>> {
        let all = |own| Choice {
            own,
            domains: self.names.iter().map(|name| (name.clone(), Version::Now)).collect(),
            beyond: BTreeSet::new(),
            same: BTreeSet::new(),
            told: BTreeMap::new(),
        };
        let Some(before) = self.before else {
            let outcome = self.read(&all(Version::Now))?;
            return Some(self.finish(all(Version::Now), outcome, Vec::new()));
        };
        let (choice, outcome) = self.settle(all(Version::Now))?;
        // Where not even its file can be read, the mesh is not broken but away.
        if outcome.loaded.mesh.is_some() || !self.tree.has("mesh.yaml") {
            return Some(self.finish(choice, outcome, Vec::new()));
        }
        let broken = self.finish(choice, outcome, Vec::new()).err().unwrap_or_default();
        let mut all = all(Version::Before);
        // It held when it was loaded: what it names and is not there is a domain's change.
        all.beyond = self.names.iter().chain(before.versions.domains.keys()).cloned().collect();
        let (choice, outcome) = self.settle(all)?;
        let of_mesh = broken.iter().filter(|finding| finding.domain.is_none()).cloned().collect();
        let kept = self.finish(choice, outcome, of_mesh);
        Some(kept.map_err(|_| broken))
    }

    /// The best choice that holds, with these own files; one without a mesh if there is none.
    fn settle(&self, first: Choice) -> Option<(Choice, Outcome)> {
        let (choice, outcome) = self.lower(first.clone())?;
        if outcome.loaded.mesh.is_some() || outcome.loaded.undeclared {
            return Some((choice, outcome));
        }
        // The own files and the domains do not go together.
        let changed: Vec<DomainName> =
            self.names.iter().filter(|name| outcome.has_changed(name, self)).cloned().collect();
        for broken_ones in [Version::Before, Version::None] {
            let mut lowest = first.clone();
            for name in &changed {
                let is_broken = choice.beyond.contains(name) || outcome.loaded.is_broken(name);
                let version = if is_broken { broken_ones } else { Version::Before };
                lowest.domains.insert(name.clone(), self.at_most(version, name));
                lowest.beyond.extend(is_broken.then(|| name.clone()));
            }
            let (mut choice, mut best) = self.lower(lowest)?;
            if best.loaded.mesh.is_some() {
                for name in &changed {
                    self.raise(name, &mut choice, &mut best)?;
                }
                return Some((choice, best));
            }
        }
        Some((choice, outcome))
    }

    /// Takes what does not hold in an older version, until all that is left holds or the mesh's own files do not.
    fn lower(&self, mut choice: Choice) -> Option<(Choice, Outcome)> {
        loop {
            let mut outcome = self.read(&choice)?;
            let Some(mesh) = &outcome.loaded.mesh else { return Some((choice, outcome)) };
            let fallen = |(name, version): (&DomainName, &Version)| {
                (*version == Version::Now && mesh.domains_out.contains(name)).then(|| name.clone())
            };
            let fallen: Vec<DomainName> = choice.domains.iter().filter_map(fallen).collect();
            if fallen.is_empty() {
                return Some((choice, outcome));
            }
            for name in fallen {
                let findings = outcome.loaded.of_domains.remove(&name).unwrap_or_default();
                choice.domains.insert(name.clone(), self.at_most(Version::Before, &name));
                if outcome.has_changed(&name, self) {
                    choice.told.entry(name.clone()).or_insert(findings);
                    choice.beyond.insert(name);
                } else {
                    choice.same.insert(name);
                }
            }
        }
    }

    /// Takes one domain in the newest version with which all that was served so far still is.
    fn raise(&self, name: &DomainName, choice: &mut Choice, best: &mut Outcome) -> Option<()> {
        let now = choice.domains.get(name).copied().unwrap_or(Version::None);
        for version in [Version::Now, self.at_most(Version::Before, name)] {
            if version == now || version == Version::None {
                return Some(());
            }
            let mut tried = choice.clone();
            tried.domains.insert(name.clone(), version);
            let outcome = self.read(&tried)?;
            let out = |outcome: &Outcome| outcome.loaded.mesh.as_ref().map(|mesh| mesh.domains_out.clone());
            match (out(&outcome), out(best)) {
                (Some(out), Some(before)) if !out.contains(name) && out.is_subset(&before) => {
                    if version == Version::Now {
                        choice.told.remove(name);
                    }
                    choice.domains.insert(name.clone(), version);
                    *best = outcome;
                    return Some(());
                }
                _ => {
                    choice.told.entry(name.clone()).or_insert_with(|| outcome.loaded.against(name));
                }
            }
        }
        Some(())
    }

    /// That version of a domain, or none where there was none before.
    fn at_most(&self, version: Version, name: &DomainName) -> Version {
        match version {
            Version::Before if self.texts_before(name).is_none() => Version::None,
            version => version,
        }
    }

    fn texts_before(&self, name: &DomainName) -> Option<&'t Arc<Texts>> {
        self.before?.versions.domains.get(name)
    }

    fn read(&self, choice: &Choice) -> Option<Outcome> {
        let own = Record::default();
        let records: BTreeMap<&DomainName, Record> =
            choice.domains.keys().map(|name| (name, Record::default())).collect();
        let mesh = match (choice.own, self.before) {
            (Version::Before, Some(before)) => Tree::Remembered(self.tree.dir(), &before.versions.own),
            _ => Tree::Recorded(&self.tree, &own),
        };
        let tree = |name: &DomainName, version: Version| match version {
            Version::Now => records.get(name).map(|record| Tree::Recorded(&self.tree, record)),
            Version::Before => self.texts_before(name).map(|texts| Tree::Remembered(self.tree.dir(), texts)),
            Version::None => None,
        };
        let domains = choice.domains.iter().map(|(name, version)| (name.clone(), tree(name, *version))).collect();
        let loaded = load::load(&Sources { mesh, domains, beyond: choice.beyond.clone() })?;
        let domains = records.into_iter().map(|(name, record)| (name.clone(), record.into_texts())).collect();
        Some(Outcome { loaded, own: own.into_texts(), domains })
    }

    /// The mesh of a choice, with what it was made of and what is wrong; or what is wrong, if there is none.
    fn finish(&self, choice: Choice, outcome: Outcome, more: Vec<Finding>) -> Result<Mesh, Vec<Finding>> {
        let Outcome { loaded: Loaded { mesh, of_mesh, mut of_domains, .. }, own, mut domains } = outcome;
        of_domains.extend(choice.told);
        let mut findings: Vec<Finding> =
            self.aside.iter().cloned().chain(more).chain(of_mesh).chain(of_domains.into_values().flatten()).collect();
        findings.sort_by(|a, b| a.place.cmp(&b.place).then(b.severity.cmp(&a.severity)).then(a.code.cmp(b.code)));
        findings.dedup();
        let Some(mut mesh) = mesh else { return Err(findings) };
        let now = SystemTime::now();
        let before = self.before.map(|before| &before.versions);
        let mut versions = Versions::default();
        match before.filter(|_| choice.own == Version::Before) {
            Some(before) => {
                versions.own = Arc::clone(&before.own);
                versions.behind = Some(before.behind.unwrap_or(now));
            }
            None => versions.own = Arc::new(own),
        }
        for name in mesh.domains.keys() {
            let texts = match choice.domains.get(name) {
                Some(Version::Before) if choice.same.contains(name) => self.texts_before(name).cloned(),
                Some(Version::Before) => {
                    let since = before.and_then(|before| before.kept.get(name)).copied();
                    versions.kept.insert(name.clone(), since.unwrap_or(now));
                    self.texts_before(name).cloned()
                }
                _ => domains.remove(name).map(Arc::new),
            };
            versions.domains.extend(texts.map(|texts| (name.clone(), texts)));
        }
        mesh.findings = findings;
        mesh.versions = versions;
        Ok(mesh)
    }
}

impl Outcome {
    /// Whether a domain is other than it was before.
    fn has_changed(&self, name: &DomainName, loading: &Loading<'_>) -> bool {
        match (self.domains.get(name), loading.texts_before(name)) {
            (Some(now), Some(before)) => now != before.as_ref(),
            _ => true,
        }
    }
}

impl Loaded {
    /// Whether the files of a domain are broken in themselves.
    fn is_broken(&self, name: &DomainName) -> bool {
        let mut findings = self.of_domains.get(name).into_iter().flatten();
        // What takes one product out, or nothing, leaves its domain as it is.
        let takes_out = |finding: &Finding| finding.product.is_none() && finding.domain.is_some();
        findings.any(|finding| finding.severity == Severity::Error && takes_out(finding))
    }

    /// What is wrong with the files of a domain: in themselves, or in the eyes of the mesh's own.
    fn against(&self, name: &DomainName) -> Vec<Finding> {
        let of_domain = self.of_domains.get(name).into_iter().flatten().cloned();
        let errors = self.of_mesh.iter().filter(|finding| self.mesh.is_none() && finding.severity == Severity::Error);
        let of_mesh = errors.map(|finding| Finding { domain: Some(name.clone()), ..finding.clone() });
        of_domain.chain(of_mesh).collect()
    }
}
