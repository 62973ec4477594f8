//! The law of the policies, against an evaluator that is written from its text and knows nothing of Cedar.
//!
//! Random small meshes are loaded like any other, from memory; every principal asks for every product, and what the
//! engine decides must be what the text says, for columns and for each of some rows. `POLDER_CASES` sets how many
//! decisions are compared: 20000 unless it says otherwise.

mod claims;
mod reference;
mod test;
mod world;

use std::collections::BTreeMap;

use self::reference::{law, rows};
use self::test::kind;
use self::world::{Col, Prod, World, policy, rule, world};
use super::dice::Dice;
use super::evaluate::{Cell, Row, shows};
use super::show;
use crate::mesh::{Mesh, Product};
use crate::policy::planted::{self, Fault};
use crate::policy::{Access, ColumnGrant, Decision, Mask};
use crate::principal::{Attribute, Principal};

/// How many decisions are compared, in how many threads.
const CASES: u64 = 20_000;
const THREADS: u64 = 2;

fn principals() -> Vec<Principal> {
    let make = |id: &str, groups: &[&str], region: &str, level: Option<i64>, teams: Option<&[&str]>, purpose: bool| {
        let mut attributes = BTreeMap::new();
        if !region.is_empty() {
            attributes.insert("region".to_owned(), Attribute::String(region.into()));
        }
        attributes.extend(level.map(|number| ("level".to_owned(), Attribute::Long(number))));
        let texts = |teams: &[&str]| Attribute::Set(teams.iter().map(|team| (*team).to_owned()).collect());
        attributes.extend(teams.map(|teams| ("teams".to_owned(), texts(teams))));
        let groups = groups.iter().map(|group| (*group).to_owned()).collect();
        Principal { id: id.into(), groups, attributes, purpose: purpose.then(|| "why".into()) }
    };
    vec![
        make("u0", &["g0"], "EU", None, Some(&["EU", "x1"]), true),
        make("u1", &["g0", "g1"], "US", Some(0), None, false),
        make("u2", &["g2"], "", Some(5), Some(&[]), true),
        make("u3", &["g1", "g2"], "EU", Some(5), Some(&["x1"]), false),
        make("u4", &[], "", None, None, false),
        make("u5", &["g0", "g1", "g2"], "x1", Some(2), Some(&["EU"]), true),
    ]
}

/// Rows that fit the columns, with NULLs among their values.
fn sample(dice: &mut Dice, product: &Prod) -> Vec<Row> {
    let row = |dice: &mut Dice| {
        let mut row = Row::new();
        for path in ["a", "b", "c", "a.x", "b.y"] {
            let cell = match kind(product, path) {
                "string" => Cell::Text(dice.pick(&["EU", "US", "x1", "", "%"]).into()),
                "long" => Cell::Number(dice.below(8) as i128 - 1),
                "missing" | "closed" => continue,
                _ => Cell::Struct,
            };
            if !dice.one_in(4) {
                row.insert(path.into(), cell);
            }
        }
        row
    };
    (0..6).map(|_| row(dice)).collect()
}

fn find<'m>(mesh: &'m Mesh, prod: &Prod) -> &'m Product {
    let domain = mesh.domain(&prod.domain.parse().unwrap()).unwrap();
    domain.products.values().flatten().find(|p| p.contract.major == prod.major && p.name.name() == prod.name).unwrap()
}

fn told_access(access: &Access) -> String {
    match access {
        Access::Raw => "raw".into(),
        Access::Denied => "denied".into(),
        Access::Masked(mask) => mask.to_string(),
        Access::Nested(fields) => {
            let each = fields.iter().map(|field| format!("{}: {}", field.column, told_access(&field.access)));
            format!("nested({})", each.collect::<Vec<_>>().join(", "))
        }
    }
}

fn told(decision: &Decision) -> String {
    match decision {
        Decision::Hidden(_) => "hidden".into(),
        Decision::Refused(_) => "refused".into(),
        Decision::Granted(grants) => {
            let column = |grant: &ColumnGrant| format!("{} {}", grant.column, told_access(&grant.access));
            grants.columns.iter().map(column).collect::<Vec<_>>().join(", ")
        }
    }
}

/// Compares the engine with the law in one world. What the law said is noted; the first difference is returned.
fn compare(seed: u64, fault: Option<Fault>, seen: &mut BTreeMap<&str, usize>) -> Result<u64, String> {
    let world = world(seed);
    let describe = |what: &str| {
        let rules: String = world.rules.iter().map(policy).collect();
        format!("world {seed} (POLDER_SEED={seed}): {what}\n{rules}")
    };
    let mesh = world.load().map_err(|findings| describe(&format!("{findings:#?}")))?;
    if mesh.domains_out().count() > 0 {
        return Err(describe(&format!("{:#?}", mesh.findings())));
    }
    let mut dice = Dice(seed | 1 << 50);
    let mut cases = 0;
    for product in &world.products {
        let sample = sample(&mut dice, product);
        for who in principals() {
            cases += 1;
            let decision = planted::with(fault, || mesh.decide(&who, find(&mesh, product)));
            let (said, told) = (law(&world, &who, product), told(&decision));
            let asked = format!("{} on {}.{}@{}", who.id, product.domain, product.name, product.major);
            if said != told {
                return Err(describe(&format!("{asked}: the law says {said}\nand the engine {}", show(&decision))));
            }
            for word in ["hidden", "refused", "raw", "denied", "nested", "null", "-value,", "bucket", "show-", "hmac"] {
                *seen.entry(word).or_default() += usize::from(said.contains(word));
            }
            let Decision::Granted(grants) = decision else { continue };
            for row in &sample {
                let said = rows(&world, &who, product, row).map_err(|id| describe(&format!("{asked}: {id} fails")))?;
                if said != shows(&grants.rows, row) {
                    let rows = &grants.rows;
                    return Err(describe(&format!(
                        "{asked}: the law says {said} of {row:?}\nand the engine {rows:#?}"
                    )));
                }
                *seen.entry(if said { "a row" } else { "no row" }).or_default() += 1;
            }
        }
    }
    Ok(cases)
}

