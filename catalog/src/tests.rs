//! Whole meshes: what is served, what is refused with which finding, and the law of the policies.

mod broken;
mod claims;
mod codes;
mod customs;
mod detected;
pub(crate) mod dice;
mod documents;
mod entrants;
mod evaluate;
#[allow(clippy::print_stdout, reason = "its figures are what it is run for")]
mod fast;
mod fuzz;
mod law;
mod live;
mod places;
mod restriction;
mod reviewed;
mod rows;
mod served;
mod shortfalls;
mod starters;
mod vast;
mod versions;

use std::collections::BTreeMap;
use std::fs;

use crate::document::Finding;
use crate::mesh::{Mesh, Product};
use crate::name::ProductRef;
use crate::policy::{Access, ColumnGrant, Decision};
use crate::principal::Principal;

/// The files of a mesh, to be changed one by one and then loaded.
#[derive(Clone, Default)]
pub(crate) struct Files(BTreeMap<String, String>);

impl Files {
    pub fn with(mut self, name: &str, text: impl Into<String>) -> Self {
        self.0.insert(name.into(), text.into());
        self
    }

    /// Changes the one place where `from` stands in `name`.
    pub fn change(self, name: &str, from: &str, to: &str) -> Self {
        let text = self.0[name].clone();
        assert_eq!(text.matches(from).count(), 1, "`{from}` stands once in {name}");
        self.with(name, text.replace(from, to))
    }

    pub fn append(self, name: &str, more: &str) -> Self {
        let text = self.0.get(name).cloned().unwrap_or_default();
        self.with(name, text + more)
    }

    /// The texts by their paths.
    pub fn files(&self) -> &BTreeMap<String, String> {
        &self.0
    }

    /// Loads the mesh from memory.
    pub fn load(&self) -> Result<Mesh, Vec<Finding>> {
        Mesh::from_files(&self.0)
    }

    pub fn without(mut self, name: &str) -> Self {
        assert!(self.0.remove(name).is_some(), "{name} is there");
        self
    }

    /// Loads the mesh that comes after `before`.
    pub fn after(&self, before: &Mesh) -> Result<Mesh, Vec<Finding>> {
        before.next_from_files(&self.0)
    }

