//! The law of the policies, against an evaluator that is written from its text and knows nothing of Cedar.
//!
//! Random small meshes are written to disk and loaded like any other; every principal asks for every product, and what
//! the engine decides must be what the text says.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;

use super::{Files, show};
use crate::document::Finding;
use crate::mesh::{Mesh, Product};
use crate::policy::{Access, ColumnGrant, Decision, Mask};
use crate::principal::{Attribute, Principal};

const MESHES: u64 = 600;
const GROUPS: [&str; 3] = ["g0", "g1", "g2"];
const TAGS: [&str; 4] = ["t", "t.a", "t.a.b", "u"];
const MASKS: [&str; 4] = ["replace-with-null", "mask-to-fixed-value(7)", "mask-to-fixed-value(x)", "sha-256-global"];
/// What the products look like: name, major, tags, and columns with their types, tags and fields.
const DOMAINS: [&str; 2] = ["d0", "d1"];

struct Dice(u64);

impl Dice {
    fn below(&mut self, n: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 % n as u64) as usize
    }
    fn one_in(&mut self, n: usize) -> bool {
        self.below(n) == 0
    }
    fn pick<'a>(&mut self, of: &[&'a str]) -> &'a str {
        of[self.below(of.len())]
    }
    fn some(&mut self, of: &[&'static str], one_in: usize) -> BTreeSet<&'static str> {
        of.iter().copied().filter(|_| self.one_in(one_in)).collect()
    }
}

/// A column with its fields; fields have no fields.
struct Col {
    name: &'static str,
    kind: &'static str,
    tags: BTreeSet<&'static str>,
    fields: Vec<Col>,
}

struct Prod {
    domain: &'static str,
    name: &'static str,
    major: u32,
    tags: BTreeSet<&'static str>,
    columns: Vec<Col>,
}

#[derive(Clone)]
struct Rule {
    id: String,
    domain: Option<&'static str>,
    forbid: bool,
    actions: Vec<&'static str>,
    who: Option<String>,
    what: Option<(&'static str, String)>,
    when: &'static str,
    mask: Option<&'static str>,
}

struct World {
    unmasked_for: BTreeMap<&'static str, BTreeSet<&'static str>>,
    masks: BTreeMap<&'static str, &'static str>,
    products: Vec<Prod>,
    rules: Vec<Rule>,
}

fn column(dice: &mut Dice, name: &'static str, deep: bool) -> Col {
    let is_struct = deep && dice.one_in(4);
    let fields = if is_struct { vec![column(dice, "x", false), column(dice, "y", false)] } else { Vec::new() };
    let kind = if is_struct { "struct" } else { dice.pick(&["string", "string", "long"]) };
    Col { name, kind, tags: dice.some(&TAGS, 5), fields }
}

fn rule(dice: &mut Dice, id: String, domain: Option<&'static str>, products: &[Prod]) -> Rule {
    let forbid = dice.one_in(4);
    let action = dice.pick(&["discover", "read", "read", "read_masked"]);
    let actions = match action {
        "read" if forbid && dice.one_in(2) => vec!["see"],
        "read" if dice.one_in(4) => vec!["read", "read_masked"],
        action => vec![action],
    };
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
        3 if action != "discover" && dice.one_in(2) && !col.fields.is_empty() => {
            Some((op, format!("Column::\"{address}.{}.{}\"", col.name, col.fields[0].name)))
        }
        3 | 4 if action != "discover" => Some((op, format!("Column::\"{address}.{}\"", col.name))),
        _ if action != "discover" => Some(("in", format!("Product::\"{address}\""))),
        _ => Some((op, format!("Product::\"{address}\""))),
    };
    let who = match dice.below(4) {
        0 => None,
        1 => Some("principal == User::\"u0\"".to_owned()),
        _ => Some(format!("principal in Group::\"{}\"", dice.pick(&GROUPS))),
    };
    let when = dice.pick(&["", "", "", "eu", "not-eu", "purpose", "big"]);
    let is_masking = !forbid && actions == ["read_masked"];
    let mask = (is_masking && !dice.one_in(4)).then(|| MASKS[dice.below(MASKS.len())]);
    Rule { id, domain, forbid, actions, who, what, when, mask }
}

fn world(seed: u64) -> World {
    let mut dice = Dice(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1);
    let dice = &mut dice;
    let unmasked_for = dice.some(&TAGS, 3).into_iter().map(|tag| (tag, dice.some(&GROUPS, 2))).collect();
    let masks = dice.some(&TAGS, 3).into_iter().map(|tag| (tag, MASKS[dice.below(MASKS.len())])).collect();
    let mut products = Vec::new();
    for (domain, name, major) in [("d0", "p", 1), ("d0", "p", 2), ("d1", "q", 1)] {
        let columns = ["a", "b", "c"].map(|name| column(dice, name, true)).into();
        products.push(Prod { domain, name, major, tags: dice.some(&TAGS, 8), columns });
    }
    let mut rules = vec![];
    for (domain, most) in [(None, 4), (Some("d0"), 5), (Some("d1"), 3)] {
        for n in 0..dice.below(most) + 1 {
            rules.push(rule(dice, format!("{}{n}", domain.unwrap_or("m")), domain, &products));
        }
    }
    // Most worlds can be looked into at all.
    if !dice.one_in(5) {
        let open = Rule {
            id: "open".into(),
            domain: None,
            forbid: false,
            actions: vec!["discover"],
            who: None,
            what: None,
            when: "",
            mask: None,
        };
        rules.push(open);
    }
    World { unmasked_for, masks, products, rules }
}

// ---- the world as files ----

fn quoted<'a>(names: impl IntoIterator<Item = &'a &'static str>) -> String {
    names.into_iter().copied().collect::<Vec<_>>().join(", ")
}

