//! What a table's catalog demands of its readers, on top of what the mesh decided.
//!
//! ```text
//! Mesh::decide --> grants --opened: OpenTable::restrictions--> Grants::restricted --> what is cut, guarded and explained
//! ```
//!
//! Whoever meets a product's grants and its table meets them here first. Where only grants are asked for, as by listings
//! and explanations, the table is opened for its restrictions, but only where its catalog can have some.

use iceberg::spec::{NestedField, NestedFieldRef, PrimitiveType, Schema, Type};
use polder_catalog::contract::PhysicalType;
use polder_catalog::mesh::{Domain, Product};
use polder_catalog::name::ProductRef;
use polder_catalog::policy::Grants;
use polder_catalog::policy::restriction::{Field, undeclared};

use super::Resolver;
use crate::error::Error;
use crate::lake::OpenTable;
use crate::lake::metadata::Beyond;
use crate::scan::ScanColumn;

impl Resolver {
    /// What is left of `grants` on an open table.
    ///
    /// # Errors
    /// `Denied` where its catalog demands what cannot be enforced.
    pub(super) fn restricted(
        &self,
        name: &ProductRef,
        domain: &Domain,
        product: &Product,
        open: &OpenTable,
        grants: Grants,
    ) -> Result<Grants, Error> {
        if self.is_for_checks() {
            return Ok(grants);
        }
        let Some(restrictions) = &open.restrictions else { return Ok(grants) };
        let schema = open.table.metadata().current_schema();
        let fields: Vec<Field> = fields(schema.as_struct().fields(), &open.beyond);
        let columns = &product.contract.columns;
        grants.restricted(restrictions, &fields, columns, &domain.catalog_place).map_err(|why| {
            tracing::warn!(product = %name, %why, "the restrictions of a catalog cannot be enforced");
            self.wanted(name).unenforced(&why)
        })
    }

    /// The same of a table that is opened for it alone, if its catalog can demand anything.
    ///
    /// # Errors
    /// As for a query that names the product.
    pub(super) async fn restricted_unopened(
        &self,
        name: &ProductRef,
        domain: &Domain,
        product: &Product,
        grants: Grants,
    ) -> Result<Grants, Error> {
        if product.contract.query().is_some() || self.is_offline() || !self.lake.may_restrict(domain) {
            return Ok(grants);
        }
        let open = self.opened(domain, product).await?;
        self.restricted(name, domain, product, &open, grants)
    }
}

/// The columns of a table under the names by which a catalog's row filter reads what the contract does not declare.
pub(super) fn columns_beyond(schema: &Schema) -> impl Iterator<Item = ScanColumn> {
    let columns = schema.as_struct().fields().iter();
    columns.map(|field| ScanColumn { name: undeclared(field.id), ..whole(field) })
}

/// A field with all inside of it, by the table's own names.
fn whole(field: &NestedFieldRef) -> ScanColumn {
    fn inside(kind: &Type) -> Option<Vec<ScanColumn>> {
        match kind {
            Type::Primitive(_) => None,
            Type::Struct(fields) => Some(fields.fields().iter().map(whole).collect()),
            Type::List(list) => inside(&list.element_field.field_type),
            Type::Map(map) => inside(&map.value_field.field_type),
        }
    }
    ScanColumn { name: field.name.clone(), field_id: field.id, fields: inside(&field.field_type) }
}

fn fields<'a>(of: impl IntoIterator<Item = &'a NestedFieldRef>, beyond: &Beyond) -> Vec<Field> {
    of.into_iter().map(|field| described(field, beyond)).collect()
}

fn described(field: &NestedField, beyond: &Beyond) -> Field {
    let inside = match field.field_type.as_ref() {
        Type::Primitive(_) => Vec::new(),
        Type::Struct(inside) => fields(inside.fields(), beyond),
        Type::List(list) => fields([&list.element_field], beyond),
        Type::Map(map) => fields([&map.key_field, &map.value_field], beyond),
    };
    let kind = match (beyond.kind(field.id), field.field_type.as_ref()) {
        // It has a stand-in, and is nothing that can be compared or masked.
        (Some(_), _) => PhysicalType::Unknown,
        (None, Type::Primitive(kind)) => primitive(kind),
        (None, Type::Struct(_)) => PhysicalType::Struct,
        (None, Type::List(_)) => PhysicalType::List,
        (None, Type::Map(_)) => PhysicalType::Map,
    };
    Field { id: field.id, name: field.name.clone(), kind, required: field.required, fields: inside }
}

fn primitive(kind: &PrimitiveType) -> PhysicalType {
    use {PhysicalType as P, PrimitiveType as T};
    match kind {
        T::Boolean => P::Boolean,
        T::Int => P::Int,
        T::Long => P::Long,
        T::Float => P::Float,
        T::Double => P::Double,
        T::Decimal { precision, scale } => P::Decimal { precision: *precision, scale: *scale },
        T::Date => P::Date,
        T::Time => P::Time,
        T::Timestamp => P::Timestamp,
        T::Timestamptz => P::Timestamptz,
        T::TimestampNs => P::TimestampNs,
        T::TimestamptzNs => P::TimestamptzNs,
        T::String => P::String,
        T::Uuid => P::Uuid,
        T::Fixed(length) => P::Fixed(*length),
        T::Binary => P::Binary,
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "tests")]
mod tests;
