//! One decision: a small slice of entities, each column asked for, and the answers put together.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use cedar_policy::{
    Context, Decision as Verdict, Entities, Entity, EntityUid, PolicyId, Request, RestrictedExpression,
};

use super::uid::{Types, uid};
use super::{Access, ColumnGrant, Decision, Grants, Known, Mask, Policies, Reason, Rows, Ruleset};
use crate::contract::{Column, PhysicalType, Type};
use crate::mesh::declared::Declared;
use crate::mesh::{Mesh, Product};
use crate::principal::{Attribute, Principal};

/// A policy failed, so the product is denied.
struct Failed(Reason);

/// What the policies say to one action on one resource.
struct Answer<'a> {
    allowed: bool,
    /// The permits that allow it, or the forbids that forbid it, by id.
    because: BTreeMap<&'a str, &'a Known>,
}

impl Answer<'_> {
    fn reasons(&self) -> Vec<Reason> {
        self.because.values().map(|known| known.reason.clone()).collect()
    }
}

impl Policies {
    pub(crate) fn decide(&self, mesh: &Mesh, principal: &Principal, product: &Product) -> Decision {
        // What cannot be asked cannot be allowed: `None` is an unknown domain or an entity that could not be made.
        self.try_decide(mesh, principal, product).unwrap_or(Decision::Hidden(None))
    }

    fn try_decide(&self, mesh: &Mesh, principal: &Principal, product: &Product) -> Option<Decision> {
        let question = Question {
            policies: self,
            rules: self.domains.get(product.name.domain())?,
            declared: &mesh.declared,

            user: uid(&self.types.user, &principal.id),
            context: context(mesh, principal)?,
            entities: slice(&self.types, &mesh.declared, principal, product)?,
        };
        match question.ask("discover", uid(&self.types.product, &address(product)))? {
            Ok(answer) if answer.allowed => {}
            Ok(_) => return Some(Decision::Hidden(None)),
            Err(Failed(reason)) => return Some(Decision::Hidden(Some(reason))),
        }
        let mut columns = Vec::new();
        for column in &product.contract.columns {
            match question.column(&address(product), column, &product.contract.tags)? {
                Ok(grant) => columns.push(grant),
                Err(Failed(reason)) => return Some(Decision::Refused(reason)),
            }
        }
        Some(Decision::Granted(Grants { columns, rows: Rows::All }))
    }
}

/// Who asks for what, with everything that policies may look at.
struct Question<'a> {
    policies: &'a Policies,
    rules: &'a Ruleset,
    declared: &'a Declared,

    user: EntityUid,
    context: Context,
    entities: Entities,
}

