//! A product's page: what it says of itself, who owns it, what of it one may read, and what it is made of.
//!
//! It is what `mesh.products`, `mesh.columns`, `mesh.lineage` and `mesh.health` tell, gathered for one product. Of the tables its
//! own alone is opened for it, and a list of products opens none but where a catalog may restrict its readers. What may not be
//! discovered has no page, and is on nobody else's.

use datafusion::common::TableReference;
use polder_catalog::mesh::{Domain, Product};
use polder_catalog::name::ProductRef;
use polder_catalog::policy::{Access, Grants};
use serde::Serialize;

use super::ends::{Ends, Named};
use super::search::uri;
use super::system::{Row, examples, key};
use super::{Resolver, table_part};
use crate::error::Error;

/// A product, as one sees it.
#[derive(Debug, Clone, Serialize)]
pub struct Page {
    /// Its address, which never changes its meaning.
    pub uri: String,
    /// The domain, which is its schema in SQL.
    pub domain: String,
    /// Its name in SQL: the plain one, or with its major.
    pub product: String,
    /// The version as its contract writes it.
    pub version: String,
    /// Where that stands in its life.
    pub status: String,
    /// Until when it is served, where the contract says so.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ends: Option<String>,
    /// What it is.
    pub description: Option<String>,
    /// What it is for.
    pub purpose: Option<String>,
    /// The team that owns it.
    pub owner: String,
    /// How to reach the team.
    pub contact: Vec<String>,
    /// Where users get help.
    pub support: Vec<String>,
    /// What it promises.
    pub sla: Vec<String>,
    /// Under which licence its data may be used.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub licence: Option<String>,
    /// Its tags.
    pub tags: Vec<String>,
    /// What came of its rules of quality the last time, where they were checked.
    pub quality: Option<&'static str>,
    /// The columns of its primary key, in its order.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub key: Vec<String>,
    /// How it is now; nothing where products are listed.
    #[serde(flatten)]
    pub health: Option<Health>,
    /// Its other majors that are served.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub versions: Vec<Version>,
    /// Its columns; none where products are listed.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub columns: Vec<PageColumn>,
    /// What it is made of.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub upstream: Vec<Link>,
    /// What is made of it.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub downstream: Vec<Link>,
}

/// How a product is, as `mesh.health` says it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Health {
    /// The word for it.
    pub state: String,
    /// Why it is so, as far as one may know.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

impl Health {
    fn of(row: Row) -> Option<Self> {
        let mut cells = row.into_iter().skip(2);
        let (state, _since, reason) = (cells.next()??, cells.next()?, cells.next()?);
        Some(Self { state, reason })
    }
}

/// Another major of a product.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Version {
    /// Its address.
    pub uri: String,
    /// Its name in SQL.
    pub product: String,
    /// The version as its contract writes it.
    pub version: String,
    /// Where that stands in its life.
    pub status: String,
    /// Until when it is served, where the contract says so.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ends: Option<String>,
}

/// A column of a page.
#[derive(Debug, Clone, Serialize)]
pub struct PageColumn {
    /// Its name.
    pub name: String,
    /// Its address.
    pub uri: String,
    /// Its type, as the contract has it.
    #[serde(rename = "type")]
    pub kind: String,
    /// Whether it is promised never to be NULL.
    pub required: bool,
    /// How one may read it.
    pub access: String,
    /// Its classification.
    pub classification: Option<String>,
    /// Its tags.
    pub tags: Vec<String>,
    /// What it is.
    pub description: Option<String>,
    /// Some of its values, where one may read it as it is.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub examples: Vec<String>,
}

/// Another product.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Link {
    /// Its address.
    pub uri: String,
    /// Its domain.
    pub domain: String,
    /// Its name in SQL.
    pub product: String,
}

impl Resolver {
    /// The products that one may discover, without their columns.
    pub fn pages(&self) -> Vec<Page> {
        let found = self.discoverable();
        found.into_iter().map(|(name, domain, product)| self.page_of(&name, domain, product)).collect()
    }

