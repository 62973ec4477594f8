//! Policies on their way in: parsed one by one, held against what the mesh declares, and refused where they could
//! load and yet never fire.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use cedar_policy::{ActionConstraint, Effect, EntityUid, Policy, PolicySet, PrincipalConstraint, ResourceConstraint};
use miette::Diagnostic;

use super::condition::{Pool, Spoken};
use super::filter::{Checked, Fault, Written};
use super::reach::{Action, Rule};
use super::scope;
use super::source::{conditions, in_annotation, statements};
use super::uid::{ACTIONS, TYPES};
use super::validate::Validation;
use super::{Mask, Reason};
use crate::contract::Column;
use crate::document::file::File;
use crate::document::{Help, Place, Report, quote};
use crate::mesh::declared::Declared;
use crate::mesh::{Domain, Product};
use crate::name::{DomainName, ProductName};

/// The file of a policy and its offset there, so that spans inside it become places.
#[derive(Debug, Clone)]
pub(crate) struct Origin {
    source: Arc<File>,
    offset: usize,
    length: usize,
    /// What Cedar counts its spans from: the file, or the policy if it was parsed alone.
    spans: usize,
}

impl Origin {
    /// The place of the first span of `fault`, or where the policy begins.
    pub fn place(&self, fault: &dyn Diagnostic) -> Place {
        let span = fault.labels().and_then(|mut labels| labels.next()).map_or(0, |label| label.offset());
        self.source.place(self.spans + span)
    }

    /// Where the policy begins.
    pub fn start(&self) -> Place {
        self.source.place(self.offset)
    }

    /// Where the byte at `offset` of an annotation's value stands.
    fn in_annotation(&self, name: &str, offset: usize) -> Place {
        let inside = in_annotation(self.text(), name, offset).unwrap_or_default();
        self.source.place(self.offset + inside)
    }

    fn text(&self) -> &str {
        self.source.text.get(self.offset..self.offset + self.length).unwrap_or_default()
    }

    pub fn is_ascii(&self) -> bool {
        self.text().is_ascii()
    }
}

/// Everything that policies may name.
pub(crate) struct Known<'d> {
    declared: &'d Declared,
    validation: Validation,
    tags: BTreeSet<&'d str>,
    domains: BTreeMap<&'d str, &'d Domain>,
    out: BTreeSet<DomainName>,
}

impl<'d> Known<'d> {
    /// What is declared in the mesh and in `domains`; `out` are the domains of which not everything is known.
    pub fn new(
        declared: &'d Declared,
        domains: impl Iterator<Item = &'d Domain>,
        out: BTreeSet<DomainName>,
        report: &mut Report,
    ) -> Self {
        let validation = Validation::new(declared);
        validation.check_schema(report);
        // The tree is there with its branches: `id` lies above `id.customer`.
        let tags = declared.tags.keys().flat_map(|tag| declared.lineage(tag)).collect();
        let domains = domains.map(|domain| (domain.name.as_str(), domain)).collect();
        Self { declared, validation, tags, domains, out }
    }

    fn is_out(&self, domain: &str) -> bool {
        self.out.iter().any(|out| out.as_str() == domain)
    }

    fn has(&self, kind: &str, id: &str) -> bool {
        let declared = self.declared;
        match kind {
            "Action" => ACTIONS.contains(&id),
            "Tag" => self.tags.contains(id),
            "Group" => declared.groups.contains(id),
            "User" => declared.users.contains_key(id),
            "Domain" => self.domains.contains_key(id) || self.is_out(id),
            "Product" => !self.products(id).is_empty(),
            "Column" => !self.columns(id).is_empty(),
            _ => false,
        }
    }

    /// What could have been meant by an undeclared name.
    fn names(&self, kind: &str, id: &str) -> Vec<String> {
        let declared = self.declared;
        match kind {
            "Action" => ACTIONS.map(str::to_owned).into(),
            "Tag" => self.tags.iter().copied().map(str::to_owned).collect(),
            "Group" => declared.groups.iter().cloned().collect(),
            "User" => declared.users.keys().cloned().collect(),
            "Domain" => self.domains.keys().copied().map(str::to_owned).collect(),
            "Product" | "Column" => {
                let (address, path) = split(id);
                let in_domain = self.domains.get(address.split('.').next().unwrap_or_default());
                let products = in_domain.into_iter().flat_map(|domain| domain.products.values().flatten());
                if kind == "Product" {
                    return products.flat_map(addresses).collect();
                }
                let mut names = Vec::new();
                for product in self.products(address) {
                    let parent = path.and_then(|path| path.rsplit_once('.')).map_or("", |(parent, _)| parent);
                    each_column(address, &product.contract.columns, &mut |id| names.push(id.to_owned()));
                    names.retain(|name| parent.is_empty() || name.contains(parent));
                }
                names
            }
            _ => Vec::new(),
        }
    }