impl Question<'_> {
    fn ask(&self, action: &str, resource: EntityUid) -> Option<Result<Answer<'_>, Failed>> {
        let action = uid(&self.policies.types.action, action);
        let request = Request::new(self.user.clone(), action, resource, self.context.clone(), None).ok()?;
        let response = self.policies.authorizer.is_authorized(&request, &self.rules.set, &self.entities);
        let known = |id: &PolicyId| self.rules.known.get(id);
        let mut failed = Vec::new();
        for error in response.diagnostics().errors() {
            let cedar_policy::AuthorizationError::PolicyEvaluationError(error) = error;
            failed.push(known(error.policy_id())?.reason.clone());
        }
        if let Some(reason) = failed.into_iter().min_by(|a, b| a.policy.cmp(&b.policy)) {
            return Some(Err(Failed(reason)));
        }
        let mut because = BTreeMap::new();
        for id in response.diagnostics().reason() {
            let known = known(id)?;
            because.insert(&*known.reason.policy, known);
        }
        Some(Ok(Answer { allowed: response.decision() == Verdict::Allow, because }))
    }

    /// What may be read of a column, and of each field that is nested in it.
    fn column(&self, parent: &str, column: &Column, tags: &BTreeSet<String>) -> Option<Result<ColumnGrant, Failed>> {
        let id = format!("{parent}.{}", column.name);
        let resource = uid(&self.policies.types.column, &id);
        let raw = match self.ask("read", resource.clone())? {
            Ok(answer) => answer,
            Err(failed) => return Some(Err(failed)),
        };
        let masked = match self.ask("read_masked", resource)? {
            Ok(answer) => answer,
            Err(failed) => return Some(Err(failed)),
        };
        let tags: BTreeSet<String> = tags.union(&column.tags).cloned().collect();
        let mut fields = Vec::new();
        for field in &column.fields {
            match self.column(&id, field, &tags)? {
                Ok(grant) => fields.push(grant),
                Err(failed) => return Some(Err(failed)),
            }
        }
        let (access, reasons) = if raw.allowed {
            (Access::Raw, raw.reasons())
        } else if masked.allowed {
            self.mask(&masked, column, &tags)
        } else {
            let refusals = [masked.reasons(), raw.reasons()];
            (Access::Denied, refusals.into_iter().find(|reasons| !reasons.is_empty()).unwrap_or_default())
        };
        let grant = ColumnGrant { column: column.name.clone(), access, reasons };
        Some(Ok(if fields.is_empty() { grant } else { nested(grant, fields, &column.kind) }))
    }

    /// The strictest of the permits' masks and of those that the tags demand.
    fn mask(&self, answer: &Answer<'_>, column: &Column, tags: &BTreeSet<String>) -> (Access, Vec<Reason>) {
        let demanded = tags.iter().flat_map(|tag| self.declared.masks_of(tag));
        let offered = answer.because.values().filter_map(|known| known.mask.as_ref());
        let Some(mask) = Mask::strictest(offered.chain(demanded)) else {
            return (Access::Denied, answer.reasons());
        };
        let chosen = answer.because.values().filter(|known| known.mask.as_ref() == Some(&mask));
        let chosen: Vec<Reason> = chosen.map(|known| known.reason.clone()).collect();
        let reasons = if chosen.is_empty() { answer.reasons() } else { chosen };
        if mask.applies_to(&column.kind) { (Access::Masked(mask), reasons) } else { (Access::Denied, reasons) }
    }
}

/// What a column is that has fields: what they are, wherever they agree.
fn nested(own: ColumnGrant, fields: Vec<ColumnGrant>, kind: &Type) -> ColumnGrant {
    let all = |access: &Access| fields.iter().all(|field| field.access == *access);
    let is_map = *kind == Type::Physical(PhysicalType::Map);
    let access = if is_map && own.access != Access::Raw {
        // The keys of a map have no address of their own, and masked ones would collide.
        match own.access {
            Access::Masked(Mask::Null) => Access::Masked(Mask::Null),
            _ => Access::Denied,
        }
    } else if all(&Access::Raw) {
        return ColumnGrant { access: Access::Raw, ..own };
    } else if let Some(alike) = [Access::Denied, Access::Masked(Mask::Null)].into_iter().find(all) {
        alike
    } else {
        Access::Nested(fields.clone())
    };
    let reasons = if is_map && own.access != Access::Raw { own.reasons } else { joined(&fields) };
    ColumnGrant { column: own.column, access, reasons }
}

/// The reasons of several fields, each once, by id.
fn joined(fields: &[ColumnGrant]) -> Vec<Reason> {
    let reasons = fields.iter().flat_map(|field| &field.reasons);
    let by_id: BTreeMap<&str, &Reason> = reasons.map(|reason| (&*reason.policy, reason)).collect();
    by_id.into_values().cloned().collect()
}

/// The uid of the major version that is decided.
fn address(product: &Product) -> String {
    format!("{}@{}", product.name, product.contract.major)
}

fn context(mesh: &Mesh, principal: &Principal) -> Option<Context> {
    // Without a purpose a principal may ask anyway, so one that it is not entitled to is as good as none.
    let purpose = principal.purpose.as_ref().filter(|purpose| mesh.is_entitled(principal, purpose));
    let pair = purpose.map(|purpose| ("purpose".to_owned(), RestrictedExpression::new_string(purpose.clone())));
    Context::from_pairs(pair).ok()
}