fn policy(rule: &Rule) -> String {
    let mut text = format!("@id(\"{}\") ", rule.id);
    if let Some(mask) = rule.mask {
        write!(text, "@mask(\"{mask}\") ").unwrap();
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
    fn load(&self) -> Result<Mesh, Vec<Finding>> {
        let mut mesh = String::from(
            "mesh: law\ngroups: [g0, g1, g2]\nattributes: { region: String, level: Long }\n\
             purposes: { why: { groups: [g0] } }\nauth: { users: [{ name: u0 }] }\ntags:\n",
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
                "apiVersion: v3.1.0\nkind: DataContract\nid: x\nversion: {}.0.0\nstatus: active\ntags: [{}]\n\
                 schema: [{{ name: {}, physicalName: n.t{}, properties: {} }}]\n",
                p.major,
                quoted(&p.tags),
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
        files.load()
    }
}

// ---- the law ----

/// What is asked for: a product, or a column in it by its path; with every tag that it carries.
struct Thing<'a> {
    product: &'a Prod,
    path: Vec<&'static str>,
    tags: BTreeSet<&'static str>,
}

impl Thing<'_> {
    /// Whether it is what `uid` names, or lies in it.
    fn lies_in(&self, uid: &str) -> bool {
        let (kind, id) = uid.trim_end_matches('"').split_once("::\"").unwrap();
        let plain = format!("{}.{}", self.product.domain, self.product.name);
        let major = format!("{plain}@{}", self.product.major);
        match kind {
            "Domain" => id == self.product.domain,
            "Tag" => self.tags.iter().any(|tag| is_at_or_below(tag, id)),
            "Product" => id == plain || id == major,
            _ => (1..=self.path.len()).any(|n| {
                let path = self.path[..n].join(".");
                id == format!("{plain}.{path}") || id == format!("{major}.{path}")
            }),
        }
    }
}

fn is_at_or_below(tag: &str, above: &str) -> bool {
    tag == above || tag.starts_with(&format!("{above}."))
}

fn is_in(principal: &Principal, group: &str) -> bool {
    principal.groups.contains(group)
}

