//! What the mesh says of itself in SQL: `mesh.*` and `information_schema.*`, filtered to what the caller may discover.
//!
//! Every row comes from the mesh's files and the caller's own grants. Only `information_schema.columns`, `mesh.health` and
//! `mesh.products`, for the state of each, open tables, and of a catalog that can restrict its readers so does what tells of columns: those of all domains beside
//! each other. A product that cannot be opened soon has no rows in the first, and is down in the second. `mesh.queries`
//! tells of what was asked, and `mesh.quality` of what was counted; `mesh.search('words')` is a table as well.

mod queries;

use std::collections::BTreeMap;
use std::sync::Arc;

use datafusion::arrow::array::{
    ArrayRef, BooleanBuilder, Float64Builder, Int64Builder, RecordBatch, StringBuilder, TimestampMicrosecondBuilder,
    UInt32Builder,
};
use datafusion::arrow::datatypes::{DataType, Field, Schema, SchemaRef, TimeUnit};
use datafusion::common::TableReference;
use datafusion::datasource::MemTable;
use polder_catalog::contract::{Column, Data};
use polder_catalog::mesh::{Domain, Product};
use polder_catalog::name::ProductRef;
use polder_catalog::policy::{Access, Decision, Discovery, Grants, Rows};

use super::ends::{Ends, names};
use super::explanation::{Effect, leaves, places, policies};
use super::search::{self, SEARCH};
use super::{At, Relied, Resolver, Rights, Table, beside, describe, quality, table_part};
use crate::error::{Class, Error};
use crate::guard::govern_rows;

/// The schema in which the mesh describes itself.
const MESH: &str = "mesh";

/// The schema that the SQL standard asks for.
const INFORMATION: &str = "information_schema";

/// A product or system table as a listing shows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listed {
    /// `domain` (or `mesh`, `information_schema`): the SQL schema.
    pub schema: String,
    /// `product` or `product@1`: the SQL table.
    pub table: String,
    /// `BASE TABLE` for products, `SYSTEM TABLE` for what the mesh says of itself.
    pub kind: &'static str,
    /// What it is, for people.
    pub description: Option<String>,
}

/// The columns of a table, as one sees them.
#[derive(Debug, Clone)]
pub struct Columns {
    /// Their names and types.
    pub schema: SchemaRef,
    /// What they mean, where somebody says so.
    pub descriptions: Vec<(String, Option<String>)>,
}

/// A system table: its name, what it is, and its columns.
struct System {
    schema: &'static str,
    table: &'static str,
    description: &'static str,
    columns: &'static [&'static str],
}

/// Every system table. Columns are of the types that [`kind_of`] says.
const SYSTEM: [System; 10] = [
    System {
        schema: INFORMATION,
        table: "columns",
        description: "The columns that you can query.",
        columns: &[
            "table_catalog",
            "table_schema",
            "table_name",
            "column_name",
            "ordinal_position",
            "is_nullable",
            "data_type",
        ],
    },
    System {
        schema: INFORMATION,
        table: "schemata",
        description: "The domains with products that you can see.",
        columns: &["catalog_name", "schema_name"],
    },
    System {
        schema: INFORMATION,
        table: "tables",
        description: "The products that you can see.",
        columns: &["table_catalog", "table_schema", "table_name", "table_type"],
    },
    System {
        schema: MESH,
        table: "columns",
        description: "The columns of the products that you can see, and how you may read them.",
        columns: &[
            "domain",
            "product",
            "column",
            "position",
            "type",
            "access",
            "classification",
            "tags",
            "description",
            "examples",
            "required",
            "key_position",
            "uri",
        ],
    },
    System {
        schema: MESH,
        table: "grants",
        description: "What you may read: columns, fields and rows, and the policies that say so.",
        columns: &["domain", "product", "column", "effect", "mask", "policy", "place", "owner"],
    },
    System {
        schema: MESH,
        table: "health",
        description: "Whether the products that you can see can be read now, and how old they are.",
        columns: &["domain", "product", "state", "since", "reason", "changed", "age", "allowed", "quality", "rules"],
    },
    System {
        schema: MESH,
        table: "lineage",
        description: "What the columns and rows of derived products are made of, as far as you can see it.",
        columns: &["domain", "product", "column", "from_domain", "from_product", "from_column", "via"],
    },
    System {
        schema: MESH,
        table: "products",
        description: "The products that you can see, with their owners, their promises, and how they are.",
        columns: &[
            "domain",
            "product",
            "version",
            "status",
            "description",
            "purpose",
            "owner",
            "contact",
            "support",
            "sla",
            "tags",
            "uri",
            "ends",
            "licence",
            "key",
            "upstream",
            "downstream",
            "state",
        ],
    },
    System {
        schema: MESH,
        table: "quality",
        description: "What came of the rules of quality of the products that you can see, as the server checked them.",
        columns: quality::COLUMNS,
    },
    System {
        schema: MESH,
        table: "queries",
        description: "Your last statements: what they read, and how they ended. Readers of the audit see everybody's.",
        columns: queries::COLUMNS,
    },
];

