//! One product's table: opened, and held against its contract.

use std::time::Duration;

use iceberg::spec::{Schema, TableMetadata, Transform};
use polder_catalog::contract::Contract;
use polder_catalog::document::Finding;
use polder_catalog::live::{Table, drift, held};
use polder_catalog::mesh::Mesh;
use polder_catalog::name::ProductRef;

use super::sample::sample;
use crate::error::Class;
use crate::lake::OpenTable;
use crate::resolve::age::Age;
use crate::resolve::bind::drifts;
use crate::session::Engine;

/// How long the rows of one table are waited for. What is known of it without them is told all the same.
const PATIENCE: Duration = Duration::from_secs(5);

/// What came of looking at a product.
pub(super) enum Looked {
    /// What its table says, and whether it keeps its contract as far as that can be read.
    Table(Vec<Finding>, bool),
    /// Why its lake says nothing.
    Silent(String),
}

/// Nothing for what is not served any more, and for what has no table.
pub(super) async fn look(engine: &Engine, mesh: &Mesh, name: &ProductRef, rows: usize) -> Option<Looked> {
    let (product, domain) = (mesh.product(name)?, mesh.domain(name.product.domain())?);
    let contract = &product.contract;
    let open = match engine.lake().open(domain, contract.table()?).await {
        Ok(open) => open,
        Err(error) if error.class == Class::Drift => {
            return Some(Looked::Table(vec![drift(&named(name, contract), &contract.place, &error.message)], false));
        }
        Err(error) => return Some(Looked::Silent(error.message)),
    };
    let mut table = told(name, contract, &open);
    let mut found = Vec::new();
    if rows > 0 && table.drifts.is_empty() {
        let sampled = sample(engine, mesh, name, &open, rows);
        match tokio::time::timeout(PATIENCE, sampled).await {
            Ok(Ok(sampled)) => {
                table.nulls = sampled.nulls;
                found = sampled.findings;
            }
            Ok(Err(error)) => table.unread = Some(error.message),
            Err(_) => table.unread = Some("they did not come soon".to_owned()),
        }
    }
    found.extend(held(product, &table));
    Some(Looked::Table(found, table.drifts.is_empty()))
}

/// A product with its major, as findings name it.
fn named(name: &ProductRef, contract: &Contract) -> ProductRef {
    ProductRef { product: name.product.clone(), major: Some(contract.major) }
}

/// What metadata alone tell.
fn told(name: &ProductRef, contract: &Contract, open: &OpenTable) -> Table {
    let metadata = open.table.metadata();
    let schema = metadata.current_schema();
    let promised = contract.freshness();
    let stale = promised.and_then(|promised| match metadata.current_snapshot() {
        Some(snapshot) => Age::of(snapshot.timestamp_ms(), promised)?.notice(&name.to_string()),
        None => Some(format!("`{name}` is stale: nothing was ever written to its table")),
    });
    Table {
        drifts: drifts(name, contract, schema, &open.beyond),
        keys: schema.identifier_field_ids().filter_map(|id| field(schema, id)).collect(),
        partitions: partitions(metadata, schema),
        stale,
        ..Table::default()
    }
}

/// The columns that new files are partitioned by.
pub(super) fn partitions(metadata: &TableMetadata, schema: &Schema) -> Vec<String> {
    let fields = metadata.default_partition_spec().fields();
    let mut found: Vec<String> = Vec::new();
    for column in fields.iter().filter(|f| f.transform != Transform::Void).filter_map(|f| field(schema, f.source_id)) {
        if !found.contains(&column) {
            found.push(column);
        }
    }
    found
}

fn field(schema: &Schema, id: i32) -> Option<String> {
    schema.name_by_field_id(id).map(str::to_owned)
}
