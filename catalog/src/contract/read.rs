//! An ODCS document becomes contracts, one per schema object.
//!
//! The standard is larger than what is read here: its other keys are kept with the document, and not looked at. What is read must have the standard's
//! type, and a key that the standard does not know is a finding.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::SystemTime;

use regex::Regex;

use super::keys::{self, check};
use super::kind::{LOGICAL, agree, agreeing, logical};
use super::quality::{of_columns, rules};
use super::reference::references;
use super::spelling::{instead, spelled};
use super::{Column, Contract, Data, PhysicalType, Reference, Rule, Status, Type, derived, freshness};
use crate::document::fields::{Fields, text};
use crate::document::yaml::{Kind, Node};
use crate::document::{Place, Report, Value, nearest, quote};

/// The custom properties that are read here.
const OWN: [&str; 7] =
    [ROWS, STALE, RESULTS, "polder.field_id", derived::QUERY, derived::RIGHTS, derived::DECLASSIFIED];
const ROWS: &str = "polder.rows";
const STALE: &str = "polder.stale";
const RESULTS: &str = "polder.results";

/// A tag that a contract names, and where.
pub(crate) type TagUse = (String, Place);

/// What a contract file holds.
pub(crate) struct Document {
    /// One contract per schema object, under the object's name.
    pub objects: Vec<(String, Contract)>,
    /// Every tag that it names.
    pub tags: Vec<TagUse>,
    /// The domain that it says it is of, and where.
    pub domain: Option<(String, Place)>,
}

/// Reads a contract; `None` when it is so broken that nothing of it can be known.
pub(crate) fn read(root: &Node, report: &mut Report) -> Option<Document> {
    let mut fields = Fields::of(root, "a contract", report)?;
    check(&fields, keys::CONTRACT, report);
    header(&mut fields, report);
    let version = fields.get("version").map(|node| &node.place);
    let version = match (fields.scalar("version", report), version) {
        (Some(text), Some(place)) => version_of(text, place, report),
        _ => {
            report.error("document/missing", fields.place, "`version` is missing");
            None
        }
    };
    let status = status(&mut fields, report);
    let mut tags = Vec::new();
    let own_tags = tags_of(&mut fields, &mut tags, report);
    let own = custom(&mut fields, report);
    derived::none_of_a_contract(&own, report);
    let common = Common {
        purpose: purpose(&mut fields, report),
        support: support(&mut fields, report),
        sla: freshness::levels(&mut fields, status, SystemTime::now(), report),
        tags: own_tags,
        closed_rows: closed_rows(&own, report),
        refuses_stale: refuses_stale(&own, report),
        keeps_results: keeps_results(&own, report),
        licence: licence(&own, report),
        document: Arc::new(Value::of(root)),
    };
    let domain = fields.text("domain", report).map(|name| (name.to_owned(), fields.key_place("domain").clone()));
    let schema = fields.list("schema", report);
    if schema.is_empty() {
        let place = fields.key_place("schema");
        report
            .error("contract/no-schema", place, "the contract declares no schema object, so nothing can be served")
            .help("list it under `schema`: `- { name: …, physicalName: namespace.table, properties: […] }`");
    }
    let mut objects: Vec<(String, Contract)> = Vec::new();
    for node in schema {
        let Some((name, contract)) = object(node, &common, version.clone(), status, &mut tags, report) else {
            continue;
        };
        if objects.iter().any(|(other, _)| *other == name) {
            let message = format!("the schema object {} stands here twice", quote(&name));
            report.error("contract/duplicate-object", &contract.place, message);
            continue;
        }
        objects.push((name, contract));
    }
    let names = schema.iter().filter_map(|node| {
        let unheard = &mut Report::default();
        Fields::of(node, "a schema object", unheard)?.text("name", unheard)
    });
    freshness::check(&common.sla, &names.collect::<Vec<_>>(), &objects, report);
    Some(Document { objects, tags, domain })
}

