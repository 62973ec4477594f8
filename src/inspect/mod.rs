//! The tables of a mesh, looked at for the checks of an operator: do they keep their contracts, are they fresh, do their
//! columns hold what their tags do not say?
//!
//! ```text
//! product --lake--> table --bind--> drift, keys, partitions, age      from metadata alone
//!                   table --scan--> figures, a few rows of one file   counts of NULLs, and of what detectors find
//!         --polder_catalog::live, detect--> findings
//! ```
//!
//! A table that no contract describes yet is described in the same way, for a contract to begin with.
//!
//! All domains are looked at beside each other, and one that hangs holds up none of the others. It reads past every
//! grant, so it is for who owns the machine and its credentials; nothing that comes out of here holds a value.

mod describe;
mod look;
mod sample;

use std::collections::BTreeMap;
use std::sync::Arc;

use polder_catalog::document::Finding;
use polder_catalog::live::unreachable;
use polder_catalog::mesh::Mesh;
use polder_catalog::name::{DomainName, ProductRef};
use tokio_util::task::AbortOnDropHandle;

use crate::resolve::beside;
use crate::session::Engine;
pub use describe::{Described, describe};
use look::{Looked, look};

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
    let products: Vec<ProductRef> = mesh.products().map(|(name, _)| name).collect();
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
    let mut inspection = Inspection::default();
    let mut silent: BTreeMap<(DomainName, String), usize> = BTreeMap::new();
    for (name, looked) in products.into_iter().zip(looked) {
        match looked.flatten() {
            Some(Looked::Table(findings)) => {
                inspection.looked += 1;
                inspection.findings.extend(findings);
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
    inspection
}

/// What is said of domains that did not answer, once for all of their products.
fn unanswered(mesh: &Mesh, silent: BTreeMap<(DomainName, String), usize>) -> impl Iterator<Item = Finding> {
    silent.into_iter().filter_map(|((domain, why), products)| Some(unreachable(mesh.domain(&domain)?, &why, products)))
}