    /// The page of a product.
    ///
    /// # Errors
    /// `UnknownName`, the same for what is not there and for what may not be discovered.
    pub async fn page(&self, domain: &str, product: &str) -> Result<Page, Error> {
        let unknown = || self.unknown(&TableReference::partial(domain, product));
        let wanted = ProductRef::parse(domain, product).map_err(|_| unknown())?;
        let meant = self.mesh.product(&wanted).map(|product| product.contract.major);
        let of_name = |(name, _, product): &(ProductRef, &Domain, &Product)| {
            name.product == wanted.product && Some(product.contract.major) == meant
        };
        let found = self.discoverable();
        let (name, domain, product) = found.iter().find(|found| of_name(found)).cloned().ok_or_else(unknown)?;
        let grants = self.granted(&name).await;
        let ends = Ends::of(&self.lineage().await);
        let here = (name.product.domain().to_string(), table_part(&name));
        let mut page = self.page_of(&name, domain, product);
        page.columns = columns(self.mesh.name(), product, grants.as_ref());
        page.upstream = self.links(ends.upstream(&here));
        page.downstream = self.links(ends.downstream(&here));
        let others = found.iter().filter(|(other, ..)| other.product == name.product && *other != name);
        page.versions = others.map(|(name, _, product)| self.version(name, product)).collect();
        page.health = self.states(vec![(name, domain, product)]).await.pop().and_then(Health::of);
        Ok(page)
    }

    fn version(&self, name: &ProductRef, product: &Product) -> Version {
        Version {
            uri: uri(self.mesh.name(), product, None),
            product: table_part(name),
            version: product.contract.version.clone(),
            status: product.contract.status.to_string(),
            ends: product.contract.ends().map(str::to_owned),
        }
    }

    fn page_of(&self, name: &ProductRef, domain: &Domain, product: &Product) -> Page {
        let contract = &product.contract;
        Page {
            uri: uri(self.mesh.name(), product, None),
            domain: name.product.domain().to_string(),
            product: table_part(name),
            version: contract.version.clone(),
            status: contract.status.to_string(),
            ends: contract.ends().map(str::to_owned),
            description: contract.description.clone(),
            purpose: contract.purpose.clone(),
            owner: domain.owner.team.clone(),
            contact: domain.owner.email.iter().chain(&domain.owner.chat).cloned().collect(),
            support: contract.support.clone(),
            sla: contract.sla.clone(),
            licence: contract.licence.clone(),
            tags: contract.tags.iter().cloned().collect(),
            // Who sees all of it finds more in `mesh.quality`.
            quality: self.seen.verdict(product, true).map(|(verdict, _)| verdict.as_str()),
            key: key(product).into_iter().map(str::to_owned).collect(),
            health: None,
            versions: Vec::new(),
            columns: Vec::new(),
            upstream: Vec::new(),
            downstream: Vec::new(),
        }
    }

    fn links<'n>(&self, others: impl Iterator<Item = &'n Named>) -> Vec<Link> {
        let link = |(domain, name): &Named| {
            let product = self.mesh.product(&ProductRef::parse(domain, name).ok()?)?;
            let uri = uri(self.mesh.name(), product, None);
            Some(Link { uri, domain: domain.clone(), product: name.clone() })
        };
        others.filter_map(link).collect()
    }
}

fn columns(mesh: &str, product: &Product, grants: Option<&Grants>) -> Vec<PageColumn> {
    let column = |column: &polder_catalog::contract::Column| {
        let granted = grants.iter().flat_map(|grants| &grants.columns).find(|grant| grant.column == column.name);
        PageColumn {
            name: column.name.clone(),
            uri: uri(mesh, product, Some(column)),
            kind: column.kind.to_string(),
            required: column.required,
            access: granted.map_or(&Access::Denied, |grant| &grant.access).to_string(),
            classification: column.classification.clone(),
            tags: column.tags.iter().cloned().collect(),
            description: column.description.clone(),
            examples: examples(product, column, grants).to_vec(),
        }
    };
    product.contract.columns.iter().map(column).collect()
}
