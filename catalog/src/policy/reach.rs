//! Whom and what policies reach: the index that spares a decision all others.
//!
//! ```text
//! permit (principal in Group::"g", action == …, resource in Tag::"pii")   filed under Tag "pii", there under Group "g"
//! shop.customers.email, tagged pii.email, asked for by one of g           looks under Tag "pii.email", "pii", Column …,
//!                                                                         Product …, Domain …, and under what is open
//! ```
//!
//! A scope matches exactly where the resource lies in what it names, so looking up what a resource lies in finds every
//! policy that reaches it, and no other.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use cedar_policy::EntityUid;

use super::condition::ConditionId;
use super::filter::Written;
use super::planted::{self, Fault};
use super::{Mask, Reason};

/// What is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Action {
    Discover,
    Read,
    ReadMasked,
    ReadRows,
}

impl Action {
    pub const ALL: [Self; 4] = [Self::Discover, Self::Read, Self::ReadMasked, Self::ReadRows];

    pub fn name(self) -> &'static str {
        match self {
            Self::Discover => "discover",
            Self::Read => "read",
            Self::ReadMasked => "read_masked",
            Self::ReadRows => "read_rows",
        }
    }

    /// Whether it lies in `Action::"see"`.
    pub fn is_seeing(self) -> bool {
        matches!(self, Self::Read | Self::ReadMasked)
    }

    /// Those that a name in a policy's scope stands for.
    pub fn named(name: &str) -> impl Iterator<Item = Self> {
        Self::ALL.into_iter().filter(move |action| action.name() == name || (name == "see" && action.is_seeing()))
    }
}

/// The type of a resource that is asked about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Kind {
    Product,
    Column,
}

/// A policy as it decides.
#[derive(Debug)]
pub(crate) struct Rule {
    pub reason: Reason,
    pub forbids: bool,
    pub actions: Vec<Action>,
    pub who: Who,
    pub reach: Reach,
    /// `resource is …`
    pub kind: Option<Kind>,
    pub condition: Option<ConditionId>,
    pub mask: Option<Mask>,
    pub filter: Option<Arc<Written>>,
}

/// The principals of a policy's scope.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Who {
    Everyone,
    User(Arc<str>),
    Group(Arc<str>),
    /// Whoever is in none of these groups.
    Outside(BTreeSet<String>),
    Nobody,
}

impl Who {
    /// The groups that are named.
    pub fn groups(&self) -> impl Iterator<Item = &str> {
        let (one, several) = match self {
            Self::Group(group) => (Some(&**group), None),
            Self::Outside(groups) => (None, Some(groups)),
            Self::Everyone | Self::User(_) | Self::Nobody => (None, None),
        };
        one.into_iter().chain(several.into_iter().flatten().map(String::as_str))
    }
}

/// The resources of a policy's scope: all that lies in one entity, by its key, or everything.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Reach(Arc<str>);

impl Reach {
    pub fn everything() -> Self {
        Self("".into())
    }

    pub fn of(kind: &str, id: &str) -> Self {
        Self(key(kind, id).into())
    }
}

/// The key of an entity.
fn key(kind: &str, id: &str) -> String {
    format!("{kind} {id}")
}

/// What a resource lies in, itself included.
#[derive(Debug, Clone, Default)]
pub(crate) struct Lies(Vec<String>);

impl Lies {
    /// In everything, and nothing more yet.
    pub fn nowhere() -> Self {
        Self(vec![String::new()])
    }

    pub fn add(&mut self, kind: &str, id: &str) {
        let key = key(kind, id);
        if !self.0.contains(&key) {
            self.0.push(key);
        }
    }

    pub fn in_entity(&self, uid: &EntityUid) -> bool {
        self.has(uid.type_name().basename(), uid.id().unescaped())
    }

    /// Whether it lies in the entity of that type and name.
    pub fn has(&self, kind: &str, id: &str) -> bool {
        self.0
            .iter()
            .any(|key| key.strip_prefix(kind).and_then(|rest| rest.strip_prefix(' ')).is_some_and(|own| own == id))
    }

    /// Those keys that came after the first `known`.
    fn since(&self, known: usize) -> &[String] {
        self.0.get(known..).unwrap_or_default()
    }

    pub fn len(&self) -> usize {
        self.0.len()
    }
}

/// Policies by what they reach.
#[derive(Debug, Default)]
pub(crate) struct Index {
    reaches: HashMap<Arc<str>, Bucket>,
}

/// The policies that reach one entity, by whom they are for.
#[derive(Debug, Default)]
struct Bucket {
    everyone: Vec<u32>,
    users: HashMap<Arc<str>, Vec<u32>>,
    groups: HashMap<Arc<str>, Vec<u32>>,
    outside: Vec<u32>,
    /// Whether one of them, whoever it is for, permits rows.
    closes_rows: bool,
}

impl Index {
    /// Files `rule`, which stands at `place` of all rules.
    pub fn add(&mut self, place: u32, rule: &Rule) {
        let bucket = self.reaches.entry(rule.reach.0.clone()).or_default();
        match &rule.who {
            Who::Everyone => bucket.everyone.push(place),
            Who::User(user) => bucket.users.entry(user.clone()).or_default().push(place),
            Who::Group(group) => bucket.groups.entry(group.clone()).or_default().push(place),
            Who::Outside(_) => bucket.outside.push(place),
            Who::Nobody => {}
        }
        let of_rows = rule.actions.contains(&Action::ReadRows) && rule.kind != Some(Kind::Column);
        bucket.closes_rows |= of_rows && !rule.forbids;
    }

    /// Whether the rows of a product that lies there are closed: conditions and principals do not count.
    pub fn closes_rows(&self, lies: &Lies) -> bool {
        lies.0.iter().any(|key| self.reaches.get(key.as_str()).is_some_and(|bucket| bucket.closes_rows))
    }

    /// The rules whose scope reaches anything that `lies` holds after its first `known` keys, whoever they are for.
    pub fn reaching<'r, 'l>(
        &'r self,
        rules: &'r [Rule],
        lies: &'l Lies,
        known: usize,
    ) -> impl Iterator<Item = &'r Rule> + use<'r, 'l> {
        let buckets = lies.since(known).iter().filter_map(|key| self.reaches.get(key.as_str()));
        let places = buckets.flat_map(|bucket| {
            let named = bucket.users.values().chain(bucket.groups.values()).flatten();
            bucket.everyone.iter().chain(&bucket.outside).chain(named)
        });
        places.filter_map(|place| rules.get(*place as usize))
    }

    /// Adds to `found` the rules whose scope matches somebody at what `lies` holds after the first `known` keys.
    pub fn find<'r>(
        &self,
        rules: &'r [Rule],
        lies: &Lies,
        known: usize,
        user: &str,
        groups: &[&str],
        found: &mut Vec<&'r Rule>,
    ) {
        for bucket in lies.since(known).iter().filter_map(|key| self.reaches.get(key.as_str())) {
            let of_user = bucket.users.get(user).into_iter().flatten();
            let of_groups = groups.iter().filter_map(|group| bucket.groups.get(*group)).flatten();
            let named = bucket.everyone.iter().chain(of_user).chain(of_groups);
            found.extend(named.filter_map(|place| rules.get(*place as usize)));
            let outside = bucket.outside.iter().filter_map(|place| rules.get(*place as usize));
            found.extend(outside.filter(|rule| match &rule.who {
                Who::Outside(inside) => {
                    !groups.iter().any(|group| inside.contains(*group)) && !planted::is(Fault::StandardIgnored)
                }
                _ => false,
            }));
        }
    }
}
