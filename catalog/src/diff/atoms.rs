//! Whom the policies on a product can tell apart.
//!
//! Every policy that reaches the product, in either state, names groups, users, purposes, and compares attributes with
//! texts, patterns, numbers and each other. People who agree in all of these are the same to it, so one of each kind
//! stands for everybody. What is compared in another way, a product of numbers for one, is not taken apart: there are
//! people whom nobody stands for, and that is said.

use std::collections::{BTreeMap, BTreeSet};
use std::str::FromStr;

use cedar_policy::{Policy, PolicySet, ResourceConstraint};

use super::spoken::{Compared, PURPOSE, Spoken, joined};
use super::{State, texts};
use crate::contract::Column;
use crate::document::Report;
use crate::document::file::{File, Tree};
use crate::mesh::declared::AttributeType;
use crate::mesh::{Mesh, Product};
use crate::name::DomainName;
use crate::principal::{Attribute, Principal};
use crate::trial::NOBODY;

/// No more people than these are asked about for one product.
const MOST: usize = 4096;
/// Combinations of groups, and combinations of everything else.
const MOST_GROUPS: usize = 1024;
const MOST_OTHERS: usize = 1024;
/// All sets are made of no more texts than these.
const MOST_ELEMENTS: usize = 6;

/// A policy as it is written.
#[derive(Debug)]
pub(super) struct Written {
    /// Whose it is; the mesh's without one.
    domain: Option<DomainName>,
    policy: Policy,
}

/// Somebody in both states.
#[derive(Debug, Clone)]
pub(super) struct Person {
    pub old: Principal,
    pub new: Principal,
    pub words: String,
}

/// Reads the policies of a mesh that is loaded already.
pub(super) fn read(mesh: &Mesh, tree: &Tree<'_>, report: &mut Report) -> Vec<Written> {
    let mut found = Vec::new();
    let domains = mesh.domains().map(|domain| Some(domain.name.clone()));
    for domain in std::iter::once(None).chain(domains) {
        let folder = domain.as_ref().map_or_else(|| "policies".to_owned(), |domain| format!("{domain}/policies"));
        for name in tree.list(&folder).unwrap_or_default().into_iter().filter(|name| name.ends_with(".cedar")) {
            let Some(file) = File::read(tree, &format!("{folder}/{name}"), report) else { continue };
            match PolicySet::from_str(&file.text) {
                Ok(set) => found
                    .extend(set.policies().map(|policy| Written { domain: domain.clone(), policy: policy.clone() })),
                Err(error) => {
                    report.error("policy/invalid", &file.place(0), error.to_string());
                }
            }
        }
    }
    found
}

/// Whether the two states can decide differently of a product.
pub(super) fn differ(old: &State<'_>, new: &State<'_>, pair: (Option<&Product>, Option<&Product>)) -> bool {
    let (Some(before), Some(after)) = pair else { return false };
    users_differ(old.mesh, new.mesh) || ground(old, before) != ground(new, after)
}

/// All that decisions about a product rest on.
fn ground(state: &State<'_>, product: &Product) -> String {
    fn shape(columns: &[Column], found: &mut String) {
        for column in columns {
            found.push_str(&format!("{} {:?} {:?} (", column.name, column.kind, column.tags));
            shape(&column.fields, found);
            found.push(')');
        }
    }
    let declared = &state.mesh.declared;
    let mut policies: Vec<String> = reaching(state, product).map(|written| written.policy.to_string()).collect();
    policies.sort();
    let tags: Vec<_> = lineage(product)
        .into_iter()
        .filter_map(|tag| {
            let found = declared.tags.get(&tag)?;
            let mask = found.mask.as_ref().map(|(mask, _)| mask.clone());
            Some((tag, mask, found.unmasked_for.as_ref().map(|(groups, _)| groups.clone())))
        })
        .collect();
    let contract = &product.contract;
    let mut text = format!("{policies:?} {tags:?} {:?} {:?}", declared.purposes, declared.groups);
    text.push_str(&format!("{:?} {:?} {}", declared.attributes, contract.tags, contract.closed_rows));
    shape(&contract.columns, &mut text);
    text
}

