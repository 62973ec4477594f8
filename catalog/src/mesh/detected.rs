//! Columns that hold what a tag stands for and do not carry it.
//!
//! ```text
//! tags: { pii.email: { detect: email } }
//! mail: "ann@x.example", …, untagged                  an error: nothing protects what the mesh wants protected
//! mail, tagged as something else that is protected    a warning
//! iban: "DE89…", and no tag detects those             a warning
//! ```
//!
//! Names alone are a warning, and are looked at where there are no values.
//!
//! The other way around, each value of a canonical identifier looks like it, or it finds nothing where it is joined.

use regex::Regex;

use super::declared::Declared;
use super::standards::Standard;
use super::{Mesh, Product};
use crate::contract::{Column, LogicalType, PhysicalType, Type};
use crate::detect::{Detector, Kind, Sample};
use crate::document::{Finding, Report, Severity, quote};

impl Mesh {
    /// What values are looked at with: what the tags detect, and what is personal wherever it is found.
    pub fn detectors(&self) -> Vec<Detector> {
        let own = self.declared.tags.values().filter_map(|tag| tag.detect.as_ref());
        let own = own.filter(|detector| matches!(detector, Detector::Own { .. })).cloned();
        let is_wanted = |kind: &Kind| *kind != Kind::Ip || tags_of(&self.declared, *kind).next().is_some();
        let shape = |(tag, pattern): (&String, &String)| {
            Some(Detector::Shape { tag: tag.as_str().into(), pattern: Regex::new(pattern).ok()? })
        };
        let shapes = self.declared.tags.iter().filter_map(|(name, tag)| Some((name, tag.pattern.as_ref()?)));
        Kind::ALL
            .into_iter()
            .filter(is_wanted)
            .map(Detector::Known)
            .chain(own)
            .chain(shapes.filter_map(shape))
            .collect()
    }

    /// The tags that a column of this name should carry by a sample of its values, and what was found that no tag of the
    /// mesh stands for.
    pub fn tags_for(&self, column: &str, sample: &Sample<'_>) -> (Vec<String>, Vec<String>) {
        let (mut tags, mut unknown) = (Vec::new(), Vec::new());
        for (detector, _) in sample.verdicts(column) {
            let wanted = match detector {
                Detector::Known(kind) => tags_of(&self.declared, *kind).next(),
                Detector::Own { name, .. } | Detector::Shape { tag: name, .. } => Some(name.as_ref()),
            };
            match wanted {
                Some(tag) => tags.push(tag.to_owned()),
                None => unknown.push(detector.finds()),
            }
        }
        (tags, unknown)
    }

    /// The tags that a column of texts should carry by its name alone.
    pub fn tags_for_name(&self, column: &str) -> Vec<String> {
        let kinds = Kind::ALL.into_iter().filter(|kind| kind.is_name(column));
        kinds.filter_map(|kind| tags_of(&self.declared, kind).next()).map(str::to_owned).collect()
    }

    /// The strictest classification that tags stand for.
    pub(crate) fn classification_of(&self, tags: &[String]) -> Option<String> {
        let known = self.declared.standards.classifications.as_deref().unwrap_or_default();
        let of_tags = tags.iter().flat_map(|tag| self.declared.holding(tag, |tag| tag.classification.as_deref()));
        let ranked = of_tags.map(|(_, class)| (known.iter().position(|known| known == class), class));
        ranked.max().map(|(_, class)| class.to_owned())
    }

