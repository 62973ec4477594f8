//! `mesh.yaml`: what the platform team declares once for every domain.

use std::collections::{BTreeMap, BTreeSet};

use regex::Regex;

use super::audit::Audit;
use super::auth::User;
use super::issuer::Issuer;
use super::limits::{self, ResourceGroup};
use super::standards::{self, Standards};
use crate::contract::Type;
use crate::contract::kind::{LOGICAL, PHYSICAL, logical, physical};
use crate::detect::{Detector, Kind as Known};
use crate::document::fields::{Fields, map, text, texts};
use crate::document::file::Tree;
use crate::document::yaml::{Key, Kind, Node};
use crate::document::{Place, Report, nearest, quote};
use crate::policy::Mask;
use crate::principal::Attribute;
use crate::secret::{Secret, SecretError};

/// What `mesh.yaml` declares.
#[derive(Debug, Default)]
pub(crate) struct Declared {
    pub name: String,
    pub standards: Standards,
    pub tags: BTreeMap<String, Tag>,
    pub groups: BTreeSet<String>,
    pub attributes: BTreeMap<String, AttributeType>,
    pub purposes: BTreeMap<String, BTreeSet<String>>,
    /// The keys whose secrets could be read.
    pub keys: BTreeMap<String, Secret>,
    /// The names of all keys.
    pub key_names: BTreeSet<String>,
    /// The principals that are declared one by one, by their ids.
    pub users: BTreeMap<String, User>,
    /// The identity providers, by their names.
    pub issuers: BTreeMap<String, Issuer>,
    pub has_auth: bool,
    pub audit: Audit,
    /// The resource groups, in the order in which they hold.
    pub limits: Vec<ResourceGroup>,
}

/// A tag, and what holds for all that carry it.
#[derive(Debug)]
pub(crate) struct Tag {
    /// The weakest mask for whoever is in none of these groups, and where that stands.
    pub mask: Option<(Mask, Place)>,
    /// The only groups that get raw values, and where that stands.
    pub unmasked_for: Option<(BTreeSet<String>, Place)>,
    /// The type of a canonical identifier.
    pub kind: Option<Type>,
    /// The pattern of a canonical identifier.
    pub pattern: Option<String>,
    /// The classification that it stands for.
    pub classification: Option<String>,
    /// How values that should carry it are found.
    pub detect: Option<Detector>,
}

/// The type of a principal's attribute.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AttributeType {
    /// One text.
    String,
    /// A whole number.
    Long,
    /// A truth value.
    Bool,
    /// Several texts.
    Strings,
}

impl AttributeType {
    /// Whether `value` is of this type.
    pub fn holds(self, value: &Attribute) -> bool {
        matches!(
            (self, value),
            (Self::String, Attribute::String(_))
                | (Self::Long, Attribute::Long(_))
                | (Self::Bool, Attribute::Bool(_))
                | (Self::Strings, Attribute::Set(_))
        )
    }

    fn name(self) -> &'static str {
        match self {
            Self::String => "a text",
            Self::Long => "a whole number",
            Self::Bool => "a truth value",
            Self::Strings => "a list of texts",
        }
    }
}

