//! Who can read a column of a product: the rules that reach it, as one formula over people.
//!
//! ```text
//! discover: a permit and no forbid    no rule on rows that refuses the product
//! read:     a permit and no forbid, of the column and of every map around it
//! see:      read, or a permit of `read_masked` and no forbid, and a mask that is defined for the column;
//!           what lies in a map that is NULL as a whole is seen so
//! ```

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::sync::{Arc, OnceLock};

use serde_json::Value;

use super::diagram::Formula;
use super::people::{Literals, People};
use super::term::{self, Asked};
use crate::contract::{Column, PhysicalType, Type};
use crate::document::Place;
use crate::mesh::{Mesh, Product};
use crate::policy::Mask;
use crate::policy::condition::{ConditionId, Question};
use crate::policy::reach::{Action, Index, Kind, Lies, Rule, Who};

/// No more masks than these are taken together exactly: each doubles the work.
const MASKS: usize = 6;

/// Conditions as Cedar writes them, each read once for all products.
#[derive(Debug)]
pub(super) struct Texts(Vec<OnceLock<Value>>);

impl Texts {
    pub fn of(mesh: &Mesh) -> Self {
        Self((0..mesh.policies.conditions.count()).map(|_| OnceLock::new()).collect())
    }

    fn get(&self, mesh: &Mesh, id: ConditionId) -> &Value {
        static NOTHING: Value = Value::Null;
        self.0.get(id as usize).map_or(&NOTHING, |text| text.get_or_init(|| mesh.policies.conditions.text(id)))
    }
}

/// A column or field, and what reaches it.
#[derive(Debug)]
pub(super) struct Cell<'m> {
    pub column: &'m Column,
    pub path: Vec<String>,
    /// Its own tags and those of all that it lies in.
    pub tags: BTreeSet<&'m str>,
    pub lies: Lies,
    pub rules: Vec<&'m Rule>,
    /// The maps that it lies in, by their numbers.
    maps: Vec<usize>,
    /// Its own fields, by their numbers.
    fields: Vec<usize>,
}

impl Cell<'_> {
    /// Whether values lie in it: it has no fields, or they have keys, which belong to no field.
    pub fn has_values(&self) -> bool {
        self.column.fields.is_empty() || self.is_map()
    }

    pub fn is_map(&self) -> bool {
        self.column.kind == Type::Physical(PhysicalType::Map) && !self.column.fields.is_empty()
    }

    pub fn place(&self) -> &Place {
        &self.column.place
    }
}

/// One product, and the formulas about it.
pub(super) struct Reading<'m> {
    mesh: &'m Mesh,
    texts: &'m Texts,
    pub product: &'m Product,
    own: &'m Index,
    lies: Lies,
    rules: Vec<&'m Rule>,
    pub cells: Vec<Cell<'m>>,
    pub people: People<'m>,
    conditions: HashMap<Question, Formula>,
    /// The conditions that are not understood.
    opaque: HashSet<ConditionId>,
    opened: Option<Formula>,
}

impl<'m> Reading<'m> {
    /// `None` where nothing is served.
    pub fn new(mesh: &'m Mesh, texts: &'m Texts, product: &'m Product) -> Option<Self> {
        let own = mesh.policies.domains.get(product.name.domain())?;
        let mut lies = Lies::nowhere();
        lies.add("Domain", product.name.domain().as_str());
        let plain = product.name.to_string();
        let major = format!("{plain}@{}", product.contract.major);
        lies.add("Product", &plain);
        lies.add("Product", &major);
        let tags: BTreeSet<&str> = product.contract.tags.iter().map(String::as_str).collect();
        tags.iter().flat_map(|tag| mesh.declared.lineage(tag)).for_each(|tag| lies.add("Tag", tag));
        let people = People::new(&mesh.declared, Literals::default());
        let mut reading = Self {
            mesh,
            texts,
            product,
            own,
            lies,
            rules: Vec::new(),
            cells: Vec::new(),
            people,
            conditions: HashMap::new(),
            opaque: HashSet::new(),
            opened: None,
        };
        reading.rules = reading.reaching(&reading.lies, 0);
        let around = Around { plain: &plain, major: &major, path: &[], tags: &tags, lies: &reading.lies.clone() };
        let rules = reading.rules.clone();
        reading.walk(&product.contract.columns, &around, &rules, &[]);
        reading.people = People::new(&mesh.declared, reading.literals());
        Some(reading)
    }

