//! The conditions of policies: what Cedar evaluates, and what an answer depends on.
//!
//! A policy's scope is matched by our own index; only its `when` and `unless` go to Cedar. Many policies have the same
//! conditions, so each is kept once, as a set of one policy with an open scope:
//!
//! ```text
//! @id("a") permit (principal in Group::"g", action == …, resource in …) when { resource in Tag::"pii" };
//! scope -> index         conditions -> permit (principal, action, resource) when { resource in Tag::"pii" };
//! ```
//!
//! Resources have no attributes, so a condition knows of one only its type and in which of the entities that the
//! condition names it lies. That makes answers few: [`Asking`] keeps them for the length of a decision.

use std::cell::{OnceCell, RefCell};
use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use cedar_policy::{
    Authorizer, Context, Decision as Verdict, Entities, Entity, EntityUid, Policy, PolicyId, PolicySet, Request,
    RestrictedExpression,
};
use serde_json::{Value, json};

use super::reach::{Action, Kind, Lies};
use super::scope::{self, Conditions};
use super::uid::{Types, uid};
use crate::mesh::declared::Declared;
use crate::principal::{Attribute, Principal};

/// Which condition.
pub(crate) type ConditionId = u32;

/// The conditions of all policies of a mesh, each once.
pub(crate) struct Pool {
    all: Vec<Condition>,
}

/// Conditions while policies are read, which several threads do.
#[derive(Default)]
pub(crate) struct Gathering(Mutex<Gathered>);

#[derive(Default)]
struct Gathered {
    ids: HashMap<String, ConditionId>,
    /// What is known of conditions already, by their texts: reading them again costs as much as parsing.
    texts: HashMap<String, Arc<Spoken>>,
    all: Vec<Condition>,
}

/// What conditions are and speak of.
pub(crate) struct Spoken {
    pub id: ConditionId,
    /// Every entity that they name.
    pub literals: Vec<EntityUid>,
    /// Addresses that they compare by `==` or `contains`.
    pub compared: Vec<String>,
    /// Purposes that they name.
    pub purposes: Vec<String>,
    /// What they look like to Cedar's validator, which looks at types and never at names: conditions of one shape pass
    /// together. Actions keep their names.
    pub shape: String,
}

/// What stands in `when` and `unless` of a policy.
struct Condition {
    set: PolicySet,
    of_action: bool,
    of_resource: bool,
    /// What a resource can lie in and the condition names.
    literals: Vec<EntityUid>,
}

impl Gathering {
    /// What the conditions of `policy` are, if it has any. `text` is where they stand in it, if that is known.
    pub fn keep(&self, policy: &Policy, text: Option<&str>) -> Result<Option<Arc<Spoken>>, String> {
        // Most policies have none, and that is seen at once.
        if text.is_some_and(|text| text.trim() == ";") {
            return Ok(None);
        }
        if let Some(known) = text.and_then(|text| self.gathered().texts.get(text).cloned()) {
            return Ok(Some(known));
        }
        let Some(conditions) = Conditions::of(policy)? else { return Ok(None) };
        let open = json!({ "op": "All" });
        let alone = json!({
            "effect": "permit", "principal": open, "action": open, "resource": open, "conditions": conditions.0,
        });
        let alone = Policy::from_json(Some(PolicyId::new("condition")), alone).map_err(|error| error.to_string())?;
        let literals: HashSet<EntityUid> = alone.entity_literals().into_iter().collect();
        let mut literals: Vec<EntityUid> = literals.into_iter().collect();
        literals.sort();
        let spoken = Arc::new(Spoken {
            compared: scope::compared(&conditions),
            purposes: scope::purposes(&conditions),
            shape: shape(&conditions),
            id: self.gathered().add(&conditions, alone, &literals)?,
            literals,
        });
        if let Some(text) = text {
            self.gathered().texts.insert(text.to_owned(), spoken.clone());
        }
        Ok(Some(spoken))
    }

    fn gathered(&self) -> MutexGuard<'_, Gathered> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Done with gathering.
    pub fn close(self) -> Pool {
        let mut all = self.0.into_inner().unwrap_or_else(PoisonError::into_inner).all;
        all.shrink_to_fit();
        Pool { all }
    }
}

