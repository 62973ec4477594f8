//! The wire: Flight SQL's service and client. The only room that knows gRPC and Arrow Flight.
//!
//! ```text
//! tls -> connection -> listen -> service -> credentials, sessions -> who calls, with which options
//!                                        -> command -> statements: ticket <-> session::Engine -> encode
//!                                                   -> metadata, info                        -> encode
//!                                                   -> actions: prepare, bind (values), cancel (queries), renew, options
//! ```
//!
//! What a statement or a session means travels with its client: a ticket, a prepared statement and a session's cookie are
//! sealed texts, and whichever process has the mesh's key can answer them. A process knows only what runs in it, and plans
//! that it could make again.

mod actions;
pub mod client;
mod command;
mod connection;
pub mod counters;
mod credentials;
pub mod encode;
mod info;
mod keys;
pub mod listen;
pub mod messages;
mod metadata;
mod planned;
mod queries;
mod service;
mod sessions;
mod statements;
mod status;
mod ticket;
pub mod tls;
mod values;

pub use credentials::{Caller, caller_by_headers};
pub(crate) use queries::Queries;
pub use service::Service;
pub(crate) use service::until;
