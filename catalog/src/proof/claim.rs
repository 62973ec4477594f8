//! What can be claimed: `no one [outside GROUP[, GROUP…]] can read|see WHAT`.
//!
//! ```text
//! no one outside privacy-office can read pii                          a tag, with all that lie below it
//! no one can read payments.cards.number                               a column; a product without one; `@1` for one major
//! no one outside analysts, auditors can see product storefront.orders the word tells a product from a tag of its name
//! ```
//!
//! `read` is about raw values, `see` also about masked ones. Those outside are in none of the groups.

use std::collections::BTreeSet;
use std::fmt;

use crate::document::{nearest, quote};
use crate::mesh::Mesh;
use crate::mesh::declared::Declared;
use crate::name::ProductRef;

/// Something that is claimed of a mesh.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Claim {
    /// Whoever is in one of these groups may.
    pub(super) inside: BTreeSet<String>,
    pub(super) act: Act,
    pub(super) of: Of,
}

/// What nobody can do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Act {
    /// Get raw values.
    Read,
    /// Get values at all.
    See,
}

/// What it is about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Of {
    Tag(String),
    /// A product, all majors or one, and a column or field of it by its path.
    Product(ProductRef, Option<String>),
}

/// Why a text is no claim about this mesh.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct NoClaim {
    /// What is wrong.
    pub message: String,
    /// What to write instead.
    pub help: Option<String>,
}

/// How a claim is written.
const GRAMMAR: &str = "write `no one [outside GROUP, …] can read|see TAG|DOMAIN.PRODUCT[.COLUMN]`";

impl Claim {
    /// Reads a claim; what it names must be there.
    ///
    /// # Errors
    /// When the text is no claim, or names what the mesh does not have.
    pub fn parse(text: &str, mesh: &Mesh) -> Result<Self, NoClaim> {
        let (claim, what) = Self::read(text, &mesh.declared)?;
        let (kind, name) = match what.split_once(' ') {
            Some((kind @ ("tag" | "product" | "column"), name)) => (Some(kind), name.trim()),
            _ => (None, what),
        };
        let tag = (kind.is_none_or(|kind| kind == "tag") && has_tag(&mesh.declared, name)).then(|| name.to_owned());
        let product = if kind == Some("tag") { None } else { product(name, mesh) };
        let of = match (tag, product) {
            (Some(_), Some(_)) => {
                let message = format!("{} is a tag and a product", quote(name));
                return Err(NoClaim { message, help: Some("write `tag …` or `product …`".to_owned()) });
            }
            (Some(tag), None) => Of::Tag(tag),
            (None, Some(of)) => of,
            (None, None) => {
                let tags = mesh.declared.tags.keys().cloned();
                let products = mesh.products().map(|(name, _)| name.to_string());
                let known: Vec<String> = tags.chain(products).collect();
                let near = nearest(name, known.iter().map(String::as_str));
                let message = format!("{} is no tag, product or column that is served", quote(name));
                return Err(NoClaim { message, help: near.map(|near| format!("did you mean `{near}`?")) });
            }
        };
        Ok(Self { of, ..claim })
    }

    /// The claim but for what it is about, and the words of that.
    fn read<'t>(text: &'t str, declared: &Declared) -> Result<(Self, &'t str), NoClaim> {
        let wrong = || NoClaim { message: format!("{} is no claim", quote(text)), help: Some(GRAMMAR.to_owned()) };
        let (head, act, what) = [(" can read ", Act::Read), (" can see ", Act::See)]
            .into_iter()
            .find_map(|(verb, act)| text.split_once(verb).map(|(head, what)| (head.trim(), act, what.trim())))
            .ok_or_else(wrong)?;
        let rest = ["no one", "nobody"].into_iter().find_map(|words| head.strip_prefix(words)).ok_or_else(wrong)?;
        let groups = match rest.trim_start() {
            "" => "",
            rest => rest.strip_prefix("outside ").ok_or_else(wrong)?,
        };
        let inside: BTreeSet<String> =
            groups.split(',').map(str::trim).filter(|group| !group.is_empty()).map(str::to_owned).collect();
        if what.is_empty() || (rest.trim_start() != "" && inside.is_empty()) {
            return Err(wrong());
        }
        if let Some(group) = inside.iter().find(|group| !declared.groups.contains(*group)) {
            let near = nearest(group, declared.groups.iter().map(String::as_str));
            let message = format!("the group {} is not declared", quote(group));
            return Err(NoClaim { message, help: near.map(|near| format!("did you mean `{near}`?")) });
        }
        Ok((Self { inside, act, of: Of::Tag(String::new()) }, what))
    }

    /// What `unmasked_for` of a tag claims.
    pub(super) fn of_tag(tag: &str, inside: &BTreeSet<String>) -> Self {
        Self { inside: inside.clone(), act: Act::Read, of: Of::Tag(tag.to_owned()) }
    }
}

impl fmt::Display for Claim {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("no one ")?;
        if !self.inside.is_empty() {
            write!(f, "outside {} ", self.inside.iter().map(String::as_str).collect::<Vec<_>>().join(", "))?;
        }
        f.write_str(match self.act {
            Act::Read => "can read ",
            Act::See => "can see ",
        })?;
        match &self.of {
            Of::Tag(tag) => f.write_str(tag),
            Of::Product(product, None) => write!(f, "{product}"),
            Of::Product(product, Some(column)) => write!(f, "{product}.{column}"),
        }
    }
}

fn has_tag(declared: &Declared, name: &str) -> bool {
    declared.tags.keys().flat_map(|tag| declared.lineage(tag)).any(|tag| tag == name)
}

/// The product, and the column in it, that a name means.
fn product(name: &str, mesh: &Mesh) -> Option<Of> {
    let mut parts = name.splitn(3, '.');
    let (domain, table, column) = (parts.next()?, parts.next()?, parts.next());
    let named = ProductRef::parse(domain, table).ok()?;
    let mut majors = mesh.products().filter(|(_, product)| is_meant(&named, product)).map(|(_, product)| product);
    let has_column = majors
        .any(|product| column.is_none_or(|column| crate::trial::find(&product.contract.columns, column).is_some()));
    has_column.then(|| Of::Product(named, column.map(str::to_owned)))
}

/// Whether a name in a claim means this major: without a version it means all of them.
pub(super) fn is_meant(named: &ProductRef, product: &crate::mesh::Product) -> bool {
    named.product == product.name && named.major.is_none_or(|major| major == product.contract.major)
}