/// Whether the rule applies; `Err` when it fails.
fn applies(rule: &Rule, who: &Principal, action: &str, what: &Thing<'_>) -> Result<bool, String> {
    let named = rule.actions.contains(&action) || (rule.actions == ["see"] && action != "discover");
    let meant = match rule.who.as_deref() {
        None => true,
        Some("principal == User::\"u0\"") => who.id == "u0",
        Some(group) => is_in(who, group.trim_start_matches("principal in Group::\"").trim_end_matches('"')),
    };
    let reached = rule.what.as_ref().is_none_or(|(_, uid)| what.lies_in(uid));
    let reaches_here = rule.domain.is_none_or(|domain| domain == what.product.domain);
    if !(named && meant && reached && reaches_here) {
        return Ok(false);
    }
    let is_eu = who.attributes.get("region") == Some(&Attribute::String("EU".into()));
    Ok(match rule.when {
        "eu" => is_eu,
        "not-eu" => !is_eu,
        "purpose" => who.purpose.is_some(),
        "big" => match who.attributes.get("level") {
            Some(Attribute::Long(0)) => false,
            Some(_) => return Err(rule.id.clone()),
            None => false,
        },
        _ => true,
    })
}

/// Law 1: deny by default, and a forbid beats every permit. The permits that count, if it is allowed.
fn permits<'w>(
    world: &'w World,
    who: &Principal,
    action: &str,
    what: &Thing<'_>,
) -> Result<Option<Vec<&'w Rule>>, String> {
    let mut failed = Vec::new();
    let (mut permits, mut forbidden) = (Vec::new(), false);
    for rule in &world.rules {
        match applies(rule, who, action, what) {
            Ok(true) if rule.forbid => forbidden = true,
            Ok(true) => permits.push(rule),
            Ok(false) => {}
            Err(id) => failed.push(id),
        }
    }
    for (tag, groups) in &world.unmasked_for {
        let carries = what.tags.iter().any(|own| is_at_or_below(own, tag));
        forbidden |= action == "read" && carries && !groups.iter().any(|group| is_in(who, group));
    }
    match failed.into_iter().min() {
        Some(id) => Err(id),
        None => Ok((!forbidden && !permits.is_empty()).then_some(permits)),
    }
}

