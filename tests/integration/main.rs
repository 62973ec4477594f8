//! The one integration binary. What each module is for:
//!
//! - `rows`: row rules, through queries, plans and metadata tables
//! - `rooms`: the import rules of the architecture, read from the sources
//! - `packly`: a Packly mesh that is made and served once for all tests, with one domain's tables in an S3 server
//! - `s3`: the S3 server, and what was asked of it
//! - `scripts`: every `tests/slt/*.slt`, run through the real Flight endpoint by the users that it names
//! - `tables`: tables of other writers, against what independent readers saw in them
//! - `requests`: what a query on a table of a thousand files asks of the object store
//! - `features`: versions, row lineage, bloom filters and hidden keys of the tables of other writers
//! - `wire`: what a Flight SQL client meets: handshake, tokens, tickets, metadata, cancellation, shutdown, TLS
//! - `forms`: the announced schema and the sent one, rich types, compression
//! - `statements`: parameters, sessions, tickets and keys, as clients send and ask for them
//! - `broken`: a fault in one file takes out what it concerns and nothing more
//! - `travel`: time travel and metadata tables, on a table with three snapshots, a branch and a tag
//! - `refusals`: every call without the right credentials, by every kind of them
//! - `reload`: the mesh's files change while it is served
//! - `groups`: resource groups: whose statements wait, and what each may take
//! - `lines`: rows as text
//! - `limits`: time and memory, and what a query does that wants more
//! - `noninterference`: two lakes that look the same to somebody give the same answers, errors and plans
//! - `explanations`: what is said of policies: explanations, what would help, purposes of sessions
//! - `canary`: what is hidden is searched for in all that leaves the server, and in its logs and metrics
//! - `harbour`: a small mesh for scripts: odd names, row rules, and a table with a past
//! - `derived`: products that are queries over others, through every way to see into them
//! - `inspected`: tables held against their contracts, what their columns hold, and starters made of them
//! - `trust`: rules of quality on a schedule, searches, pages, and what is withheld
//! - `own`: meshes of a test's own
//! - `again`: plans that are used for more than one statement
//! - `unlike`: columns that are compared and do not hold the same
//! - `audit`: who saw what: the audit log and `mesh.queries`
//! - `command`: the `polder` binary, its output and its exit codes

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "tests")]

mod again;
mod audit;
mod broken;
mod canary;
mod command;
mod derived;
mod explanations;
mod features;
mod forms;
mod groups;
mod harbour;
mod inspected;
mod limits;
mod lines;
mod noninterference;
mod own;
mod packly;
mod refusals;
mod reload;
mod requests;
mod rooms;
mod rows;
mod s3;
mod scripts;
mod statements;
mod tables;
mod travel;
mod trust;
mod unlike;
mod wire;