/// The principal with its groups, the product with its columns, their tags, and the actions.
fn slice(types: &Types, declared: &Declared, principal: &Principal, product: &Product) -> Option<Entities> {
    let mut slice = Slice { declared, types, parents: HashMap::new() };
    let contract = &product.contract;
    let (plain, major) = (product.name.to_string(), address(product));
    let domain = uid(&types.domain, product.name.domain().as_str());
    slice.parents.insert(domain.clone(), HashSet::new());
    slice.parents.insert(uid(&types.product, &plain), HashSet::from([domain]));
    slice.add(uid(&types.product, &major), uid(&types.product, &plain), &contract.tags);
    slice.columns(&contract.columns, (&types.product, &major), (&types.product, &plain));
    let see = uid(&types.action, "see");
    for action in ["read", "read_masked"] {
        slice.parents.insert(uid(&types.action, action), HashSet::from([see.clone()]));
    }
    slice.parents.insert(uid(&types.action, "discover"), HashSet::new());
    slice.parents.insert(see, HashSet::new());

    let groups = principal.groups.iter().filter(|group| declared.groups.contains(*group));
    let groups: HashSet<EntityUid> = groups.map(|group| uid(&types.group, group)).collect();
    for group in &groups {
        slice.parents.insert(group.clone(), HashSet::new());
    }
    // An attribute of another type than the declared one would make policies fail; it is as unknown as a missing one.
    let attributes = principal
        .attributes
        .iter()
        .filter(|(name, value)| declared.attributes.get(*name).is_some_and(|kind| kind.holds(value)))
        .map(|(name, value)| (name.clone(), expression(value)))
        .collect();
    let user = Entity::new(uid(&types.user, &principal.id), attributes, groups).ok()?;
    let others = slice.parents.into_iter().map(|(uid, parents)| Entity::new_no_attrs(uid, parents));
    Entities::from_entities(others.chain([user]), None).ok()
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

/// Entities, each with those that it lies in.
struct Slice<'a> {
    declared: &'a Declared,
    types: &'a Types,
    parents: HashMap<EntityUid, HashSet<EntityUid>>,
}

impl Slice<'_> {
    fn add(&mut self, uid: EntityUid, parent: EntityUid, tags: &BTreeSet<String>) {
        let mut parents = HashSet::from([parent]);
        for tag in tags {
            parents.insert(self.tag(tag));
        }
        self.parents.entry(uid).or_default().extend(parents);
    }

    /// The tag's uid, with every tag above it in the slice.
    fn tag(&mut self, tag: &str) -> EntityUid {
        let mut below: Option<EntityUid> = None;
        for tag in self.declared.lineage(tag) {
            let this = uid(&self.types.tag, tag);
            self.parents.entry(this.clone()).or_default();
            if let Some(below) = below.replace(this.clone()) {
                self.parents.entry(below).or_default().insert(this);
            }
        }
        uid(&self.types.tag, tag)
    }

    /// Each column in its product or in the column around it, in its plain address, and in its tags.
    fn columns(
        &mut self,
        columns: &[Column],
        major: (&cedar_policy::EntityTypeName, &str),
        plain: (&cedar_policy::EntityTypeName, &str),
    ) {
        for column in columns {
            let address = |parent: &str| format!("{parent}.{}", column.name);
            let (own, own_plain) = (address(major.1), address(plain.1));
            let kind = &self.types.column;
            let (uid_own, uid_plain) = (uid(kind, &own), uid(kind, &own_plain));
            self.parents.entry(uid_plain.clone()).or_default().insert(uid(plain.0, plain.1));
            self.parents.entry(uid_own.clone()).or_default().insert(uid(major.0, major.1));
            self.add(uid_own, uid_plain, &column.tags);
            self.columns(&column.fields, (kind, &own), (kind, &own_plain));
        }
    }
}