/// The system columns that are places, amounts, times, numbers, or true or false; all others are text.
const PLACES: [&str; 5] = ["ordinal_position", "position", "key_position", "age", "allowed"];
const AMOUNTS: [&str; 4] = ["rows", "bytes", "duration_ms", "score"];
const TIMES: [&str; 4] = ["started", "since", "changed", "checked"];
const NUMBERS: [&str; 1] = ["measured"];
const FLAGS: [&str; 1] = ["required"];

/// One row of a system table, in the order of its columns.
pub(super) type Row = Vec<Option<String>>;

impl Resolver {
    /// What this principal may discover, the system tables included, in the order of schema and table.
    pub fn list(&self) -> Vec<Listed> {
        let products = self.discoverable().into_iter().map(|(name, _, product)| Listed {
            schema: name.product.domain().to_string(),
            table: table_part(&name),
            kind: "BASE TABLE",
            description: product.contract.description.clone(),
        });
        let system = SYSTEM.iter().map(|system| Listed {
            schema: system.schema.to_owned(),
            table: system.table.to_owned(),
            kind: "SYSTEM TABLE",
            description: Some(system.description.to_owned()),
        });
        let mut listed: Vec<Listed> = products.chain(system).collect();
        listed.sort_by(|a, b| (&a.schema, &a.table).cmp(&(&b.schema, &b.table)));
        listed
    }