    /// The highest tag above this one, itself included, that keeps raw values from somebody.
    pub(crate) fn protecting<'t>(&self, tag: &'t str) -> Option<&'t str> {
        let tags = &self.declared.tags;
        let protects = |tag: &&str| tags.get(*tag).is_some_and(|tag| tag.mask.is_some() || tag.unmasked_for.is_some());
        self.declared.lineage(tag).filter(protects).last()
    }

    /// Whether a tag, or one above it, says how it is masked.
    pub(crate) fn has_mask(&self, tag: &str) -> bool {
        self.declared.masks_of(tag).next().is_some()
    }

    /// What a sample of a column says that its tags do not. `path` is the column, or the columns that lead to a field.
    pub fn untagged(&self, product: &Product, path: &[&Column], sample: &Sample<'_>) -> Vec<Finding> {
        let Some(column) = path.last() else { return Vec::new() };
        let declared = &self.declared;
        let tags = tags(product, path);
        let name = path.iter().map(|column| column.name.as_str()).collect::<Vec<_>>().join(".");
        let of_verdict = |(detector, share): (&Detector, crate::detect::Share)| {
            let wanted: Vec<&str> = match detector {
                Detector::Known(kind) => tags_of(declared, *kind).collect(),
                Detector::Own { name, .. } | Detector::Shape { tag: name, .. } => vec![name],
            };
            let is_known = wanted.iter().any(|wanted| tags.iter().any(|tag| is_related(tag, wanted)));
            let is_protected = tags.iter().any(|tag| protects(declared, tag));
            if is_known || is_protected && wanted.is_empty() {
                return None;
            }
            let grave = !wanted.is_empty() && !is_protected;
            let message = format!(
                "{} of {} sampled values of the column {} of `{}` are {}, and none of its tags says so",
                share.found,
                share.of,
                quote(&name),
                product.name,
                detector.finds()
            );
            let help = match wanted.first() {
                Some(tag) => format!("write `tags: [{tag}]`: `tags.{tag}.detect` of mesh.yaml looks for it"),
                None => format!(
                    "declare a tag that detects {} in mesh.yaml, and write it into the column",
                    detector.finds()
                ),
            };
            Some(Finding {
                code: "detect/untagged",
                severity: if grave { Severity::Error } else { Severity::Warning },
                place: column.place.clone(),
                domain: None,
                product: None,
                message,
                help: Some(help),
            })
        };
        sample.verdicts(&column.name).filter_map(of_verdict).collect()
    }

    /// What a sample of a column says against its being a canonical identifier. `path` is as above.
    pub fn misshapen(&self, product: &Product, path: &[&Column], sample: &Sample<'_>) -> Option<Finding> {
        let column = path.last()?;
        let mut canonical = column.tags.iter().flat_map(|tag| self.declared.holding(tag, |tag| tag.pattern.as_ref()));
        let (tag, _) = canonical.next()?;
        let share = sample.unlike(tag).filter(|share| share.found > 0)?;
        let name = path.iter().map(|column| column.name.as_str()).collect::<Vec<_>>().join(".");
        let message = format!(
            "{} of {} sampled values of the column {} of `{}` do not match the pattern of `{tag}`",
            share.found,
            share.of,
            quote(&name),
            product.name
        );
        let help = format!(
            "every `{tag}` matches `tags.{tag}.pattern` of mesh.yaml, so that domains can be joined by it: correct the \
             values, or give the column another tag"
        );
        Some(Finding {
            code: "standards/identifier",
            severity: self.declared.standards.severity(Standard::Identifiers),
            place: column.place.clone(),
            domain: None,
            product: None,
            message,
            help: Some(help),
        })
    }
}

/// Notes columns whose names tell what the mesh detects, and whose tags do not.
pub(super) fn check_names(product: &Product, declared: &Declared, report: &mut Report) {
    let kinds: Vec<Kind> = Kind::ALL.into_iter().filter(|kind| tags_of(declared, *kind).next().is_some()).collect();
    if !kinds.is_empty() {
        for column in &product.contract.columns {
            names_inside(product, &mut vec![column], &kinds, declared, report);
        }
    }
}

fn names_inside(product: &Product, path: &mut Vec<&Column>, kinds: &[Kind], declared: &Declared, report: &mut Report) {
    let Some(column) = path.last().copied() else { return };
    if is_text(column) {
        let tags = tags(product, path);
        for kind in kinds.iter().filter(|kind| kind.is_name(&column.name)) {
            let wanted = tags_of(declared, *kind).next().unwrap_or_default();
            if !tags.iter().any(|tag| is_related(tag, wanted) || protects(declared, tag)) {
                let message = format!(
                    "the column {} is named as if it held {}, and has no tag",
                    quote(&column.name),
                    kind.finds()
                );
                report.warning("detect/name", &column.place, message).help(format!(
                    "write `tags: [{wanted}]` if it does: `tags.{wanted}.detect` of mesh.yaml looks for it"
                ));
            }
        }
    }
    for field in &column.fields {
        path.push(field);
        names_inside(product, path, kinds, declared, report);
        path.pop();
    }
}

fn is_text(column: &Column) -> bool {
    matches!(column.kind, Type::Physical(PhysicalType::String) | Type::Logical(LogicalType::String))
}

/// The tags that detect something known.
fn tags_of(declared: &Declared, kind: Kind) -> impl Iterator<Item = &str> {
    let detects = move |detector: &Detector| matches!(detector, Detector::Known(own) if *own == kind);
    let tags = declared.tags.iter().filter(move |(_, tag)| tag.detect.as_ref().is_some_and(detects));
    tags.map(|(name, _)| name.as_str())
}

/// The tags of a product and of the columns that lead to a field of it.
fn tags<'p>(product: &'p Product, path: &[&'p Column]) -> Vec<&'p str> {
    let of_columns = path.iter().flat_map(|column| &column.tags);
    of_columns.chain(&product.contract.tags).map(String::as_str).collect()
}

/// Whether one of two tags is the other or lies below it.
pub(super) fn is_related(tag: &str, other: &str) -> bool {
    let is_below =
        |tag: &str, above: &str| tag.strip_prefix(above).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'));
    is_below(tag, other) || is_below(other, tag)
}

/// Whether a tag keeps raw values from somebody.
fn protects(declared: &Declared, tag: &str) -> bool {
    let lineage = declared.lineage(tag).filter_map(|tag| declared.tags.get(tag)).collect::<Vec<_>>();
    lineage.iter().any(|tag| tag.mask.is_some() || tag.unmasked_for.is_some())
}
