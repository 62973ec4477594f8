//! One decision: what a product lies in, the rules that reach it, and their answers put together.
//!
//! ```text
//! discover? --no--> Hidden
//!    |
//! each column and field: read, read_masked      rows: permits and forbids, as two sets
//!    |
//! a policy failed anywhere? --yes--> Refused, --no--> Granted
//! ```
//!
//! Everything is asked, also where the answer is known already: a policy that fails must not go unnoticed.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::condition::Asking;
use super::filter::{Checked, Filter};
use super::planted::{self, Fault};
use super::reach::{Action, Index, Kind, Lies, Rule};
use super::{Access, ColumnGrant, Decision, Discovery, Grants, Mask, Policies, Reason, RowRule, Rows};
use crate::contract::{Column, PhysicalType, Type};
use crate::document::Place;
use crate::mesh::declared::Tag;
use crate::mesh::{Mesh, Product};
use crate::principal::Principal;

impl Policies {
    pub(crate) fn decide(&self, mesh: &Mesh, principal: &Principal, product: &Product) -> Decision {
        let groups = groups(mesh, principal);
        let Some(asked) = Question::new(self, mesh, principal, product, &groups) else { return Decision::Hidden(None) };
        match asked.discovery() {
            Discovery::Hidden(reason) => Decision::Hidden(reason),
            Discovery::Shown => {
                let grants = Grants { columns: asked.columns(), rows: asked.rows() };
                match asked.failure() {
                    Some(reason) => Decision::Refused(reason),
                    None => Decision::Granted(grants),
                }
            }
        }
    }

    pub(crate) fn may_discover(&self, mesh: &Mesh, principal: &Principal, product: &Product) -> Discovery {
        let groups = groups(mesh, principal);
        let asked = Question::new(self, mesh, principal, product, &groups);
        asked.map_or(Discovery::Hidden(None), |asked| asked.discovery())
    }
}

/// The principal's groups that count, which are those that the mesh declares.
fn groups<'a>(mesh: &'a Mesh, principal: &'a Principal) -> Vec<&'a str> {
    principal.groups.iter().filter(|group| mesh.declared.groups.contains(*group)).map(String::as_str).collect()
}

/// Who asks for what, and the rules that can have a say.
struct Question<'a> {
    policies: &'a Policies,
    own: &'a Index,
    mesh: &'a Mesh,
    principal: &'a Principal,
    product: &'a Product,
    groups: &'a [&'a str],
    asking: Asking<'a>,
    /// What the product lies in.
    lies: Lies,
    /// The rules that reach the product as a whole.
    rules: Vec<&'a Rule>,
    /// The rules that failed, by id.
    failed: RefCell<BTreeMap<Arc<str>, Reason>>,
}

/// What the rules say to one action on one resource.
#[derive(Default)]
struct Answer<'a> {
    permits: Vec<&'a Rule>,
    forbids: Vec<&'a Rule>,
}

impl<'a> Answer<'a> {
    fn is_allowed(&self) -> bool {
        let forbidden = !self.forbids.is_empty() && !planted::is(Fault::ForbidLoses);
        !forbidden && (!self.permits.is_empty() || planted::is(Fault::AllowByDefault))
    }

    /// The forbids, where there are any, or else the permits.
    fn because(&self) -> Vec<Reason> {
        reasons(if self.forbids.is_empty() { &self.permits } else { &self.forbids })
    }

    fn add(&mut self, rule: &'a Rule) {
        if rule.forbids { self.forbids.push(rule) } else { self.permits.push(rule) }
    }
}

/// The reasons of rules, by id.
fn reasons(rules: &[&Rule]) -> Vec<Reason> {
    let mut reasons: Vec<Reason> = rules.iter().map(|rule| rule.reason.clone()).collect();
    reasons.sort_by(|a, b| a.policy.cmp(&b.policy));
    reasons
}

/// What reaches a column because it reaches what lies around it, for one action.
#[derive(Default)]
struct Around<'a> {
    /// Rules whose answer is the same for every column, and which apply.
    settled: Answer<'a>,
    /// Rules whose conditions look at the column.
    open: Vec<&'a Rule>,
}

