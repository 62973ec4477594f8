//! Checked policies become the sets that decide: the mesh's, the tags' and one domain's in each.

use std::collections::{BTreeMap, HashMap};

use cedar_policy::{Authorizer, EntityUid, Policy, PolicyId, PolicySet, ValidationMode, ValidationWarning, Validator};
use miette::Diagnostic;

use super::check::Rule;
use super::uid::{Types, uid};
use super::{Known, Policies, Reason, Ruleset};
use crate::document::{Place, Report};
use crate::mesh::declared::Declared;
use crate::name::DomainName;

/// Holds `rules` strictly against the schema of the mesh.
pub(crate) fn validate(validator: Option<&Validator>, rules: &[Rule], report: &mut Report) {
    let Some(validator) = validator else {
        let place = Place { file: "mesh.yaml".into(), line: 1, column: 1 };
        report.error("policy/schema", &place, "the declared attributes make no schema for policies");
        return;
    };
    for rule in rules {
        // One by one: what fails in one policy must not hide what fails in another.
        let Ok(set) = PolicySet::from_policies([rule.policy.clone()]) else { continue };
        let result = validator.validate(&set, ValidationMode::Strict);
        for error in result.validation_errors() {
            let noted = report.error(code(error), &rule.origin.place(error), message(error, rule));
            if let Some(help) = error.help() {
                noted.help(help.to_string());
            }
        }
        for warning in result.validation_warnings() {
            let (place, message) = (rule.origin.place(warning), message(warning, rule));
            match warning {
                // A forbid that can never fire protects nothing, whatever its author thinks.
                ValidationWarning::ImpossiblePolicy(_) => {
                    report.error("policy/never-applies", &place, message);
                }
                _ => {
                    report.warning("policy/suspicious", &place, message);
                }
            }
        }
    }
}

fn code(error: &cedar_policy::ValidationError) -> &'static str {
    use cedar_policy::ValidationError as E;
    match error {
        E::UnsafeAttributeAccess(_) => "policy/unknown-attribute",
        E::UnsafeOptionalAttributeAccess(_) => "policy/unguarded-attribute",
        E::InvalidActionApplication(_) => "policy/never-applies",
        _ => "policy/invalid",
    }
}

/// Cedar puts the policy's id in front of each message; ours say the place.
fn message(fault: &(impl Diagnostic + std::fmt::Display), rule: &Rule) -> String {
    let text = fault.to_string();
    let prefix = format!("for policy `{}`, ", rule.reason.policy);
    text.strip_prefix(&prefix).map_or_else(|| text.clone(), str::to_owned)
}

impl Policies {
    /// Puts the policies together, one set per domain.
    pub(crate) fn compile(
        declared: &Declared,
        mesh_wide: &[Rule],
        domains: &BTreeMap<DomainName, Vec<Rule>>,
        report: &mut Report,
    ) -> Option<Self> {
        let place = Place { file: "mesh.yaml".into(), line: 1, column: 1 };
        let Some(types) = Types::new() else {
            report.error("policy/schema", &place, "the schema for policies could not be made");
            return None;
        };
        let standards = standards(declared, &types, report);
        let mut sets = BTreeMap::new();
        for (domain, own) in domains {
            let mut ruleset = Ruleset { set: PolicySet::new(), known: HashMap::new() };
            for rule in mesh_wide.iter().chain(own) {
                ruleset.add(
                    rule.policy.clone(),
                    Known { reason: rule.reason.clone(), mask: rule.mask.clone() },
                    report,
                );
            }
            for (policy, reason) in &standards {
                ruleset.add(policy.clone(), Known { reason: reason.clone(), mask: None }, report);
            }
            sets.insert(domain.clone(), ruleset);
        }
        Some(Self { domains: sets, types, authorizer: Authorizer::new() })
    }
}

impl Ruleset {
    fn add(&mut self, policy: Policy, known: Known, report: &mut Report) {
        let place = known.reason.place.clone();
        let id = policy.id().clone();
        // A policy that is lost here could be a forbid, so losing one breaks what it belongs to.
        if self.known.insert(id, known).is_some() || self.set.add(policy).is_err() {
            report.error("policy/duplicate-id", &place, "two policies have this id");
        }
    }
}

/// What the tags say: `unmasked_for` is a forbid of raw values for everybody else.
fn standards(declared: &Declared, types: &Types, report: &mut Report) -> Vec<(Policy, Reason)> {
    let mut policies = Vec::new();
    for (tag, declaration) in &declared.tags {
        let Some((groups, place)) = &declaration.unmasked_for else { continue };
        let groups: Vec<String> = groups.iter().map(|group| EntityUid::to_string(&uid(&types.group, group))).collect();
        let text = format!(
            "forbid (principal, action == Action::\"read\", resource in {}) unless {{ principal in [{}] }};",
            uid(&types.tag, tag),
            groups.join(", "),
        );
        let id = format!("standards:{tag}");
        match Policy::parse(Some(PolicyId::new(&id)), text) {
            Ok(policy) => policies.push((policy, Reason { policy: id.into(), place: place.clone() })),
            Err(error) => {
                report.error("policy/standards", place, format!("this makes no policy: {error}"));
            }
        }
    }
    policies
}