fn users_differ(old: &Mesh, new: &Mesh) -> bool {
    old.users().any(|user| new.user(user).is_some() && old.principal(user) != new.principal(user))
}

/// The policies that can have a say about a product.
fn reaching<'s>(state: &'s State<'_>, product: &'s Product) -> impl Iterator<Item = &'s Written> {
    let tags = lineage(product);
    let plain = product.name.to_string();
    let major = format!("{plain}@{}", product.contract.major);
    state.policies.iter().filter(move |written| {
        let uid = match written.policy.resource_constraint() {
            ResourceConstraint::Any | ResourceConstraint::Is(_) => None,
            ResourceConstraint::Eq(uid) | ResourceConstraint::In(uid) | ResourceConstraint::IsIn(_, uid) => Some(uid),
        };
        let is_here = written.domain.as_ref().is_none_or(|domain| domain == product.name.domain());
        is_here
            && uid.is_none_or(|uid| {
                let id = uid.id().unescaped();
                let inside = |address: &str| id.strip_prefix(address).is_some_and(|rest| rest.starts_with('.'));
                match uid.type_name().basename() {
                    "Domain" => id == product.name.domain().as_str(),
                    "Product" => id == plain || id == major,
                    "Column" => inside(&plain) || inside(&major),
                    "Tag" => tags.contains(id),
                    _ => true,
                }
            })
    })
}

/// Every tag that a product or anything in it lies in.
fn lineage(product: &Product) -> BTreeSet<String> {
    fn walk(tags: &BTreeSet<String>, columns: &[Column], found: &mut BTreeSet<String>) {
        for tag in tags {
            let above = std::iter::successors(Some(tag.as_str()), |tag| tag.rsplit_once('.').map(|(above, _)| above));
            found.extend(above.map(str::to_owned));
        }
        columns.iter().for_each(|column| walk(&column.tags, &column.fields, found));
    }
    let mut found = BTreeSet::new();
    walk(&product.contract.tags, &product.contract.columns, &mut found);
    found
}

/// What policies name.
#[derive(Default)]
struct Atoms {
    groups: BTreeSet<String>,
    users: BTreeSet<String>,
    purposes: BTreeSet<String>,
    /// Attributes, and the purpose, each with what stands in policies about it.
    attributes: BTreeMap<String, Compared>,
    /// Those that are compared with each other.
    together: Vec<BTreeSet<String>>,
}

impl Atoms {
    fn add(&mut self, state: &State<'_>, product: &Product) {
        let declared = &state.mesh.declared;
        for Written { policy, .. } in reaching(state, product) {
            for uid in policy.entity_literals() {
                match uid.type_name().basename() {
                    "Group" => drop(self.groups.insert(uid.id().unescaped().to_owned())),
                    "User" => drop(self.users.insert(uid.id().unescaped().to_owned())),
                    _ => {}
                }
            }
            self.of_conditions(policy, state.mesh);
        }
        for tag in lineage(product) {
            let groups = declared.tags.get(&tag).and_then(|tag| tag.unmasked_for.as_ref());
            self.groups.extend(groups.into_iter().flat_map(|(groups, _)| groups.clone()));
        }
        for (purpose, groups) in &declared.purposes {
            if self.purposes.contains(purpose) {
                self.groups.extend(groups.iter().cloned());
            }
        }
    }

    fn of_conditions(&mut self, policy: &Policy, mesh: &Mesh) {
        let declared = &mesh.declared;
        let Spoken { mut named, mut compared, together, .. } = Spoken::of(&policy.to_json().unwrap_or_default());
        self.together.extend(together);
        if let Some(filter) = policy.annotation("filter") {
            let attributes = declared.attributes.keys().filter(|name| filter.contains(&format!("principal.{name}")));
            let attributes: BTreeSet<String> = attributes.cloned().collect();
            named.extend(attributes.iter().cloned());
            // They can be compared with each other, and by way of columns.
            self.together.push(attributes);
            compared.texts.extend(filter.split('\'').skip(1).step_by(2).map(str::to_owned));
            let digits = filter.split(|c: char| !c.is_ascii_digit());
            compared
                .numbers
                .extend(digits.filter_map(|digits| digits.parse::<i64>().ok()).flat_map(|number| [number, -number]));
        }
        if named.remove(PURPOSE) {
            self.purposes.extend(declared.purposes.keys().cloned());
            let purposes = self.attributes.entry(PURPOSE.to_owned()).or_default();
            purposes.texts.extend(declared.purposes.keys().cloned());
        }
        for name in named.into_iter().filter(|name| declared.attributes.contains_key(name)) {
            self.attributes.entry(name).or_default().extend(&compared);
        }
    }
}