/// What every schema object of a contract shares.
struct Common {
    purpose: Option<String>,
    support: Vec<String>,
    sla: Vec<freshness::Level>,
    tags: BTreeSet<String>,
    closed_rows: bool,
    refuses_stale: bool,
    keeps_results: Option<bool>,
    licence: Option<String>,
    document: Arc<Value>,
}

fn header(fields: &mut Fields<'_>, report: &mut Report) {
    if let Some(version) = fields.required("apiVersion", report) {
        let known = ["v3.0.", "v3.1.", "v3.2."].iter().any(|prefix| version.starts_with(prefix));
        if !known {
            let place = fields.key_place("apiVersion");
            let message = format!("{} is not a version of the contract standard that is read here", quote(version));
            report.error("contract/api-version", place, message).help("v3.0.x, v3.1.x and v3.2.x are");
        }
    }
    if let Some(kind) = fields.required("kind", report)
        && kind != "DataContract"
    {
        let message = format!("the kind is `DataContract`, and this is {}", quote(kind));
        report.error("contract/kind", fields.key_place("kind"), message);
    }
    fields.required("id", report);
    fields.text("name", report);
}

fn version_of(text: &str, place: &Place, report: &mut Report) -> Option<(u32, String)> {
    let core = text.strip_prefix('v').unwrap_or(text);
    let core = core.split(['-', '+']).next().unwrap_or(core);
    let mut parts = core.split('.');
    let numeric = |part: &str| !part.is_empty() && part.len() <= 9 && part.bytes().all(|b| b.is_ascii_digit());
    let major = parts.next().filter(|part| numeric(part)).and_then(|part| part.parse().ok());
    match major {
        Some(major) if major > 0 && parts.clone().count() <= 2 && parts.all(numeric) => Some((major, text.into())),
        _ => {
            let message = format!("{} is not a version with a major from 1", quote(text));
            report.error("contract/version", place, message).help("write it like `1.0.0`");
            None
        }
    }
}

fn status(fields: &mut Fields<'_>, report: &mut Report) -> Option<Status> {
    const NAMES: [&str; 5] = ["proposed", "draft", "active", "deprecated", "retired"];
    let text = fields.required("status", report)?;
    match text {
        "proposed" | "draft" => Some(Status::Draft),
        "active" => Some(Status::Active),
        "deprecated" => Some(Status::Deprecated),
        "retired" => Some(Status::Retired),
        _ => {
            let help = match nearest(text, NAMES) {
                Some(name) => format!("did you mean `{name}`?"),
                None => format!("write one of {}", NAMES.join(", ")),
            };
            let message = format!("the status {} is unknown", quote(text));
            report.error("contract/status", fields.key_place("status"), message).help(help);
            None
        }
    }
}

fn purpose(fields: &mut Fields<'_>, report: &mut Report) -> Option<String> {
    let node = fields.get("description")?;
    let mut fields = Fields::of(node, "`description`", report)?;
    check(&fields, keys::DESCRIPTION, report);
    let purpose = fields.text("purpose", report).map(str::to_owned);
    fields.text("limitations", report);
    fields.text("usage", report);
    purpose
}

fn support(fields: &mut Fields<'_>, report: &mut Report) -> Vec<String> {
    let mut lines = Vec::new();
    for node in fields.list("support", report) {
        let Some(mut channel) = Fields::of(node, "a support channel", report) else { continue };
        check(&channel, keys::SUPPORT, report);
        let name = channel.text("channel", report);
        let tool = channel.text("tool", report);
        let url = channel.text("url", report);
        let parts: Vec<_> = [tool.map(|t| format!("{t}:")), name.map(str::to_owned), url.map(str::to_owned)]
            .into_iter()
            .flatten()
            .collect();
        if !parts.is_empty() {
            lines.push(parts.join(" "));
        }
    }
    lines
}

fn tags_of(fields: &mut Fields<'_>, all: &mut Vec<TagUse>, report: &mut Report) -> BTreeSet<String> {
    let tags = fields.texts("tags", report);
    all.extend(tags.iter().map(|(tag, place)| ((*tag).to_owned(), (*place).clone())));
    tags.into_iter().map(|(tag, _)| tag.to_owned()).collect()
}

