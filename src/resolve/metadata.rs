//! Tables about a product's table: `domain."product$files"` and the like.
//!
//! They tell of every row and column at once, so they are for those who may read the product without restriction: each
//! column raw and no row rule. To others that may discover it they are denied, and where the product is hidden they are as absent as
//! the product. No listing shows them.

use std::collections::BTreeMap;

use super::{At, Resolver, Rights, Table, bind, derived, restricts, version, versioned};
use crate::error::{Class, Error};
use crate::guard::govern_rows;
use crate::scan::tables::About;
use datafusion::common::TableReference;
use datafusion::datasource::MemTable;
use polder_catalog::policy::{Grants, Rows};

impl Resolver {
    /// The metadata table of that name, if a name can mean one.
    pub(super) async fn metadata_table(&self, reference: &TableReference, at: &At) -> Result<Option<Table>, Error> {
        let Some((product, about)) = reference.table().rsplit_once('$') else { return Ok(None) };
        let Some(about) = About::named(about) else { return Ok(None) };
        let schema = reference.schema().ok_or_else(|| self.unknown(reference))?;
        let found = self.find(&TableReference::partial(schema, product));
        let (name, domain, product, grants) = found.map_err(|error| match error.class {
            // Under the name that was asked for, as for a product that never was.
            Class::UnknownName => self.unknown(reference),
            _ => error,
        })?;
        let denied = |grants: &Grants| match restricts(&grants.columns, &grants.rows) {
            true => Err(self.wanted(&name).about(about, grants)),
            false => Ok(()),
        };
        denied(&grants)?;
        if product.contract.query().is_some() {
            return Err(derived::no_table(&name));
        }
        let shown = format!("{name}${about}");
        if at.text.is_some() && !about.of_one_snapshot() {
            return Err(Error::new(Class::BadRequest, format!("`{shown}` tells of all versions and has none itself")));
        }
        let open = self.opened(domain, product).await?;
        denied(&self.restricted(&name, domain, product, &open, grants)?)?;
        let schema = open.table.metadata().current_schema();
        let bind::Binding { columns, .. } = bind::bind(&name, &product.contract, schema, &open.beyond)?;
        let which = if about.of_one_snapshot() { &at.which } else { &version::Which::Newest };
        let snapshot = version::choose(&name.to_string(), open.table.metadata(), which, true)?;
        let (schema, batches) = about.read(&open, &columns, snapshot.as_ref()).await?;
        let provider = MemTable::try_new(schema, vec![batches])
            .and_then(|table| govern_rows(versioned(reference, at.text.as_deref()), table))
            .map_err(|error| Error::new(Class::Bug, format!("`{shown}` could not be made: {error}")))?;
        Ok(Some(Table {
            name: shown,
            version: at.text.clone(),
            provider,
            grants: Vec::new(),
            rows: Rows::All,
            descriptions: Vec::new(),
            wanted: Some(self.wanted(&name)),
            snapshot: snapshot.filter(|_| about.of_one_snapshot()).map(|snapshot| snapshot.snapshot_id()),
            changed: None,
            age: None,
            beneath: None,
            unavailable: BTreeMap::new(),
            notices: Vec::new(),
            restricted: false,
            rights: Rights::default(),
            stamp: None,
        }))
    }
}