impl Gathered {
    fn add(&mut self, conditions: &Conditions, alone: Policy, literals: &[EntityUid]) -> Result<ConditionId, String> {
        let text = conditions.0.to_string();
        if let Some(id) = self.ids.get(&text) {
            return Ok(*id);
        }
        let can_hold =
            |literal: &&EntityUid| ["Domain", "Product", "Column", "Tag"].contains(&literal.type_name().basename());
        let condition = Condition {
            set: PolicySet::from_policies([alone]).map_err(|error| error.to_string())?,
            of_action: conditions.mention("action"),
            of_resource: conditions.mention("resource"),
            literals: literals.iter().filter(can_hold).cloned().collect(),
        };
        let id = ConditionId::try_from(self.all.len()).map_err(|error| error.to_string())?;
        self.all.push(condition);
        self.ids.insert(text, id);
        Ok(id)
    }
}

impl Pool {
    /// How many there are.
    pub fn count(&self) -> usize {
        self.all.len()
    }

    /// A condition as Cedar writes it in JSON; nothing where there is none of that number.
    pub fn text(&self, id: ConditionId) -> Value {
        let policy = self.all.get(id as usize).and_then(|condition| condition.set.policies().next());
        let conditions = policy.and_then(|policy| Conditions::of(policy).ok().flatten());
        conditions.map(|conditions| conditions.0).unwrap_or_default()
    }

    /// All that the answer of a condition depends on, beside the principal.
    pub fn question(&self, id: ConditionId, action: Action, kind: Kind, lies: &Lies) -> Option<Question> {
        let condition = self.all.get(id as usize)?;
        let within = || condition.literals.iter().map(|literal| lies.in_entity(literal)).collect();
        Some((id, condition.of_action.then_some(action), condition.of_resource.then(|| (kind, within()))))
    }

    /// The groups and the purposes that a condition names.
    pub fn speaks_of(&self, id: ConditionId) -> (Vec<String>, Vec<String>) {
        let policies = self.all.get(id as usize).into_iter().flat_map(|condition| condition.set.policies());
        let (mut groups, mut of_purpose) = (Vec::new(), Vec::new());
        for policy in policies {
            let named = policy.entity_literals().into_iter();
            let named = named.filter(|literal| literal.type_name().basename() == "Group");
            groups.extend(named.map(|literal| literal.id().unescaped().to_owned()));
            if let Ok(Some(conditions)) = Conditions::of(policy) {
                of_purpose.extend(scope::purposes(&conditions));
            }
        }
        (groups, of_purpose)
    }
}

/// Evaluates conditions for one principal.
pub(crate) struct Asking<'a> {
    pool: &'a Pool,
    types: &'a Types,
    declared: &'a Declared,
    principal: &'a Principal,
    groups: &'a [&'a str],
    purpose: Option<&'a str>,
    authorizer: Authorizer,
    /// The principal with its groups, and the actions: what every condition may look at.
    around: OnceCell<Option<Vec<Entity>>>,
    answers: RefCell<HashMap<Question, Result<bool, ()>>>,
}

/// All that an answer depends on, for one principal.
pub(crate) type Question = (ConditionId, Option<Action>, Option<(Kind, Vec<bool>)>);

