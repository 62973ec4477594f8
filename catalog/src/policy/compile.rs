//! Checked policies become the rules that decide: the mesh's and the tags' for every product, and each domain's own.

use std::collections::{BTreeMap, HashSet};

use super::Policies;
use super::condition::Pool;
use super::reach::{Action, Index, Reach, Rule, Who};
use super::uid::Types;
use crate::document::{Place, Report};
use crate::mesh::declared::Declared;
use crate::name::DomainName;

impl Policies {
    /// Puts the policies together. `mesh_wide` reach all products, those of a domain reach its own.
    pub(crate) fn compile(
        declared: &Declared,
        conditions: Pool,
        mesh_wide: Vec<Rule>,
        domains: BTreeMap<DomainName, Vec<Rule>>,
        report: &mut Report,
    ) -> Option<Self> {
        let Some(types) = Types::new() else {
            report.error("policy/schema", &Place::top(), "the schema for policies could not be made");
            return None;
        };
        let mut policies =
            Self { rules: Vec::new(), conditions, mesh_wide: Index::default(), domains: BTreeMap::new(), types };
        let standards = standards(declared);
        policies.mesh_wide = policies.index(mesh_wide.into_iter().chain(standards).collect(), report);
        for (domain, rules) in domains {
            let index = policies.index(rules, report);
            policies.domains.insert(domain, index);
        }
        policies.rules.shrink_to_fit();
        Some(policies)
    }

    fn index(&mut self, rules: Vec<Rule>, report: &mut Report) -> Index {
        let mut index = Index::default();
        let mut ids = HashSet::new();
        for rule in rules {
            let place = u32::try_from(self.rules.len()).ok().filter(|_| ids.insert(rule.reason.policy.clone()));
            // A policy that is lost here could be a forbid, so losing one breaks what it belongs to.
            match place {
                Some(place) => index.add(place, &rule),
                None => {
                    report.error("policy/duplicate-id", &rule.reason.place, "two policies have this id");
                }
            }
            self.rules.push(rule);
        }
        index
    }
}

/// What the tags say: `unmasked_for` is a forbid of raw values for everybody else.
fn standards(declared: &Declared) -> impl Iterator<Item = Rule> {
    declared.tags.iter().filter_map(|(tag, declaration)| {
        let (groups, place) = declaration.unmasked_for.as_ref()?;
        Some(Rule {
            reason: super::Reason { policy: format!("standards:{tag}").into(), place: place.clone() },
            forbids: true,
            actions: vec![Action::Read],
            who: Who::Outside(groups.clone()),
            reach: Reach::of("Tag", tag),
            kind: None,
            condition: None,
            mask: None,
            filter: None,
        })
    })
}