/// Whether policies changed on a product, and some of them compare what is not taken apart.
pub(super) fn is_opaque(old: &State<'_>, new: &State<'_>, pair: (&Product, &Product)) -> bool {
    fn tags<'c>(columns: &'c [Column], around: &str, found: &mut BTreeMap<String, &'c BTreeSet<String>>) {
        for column in columns {
            let path = format!("{around}.{}", column.name);
            tags(&column.fields, &path, found);
            found.insert(path, &column.tags);
        }
    }
    let rules = |state: &State<'_>, product: &Product| {
        let mut rules: Vec<String> = reaching(state, product).map(|written| written.policy.to_string()).collect();
        rules.sort();
        rules
    };
    let opaque = |state: &State<'_>, product: &Product| {
        reaching(state, product).any(|written| Spoken::of(&written.policy.to_json().unwrap_or_default()).is_opaque)
    };
    let (mut before, mut after) = (BTreeMap::new(), BTreeMap::new());
    tags(&pair.0.contract.columns, "", &mut before);
    tags(&pair.1.contract.columns, "", &mut after);
    let other_tags = pair.0.contract.tags != pair.1.contract.tags
        || before.iter().any(|(path, tags)| after.get(path).is_some_and(|other| other != tags));
    (other_tags || rules(old, pair.0) != rules(new, pair.1)) && (opaque(old, pair.0) || opaque(new, pair.1))
}

/// One of each kind of people, those of whom least is said first; and whether there are more.
pub(super) fn people(
    old: &State<'_>,
    new: &State<'_>,
    pair: (Option<&Product>, Option<&Product>),
) -> (Vec<Person>, bool) {
    let mut atoms = Atoms::default();
    for (state, product) in [(old, pair.0), (new, pair.1)] {
        if let Some(product) = product {
            atoms.add(state, product);
        }
    }
    let (groups, more_groups) = combinations(&atoms.groups);
    let (others, more_others) = others(&atoms, old.mesh, new.mesh);
    let mut pairs: Vec<(usize, usize, usize)> = Vec::new();
    for (g, group) in groups.iter().enumerate() {
        pairs.extend(others.iter().enumerate().map(|(o, other)| (group.len() + other.size(), g, o)));
    }
    pairs.sort_unstable();
    let mut found = Vec::new();
    let mut cut = more_groups || more_others;
    for (_, g, o) in pairs {
        let (Some(groups), Some(other)) = (groups.get(g), others.get(o)) else { continue };
        let principal = Principal {
            id: NOBODY.to_owned(),
            groups: groups.clone(),
            attributes: other.attributes.clone(),
            purpose: other.purpose.clone(),
        };
        let entitled = |mesh: &Mesh, purpose: &String| mesh.is_entitled(&principal, purpose);
        if other.purpose.as_ref().is_some_and(|purpose| !entitled(old.mesh, purpose) && !entitled(new.mesh, purpose)) {
            continue;
        }
        if found.len() == MOST {
            cut = true;
            break;
        }
        let mut words = crate::trial::words(&principal);
        if let Some(purpose) = &principal.purpose {
            words.push_str(&format!(" for {purpose}"));
        }
        found.push(Person { old: principal.clone(), new: principal, words });
    }
    let users = old.mesh.users().filter_map(|user| {
        let (before, after) = (old.mesh.principal(user)?, new.mesh.principal(user)?);
        (before != after || atoms.users.contains(user)).then(|| Person {
            old: before,
            new: after,
            words: format!("the user {user}"),
        })
    });
    found.extend(users);
    (found, cut)
}