    /// The system table of that name, if there is one.
    pub(super) async fn system_table(&self, reference: &TableReference, at: &At) -> Result<Option<Table>, Error> {
        let words = reference.table().strip_prefix(SEARCH).filter(|_| reference.schema() == Some(MESH));
        let system = SYSTEM.iter().find(|s| reference.schema() == Some(s.schema) && reference.table() == s.table);
        let (name, columns) = match (words, system) {
            (Some(_), _) => (format!("{MESH}.search"), search::COLUMNS),
            (None, Some(system)) => (format!("{}.{}", system.schema, system.table), system.columns),
            (None, None) => return Ok(None),
        };
        if at.text.is_some() {
            return Err(Error::new(Class::BadRequest, format!("`{name}` has no versions")));
        }
        let rows = match (words, system.map(|system| (system.schema, system.table))) {
            (Some(words), _) => self.search(words).await,
            (None, Some((INFORMATION, "columns"))) => self.information_columns().await,
            (None, Some((INFORMATION, "schemata"))) => self.schemata(),
            (None, Some((INFORMATION, "tables"))) => self.tables(),
            (None, Some((MESH, "columns"))) => self.columns().await,
            (None, Some((MESH, "grants"))) => self.grants().await,
            (None, Some((MESH, "health"))) => self.health().await,
            (None, Some((MESH, "lineage"))) => self.lineage().await,
            (None, Some((MESH, "quality"))) => self.quality().await,
            (None, Some((MESH, "queries"))) => self.queries(),
            _ => self.products().await,
        };
        let provider = virtual_table(reference.clone(), columns, &rows)
            .map_err(|error| Error::new(Class::Bug, format!("`{name}` could not be made: {error}")))?;
        Ok(Some(Table {
            name,
            version: None,
            provider,
            grants: Vec::new(),
            rows: Rows::All,
            descriptions: Vec::new(),
            wanted: None,
            snapshot: None,
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

    /// The products that may be discovered. No column of them is decided.
    pub(super) fn discoverable(&self) -> Vec<(ProductRef, &Domain, &Product)> {
        self.rely(Relied::on_listing);
        let mut found = Vec::new();
        for (name, product) in self.mesh.products() {
            let Some(domain) = self.mesh.domain(name.product.domain()) else { continue };
            match self.mesh.may_discover(&self.principal, product) {
                Discovery::Shown => found.push((name, domain, product)),
                Discovery::Hidden(None) => {}
                Discovery::Hidden(Some(reason)) => {
                    tracing::warn!(policy = %reason.policy, place = %reason.place, product = %name,
                        "a policy could not be evaluated, so the product is hidden");
                }
            }
        }
        found
    }

    /// The products that may be discovered, each with what of it is granted; nothing where that cannot be told.
    pub(super) async fn decided(&self) -> Vec<(ProductRef, &Domain, &Product, Option<Grants>)> {
        let found = self.discoverable();
        let names: Vec<ProductRef> = found.iter().map(|(name, ..)| name.clone()).collect();
        let of_domain = |name: &ProductRef| name.product.domain().clone();
        let grants = beside::each(names, of_domain, |name| async move { self.granted(&name).await }).await;
        let with =
            |((name, domain, product), grants): (_, Option<Option<Grants>>)| (name, domain, product, grants.flatten());
        found.into_iter().zip(grants).map(with).collect()
    }

    pub(super) async fn granted(&self, name: &ProductRef) -> Option<Grants> {
        let (product, domain) = (self.mesh.product(name)?, self.mesh.domain(name.product.domain())?);
        match self.mesh.decide(&self.principal, product) {
            Decision::Hidden(_) | Decision::Refused(_) => None,
            Decision::Granted(grants) => self.restricted_unopened(name, domain, product, grants).await.ok(),
        }
    }

    fn schemata(&self) -> Vec<Row> {
        let mut schemas: Vec<String> = self.list().into_iter().map(|listed| listed.schema).collect();
        schemas.dedup();
        schemas.into_iter().map(|schema| row([self.mesh.name(), &schema])).collect()
    }

    fn tables(&self) -> Vec<Row> {
        let listed = self.list();
        listed.iter().map(|l| row([self.mesh.name(), &l.schema, &l.table, l.kind])).collect()
    }

    async fn information_columns(&self) -> Vec<Row> {
        let listed = self.list();
        let columns = self.visible(listed.clone()).await;
        let opened = listed.into_iter().zip(columns);
        let mut rows = Vec::new();
        for (listed, columns) in opened {
            let Some(Columns { schema, .. }) = columns else { continue };
            for (place, field) in schema.fields().iter().enumerate() {
                let nullable = if field.is_nullable() { "YES" } else { "NO" };
                let kind = describe::kind(field.data_type());
                let place = (place + 1).to_string();
                rows.push(row([
                    self.mesh.name(),
                    &listed.schema,
                    &listed.table,
                    field.name(),
                    &place,
                    nullable,
                    &kind,
                ]));
            }
        }
        rows
    }

    /// The columns of what was listed; nothing of what cannot be opened soon.
    pub async fn visible(&self, listed: Vec<Listed>) -> Vec<Option<Columns>> {
        let columns = |listed: Listed| async move { self.columns_of(&listed).await };
        let found = beside::each(listed, |listed| listed.schema.clone(), columns).await;
        found.into_iter().map(Option::flatten).collect()
    }

    async fn columns_of(&self, listed: &Listed) -> Option<Columns> {
        if let Some(system) = SYSTEM.iter().find(|s| s.schema == listed.schema && s.table == listed.table) {
            return Some(Columns { schema: schema_of(system.columns), descriptions: Vec::new() });
        }
        let reference = TableReference::partial(listed.schema.as_str(), listed.table.as_str());
        match self.table_anew(&reference, &At::newest(None)).await {
            Ok(Table { provider, descriptions, .. }) => Some(Columns { schema: provider.schema(), descriptions }),
            Err(error) => {
                tracing::debug!(table = %reference, %error, "its columns are not listed");
                None
            }
        }
    }

    async fn products(&self) -> Vec<Row> {
        let ends = Ends::of(&self.lineage().await);
        let found = self.discoverable();
        let states = self.states_soon(&found).await;
        let rows = found.into_iter().zip(states).map(|((name, domain, product), state)| {
            let contract = &product.contract;
            let contact: Vec<&str> = domain.owner.email.iter().chain(&domain.owner.chat).map(String::as_str).collect();
            let tags: Vec<&str> = contract.tags.iter().map(String::as_str).collect();
            let here = (name.product.domain().to_string(), table_part(&name));
            vec![
                Some(here.0.clone()),
                Some(here.1.clone()),
                Some(contract.version.clone()),
                Some(contract.status.to_string()),
                contract.description.clone(),
                contract.purpose.clone(),
                Some(domain.owner.team.clone()),
                Some(contact.join(", ")),
                Some(contract.support.join(", ")),
                Some(contract.sla.join(", ")),
                Some(tags.join(", ")),
                Some(search::uri(self.mesh.name(), product, None)),
                contract.ends().map(str::to_owned),
                contract.licence.clone(),
                Some(key(product).join(", ")),
                Some(names(ends.upstream(&here))),
                Some(names(ends.downstream(&here))),
                state.map(str::to_owned),
            ]
        });
        rows.collect()
    }

    async fn columns(&self) -> Vec<Row> {
        let mut rows = Vec::new();
        for (name, _, product, grants) in self.decided().await {
            for (place, column) in product.contract.columns.iter().enumerate() {
                let granted =
                    grants.iter().flat_map(|grants| &grants.columns).find(|grant| grant.column == column.name);
                let access = granted.map(|grant| &grant.access);
                let tags: Vec<&str> = column.tags.iter().map(String::as_str).collect();
                rows.push(vec![
                    Some(name.product.domain().to_string()),
                    Some(table_part(&name)),
                    Some(column.name.clone()),
                    Some((place + 1).to_string()),
                    Some(column.kind.to_string()),
                    Some(access.unwrap_or(&Access::Denied).to_string()),
                    column.classification.clone(),
                    Some(tags.join(", ")),
                    column.description.clone(),
                    Some(examples(product, column, grants.as_ref()).join(", ")).filter(|examples| !examples.is_empty()),
                    Some(column.required.to_string()),
                    column.key.map(|place| place.to_string()),
                    Some(search::uri(self.mesh.name(), product, Some(column))),
                ]);
            }
        }
        rows
    }

    /// One row per column, or per field where those of a column differ, and one per rule on rows.
    async fn grants(&self) -> Vec<Row> {
        let mut rows = Vec::new();
        for (name, domain, _, grants) in self.decided().await {
            let Some(Grants { columns, rows: rules }) = grants else { continue };
            let paths = columns.iter().map(|grant| std::slice::from_ref(&grant.column));
            let shown = paths.flat_map(|path| leaves(&columns, path));
            let shown = shown.map(|(column, grant)| (Some(column), Effect::of(&grant.access), grant.reasons.clone()));
            let ruled = Effect::of_rows(&rules).into_iter().map(|(effect, reasons)| (None, effect, reasons));
            for (column, effect, reasons) in shown.chain(ruled) {
                rows.push(vec![
                    Some(name.product.domain().to_string()),
                    Some(table_part(&name)),
                    column,
                    Some(effect.as_str().to_owned()),
                    effect.mask(),
                    policies(&reasons),
                    places(&reasons),
                    Some(domain.owner.team.clone()),
                ]);
            }
        }
        rows
    }
}

/// Values that a contract shows of a column: for those alone who may read every row of it as it is. Of derived columns that
/// is not told by their grants.
pub(super) fn examples<'a>(product: &Product, column: &'a Column, grants: Option<&Grants>) -> &'a [String] {
    let grants = grants.filter(|_| matches!(product.contract.data, Data::Table(_)));
    let whole = grants.filter(|grants| grants.rows.are_all()).into_iter().flat_map(|grants| &grants.columns);
    let raw = whole.filter(|grant| grant.access == Access::Raw).any(|grant| grant.column == column.name);
    if raw { &column.examples } else { &[] }
}

/// The columns of a product's primary key, in its order.
pub(super) fn key(product: &Product) -> Vec<&str> {
    let mut keys: Vec<(u32, &str)> =
        product.contract.columns.iter().filter_map(|column| Some((column.key?, column.name.as_str()))).collect();
    keys.sort_unstable();
    keys.into_iter().map(|(_, name)| name).collect()
}

fn row<const N: usize>(cells: [&str; N]) -> Row {
    cells.into_iter().map(|cell| Some(cell.to_owned())).collect()
}

fn schema_of(columns: &[&str]) -> SchemaRef {
    let field = |name: &&str| Field::new(*name, kind_of(name), true);
    Arc::new(Schema::new(columns.iter().map(field).collect::<Vec<_>>()))
}

/// The type of a system column.
fn kind_of(name: &str) -> DataType {
    match name {
        name if PLACES.contains(&name) => DataType::UInt32,
        name if AMOUNTS.contains(&name) => DataType::Int64,
        name if NUMBERS.contains(&name) => DataType::Float64,
        name if FLAGS.contains(&name) => DataType::Boolean,
        name if TIMES.contains(&name) => DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into())),
        _ => DataType::Utf8,
    }
}

