//! A product as its contract declares it: a table to plan with and never to read.
//!
//! An explanation says of denied columns that they are denied, so it must be able to name them. It is therefore planned
//! over outlines, which have every column of the contract and no rows. What columns a product that may be discovered
//! has, and of which types, is no secret: `mesh.columns` lists them.

use std::collections::BTreeMap;
use std::sync::Arc;

use async_trait::async_trait;
use datafusion::arrow::datatypes::{DataType, Field, Fields, Schema, SchemaRef, TimeUnit};
use datafusion::catalog::{Session, TableProvider};
use datafusion::common::{Result as DfResult, TableReference, internal_err};
use datafusion::logical_expr::{Expr, TableType};
use datafusion::physical_plan::ExecutionPlan;
use polder_catalog::contract::{Column, LogicalType, PhysicalType, Type};
use polder_catalog::mesh::{Domain, Product};
use polder_catalog::name::ProductRef;
use polder_catalog::policy::Grants;

use super::{At, Resolver, Rights, Table, restricts};
use crate::error::{Class, Error};

/// The columns of a contract.
#[derive(Debug)]
struct Outline(SchemaRef);

#[async_trait]
impl TableProvider for Outline {
    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.0)
    }

    fn table_type(&self) -> TableType {
        TableType::Base
    }

    async fn scan(
        &self,
        _state: &dyn Session,
        _projection: Option<&Vec<usize>>,
        _filters: &[Expr],
        _limit: Option<usize>,
    ) -> DfResult<Arc<dyn ExecutionPlan>> {
        internal_err!("an outline has no rows to read")
    }
}

impl Resolver {
    /// The outline of the product that `reference` means, which is not opened but for the restrictions of its catalog;
    /// other tables as they are.
    ///
    /// # Errors
    /// As for a query that names it, except that a product may be explained of which nothing may be read.
    pub async fn outline(&self, reference: &TableReference, at: &At) -> Result<Table, Error> {
        if reference.catalog().is_some_and(|catalog| catalog != self.mesh.name()) {
            return Err(self.unknown(reference));
        }
        if self.is_declared() {
            return self.declared_outline(reference, at).await;
        }
        let (name, domain, product, grants) = match self.find(reference) {
            Ok(found) => found,
            // Its own name means no product: a system table, a metadata table, or nothing.
            Err(_) => return self.table(reference, at).await,
        };
        let grants = self.restricted_unopened(&name, domain, product, grants).await?;
        self.outline_of(&name, domain, product, grants, at).await
    }

    /// The outline of any product, of which nothing is decided.
    async fn declared_outline(&self, reference: &TableReference, at: &At) -> Result<Table, Error> {
        let unknown = || Error::new(Class::UnknownName, format!("there is no product `{reference}`"));
        let (name, product, grants) = self.find_declared(reference).ok_or_else(unknown)?;
        let domain = self.mesh.domain(name.product.domain()).ok_or_else(unknown)?;
        self.outline_of(&name, domain, product, grants, at).await
    }

    async fn outline_of(
        &self,
        name: &ProductRef,
        domain: &Domain,
        product: &Product,
        grants: Grants,
        at: &At,
    ) -> Result<Table, Error> {
        let fields: Vec<Field> = product.contract.columns.iter().map(field).collect();
        let beneath = match product.contract.query() {
            Some(query) => Some(self.outlined_beneath(name, domain, product, query).await?),
            None => None,
        };
        let restricted =
            restricts(&grants.columns, &grants.rows) || beneath.as_ref().is_some_and(|beneath| beneath.is_restricted());
        Ok(Table {
            name: name.to_string(),
            version: at.text.clone(),
            provider: Arc::new(Outline(Arc::new(Schema::new(fields)))),
            grants: grants.columns,
            rows: grants.rows,
            descriptions: Vec::new(),
            wanted: Some(self.wanted(name)),
            snapshot: None,
            changed: None,
            age: None,
            beneath,
            unavailable: BTreeMap::new(),
            notices: Vec::new(),
            restricted,
            rights: match product.contract.query() {
                Some(query) if self.is_by_owner(query) => Rights::Owner,
                _ => Rights::Asking,
            },
            stamp: None,
        })
    }
}

fn field(column: &Column) -> Field {
    Field::new(&column.name, kind(column), true)
}

fn inside(column: &Column) -> Fields {
    column.fields.iter().map(field).collect()
}

/// What a list holds: structs where the contract declares fields, and else it does not say; most hold texts.
fn element(column: &Column) -> DataType {
    if column.fields.is_empty() { DataType::Utf8 } else { DataType::Struct(inside(column)) }
}

/// The type that a column has, or the widest one where the contract leaves it open.
pub(super) fn kind(column: &Column) -> DataType {
    use PhysicalType as P;
    let instant = |unit, zone: Option<&str>| DataType::Timestamp(unit, zone.map(Into::into));
    let physical = match &column.kind {
        Type::Physical(physical) => physical,
        Type::Logical(logical) => match logical {
            LogicalType::String => &P::String,
            LogicalType::Date => &P::Date,
            LogicalType::Timestamp => &P::Timestamptz,
            LogicalType::Time => &P::Time,
            LogicalType::Number => &P::Double,
            LogicalType::Integer => &P::Long,
            LogicalType::Boolean => &P::Boolean,
            LogicalType::Object => &P::Struct,
            LogicalType::Array => &P::List,
        },
    };
    match physical {
        P::Boolean => DataType::Boolean,
        P::Int => DataType::Int32,
        P::Long => DataType::Int64,
        P::Float => DataType::Float32,
        P::Double => DataType::Float64,
        P::Decimal { precision, scale } => match (u8::try_from(*precision), i8::try_from(*scale)) {
            (Ok(precision), Ok(scale)) => DataType::Decimal128(precision, scale),
            _ => DataType::Float64,
        },
        P::Date => DataType::Date32,
        P::Time => DataType::Time64(TimeUnit::Microsecond),
        P::Timestamp => instant(TimeUnit::Microsecond, None),
        P::Timestamptz => instant(TimeUnit::Microsecond, Some("UTC")),
        P::TimestampNs => instant(TimeUnit::Nanosecond, None),
        P::TimestamptzNs => instant(TimeUnit::Nanosecond, Some("UTC")),
        P::String => DataType::Utf8,
        P::Uuid | P::Fixed(_) | P::Binary | P::Variant | P::Geometry | P::Geography => DataType::Binary,
        P::Unknown => DataType::Null,
        P::Struct => DataType::Struct(inside(column)),
        P::List => DataType::List(Arc::new(Field::new_list_field(element(column), true))),
        P::Map => {
            let entries = Fields::from(vec![
                Field::new("key", DataType::Utf8, false),
                Field::new("value", element(column), true),
            ]);
            DataType::Map(Arc::new(Field::new("entries", DataType::Struct(entries), false)), false)
        }
    }
}