    /// The products that an address means: every major of a plain one.
    fn products(&self, id: &str) -> Vec<&'d Product> {
        let Some((domain, name)) = id.split_once('.') else { return Vec::new() };
        let (name, major) = name.split_once('@').map_or((name, None), |(name, major)| (name, Some(major)));
        let domain = self.domains.get(domain);
        let majors = domain.and_then(|domain| {
            let name = ProductName::new(domain.name.clone(), name).ok()?;
            domain.products.get(&name)
        });
        let asked = |product: &&Product| major.is_none_or(|major| major == product.contract.major.to_string());
        majors.into_iter().flatten().filter(asked).collect()
    }

    /// The columns that an address means, one for each major that has it.
    fn columns(&self, id: &str) -> Vec<&'d Column> {
        let (address, path) = split(id);
        let Some(path) = path else { return Vec::new() };
        self.products(address).into_iter().filter_map(|product| column_at(&product.contract.columns, path)).collect()
    }
}

/// The address of a product and the path of a column in it.
fn split(id: &str) -> (&str, Option<&str>) {
    match id.match_indices('.').nth(1) {
        Some((at, _)) => (id.get(..at).unwrap_or_default(), id.get(at + 1..)),
        None => (id, None),
    }
}

/// The column or nested field at a path. A name may hold dots itself; no two have the same path.
fn column_at<'c>(columns: &'c [Column], path: &str) -> Option<&'c Column> {
    columns.iter().find_map(|column| {
        let rest = path.strip_prefix(column.name.as_str())?;
        if rest.is_empty() { Some(column) } else { column_at(&column.fields, rest.strip_prefix('.')?) }
    })
}

fn addresses(product: &Product) -> [String; 2] {
    [product.name.to_string(), format!("{}@{}", product.name, product.contract.major)]
}

/// Calls `f` with the address of every column and nested field.
fn each_column(parent: &str, columns: &[Column], f: &mut impl FnMut(&str)) {
    for column in columns {
        let id = format!("{parent}.{}", column.name);
        f(&id);
        each_column(&id, &column.fields, f);
    }
}

/// The policy ids that are taken, and by what.
#[derive(Debug, Default)]
pub(crate) struct Taken<'t> {
    own: HashMap<Arc<str>, Place>,
    above: Option<&'t Taken<'t>>,
}

impl Taken<'_> {
    /// For policies beside which these are.
    pub fn below(&self) -> Taken<'_> {
        Taken { own: HashMap::new(), above: Some(self) }
    }

    fn by(&self, id: &str) -> Option<&Place> {
        self.own.get(id).or_else(|| self.above?.by(id))
    }
}

/// The policy files of one scope.
#[derive(Default)]
pub(crate) struct Sources {
    files: Vec<Arc<File>>,
}

impl Sources {
    pub fn add(&mut self, file: File) {
        self.files.push(file.into());
    }

    /// Holds every policy against what is known; `owner` is the domain that wrote them, `taken` the ids around.
    pub fn check(
        self,
        known: &Known<'_>,
        owner: Option<&DomainName>,
        taken: &mut Taken<'_>,
        conditions: &mut Pool,
        report: &mut Report,
    ) -> Vec<Rule> {
        let mut rules = Vec::new();
        for file in self.files {
            let before = report.count();
            let statements = statements(&file, report);
            // What is too large for Cedar's stack was left out, and must not come to it with the whole file.
            let is_whole = report.count() == before;
            let mut together = is_whole.then(|| together(&file, statements.len())).flatten();
            for (number, statement) in statements.into_iter().enumerate() {
                let (offset, length) = (statement.offset, statement.text.len());
                let parsed = together.as_mut().and_then(|policies| policies.remove(&number));
                let spans = if parsed.is_some() { 0 } else { offset };
                let origin = Origin { source: file.clone(), offset, length, spans };
                let parsed = parsed.or_else(|| parse(statement.text, &origin, report));
                let Some(policy) = parsed else { continue };
                rules.extend(rule(&policy, known, owner, &origin, taken, conditions, report));
            }
        }
        rules
    }
}