/// Whether `polder.rows` closes the rows: then policies alone show any.
fn closed_rows(properties: &BTreeMap<String, &Node>, report: &mut Report) -> bool {
    is_closed(properties, (ROWS, "contract/rows"), ["open", "closed"], report)
}

/// Whether nobody reads the product while it is older than it promises.
fn refuses_stale(properties: &BTreeMap<String, &Node>, report: &mut Report) -> bool {
    is_closed(properties, (STALE, "contract/stale"), ["answer", "refuse"], report)
}

/// Whether results of queries over the product may be kept, where it says so: one that says something else than it can
/// say keeps none.
fn keeps_results(properties: &BTreeMap<String, &Node>, report: &mut Report) -> Option<bool> {
    properties.get(RESULTS)?;
    Some(!is_closed(properties, (RESULTS, "contract/results"), ["keep", "compute"], report))
}

/// Whether a property that has one of two values has the stricter one. What is neither is that as well.
fn is_closed(
    properties: &BTreeMap<String, &Node>,
    (name, code): (&str, &'static str),
    [open, closed]: [&str; 2],
    report: &mut Report,
) -> bool {
    let Some(node) = properties.get(name) else { return false };
    match &node.kind {
        Kind::Scalar { text, .. } if text == closed => true,
        Kind::Scalar { text, .. } if text == open => false,
        _ => {
            report.error(code, &node.place, format!("`{name}` is `{open}` or `{closed}`"));
            true
        }
    }
}

/// Under which licence the data may be used. The standard has no key of its own for it.
fn licence(properties: &BTreeMap<String, &Node>, report: &mut Report) -> Option<String> {
    let node = ["licence", "license"].into_iter().find_map(|name| properties.get(name))?;
    text(node, "licence", report).map(str::to_owned)
}

/// The custom properties, by name.
fn custom<'a>(fields: &mut Fields<'a>, report: &mut Report) -> BTreeMap<String, &'a Node> {
    let mut properties = BTreeMap::new();
    for node in fields.list("customProperties", report) {
        let Some(mut property) = Fields::of(node, "a custom property", report) else { continue };
        check(&property, keys::CUSTOM, report);
        let (name, value) = (property.required("property", report), property.get("value"));
        if let Some(name) = name {
            if name.starts_with("polder.") && !OWN.contains(&name) {
                report
                    .error("contract/custom-property", &node.place, format!("unknown property {}", quote(name)))
                    .did_you_mean(name, OWN);
            }
            if properties.insert(name.to_owned(), value.unwrap_or(node)).is_some() && name.starts_with("polder.") {
                let message = format!("the property {} stands here twice", quote(name));
                report.error("contract/custom-property", &node.place, message);
            }
        }
    }
    properties
}

fn object(
    node: &Node,
    common: &Common,
    version: Option<(u32, String)>,
    status: Option<Status>,
    tags: &mut Vec<TagUse>,
    report: &mut Report,
) -> Option<(String, Contract)> {
    let mut fields = Fields::of(node, "a schema object", report)?;
    check(&fields, keys::OBJECT, report);
    let name = fields.required("name", report);
    let description = fields.text("description", report).map(str::to_owned);
    let mut own = tags_of(&mut fields, tags, report);
    own.extend(common.tags.iter().cloned());
    let properties = custom(&mut fields, report);
    derived::none_of_an_object(&properties, report);
    let data = data(&mut fields, &properties, report);
    let closed_rows = closed_rows(&properties, report) || common.closed_rows;
    let refuses_stale = refuses_stale(&properties, report) || common.refuses_stale;
    let keeps_results = keeps_results(&properties, report).or(common.keeps_results).unwrap_or_default();
    let licence = licence(&properties, report).or_else(|| common.licence.clone());
    let properties = fields.list("properties", report);
    if properties.is_empty() {
        let place = fields.key_place("properties");
        report
            .error("contract/no-columns", place, "the schema object has no properties, so nothing can be served")
            .help("list its columns under `properties`: `- { name: …, physicalType: … }`");
    }
    let columns = columns(properties, tags, report);
    if let Some(data) = &data {
        derived::check_columns(data, &columns, report);
    }
    let mut references = references(&mut fields, None, report);
    references.extend(references_of(properties, report));
    let mut quality = rules(&mut fields, None, report);
    quality.extend(rules_of(properties, report));
    of_columns(&quality, &columns.iter().map(|column| column.name.as_str()).collect::<Vec<_>>(), report);
    addresses(&columns, report);
    bindings(&columns, report);
    let (major, version) = version?;
    let contract = Contract {
        major,
        version,
        status: status?,
        description,
        purpose: common.purpose.clone(),
        data: data?,
        closed_rows,
        refuses_stale,
        keeps_results,
        tags: own,
        columns,
        references,
        support: common.support.clone(),
        sla: freshness::of_object(&common.sla, name?),
        quality,
        licence,
        place: node.place.clone(),
        document: Arc::clone(&common.document),
    };
    Some((name?.to_owned(), contract))
}

