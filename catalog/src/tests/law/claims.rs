//! Claims about random small meshes: what the prover says, against everybody asked one by one.

use std::collections::{BTreeMap, BTreeSet};

use super::super::Files;
use super::super::dice::Dice;
use super::number;
use super::world::world;
use crate::contract::{Column, PhysicalType, Type};
use crate::mesh::{Mesh, Product};
use crate::policy::{Access, Decision};
use crate::principal::{Attribute, Principal};
use crate::proof::{Claim, Verdict, examine};
use crate::trial::access_at;

/// How many worlds are compared; `POLDER_CASES` / 100 if that says so.
const WORLDS: u64 = 60;
/// How many people are asked one by one in a world.
const MOST_PEOPLE: usize = 1500;
const GROUPS: [&str; 3] = ["g0", "g1", "g2"];
const TAGS: [&str; 4] = ["t", "t.a", "t.a.b", "u"];
const PRODUCTS: [&str; 3] = ["d0.p", "d0.p@1.a", "d1.q.c"];

/// What a policy may say of who asks and what for.
const ATOMS: [&str; 24] = [
    "(principal has region && principal.region == \"EU\")",
    "(principal has region && principal.region != \"EU\")",
    "(principal has region && [\"EU\", \"x1\"].contains(principal.region))",
    "principal has region",
    "principal has teams",
    "(principal has level && principal.level > 2)",
    "(principal has level && principal.level <= 1)",
    "(principal has level && principal.level == 3)",
    "(principal has level && -2 < principal.level)",
    "(principal has teams && principal.teams.contains(\"a\"))",
    "(principal has teams && principal.teams.containsAny([\"a\", \"EU\"]))",
    "(principal has teams && principal.teams.containsAll([\"a\", \"EU\"]))",
    "(principal has teams && [\"a\", \"EU\"].containsAll(principal.teams))",
    "(principal has teams && principal.teams.isEmpty())",
    "(principal has teams && principal.teams == [\"a\"])",
    "(principal has teams && principal has region && principal.teams.contains(principal.region))",
    "principal in Group::\"g1\"",
    "principal in [Group::\"g0\", Group::\"g2\"]",
    "principal == User::\"u0\"",
    "(context has purpose && context.purpose == \"why\")",
    "(context has purpose && principal has region && context.purpose == principal.region)",
    "resource in Tag::\"t.a\"",
    "resource in [Tag::\"t\", Tag::\"u\"]",
    "(if principal has level then principal.level == 3 else principal in Group::\"g2\")",
];

/// What the prover does not take apart.
const OPAQUE: [&str; 6] = [
    "(principal has level && principal.level * 2 > 5)",
    "(principal has region && principal.region like \"z*\")",
    "(principal has level && principal.level + 1 != principal.level * 2 && principal.level * 2 != principal.level * 3 && principal.level + 1 != principal.level * 3)",
    "(ip(\"10.0.0.1\") != ip(\"10.0.0.2\") && ip(\"10.0.0.2\") != ip(\"10.0.0.3\") && ip(\"10.0.0.1\") != ip(\"10.0.0.3\"))",
    "(principal == User::\"u0\" && User::\"u0\" in Group::\"g1\")",
    "Action::\"read\" in Action::\"see\"",
];

fn condition(dice: &mut Dice, depth: usize) -> String {
    if depth == 0 || dice.one_in(2) {
        return if dice.one_in(12) { dice.pick(&OPAQUE) } else { dice.pick(&ATOMS) }.to_owned();
    }
    let (one, other) = (condition(dice, depth - 1), condition(dice, depth - 1));
    match dice.below(4) {
        0 => format!("!({one})"),
        1 => format!("({one} && {other})"),
        2 => format!("({one} || {other})"),
        _ => format!("(if {one} then {other} else {})", condition(dice, depth - 1)),
    }
}

/// The world of the law, with policies whose conditions say more.
fn files(seed: u64) -> Files {
    let mut dice = Dice(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1 << 33 | 1);
    let mut files = world(seed).files();
    for n in 0..1 + dice.below(2) {
        let (folder, domain) = [("policies", "d0"), ("d0/policies", "d0"), ("d1/policies", "d1")][dice.below(3)];
        let effect = if dice.one_in(3) { "forbid" } else { "permit" };
        let action = dice.pick(&["read", "read", "read_masked", "discover"]);
        let who = match dice.below(3) {
            0 => "principal".to_owned(),
            1 => "principal == User::\"u0\"".to_owned(),
            _ => format!("principal in Group::\"{}\"", dice.pick(&GROUPS)),
        };
        let what = match dice.below(3) {
            0 => "resource".to_owned(),
            1 => format!("resource in Domain::\"{domain}\""),
            _ => format!("resource in Tag::\"{}\"", dice.pick(&TAGS)),
        };
        let when = dice.pick(&["when", "unless"]);
        let policy = format!(
            "@id(\"more{n}\") {effect} ({who}, action == Action::\"{action}\", {what}) {when} {{ {} }};\n",
            condition(&mut dice, 2)
        );
        files = files.append(&format!("{folder}/all.cedar"), &policy);
    }
    files
}