/// The policies of a file by their number, parsed in one go, which costs far less than one by one. `None` where
/// anything is wrong with any: then each is parsed alone, for its own faults.
fn together(file: &File, count: usize) -> Option<HashMap<usize, Policy>> {
    let set: PolicySet = file.text.parse().ok()?;
    // Cedar numbers policies in the order of the text.
    let numbered = |policy: &Policy| policy.id().to_string().strip_prefix("policy")?.parse().ok();
    let policies: HashMap<usize, Policy> =
        set.policies().map(|policy| Some((numbered(policy)?, policy.clone()))).collect::<Option<_>>()?;
    (policies.len() == count && set.templates().next().is_none()).then_some(policies)
}

fn parse(text: &str, origin: &Origin, report: &mut Report) -> Option<Policy> {
    match Policy::parse(None, text) {
        Ok(policy) => Some(policy),
        Err(errors) => {
            for error in errors.iter() {
                let place = origin.place(error);
                let is_template = text.contains("?principal") || text.contains("?resource");
                let noted = if is_template {
                    report.error("policy/template", &place, "policy templates are not supported")
                } else {
                    report.error("policy/syntax", &place, error.to_string())
                };
                if let Some(help) = error.help() {
                    noted.help(help.to_string());
                }
            }
            None
        }
    }
}

fn rule(
    policy: &Policy,
    known: &Known<'_>,
    owner: Option<&DomainName>,
    origin: &Origin,
    taken: &mut Taken<'_>,
    pool: &mut Pool,
    report: &mut Report,
) -> Option<Rule> {
    let place = origin.start();
    let id: Arc<str> = id(policy, &place, report)?.into();
    if let Some(other) = taken.by(&id) {
        let message = format!("the policy id {} is taken by {other}", quote(&id));
        report.error("policy/duplicate-id", &place, message);
        return None;
    }
    taken.own.insert(id.clone(), place.clone());
    let annotations = annotations(policy, &place, report);
    let actions = actions(policy, &annotations, &place, report);
    let conditions = match pool.keep(policy, conditions(origin.text())) {
        Ok(conditions) => conditions,
        Err(error) => {
            report.error("policy/syntax", &place, format!("the policy's conditions could not be read: {error}"));
            return None;
        }
    };
    literals(policy, conditions.as_deref(), known, owner, &place, report);
    if let Some(conditions) = &conditions {
        speaks(conditions, known, &place, report);
    }
    known.validation.validate(policy, conditions.as_deref(), origin, report);
    let mask = annotations.mask.and_then(|text| parse_mask(&text, policy, known, &place, report));
    let filter = annotations.filter.and_then(|text| parse_filter(&text, origin, report));
    let (reach, kind) = scope::reach(policy);
    let rule = Rule {
        forbids: policy.effect() == Effect::Forbid,
        actions,
        who: scope::who(policy),
        reach,
        kind,
        condition: conditions.map(|conditions| conditions.id),
        mask,
        filter: filter.map(Arc::new),
        reason: Reason { policy: id, place },
    };
    if let Some(filter) = &rule.filter {
        fits(filter, &rule, policy, known, owner, origin, report);
    }
    Some(rule)
}

/// Refuses comparisons that never hold, and purposes that nobody can have.
fn speaks(conditions: &Spoken, known: &Known<'_>, place: &Place, report: &mut Report) {
    for address in &conditions.compared {
        let message = format!("{} is compared by `==` or `contains`, which no major version equals", quote(address));
        report.error("policy/equality", place, message).help("write `resource in …`");
    }
    let declared = &known.declared.purposes;
    for purpose in conditions.purposes.iter().filter(|purpose| !declared.contains_key(*purpose)) {
        let message = format!("the purpose {} is not declared", quote(purpose));
        let noted = report.error("policy/unknown-purpose", place, message);
        noted.did_you_mean(purpose, declared.keys().map(String::as_str));
    }
}

fn id(policy: &Policy, place: &Place, report: &mut Report) -> Option<String> {
    let Some(id) = policy.annotation("id") else {
        report.error("policy/no-id", place, "the policy has no `@id`").help("write `@id(\"…\")` before it");
        return None;
    };
    if id.is_empty() || id.len() > 256 || id.chars().any(char::is_control) || id.starts_with("standards:") {
        report
            .error("policy/id", place, format!("{} cannot be a policy's id", quote(id)))
            .help("ids from `standards:` on belong to the mesh's tags");
        return None;
    }
    Some(id.to_owned())
}

/// What annotations say that decides.
struct Annotations {
    mask: Option<String>,
    filter: Option<String>,
}