impl Declared {
    /// The tag and every tag above it in the tree.
    pub fn lineage<'a>(&self, tag: &'a str) -> impl Iterator<Item = &'a str> {
        std::iter::successors(Some(tag), |tag| tag.rsplit_once('.').map(|(parent, _)| parent))
    }

    /// The tags with a mask that hold for `tag`: itself and those above it in the tree.
    pub fn masks_of<'a>(&'a self, tag: &'a str) -> impl Iterator<Item = (&'a str, &'a Tag)> {
        let masking = self.lineage(tag).filter_map(|tag| Some((tag, self.tags.get(tag)?)));
        masking.filter(|(_, tag)| tag.mask.is_some())
    }

    /// What `tag` and those above it declare of something, the nearest first.
    pub fn holding<'a, T>(
        &'a self,
        tag: &'a str,
        of: impl Fn(&'a Tag) -> Option<T>,
    ) -> impl Iterator<Item = (&'a str, T)> {
        self.lineage(tag).filter_map(move |tag| Some((tag, of(self.tags.get(tag)?)?)))
    }

    /// Reads `mesh.yaml`. Errors go to `report`, which breaks the mesh; missing secrets go to `secrets`, which does not.
    pub fn read(root: &Node, tree: &Tree<'_>, report: &mut Report, secrets: &mut Report) -> Self {
        let mut mesh = Self::default();
        let Some(mut fields) = Fields::of(root, "`mesh.yaml`", report) else { return mesh };
        if let Some(name) = fields.required("mesh", report) {
            if name.is_empty() || name.parse::<crate::name::DomainName>().is_err() {
                let message = format!("{} is not a name", quote(name));
                report.error("mesh/name", fields.key_place("mesh"), message);
            }
            mesh.name = name.to_owned();
        }
        if let Some(node) = fields.get("standards") {
            mesh.standards = standards::read(node, report).unwrap_or_default();
        }
        mesh.groups = names(fields.texts("groups", report), "group", report);
        let owners = mesh.standards.owners_rights.values().map(|(group, place)| (group.as_str(), place));
        mesh.declared_groups(owners.collect(), report);
        for (key, node) in fields.map("keys", report) {
            mesh.key_names.insert(key.text.clone());
            if let Some(secret) = secret(node, "keys", tree, report, secrets) {
                mesh.keys.insert(key.text.clone(), secret);
            }
        }
        for (key, place) in mesh.standards.keyed_hashes.iter().filter(|(key, _)| !mesh.key_names.contains(key)) {
            report
                .error("mesh/unknown-key", place, format!("the key {} is not declared", quote(key)))
                .did_you_mean(key, mesh.key_names.iter().map(String::as_str));
        }
        mesh.read_tags(&mut fields, report);
        standards::check_tags(&mesh, report);
        for (key, node) in fields.map("attributes", report) {
            if let Some(kind) = attribute_type(node, report) {
                mesh.attributes.insert(key.text.clone(), kind);
            }
        }
        for (key, node) in fields.map("purposes", report) {
            let Some(mut purpose) = Fields::of(node, "a purpose", report) else { continue };
            let groups = mesh.declared_groups(purpose.texts("groups", report), report);
            purpose.text("description", report);
            purpose.close(report);
            mesh.purposes.insert(key.text.clone(), groups);
        }
        if let Some(node) = fields.get("auth") {
            mesh.has_auth = true;
            mesh.read_auth(node, tree, report, secrets);
        }
        if let Some(node) = fields.get("audit") {
            mesh.audit = Audit::read(node, &mesh, report);
        }
        mesh.limits = limits::read(fields.list("limits", report), &mesh, report);
        fields.close(report);
        mesh
    }

    /// The groups of a list, each of which must be declared.
    pub fn declared_groups(&self, groups: Vec<(&str, &Place)>, report: &mut Report) -> BTreeSet<String> {
        for (group, place) in &groups {
            if !self.groups.contains(*group) {
                report
                    .error("mesh/unknown-group", place, format!("the group {} is not declared", quote(group)))
                    .did_you_mean(group, self.groups.iter().map(String::as_str));
            }
        }
        groups.into_iter().map(|(group, _)| group.to_owned()).collect()
    }

    /// The type of an attribute, which must be declared.
    pub fn declared_attribute(&self, key: &Key, report: &mut Report) -> Option<AttributeType> {
        let kind = self.attributes.get(&key.text).copied();
        if kind.is_none() {
            let message = format!("the attribute {} is not declared", quote(&key.text));
            report
                .error("mesh/unknown-attribute", &key.place, message)
                .did_you_mean(&key.text, self.attributes.keys().map(String::as_str));
        }
        kind
    }

    /// A principal's attributes, each of which must be declared and of its type.
    pub fn declared_attributes(&self, entries: &[(Key, Node)], report: &mut Report) -> BTreeMap<String, Attribute> {
        let mut attributes = BTreeMap::new();
        for (key, node) in entries {
            let Some(kind) = self.declared_attribute(key, report) else { continue };
            match attribute(node, kind) {
                Some(value) => {
                    attributes.insert(key.text.clone(), value);
                }
                None => {
                    let message = format!("the attribute {} is {}", quote(&key.text), kind.name());
                    report.error("mesh/attribute-type", &node.place, message);
                }
            }
        }
        attributes
    }

    fn read_tags(&mut self, fields: &mut Fields<'_>, report: &mut Report) {
        for (key, node) in fields.map("tags", report) {
            if key.text.split('.').any(|part| part.is_empty() || part.chars().any(char::is_control)) {
                report.error("mesh/tag-name", &key.place, format!("{} is not a tag's name", quote(&key.text)));
            }
            let Some(mut tag) = Fields::of(node, "a tag", report) else { continue };
            tag.text("description", report);
            let detect = tag.get("detect").and_then(|node| detector(&key.text, node, report));
            let kind = tag.text("type", report).and_then(|text| {
                let known = physical(text).map(Type::Physical).or_else(|| logical(text).map(Type::Logical));
                if known.is_none() {
                    let message = format!("{} is no type", quote(text));
                    report
                        .error("mesh/tag-type", tag.key_place("type"), message)
                        .help(format!("write an Iceberg type ({PHYSICAL}) or a logical one ({LOGICAL})"));
                }
                known
            });
            let classification = tag.text("classification", report).map(str::to_owned);
            if let Some(class) = &classification
                && let Some(known) = &self.standards.classifications
                && !known.contains(class)
            {
                let message = format!("the classification {} is not declared", quote(class));
                report
                    .error("mesh/unknown-classification", tag.key_place("classification"), message)
                    .did_you_mean(class, known.iter().map(String::as_str));
            }
            let pattern = tag.text("pattern", report);
            let pattern = pattern.filter(|pattern| regex(pattern, tag.key_place("pattern"), report).is_some());
            let pattern = pattern.map(str::to_owned);
            let place = tag.key_place("unmasked_for").clone();
            let unmasked_for = tag
                .get("unmasked_for")
                .map(|node| (self.declared_groups(texts(node, "unmasked_for", report), report), place));
            let mask = tag.text("mask", report).and_then(|text| {
                match Mask::parse(text, self.key_names.iter().map(String::as_str)) {
                    Ok(mask) => Some((mask, tag.key_place("mask").clone())),
                    Err(fault) => {
                        let help = report.error("mesh/mask", tag.key_place("mask"), fault.message);
                        if let Some(text) = fault.help {
                            help.help(text);
                        }
                        None
                    }
                }
            });
            tag.close(report);
            self.tags.insert(key.text.clone(), Tag { mask, unmasked_for, kind, pattern, classification, detect });
        }
    }
}

