//! Claims about a mesh, proved over its compiled policies for everybody who could ever ask.
//!
//! ```text
//! no one outside privacy can read pii   --claim-->   the columns that carry the tag
//! the rules that reach each of them     --reading--> one formula: who can read it
//! conditions inside                     --term-->    choices of people: groups, user, purpose, values of attributes
//! the formula and «in none of privacy»  --diagram--> never true: proved
//!                                                    true for somebody, and the engine agrees: refuted
//!                                                    else: unknown
//! ```
//!
//! Nobody is sampled: a formula holds for every combination of groups and attributes, also of people who are not there yet,
//! and a user who is named may be in any group. Where a condition is not understood it is taken to hold for anybody, so
//! what is proved is proved all the same; and no witness is named whom the engine does not let through. Rows are not
//! looked at: a column of which no row is shown counts as read.

mod claim;
mod diagram;
mod finding;
mod people;
mod reading;
mod term;

use std::collections::BTreeMap;

use self::claim::{Act, Of, is_meant};
use self::diagram::Formula;
use self::reading::{Reading, Texts};
use self::term::Asked;
use crate::document::Place;
use crate::mesh::each::each;
use crate::mesh::{Mesh, Product};
use crate::policy::reach::{Action, Kind};
use crate::policy::{Access, Decision, Reason};
use crate::principal::Principal;
use crate::trial::{access_at, words};

pub use self::claim::{Claim, NoClaim};

/// How many people the engine is asked about, where a formula knows less than it.
const TRIES: usize = 200;

/// What was found out about claims.
#[derive(Debug, Default)]
pub struct Examined {
    /// The claims: those of the mesh's tags, those of its standards, and those that were asked about.
    pub proofs: Vec<Proof>,
    /// The policies that a tag's `unmasked_for` overrules.
    pub overruled: Vec<Overruled>,
    /// The texts among the claims of `mesh.yaml` that are none, and where they stand.
    pub no_claims: Vec<(NoClaim, Place)>,
}

/// A claim, and whether it holds.
#[derive(Debug)]
pub struct Proof {
    /// The claim.
    pub claim: Claim,
    /// Where it stands, if in a file.
    pub place: Option<Place>,
    /// How many columns and fields it is about.
    pub columns: usize,
    /// Whether it holds.
    pub verdict: Verdict,
}

/// Whether a claim holds.
#[derive(Debug)]
#[must_use]
pub enum Verdict {
    /// For everybody, of every column.
    Proved,
    /// Not for this one.
    Refuted(Box<Witness>),
    /// It depends on what the prover does not understand.
    Unknown(Box<Doubt>),
}

/// Somebody who can do what nobody should.
#[derive(Debug)]
pub struct Witness {
    /// `domain.product@major.column`
    pub column: String,
    /// Where the column stands.
    pub place: Place,
    /// Who: `analysts, region EU`.
    pub who: String,
    /// The same for a decision.
    pub principal: Principal,
    /// How the column is seen.
    pub access: Access,
    /// The policies that say so.
    pub because: Vec<Reason>,
}

/// Why it is not known whether a claim holds.
#[derive(Debug)]
pub struct Doubt {
    /// `domain.product@major.column`
    pub column: String,
    /// Where the column stands.
    pub place: Place,
    /// The policies with conditions that are not understood; none where there is too much of everything.
    pub because: Vec<Reason>,
}

/// A policy that permits what a tag forbids.
#[derive(Debug, Clone)]
pub struct Overruled {
    /// The policy.
    pub policy: Reason,
    /// The tag.
    pub tag: String,
    /// A column that it would show raw: `domain.product@major.column`.
    pub column: String,
    /// To whom: `analysts`.
    pub who: String,
}