/// Refuses annotations that would do nothing.
fn annotations(policy: &Policy, place: &Place, report: &mut Report) -> Annotations {
    const KNOWN: [&str; 6] = ["id", "mask", "filter", "doc", "description", "reason"];
    let mut found = Annotations { mask: None, filter: None };
    for (name, value) in policy.annotations() {
        match name {
            "mask" => found.mask = Some(value.to_owned()),
            "filter" => found.filter = Some(value.to_owned()),
            name if KNOWN.contains(&name) => {}
            name => report
                .error("policy/unknown-annotation", place, format!("the annotation {} is unknown", quote(name)))
                .did_you_mean(name, KNOWN),
        }
    }
    found
}

/// The actions that the scope names. Refuses those that are open or never asked for.
fn actions(policy: &Policy, annotations: &Annotations, place: &Place, report: &mut Report) -> Vec<Action> {
    let named: Vec<EntityUid> = match policy.action_constraint() {
        ActionConstraint::Any => {
            report
                .error("policy/open-action", place, "the policy leaves its action open")
                .help("write `action == Action::\"…\"`");
            return Vec::new();
        }
        ActionConstraint::Eq(action) => {
            if action.id().unescaped() == "see" {
                report
                    .error("policy/see", place, "`Action::\"see\"` is a group of actions that nothing equals")
                    .help("write `action in Action::\"see\"`");
            }
            vec![action]
        }
        ActionConstraint::In(actions) => actions,
    };
    let names: BTreeSet<&str> = named.iter().map(|action| action.id().unescaped()).collect();
    if policy.effect() == Effect::Permit && names.contains("see") {
        report
            .error("policy/see", place, "`Action::\"see\"` is there to be forbidden")
            .help("permit `read` or `read_masked`, each by a policy of its own");
    }
    if annotations.mask.is_some()
        && (policy.effect() != Effect::Permit || names.iter().any(|name| *name != "read_masked"))
    {
        report
            .error("policy/mask", place, "a mask (`@mask`) stands only on a `permit` of `read_masked`")
            .help("write `action == Action::\"read_masked\"`");
    }
    if annotations.filter.is_some() && names.iter().any(|name| *name != "read_rows") {
        report
            .error("policy/filter", place, "a filter (`@filter`) stands only on a policy of `read_rows`")
            .help("write `action == Action::\"read_rows\"`");
    }
    names.into_iter().flat_map(Action::named).collect::<BTreeSet<_>>().into_iter().collect()
}

/// Every entity that a policy names.
fn named(policy: &Policy, conditions: Option<&Spoken>) -> BTreeSet<EntityUid> {
    let principal = match policy.principal_constraint() {
        PrincipalConstraint::In(uid) | PrincipalConstraint::Eq(uid) | PrincipalConstraint::IsIn(_, uid) => Some(uid),
        PrincipalConstraint::Any | PrincipalConstraint::Is(_) => None,
    };
    let actions = match policy.action_constraint() {
        ActionConstraint::Any => Vec::new(),
        ActionConstraint::Eq(action) => vec![action],
        ActionConstraint::In(actions) => actions,
    };
    let inside = conditions.into_iter().flat_map(|conditions| &conditions.literals).cloned();
    principal.into_iter().chain(actions).chain(resource(policy)).chain(inside).collect()
}

fn resource(policy: &Policy) -> Option<EntityUid> {
    match policy.resource_constraint() {
        ResourceConstraint::In(uid) | ResourceConstraint::Eq(uid) | ResourceConstraint::IsIn(_, uid) => Some(uid),
        ResourceConstraint::Any | ResourceConstraint::Is(_) => None,
    }
}

/// Refuses every entity that is not declared: Cedar would load it, and the policy would never fire.
fn literals(
    policy: &Policy,
    conditions: Option<&Spoken>,
    known: &Known<'_>,
    owner: Option<&DomainName>,
    place: &Place,
    report: &mut Report,
) {
    for literal in named(policy, conditions) {
        let (kind, id) = (literal.type_name().to_string(), literal.id().unescaped().to_owned());
        let text = format!("{kind}::\"{id}\"");
        if kind != "Action" && !TYPES.contains(&kind.as_str()) {
            let message = format!("there are no entities of the type {}", quote(&kind));
            report.error("policy/unknown-type", place, message).did_you_mean(&kind, TYPES);
            continue;
        }
        let domain = match kind.as_str() {
            "Domain" => Some(id.as_str()),
            "Product" | "Column" => Some(id.split('.').next().unwrap_or_default()),
            _ => None,
        };
        if let (Some(owner), Some(domain)) = (owner, domain)
            && owner.as_str() != domain
        {
            let message = format!("a policy of the domain `{owner}` names {}, which is not its own", quote(&text));
            report.error("policy/foreign", place, message).help("only the mesh's policies reach across domains");
            continue;
        }
        if known.has(&kind, &id) {
            continue;
        }
        if owner.is_some() && known.out.iter().any(|out| owner == Some(out)) {
            // The domain is out already; what its broken contracts would have declared is not known.
            continue;
        }
        let is_out = domain.is_some_and(|domain| known.is_out(domain));
        let message = format!("{} is not declared", quote(&text));
        let noted: Help<'_> = if is_out {
            report.warning("policy/domain-out", place, format!("{message}, and its domain is out"))
        } else {
            report.error("policy/unknown-entity", place, message)
        };
        if !is_out {
            noted.did_you_mean(&id, known.names(&kind, &id).iter().map(String::as_str));
        }
    }
}

