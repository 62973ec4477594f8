//! Policies on their way in: parsed one by one, held against what the mesh declares, and refused where they could
//! load and yet never fire.

use std::collections::{BTreeMap, BTreeSet};

use cedar_policy::{ActionConstraint, Effect, EntityUid, Policy, PolicyId, ResourceConstraint, Validator};
use miette::Diagnostic;

use super::source::statements;
use super::uid::{ACTIONS, TYPES, schema};
use super::{Mask, Reason, scope};
use crate::contract::{Column, Type};
use crate::document::file::File;
use crate::document::{Help, Place, Report, quote};
use crate::mesh::Domain;
use crate::mesh::declared::Declared;
use crate::name::DomainName;

/// A policy that passed, and what the engine needs to know of it.
#[derive(Debug, Clone)]
pub(crate) struct Rule {
    pub policy: Policy,
    pub reason: Reason,
    pub mask: Option<Mask>,
    /// Where the places of its parts are counted from.
    pub origin: Origin,
}

/// The file of a policy and its offset there, so that spans inside it become places.
#[derive(Debug, Clone)]
pub(crate) struct Origin {
    source: std::sync::Arc<File>,
    offset: usize,
}

impl Origin {
    /// The place of the first span of `fault`, or where the policy begins.
    pub fn place(&self, fault: &dyn Diagnostic) -> Place {
        let span = fault.labels().and_then(|mut labels| labels.next()).map_or(0, |label| label.offset());
        self.source.place(self.offset + span)
    }
}

/// Everything that policies may name.
pub(crate) struct Known {
    validator: Option<Validator>,
    ids: BTreeMap<&'static str, BTreeSet<String>>,
    columns: BTreeMap<String, Type>,
    keys: BTreeSet<String>,
    out: BTreeSet<DomainName>,
}

impl Known {
    /// What is declared in the mesh and in `domains`; `out` are the domains of which not everything is known.
    pub fn new<'d>(declared: &Declared, domains: impl Iterator<Item = &'d Domain>, out: BTreeSet<DomainName>) -> Self {
        let mut ids: BTreeMap<&'static str, BTreeSet<String>> = BTreeMap::new();
        let mut columns = BTreeMap::new();
        let mut add = |kind: &'static str, id: String| {
            ids.entry(kind).or_default().insert(id);
        };
        for action in ACTIONS {
            add("Action", action.to_owned());
        }
        for tag in declared.tags.keys() {
            // The tree is there with its branches: `id` lies above `id.customer`.
            for tag in declared.lineage(tag) {
                add("Tag", tag.to_owned());
            }
        }
        for group in &declared.groups {
            add("Group", group.clone());
        }
        for user in declared.users.keys() {
            add("User", user.clone());
        }
        for purpose in declared.purposes.keys() {
            // No type of entities: policies compare texts with it.
            add("purpose", purpose.clone());
        }
        for domain in domains {
            add("Domain", domain.name.to_string());
            for product in domain.products.values().flatten() {
                for id in [product.name.to_string(), format!("{}@{}", product.name, product.contract.major)] {
                    each_column(&id, &product.contract.columns, &mut |id, column| {
                        add("Column", id.to_owned());
                        columns.insert(id.to_owned(), column.kind.clone());
                    });
                    add("Product", id);
                }
            }
        }
        let keys = declared.key_names.clone();
        for domain in &out {
            add("Domain", domain.to_string());
        }
        Self { validator: schema(declared).map(Validator::new), ids, columns, keys, out }
    }

    fn has(&self, kind: &str, id: &str) -> bool {
        self.ids.get(kind).is_some_and(|ids| ids.contains(id))
    }

    fn names(&self, kind: &str) -> impl Iterator<Item = &str> {
        self.ids.get(kind).into_iter().flatten().map(String::as_str)
    }
}

/// Calls `f` with the address of every column and nested field.
pub(crate) fn each_column<'c>(parent: &str, columns: &'c [Column], f: &mut impl FnMut(&str, &'c Column)) {
    for column in columns {
        let id = format!("{parent}.{}", column.name);
        f(&id, column);
        each_column(&id, &column.fields, f);
    }
}

/// A policy file.
pub(crate) struct Source {
    file: std::sync::Arc<File>,
}

impl Source {
    pub fn new(file: File) -> Self {
        Self { file: file.into() }
    }
}

/// The policies of one scope, parsed.
#[derive(Default)]
pub(crate) struct Sources {
    policies: Vec<(Policy, Origin)>,
}

impl Sources {
    /// Parses the policies of a file.
    pub fn add(&mut self, source: Source, report: &mut Report) {
        for statement in statements(&source.file, report) {
            let origin = Origin { source: source.file.clone(), offset: statement.offset };
            match Policy::parse(None, statement.text) {
                Ok(policy) => self.policies.push((policy, origin)),
                Err(errors) => {
                    for error in errors.iter() {
                        let place = origin.place(error);
                        let is_template = statement.text.contains("?principal") || statement.text.contains("?resource");
                        let noted = if is_template {
                            report.error("policy/template", &place, "policy templates are not supported")
                        } else {
                            report.error("policy/syntax", &place, error.to_string())
                        };
                        if let Some(help) = error.help() {
                            noted.help(help.to_string());
                        }
                    }
                }
            }
        }
    }