/// Proves what the tags of a mesh claim by `unmasked_for`, what its standards claim, and `claims`.
pub fn examine(mesh: &Mesh, claims: &[Claim]) -> Examined {
    let of_tags = mesh.declared.tags.iter().filter_map(|(tag, declared)| {
        let (inside, place) = declared.unmasked_for.as_ref()?;
        Some((Claim::of_tag(tag, inside), Some(place.clone())))
    });
    let (mut of_standards, mut no_claims) = (Vec::new(), Vec::new());
    for (text, place) in &mesh.declared.standards.claims {
        match Claim::parse(text, mesh) {
            Ok(claim) => of_standards.push((claim, Some(place.clone()))),
            Err(fault) => no_claims.push((fault, place.clone())),
        }
    }
    let claims = claims.iter().map(|claim| (claim.clone(), None));
    let claims: Vec<(Claim, Option<Place>)> = of_tags.chain(of_standards).chain(claims).collect();
    let texts = Texts::of(mesh);
    let products: Vec<&Product> = mesh.products().map(|(_, product)| product).collect();
    let looked = each(products, |product| look(mesh, &texts, product, &claims));
    // A thread that failed has proved nothing.
    let failed = looked.is_none();
    let looked = looked.unwrap_or_default();
    let mut overruled: BTreeMap<(Place, String), Overruled> = BTreeMap::new();
    let mut proofs: Vec<Proof> =
        claims.into_iter().map(|(claim, place)| Proof { claim, place, columns: 0, verdict: Verdict::Proved }).collect();
    for Looked { found, permits } in looked {
        for (proof, (columns, verdict)) in proofs.iter_mut().zip(found) {
            proof.columns += columns;
            let is_worse = match (&proof.verdict, &verdict) {
                (Verdict::Refuted(_), _) | (_, Verdict::Proved) => false,
                (Verdict::Proved, _) | (Verdict::Unknown(_), Verdict::Refuted(_)) => true,
                (Verdict::Unknown(_), Verdict::Unknown(_)) => false,
            };
            if is_worse {
                proof.verdict = verdict;
            }
        }
        for permit in permits {
            overruled.entry((permit.policy.place.clone(), permit.tag.clone())).or_insert(permit);
        }
    }
    if failed {
        let doubt = || Doubt { column: mesh.name().to_owned(), place: Place::top(), because: Vec::new() };
        proofs.iter_mut().for_each(|proof| proof.verdict = Verdict::Unknown(Box::new(doubt())));
    }
    Examined { proofs, overruled: overruled.into_values().collect(), no_claims }
}

/// What one product says to each claim, and the permits on it that tags overrule.
struct Looked {
    found: Vec<(usize, Verdict)>,
    permits: Vec<Overruled>,
}

fn look(mesh: &Mesh, texts: &Texts, product: &Product, claims: &[(Claim, Option<Place>)]) -> Looked {
    let nothing = || claims.iter().map(|_| (0, Verdict::Proved)).collect();
    // Most products have nothing to do with most claims.
    let concerned = claims.iter().any(|(claim, _)| match &claim.of {
        Of::Tag(tag) => carries(mesh, product, tag),
        Of::Product(name, _) => is_meant(name, product),
    });
    let reading = if concerned { Reading::new(mesh, texts, product) } else { None };
    let Some(mut reading) = reading else { return Looked { found: nothing(), permits: Vec::new() } };
    let found = claims.iter().map(|(claim, _)| judge(&mut reading, mesh, claim)).collect();
    let permits = overruled(&mut reading, mesh);
    Looked { found, permits }
}

/// Whether a product or anything in it carries a tag or one below it.
fn carries(mesh: &Mesh, product: &Product, tag: &str) -> bool {
    fn any(columns: &[crate::contract::Column], is: &impl Fn(&String) -> bool) -> bool {
        columns.iter().any(|column| column.tags.iter().any(is) || any(&column.fields, is))
    }
    let is = |own: &String| mesh.declared.lineage(own).any(|above| above == tag);
    product.contract.tags.iter().any(is) || any(&product.contract.columns, &is)
}

fn judge(reading: &mut Reading<'_>, mesh: &Mesh, claim: &Claim) -> (usize, Verdict) {
    let of = |cell: &reading::Cell<'_>| match &claim.of {
        Of::Tag(tag) => cell.tags.iter().any(|own| mesh.declared.lineage(own).any(|above| above == tag)),
        Of::Product(name, column) => {
            let below = |column: &String| {
                crate::trial::find(&reading.product.contract.columns, column)
                    .is_some_and(|path| cell.path.starts_with(&path))
            };
            is_meant(name, reading.product) && column.as_ref().is_none_or(below)
        }
    };
    let meant = reading.cells.iter().enumerate().filter(|(_, cell)| cell.has_values() && of(cell));
    let meant: Vec<usize> = meant.map(|(number, _)| number).collect();
    let mut doubt = None;
    for number in &meant {
        match of_column(reading, mesh, claim, *number) {
            Verdict::Proved => {}
            refuted @ Verdict::Refuted(_) => return (meant.len(), refuted),
            unknown @ Verdict::Unknown(_) => doubt = doubt.or(Some(unknown)),
        }
    }
    (meant.len(), doubt.unwrap_or(Verdict::Proved))
}

