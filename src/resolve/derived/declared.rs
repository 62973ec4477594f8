//! Derived products as the files of the mesh declare them: planned over contracts, for nobody in particular.
//!
//! It is how their owners learn what is wrong before anybody asks, and where lineage comes from. Nothing of it is ever
//! read, and whoever is told of it is told of products that they may discover.

use std::collections::BTreeSet;

use datafusion::common::TableReference;
use polder_catalog::contract::{Column, Rights, Type};
use polder_catalog::mesh::Product;
use polder_catalog::name::ProductRef;
use polder_catalog::policy::{Access, ColumnGrant, Discovery, Grants, Rows};

use super::super::system::Row;
use super::super::table_part;
use super::fit::{Misfit, fit_one};
use super::tags::Untagged;
use super::{Beneath, Deriving, Over, Resolver, Scanned};
use crate::error::{Class, Error};
use crate::guard::flow::{Source as FlowSource, Via};

/// What is wrong with a derived product.
#[derive(Debug, Clone)]
pub enum Flaw {
    /// Its query cannot be planned over the contracts of what it reads.
    Query(Error),
    /// A column lacks a tag.
    Untagged(Untagged),
}

/// How what is read of no column reaches a product: by how many rows there are.
const ROWS: &str = "rows";

/// A derived product, and what it reads of another one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Use {
    /// The derived product, with its major.
    pub by: ProductRef,
    /// What it reads, as its query names it.
    pub named: ProductRef,
    /// The same with its major.
    pub product: ProductRef,
    /// The column, and the fields inside of it; none where it reads rows alone.
    pub path: Vec<String>,
}

impl Resolver {
    /// What derived products read of others, as far as contracts tell.
    pub async fn uses(&self) -> Vec<Use> {
        let mut found = Vec::new();
        for (name, product) in self.mesh.products() {
            let Some(Ok(beneath)) = self.declared_beneath(&name, product, true).await else { continue };
            let by = with_major(&name, product);
            for (scan, _, table) in &beneath.tables {
                let Some(named) = table.wanted.as_ref().map(|wanted| wanted.product()) else { continue };
                let Some(product) = self.mesh.product(named) else { continue };
                let of_it = beneath.flow.sources().filter(|source| source.table == *scan);
                let mut paths: BTreeSet<Vec<String>> = of_it.map(|source| source.path.clone()).collect();
                if paths.is_empty() {
                    paths.insert(Vec::new());
                }
                found.extend(paths.into_iter().map(|path| Use {
                    by: by.clone(),
                    named: named.clone(),
                    product: with_major(named, product),
                    path,
                }));
            }
        }
        found
    }

    /// What is wrong with each derived product, as far as contracts tell, and views, unless this is `offline`.
    pub async fn flaws(&self, offline: bool) -> Vec<(ProductRef, Flaw)> {
        let mut found = Vec::new();
        for (name, product) in self.mesh.products() {
            match self.declared_beneath(&name, product, offline).await {
                None => {}
                // Nobody was asked.
                Some(Err(error)) if offline && error.class == Class::Storage => {}
                Some(Err(error)) => found.push((name, Flaw::Query(error))),
                Some(Ok(beneath)) => {
                    found.extend(
                        self.unowned(&name, product, offline).await.map(|error| (name.clone(), Flaw::Query(error))),
                    );
                    let untagged = self.untagged(product, &beneath);
                    found.extend(untagged.into_iter().map(|untagged| (name.clone(), Flaw::Untagged(untagged))));
                }
            }
        }
        found
    }

    /// What its owner lacks for a product that runs with the rights of its owner.
    async fn unowned(&self, name: &ProductRef, product: &Product, offline: bool) -> Option<Error> {
        let query = product.contract.query().filter(|query| query.rights == Rights::Owner)?;
        let domain = self.mesh.domain(name.product.domain())?;
        let frank = self.with(Deriving { frank: true, offline, ..self.deriving.clone() });
        let help = format!("`standards.owners_rights` of mesh.yaml names the group as which `{}` reads", domain.name);
        let beneath = match Box::pin(frank.planned(name, domain, product, query, Over::Outlines)).await {
            Ok(inner) => inner.beneath,
            Err(error) if error.class == Class::Storage => return None,
            Err(error) => return Some(Error { help: error.help.or(Some(help)), ..error }),
        };
        let denied = beneath.flow.sources().find(|source| beneath.denies(source))?;
        let (_, _, table) = beneath.tables.iter().find(|(scan, ..)| *scan == denied.table)?;
        let message = format!("it reads `{}` of `{}`, which its owner may not see", denied.path.join("."), table.name);
        Some(super::invalid(name, &message).help(help))
    }