/// `email`, or `{ pattern: "^C[0-9]{8}$" }`.
fn detector(tag: &str, node: &Node, report: &mut Report) -> Option<Detector> {
    if let Kind::Map(_) = &node.kind {
        let mut fields = Fields::of(node, "`detect`", report)?;
        let pattern = fields.required("pattern", report);
        let pattern = pattern.and_then(|pattern| regex(pattern, fields.key_place("pattern"), report));
        fields.close(report);
        return Some(Detector::Own { name: tag.into(), pattern: pattern? });
    }
    let name = text(node, "detect", report)?;
    let known = Known::ALL.into_iter().find(|kind| kind.name() == name);
    if known.is_none() {
        let names = Known::ALL.map(Known::name);
        let help = match nearest(name, names) {
            Some(near) => format!("did you mean `{near}`?"),
            None => format!("write one of {}, or `{{ pattern: … }}`", names.join(", ")),
        };
        report.error("mesh/detector", &node.place, format!("the detector {} is unknown", quote(name))).help(help);
    }
    known.map(Detector::Known)
}

/// Reads a secret: a literal breaks the mesh, a secret that is not there does not.
pub(crate) fn secret(
    node: &Node,
    what: &str,
    tree: &Tree<'_>,
    report: &mut Report,
    missing: &mut Report,
) -> Option<Secret> {
    match Secret::resolve(text(node, what, report)?, tree) {
        Ok(secret) => Some(secret),
        Err(error @ (SecretError::Literal | SecretError::Malformed)) => {
            report.error("secret/literal", &node.place, error.to_string()).help(error.help());
            None
        }
        Err(error) => {
            missing.error("secret/missing", &node.place, error.to_string()).help(error.help());
            None
        }
    }
}