/// The table or the query that a schema object names.
fn data(fields: &mut Fields<'_>, properties: &BTreeMap<String, &Node>, report: &mut Report) -> Option<Data> {
    if let Some(query) = derived::query(fields, properties, report) {
        return Some(Data::Query(query));
    }
    Some(Data::Table(in_catalog(fields, "table", report)?))
}

/// What a schema object is called in the domain's catalog. By the standard that is its own name where it says nothing, in which
/// no catalog finds anything.
pub(super) fn in_catalog(fields: &mut Fields<'_>, kind: &str, report: &mut Report) -> Option<String> {
    if fields.get("physicalName").is_none() {
        let name = fields.text("name", &mut Report::default()).unwrap_or(kind);
        let help = format!("write `physicalName: namespace.{name}` as it stands in the domain's catalog");
        report.error("contract/table", fields.place, format!("the schema object names no {kind}")).help(help);
        return None;
    }
    let name = fields.text("physicalName", report)?;
    if name.split('.').count() < 2 || name.split('.').any(|part| part.trim().is_empty()) {
        report
            .error("contract/table", fields.key_place("physicalName"), format!("{} names no {kind}", quote(name)))
            .help(format!("write `namespace.{kind}` as it stands in the domain's catalog"));
    }
    Some(name.to_owned())
}

/// In policies a leaf's address is its path with dots, which a column named `a.b` could take from a field.
fn addresses(columns: &[Column], report: &mut Report) {
    fn walk(prefix: &str, columns: &[Column], seen: &mut BTreeSet<String>, report: &mut Report) {
        for column in columns {
            let path = format!("{prefix}{}", column.name);
            walk(&format!("{path}."), &column.fields, seen, report);
            if !seen.insert(path.clone()) {
                let message = format!("two columns have the address {}", quote(&path));
                report.error("contract/duplicate-column", &column.place, message);
            }
        }
    }
    walk("", columns, &mut BTreeSet::new(), report);
}

/// A table's column under two names could be protected under one of them and raw under the other.
fn bindings(columns: &[Column], report: &mut Report) {
    let mut seen: BTreeMap<&str, &Column> = BTreeMap::new();
    for column in columns {
        bindings(&column.fields, report);
        if let Some(other) = seen.insert(&column.physical_name, column)
            && other.name != column.name
        {
            let (physical, name) = (quote(&column.physical_name), quote(&other.name));
            let message = format!("{physical} is read here, and as {name} at {} already", other.place);
            report
                .error("contract/two-columns-of-one", &column.place, message)
                .help("one column of a table is one column of a contract");
        }
    }
}

/// The foreign keys that stand at the properties of an object. Its nested fields have none.
fn references_of(properties: &[Node], report: &mut Report) -> Vec<Reference> {
    let of = |node: &Node, report: &mut Report| {
        // What is wrong with the property itself was said where its column was read.
        let mut fields = Fields::of(node, "a property", &mut Report::default())?;
        let name = fields.text("name", &mut Report::default())?;
        Some(references(&mut fields, Some(name), report))
    };
    properties.iter().filter_map(|node| of(node, report)).flatten().collect()
}

