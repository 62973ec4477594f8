//! From `<domain>/tests/*.yaml` to tests in which every name is known.

use super::effect::paths;
use super::rows::Shown;
use super::{Asked, Effect, ExpectedRows, OfProduct, OfQuery, Trial, Trials, find};
use crate::contract::Column;
use crate::document::fields::{Fields, list, text, texts};
use crate::document::file::{File, Tree};
use crate::document::yaml::{Kind, Node};
use crate::document::{Finding, Place, Report, quote};
use crate::mesh::{Mesh, Product, PurposeError};
use crate::name::ProductRef;
use crate::policy::filter::{Checked, Written};
use crate::principal::{Attribute, Principal};

/// Nobody's id: users of the mesh have no `:` in theirs, and no identity provider has an empty name.
pub(crate) const NOBODY: &str = ":nobody";

pub(super) fn read(mesh: &Mesh, tree: &Tree<'_>) -> Trials {
    let mut trials = Trials::default();
    for domain in mesh.domains() {
        let mut report = Report::default();
        let folder = format!("{}/tests", domain.name);
        let names = tree.list(&folder).unwrap_or_else(|error| {
            let place = Place { file: folder.as_str().into(), line: 1, column: 1 };
            report.error("file/unreadable", &place, format!("cannot read the directory: {error}"));
            Vec::new()
        });
        for name in names {
            let path = format!("{folder}/{name}");
            if name.ends_with(".yml") {
                let place = Place { file: path.as_str().into(), line: 1, column: 1 };
                report.error("test/name", &place, "tests are read from `*.yaml` files").help("rename the file");
            } else if name.ends_with(".yaml") {
                let node = File::read(tree, &path, &mut report).and_then(|file| Node::parse(&file, &mut report));
                if let Some(node) = node {
                    trials.trials.extend(file(&node, mesh, &mut trials.findings));
                }
            }
        }
        trials.findings.extend(report.into_findings());
    }
    trials
}

/// The tests of a file. One with an error is not run: it would expect something else than its author does.
fn file(node: &Node, mesh: &Mesh, findings: &mut Vec<Finding>) -> Vec<Trial> {
    let mut report = Report::default();
    let nodes = match &node.kind {
        Kind::Map(entries) if entries.is_empty() => &[],
        _ => list(node, "tests", &mut report),
    };
    findings.extend(report.into_findings());
    let read = |node| {
        let mut report = Report::default();
        let trial = trial(node, mesh, &mut report).filter(|_| !report.is_broken());
        findings.extend(report.into_findings());
        trial
    };
    nodes.iter().filter_map(read).collect()
}

fn trial(node: &Node, mesh: &Mesh, report: &mut Report) -> Option<Trial> {
    let mut fields = Fields::of(node, "a test", report)?;
    let who = match fields.get("as") {
        Some(node) => principal(node, mesh, report),
        None => missing(&fields, "as", report),
    };
    let (product, query, expect) = (fields.get("product"), fields.get("query"), fields.get("expect"));
    let expect = match expect {
        Some(node) => Fields::of(node, "`expect`", report),
        None => missing(&fields, "expect", report),
    };
    let place = node.place.clone();
    let asked = match (product, query, expect) {
        (Some(_), Some(_), _) => {
            report.error(
                "test/what",
                fields.key_place("query"),
                "a test is of a `product` or of a `query`, not of both",
            );
            None
        }
        (None, None, _) => missing(&fields, "product", report),
        (Some(node), None, Some(expect)) => {
            of_product(node, expect, mesh, who.as_ref().map(|(principal, _)| principal), report).map(Asked::Product)
        }
        (None, Some(node), Some(expect)) => of_query(node, expect, mesh, report).map(Asked::Query),
        (.., None) => None,
    };
    fields.close(report);
    let (principal, who) = who?;
    let trial = Trial { place, principal, who, asked: asked? };
    if trial.expectations() == 0 {
        report.error("test/empty", &trial.place, "this test expects nothing");
    }
    Some(trial)
}

fn missing<T>(fields: &Fields<'_>, key: &str, report: &mut Report) -> Option<T> {
    report.error("document/missing", fields.place, format!("`{key}` is missing"));
    None
}

// ---- who ----