/// Everybody whom the conditions in this text can tell apart: each asks first whether an attribute is there.
fn everybody(text: &str) -> Vec<Principal> {
    let says = |what: &str| text.contains(what);
    let optional = |wanted: bool, values: Vec<Attribute>| {
        let some = values.into_iter().map(Some).filter(|_| wanted);
        std::iter::once(None).chain(some).collect::<Vec<_>>()
    };
    let texts = ["EU", "x1", "why", "zz"].map(|text| Attribute::String(text.into()));
    let regions = optional(says("has region"), texts.into());
    let levels = optional(says("has level"), [-3, 0, 1, 2, 3, 4].map(Attribute::Long).into());
    // Two that no policy names are never needed at once.
    let sets = (0..16_usize).filter(|set| set & 12 != 12).map(|set| {
        let elements = ["a", "EU", "zz", "yy"].into_iter().enumerate().filter(|(place, _)| set & (1 << place) != 0);
        Attribute::Set(elements.map(|(_, text)| text.to_owned()).collect())
    });
    let teams = optional(says("has teams"), sets.collect());
    let purposes = if says("context") { vec![None, Some("why".to_owned())] } else { vec![None] };
    let ids = if says("User::") { vec!["u0", "someone"] } else { vec!["someone"] };
    let mut all = Vec::new();
    for set in 0..8_usize {
        let groups: BTreeSet<String> =
            GROUPS.into_iter().enumerate().filter(|(n, _)| set & (1 << n) != 0).map(|(_, g)| g.to_owned()).collect();
        for (region, level) in regions.iter().flat_map(|region| levels.iter().map(move |level| (region, level))) {
            for (team, purpose) in teams.iter().flat_map(|team| purposes.iter().map(move |purpose| (team, purpose))) {
                let named = [("region", region), ("level", level), ("teams", team)];
                let attributes: BTreeMap<String, Attribute> =
                    named.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value.clone()?))).collect();
                all.extend(ids.iter().map(|id| Principal {
                    id: (*id).to_owned(),
                    groups: groups.clone(),
                    attributes: attributes.clone(),
                    purpose: purpose.clone(),
                }));
            }
        }
    }
    all
}

/// A column of a product that holds values, with all its tags.
struct Held {
    path: Vec<String>,
    tags: BTreeSet<String>,
    is_map: bool,
}

fn held(columns: &[Column], path: &[String], tags: &BTreeSet<String>, found: &mut Vec<Held>) {
    for column in columns {
        let path: Vec<String> = path.iter().cloned().chain([column.name.clone()]).collect();
        let tags: BTreeSet<String> = tags.union(&column.tags).cloned().collect();
        let is_map = column.kind == Type::Physical(PhysicalType::Map) && !column.fields.is_empty();
        held(&column.fields, &path, &tags, found);
        if column.fields.is_empty() || is_map {
            found.push(Held { path, tags, is_map });
        }
    }
}

/// Whether a claim's own text means what is held there.
fn is_about(text: &str, product: &Product, held: &Held) -> bool {
    let what = text.rsplit(' ').next().unwrap();
    if TAGS.contains(&what) {
        return held.tags.iter().any(|tag| tag == what || tag.starts_with(&format!("{what}.")));
    }
    let mut parts = what.splitn(3, '.');
    let (domain, name, column) = (parts.next().unwrap(), parts.next().unwrap(), parts.next());
    let (name, major) = name.split_once('@').map_or((name, None), |(name, major)| (name, Some(major)));
    product.name.domain().as_str() == domain
        && product.name.name() == name
        && major.is_none_or(|major| product.contract.major.to_string() == major)
        && column.is_none_or(|column| held.path[0] == column)
}