/// The rules of quality that stand at the properties of an object.
fn rules_of(properties: &[Node], report: &mut Report) -> Vec<Rule> {
    let of = |node: &Node, report: &mut Report| {
        let mut fields = Fields::of(node, "a property", &mut Report::default())?;
        let name = fields.text("name", &mut Report::default())?;
        Some(rules(&mut fields, Some(name), report))
    };
    properties.iter().filter_map(|node| of(node, report)).flatten().collect()
}

fn columns(nodes: &[Node], tags: &mut Vec<TagUse>, report: &mut Report) -> Vec<Column> {
    nodes.iter().filter_map(|node| column(node, tags, report)).collect()
}

fn column(node: &Node, tags: &mut Vec<TagUse>, report: &mut Report) -> Option<Column> {
    let mut fields = Fields::of(node, "a property", report)?;
    check(&fields, keys::PROPERTY, report);
    let name = fields.required("name", report);
    if let Some(name) = name {
        let place = fields.key_place("name");
        if name.is_empty() || name.len() > 256 || name.chars().any(char::is_control) {
            report.error("contract/column-name", place, format!("{} cannot be a column's name", quote(name)));
        } else if name.starts_with('$') || name.starts_with("_polder") {
            let message = format!("{} cannot be a column's name: `$` and `_polder` are reserved", quote(name));
            report.error("contract/column-name", place, message);
        }
    }
    let physical_name = fields.text("physicalName", report);
    let kind = kind(&mut fields, report);
    let required = fields.truth("required", report).unwrap_or(false);
    let key = position(&mut fields, "primaryKey", "primaryKeyPosition", report);
    let partition = position(&mut fields, "partitioned", "partitionKeyPosition", report);
    let description = fields.text("description", report).map(str::to_owned);
    let classification = fields.text("classification", report).map(str::to_owned);
    let own = tags_of(&mut fields, tags, report);
    let own_properties = custom(&mut fields, report);
    let field_id = field_id(&own_properties, report);
    derived::none_of_a_column(&own_properties, report);
    let declassified = derived::declassified(&own_properties, report);
    let pattern = fields.get("logicalTypeOptions").and_then(|node| {
        let mut options = Fields::of(node, "`logicalTypeOptions`", report)?;
        let pattern = options.text("pattern", report)?;
        // No error: the standard's expressions are those of ECMA-262, which are more than can be read here.
        if Regex::new(pattern).is_err() {
            let message = format!("{} is not a regular expression that can be read here", quote(pattern));
            report.warning("contract/pattern", options.key_place("pattern"), message).help(
                "see whether a bracket is left open; lookaround like `(?!…)` and backreferences are kept and not read",
            );
        }
        Some(pattern.to_owned())
    });
    let examples = fields.list("examples", report).iter().filter_map(written).collect();
    let nested = inside(&mut fields, tags, report);
    Some(Column {
        name: name?.to_owned(),
        physical_name: physical_name.or(name)?.to_owned(),
        kind: kind?,
        required,
        key,
        partition,
        description,
        classification,
        tags: own,
        fields: nested,
        field_id,
        pattern,
        examples,
        declassified,
        place: node.place.clone(),
    })
}

/// A single value as it is written; a list or a mapping is no value of a column.
fn written(node: &Node) -> Option<String> {
    match &node.kind {
        Kind::Scalar { text, .. } if !node.is_null() => Some(text.clone()),
        _ => None,
    }
}

/// The fields of a struct, of a list's elements or of a map's values; a list of lists hands on what lies deepest.
fn inside(fields: &mut Fields<'_>, tags: &mut Vec<TagUse>, report: &mut Report) -> Vec<Column> {
    let mut nested = columns(fields.list("properties", report), tags, report);
    if let Some(items) = fields.get("items") {
        nested.extend(element(items, "items", tags, report));
    }
    if let Some(mut map) = fields.get("map").and_then(|node| Fields::of(node, "`map`", report)) {
        check(&map, keys::MAP, report);
        if let Some(key) = map.get("key")
            && !element(key, "key", tags, report).is_empty()
        {
            report.error("contract/map", &key.place, "the keys of a map are plain values, and these have fields");
        }
        if let Some(value) = map.get("value") {
            nested.extend(element(value, "value", tags, report));
        }
    }
    nested
}

