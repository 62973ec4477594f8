//! What is wrong with derived products: their queries are planned over the contracts of what they read.

use std::sync::Arc;

use polder_catalog::contract::{Column, Contract};
use polder_catalog::document::{Finding, Place, Severity};
use polder_catalog::name::ProductRef;

use crate::error::{Class, Error};
use crate::session::{Engine, Flaw};

/// Plans the queries of a mesh, if there are any. No catalog is opened for it, but for what a view says.
pub async fn flaws(engine: &Arc<Engine>, offline: bool) -> Result<Vec<Finding>, Error> {
    let flaws = engine.flaws(offline).await?;
    let mesh = engine.mesh();
    let finding = |(name, flaw): (ProductRef, Flaw)| {
        let contract = &mesh.product(&name)?.contract;
        let query = contract.query()?;
        Some(match flaw {
            Flaw::Query(error) if error.class == Class::Storage => {
                of(&name, contract, "live/unread", &query.place, error.message, error.help)
            }
            Flaw::Query(error) => of(&name, contract, "derived/query", &query.place, error.message, error.help),
            Flaw::Untagged(untagged) => {
                let column = contract.columns.iter().find(|column| column.name == untagged.column);
                let place = column.map_or(&contract.place, |Column { place, .. }| place);
                of(&name, contract, "derived/untagged", place, untagged.message(&name), Some(untagged.help()))
            }
        })
    };
    Ok(flaws.into_iter().filter_map(finding).collect())
}

fn of(
    name: &ProductRef,
    contract: &Contract,
    code: &'static str,
    place: &Place,
    message: String,
    help: Option<String>,
) -> Finding {
    Finding {
        code,
        severity: Severity::Error,
        place: place.clone(),
        domain: Some(name.product.domain().clone()),
        product: Some(ProductRef { product: name.product.clone(), major: Some(contract.major) }),
        message,
        help,
    }
}
