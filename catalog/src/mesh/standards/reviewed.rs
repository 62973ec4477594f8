//! Columns that may lack tags of what they are made of, as the mesh lists them in `standards.declassified`.
//!
//! ```text
//! declassified:
//!   - { column: sales.reach.cohort, tags: [pii], reason: ages in tens, reviewed: the privacy office }
//! ```
//!
//! Where the list is there, `polder.declassified` in a contract is not enough: the column stands in it, and lacks no tags but
//! those that do, and those below them in the tree. A column that `polder.declassified` does not stand at lacks none, whatever is
//! listed. The plain name of a product is each of its majors, as in policies.

use std::collections::BTreeSet;

use crate::contract::Column;
use crate::document::fields::Fields;
use crate::document::yaml::Node;
use crate::document::{Place, Report, quote};
use crate::mesh::declared::Declared;
use crate::mesh::{Domain, Mesh, Product};
use crate::name::{DomainName, ProductRef};

/// A column that somebody has looked at.
#[derive(Debug)]
pub(crate) struct Reviewed {
    product: ProductRef,
    column: String,
    /// The tags that it may lack, each with its place.
    tags: Vec<(String, Place)>,
    place: Place,
}

impl Reviewed {
    fn is_of(&self, product: &Product, column: &Column) -> bool {
        self.is_about(product) && self.column == column.name
    }

    /// Whether it names what lies inside of a column.
    fn is_inside(&self, product: &Product, column: &Column) -> bool {
        self.is_about(product) && self.column.split_once('.').is_some_and(|(around, _)| around == column.name)
    }

    fn is_about(&self, product: &Product) -> bool {
        self.product.product == product.name && self.product.major.is_none_or(|major| major == product.contract.major)
    }
}

/// Reads the list.
pub(super) fn read(nodes: &[Node], report: &mut Report) -> Vec<Reviewed> {
    nodes.iter().filter_map(|node| one(node, report)).collect()
}

fn one(node: &Node, report: &mut Report) -> Option<Reviewed> {
    let mut fields = Fields::of(node, "a declassified column", report)?;
    let written = fields.required("column", report);
    let tags: Vec<_> =
        fields.texts("tags", report).into_iter().map(|(tag, place)| (tag.to_owned(), place.clone())).collect();
    if tags.is_empty() {
        let message = "a declassified column names no tag";
        report.error("mesh/declassified", fields.key_place("tags"), message).help("list in `tags` what it may lack");
    }
    for (key, help) in [("reason", "say why its values need none of its tags"), ("reviewed", "say who looked at it")] {
        if fields.required(key, report).is_some_and(|text| text.trim().is_empty()) {
            report.error("mesh/declassified", fields.key_place(key), format!("`{key}` says nothing")).help(help);
        }
    }
    let place = fields.key_place("column").clone();
    fields.close(report);
    let written = written?;
    let Some((product, column)) = address(written) else {
        let message = format!("{} is no column of a product", quote(written));
        report
            .error("mesh/declassified", &place, message)
            .help("write `domain.product.column`, or `domain.product@2.column` for one major");
        return None;
    };
    Some(Reviewed { product, column, tags, place })
}

/// The product and the column that an address names. Quotes may stand around a product, as they do in SQL.
fn address(text: &str) -> Option<(ProductRef, String)> {
    let (domain, rest) = text.split_once('.')?;
    let (product, column) = match rest.strip_prefix('"') {
        Some(rest) => rest.split_once("\".")?,
        None => rest.split_once('.')?,
    };
    let product = ProductRef::parse(domain, product).ok()?;
    (!column.is_empty()).then(|| (product, column.to_owned()))
}

/// Notes tags that are listed and not declared.
pub(crate) fn check_tags(declared: &Declared, report: &mut Report) {
    let listed = declared.standards.declassified.iter().flatten().flat_map(|reviewed| &reviewed.tags);
    for (tag, place) in listed.filter(|(tag, _)| !declared.tags.contains_key(tag)) {
        report
            .error("mesh/declassified", place, format!("the tag {} is not declared", quote(tag)))
            .did_you_mean(tag, declared.tags.keys().map(String::as_str));
    }
}

/// Refuses a product with a column that is declassified and stands in no list that there is.
pub(super) fn check(product: &Product, declared: &Declared, report: &mut Report) {
    let Some(reviewed) = &declared.standards.declassified else { return };
    for column in &product.contract.columns {
        let Some(declassified) = &column.declassified else { continue };
        if !reviewed.iter().any(|reviewed| reviewed.is_of(product, column)) {
            let message = format!(
                "the column {} of `{}` is declassified, and the mesh does not list it as reviewed",
                quote(&column.name),
                product.name
            );
            report
                .refuse("standards/declassified", &declassified.place, product, message)
                .help(format!("let the platform team add {}", line(product, column, "…")));
        }
    }
}

/// Notes what is listed and declassifies nothing. Of a domain that is out nothing is known.
pub(crate) fn check_unused(declared: &Declared, domains: &[&Domain], out: &BTreeSet<DomainName>, report: &mut Report) {
    for reviewed in declared.standards.declassified.iter().flatten() {
        let name = reviewed.product.product.domain();
        if out.contains(name) {
            continue;
        }
        let products = domains.iter().filter(|domain| domain.name == *name);
        let products = products.flat_map(|domain| domain.products.values().flatten());
        let columns =
            || products.clone().flat_map(|product| product.contract.columns.iter().map(move |c| (product, c)));
        let found: Vec<_> = columns().filter(|(product, column)| reviewed.is_of(product, column)).collect();
        let column = format!("`{}.{}`", reviewed.product, reviewed.column);
        let is_inside = columns().any(|(product, column)| reviewed.is_inside(product, column));
        let message = match found.as_slice() {
            [] if is_inside => format!("{column} lies inside of a column, and a whole column is declassified"),
            [] => format!("there is no column {column}"),
            found if found.iter().all(|(_, column)| column.declassified.is_none()) => {
                format!("the column {column} is not declassified any more")
            }
            _ => continue,
        };
        report
            .warning("mesh/declassified", &reviewed.place, message)
            .help("take it out of the list, so that nothing of this name is declassified unseen");
    }
}

/// What would say that a column was reviewed.
fn line(product: &Product, column: &Column, tag: &str) -> String {
    format!(
        "`{{ column: {}.{}, tags: [{tag}], reason: …, reviewed: … }}` to `standards.declassified` of mesh.yaml",
        product.name, column.name
    )
}

impl Mesh {
    /// Whether a derived column may lack a tag of what it is made of.
    pub(in crate::mesh) fn may_lack(&self, product: &Product, column: &Column, tag: &str) -> bool {
        let listed = |reviewed: &Reviewed| {
            let covers = |own: &str| reviewed.tags.iter().any(|(listed, _)| listed == own);
            reviewed.is_of(product, column) && self.declared.lineage(tag).any(covers)
        };
        let all = self.declared.standards.declassified.as_ref();
        column.declassified.is_some() && all.is_none_or(|all| all.iter().any(listed))
    }

    /// How a derived column may lack a tag of what it is made of.
    pub fn how_to_declassify(&self, product: &Product, column: &Column, tag: &str) -> String {
        let say = "say in `polder.declassified` why its values need none";
        match (&self.declared.standards.declassified, &column.declassified) {
            (None, _) => say.to_owned(),
            (Some(_), None) => format!("{say}, and let the platform team add {}", line(product, column, tag)),
            (Some(_), Some(_)) => format!("let the platform team add {}", line(product, column, tag)),
        }
    }
}