    /// Holds every policy against what is known; `owner` is the domain that wrote them, `met` the policies beside them.
    pub fn check(self, known: &Known, owner: Option<&DomainName>, met: &[Rule], report: &mut Report) -> Vec<Rule> {
        let mut rules: Vec<Rule> = Vec::new();
        for (policy, origin) in self.policies {
            let place = origin.source.place(origin.offset);
            let Some(id) = id(&policy, &place, report) else { continue };
            if let Some(other) = met.iter().chain(&rules).find(|rule| *rule.reason.policy == *id) {
                let message = format!("the policy id {} is taken by {}", quote(&id), other.reason.place);
                report.error("policy/duplicate-id", &place, message);
                continue;
            }
            let policy = policy.new_id(PolicyId::new(&id));
            let mask = annotations(&policy, &place, report);
            actions(&policy, mask.is_some(), &place, report);
            literals(&policy, known, owner, &origin, report);
            for address in scope::compared(&policy) {
                let message =
                    format!("{} is compared by `==` or `contains`, which no major version equals", quote(&address));
                report.error("policy/equality", &place, message).help("write `resource in …`");
            }
            for purpose in scope::purposes(&policy).iter().filter(|purpose| !known.has("purpose", purpose)) {
                let message = format!("the purpose {} is not declared", quote(purpose));
                report.error("policy/unknown-purpose", &place, message).did_you_mean(purpose, known.names("purpose"));
            }
            let mask = mask.and_then(|text| parse_mask(&text, &policy, known, &place, report));
            let Some(policy) = scope::addressed(policy) else {
                report.error("policy/syntax", &place, "the policy's scope could not be read");
                continue;
            };
            rules.push(Rule { policy, reason: Reason { policy: id.into(), place }, mask, origin });
        }
        super::compile::validate(known.validator.as_ref(), &rules, report);
        rules
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

/// Refuses annotations that would do nothing; returns the text of `@mask`.
fn annotations(policy: &Policy, place: &Place, report: &mut Report) -> Option<String> {
    const KNOWN: [&str; 6] = ["id", "mask", "filter", "doc", "description", "reason"];
    let mut mask = None;
    for (name, value) in policy.annotations() {
        match name {
            "mask" => mask = Some(value.to_owned()),
            "filter" => {
                report.error("policy/filter", place, "row filters (`@filter`) are not supported yet");
            }
            name if KNOWN.contains(&name) => {}
            name => report
                .error("policy/unknown-annotation", place, format!("the annotation {} is unknown", quote(name)))
                .did_you_mean(name, KNOWN),
        }
    }
    mask
}

/// Refuses actions that are open, not enforced, or never asked for.
fn actions(policy: &Policy, has_mask: bool, place: &Place, report: &mut Report) {
    let named: Vec<EntityUid> = match policy.action_constraint() {
        ActionConstraint::Any => {
            report
                .error("policy/open-action", place, "the policy leaves its action open")
                .help("write `action == Action::\"…\"`");
            return;
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
    if has_mask && (policy.effect() != Effect::Permit || names.iter().any(|name| *name != "read_masked")) {
        report
            .error("policy/mask", place, "a mask (`@mask`) stands only on a `permit` of `read_masked`")
            .help("write `action == Action::\"read_masked\"`");
    }
}

/// Refuses every entity that is not declared: Cedar would load it, and the policy would never fire.
fn literals(policy: &Policy, known: &Known, owner: Option<&DomainName>, origin: &Origin, report: &mut Report) {
    let place = origin.source.place(origin.offset);
    let literals: BTreeSet<EntityUid> = policy.entity_literals().into_iter().collect();
    for literal in literals {
        let (kind, id) = (literal.type_name().to_string(), literal.id().unescaped().to_owned());
        let text = format!("{kind}::\"{id}\"");
        if kind == "Action" && id == "read_rows" {
            report.error("policy/rows", &place, "row rules (`Action::\"read_rows\"`) are not supported yet");
            continue;
        }
        if kind != "Action" && !TYPES.contains(&kind.as_str()) {
            let message = format!("there are no entities of the type {}", quote(&kind));
            report.error("policy/unknown-type", &place, message).did_you_mean(&kind, TYPES);
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
            report.error("policy/foreign", &place, message).help("only the mesh's policies reach across domains");
            continue;
        }
        if known.has(&kind, &id) {
            continue;
        }
        if owner.is_some() && known.out.iter().any(|out| owner == Some(out)) {
            // The domain is out already; what its broken contracts would have declared is not known.
            continue;
        }
        let is_out = domain.is_some_and(|domain| known.out.iter().any(|out| out.as_str() == domain));
        let message = format!("{} is not declared", quote(&text));
        let noted: Help<'_> = if is_out {
            report.warning("policy/domain-out", &place, format!("{message}, and its domain is out"))
        } else {
            report.error("policy/unknown-entity", &place, message)
        };
        if !is_out {
            noted.did_you_mean(&id, known.names(&kind));
        }
    }
}

fn parse_mask(text: &str, policy: &Policy, known: &Known, place: &Place, report: &mut Report) -> Option<Mask> {
    let mask = match Mask::parse(text, known.keys.iter().map(String::as_str)) {
        Ok(mask) => mask,
        Err(fault) => {
            let noted = report.error("policy/mask", place, fault.message);
            if let Some(help) = fault.help {
                noted.help(help);
            }
            return None;
        }
    };
    let scope = match policy.resource_constraint() {
        ResourceConstraint::In(uid) | ResourceConstraint::Eq(uid) | ResourceConstraint::IsIn(_, uid) => Some(uid),
        ResourceConstraint::Any | ResourceConstraint::Is(_) => None,
    };
    if let Some(scope) = scope
        && let Some(kind) = known.columns.get(scope.id().unescaped())
        && !mask.applies_to(kind)
    {
        let message = format!("the mask `{mask}` is not defined for the type of {}", quote(scope.id().unescaped()));
        report.warning("policy/mask-type", place, message).help("the column will be denied");
    }
    Some(mask)
}