impl<'a> Question<'a> {
    fn new(
        policies: &'a Policies,
        mesh: &'a Mesh,
        principal: &'a Principal,
        product: &'a Product,
        groups: &'a [&'a str],
    ) -> Option<Self> {
        let own = policies.domains.get(product.name.domain())?;
        // Without a purpose a principal may ask anyway, so one that it is not entitled to is as good as none.
        let purpose = principal
            .purpose
            .as_deref()
            .filter(|purpose| mesh.is_entitled(principal, purpose) || planted::is(Fault::PurposeUnchecked));
        let asking = Asking::new(&policies.conditions, &policies.types, &mesh.declared, principal, groups, purpose);
        let mut lies = Lies::nowhere();
        lies.add("Domain", product.name.domain().as_str());
        let (plain, major) = addresses(product);
        lies.add("Product", &plain);
        lies.add("Product", &major);
        let failed = RefCell::default();
        let rules = Vec::new();
        let mut asked = Self { policies, own, mesh, principal, product, groups, asking, lies, rules, failed };
        let mut lies = asked.lies.clone();
        asked.tagged(&mut lies, &product.contract.tags);
        asked.rules = asked.find(&lies, 0);
        asked.lies = lies;
        Some(asked)
    }

    fn tagged(&self, lies: &mut Lies, tags: &BTreeSet<String>) {
        for tag in tags.iter().flat_map(|tag| self.mesh.declared.lineage(tag)) {
            lies.add("Tag", tag);
        }
    }

    /// The mesh's and the domain's rules that reach what `lies` holds after its first `known` entities.
    fn find(&self, lies: &Lies, known: usize) -> Vec<&'a Rule> {
        let mut found = Vec::new();
        for index in [&self.policies.mesh_wide, self.own] {
            index.find(&self.policies.rules, lies, known, &self.principal.id, self.groups, &mut found);
        }
        found
    }

    /// Whether a rule that was found applies; one that fails does not, and is remembered.
    fn applies(&self, rule: &Rule, action: Action, kind: Kind, lies: &Lies) -> bool {
        if !rule.actions.contains(&action) || rule.kind.is_some_and(|of| of != kind) {
            return false;
        }
        let holds = rule.condition.map_or(Ok(true), |condition| self.asking.holds(condition, action, kind, lies));
        holds.unwrap_or_else(|()| {
            self.fail(rule);
            false
        })
    }

    fn fail(&self, rule: &Rule) {
        if planted::is(Fault::FailureSkips) {
            return;
        }
        self.failed.borrow_mut().insert(rule.reason.policy.clone(), rule.reason.clone());
    }

    fn failure(&self) -> Option<Reason> {
        self.failed.borrow().values().next().cloned()
    }

    fn on_product(&self, action: Action) -> Answer<'a> {
        let mut answer = Answer::default();
        let applying = self.rules.iter().filter(|rule| self.applies(rule, action, Kind::Product, &self.lies));
        applying.for_each(|rule| answer.add(rule));
        answer
    }

    fn discovery(&self) -> Discovery {
        let answer = self.on_product(Action::Discover);
        match self.failure() {
            Some(reason) => Discovery::Hidden(Some(reason)),
            None if answer.is_allowed() || planted::is(Fault::NothingHidden) => Discovery::Shown,
            None => Discovery::Hidden(None),
        }
    }

    // ---- rows ----

    fn rows(&self) -> Rows {
        let answer = self.on_product(Action::ReadRows);
        let rules = |rules: &[&Rule]| {
            let mut rules: Vec<RowRule> = rules.iter().filter_map(|rule| self.row_rule(rule)).collect();
            rules.sort_by(|a, b| a.reason.policy.cmp(&b.reason.policy));
            rules
        };
        let (permits, mut forbids) = (rules(&answer.permits), rules(&answer.forbids));
        if planted::is(Fault::RowsStay) {
            forbids.clear();
        }
        let closes = |index: &Index| match planted::is(Fault::ConditionsClose) {
            true => !permits.is_empty(),
            false => index.closes_rows(&self.lies),
        };
        if self.product.contract.closed_rows || closes(&self.policies.mesh_wide) || closes(self.own) {
            return Rows::Closed { permits, forbids };
        }
        if forbids.is_empty() { Rows::All } else { Rows::Except(forbids) }
    }

    /// The rule with its filter filled in. What is unknown makes a permit's filter false and a forbid's true.
    fn row_rule(&self, rule: &Rule) -> Option<RowRule> {
        let filter = match &rule.filter {
            None => None,
            Some(written) => {
                let columns = &self.product.contract.columns;
                match written.on(&self.mesh.declared, columns, Some(self.principal)) {
                    Ok(Checked::Known(filter)) => Some(filter.into()),
                    Ok(Checked::NoColumn(_) | Checked::NoAttribute) => Some(self.unknown(rule).into()),
                    Err(_) => {
                        self.fail(rule);
                        return None;
                    }
                }
            }
        };
        Some(RowRule { filter, reason: rule.reason.clone() })
    }

    /// What an unknown filter is: a permit's false, a forbid's true.
    fn unknown(&self, rule: &Rule) -> Filter {
        let wrong = if rule.forbids { Fault::UnknownStays } else { Fault::UnknownShows };
        Filter::Constant(rule.forbids != planted::is(wrong))
    }

    // ---- columns ----

    fn columns(&self) -> Vec<ColumnGrant> {
        let (plain, major) = addresses(self.product);
        let around = [Action::Read, Action::ReadMasked].map(|action| self.around(action, &self.lies, &self.rules));
        let contract = &self.product.contract;
        let inside = Inside { plain: &plain, major: &major, lies: &self.lies, tags: &contract.tags, around: &around };
        contract.columns.iter().map(|column| self.column(column, &inside)).collect()
    }

    /// Settles what can be settled for all that lies in `lies`.
    fn around(&self, action: Action, lies: &Lies, rules: &[&'a Rule]) -> Around<'a> {
        let mut around = Around::default();
        for rule in rules.iter().copied().filter(|rule| rule.actions.contains(&action)) {
            if rule.condition.is_none_or(|condition| self.asking.is_settled(condition)) {
                if self.applies(rule, action, Kind::Column, lies) {
                    around.settled.add(rule);
                }
            } else {
                around.open.push(rule);
            }
        }
        around
    }

    /// What may be read of a column, and of each field that is nested in it.
    fn column(&self, column: &Column, inside: &Inside<'_, 'a>) -> ColumnGrant {
        let address = |parent: &str| format!("{parent}.{}", column.name);
        let (plain, major) = (address(inside.plain), address(inside.major));
        let mut lies = inside.lies.clone();
        lies.add("Column", &plain);
        lies.add("Column", &major);
        self.tagged(&mut lies, &column.tags);
        let rules = self.find(&lies, inside.lies.len());
        let [around_read, around_masked] = inside.around;
        let ask = |action, around: &Around<'a>| {
            let open = around.open.iter().chain(&rules).copied();
            let mut answer = Answer::default();
            open.filter(|rule| self.applies(rule, action, Kind::Column, &lies)).for_each(|rule| answer.add(rule));
            answer.permits.extend(&around.settled.permits);
            answer.forbids.extend(&around.settled.forbids);
            answer
        };
        let (raw, masked) = (ask(Action::Read, around_read), ask(Action::ReadMasked, around_masked));
        let tags: BTreeSet<String> = inside.tags.union(&column.tags).cloned().collect();
        let is_raw = raw.is_allowed() || (masked.is_allowed() && planted::is(Fault::MaskIsRaw));
        let (access, reasons) = if is_raw {
            (Access::Raw, raw.because())
        } else if masked.is_allowed() {
            self.mask(&masked.permits, column, &tags)
        } else {
            let refusals = [masked.because(), raw.because()];
            (Access::Denied, refusals.into_iter().find(|reasons| !reasons.is_empty()).unwrap_or_default())
        };
        let own = ColumnGrant { column: column.name.clone(), access, reasons };
        if column.fields.is_empty() || planted::is(Fault::FieldsFollow) {
            return own;
        }
        let around = [(Action::Read, around_read), (Action::ReadMasked, around_masked)].map(|(action, around)| {
            let mut within = self.around(action, &lies, &rules);
            within.settled.permits.extend(&around.settled.permits);
            within.settled.forbids.extend(&around.settled.forbids);
            within.open.extend(&around.open);
            within
        });
        let inside = Inside { plain: &plain, major: &major, lies: &lies, tags: &tags, around: &around };
        let fields = column.fields.iter().map(|field| self.column(field, &inside)).collect();
        nested(own, fields, &column.kind)
    }

    /// The strictest of the permits' masks and of those that the tags demand of this principal. A permit that names no
    /// mask means those of the tags, also where the principal is above them.
    fn mask(&self, permits: &[&Rule], column: &Column, tags: &BTreeSet<String>) -> (Access, Vec<Reason>) {
        let is_open = permits.iter().any(|rule| rule.mask.is_none());
        let is_above = |tag: &Tag| {
            let inside = tag.unmasked_for.as_ref().map(|(groups, _)| groups);
            inside.is_some_and(|inside| self.groups.iter().any(|group| inside.contains(*group)))
        };
        let demanded = tags.iter().flat_map(|tag| self.mesh.declared.masks_of(tag));
        let demanded: Vec<(&str, &Mask, &Place)> = demanded
            .filter(|(_, tag)| (is_open || !is_above(tag)) && !planted::is(Fault::TagWithoutMask))
            .filter_map(|(name, tag)| tag.mask.as_ref().map(|(mask, place)| (name, mask, place)))
            .collect();
        let offered = permits.iter().filter_map(|rule| rule.mask.as_ref());
        let Some(mask) = Mask::strictest(offered.chain(demanded.iter().map(|(_, mask, _)| *mask))) else {
            return (Access::Denied, reasons(permits));
        };
        // Those that ask for this mask, or all that led to it where they disagree.
        let agreed = |other: &Mask| *other == mask;
        let chosen: Vec<&Rule> =
            permits.iter().copied().filter(|rule| rule.mask.as_ref().is_some_and(agreed)).collect();
        let mut because = reasons(if chosen.is_empty() { permits } else { &chosen });
        let mut standards: BTreeMap<&str, Reason> = BTreeMap::new();
        for (tag, _, place) in demanded.iter().filter(|(_, other, _)| agreed(other)) {
            let reason = Reason { policy: format!("standards:{tag}").into(), place: (*place).clone() };
            standards.insert(tag, reason);
        }
        because.extend(standards.into_values());
        if mask.applies_to(&column.kind) { (Access::Masked(mask), because) } else { (Access::Denied, because) }
    }
}

