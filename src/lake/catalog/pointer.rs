//! Catalogs of Hive's kind, which have tables of many formats: what they say of one becomes the place of its metadata.
//!
//! ```text
//! parameters: { table_type: ICEBERG, metadata_location: s3://… }   -> Found
//! kind: VIRTUAL_VIEW                                               -> a view
//! another name than was asked for                                  -> nothing
//! anything else                                                    -> refused by its name
//! ```
//!
//! They take a name in any case for the same table. Here only the one that they write themselves is one: a table has one
//! name, so that two contracts for it are seen to be for one table.

use iceberg::TableIdent;

use super::Found;
use super::http::garbled;
use crate::lake::error::LakeError;

/// What such a catalog says of something.
#[derive(Debug, Default)]
pub(super) struct Entry {
    pub(super) database: Option<String>,
    pub(super) name: Option<String>,
    pub(super) kind: Option<String>,
    /// The parameter `table_type`.
    pub(super) format: Option<String>,
    /// The parameter `metadata_location`.
    pub(super) location: Option<String>,
}

/// The parameters that say where a table is.
pub(super) const FORMAT: &str = "table_type";
pub(super) const LOCATION: &str = "metadata_location";

/// The database of a table; such catalogs have no namespaces in others.
pub(super) fn database(table: &TableIdent) -> Option<&str> {
    match &**table.namespace() {
        [database] => Some(database),
        _ => None,
    }
}

impl Entry {
    /// The table that `asked` means.
    pub(super) fn found(self, domain: &str, asked: &TableIdent) -> Result<Option<Found>, LakeError> {
        let (Some(own_database), Some(name)) = (&self.database, &self.name) else {
            return Err(garbled(domain, "the table has no name"));
        };
        if database(asked) != Some(own_database) || asked.name() != name {
            return Ok(None);
        }
        let named = || (domain.to_owned(), asked.to_string());
        if matches!(self.kind.as_deref(), Some("VIRTUAL_VIEW" | "MATERIALIZED_VIEW")) {
            let (domain, table) = named();
            return Err(LakeError::View { domain, table });
        }
        if !self.format.is_some_and(|format| format.eq_ignore_ascii_case("iceberg")) {
            let (domain, table) = named();
            return Err(LakeError::Unfit { domain, table, what: "it is no Iceberg table" });
        }
        let location = self.location.filter(|location| !location.is_empty());
        location
            .map(|location| Some(Found::at(location)))
            .ok_or_else(|| garbled(domain, "the table was never committed"))
    }
}