fn principal(node: &Node, mesh: &Mesh, report: &mut Report) -> Option<(Principal, String)> {
    if let Kind::Scalar { .. } = &node.kind {
        return user(text(node, "as", report)?, &node.place, mesh, report);
    }
    let mut fields = Fields::of(node, "`as`", report)?;
    let named = fields.text("user", report);
    let groups = fields.texts("groups", report);
    let attributes = fields.map("attributes", report);
    let purpose = fields.text("purpose", report);
    let who = match named {
        Some(name) if groups.is_empty() && attributes.is_empty() => user(name, fields.key_place("user"), mesh, report),
        Some(_) => {
            let message = "a user's groups and attributes stand in `mesh.yaml`";
            report.error("test/user", fields.key_place("user"), message).help("leave out the user, or these");
            None
        }
        None => {
            let principal = Principal {
                id: NOBODY.to_owned(),
                groups: mesh.declared.declared_groups(groups, report),
                attributes: mesh.declared.declared_attributes(attributes, report),
                purpose: None,
            };
            let words = words(&principal);
            Some((principal, words))
        }
    };
    let place = fields.key_place("purpose");
    fields.close(report);
    match (who, purpose) {
        (Some((principal, words)), Some(purpose)) => {
            let words = format!("{words} for {purpose}");
            with_purpose(principal, purpose, place, mesh, report).map(|principal| (principal, words))
        }
        (who, _) => who,
    }
}

fn user(name: &str, place: &Place, mesh: &Mesh, report: &mut Report) -> Option<(Principal, String)> {
    let principal = mesh.principal(name);
    if principal.is_none() {
        let message = format!("the user {} is not declared", quote(name));
        report.error("test/unknown-user", place, message).did_you_mean(name, mesh.users());
    }
    principal.map(|principal| (principal, name.to_owned()))
}

fn with_purpose(
    principal: Principal,
    purpose: &str,
    place: &Place,
    mesh: &Mesh,
    report: &mut Report,
) -> Option<Principal> {
    match mesh.with_purpose(principal, purpose) {
        Ok(principal) => return Some(principal),
        Err(PurposeError::Unknown(_)) => {
            let message = format!("the purpose {} is not declared", quote(purpose));
            let known = mesh.declared.purposes.keys().map(String::as_str);
            report.error("test/unknown-purpose", place, message).did_you_mean(purpose, known);
        }
        Err(PurposeError::NotEntitled(..)) => {
            let message = format!("none of its groups may declare the purpose {}", quote(purpose));
            let groups = mesh.declared.purposes.get(purpose).into_iter().flatten();
            let groups: Vec<String> = groups.map(|group| quote(group)).collect();
            report.error("test/purpose", place, message).help(format!("these may: {}", groups.join(", ")));
        }
    }
    None
}

/// A principal that is nobody in particular: `analysts, region EU`.
pub(crate) fn words(principal: &Principal) -> String {
    let value = |value: &Attribute| match value {
        Attribute::String(text) => text.clone(),
        Attribute::Long(number) => number.to_string(),
        Attribute::Bool(truth) => truth.to_string(),
        Attribute::Set(texts) => format!("[{}]", texts.iter().map(String::as_str).collect::<Vec<_>>().join(" ")),
    };
    let groups = principal.groups.iter().map(String::as_str).collect::<Vec<_>>().join(" + ");
    let groups = if groups.is_empty() { "no group".to_owned() } else { groups };
    let attributes = principal.attributes.iter().map(|(name, of)| format!(", {name} {}", value(of)));
    std::iter::once(groups).chain(attributes).collect()
}

// ---- what ----

fn of_product(
    node: &Node,
    mut expect: Fields<'_>,
    mesh: &Mesh,
    who: Option<&Principal>,
    report: &mut Report,
) -> Option<OfProduct> {
    let found = text(node, "product", report).and_then(|name| product(name, &node.place, mesh, report));
    let discover = expect.truth("discover", report).map(|shown| (shown, expect.key_place("discover").clone()));
    let rows = expect.get("rows");
    let entries = expect.map("columns", report);
    let place = expect.place;
    expect.close(report);
    if matches!(discover, Some((false, _))) && (rows.is_some() || !entries.is_empty()) {
        let message = "what may not be discovered has neither rows nor columns to expect";
        report.error("test/hidden", place, message);
        return None;
    }
    let (name, product) = found?;
    let known = &product.contract.columns;
    let mut columns = Vec::new();
    for (key, node) in entries {
        if find(known, &key.text).is_none() {
            let message = format!("`{name}` has no column {}", quote(&key.text));
            let paths = paths(known);
            let names = paths.iter().map(String::as_str);
            report.error("test/unknown-column", &key.place, message).did_you_mean(&key.text, names);
            continue;
        }
        columns.extend(effect(node, mesh, report).map(|effect| (key.text.clone(), effect, node.place.clone())));
    }
    let rows = match (rows, who) {
        (Some(node), Some(who)) => Some(expected_rows(node, known, mesh, who, report)?),
        _ => None,
    };
    Some(OfProduct { name, discover, rows, columns })
}