/// What a column lies in.
struct Inside<'q, 'a> {
    plain: &'q str,
    major: &'q str,
    lies: &'q Lies,
    tags: &'q BTreeSet<String>,
    around: &'q [Around<'a>; 2],
}

/// What a column is that has fields: what they are, wherever they agree.
fn nested(own: ColumnGrant, fields: Vec<ColumnGrant>, kind: &Type) -> ColumnGrant {
    let reasons = joined(&fields);
    let all = |access: &Access| fields.iter().all(|field| field.access == *access);
    let is_map = *kind == Type::Physical(PhysicalType::Map);
    if is_map && own.access != Access::Raw {
        // The keys of a map have no address of their own, and masked ones would collide.
        let access = if own.access == Access::Masked(Mask::Null) { own.access } else { Access::Denied };
        return ColumnGrant { access, ..own };
    }
    if all(&Access::Raw) {
        return ColumnGrant { column: own.column, access: Access::Raw, reasons };
    }
    let alike = [Access::Denied, Access::Masked(Mask::Null)].into_iter().find(all);
    ColumnGrant { column: own.column, access: alike.unwrap_or(Access::Nested(fields)), reasons }
}

/// The reasons of several fields, each once, by id.
fn joined(fields: &[ColumnGrant]) -> Vec<Reason> {
    let reasons = fields.iter().flat_map(|field| &field.reasons);
    let by_id: BTreeMap<&str, &Reason> = reasons.map(|reason| (&*reason.policy, reason)).collect();
    by_id.into_values().cloned().collect()
}

/// The addresses of a product: the plain one, and that of the major which is decided.
fn addresses(product: &Product) -> (String, String) {
    (product.name.to_string(), format!("{}@{}", product.name, product.contract.major))
}
