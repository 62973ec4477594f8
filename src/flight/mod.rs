//! The wire: Flight SQL's service and client. The only room that knows gRPC and Arrow Flight.
//!
//! ```text
//! tls -> connection -> listen -> service -> credentials -> Principal
//!                                        -> command     -> statement: ticket <-> session::Engine -> encode
//!                                                       -> metadata:  metadata, info          -> encode
//! ```
//!
//! The service keeps nothing between two calls but plans that it could make again. A ticket or a prepared statement is a
//! sealed text that holds the statement, its snapshots and its principal; whichever process has the mesh's key can answer
//! it.

pub mod client;
mod command;
mod connection;
pub mod counters;
mod credentials;
pub mod encode;
mod info;
pub mod listen;
mod metadata;
mod planned;
mod service;
mod status;
mod ticket;
pub mod tls;

pub use credentials::{Caller, caller_by_headers};
pub use service::Service;
pub(crate) use service::until;
