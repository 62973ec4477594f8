//! The mesh as declared, and who may see what.
//!
//! Files on disk become a [`Mesh`](mesh::Mesh) of validated values, or [`Finding`](document::Finding)s that name file,
//! line and column. A [`Principal`](principal::Principal) and a [`Product`](mesh::Product) become a
//! [`Decision`](policy::Decision).
//!
//! ```text
//! mesh.yaml, domain.yaml, *.odcs.yaml, *.cedar --document--> Mesh --policy--> Decision per principal and product
//!                                     tests/*.yaml --trial--> what the decisions should have been
//!                                        two meshes --diff--> what breaks whom, and who gains or loses what
//!                      a table that was opened --live---> whether it keeps its contract
//!                      a table that was opened --starter-> a contract, and policies, to begin with
//!                                            claims --proof-> true for everybody, false for somebody, or not known
//! ```
//!
//! This crate is pure: it reads the files of a mesh and the secrets that they name, and nothing else. It never opens a
//! catalog, a table or a socket, and it never imports tokio, arrow, datafusion, iceberg or tonic, so that the rules of
//! the mesh compile and test in seconds.

pub mod codes;
pub mod contract;
pub mod detect;
pub mod diff;
mod display;
pub mod document;
pub mod live;
pub mod mesh;
pub mod name;
pub mod policy;
pub mod principal;
pub mod proof;
pub mod secret;
pub mod starter;
pub mod trial;

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "tests")]
mod tests;