fn parse_mask(text: &str, policy: &Policy, known: &Known<'_>, place: &Place, report: &mut Report) -> Option<Mask> {
    let mask = match Mask::parse(text, known.declared.key_names.iter().map(String::as_str)) {
        Ok(mask) => mask,
        Err(fault) => {
            let noted = report.error("policy/mask", place, fault.message);
            if let Some(help) = fault.help {
                noted.help(help);
            }
            return None;
        }
    };
    if let Some(scope) = resource(policy).filter(|uid| uid.type_name().basename() == "Column")
        && let Some(column) = known.columns(scope.id().unescaped()).first()
        && column.fields.is_empty()
        && !mask.applies_to(&column.kind)
    {
        let message = format!("the mask `{mask}` is not defined for the type of {}", quote(scope.id().unescaped()));
        report.warning("policy/mask-type", place, message).help("the column will be denied");
    }
    Some(mask)
}

fn parse_filter(text: &str, origin: &Origin, report: &mut Report) -> Option<Written> {
    match Written::parse(text) {
        Ok(written) => Some(written),
        Err(fault) => {
            note(&fault, origin, report);
            None
        }
    }
}

fn note(fault: &Fault, origin: &Origin, report: &mut Report) {
    let noted = report.error("policy/filter", &origin.in_annotation("filter", fault.offset), &fault.message);
    if let Some(help) = &fault.help {
        noted.help(help);
    }
}

/// Holds a filter against every product that the rule reaches. Scoped to one, it must fit each major of it; else what
/// it does not fit is refused or has no rows, and that is worth a look.
fn fits(
    filter: &Written,
    rule: &Rule,
    policy: &Policy,
    known: &Known<'_>,
    owner: Option<&DomainName>,
    origin: &Origin,
    report: &mut Report,
) {
    let scope = resource(policy);
    let named = scope.as_ref().map(|uid| (uid.type_name().basename(), uid.id().unescaped()));
    let reached: Vec<&Product> = match named {
        Some(("Product", id)) => known.products(id),
        Some(("Domain", id)) => known.domains.get(id).into_iter().flat_map(|d| d.products.values().flatten()).collect(),
        _ => {
            let domains = known.domains.values().filter(|domain| owner.is_none_or(|owner| *owner == domain.name));
            domains.flat_map(|domain| domain.products.values().flatten()).collect()
        }
    };
    let carries = |product: &&Product| match named {
        Some(("Tag", id)) => {
            let tags = product.contract.tags.iter();
            tags.flat_map(|tag| known.declared.lineage(tag)).any(|tag| tag == id)
        }
        _ => true,
    };
    let one = matches!(named, Some(("Product", _)));
    let reached: Vec<&Product> = reached.into_iter().filter(carries).filter(|product| product.is_alive()).collect();
    let mut misfits = Vec::new();
    for product in &reached {
        match filter.on(known.declared, &product.contract.columns, None) {
            Ok(Checked::Known(_) | Checked::NoAttribute) => {}
            Ok(Checked::NoColumn(fault)) => {
                let effect = if rule.forbids { "takes every row away" } else { "shows no row" };
                misfits.push((product, fault, effect));
            }
            Err(fault) => misfits.push((product, fault, "refuses the product")),
        }
    }
    let fits_none = misfits.len() == reached.len();
    let telling = misfits.iter().find(|(_, fault, _)| fault.help.is_some()).or(misfits.first());
    if let Some((_, fault, _)) = telling.filter(|_| one || fits_none) {
        return note(fault, origin, report);
    }
    for (product, fault, effect) in misfits {
        let name = format!("{}@{}", product.name, product.contract.major);
        let message = format!("on `{name}` this rule {effect}: {}", fault.message);
        report.warning("policy/filter-misfit", &origin.in_annotation("filter", fault.offset), message);
    }
}