pub(super) fn names(texts: Vec<(&str, &Place)>, what: &str, report: &mut Report) -> BTreeSet<String> {
    let mut names = BTreeSet::new();
    for (text, place) in texts {
        if text.is_empty() || text.chars().any(char::is_control) {
            report.error("mesh/name", place, format!("{} is not a {what}'s name", quote(text)));
        }
        if !names.insert(text.to_owned()) {
            report.error("mesh/duplicate-name", place, format!("the {what} {} stands here twice", quote(text)));
        }
    }
    names
}

pub(super) fn regex(pattern: &str, place: &Place, report: &mut Report) -> Option<Regex> {
    let compiled = Regex::new(pattern).ok();
    if compiled.is_none() {
        report.error("mesh/pattern", place, format!("{} is not a regular expression", quote(pattern)));
    }
    compiled
}

fn attribute_type(node: &Node, report: &mut Report) -> Option<AttributeType> {
    let kind = match &node.kind {
        Kind::Scalar { text, .. } => match text.as_str() {
            "String" => Some(AttributeType::String),
            "Long" => Some(AttributeType::Long),
            "Bool" => Some(AttributeType::Bool),
            _ => None,
        },
        Kind::Map(entries) => match entries.as_slice() {
            [(key, Node { kind: Kind::Scalar { text, .. }, .. })] if key.text == "set" && text == "String" => {
                Some(AttributeType::Strings)
            }
            _ => None,
        },
        Kind::List(_) => None,
    };
    if kind.is_none() {
        report
            .error("mesh/attribute-type", &node.place, "this is no type of an attribute")
            .help("write `String`, `Long`, `Bool` or `{ set: String }`");
    }
    kind
}

fn attribute(node: &Node, kind: AttributeType) -> Option<Attribute> {
    let text_of = |node: &Node| match &node.kind {
        Kind::Scalar { text, .. } if node.what() == "a text" => Some(text.clone()),
        _ => None,
    };
    match (kind, &node.kind) {
        (AttributeType::String, _) => text_of(node).map(Attribute::String),
        (AttributeType::Strings, Kind::List(items)) => {
            items.iter().map(text_of).collect::<Option<_>>().map(Attribute::Set)
        }
        (AttributeType::Long, Kind::Scalar { text, plain: true }) => text.parse().ok().map(Attribute::Long),
        (AttributeType::Bool, Kind::Scalar { text, plain: true }) => {
            crate::document::yaml::truth(text).map(Attribute::Bool)
        }
        _ => None,
    }
}

/// A mapping of names to texts, for files of a domain.
pub(crate) fn texts_by_name<'a>(node: &'a Node, what: &str, report: &mut Report) -> Vec<(&'a str, &'a str, &'a Node)> {
    map(node, what, report)
        .iter()
        .filter_map(|(key, node)| Some((key.text.as_str(), text(node, what, report)?, node)))
        .collect()
}
