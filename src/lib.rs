//! Polder: a federated query engine across the domain products of a data mesh.
//!
//! A client asks one SQL question across products that different teams own. Polder resolves each `domain.product` to
//! an Apache Iceberg table in that domain's own catalog and object store, cuts it down to what the asking principal
//! may see **while planning**, and streams the answer over Arrow Flight SQL.
//!
//! # The way of a query
//!
//! ```text
//! client -> flight -> auth -> session (gate, admit) -> resolve -> catalog (Grants)
//!        -> guard (table) -> optimizer -> guard (verify) -> scan -> lake -> object store
//!        <- flight (encode) <- session (meter, cancel) <- record batches <-
//! ```
//!
//! Nothing goes back up: each room hands its result to the next one and knows only the rooms to its right.
//!
//! # The rooms
//!
//! | room | what it is for | what it never does |
//! |---|---|---|
//! | [`polder_catalog`] | the mesh as declared, and who may see what | open a table, a catalog or a socket |
//! | [`lake`] | a domain's Iceberg catalog and object store become open tables | know principals or policies |
//! | [`scrub`] | arrays without a byte of what they do not show | change a value or a type |
//! | [`scan`] | an Iceberg table becomes a native Parquet scan | know principals or policies |
//! | [`guard`] | row filters and masks in the plan, and the verifier that refuses a plan without them | know users: it sees grants and plans |
//! | [`resolve`] | a name becomes a governed table; the system schemas | hand out an ungoverned table |
//! | [`session`] | the only maker of DataFusion sessions: gate, planning, limits, the life of a query | speak a wire protocol |
//! | [`inspect`] | tables are looked at for the checks of an operator: contracts, freshness, rules of quality, what columns hold | show a value to anybody |
//! | [`auth`] | credentials become a principal; sealing of tokens and tickets | decide about data |
//! | [`flight`] | the wire: Flight SQL's service and client | plan or execute by itself |
//! | `format` | rows as text or bytes: tables, CSV, JSON, Arrow, Parquet | know where rows come from or go |
//! | `lock` | a directory that one process at a time has | know what lies in it |
//! | [`observe`] | the audit log, the last statements, lineage, traces and figures of statements | know plans, policies or protocols: it is told |
//! | [`served`] | the mesh that is served now, and who somebody is in it | load or decide anything |
//! | [`server`] | the life of the serving process; it follows the mesh's files and checks its data; SQL, products, health and metrics over HTTP | plan or execute by itself |
//! | [`packly`] | the demo mesh: its files and its data | serve anything |
//! | [`cli`] | one file per command | hold logic that a library user would need |
//!
//! # What always holds
//!
//! - Only [`session`] makes a DataFusion session, and only [`resolve`] gives it tables; `clippy.toml` and
//!   `tests/integration/rooms.rs` hold both.
//! - A column that is not granted does not exist in the schema that a query is planned against; a masked column exists
//!   only as the output of its mask, and a row that is hidden nowhere above the guard that filters it: what a query asks
//!   runs below only where it cannot fail.
//! - Which rows an expression that may fail meets follows from what is shown alone: below joins and limits that could spare
//!   it some, nothing is planned by figures of hidden rows or by what operators learn while they run ([`guard::steady`]).
//! - After optimization the verifier walks the plan, subqueries included, and refuses any scan beyond its grants. It
//!   refuses what it does not know.
//! - A derived product is planned as whoever asks, or as its owner where the mesh's standards allow it, and what is planned around
//!   it never reaches into it ([`guard::QueryExec`]).
//! - One query pins one snapshot of each table and version when it is planned.
//! - The value of a parameter stands in the plan before it is verified, as if it had been written there, and in no error.
//! - Time travel and metadata tables obey the grants of today; DataFusion's planner never meets a table version.
//! - A change of the mesh holds from the next execution on, and a running statement that it would not allow as it was
//!   planned ends before its next batch leaves.
//! - A domain whose files break while it is served stays as it was, under the mesh-wide rules of now, and holds up no other.
//! - One lake that hangs or fails fails the queries that read it, by name, and no others wait for it.
//! - With an audit log, no row leaves before it is recorded who asked for it ([`observe`]).
//! - Every error has a class ([`error::Class`]), and the class alone decides its wire code and exit code.

pub mod auth;
pub mod cli;
pub mod error;
pub mod flight;
mod format;
pub mod guard;
pub mod inspect;
pub mod lake;
mod lock;
pub mod observe;
pub mod packly;
pub mod resolve;
pub mod scan;
pub mod scrub;
pub mod served;
pub mod server;
pub mod session;
