//! A product's contract: the Open Data Contract Standard, read into what the engine serves.

mod derived;
mod end;
pub(crate) mod freshness;
mod keys;
pub(crate) mod kind;
mod quality;
pub(crate) mod read;
mod reference;
mod spelling;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use crate::document::{Place, Value};

pub(crate) use freshness::duration;
pub use quality::{Bound, Check, Literal, Rule};
pub use reference::Reference;

/// Where a major version stands in its life.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Status {
    /// Announced; served only by its explicit major.
    Draft,
    /// Served.
    Active,
    /// Served, with a warning.
    Deprecated,
    /// Not served.
    Retired,
}

/// One schema object of a contract: what is served as one table.
#[derive(Debug, Clone)]
pub struct Contract {
    /// The major version.
    pub major: u32,
    /// The full version as written.
    pub version: String,
    /// Where it stands in its life.
    pub status: Status,
    /// What it is, for people.
    pub description: Option<String>,
    /// What it is for (ODCS `description.purpose`).
    pub purpose: Option<String>,
    /// Where its data is.
    pub data: Data,
    /// Whether no row is shown but by a policy (`polder.rows: closed`).
    pub closed_rows: bool,
    /// Whether nobody reads it while it is older than it promises (`polder.stale: refuse`).
    pub refuses_stale: bool,
    /// Whether results of queries over it may be kept (`polder.results: keep`).
    pub keeps_results: bool,
    /// The product's own tags.
    pub tags: BTreeSet<String>,
    /// The columns, in the order in which they are served.
    pub columns: Vec<Column>,
    /// The foreign keys that it declares.
    pub references: Vec<Reference>,
    /// Where users of the product get help: `slack: #storefront-data`, …
    pub support: Vec<String>,
    /// The service levels as written: `freshness 1 h`, …
    pub sla: Vec<String>,
    /// The rules of quality that its data is held against.
    pub quality: Vec<Rule>,
    /// Under which licence the data may be used, where it says so.
    pub licence: Option<String>,
    /// Where the schema object stands.
    pub place: Place,
    /// The document that it is an object of, with everything that is not used here.
    pub document: Arc<Value>,
}

/// Where the data of a product is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Data {
    /// In a table of the domain's catalog: `namespace.table`, namespace levels separated by dots.
    Table(String),
    /// In other products, of which a query makes it.
    Query(Query),
}

/// The query of a derived product. It is planned by the engine.
#[derive(Debug, Clone)]
pub struct Query {
    /// Where its text is had.
    pub text: Text,
    /// With whose rights it is planned.
    pub rights: Rights,
    /// Where it stands, or is named.
    pub place: Place,
}

/// With whose rights the query of a derived product is planned (`polder.rights`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Rights {
    /// Those of whoever asks.
    #[default]
    Invoker,
    /// Those of its own domain, where the mesh's standards allow it.
    Owner,
}

/// Where the text of a query is had.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Text {
    /// It stands in the contract (`polder.query`).
    Here(String),
    /// It is that of a view in the domain's catalog: `namespace.view`.
    View(String),
}

impl PartialEq for Query {
    /// Wherever they stand.
    fn eq(&self, other: &Self) -> bool {
        (&self.text, self.rights) == (&other.text, other.rights)
    }
}

impl Eq for Query {}

impl Contract {
    /// The table that it is read from, unless it is derived.
    pub fn table(&self) -> Option<&str> {
        match &self.data {
            Data::Table(table) => Some(table),
            Data::Query(_) => None,
        }
    }

    /// What it is called in the domain's catalog: its table, or its view.
    pub fn physical(&self) -> Option<&str> {
        match &self.data {
            Data::Table(name) | Data::Query(Query { text: Text::View(name), .. }) => Some(name),
            Data::Query(_) => None,
        }
    }

    /// The query that it is derived by, if it is.
    pub fn query(&self) -> Option<&Query> {
        match &self.data {
            Data::Table(_) => None,
            Data::Query(query) => Some(query),
        }
    }

    /// The longest time since the last change of the data that the contract allows, where it promises one.
    pub fn freshness(&self) -> Option<Duration> {
        freshness::promised(&self.sla)
    }

    /// Until when it is served, as it says itself (`endOfLife`, or else `endOfSupport`).
    pub fn ends(&self) -> Option<&str> {
        end::of(&self.sla).map(|(_, end)| end)
    }
}

/// Why a derived column needs none of the tags of what it is made of.
#[derive(Debug, Clone)]
pub struct Declassified {
    /// The reason, as its domain gives it.
    pub reason: String,
    /// Where that stands.
    pub place: Place,
}

/// A column of a contract.
#[derive(Debug, Clone)]
pub struct Column {
    /// The name under which it is served.
    pub name: String,
    /// The name in the table (ODCS `physicalName`), which is `name` unless the contract says otherwise.
    pub physical_name: String,
    /// The declared type.
    pub kind: Type,
    /// Whether the contract promises that it is never NULL.
    pub required: bool,
    /// Part of the primary key, at this position from 1.
    pub key: Option<u32>,
    /// What the table is partitioned by, at this position from 1.
    pub partition: Option<u32>,
    /// What it is, for people.
    pub description: Option<String>,
    /// Its classification in the mesh's standards.
    pub classification: Option<String>,
    /// Its tags.
    pub tags: BTreeSet<String>,
    /// The fields of a struct (of a list's element, of a map's value), each a column of its own in policies.
    pub fields: Vec<Column>,
    /// The Iceberg field id that the contract pins (`polder.field_id`).
    pub field_id: Option<i32>,
    /// The regular expression that its values match (`logicalTypeOptions.pattern`).
    pub pattern: Option<String>,
    /// Values as its domain would show them to whoever may read it (`examples`), each as it is written.
    pub examples: Vec<String>,
    /// Why a derived column needs none of the tags of what it is made of (`polder.declassified`).
    pub declassified: Option<Declassified>,
    /// Where it stands.
    pub place: Place,
}

/// What a contract says of a column's type.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Type {
    /// `physicalType`: exactly this Iceberg type, however it is spelt.
    Physical(PhysicalType),
    /// Only `logicalType`: any Iceberg type of this family.
    Logical(LogicalType),
}

/// An Iceberg type, as its specification writes it.
#[derive(Debug, Clone, PartialEq, Eq)]
#[allow(missing_docs, reason = "the names are Iceberg's own")]
pub enum PhysicalType {
    Boolean,
    Int,
    Long,
    Float,
    Double,
    Decimal {
        precision: u32,
        scale: u32,
    },
    Date,
    Time,
    Timestamp,
    Timestamptz,
    TimestampNs,
    TimestamptzNs,
    String,
    Uuid,
    Fixed(u64),
    Binary,
    /// A struct; its fields are the column's `fields`.
    Struct,
    /// A list; its element is described by the column's `fields` where that is a struct.
    List,
    /// A map.
    Map,
    Unknown,
    Variant,
    Geometry,
    Geography,
}

/// A family of types, as ODCS names them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs, reason = "the names are the standard's own")]
pub enum LogicalType {
    String,
    Date,
    Timestamp,
    Time,
    Number,
    Integer,
    Boolean,
    Object,
    Array,
}