/// The fields of what has no name of its own, and so no tags either.
fn element(node: &Node, what: &str, tags: &mut Vec<TagUse>, report: &mut Report) -> Vec<Column> {
    let Some(mut fields) = Fields::of(node, &format!("`{what}`"), report) else { return Vec::new() };
    check(&fields, keys::PROPERTY, report);
    tags_of(&mut fields, tags, report);
    if !fields.texts("tags", &mut Report::default()).is_empty() {
        let message = format!("tags on `{what}` are not supported: tag the column");
        report.error("contract/items-tags", &node.place, message);
    }
    inside(&mut fields, tags, report)
}

fn kind(fields: &mut Fields<'_>, report: &mut Report) -> Option<Type> {
    let physical_text = fields.text("physicalType", report);
    let logical_text = fields.text("logicalType", report);
    // Iceberg has one type of this family, so that its name says all.
    let is_map = logical_text == Some("map");
    let from_logical = logical_text.filter(|_| !is_map).and_then(|text| {
        let known = logical(text);
        if known.is_none() {
            let message = format!("the logical type {} is unknown", quote(text));
            report
                .error("contract/logical-type", fields.key_place("logicalType"), message)
                .help(format!("write one of {LOGICAL}"));
        }
        known
    });
    let Some(text) = physical_text else {
        if logical_text.is_none() {
            let message = "neither `physicalType` nor `logicalType` says what the column holds";
            report.error("contract/no-type", fields.place, message);
        }
        return if is_map { Some(Type::Physical(PhysicalType::Map)) } else { from_logical.map(Type::Logical) };
    };
    let Some(physical) = spelled(text) else {
        let message = format!("the physical type {} does not mean one type of Iceberg", quote(text));
        report.error("contract/physical-type", fields.key_place("physicalType"), message).help(instead(text));
        return None;
    };
    let family = logical_text.filter(|_| is_map || from_logical.is_some()).unwrap_or_default();
    if from_logical.is_some_and(|logical| !agree(&physical, logical)) || is_map && physical != PhysicalType::Map {
        let message = format!("the physical type {} and the logical type {} do not agree", quote(text), quote(family));
        report.error("contract/types-disagree", fields.key_place("physicalType"), message).help(agreeing(&physical));
        return None;
    }
    Some(Type::Physical(physical))
}

/// The place of a column among those of a key or a partition, if it is one of them.
fn position(fields: &mut Fields<'_>, is: &'static str, position: &'static str, report: &mut Report) -> Option<u32> {
    let is_part = fields.truth(is, report).unwrap_or(false);
    let Some(text) = fields.scalar(position, report) else { return is_part.then_some(1) };
    match text.parse::<i64>() {
        // The standard writes -1 for a column that is no part.
        Ok(place) if place < 1 && !is_part => None,
        Ok(place) if place >= 1 && is_part => u32::try_from(place).ok(),
        Ok(_) if !is_part => None,
        _ => {
            let place = fields.key_place(position);
            report
                .error("contract/key", place, format!("{} is not a position from 1", quote(text)))
                .help("write 1 for the first column, 2 for the second");
            None
        }
    }
}

fn field_id(properties: &BTreeMap<String, &Node>, report: &mut Report) -> Option<i32> {
    for (name, code) in [(ROWS, "contract/rows"), (STALE, "contract/stale"), (RESULTS, "contract/results")] {
        let Some(node) = properties.get(name) else { continue };
        let message = format!("`{name}` means nothing on a column");
        report.error(code, &node.place, message).help("it stands on the contract or on a schema object");
    }
    let node = properties.get("polder.field_id")?;
    let id = match &node.kind {
        Kind::Scalar { text, plain: true } => text.parse().ok().filter(|id| *id > 0),
        _ => None,
    };
    if id.is_none() {
        report.error("contract/field-id", &node.place, "`polder.field_id` is a whole number from 1");
    }
    id
}
