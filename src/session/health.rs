//! How the domains are, as far as is known without asking any lake; and asking those again that were not well.

use std::collections::BTreeSet;
use std::sync::Arc;

use polder_catalog::mesh::{Domain, Mesh};
use polder_catalog::name::DomainName;
use polder_catalog::policy::Discovery;
use polder_catalog::principal::Principal;

use super::Engine;
use crate::resolve::Seen;

/// How a domain is, the best first.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Standing {
    /// Nothing is known to be wrong with it.
    Ok,
    /// It is served as it was before, because its files are broken.
    Kept,
    /// Its catalog or store was not well when it was asked last; what it does, in words.
    Down(String),
    /// It is not served, because its files are broken.
    Out,
}

impl Standing {
    /// The words for it, without what it does.
    pub fn as_str(&self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Kept => "kept",
            Self::Down(_) => "down",
            Self::Out => "out",
        }
    }
}

impl Engine {
    /// What is remembered of products.
    pub fn seen(&self) -> Arc<Seen> {
        Arc::clone(&self.seen)
    }

    /// How each domain is.
    pub fn standings(&self) -> Vec<(DomainName, Standing)> {
        let mesh = self.mesh();
        let served = mesh.domains().map(|domain| (domain.name.clone(), self.standing(&mesh, domain)));
        served.chain(mesh.domains_out().map(|name| (name.clone(), Standing::Out))).collect()
    }

    fn standing(&self, mesh: &Mesh, domain: &Domain) -> Standing {
        match (self.lake.ailing(domain), mesh.kept_since(&domain.name)) {
            (Some(ailing), _) => Standing::Down(format!("its {} {}", ailing.part, ailing.what)),
            (None, Some(_)) => Standing::Kept,
            (None, None) => Standing::Ok,
        }
    }

    /// The domains of which `principal` may discover any product, and with it that there are such.
    pub fn discovered(&self, principal: &Principal) -> BTreeSet<DomainName> {
        let mesh = self.mesh();
        let mut found = BTreeSet::new();
        for (name, product) in mesh.products() {
            let domain = name.product.domain();
            if !found.contains(domain) && mesh.may_discover(principal, product) == Discovery::Shown {
                found.insert(domain.clone());
            }
        }
        found
    }

    /// Asks the lakes that were not well, so that one that is mended is known to be before somebody needs it.
    pub async fn look_again(self: &Arc<Self>) {
        let engine = Arc::clone(self);
        let looked = self.apart(async move {
            let mesh = engine.mesh();
            let ailing = mesh.domains().filter(|domain| engine.lake.ailing(domain).is_some());
            let asked = ailing.filter_map(|domain| {
                let mut tables = domain.products.values().flatten().filter_map(|product| product.contract.table());
                Some(engine.lake.look(domain, tables.next()?))
            });
            // What is wrong is remembered where it was asked.
            futures::future::join_all(asked).await;
            Ok(())
        });
        if let Err(error) = looked.await {
            tracing::debug!(%error, "the lakes that were not well could not be asked");
        }
    }
}
