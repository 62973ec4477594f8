//! Random small worlds, and the files that declare them.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;

use super::super::Files;
use super::super::dice::Dice;
use super::test::{Test, filter};
use crate::document::Finding;
use crate::mesh::Mesh;

const GROUPS: [&str; 3] = ["g0", "g1", "g2"];
const TAGS: [&str; 4] = ["t", "t.a", "t.a.b", "u"];
pub(super) const MASKS: [&str; 15] = [
    "replace-with-null",
    "mask-to-fixed-value",
    "mask-to-fixed-value(7)",
    "mask-to-fixed-value(x)",
    "sha-256-query-local",
    "hmac(k)",
    "hmac(l)",
    "sha-256-global",
    "bucket(5)",
    "bucket(10)",
    "truncate-to-year",
    "truncate-to-month",
    "mask-alphanum",
    "show-last-4",
    "show-first-4",
];
const KINDS: [&str; 6] = ["string", "string", "long", "long", "date", "list"];
const DOMAINS: [&str; 2] = ["d0", "d1"];

/// A column with its fields; fields have no fields.
pub(super) struct Col {
    pub name: &'static str,
    pub kind: &'static str,
    pub tags: BTreeSet<&'static str>,
    pub fields: Vec<Col>,
}

pub(super) struct Prod {
    pub domain: &'static str,
    pub name: &'static str,
    pub major: u32,
    pub tags: BTreeSet<&'static str>,
    pub columns: Vec<Col>,
    pub closed: bool,
}

#[derive(Clone)]
pub(super) struct Rule {
    pub id: String,
    pub domain: Option<&'static str>,
    pub forbid: bool,
    pub actions: Vec<&'static str>,
    pub who: Option<String>,
    pub what: Option<(&'static str, String)>,
    pub when: &'static str,
    pub mask: Option<&'static str>,
    pub filter: Option<Test>,
}

pub(super) struct World {
    pub unmasked_for: BTreeMap<&'static str, BTreeSet<&'static str>>,
    pub masks: BTreeMap<&'static str, &'static str>,
    pub products: Vec<Prod>,
    pub rules: Vec<Rule>,
}

fn column(dice: &mut Dice, name: &'static str, deep: bool) -> Col {
    let nested = deep && dice.one_in(3);
    let fields = if nested { vec![column(dice, "x", false), column(dice, "y", false)] } else { Vec::new() };
    let kind = dice.pick(if nested { &["struct", "struct", "list", "map"] } else { &KINDS });
    Col { name, kind, tags: dice.some(&TAGS, 5), fields }
}

pub(super) fn rule(dice: &mut Dice, id: String, domain: Option<&'static str>, products: &[Prod]) -> Rule {
    let forbid = dice.one_in(4);
    let action = dice.pick(&["discover", "read", "read", "read_masked", "read_masked", "read_rows"]);
    let actions = match action {
        "read" if forbid && dice.one_in(2) => vec!["see"],
        "read" if dice.one_in(4) => vec!["read", "read_masked"],
        "read_rows" if dice.one_in(6) => vec!["read_rows", "discover"],
        action => vec![action],
    };
    let on_columns = !["discover", "read_rows"].contains(&action);
    let own: Vec<&Prod> = products.iter().filter(|p| domain.is_none_or(|d| d == p.domain)).collect();
    let product = own[dice.below(own.len())];
    let address = match dice.below(2) {
        0 => format!("{}.{}", product.domain, product.name),
        _ => format!("{}.{}@{}", product.domain, product.name, product.major),
    };
    let op = dice.pick(&["in", "=="]);
    let col = &product.columns[dice.below(product.columns.len())];
    let what = match dice.below(6) {
        0 => None,
        1 => Some(("in", format!("Domain::\"{}\"", product.domain))),
        2 => Some(("in", format!("Tag::\"{}\"", dice.pick(&TAGS)))),
        3 if on_columns && dice.one_in(2) && !col.fields.is_empty() => {
            Some((op, format!("Column::\"{address}.{}.{}\"", col.name, col.fields[0].name)))
        }
        3 | 4 if on_columns => Some((op, format!("Column::\"{address}.{}\"", col.name))),
        _ if on_columns => Some(("in", format!("Product::\"{address}\""))),
        _ => Some((op, format!("Product::\"{address}\""))),
    };
    let who = match dice.below(4) {
        0 => None,
        1 => Some("principal == User::\"u0\"".to_owned()),
        _ => Some(format!("principal in Group::\"{}\"", dice.pick(&GROUPS))),
    };
    let when = dice.pick(&["", "", "", "eu", "not-eu", "purpose", "big", "pii"]);
    let is_masking = !forbid && actions == ["read_masked"];
    let mask = (is_masking && !dice.one_in(4)).then(|| MASKS[dice.below(MASKS.len())]);
    let mut rule = Rule { id, domain, forbid, actions, who, what, when, mask, filter: None };
    if rule.actions == ["read_rows"] && !dice.one_in(4) {
        rule.filter = Some(filter(dice, &rule, products));
    }
    rule
}

pub(super) fn world(seed: u64) -> World {
    let mut dice = Dice(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1);
    let dice = &mut dice;
    let unmasked_for = dice.some(&TAGS, 3).into_iter().map(|tag| (tag, dice.some(&GROUPS, 2))).collect();
    let masks = dice.some(&TAGS, 3).into_iter().map(|tag| (tag, MASKS[dice.below(MASKS.len())])).collect();
    let mut products = Vec::new();
    for (domain, name, major) in [("d0", "p", 1), ("d0", "p", 2), ("d1", "q", 1)] {
        let columns = ["a", "b", "c"].map(|name| column(dice, name, true)).into();
        let closed = dice.one_in(8);
        products.push(Prod { domain, name, major, tags: dice.some(&TAGS, 8), columns, closed });
    }
    let mut rules = vec![];
    for (domain, most) in [(None, 4), (Some("d0"), 5), (Some("d1"), 3)] {
        for n in 0..dice.below(most) + 1 {
            rules.push(rule(dice, format!("{}{n}", domain.unwrap_or("m")), domain, &products));
        }
    }
    // Most worlds can be looked into at all.
    if !dice.one_in(10) {
        let open = Rule {
            id: "open".into(),
            domain: None,
            forbid: false,
            actions: vec!["discover"],
            who: None,
            what: None,
            when: "",
            mask: None,
            filter: None,
        };
        rules.push(open);
    }
    World { unmasked_for, masks, products, rules }
}

fn quoted<'a>(names: impl IntoIterator<Item = &'a &'static str>) -> String {
    names.into_iter().copied().collect::<Vec<_>>().join(", ")
}