    fn reaching(&self, lies: &Lies, known: usize) -> Vec<&'m Rule> {
        let policies = &self.mesh.policies;
        let found = [&policies.mesh_wide, self.own].map(|index| index.reaching(&policies.rules, lies, known));
        found.into_iter().flatten().collect()
    }

    fn walk(
        &mut self,
        columns: &'m [Column],
        around: &Around<'_, 'm>,
        rules: &[&'m Rule],
        maps: &[usize],
    ) -> Vec<usize> {
        let mut numbers = Vec::new();
        for column in columns {
            let (plain, major) =
                (format!("{}.{}", around.plain, column.name), format!("{}.{}", around.major, column.name));
            let mut lies = around.lies.clone();
            lies.add("Column", &plain);
            lies.add("Column", &major);
            let own = column.tags.iter().map(String::as_str);
            own.clone().flat_map(|tag| self.mesh.declared.lineage(tag)).for_each(|tag| lies.add("Tag", tag));
            let mut reaching = rules.to_vec();
            reaching.extend(self.reaching(&lies, around.lies.len()));
            let path: Vec<String> = around.path.iter().cloned().chain([column.name.clone()]).collect();
            let tags: BTreeSet<&str> = around.tags.iter().copied().chain(own).collect();
            let number = self.cells.len();
            let cell = Cell {
                column,
                path: path.clone(),
                tags: tags.clone(),
                lies: lies.clone(),
                rules: reaching.clone(),
                maps: maps.to_vec(),
                fields: Vec::new(),
            };
            let mut inside = maps.to_vec();
            inside.extend(cell.is_map().then_some(number));
            self.cells.push(cell);
            let around = Around { plain: &plain, major: &major, path: &path, tags: &tags, lies: &lies };
            let fields = self.walk(&column.fields, &around, &reaching, &inside);
            if let Some(cell) = self.cells.get_mut(number) {
                cell.fields = fields;
            }
            numbers.push(number);
        }
        numbers
    }

    fn literals(&self) -> Literals {
        let mut literals = Literals::default();
        let mut seen = BTreeSet::new();
        for rule in self.rules.iter().chain(self.cells.iter().flat_map(|cell| &cell.rules)) {
            if let Who::User(user) = &rule.who {
                literals.user(user);
            }
            if let Some(id) = rule.condition.filter(|id| seen.insert(*id)) {
                literals.add(self.texts.get(self.mesh, id));
            }
        }
        literals
    }

    // ---- rules ----

    /// Who the scope's principals are.
    fn who(&mut self, rule: &Rule) -> Formula {
        match &rule.who {
            Who::Everyone => Formula::TRUE,
            Who::Nobody => Formula::FALSE,
            Who::User(user) => self.people.is_user(user),
            Who::Group(group) => self.people.in_any([&**group]),
            Who::Outside(groups) => {
                let inside = self.people.in_any(groups.iter().map(String::as_str));
                self.people.diagrams.not(inside)
            }
        }
    }

    fn condition(&mut self, rule: &Rule, asked: Asked<'_>) -> Formula {
        let Some(id) = rule.condition else { return Formula::TRUE };
        let question = self.mesh.policies.conditions.question(id, asked.action, asked.kind, asked.lies);
        if let Some(known) = question.as_ref().and_then(|question| self.conditions.get(question)) {
            return *known;
        }
        self.people.met_opaque = false;
        let formula = term::conditions(&mut self.people, self.texts.get(self.mesh, id), asked);
        if self.people.met_opaque {
            self.opaque.insert(id);
        }
        if let Some(question) = question {
            self.conditions.insert(question, formula);
        }
        formula
    }

    /// Whether nothing in the conditions of a rule was taken as it comes.
    pub fn is_understood(&self, rule: &Rule) -> bool {
        rule.condition.is_none_or(|id| !self.opaque.contains(&id))
    }

    /// For whom a rule applies that reaches what is asked about.
    pub fn applies(&mut self, rule: &Rule, asked: Asked<'_>) -> Formula {
        if !rule.actions.contains(&asked.action) || rule.kind.is_some_and(|kind| kind != asked.kind) {
            return Formula::FALSE;
        }
        let (who, condition) = (self.who(rule), self.condition(rule, asked));
        self.people.diagrams.and(who, condition)
    }

    /// For whom any of the permits, or of the forbids, applies. Groups are taken together where the rest is the same.
    fn any(&mut self, rules: &[&Rule], forbids: bool, asked: Asked<'_>) -> Formula {
        let mut groups: BTreeMap<Formula, Vec<&str>> = BTreeMap::new();
        let mut any = Formula::FALSE;
        let own = |rule: &&&Rule| {
            rule.forbids == forbids
                && rule.actions.contains(&asked.action)
                && rule.kind.is_none_or(|kind| kind == asked.kind)
        };
        for rule in rules.iter().filter(own) {
            match &rule.who {
                Who::Group(group) => {
                    let condition = self.condition(rule, asked);
                    groups.entry(condition).or_default().push(&**group);
                }
                _ => {
                    let applies = self.applies(rule, asked);
                    any = self.people.diagrams.or(any, applies);
                }
            }
        }
        for (condition, groups) in groups {
            let inside = self.people.in_any(groups);
            let both = self.people.diagrams.and(condition, inside);
            any = self.people.diagrams.or(any, both);
        }
        any
    }

    fn allowed(&mut self, rules: &[&Rule], asked: Asked<'_>) -> Formula {
        let permitted = self.any(rules, false, asked);
        if permitted == Formula::FALSE {
            return permitted;
        }
        let forbidden = self.any(rules, true, asked);
        let free = self.people.diagrams.not(forbidden);
        self.people.diagrams.and(permitted, free)
    }

    /// Who may discover the product and is not refused it.
    fn open(&mut self) -> Formula {
        if let Some(known) = self.opened {
            return known;
        }
        let (rules, lies) = (self.rules.clone(), self.lies.clone());
        let asked = |action| Asked { action, kind: Kind::Product, lies: &lies };
        let mut open = self.allowed(&rules, asked(Action::Discover));
        let columns = &self.product.contract.columns;
        for rule in rules.iter().copied() {
            let fits = rule.filter.as_ref().is_none_or(|filter| filter.on(&self.mesh.declared, columns, None).is_ok());
            if !fits {
                let applies = self.applies(rule, asked(Action::ReadRows));
                let free = self.people.diagrams.not(applies);
                open = self.people.diagrams.and(open, free);
            }
        }
        let entitled = self.people.are_entitled();
        open = self.people.diagrams.and(open, entitled);
        self.opened = Some(open);
        open
    }

    // ---- columns ----

    fn ask(&mut self, number: usize, action: Action) -> Formula {
        let Some(cell) = self.cells.get(number) else { return Formula::FALSE };
        let (rules, lies) = (cell.rules.clone(), cell.lies.clone());
        self.allowed(&rules, Asked { action, kind: Kind::Column, lies: &lies })
    }

    /// Who gets raw values of a column, or of the keys of a map.
    pub fn read(&mut self, number: usize) -> Formula {
        let Some((around, is_map)) = self.cells.get(number).map(|cell| (cell.maps.clone(), cell.is_map())) else {
            return Formula::FALSE;
        };
        let mut raw = self.ask(number, Action::Read);
        for map in around {
            if raw == Formula::FALSE {
                return raw;
            }
            let of_map = self.ask(map, Action::Read);
            raw = self.people.diagrams.and(raw, of_map);
        }
        if raw == Formula::FALSE {
            return raw;
        }
        if is_map {
            // Keys are shown with any field that is, and a map that is all NULL has none.
            let (denied, null) = (self.denied(number), self.null(number));
            let without = self.people.diagrams.or(denied, null);
            let with = self.people.diagrams.not(without);
            raw = self.people.diagrams.and(raw, with);
        }
        let open = self.open();
        self.people.diagrams.and(raw, open)
    }

    /// Who gets any values of it, masked ones too.
    pub fn see(&mut self, number: usize) -> Formula {
        let around = self.cells.get(number).map(|cell| cell.maps.clone()).unwrap_or_default();
        let denied = self.denied(number);
        let mut seen = self.people.diagrams.not(denied);
        for map in around.into_iter().rev() {
            // What is NULL as a whole is so whatever its fields are.
            let (raw, null) = (self.ask(map, Action::Read), self.null_itself(map));
            let through = self.people.diagrams.and(raw, seen);
            seen = self.people.diagrams.or(through, null);
        }
        let open = self.open();
        self.people.diagrams.and(seen, open)
    }

    /// To whom a column is denied with all that lies in it.
    fn denied(&mut self, number: usize) -> Formula {
        let Some((fields, is_map)) = self.cells.get(number).map(|cell| (cell.fields.clone(), cell.is_map())) else {
            return Formula::TRUE;
        };
        if fields.is_empty() {
            let (raw, masked) = (self.ask(number, Action::Read), self.masked(number));
            let shown = self.people.diagrams.or(raw, masked);
            return self.people.diagrams.not(shown);
        }
        let mut all = Formula::TRUE;
        for field in fields {
            let denied = self.denied(field);
            all = self.people.diagrams.and(all, denied);
        }
        if is_map {
            let (raw, null) = (self.ask(number, Action::Read), self.null_itself(number));
            let closed = self.people.diagrams.or(raw, null);
            let closed = self.people.diagrams.not(closed);
            let inside = self.people.diagrams.and(raw, all);
            all = self.people.diagrams.or(inside, closed);
        }
        all
    }

    /// To whom a column is NULL with all that lies in it.
    fn null(&mut self, number: usize) -> Formula {
        let Some((fields, is_map)) = self.cells.get(number).map(|cell| (cell.fields.clone(), cell.is_map())) else {
            return Formula::FALSE;
        };
        if fields.is_empty() {
            return self.null_itself(number);
        }
        let mut all = Formula::TRUE;
        for field in fields {
            let null = self.null(field);
            all = self.people.diagrams.and(all, null);
        }
        if is_map {
            let (raw, null) = (self.ask(number, Action::Read), self.null_itself(number));
            let inside = self.people.diagrams.and(raw, all);
            all = self.people.diagrams.or(inside, null);
        }
        all
    }

    /// To whom a column itself is NULL by its mask, which is stricter than any other.
    fn null_itself(&mut self, number: usize) -> Formula {
        let (allowed, masks) = self.masks(number);
        let null = masks.iter().find(|(mask, _)| *mask == Mask::Null).map_or(Formula::FALSE, |(_, when)| *when);
        let null = self.people.diagrams.and(allowed, null);
        let raw = self.ask(number, Action::Read);
        let masked = self.people.diagrams.not(raw);
        self.people.diagrams.and(null, masked)
    }

    /// Who gets it through a mask that is defined for it.
    fn masked(&mut self, number: usize) -> Formula {
        let (allowed, masks) = self.masks(number);
        let Some(column) = self.cells.get(number).map(|cell| cell.column).filter(|_| allowed != Formula::FALSE) else {
            return Formula::FALSE;
        };
        let defined = self.defined(&masks, &column.kind);
        self.people.diagrams.and(allowed, defined)
    }

    /// Who may see a column masked, and for whom each mask stands in the way.
    fn masks(&mut self, number: usize) -> (Formula, Vec<(Mask, Formula)>) {
        let allowed = self.ask(number, Action::ReadMasked);
        let Some(cell) = self.cells.get(number).filter(|_| allowed != Formula::FALSE) else {
            return (Formula::FALSE, Vec::new());
        };
        let (rules, lies, tags) = (cell.rules.clone(), cell.lies.clone(), cell.tags.clone());
        let asked = Asked { action: Action::ReadMasked, kind: Kind::Column, lies: &lies };
        let mut masks: Vec<(Mask, Formula)> = Vec::new();
        // A permit without a mask asks for those of the tags.
        let mut open = Formula::FALSE;
        for rule in rules.into_iter().filter(|rule| !rule.forbids) {
            let applies = self.applies(rule, asked);
            match &rule.mask {
                Some(mask) => self.stands(&mut masks, mask, applies),
                None => open = self.people.diagrams.or(open, applies),
            }
        }
        let declared = &self.mesh.declared;
        let demanded: BTreeMap<&str, _> = tags.into_iter().flat_map(|tag| declared.masks_of(tag)).collect();
        for tag in demanded.into_values() {
            let Some((mask, _)) = &tag.mask else { continue };
            let groups = tag.unmasked_for.iter().flat_map(|(groups, _)| groups).map(String::as_str);
            let above = self.people.in_any(groups);
            let below = self.people.diagrams.not(above);
            let demands = self.people.diagrams.or(open, below);
            self.stands(&mut masks, mask, demands);
        }
        (allowed, masks)
    }

    fn stands(&mut self, masks: &mut Vec<(Mask, Formula)>, mask: &Mask, when: Formula) {
        match masks.iter_mut().find(|(known, _)| known == mask) {
            Some((_, known)) => *known = self.people.diagrams.or(*known, when),
            None => masks.push((mask.clone(), when)),
        }
    }

    /// For whom the strictest of the masks that stand in the way is defined for the type.
    fn defined(&mut self, masks: &[(Mask, Formula)], kind: &Type) -> Formula {
        let mut defined = Formula::FALSE;
        if masks.len() > MASKS {
            for (_, when) in masks {
                defined = self.people.diagrams.or(defined, *when);
            }
            return defined;
        }
        for chosen in 1_usize..1 << masks.len() {
            let is_in = |place: usize| chosen & (1 << place) != 0;
            let own = masks.iter().enumerate().filter(|(place, _)| is_in(*place)).map(|(_, (mask, _))| mask);
            if !Mask::strictest(own).is_some_and(|mask| mask.applies_to(kind)) {
                continue;
            }
            let mut exactly = Formula::TRUE;
            for (place, (_, when)) in masks.iter().enumerate() {
                let when = if is_in(place) { *when } else { self.people.diagrams.not(*when) };
                exactly = self.people.diagrams.and(exactly, when);
            }
            defined = self.people.diagrams.or(defined, exactly);
        }
        defined
    }

    /// Whether a forbid without conditions keeps everybody outside of `inside` from raw values, which needs no proof.
    pub fn is_closed(&self, number: usize, inside: &BTreeSet<String>) -> Option<&Arc<str>> {
        let closes = |rule: &&&Rule| {
            let all = match &rule.who {
                Who::Everyone => true,
                Who::Outside(groups) => groups.is_subset(inside),
                _ => false,
            };
            all && rule.forbids
                && rule.condition.is_none()
                && rule.actions.contains(&Action::Read)
                && rule.kind != Some(Kind::Product)
        };
        let cell = self.cells.get(number)?;
        cell.rules.iter().find(closes).map(|rule| &rule.reason.policy)
    }
}

/// What columns lie in.
struct Around<'a, 'm> {
    plain: &'a str,
    major: &'a str,
    path: &'a [String],
    tags: &'a BTreeSet<&'m str>,
    lies: &'a Lies,
}