fn of_column(reading: &mut Reading<'_>, mesh: &Mesh, claim: &Claim, number: usize) -> Verdict {
    if claim.act == Act::Read && reading.is_closed(number, &claim.inside).is_some() {
        return Verdict::Proved;
    }
    let who = match claim.act {
        Act::Read => reading.read(number),
        Act::See => reading.see(number),
    };
    let inside = reading.people.in_any(claim.inside.iter().map(String::as_str));
    let outside = reading.people.diagrams.not(inside);
    let who = reading.people.diagrams.and(who, outside);
    let Some(cell) = reading.cells.get(number) else { return Verdict::Proved };
    let column = format!("{}@{}.{}", reading.product.name, reading.product.contract.major, cell.path.join("."));
    let place = cell.place().clone();
    let doubt = |because| Verdict::Unknown(Box::new(Doubt { column: column.clone(), place: place.clone(), because }));
    if reading.people.diagrams.is_too_large() {
        return doubt(Vec::new());
    }
    if who == Formula::FALSE {
        return Verdict::Proved;
    }
    for principal in candidates(reading, who) {
        let Decision::Granted(grants) = mesh.decide(&principal, reading.product) else { continue };
        let Some((access, because)) = access_at(&grants.columns, &cell.path) else { continue };
        if does(claim.act, &access, cell.is_map()) {
            let who = people_words(&principal);
            return Verdict::Refuted(Box::new(Witness { column, place, who, principal, access, because }));
        }
    }
    let mut because: Vec<Reason> = Vec::new();
    for rule in cell.rules.iter().filter(|rule| !reading.is_understood(rule)) {
        if !because.contains(&rule.reason) {
            because.push(rule.reason.clone());
        }
    }
    doubt(because)
}

/// People for whom the formula is true: whoever is described by least, and some others if it knows less than the engine.
fn candidates(reading: &Reading<'_>, who: Formula) -> impl Iterator<Item = Principal> {
    let people = &reading.people;
    let least = people.diagrams.least(who);
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut draw = move |below: usize| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        usize::try_from(state >> 33).unwrap_or_default() % below.max(1)
    };
    let drawn = (0..TRIES).filter_map(move |_| people.diagrams.drawn(who, &mut draw));
    least.into_iter().chain(drawn).map(|model| people.principal(&model))
}

fn does(act: Act, access: &Access, is_map: bool) -> bool {
    match act {
        Act::Read => *access == Access::Raw || (is_map && matches!(access, Access::Nested(_))),
        Act::See => *access != Access::Denied,
    }
}

/// Who somebody is, for people.
fn people_words(principal: &Principal) -> String {
    let mut text = words(principal);
    if principal.id != crate::trial::NOBODY {
        text = format!("the user {}, {text}", principal.id);
    }
    if let Some(purpose) = &principal.purpose {
        text.push_str(&format!(" for {purpose}"));
    }
    text
}

/// The permits of raw values that a tag's `unmasked_for` takes back from somebody.
fn overruled(reading: &mut Reading<'_>, mesh: &Mesh) -> Vec<Overruled> {
    let mut found: Vec<Overruled> = Vec::new();
    for number in 0..reading.cells.len() {
        let Some(cell) = reading.cells.get(number).filter(|cell| cell.has_values()) else { continue };
        let above = cell.tags.iter().flat_map(|tag| mesh.declared.lineage(tag));
        let mut guarded: Vec<_> =
            above.filter_map(|tag| Some((tag, &mesh.declared.tags.get(tag)?.unmasked_for.as_ref()?.0))).collect();
        guarded.sort();
        guarded.dedup();
        if guarded.is_empty() {
            continue;
        }
        let (rules, lies) = (cell.rules.clone(), cell.lies.clone());
        let column = format!("{}@{}.{}", reading.product.name, reading.product.contract.major, cell.path.join("."));
        let asked = Asked { action: Action::Read, kind: Kind::Column, lies: &lies };
        for rule in rules.into_iter().filter(|rule| !rule.forbids && rule.actions.contains(&Action::Read)) {
            for (tag, inside) in &guarded {
                if found.iter().any(|known| known.tag == *tag && known.policy == rule.reason) {
                    continue;
                }
                let applies = reading.applies(rule, asked);
                let inside = reading.people.in_any(inside.iter().map(String::as_str));
                let outside = reading.people.diagrams.not(inside);
                let entitled = reading.people.are_entitled();
                let taken = reading.people.diagrams.and(applies, outside);
                let taken = reading.people.diagrams.and(taken, entitled);
                let Some(model) = reading.people.diagrams.least(taken) else { continue };
                let who = people_words(&reading.people.principal(&model));
                let (policy, tag, column) = (rule.reason.clone(), (*tag).to_owned(), column.clone());
                found.push(Overruled { policy, tag, column, who });
            }
        }
    }
    found
}
