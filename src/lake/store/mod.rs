//! What a domain declares of its stores, and what its catalog lends, become an object store.
//!
//! ```text
//! Directory           -> files of this machine, no options
//! S3 | Azure | Google -> declared credentials, or those of the environment if the domain says so, or lent ones, or none
//! Web                 -> read only, by HTTP
//! ```
//!
//! Nothing is read from the process's environment unless `credentials: environment` says so; what is declared goes to no
//! server that a catalog names. All of a domain's stores send their requests through its one [`Connections`].

mod azure;
mod connections;
mod environment;
mod google;
mod s3;
mod web;

use std::path::Path;
use std::sync::Arc;

use object_store::local::LocalFileSystem;
use object_store::{ClientOptions, ObjectStore};
use polder_catalog::mesh::{Setting, Storage};

use super::error::LakeError;
use super::root::{Bucket, Root};
use super::vended::{Lease, Lent};
pub(super) use connections::{Connections, Limits};
pub(super) use environment::{Variables, names as identifying_variables};
pub(super) use s3::keys;

/// What stores are opened with.
pub(super) struct Opening<'o> {
    pub(super) domain: &'o str,
    pub(super) storage: &'o Storage,
    pub(super) connections: &'o Arc<Connections>,
    /// The variables of the process, which are looked at only where the domain says so.
    pub(super) variables: Variables<'o>,
}

/// What a catalog lends now, and what renews it.
pub(super) type Lending<'l> = (&'l Lease, &'l Arc<Lent>);

impl Opening<'_> {
    /// Opens the store below `root`, with what a catalog lends where the domain declares no credentials of its own.
    pub(super) fn open(&self, root: &Root, loan: Option<Lending<'_>>) -> Result<Arc<dyn ObjectStore>, LakeError> {
        match root {
            Root::Directory(path) => self.directory(path),
            Root::Web(url) => web::open(self, url),
            Root::Bucket(bucket) | Root::Within(bucket, _) => {
                let kind = bucket.kind();
                // What is declared goes to no server that the catalog names.
                let loan = loan.filter(|(lease, _)| !self.storage.logs_in(kind) && lease.is_for(kind));
                match bucket {
                    Bucket::S3(name) => s3::open(self, name, loan),
                    Bucket::Google(name) => google::open(self, name, loan),
                    Bucket::Azure { container, host } => azure::open(self, container, host.as_deref(), loan),
                }
            }
        }
    }

    fn directory(&self, path: &str) -> Result<Arc<dyn ObjectStore>, LakeError> {
        if self.storage.iter().next().is_some() {
            return Err(self.bad("its place is a directory, which takes no `storage` options"));
        }
        if !Path::new(path).is_dir() {
            return Err(self.bad("its directory does not exist"));
        }
        Ok(Arc::new(LocalFileSystem::new_with_prefix(path).map_err(|source| self.failed(source))?))
    }

    /// What is said of a client apart from its limits, which are those of [`Connections`].
    fn client(&self) -> ClientOptions {
        ClientOptions::new().with_allow_http(self.storage.is(Setting::AllowHttp))
    }

    fn bad(&self, what: &'static str) -> LakeError {
        LakeError::BadStore { domain: self.domain.to_owned(), what }
    }

    fn failed(&self, source: object_store::Error) -> LakeError {
        LakeError::Store { domain: self.domain.to_owned(), source: Box::new(source) }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "tests")]
mod tests;
