//! Columns that are said to hold each other's values, and could not: a join of them finds nothing, or does not run.

use crate::contract::{Column, Reference};
use crate::document::Place;
use crate::mesh::{Domain, Product};
use crate::name::{DomainName, ProductName};

/// The foreign keys whose two ends have different types, each with the domain that says so. One that points out of the
/// mesh is left alone, and so is a type of which a contract names but the family.
pub(crate) fn across<'d>(domains: impl Iterator<Item = &'d Domain>) -> Vec<(DomainName, Place, String)> {
    let domains: Vec<&Domain> = domains.collect();
    let mut found = Vec::new();
    for domain in &domains {
        for product in domain.products.values().flatten().filter(|product| product.is_alive()) {
            for reference in &product.contract.references {
                let Some(target) = target(&domains, domain, reference) else { continue };
                for (own, other) in reference.columns.iter().zip(&reference.to) {
                    let (Some(own), Some(other)) = (column(product, own), column(target, other)) else { continue };
                    if !super::is_kind(&own.kind, &other.kind) {
                        let message = format!(
                            "`{}` is a `{}`, and `{}.{}`, to which it refers, is a `{}`",
                            own.name, own.kind, target.name, other.name, other.kind
                        );
                        found.push((domain.name.clone(), own.place.clone(), message));
                    }
                }
            }
        }
    }
    found
}

/// The newest major of the product that is meant.
fn target<'d>(domains: &[&'d Domain], own: &'d Domain, reference: &Reference) -> Option<&'d Product> {
    let domain = match &reference.domain {
        None => own,
        Some(name) => domains.iter().find(|domain| domain.name.as_str() == name)?,
    };
    let name = ProductName::new(domain.name.clone(), &reference.object).ok()?;
    domain.products.get(&name)?.iter().rfind(|product| product.is_alive())
}

fn column<'p>(product: &'p Product, name: &str) -> Option<&'p Column> {
    product.contract.columns.iter().find(|column| column.name == name)
}