/// For each claim, whether anybody outside does what nobody can.
fn asked(mesh: &Mesh, texts: &[(String, BTreeSet<String>)], people: &[Principal]) -> Vec<bool> {
    let mut found = vec![false; texts.len()];
    for (_, product) in mesh.products() {
        let mut all = Vec::new();
        held(&product.contract.columns, &[], &product.contract.tags, &mut all);
        for who in people {
            let Decision::Granted(grants) = mesh.decide(who, product) else { continue };
            for (place, (text, inside)) in texts.iter().enumerate() {
                if found[place] || !inside.is_disjoint(&who.groups) {
                    continue;
                }
                found[place] = all.iter().filter(|held| is_about(text, product, held)).any(|held| {
                    let (access, _) = access_at(&grants.columns, &held.path).unwrap();
                    let keys = held.is_map && matches!(access, Access::Nested(_));
                    if text.contains(" can read ") { access == Access::Raw || keys } else { access != Access::Denied }
                });
            }
        }
    }
    found
}

fn claims(seed: u64) -> Vec<(String, BTreeSet<String>)> {
    let mut dice = Dice(seed | 1 << 45);
    let claim = |_| {
        let inside: BTreeSet<String> = dice.some(&GROUPS, 3).into_iter().map(str::to_owned).collect();
        let outside = match inside.is_empty() {
            true => String::new(),
            false => format!(" outside {}", inside.iter().cloned().collect::<Vec<_>>().join(", ")),
        };
        let what = if dice.one_in(3) { dice.pick(&PRODUCTS) } else { dice.pick(&TAGS) };
        (format!("no one{outside} can {} {what}", dice.pick(&["read", "read", "see"])), inside)
    };
    (0..8).map(claim).collect()
}

#[test]
fn the_prover_says_what_everybody_shows() {
    let worlds = number("POLDER_CASES").map_or(WORLDS, |cases| cases.div_ceil(100));
    let (mut seen, mut skipped) = (BTreeMap::<&str, usize>::new(), 0);
    let seeds = number("POLDER_SEED").map_or(0..worlds, |seed| seed..seed + 1);
    for seed in seeds {
        let files = files(seed);
        // A condition that can never hold does not load.
        let Some(mesh) = files.load().ok().filter(|mesh| mesh.domains_out().count() == 0) else {
            skipped += 1;
            continue;
        };
        let policies: String =
            files.files().iter().filter(|(name, _)| name.ends_with(".cedar")).map(|(_, text)| text.as_str()).collect();
        let people = everybody(&policies);
        // Worlds in which everything is named at once take minutes, and show no more than those that name it in turns.
        if people.len() > MOST_PEOPLE {
            skipped += 1;
            continue;
        }
        let texts = claims(seed);
        let parsed: Vec<Claim> = texts
            .iter()
            .filter_map(|(text, _)| {
                Claim::parse(text, &mesh)
                    .map_err(|error| assert!(error.message.contains("is served"), "{seed}: {text}: {error}"))
                    .ok()
            })
            .collect();
        assert_eq!(parsed.len(), texts.len(), "world {seed}: {texts:?}");
        let all = asked(&mesh, &texts, &people);
        let examined = examine(&mesh, &parsed);
        let of_tags = examined.proofs.len() - parsed.len();
        for proof in &examined.proofs[..of_tags] {
            assert!(matches!(proof.verdict, Verdict::Proved), "world {seed}: {proof:#?}\n{policies}");
        }
        for ((proof, somebody), (text, _)) in examined.proofs[of_tags..].iter().zip(all).zip(&texts) {
            let said = match &proof.verdict {
                Verdict::Proved => "proved",
                Verdict::Refuted(_) => "refuted",
                Verdict::Unknown(_) => "unknown",
            };
            *seen.entry(said).or_default() += 1;
            let may_be_unknown = ["* 2", "like", "9223372036854775807"].iter().any(|text| policies.contains(text));
            let expected = if somebody { "refuted" } else { "proved" };
            let is_right = said == expected || (said == "unknown" && may_be_unknown);
            assert!(is_right, "world {seed}: {text}: {expected}, not {:#?}\n{policies}", proof.verdict);
        }
    }
    if number("POLDER_SEED").is_none() {
        assert!(skipped * 4 < worlds * 3, "{skipped} of {worlds} worlds are left out");
        let times = |said: &str| seen.get(said).copied().unwrap_or_default();
        let all = times("proved") + times("refuted") + times("unknown");
        assert!(times("proved") * 10 > all && times("refuted") * 10 > all, "both are common: {seen:?}");
        assert!(times("unknown") * 10 < all, "and unknown is not: {seen:?}");
    }
}