    /// What a derived product is made of, whoever asks.
    async fn declared_beneath(
        &self,
        name: &ProductRef,
        product: &Product,
        offline: bool,
    ) -> Option<Result<Beneath, Error>> {
        let query = product.contract.query()?;
        let domain = self.mesh.domain(name.product.domain())?;
        let planned = Box::pin(self.as_declared(offline).planned(name, domain, product, query, Over::Outlines)).await;
        Some(planned.and_then(|inner| {
            let misfit = product.contract.columns.iter().find_map(|column| {
                let misfit = fit_one(column, inner.plan.schema()).err()?;
                (misfit.is_missing || self.is_typed(&inner.beneath, &column.name)).then_some(misfit)
            });
            match misfit {
                None => Ok(inner.beneath),
                Some(Misfit { column, instead, is_missing: true, .. }) => {
                    Err(super::invalid(name, &format!("it makes no column `{column}`")).help(instead))
                }
                Some(Misfit { column, what, instead, .. }) => {
                    Err(super::invalid(name, &format!("its column `{column}` {what}")).help(instead))
                }
            }
        }))
    }

    /// Whether the contracts say of which types all is that an output is made of. Else its own is a guess.
    fn is_typed(&self, beneath: &Beneath, output: &str) -> bool {
        let typed = |source: &FlowSource| {
            let (_, _, table) = beneath.tables.iter().find(|(scan, ..)| *scan == source.table)?;
            let product = self.mesh.product(table.wanted.as_ref()?.product())?;
            let column = product.contract.columns.iter().find(|column| source.path.first() == Some(&column.name))?;
            Some(matches!(column.kind, Type::Physical(_)))
        };
        let mut made = beneath.flow.outputs.iter().filter(|(name, _)| name == output);
        made.all(|(_, sources)| sources.iter().all(|source| source.via != Via::Value || typed(source) == Some(true)))
    }

    /// The product that a name in a query means, of which nothing is decided.
    pub(in crate::resolve) fn find_declared(
        &self,
        reference: &TableReference,
    ) -> Option<(ProductRef, &Product, Grants)> {
        let name = ProductRef::parse(reference.schema()?, reference.table()).ok()?;
        let product = self.mesh.product(&name)?;
        let raw =
            |column: &Column| ColumnGrant { column: column.name.clone(), access: Access::Raw, reasons: Vec::new() };
        let columns = product.contract.columns.iter().map(raw).collect();
        Some((name, product, Grants { columns, rows: Rows::All }))
    }

    /// The rows of `mesh.lineage`. It tells of all domains and waits for none: of a view, what it said last.
    pub(in crate::resolve) async fn lineage(&self) -> Vec<Row> {
        let shown = |product: &Product| self.mesh.may_discover(&self.principal, product) == Discovery::Shown;
        let mut rows = Vec::new();
        for (name, _, product) in self.discoverable() {
            let Some(Ok(beneath)) = self.declared_beneath(&name, product, true).await else { continue };
            let from = |scanned: &Scanned, column: Option<&str>, source: Option<&FlowSource>| {
                let from = scanned.2.wanted.as_ref()?.product();
                let discovered = self.mesh.product(from).is_some_and(shown);
                discovered.then(|| {
                    vec![
                        Some(name.product.domain().to_string()),
                        Some(table_part(&name)),
                        column.map(str::to_owned),
                        Some(from.product.domain().to_string()),
                        Some(table_part(from)),
                        source.map(|source| source.path.join(".")),
                        Some(source.map_or(ROWS, |source| source.via.as_str()).to_owned()),
                    ]
                })
            };
            let row = |column: Option<&str>, source: &FlowSource| {
                let scanned = beneath.tables.iter().find(|(scan, ..)| *scan == source.table)?;
                from(scanned, column, Some(source))
            };
            let reads = |scan: &TableReference| beneath.flow.sources().any(|source| source.table == *scan);
            let counted = beneath.tables.iter().filter(|(scan, ..)| !reads(scan));
            rows.extend(counted.filter_map(|scanned| from(scanned, None, None)));
            for column in &product.contract.columns {
                let sources = beneath.flow.outputs.iter().find(|(output, _)| *output == column.name);
                rows.extend(sources.into_iter().flat_map(|(_, s)| s).filter_map(|s| row(Some(&column.name), s)));
            }
            rows.extend(beneath.flow.rows.iter().filter_map(|source| row(None, source)));
        }
        rows
    }
}

fn with_major(name: &ProductRef, product: &Product) -> ProductRef {
    ProductRef { product: name.product.clone(), major: Some(product.contract.major) }
}