fn number(variable: &str) -> Option<u64> {
    std::env::var(variable).ok()?.parse().ok()
}

#[test]
fn the_engine_decides_what_the_law_says() {
    if let Some(seed) = number("POLDER_SEED") {
        compare(seed, None, &mut BTreeMap::new()).unwrap_or_else(|difference| panic!("{difference}"));
        return;
    }
    let wanted = number("POLDER_CASES").unwrap_or(CASES) / THREADS;
    let run = |thread: u64| {
        let (mut seen, mut cases) = (BTreeMap::new(), 0);
        for seed in (thread..).step_by(THREADS as usize) {
            cases += compare(seed, None, &mut seen).unwrap_or_else(|difference| panic!("{difference}"));
            if cases >= wanted {
                return seen;
            }
        }
        seen
    };
    let mut seen: BTreeMap<&str, usize> = BTreeMap::new();
    std::thread::scope(|scope| {
        let threads: Vec<_> = (0..THREADS).map(|thread| scope.spawn(move || run(thread))).collect();
        for thread in threads {
            for (word, times) in thread.join().unwrap() {
                *seen.entry(word).or_default() += times;
            }
        }
    });
    assert!(seen.values().all(|times| *times >= 10), "every kind of answer is common: {seen:?}");
}

#[test]
fn each_planted_fault_is_caught() {
    for fault in Fault::ALL {
        let caught = (0..2000).find(|seed| compare(*seed, Some(fault), &mut BTreeMap::new()).is_err());
        assert!(caught.is_some(), "{fault:?} goes unnoticed");
    }
}

/// How much an access shows of each leaf; a mask shows what it shows, whichever it is.
fn shown<'a>(access: &'a Access, col: &Col) -> Vec<(u8, Option<&'a Mask>)> {
    match access {
        Access::Nested(fields) => {
            let each = fields.iter().zip(&col.fields);
            each.flat_map(|(field, col)| shown(&field.access, col)).collect()
        }
        leaf => {
            let leaf = match leaf {
                Access::Raw => (2, None),
                Access::Masked(mask) => (1, Some(mask)),
                _ => (0, None),
            };
            vec![leaf; col.fields.len().max(1)]
        }
    }
}

fn with_a_forbid(seed: u64, world: &mut World) {
    let mut dice = Dice(seed | 1 << 40);
    let domain = [None, Some("d0")][dice.below(2)];
    loop {
        let mut more = rule(&mut dice, "more".into(), domain, &world.products);
        // A filter belongs to no other action, and the actions to no mask.
        (more.forbid, more.mask) = (true, None);
        if more.filter.is_none() || more.actions == ["read_rows"] {
            return world.rules.push(more);
        }
    }
}

#[test]
fn another_forbid_never_shows_more() {
    let (mut fewer, mut fewer_rows) = (0, 0);
    for seed in 0..number("POLDER_CASES").unwrap_or(CASES) / 100 {
        let mut world = world(seed);
        let before = world.load().unwrap();
        with_a_forbid(seed, &mut world);
        let after = world.load().unwrap();
        let mut dice = Dice(seed | 1 << 50);
        for product in &world.products {
            let sample = sample(&mut dice, product);
            for who in principals() {
                let was = before.decide(&who, find(&before, product));
                let is = after.decide(&who, find(&after, product));
                fewer += usize::from(told(&was) != told(&is));
                match (&was, &is) {
                    (_, Decision::Hidden(_)) => {}
                    (Decision::Granted(_) | Decision::Refused(_), Decision::Refused(_)) => {}
                    (Decision::Granted(was), Decision::Granted(is)) => {
                        for ((was, is), col) in was.columns.iter().zip(&is.columns).zip(&product.columns) {
                            for (was, is) in shown(&was.access, col).into_iter().zip(shown(&is.access, col)) {
                                assert!(is.0 < was.0 || is == was, "world {seed}: {was:?} became {is:?}");
                            }
                        }
                        for row in &sample {
                            let (was, is) = (shows(&was.rows, row), shows(&is.rows, row));
                            assert!(was || !is, "world {seed}: {row:?} is shown by another forbid");
                            fewer_rows += usize::from(was && !is);
                        }
                    }
                    _ => panic!("world {seed}: {} became {}", show(&was), show(&is)),
                }
            }
        }
    }
    assert!(fewer > 20 && fewer_rows > 20, "forbids did something: {fewer}, {fewer_rows}");
}