pub(super) fn policy(rule: &Rule) -> String {
    let mut text = format!("@id(\"{}\") ", rule.id);
    if let Some(mask) = rule.mask {
        write!(text, "@mask(\"{mask}\") ").unwrap();
    }
    if let Some(filter) = &rule.filter {
        write!(text, "@filter(\"{}\") ", filter.text()).unwrap();
    }
    let action = match rule.actions.as_slice() {
        ["see"] => "action in Action::\"see\"".to_owned(),
        [one] => format!("action == Action::\"{one}\""),
        many => {
            format!("action in [{}]", many.iter().map(|a| format!("Action::\"{a}\"")).collect::<Vec<_>>().join(", "))
        }
    };
    let resource = rule.what.as_ref().map_or("resource".into(), |(op, uid)| format!("resource {op} {uid}"));
    let when = match rule.when {
        "eu" => "when { principal has region && principal.region == \"EU\" }",
        "not-eu" => "unless { principal has region && principal.region == \"EU\" }",
        "purpose" => "when { context has purpose && context.purpose == \"why\" }",
        "pii" => "unless { resource in Tag::\"t.a\" || resource in Tag::\"u\" }",
        "big" => "when { principal has level && principal.level * 9223372036854775807 > 0 }",
        _ => "",
    };
    let effect = if rule.forbid { "forbid" } else { "permit" };
    writeln!(text, "{effect} ({}, {action}, {resource}) {when};", rule.who.as_deref().unwrap_or("principal")).unwrap();
    text
}

fn columns_yaml(columns: &[Col]) -> String {
    let column = |c: &Col| {
        let fields =
            if c.fields.is_empty() { String::new() } else { format!(", properties: {}", columns_yaml(&c.fields)) };
        format!("{{ name: {}, physicalType: {}, tags: [{}]{fields} }}", c.name, c.kind, quoted(&c.tags))
    };
    format!("[{}]", columns.iter().map(column).collect::<Vec<_>>().join(", "))
}

impl World {
    pub fn load(&self) -> Result<Mesh, Vec<Finding>> {
        self.files().load()
    }

    pub fn files(&self) -> Files {
        let mut mesh = String::from(
            "mesh: law\ngroups: [g0, g1, g2]\nattributes: { region: String, level: Long, teams: { set: String } }\n\
             purposes: { why: { groups: [g0] } }\nkeys: { k: \"${env:CARGO_PKG_NAME}\", l: \"${env:CARGO_PKG_NAME}\" }\nauth: { users: [{ name: u0 }] }\ntags:\n",
        );
        for tag in TAGS {
            let mut keys = Vec::new();
            if let Some(groups) = self.unmasked_for.get(tag) {
                keys.push(format!("unmasked_for: [{}]", quoted(groups)));
            }
            if let Some(mask) = self.masks.get(tag) {
                keys.push(format!("mask: {mask}"));
            }
            writeln!(mesh, "  {tag}: {{ {} }}", keys.join(", ")).unwrap();
        }
        let mut files = Files::default().with("mesh.yaml", mesh);
        for domain in DOMAINS {
            let text = format!(
                "name: {domain}\nkind: shared\nowner: {{ team: t }}\ncatalog: {{ type: metadata, tables: {{}} }}\n"
            );
            files = files.with(&format!("{domain}/domain.yaml"), text);
        }
        for p in &self.products {
            let text = format!(
                "apiVersion: v3.1.0\nkind: DataContract\nid: x\nversion: {}.0.0\nstatus: active\ntags: [{}]\n{}\
                 schema: [{{ name: {}, physicalName: n.t{}, properties: {} }}]\n",
                p.major,
                quoted(&p.tags),
                if p.closed { "customProperties: [{ property: polder.rows, value: closed }]\n" } else { "" },
                p.name,
                p.major,
                columns_yaml(&p.columns),
            );
            files = files.with(&format!("{}/products/{}@{}.odcs.yaml", p.domain, p.name, p.major), text);
        }
        for rule in &self.rules {
            let folder = rule.domain.map_or("policies".into(), |domain| format!("{domain}/policies"));
            files = files.append(&format!("{folder}/all.cedar"), &policy(rule));
        }
        files
    }
}