impl<'a> Asking<'a> {
    pub fn new(
        pool: &'a Pool,
        types: &'a Types,
        declared: &'a Declared,
        principal: &'a Principal,
        groups: &'a [&'a str],
        purpose: Option<&'a str>,
    ) -> Self {
        let (around, answers) = (OnceCell::new(), RefCell::default());
        Self { pool, types, declared, principal, groups, purpose, authorizer: Authorizer::new(), around, answers }
    }

    /// Whether the answer is the same for every resource.
    pub fn is_settled(&self, id: ConditionId) -> bool {
        self.pool.all.get(id as usize).is_some_and(|condition| !condition.of_resource)
    }

    /// Whether the condition holds; an error when it fails.
    pub fn holds(&self, id: ConditionId, action: Action, kind: Kind, lies: &Lies) -> Result<bool, ()> {
        let condition = self.pool.all.get(id as usize).ok_or(())?;
        let question = self.pool.question(id, action, kind, lies).ok_or(())?;
        if let Some(answer) = self.answers.borrow().get(&question) {
            return *answer;
        }
        let within = question.2.as_ref().map(|(_, within)| within.as_slice()).unwrap_or_default();
        let answer = self.evaluate(condition, action, kind, within).ok_or(()).and_then(|answer| answer);
        self.answers.borrow_mut().insert(question, answer);
        answer
    }

    /// `None` is an entity or a request that could not be made, which fails like an evaluation.
    fn evaluate(&self, condition: &Condition, action: Action, kind: Kind, within: &[bool]) -> Option<Result<bool, ()>> {
        let parents = condition.literals.iter().zip(within).filter(|(_, within)| **within);
        let parents: HashSet<EntityUid> = parents.map(|(literal, _)| literal.clone()).collect();
        // Its name is nobody's: a condition cannot compare a product or a column with `==`.
        let resource = uid(if kind == Kind::Product { &self.types.product } else { &self.types.column }, "$asked");
        let mut entities = self.around.get_or_init(|| self.around()).clone()?;
        entities.extend(condition.literals.iter().filter_map(|literal| self.above(literal)));
        entities.push(Entity::new_no_attrs(resource.clone(), parents));
        let entities = Entities::from_entities(entities, None).ok()?;
        let purpose =
            self.purpose.map(|text| ("purpose".to_owned(), RestrictedExpression::new_string(text.to_owned())));
        let context = Context::from_pairs(purpose).ok()?;
        let user = uid(&self.types.user, &self.principal.id);
        let request = Request::new(user, uid(&self.types.action, action.name()), resource, context, None).ok()?;
        let response = self.authorizer.is_authorized(&request, &condition.set, &entities);
        let failed = response.diagnostics().errors().next().is_some();
        Some(if failed { Err(()) } else { Ok(response.decision() == Verdict::Allow) })
    }

    /// A tag with those above it, so that a condition that asks how tags lie is answered.
    fn above(&self, literal: &EntityUid) -> Option<Entity> {
        let tag = literal.id().unescaped();
        let above: HashSet<EntityUid> = match literal.type_name() == &self.types.tag {
            true => self.declared.lineage(tag).skip(1).map(|tag| uid(&self.types.tag, tag)).collect(),
            false => return None,
        };
        Some(Entity::new_no_attrs(literal.clone(), above))
    }

    fn around(&self) -> Option<Vec<Entity>> {
        let groups: HashSet<EntityUid> = self.groups.iter().map(|group| uid(&self.types.group, group)).collect();
        // An attribute of another type than the declared one would make policies fail; it is as unknown as a missing one.
        let declared = &self.declared.attributes;
        let known = self.principal.attributes.iter();
        let known = known.filter(|(name, value)| declared.get(*name).is_some_and(|kind| kind.holds(value)));
        let attributes = known.map(|(name, value)| (name.clone(), expression(value))).collect();
        let mut entities = vec![Entity::new(uid(&self.types.user, &self.principal.id), attributes, groups).ok()?];
        let see = uid(&self.types.action, "see");
        for action in Action::ALL {
            let parents = if action.is_seeing() { HashSet::from([see.clone()]) } else { HashSet::new() };
            entities.push(Entity::new_no_attrs(uid(&self.types.action, action.name()), parents));
        }
        Some(entities)
    }
}

fn expression(value: &Attribute) -> RestrictedExpression {
    match value {
        Attribute::String(text) => RestrictedExpression::new_string(text.clone()),
        Attribute::Long(number) => RestrictedExpression::new_long(*number),
        Attribute::Bool(truth) => RestrictedExpression::new_bool(*truth),
        Attribute::Set(texts) => {
            RestrictedExpression::new_set(texts.iter().cloned().map(RestrictedExpression::new_string))
        }
    }
}

fn shape(conditions: &Conditions) -> String {
    fn strip(value: &Value) -> Value {
        match value {
            Value::Array(items) => items.iter().map(strip).collect(),
            Value::Object(fields) => match fields.get("__entity") {
                Some(entity) if entity.get("type").and_then(Value::as_str) != Some("Action") => {
                    entity.get("type").cloned().unwrap_or_default()
                }
                _ => fields.iter().map(|(key, value)| (key.clone(), strip(value))).collect(),
            },
            other => other.clone(),
        }
    }
    strip(&conditions.0).to_string()
}
