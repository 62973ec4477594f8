//! The tables of a mesh, looked at for the checks of an operator: do they keep their contracts, are they fresh, do their
//! columns hold what their tags do not say?
//!
//! ```text
//! product --lake--> table --bind--> drift, keys, partitions, age      from metadata alone
//!                   table --scan--> figures, a few rows of one file   counts of NULLs, and of what detectors find
//!                   table --query-> numbers                           what rules of quality count
//!         --polder_catalog::live, detect--> findings
//! ```
//!
//! A table that no contract describes yet is described in the same way, for a contract to begin with.
//!
//! All domains are looked at beside each other, and one that hangs holds up none of the others. It reads past every
//! grant, so it is for who owns the machine and its credentials; nothing that comes out of here holds a value.

mod describe;
mod look;
mod past;
mod quality;
mod sample;

use std::collections::BTreeMap;
use std::sync::Arc;

use futures::{StreamExt, stream};
use polder_catalog::document::Finding;
use polder_catalog::live::{self, Measured, unreachable};
use polder_catalog::mesh::Mesh;
use polder_catalog::name::{DomainName, ProductRef};
use tokio_util::task::AbortOnDropHandle;

use crate::resolve::beside;
use crate::session::Engine;
pub use describe::{Described, describe};
use look::{Looked, look};
pub use past::Past;
pub use quality::hold;
use quality::{AT_ONCE, measure};

/// What the tables of a mesh turned out to be.
#[derive(Debug, Default)]
pub struct Inspection {
    /// What is wrong.
    pub findings: Vec<Finding>,
    /// How many products were looked at.
    pub looked: usize,
    /// How many could not be.
    pub missed: usize,
}

/// Looks at every product that an engine serves, and at `rows` rows of each; with none, at metadata alone. After each
/// product `done` is told.
pub async fn inspect(engine: &Arc<Engine>, rows: usize, done: impl Fn() + Send + Sync + 'static) -> Inspection {
    let (mesh, done) = (engine.mesh(), Arc::new(done));
    // What is derived has no table; whether its query fits is for those who plan it.
    let of_tables = mesh.products().filter(|(_, product)| product.contract.table().is_some());
    let products: Vec<ProductRef> = of_tables.map(|(name, _)| name).collect();
    let looked = beside::each(
        products.clone(),
        |name| name.product.domain().clone(),
        |name| {
            let (engine, mesh, done) = (Arc::clone(engine), Arc::clone(&mesh), Arc::clone(&done));
            // On a thread of the runtime, so that many can be decoded at once.
            let look = AbortOnDropHandle::new(tokio::spawn(async move {
                let looked = look(&engine, &mesh, &name, rows).await;
                done();
                looked
            }));
            async move { look.await.ok().flatten() }
        },
    );
    let looked = looked.await;
    let (mut inspection, mut ruled) = (Inspection::default(), Vec::new());
    let mut silent: BTreeMap<(DomainName, String), usize> = BTreeMap::new();
    for (name, looked) in products.into_iter().zip(looked) {
        match looked.flatten() {
            Some(Looked::Table(findings, fits)) => {
                inspection.looked += 1;
                inspection.findings.extend(findings);
                ruled.extend((fits && rows > 0).then_some(name));
            }
            Some(Looked::Silent(why)) => {
                *silent.entry((name.product.domain().clone(), why)).or_default() += 1;
            }
            None => {
                let domain = name.product.domain().clone();
                let why = format!("the lake of domain `{domain}` does not answer");
                *silent.entry((domain, why)).or_default() += 1;
            }
        }
    }
    inspection.missed = silent.values().sum();
    inspection.findings.extend(unanswered(&mesh, silent));
    if rows > 0 {
        ruled.extend(mesh.products().filter(|(_, product)| product.contract.query().is_some()).map(|(name, _)| name));
    }
    let rules = stream::iter(ruled).map(|name| held(engine, &mesh, name)).buffered(AT_ONCE);
    inspection.findings.extend(rules.collect::<Vec<_>>().await.into_iter().flatten());
    inspection
}

/// What is wrong with a product by the rules of quality that its contract states.
async fn held(engine: &Engine, mesh: &Mesh, name: ProductRef) -> Vec<Finding> {
    let Some((domain, product)) = mesh.domain(name.product.domain()).zip(mesh.product(&name)) else {
        return Vec::new();
    };
    let rules = &product.contract.quality;
    if rules.is_empty() {
        return Vec::new();
    }
    let measured = match measure(engine, domain, product, None).await {
        Ok(quality) => quality.map(|quality| quality.measured).unwrap_or_default(),
        Err(error) => rules.iter().map(|_| Measured::Unknown(error.message.clone())).collect(),
    };
    let name = ProductRef { product: name.product, major: Some(product.contract.major) };
    rules.iter().zip(&measured).filter_map(|(rule, measured)| live::quality(&name, rule, measured)).collect()
}

/// What is said of domains that did not answer, once for all of their products.
fn unanswered(mesh: &Mesh, silent: BTreeMap<(DomainName, String), usize>) -> impl Iterator<Item = Finding> {
    silent.into_iter().filter_map(|((domain, why), products)| Some(unreachable(mesh.domain(&domain)?, &why, products)))
}
