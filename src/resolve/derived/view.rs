//! A derived product whose query is a view of its domain's catalog: what the names in the view's text mean.
//!
//! A view names tables of its catalog; here they are products. Each name becomes the product that the domain serves from
//! that table, and is read like any other: with the contract's columns, as whoever asks may see it. A table of which there
//! is no product is nothing, and so is one of which there are two, since the view does not say whose rules are meant.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use polder_catalog::contract::{Column, Contract, Query, Text};
use polder_catalog::mesh::{CatalogConfig, Domain, Product};
use polder_catalog::name::ProductRef;

use super::{Resolver, Unplanned};
use crate::error::{Class, Error};
use crate::lake::View;

/// What a query says, and where its names lie.
#[derive(Debug)]
pub enum Said<'a> {
    /// Our own SQL; plain names lie in this domain.
    Here(&'a str, &'a str),
    /// A view, and the names in it.
    View(Arc<View>, Names),
}

/// The names that a view may use.
#[derive(Debug)]
pub struct Names {
    /// What those call its catalog who make views there.
    catalogs: Vec<String>,
    /// The products of each table and view of the catalog.
    products: BTreeMap<String, BTreeSet<ProductRef>>,
    /// Those whose contracts call columns by other names than their tables do.
    renamed: BTreeSet<ProductRef>,
    /// The columns of all these and of the view's own contract, by their names in lower case.
    columns: BTreeMap<String, BTreeSet<String>>,
}

impl Names {
    fn of(resolver: &Resolver, domain: &Domain, own: &Contract) -> Self {
        let catalogs = match &domain.catalog {
            CatalogConfig::Rest(rest) => rest.known_as.clone(),
            _ => Vec::new(),
        };
        let (products, renamed, columns) = (BTreeMap::new(), BTreeSet::new(), BTreeMap::new());
        let mut names = Self { catalogs, products, renamed, columns };
        names.spell(&own.columns);
        let (plain, majors): (Vec<_>, Vec<_>) = resolver
            .mesh
            .products()
            .filter(|(name, _)| name.product.domain() == &domain.name)
            .partition(|(name, _)| name.major.is_none());
        for (name, product) in plain.into_iter().chain(majors) {
            names.serve(name, product);
        }
        names
    }

    /// Notes what a product is served from. A major is meant only where the plain name means another table.
    fn serve(&mut self, name: ProductRef, product: &Product) {
        let Some(table) = product.contract.physical() else { return };
        let products = self.products.entry(table.to_owned()).or_default();
        if name.major.is_none() || !products.iter().any(|other| other.product == name.product) {
            products.insert(name.clone());
            if product.contract.columns.iter().any(renames) {
                self.renamed.insert(name);
            }
            self.spell(&product.contract.columns);
        }
    }

    /// Names of these catalogs, and of these tables with the columns of their products.
    #[cfg(test)]
    pub fn new(catalogs: &[&str], tables: &[(&str, &str, &[&str])]) -> Self {
        let catalogs = catalogs.iter().map(|name| (*name).to_owned()).collect();
        let (products, renamed, columns) = (BTreeMap::new(), BTreeSet::new(), BTreeMap::new());
        let mut names = Self { catalogs, products, renamed, columns };
        for (table, product, columns) in tables {
            if let Ok(product) = ProductRef::parse("shop", product) {
                names.products.entry((*table).to_owned()).or_default().insert(product);
            }
            for column in *columns {
                names.columns.entry(column.to_lowercase()).or_default().insert((*column).to_owned());
            }
        }
        names
    }

    fn spell(&mut self, columns: &[Column]) {
        for column in columns {
            self.columns.entry(column.name.to_lowercase()).or_default().insert(column.name.clone());
        }
    }

    /// A name as it is written here, for those who do not tell cases apart.
    pub fn spelled(&self, name: &str) -> String {
        let lower = name.to_lowercase();
        match self.columns.get(&lower).map(|names| names.iter().collect::<Vec<_>>()).as_deref() {
            Some([only]) => (*only).clone(),
            _ => lower,
        }
    }

    /// The product that a name in `view` means.
    ///
    /// # Errors
    /// `BadRequest` where it cannot be told what it means, `UnknownName` where that is no product.
    pub fn product(&self, view: &View, name: &[String]) -> Result<&ProductRef, Error> {
        let written = name.join(".");
        if name.iter().chain(&view.namespace).any(|part| part.contains('.')) {
            return Err(Error::new(
                Class::BadRequest,
                format!("it reads `{written}`, and a dot in a name parts it in two"),
            ));
        }
        let own = |catalog: &String| self.catalogs.iter().any(|known| known.eq_ignore_ascii_case(catalog));
        let full = match name {
            [] => return Err(Error::new(Class::BadRequest, "it reads what has no name")),
            [catalog, rest @ ..] if rest.len() > 1 && own(catalog) => rest.join("."),
            _ if view.catalog.as_ref().is_some_and(|catalog| !own(catalog)) => {
                let catalog = view.catalog.as_deref().unwrap_or_default();
                return Err(Error::new(Class::BadRequest, format!("its names lie in a catalog called `{catalog}`"))
                    .help(
                        "if that is the catalog of its domain, write `known_as: [name]` beside the catalog's address",
                    ));
            }
            [table] => view.namespace.iter().chain([table]).cloned().collect::<Vec<_>>().join("."),
            _ => written.clone(),
        };
        let products = self.products.get(&full);
        match products.map(|products| products.iter().collect::<Vec<_>>()).as_deref() {
            Some([product]) if self.renamed.contains(product) => Err(Error::new(
                Class::BadRequest,
                format!("it reads `{written}`, whose columns have other names in the contract than in the table"),
            )),
            Some([product]) => Ok(product),
            None | Some([]) => {
                Err(Error::new(Class::UnknownName, format!("it reads `{written}`, which is no product of its domain")))
            }
            Some(several) => Err(Error::new(
                Class::UnknownName,
                format!("it reads `{written}`, of which there are {} products", several.len()),
            )),
        }
    }
}

/// Whether a column, or a field of it, has another name in the table.
fn renames(column: &Column) -> bool {
    column.name != column.physical_name || column.fields.iter().any(renames)
}

impl Resolver {
    /// What the query of a derived product says.
    pub(super) async fn said<'a>(
        &self,
        domain: &'a Domain,
        product: &Product,
        query: &'a Query,
    ) -> Result<Said<'a>, Unplanned> {
        Ok(match &query.text {
            Text::Here(text) => Said::Here(domain.name.as_str(), text),
            Text::View(view) if self.deriving.offline => {
                let unasked = || Unplanned::Table(Error::new(Class::Storage, "its catalog is not asked"));
                let view = self.lake.viewed_last(domain, view).ok_or_else(unasked)?;
                Said::View(view, Names::of(self, domain, &product.contract))
            }
            Text::View(view) => {
                let view = self.lake.view(domain, view).await.map_err(Unplanned::Table)?;
                Said::View(view, Names::of(self, domain, &product.contract))
            }
        })
    }
}