/// What is said of somebody beside groups.
#[derive(Debug, Clone, Default)]
struct Other {
    purpose: Option<String>,
    attributes: BTreeMap<String, Attribute>,
}

impl Other {
    fn size(&self) -> usize {
        self.attributes.len() + usize::from(self.purpose.is_some())
    }

    fn and(mut self, more: &Self) -> Self {
        self.attributes.extend(more.attributes.clone());
        self.purpose = more.purpose.clone().or(self.purpose);
        self
    }
}

/// The sets of groups, small ones first; and whether there are more.
fn combinations(groups: &BTreeSet<String>) -> (Vec<BTreeSet<String>>, bool) {
    let mut found = vec![BTreeSet::new()];
    let mut next = 0;
    while let Some(set) = found.get(next).cloned() {
        next += 1;
        let last = set.last().cloned();
        for group in groups.iter().filter(|group| last.as_ref().is_none_or(|last| *group > last)) {
            if found.len() == MOST_GROUPS {
                return (found, true);
            }
            let mut larger = set.clone();
            larger.insert(group.clone());
            found.push(larger);
        }
    }
    (found, false)
}

/// What can be said beside groups; and whether there is more.
fn others(atoms: &Atoms, old: &Mesh, new: &Mesh) -> (Vec<Other>, bool) {
    let mut cut = false;
    let of_attribute = |(name, (compared, count)): (&String, &(Compared, usize))| {
        let declared = [new, old].into_iter().find_map(|mesh| mesh.declared.attributes.get(name));
        let (values, more) = declared.map(|kind| values(*kind, compared, *count)).unwrap_or_default();
        cut |= more;
        let said = |value| Other { purpose: None, attributes: BTreeMap::from([(name.clone(), value)]) };
        values.into_iter().map(said).collect::<Vec<_>>()
    };
    let of_purpose = |purpose: &String| Other { purpose: Some(purpose.clone()), attributes: BTreeMap::new() };
    let mut choices: Vec<Vec<Other>> = joined(&atoms.attributes, &atoms.together).iter().map(of_attribute).collect();
    choices.push(atoms.purposes.iter().map(of_purpose).collect());
    let mut found = vec![Other::default()];
    for choices in choices {
        // Each of them, or nothing of the kind.
        for known in found.clone() {
            for choice in &choices {
                if found.len() == MOST_OTHERS {
                    return (found, true);
                }
                found.push(known.clone().and(choice));
            }
        }
    }
    (found, cut)
}

/// The values of an attribute that policies can tell apart, where `count` can be compared with each other; and whether
/// there are more.
fn values(kind: AttributeType, compared: &Compared, count: usize) -> (Vec<Attribute>, bool) {
    let (texts, cut) = texts::telling(&compared.texts, &compared.patterns, count);
    match kind {
        AttributeType::String => (texts.into_iter().map(Attribute::String).collect(), cut),
        AttributeType::Bool => (vec![Attribute::Bool(false), Attribute::Bool(true)], false),
        AttributeType::Long => {
            let around = i64::try_from(count).unwrap_or(i64::MAX);
            let centres = if compared.numbers.is_empty() { BTreeSet::from([0]) } else { compared.numbers.clone() };
            let around = |centre: i64| (-around..=around).map(move |step| centre.saturating_add(step));
            let numbers: BTreeSet<i64> = centres.into_iter().flat_map(around).collect();
            (numbers.into_iter().map(Attribute::Long).collect(), false)
        }
        AttributeType::Strings => {
            let (sets, more) = sets(&texts);
            (sets.into_iter().map(Attribute::Set).collect(), cut || more)
        }
    }
}

/// Sets of texts, small ones first; and whether there are more.
fn sets(texts: &BTreeSet<String>) -> (Vec<BTreeSet<String>>, bool) {
    if texts.len() <= MOST_ELEMENTS {
        return (combinations(texts).0, false);
    }
    let single = texts.iter().map(|text| BTreeSet::from([text.clone()]));
    (std::iter::once(BTreeSet::new()).chain(single).chain([texts.clone()]).collect(), true)
}
