//! Files of every kind, mutated: whatever they say, loading ends with a mesh or with findings, and what looks at a mesh does
//! not fall over. `POLDER_CASES` / 20 mutations, 600 unless it says otherwise; `POLDER_SEED` for one of them.

use super::dice::Dice;
use super::*;
use crate::diff::{State, diff};
use crate::proof::examine;
use crate::trial::Trials;

const MUTATIONS: u64 = 600;

/// What stands in such files, to be put where it does not belong.
const WORDS: [&str; 44] = [
    ":",
    "-",
    "{",
    "}",
    "[",
    "]",
    "\"",
    "'",
    "\n",
    "  ",
    "#",
    "&a",
    "*a",
    "|",
    ">",
    "~",
    "null",
    "true",
    "-1",
    "1e999",
    "9223372036854775808",
    "\u{feff}",
    "é",
    "\u{202e}",
    "\0",
    "${env:X}",
    "@",
    "permit",
    "forbid",
    "when { principal }",
    "resource",
    "Tag::\"pii\"",
    "Group::\"\"",
    "&& ",
    "!",
    ";",
    "(",
    ")",
    "@mask(\"\")",
    "@filter(\"((((\")",
    "tags: [pii]",
    "required: true",
    "customProperties: {}",
    ".",
];

const TRIALS: &str = "- as: ann\n  product: shop.customers\n  expect: { discover: true, rows: all, columns: { city: raw, email: denied } }\n\
                      - as: { groups: [privacy], attributes: { region: EU } }\n  query: SELECT 1\n  expect: { error: denied }\n";

const STANDARD: &str = "@id(\"towns\") @message(\"says no town\")\n\
                        forbid (principal, action == Action::\"publish\", resource is Column)\n\
                        when { resource.name == \"city\" && !(resource has description) };\n";

const DERIVED: &str = "apiVersion: v3.1.0\nkind: DataContract\nid: t\nversion: 1.0.0\nstatus: active\n\
    description: { purpose: counting }\nsupport: [{ channel: c }]\n\
    slaProperties: [{ property: freshness, value: 1, unit: d }]\nschema:\n  - name: towns\n    \
    customProperties: [{ property: polder.query, value: SELECT city FROM customers }]\n    \
    quality: [{ type: sql, query: 'SELECT count(*) FROM ${object}', mustBeBetween: [1, 9] }]\n    properties:\n      \
    - { name: city, physicalType: string, description: where, customProperties: \
    [{ property: polder.declassified, value: a town is nobody }], \
    quality: [{ metric: invalidValues, mustBe: 0, unit: percent, arguments: { validValues: [a, b], pattern: '^[a-z]+$' } }] }\n";

fn mutated(dice: &mut Dice, text: &str) -> String {
    let mut text: Vec<char> = text.chars().collect();
    for _ in 0..1 + dice.below(3) {
        let at = dice.below(text.len() + 1);
        let end = (at + 1 + dice.below(12)).min(text.len());
        match dice.below(6) {
            0 => drop(text.drain(at..end)),
            1 => {
                let copied = text[at..end].to_vec();
                let to = dice.below(text.len() + 1);
                text.splice(to..to, copied);
            }
            2 => text.truncate(at),
            3 => {
                let lines: Vec<String> = text.iter().collect::<String>().lines().map(str::to_owned).collect();
                if !lines.is_empty() {
                    let (one, other) = (dice.below(lines.len()), dice.below(lines.len()));
                    let mut lines = lines;
                    lines.swap(one, other);
                    text = lines.join("\n").chars().collect();
                }
            }
            4 if end > at => {
                text.splice(at..end, dice.pick(&WORDS).chars());
            }
            _ => {
                text.splice(at..at, dice.pick(&WORDS).chars());
            }
        }
    }
    text.into_iter().collect()
}

#[test]
fn no_mutation_of_a_file_makes_anything_fall_over() {
    let number = |variable: &str| std::env::var(variable).ok().and_then(|text| text.parse::<u64>().ok());
    let valid = Files::valid()
        .with("shop/tests/all.yaml", TRIALS)
        .with("standards/house.cedar", STANDARD)
        .with("shop/products/towns.odcs.yaml", DERIVED);
    let before = valid.load().unwrap();
    assert_eq!(before.findings(), []);
    let old = State::from_files(&before, valid.files()).unwrap();
    let names: Vec<&String> = valid.files().keys().collect();
    let seeds =
        number("POLDER_SEED").map_or(0..number("POLDER_CASES").map_or(MUTATIONS, |cases| cases / 20), |s| s..s + 1);
    let (mut loaded, mut broken) = (0, 0);
    for seed in seeds.clone() {
        let mut dice = Dice(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1);
        for _ in 0..8 {
            dice.below(2);
        }
        let name = names[dice.below(names.len())];
        let text = mutated(&mut dice, &valid.files()[name]);
        let files = valid.clone().with(name, text.clone());
        let findings = match files.load() {
            Ok(mesh) => {
                loaded += 1;
                drop(examine(&mesh, &[]).findings());
                drop(Trials::from_files(&mesh, files.files()));
                if let Ok(new) = State::from_files(&mesh, files.files()) {
                    drop(diff(&old, &new));
                }
                mesh.findings().to_vec()
            }
            Err(findings) => {
                broken += 1;
                findings
            }
        };
        // A thread that panics is told as this.
        assert!(findings.iter().all(|finding| finding.code != "mesh/load"), "POLDER_SEED={seed} {name}:\n{text}");
        for finding in &findings {
            assert!(finding.place.line >= 1 && finding.place.column >= 1, "POLDER_SEED={seed}: {finding:?}");
            assert!(crate::codes::find(finding.code).is_ok(), "{finding:?}");
        }
    }
    let all = seeds.count();
    assert!(all == 1 || (loaded * 20 > all && broken * 20 > all), "both are common: {loaded}, {broken} of {all}");
}
