//! Policies on their way in: parsed one by one, held against what the mesh declares, and refused where they could
//! load and yet never fire.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use cedar_policy::{ActionConstraint, Effect, EntityUid, Policy, PolicySet, PrincipalConstraint, ResourceConstraint};
use miette::Diagnostic;

use super::condition::{Gathering, Spoken};
use super::fits::{fits, parse_filter};
use super::known::Known;
use super::reach::{Action, Rule};
use super::scope;
use super::source::{conditions, in_annotation, statements};
use super::uid::TYPES;
use super::{Mask, Reason};
use crate::document::file::File;
use crate::document::{Help, Place, Report, quote};
use crate::name::DomainName;

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
    pub fn in_annotation(&self, name: &str, offset: usize) -> Place {
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
        conditions: &Gathering,
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
                // Should the two ever count differently, a policy must not get the places of another.
                let is_here = |policy: &Policy| policy.annotation("id").is_some_and(|id| statement.text.contains(id));
                let parsed = parsed.filter(is_here);
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
    gathering: &Gathering,
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
    let conditions = match gathering.keep(policy, conditions(origin.text())) {
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

/// The entity that the scope's resources lie in.
pub(super) fn resource(policy: &Policy) -> Option<EntityUid> {
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
        let is_out = owner.is_none() && domain.is_some_and(|domain| known.is_beyond(domain));
        let message = format!("{} is not declared", quote(&text));
        let noted: Help<'_> = if is_out {
            report.warning("policy/domain-out", place, format!("{message}, and its domain is out or as it was before"))
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
        let help = format!("the column is denied until this is one of {}", Mask::names_for(&column.kind));
        report.warning("policy/mask-type", place, message).help(help);
    }
    Some(mask)
}