    /// Writes the mesh to disk and loads it from there.
    pub fn load_from_disk(&self) -> Result<Mesh, Vec<Finding>> {
        let dir = tempfile::tempdir().unwrap();
        for (name, text) in &self.0 {
            let path = dir.path().join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        Mesh::load(dir.path())
    }

    /// A small mesh in which nothing is wrong.
    pub fn valid() -> Self {
        Self::default()
            .with("mesh.yaml", MESH)
            .with("secrets/ann", "$argon2id$v=19$m=8,t=1,p=1$c2FsdHNhbHQ$aGFzaGhhc2g\n")
            .with("policies/all.cedar", POLICIES)
            .with("shop/domain.yaml", SHOP)
            .with("shop/products/customers.odcs.yaml", CUSTOMERS)
            .with("shop/policies/shop.cedar", SHOP_POLICIES)
            .with("depot/domain.yaml", DEPOT)
            .with("depot/products/parcels.odcs.yaml", PARCELS)
    }
}

const MESH: &str = r#"mesh: small
standards:
  naming: { domain: "^[a-z]+$", product: "^[a-z_]+$", column: "^[a-z_0-9]+$" }
  require: { product: [owner, purpose, freshness, support], column: [description] }
  classifications: [public, restricted]
tags:
  pii: { description: identifies a person, classification: restricted, unmasked_for: [privacy], mask: sha-256-global }
  pii.email: { detect: email }
  id.customer: { type: string, pattern: "^C[0-9]{8}$" }
groups: [analysts, privacy, shop-data]
attributes: { region: String, teams: { set: String }, level: Long, staff: Bool }
purposes: { fraud: { groups: [privacy] } }
keys: { mesh: "${env:CARGO_PKG_NAME}" }
auth:
  users:
    - { name: ann, password_hash: "${file:secrets/ann}", groups: [analysts], attributes: { region: EU } }
    - { name: pia, groups: [privacy], attributes: { teams: [a, b], level: 3, staff: true } }
    - { name: guest }
"#;

const POLICIES: &str = r#"@id("staff-discovers")
permit (principal in Group::"analysts", action == Action::"discover", resource);
@id("privacy-discovers")
permit (principal in Group::"privacy", action == Action::"discover", resource);
@id("privacy-reads")
permit (principal in Group::"privacy", action == Action::"read", resource in Tag::"pii");
"#;

const SHOP: &str = r##"name: shop
kind: source-aligned
owner: { team: shop-data, email: shop@example.org, chat: "#shop" }
description: What the shop knows.
catalog: { type: sql, uri: "sqlite:lake/shop.db?mode=ro", warehouse: "file:lake/shop" }
storage: { region: eu-1, access_key_id: "${env:CARGO_PKG_NAME}" }
"##;

const CUSTOMERS: &str = r##"apiVersion: v3.1.0
kind: DataContract
id: shop-customers
name: customers
version: 1.2.0
status: active
description: { purpose: to know who buys }
support: [{ channel: "#shop", tool: slack }]
slaProperties: [{ property: freshness, value: 1, unit: h }]
price: { priceAmount: 0 }
schema:
  - name: customers
    physicalName: people.customers
    description: One row per customer.
    properties:
      - { name: id, physicalType: string, description: the id, required: true, primaryKey: true, tags: [id.customer] }
      - { name: email, physicalType: string, description: the address, tags: [pii.email], classification: restricted }
      - { name: city, physicalName: town, logicalType: string, description: where }
      - name: score
        physicalType: "decimal(5,2)"
        description: how good
        customProperties: [{ property: polder.field_id, value: 4 }]
      - name: home
        physicalType: struct
        description: the home
        properties:
          - { name: street, physicalType: string, description: the street, tags: [pii] }
          - { name: country, physicalType: string, description: the country }
"##;

const SHOP_POLICIES: &str = r#"@id("customers-basic")
permit (principal in Group::"analysts", action == Action::"read", resource in Product::"shop.customers");
@id("customers-email")
permit (principal in Group::"analysts", action == Action::"read_masked", resource == Column::"shop.customers.email");
@id("no-score") @doc("scores stay inside")
forbid (principal, action in Action::"see", resource in Column::"shop.customers.score") unless { principal has region && principal.region == "US" };
"#;

const DEPOT: &str = r##"name: depot
kind: shared
owner: { team: depot }
catalog: { type: metadata, tables: { stock.parcels: "s3://bucket/parcels/v1.metadata.json" } }
"##;

const PARCELS: &str = r##"apiVersion: v3.0.2
kind: DataContract
id: depot-parcels
version: v2.0.0
status: active
description: { purpose: to find parcels }
support: [{ channel: "#depot" }]
slaProperties: [{ property: latency, value: 4, unit: h }]
schema:
  - name: parcels
    physicalName: stock.parcels
    properties:
      - { name: parcel, logicalType: integer, description: its number }
"##;

impl Mesh {
    pub(crate) fn find(&self, name: &str) -> &Product {
        let (schema, table) = name.split_once('.').unwrap();
        self.product(&ProductRef::parse(schema, table).unwrap()).unwrap_or_else(|| panic!("no {name}"))
    }

    pub(crate) fn ask(&self, principal: &Principal, product: &str) -> String {
        show(&self.decide(principal, self.find(product)))
    }
}

/// A decision in a line.
pub(crate) fn show(decision: &Decision) -> String {
    match decision {
        Decision::Hidden(_) => "hidden".into(),
        Decision::Refused(reason) => format!("refused by {}", reason.policy),
        Decision::Granted(grants) => grants.columns.iter().map(show_column).collect::<Vec<_>>().join(", "),
    }
}

fn show_column(grant: &ColumnGrant) -> String {
    let access = match &grant.access {
        Access::Masked(mask) => mask.to_string(),
        other => other.to_string(),
    };
    let reasons: Vec<&str> = grant.reasons.iter().map(|reason| &*reason.policy).collect();
    let reasons = if reasons.is_empty() { "nothing".into() } else { reasons.join("+") };
    format!("{} {access} by {reasons}", grant.column)
}