fn strictest(masks: &[&'static str]) -> Option<&'static str> {
    let null = masks.iter().find(|mask| **mask == MASKS[0]);
    let fixed: BTreeSet<_> = masks.iter().copied().filter(|mask| mask.starts_with("mask-to")).collect();
    match (null, fixed.len()) {
        (Some(null), _) => Some(null),
        (None, 2) => Some("mask-to-fixed-value"),
        (None, 1) => fixed.first().copied(),
        _ => masks.first().copied(),
    }
}

fn is_defined(mask: &str, kind: &str) -> bool {
    match mask {
        "replace-with-null" => true,
        "mask-to-fixed-value" | "mask-to-fixed-value(7)" => kind != "struct",
        "mask-to-fixed-value(x)" => kind == "string",
        _ => kind != "struct",
    }
}

/// Law 2: raw, else masked, else denied; what is nested is raw only as a whole.
fn access(world: &World, who: &Principal, thing: &Thing<'_>, col: &Col) -> Result<String, String> {
    let raw = permits(world, who, "read", thing)?;
    let masked = permits(world, who, "read_masked", thing)?;
    let mut fields = Vec::new();
    for field in &col.fields {
        let mut inner = Thing { product: thing.product, path: thing.path.clone(), tags: thing.tags.clone() };
        inner.path.push(field.name);
        inner.tags.extend(&field.tags);
        fields.push((field.name, access(world, who, &inner, field)?));
    }
    if let Some((_, first)) = fields.first() {
        let alike = ["raw", "denied", MASKS[0]].contains(&first.as_str()) && fields.iter().all(|(_, f)| f == first);
        let each: Vec<_> = fields.iter().map(|(name, access)| format!("{name}: {access}")).collect();
        return Ok(if alike { first.clone() } else { format!("nested({})", each.join(", ")) });
    }
    if raw.is_some() {
        return Ok("raw".into());
    }
    let Some(permits) = masked else { return Ok("denied".into()) };
    let mut masks: Vec<_> = permits.iter().filter_map(|rule| rule.mask).collect();
    let names_none = permits.iter().any(|rule| rule.mask.is_none());
    for (tag, mask) in &world.masks {
        // The mask of a tag binds everybody else than those who get its raw values.
        let is_above = world.unmasked_for.get(tag).is_some_and(|groups| groups.iter().any(|g| is_in(who, g)));
        if is_above && !names_none {
            continue;
        }
        if thing.tags.iter().any(|own| is_at_or_below(own, tag)) {
            masks.push(mask);
        }
    }
    let mask = strictest(&masks).filter(|mask| is_defined(mask, col.kind));
    Ok(mask.map_or("denied".into(), str::to_owned))
}

fn law(world: &World, who: &Principal, product: &Prod) -> String {
    let thing = |path: Vec<&'static str>, tags: &BTreeSet<&'static str>| Thing {
        product,
        path,
        tags: product.tags.union(tags).copied().collect(),
    };
    // Law 7: who may not discover it sees nothing, not even that a policy failed.
    if !matches!(permits(world, who, "discover", &thing(vec![], &BTreeSet::new())), Ok(Some(_))) {
        return "hidden".into();
    }
    let mut columns = Vec::new();
    for col in &product.columns {
        match access(world, who, &thing(vec![col.name], &col.tags), col) {
            Ok(access) => columns.push(format!("{} {access}", col.name)),
            Err(_) => return "refused".into(),
        }
    }
    columns.join(", ")
}

// ---- the engine beside it ----

fn principals() -> Vec<Principal> {
    let make = |id: &str, groups: &[&str], region: Option<&str>, level: Option<i64>, purpose: bool| {
        let mut attributes = BTreeMap::new();
        attributes.extend(region.map(|text| ("region".to_owned(), Attribute::String(text.into()))));
        attributes.extend(level.map(|number| ("level".to_owned(), Attribute::Long(number))));
        let groups = groups.iter().map(|group| (*group).to_owned()).collect();
        Principal { id: id.into(), groups, attributes, purpose: purpose.then(|| "why".into()) }
    };
    vec![
        make("u0", &["g0"], Some("EU"), None, true),
        make("u1", &["g0", "g1"], Some("US"), Some(0), false),
        make("u2", &["g2"], None, Some(5), false),
        make("u3", &["g1", "g2"], Some("EU"), Some(5), false),
        make("u4", &[], None, None, false),
    ]
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

#[test]
fn the_engine_decides_what_the_law_says() {
    let mut seen: BTreeMap<&str, usize> = BTreeMap::new();
    for seed in 0..MESHES {
        let world = world(seed);
        let mesh = world.load().unwrap_or_else(|findings| panic!("world {seed}: {findings:#?}"));
        assert_eq!(mesh.domains_out().count(), 0, "world {seed}: {:#?}", mesh.findings());
        for who in principals() {
            for product in &world.products {
                let decision = mesh.decide(&who, find(&mesh, product));
                let (law, told) = (law(&world, &who, product), told(&decision));
                let rules: String = world.rules.iter().map(policy).collect();
                assert_eq!(
                    told,
                    law,
                    "world {seed}, {} on {}.{}@{}: {}\n{rules}",
                    who.id,
                    product.domain,
                    product.name,
                    product.major,
                    show(&decision)
                );
                for word in ["hidden", "refused", "raw", "denied", "null", "fixed-value(", "fixed-value,", "sha-256"] {
                    *seen.entry(word).or_default() += usize::from(law.contains(word));
                }
            }
        }
    }
    assert!(seen.values().all(|times| *times >= 10), "every kind of answer is common: {seen:?}");
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

#[test]
fn another_forbid_never_shows_more() {
    let mut fewer = 0;
    for seed in 0..MESHES / 4 {
        let mut world = world(seed);
        let before = world.load().unwrap();
        let mut dice = Dice(seed | 1 << 40);
        let domain = [None, Some("d0")][dice.below(2)];
        let mut more = rule(&mut dice, "more".into(), domain, &world.products);
        (more.forbid, more.mask) = (true, None);
        world.rules.push(more);
        let after = world.load().unwrap();
        for who in principals() {
            for product in &world.products {
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
                    }
                    _ => panic!("world {seed}: {} became {}", show(&was), show(&is)),
                }
            }
        }
    }
    assert!(fewer > 50, "forbids did something: {fewer}");
}
