//! The law, as plain as possible, written from its text: nothing here knows of Cedar or of the engine.

use std::collections::BTreeSet;

use super::super::evaluate::Row;
use super::world::{Col, MASKS, Prod, Rule, World};
use crate::principal::{Attribute, Principal};

/// What is asked for: a product, or a column in it by its path; with every tag that it carries.
pub(super) struct Thing<'a> {
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
    let named = rule.actions.contains(&action)
        || (rule.actions == ["see"] && action.starts_with("read") && action != "read_rows");
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
        // Only whoever is entitled to it has a purpose.
        "purpose" => who.purpose.is_some() && is_in(who, "g0"),
        "pii" => !what.tags.iter().any(|tag| is_at_or_below(tag, "t.a") || is_at_or_below(tag, "u")),
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

/// Law 2: the strictest mask wins; of one kind with different arguments, a fixed value.
fn strictest(masks: &BTreeSet<&'static str>) -> Option<&'static str> {
    let kind = |mask: &&'static str| mask.split('(').next().unwrap();
    // The order of the list is that of strictness.
    let first = MASKS.iter().find(|mask| masks.contains(*mask))?;
    let alike = masks.iter().filter(|mask| kind(mask) == kind(first)).count();
    Some(if alike == 1 { first } else { "mask-to-fixed-value" })
}

fn is_defined(mask: &str, kind: &str) -> bool {
    match (mask.split('(').next().unwrap(), kind) {
        ("replace-with-null", _) | (_, "list") => true,
        (_, "struct" | "map") => false,
        ("mask-to-fixed-value", _) => match mask {
            "mask-to-fixed-value(7)" => kind != "date",
            "mask-to-fixed-value(x)" => kind == "string",
            _ => true,
        },
        ("sha-256-query-local" | "hmac" | "sha-256-global", kind) => ["string", "long"].contains(&kind),
        ("bucket", kind) => kind == "long",
        ("truncate-to-year" | "truncate-to-month", kind) => kind == "date",
        (_, kind) => kind == "string",
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
    let own = own_access(world, who, thing, col, raw.is_some(), masked);
    let Some((_, first)) = fields.first() else { return Ok(own) };
    // The keys of a map cannot be masked.
    if col.kind == "map" && own != "raw" {
        return Ok(if own == MASKS[0] { own } else { "denied".into() });
    }
    let alike = ["raw", "denied", MASKS[0]].contains(&first.as_str()) && fields.iter().all(|(_, f)| f == first);
    let each: Vec<_> = fields.iter().map(|(name, access)| format!("{name}: {access}")).collect();
    Ok(if alike { first.clone() } else { format!("nested({})", each.join(", ")) })
}

/// What a column is without a look at its fields.
fn own_access(
    world: &World,
    who: &Principal,
    thing: &Thing<'_>,
    col: &Col,
    raw: bool,
    masked: Option<Vec<&Rule>>,
) -> String {
    if raw {
        return "raw".into();
    }
    let Some(permits) = masked else { return "denied".into() };
    let mut masks: BTreeSet<_> = permits.iter().filter_map(|rule| rule.mask).collect();
    let names_none = permits.iter().any(|rule| rule.mask.is_none());
    for (tag, mask) in &world.masks {
        // The mask of a tag binds everybody else than those who get its raw values.
        let is_above = world.unmasked_for.get(tag).is_some_and(|groups| groups.iter().any(|g| is_in(who, g)));
        if is_above && !names_none {
            continue;
        }
        if thing.tags.iter().any(|own| is_at_or_below(own, tag)) {
            masks.insert(*mask);
        }
    }
    let mask = strictest(&masks).filter(|mask| is_defined(mask, col.kind));
    mask.map_or("denied".into(), str::to_owned)
}

/// What `who` may see of the columns of `product`: the text that [`super::told`] makes of a decision.
pub(super) fn law(world: &World, who: &Principal, product: &Prod) -> String {
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
    // A filter that does not fit fails like any other policy.
    if rows(world, who, product, &Row::new()).is_err() {
        return "refused".into();
    }
    columns.join(", ")
}

/// Law 3: whether `row` is visible.
pub(super) fn rows(world: &World, who: &Principal, product: &Prod, row: &Row) -> Result<bool, String> {
    let thing = Thing { product, path: vec![], tags: product.tags.clone() };
    let (mut closed, mut permitted, mut forbidden) = (product.closed, false, false);
    for rule in world.rules.iter().filter(|rule| rule.actions.contains(&"read_rows")) {
        let reaches = rule.what.as_ref().is_none_or(|(_, uid)| thing.lies_in(uid));
        let is_ours = rule.domain.is_none_or(|domain| domain == product.domain);
        // The scope alone closes, whoever it is for and whatever the conditions say.
        closed |= reaches && is_ours && !rule.forbid;
        if !applies(rule, who, "read_rows", &thing)? {
            continue;
        }
        let truth = match &rule.filter {
            None => Some(true),
            Some(filter) if !filter.fits(product) => return Err(rule.id.clone()),
            // Law 6: what is missing makes the whole of it unknown.
            Some(filter) if filter.lacks(product, who) => None,
            Some(filter) => filter.truth(row, who),
        };
        if rule.forbid {
            forbidden |= truth != Some(false);
        } else {
            permitted |= truth == Some(true);
        }
    }
    Ok((!closed || permitted) && !forbidden)
}

impl Rule {
    /// Whether its scope reaches the product itself.
    pub fn may_reach(&self, product: &Prod) -> bool {
        let thing = Thing { product, path: vec![], tags: product.tags.clone() };
        let is_ours = self.domain.is_none_or(|domain| domain == product.domain);
        is_ours && self.what.as_ref().is_none_or(|(_, uid)| thing.lies_in(uid))
    }
}