/// A table of rows in memory, governed like any other: all of it was cleared when the rows were made.
pub(crate) fn virtual_table(
    name: TableReference,
    columns: &[&str],
    rows: &[Row],
) -> datafusion::common::Result<Arc<dyn datafusion::catalog::TableProvider>> {
    let batch = batch(columns, rows)?;
    govern_rows(name, MemTable::try_new(batch.schema(), vec![vec![batch]])?)
}

/// Rows of text as a batch, with numbers and times where the column is of them; times are microseconds since 1970.
pub(super) fn batch(columns: &[&str], rows: &[Row]) -> datafusion::common::Result<RecordBatch> {
    let schema = schema_of(columns);
    let arrays = schema.fields().iter().enumerate().map(|(place, field)| -> ArrayRef {
        let cells = rows.iter().map(|row| row.get(place).and_then(Option::as_deref));
        match field.data_type() {
            DataType::UInt32 => {
                let mut numbers = UInt32Builder::new();
                cells.for_each(|cell| numbers.append_option(cell.and_then(|cell| cell.parse().ok())));
                Arc::new(numbers.finish())
            }
            DataType::Int64 => {
                let mut numbers = Int64Builder::new();
                cells.for_each(|cell| numbers.append_option(cell.and_then(|cell| cell.parse().ok())));
                Arc::new(numbers.finish())
            }
            DataType::Float64 => {
                let mut numbers = Float64Builder::new();
                cells.for_each(|cell| numbers.append_option(cell.and_then(|cell| cell.parse().ok())));
                Arc::new(numbers.finish())
            }
            DataType::Boolean => {
                let mut flags = BooleanBuilder::new();
                cells.for_each(|cell| flags.append_option(cell.and_then(|cell| cell.parse().ok())));
                Arc::new(flags.finish())
            }
            DataType::Timestamp(..) => {
                let mut times = TimestampMicrosecondBuilder::new().with_data_type(field.data_type().clone());
                cells.for_each(|cell| times.append_option(cell.and_then(|cell| cell.parse().ok())));
                Arc::new(times.finish())
            }
            _ => {
                let mut texts = StringBuilder::new();
                cells.for_each(|cell| texts.append_option(cell));
                Arc::new(texts.finish())
            }
        }
    });
    Ok(RecordBatch::try_new(Arc::clone(&schema), arrays.collect())?)
}