fn effect(node: &Node, mesh: &Mesh, report: &mut Report) -> Option<Effect> {
    let keys = mesh.declared.key_names.iter().map(String::as_str);
    match Effect::parse(text(node, "columns", report)?, keys) {
        Ok(effect) => Some(effect),
        Err((message, help)) => {
            let noted = report.error("test/effect", &node.place, message);
            if let Some(help) = help {
                noted.help(help);
            }
            None
        }
    }
}

fn product<'m>(name: &str, place: &Place, mesh: &'m Mesh, report: &mut Report) -> Option<(ProductRef, &'m Product)> {
    let parsed = name.split_once('.').and_then(|(domain, product)| ProductRef::parse(domain, product).ok());
    let found = parsed.and_then(|name| mesh.product(&name).map(|product| (name, product)));
    if found.is_none() {
        let message = format!("there is no product {}", quote(name));
        let known: Vec<String> = mesh.products().map(|(name, _)| name.to_string()).collect();
        report.error("test/unknown-product", place, message).did_you_mean(name, known.iter().map(String::as_str));
    }
    found
}

fn expected_rows(
    node: &Node,
    columns: &[Column],
    mesh: &Mesh,
    who: &Principal,
    report: &mut Report,
) -> Option<ExpectedRows> {
    let written = text(node, "rows", report)?;
    let mut fault = |message: String, help: Option<String>| {
        let noted = report.error("test/rows", &node.place, message);
        if let Some(help) = help {
            noted.help(help);
        }
    };
    let checked = match written {
        "all" => Ok(Shown::always(true)),
        "none" => Ok(Shown::always(false)),
        filter => match Written::parse(filter).and_then(|parsed| parsed.on(&mesh.declared, columns, Some(who))) {
            Ok(Checked::Known(filter)) => Ok(Shown::by(&filter)),
            Ok(Checked::NoAttribute) => {
                return {
                    fault("the filter names an attribute that this principal does not have".to_owned(), None);
                    None
                };
            }
            Ok(Checked::NoColumn(fault)) | Err(fault) => Err(fault),
        },
    };
    match checked {
        Ok(shown) => Some(ExpectedRows { written: written.to_owned(), shown, place: node.place.clone() }),
        Err(found) => {
            let help = found.help.unwrap_or_else(|| "write `all`, `none` or a filter as in `@filter`".to_owned());
            fault(found.message, Some(help));
            None
        }
    }
}

fn of_query(node: &Node, mut expect: Fields<'_>, mesh: &Mesh, report: &mut Report) -> Option<OfQuery> {
    let sql = text(node, "query", report).map(str::to_owned);
    let error = expect.get("error").and_then(|node| {
        let error = text(node, "error", report)?;
        Some((error.to_owned(), node.place.clone()))
    });
    let (mut columns, mut effects) = (None, Vec::new());
    if let Some(node) = expect.get("columns") {
        if let Some((_, place)) = &error {
            report.error("test/query", place, "a query that ends with an error has no columns to expect");
        }
        match &node.kind {
            Kind::Map(entries) => {
                effects = entries.iter().filter_map(|(key, node)| of_output(&key.text, node, mesh, report)).collect();
            }
            _ => {
                let names = texts(node, "columns", report);
                columns = Some((names.into_iter().map(|(name, _)| name.to_owned()).collect(), node.place.clone()));
            }
        }
    }
    expect.close(report);
    Some(OfQuery { sql: sql?, error, columns, effects })
}

fn of_output(name: &str, node: &Node, mesh: &Mesh, report: &mut Report) -> Option<(String, Effect, Place)> {
    let effect = effect(node, mesh, report)?;
    if effect == Effect::Denied {
        let help = "expect an `error`, as `denied: …`";
        report.error("test/query", &node.place, "a query of a denied column has no answer").help(help);
        return None;
    }
    Some((name.to_owned(), effect, node.place.clone()))
}
