//! A name in a query becomes a governed table: found, decided, opened, bound to its contract, cut down to its grants.
//!
//! ```text
//! storefront.customers --Mesh::product--> contract --Mesh::decide--> grants
//!                      --Lake::open--> Iceberg table --bind--> field ids --IcebergScan::pin--> scan --guard--> table
//! ```
//!
//! A derived product has a query in the place of a table, whose names are resolved in the same way: see `derived`.
//!
//! A name that ends in `$files` and the like means a table about the product's table. All names of one
//! statement see the same state of a table: it is opened once for each [`Resolver`], however often it is named.
//!
//! There is one way out of this room, [`Resolver::table`], and it hands out governed tables alone. A product that may
//! not be discovered gives the same error, byte for byte, as one that does not exist, and takes the same way to it.

pub mod age;
pub mod beside;
pub mod bind;
mod cut;
pub mod denial;
mod derived;
pub mod describe;
mod ends;
pub mod explanation;
mod health;
pub mod keys;
mod metadata;
mod outline;
mod page;
mod quality;
mod relied;
mod restricted;
mod search;
mod stamp;
pub mod system;
mod unlike;
mod version;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::SystemTime;

use datafusion::arrow::datatypes::Schema;
use datafusion::catalog::TableProvider;
use datafusion::common::TableReference;
use futures::FutureExt;
use futures::future::BoxFuture;
use polder_catalog::contract::Status;
use polder_catalog::document::nearest;
use polder_catalog::mesh::{Domain, Mesh, Product};
use polder_catalog::name::ProductRef;
use polder_catalog::policy::{Access, ColumnGrant, Decision, Grants, Rows};
use polder_catalog::principal::Principal;

use crate::error::{Class, Error};
use crate::guard::flow;
use crate::guard::mask::{self, Keys};
use crate::guard::{Shown, Source, govern};
use crate::lake::{Lake, OpenTable};
use crate::observe::{Recent, spanned, timed};
use crate::scan::IcebergScan;

use age::Age;
use cut::Cut;
use denial::Wanted;
use derived::Deriving;
use explanation::leaves;

pub use derived::{
    Beneath, Flaw, Inner, Names, Over, Plans, Rights, Said, Scanned, Unplanned, Untagged, Use, WIDEST, expanded, weight,
};
pub use health::Seen;
pub use page::{Health, Link, Page, PageColumn, Version};
pub use quality::{Counted, Held, Judged, Of, Verdict};
pub use relied::Relied;
pub use search::SEARCH;
pub use stamp::Stamp;
pub use version::{At, Which, versioned};

/// Finds the tables of one statement, for one principal.
#[derive(Debug)]
pub struct Resolver {
    /// The mesh that is served.
    pub mesh: Arc<Mesh>,
    /// Where its tables are.
    pub lake: Arc<Lake>,
    /// Who asks.
    pub principal: Principal,
    /// What the masks of this statement are keyed and salted with.
    pub keys: Keys,
    /// What is remembered of products that could not be read.
    seen: Arc<Seen>,
    /// The tables that were opened for this statement, by domain and table.
    opened: Arc<Mutex<HashMap<(String, String), OpenTable>>>,
    relied: Arc<Mutex<Relied>>,
    /// What plans the queries of derived products, and inside of which of them this is.
    deriving: Deriving,
    /// The statements that are remembered.
    recent: Arc<Recent>,
}

/// A table that a query may name.
#[derive(Debug, Clone)]
pub struct Table {
    /// Its name as the mesh writes it.
    pub name: String,
    /// Its version as the statement writes it.
    pub version: Option<String>,
    /// What DataFusion plans with.
    pub provider: Arc<dyn TableProvider>,
    /// What of it is shown how; empty for a system table.
    pub grants: Vec<ColumnGrant>,
    /// Which of its rows are shown.
    pub rows: Rows,
    /// What it says of itself, per column of the contract.
    pub descriptions: Vec<(String, Option<String>)>,
    /// The product that it is, for who wants more of it.
    pub wanted: Option<Wanted>,
    /// The snapshot that was pinned.
    pub snapshot: Option<i64>,
    /// When its data changed last. It is for nobody's eyes where something of it is kept from the principal.
    pub(crate) changed: Option<SystemTime>,
    /// What a derived product is made of.
    pub beneath: Option<Arc<Beneath>>,
    /// How old its data is, where one may know it and the contract promises something.
    pub age: Option<Age>,
    /// The types that keep columns from being read, by the columns' names.
    pub unavailable: BTreeMap<String, String>,
    /// What the user should know.
    pub notices: Vec<String>,
    /// Whether anything of it is kept from the principal, so that errors must not quote values, and nothing may be told
    /// that follows from more than is shown.
    pub restricted: bool,
    /// With whose rights it is read.
    pub rights: Rights,
    /// What a plan over it depends on, where that can be told.
    pub stamp: Option<Stamp>,
}

impl Table {
    /// The name by which its snapshot is pinned.
    pub fn pin_name(&self) -> String {
        match &self.version {
            Some(version) => format!("{} {version}", self.name),
            None => self.name.clone(),
        }
    }

    /// What to say of the masked columns among those that a query uses, which `sources` tell.
    pub fn masked_notice<'a>(&self, sources: impl Iterator<Item = &'a flow::Source>) -> Option<String> {
        if self.rights.is_kept() {
            return None;
        }
        let used: BTreeSet<String> =
            sources.flat_map(|source| leaves(&self.grants, &source.path)).map(|l| l.0).collect();
        let all = self.grants.iter().flat_map(|grant| leaves(&self.grants, std::slice::from_ref(&grant.column)));
        let masked = all.filter(|(name, grant)| matches!(grant.access, Access::Masked(_)) && used.contains(name));
        let names: Vec<String> = masked.map(|(name, _)| name).collect();
        (!names.is_empty()).then(|| format!("masked for you in `{}`: {}", self.name, names.join(", ")))
    }

    /// Whether it is a product, and not what the mesh says of itself or of one.
    pub fn is_product(&self) -> bool {
        !self.grants.is_empty()
    }

    /// The error for a query that names `column`, when that is a denied column of this table, or one that cannot be read.
    pub fn denial(&self, column: &str) -> Option<Error> {
        if self.rights.is_kept() {
            return None;
        }
        if let Some(kind) = self.unavailable.get(column) {
            return Some(bind::unavailable(&self.name, column, kind));
        }
        let grant = self.grants.iter().find(|grant| grant.column == column && grant.access == Access::Denied)?;
        Some(self.wanted.as_ref()?.column(column, grant))
    }

    /// The error for a query that names a field inside of a column which is not there, when it is a denied one.
    pub fn denied_field(&self, field: &str) -> Option<Error> {
        let mut told = self.grants.iter().filter(|_| !self.rights.is_kept());
        let (path, grant) = told.find_map(|grant| denied_inside(grant, field))?;
        Some(self.wanted.as_ref()?.column(&path, grant))
    }
}

/// The denied field of this name inside of a column, with its path.
fn denied_inside<'a>(grant: &'a ColumnGrant, field: &str) -> Option<(String, &'a ColumnGrant)> {
    let Access::Nested(fields) = &grant.access else { return None };
    let (path, found) = fields.iter().find_map(|inside| match inside.access == Access::Denied {
        true => (inside.column == field).then(|| (field.to_owned(), inside)),
        false => denied_inside(inside, field),
    })?;
    Some((format!("{}.{path}", grant.column), found))
}

impl Resolver {
    /// Finds tables for one statement of `principal`.
    pub fn new(mesh: Arc<Mesh>, lake: Arc<Lake>, seen: Arc<Seen>, principal: Principal, keys: Keys) -> Self {
        let (opened, relied, recent) = (Arc::default(), Arc::default(), Arc::default());
        Self { mesh, lake, principal, keys, seen, opened, relied, deriving: Deriving::default(), recent }
    }

    /// The same with statements that are remembered, which it may tell of.
    #[must_use]
    pub fn remembering(self, recent: Arc<Recent>) -> Self {
        Self { recent, ..self }
    }

    /// What was decided for this statement so far.
    pub fn relied(&self) -> Relied {
        self.relied.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn rely(&self, on: impl FnOnce(&mut Relied)) {
        on(&mut self.relied.lock().unwrap_or_else(PoisonError::into_inner));
    }

    /// As [`Self::table`], for what a system table tells of a product. Resolving a system table comes here again.
    fn table_anew<'a>(&'a self, reference: &'a TableReference, at: &'a At) -> BoxFuture<'a, Result<Table, Error>> {
        self.table(reference, at).boxed()
    }

    /// The governed table that `reference` means at a version.
    ///
    /// # Errors
    /// `UnknownName` for what does not exist or may not be discovered, `Denied` for what may be discovered and not
    /// read, `Drift` for a table that does not keep its contract, `Storage` when it cannot be opened.
    pub async fn table(&self, reference: &TableReference, at: &At) -> Result<Table, Error> {
        if reference.catalog().is_some_and(|catalog| catalog != self.mesh.name()) {
            return Err(self.unknown(reference));
        }
        if let Some(table) = self.system_table(reference, at).await? {
            return Ok(table);
        }
        if let Some(table) = self.metadata_table(reference, at).await? {
            return Ok(table);
        }
        let (name, domain, product, grants) = self.find(reference)?;
        if let Some(query) = product.contract.query() {
            return self.derive(&name, domain, product, query, grants, at).await;
        }
        self.open(&name, domain, product, grants, at).await
    }

    /// The table of a product, in the state in which this statement met it first.
    async fn opened(&self, domain: &Domain, product: &Product) -> Result<OpenTable, Error> {
        let table = product.contract.table().ok_or_else(|| Error::new(Class::Bug, "a derived product has no table"))?;
        let key = (domain.name.to_string(), table.to_owned());
        let known = |opened: &HashMap<_, OpenTable>| opened.get(&key).cloned();
        if let Some(open) = known(&self.opened.lock().unwrap_or_else(PoisonError::into_inner)) {
            return Ok(open);
        }
        let open = self.lake.open(domain, table).await?;
        if self.lake.may_restrict(domain) {
            self.rely(|relied| relied.on_catalog(domain, table, &open));
        }
        // Whoever else opened it meanwhile was first.
        Ok(self.opened.lock().unwrap_or_else(PoisonError::into_inner).entry(key).or_insert(open).clone())
    }

    /// The product that `reference` means and what of it is granted, without opening it.
    pub(crate) fn find(&self, reference: &TableReference) -> Result<(ProductRef, &Domain, &Product, Grants), Error> {
        let unknown = || self.unknown(reference);
        if self.is_for_checks() {
            let (name, product, grants) = self.find_declared(reference).ok_or_else(unknown)?;
            let domain = self.mesh.domain(name.product.domain()).ok_or_else(unknown)?;
            return Ok((name, domain, product, grants));
        }
        let name =
            ProductRef::parse(reference.schema().ok_or_else(unknown)?, reference.table()).map_err(|_| unknown())?;
        let product = self.mesh.product(&name).ok_or_else(unknown)?;
        let domain = self.mesh.domain(name.product.domain()).ok_or_else(unknown)?;
        let decided = timed("decide", Some(name.to_string()), || self.mesh.decide(&self.principal, product));
        match decided {
            Decision::Hidden(reason) => {
                if let Some(reason) = reason {
                    tracing::warn!(policy = %reason.policy, place = %reason.place, product = %name,
                        "a policy could not be evaluated, so the product is hidden");
                }
                Err(unknown())
            }
            Decision::Refused(reason) => Err(self.wanted(&name).failed(&reason)),
            Decision::Granted(grants) => {
                self.rely(|relied| relied.on(&self.mesh, self.owner(), product, &grants));
                Ok((name, domain, product, grants))
            }
        }
    }

    fn wanted(&self, name: &ProductRef) -> Wanted {
        Wanted::new(&self.mesh, &self.principal, name)
    }

    async fn open(
        &self,
        name: &ProductRef,
        domain: &Domain,
        product: &Product,
        grants: Grants,
        at: &At,
    ) -> Result<Table, Error> {
        granted(&self.wanted(name), &grants.columns)?;
        let noted = |error: &Error| {
            self.seen.note(product, Some(error));
        };
        let open = spanned("open", Some(name.to_string()), self.opened(domain, product)).await.inspect_err(noted)?;
        let Grants { columns: mut grants, rows } = self.restricted(name, domain, product, &open, grants)?;
        let metadata = open.table.metadata();
        let restricted = restricts(&grants, &rows);
        let untold = |error| if restricted { untold(name, error) } else { named(name, error) };
        let pin = version::choose(&name.to_string(), metadata, &at.which, !restricted)?;
        let pin = pin.map(|snapshot| snapshot.snapshot_id());
        let schema = metadata.current_schema();
        let bound = bind::bind(name, &product.contract, schema, &open.beyond);
        self.seen.note(product, bound.as_ref().err());
        let bind::Binding { columns: mut bound, unavailable } = bound.map_err(untold)?;
        if open.restrictions.is_some() {
            bound.extend(restricted::columns_beyond(schema));
        }
        let unavailable = withheld(name, &mut grants, unavailable)?;
        // An old version is as old as it was asked for.
        let current = metadata.current_snapshot();
        let asks_newest = at.text.is_none() && (pin.is_none() || pin == current.map(|snapshot| snapshot.snapshot_id()));
        let pinned = match pin {
            Some(pin) => metadata.snapshot_by_id(pin),
            None => current,
        };
        let changed = pinned.and_then(|snapshot| age::instant(snapshot.timestamp_ms()));
        let age = current.filter(|_| asks_newest).zip(product.contract.freshness());
        let age = age.and_then(|(snapshot, promised)| Age::of(snapshot.timestamp_ms(), promised));
        if asks_newest {
            self.fresh_enough(product, age.as_ref())?;
        }
        let mut cut = Cut::new(name, &bound, &grants, &rows)?;
        let mut scan = IcebergScan::pin(open.clone(), cut.columns.clone(), pin).await.map_err(untold)?;
        if deny_unfit_masks(name, &mut grants, &scan.schema(), &self.keys) {
            granted(&self.wanted(name), &grants)?;
            cut = Cut::new(name, &bound, &grants, &rows)?;
            scan = IcebergScan::pin(open.clone(), cut.columns.clone(), pin).await.map_err(untold)?;
        }
        let snapshot = scan.snapshot_id();
        let filter = cut.rows(name, &rows, &scan.schema())?;
        let restricted = restricted || restricts(&grants, &rows);
        let stamp = Stamp::of(&open, snapshot, &grants, &rows, &product.contract);
        let reference = TableReference::partial(name.product.domain().as_str(), table_part(name));
        let reference = versioned(&reference, at.text.as_deref());
        let source = Arc::clone(&scan);
        let figures = Arc::clone(&scan);
        let source =
            Source::new(scan, move |plan| source.is_read_by(plan)).telling(move |columns| figures.figures(columns));
        let shown = Shown { columns: cut.shown, rows: filter, restricted };
        let provider = govern(reference, source, shown, &self.keys).map_err(|error| {
            tracing::error!(product = %name, %error, "a governed table could not be made");
            Error::new(Class::Bug, format!("the masks of `{name}` could not be put in place, so it is not served"))
        })?;

        let mut notices = notices(name, product, &rows);
        notices.extend(age.filter(|age| restricted && age.is_stale()).map(|_| age::outdated(&name.to_string())));
        let descriptions = descriptions(product);
        Ok(Table {
            name: name.to_string(),
            version: at.text.clone(),
            provider,
            grants,
            rows,
            descriptions,
            wanted: Some(self.wanted(name)),
            snapshot,
            changed,
            beneath: None,
            age: age.filter(|_| !restricted),
            unavailable,
            notices,
            restricted,
            rights: Rights::default(),
            stamp,
        })
    }

    /// The error for a name that means nothing to this principal. It suggests only names that this principal may see.
    pub(crate) fn unknown(&self, reference: &TableReference) -> Error {
        let known: Vec<String> =
            self.list().into_iter().map(|listed| format!("{}.{}", listed.schema, listed.table)).collect();
        let error = Error::new(Class::UnknownName, format!("there is no product `{reference}`"));
        let bare = reference.schema().is_none();
        let named = match reference.schema() {
            Some(schema) => format!("{schema}.{}", reference.table()),
            None => reference.table().to_owned(),
        };
        let same_table = known.iter().find(|name| bare && name.split('.').nth(1) == Some(reference.table()));
        match same_table.cloned().or_else(|| nearest(&named, known.iter().map(String::as_str)).map(str::to_owned)) {
            Some(near) => error.help(format!("did you mean `{near}`?")),
            None => error.help("SHOW TABLES lists what you can query"),
        }
    }
}

/// What a reader of a product should know.
fn notices(name: &ProductRef, product: &Product, rows: &Rows) -> Vec<String> {
    let mut notices = Vec::new();
    if product.contract.status == Status::Deprecated {
        let until = product.contract.ends().map(|end| format!(" and ends on {end}")).unwrap_or_default();
        notices.push(format!("`{name}` is deprecated{until}"));
    }
    if !rows.are_all() {
        notices.push(format!("rows of `{name}` are kept from you by its row rules"));
    }
    notices
}

/// What a product says of its columns.
fn descriptions(product: &Product) -> Vec<(String, Option<String>)> {
    product.contract.columns.iter().map(|column| (column.name.clone(), column.description.clone())).collect()
}

/// Opens every product of a domain. A catalog that cannot be reached is told once, and not again for each product.
pub async fn survey(lake: &Lake, domain: &Domain) -> Vec<Error> {
    let mut found = Vec::new();
    for product in domain.products.values().flatten() {
        let name = ProductRef { product: product.name.clone(), major: Some(product.contract.major) };
        // A derived product is opened where what it is made of is.
        let Some(table) = product.contract.table() else { continue };
        let bound = match lake.open(domain, table).await {
            Ok(open) => {
                let schema = open.table.metadata().current_schema();
                bind::bind(&name, &product.contract, schema, &open.beyond).map(drop)
            }
            Err(error) if error.class == Class::Storage => {
                found.push(error);
                return found;
            }
            Err(error) => Err(error),
        };
        found.extend(bound.err());
    }
    found
}

/// The SQL table that a product is: `product` or `product@1`.
pub(crate) fn table_part(name: &ProductRef) -> String {
    match name.major {
        None => name.product.name().to_owned(),
        Some(major) => format!("{}@{major}", name.product.name()),
    }
}

/// Whether nothing of a product is kept from its reader.
fn unrestricted(grants: &[ColumnGrant]) -> bool {
    !grants.is_empty() && grants.iter().all(|grant| grant.access == Access::Raw)
}

/// Whether anything of a product is kept from its reader.
fn restricts(grants: &[ColumnGrant], rows: &Rows) -> bool {
    !unrestricted(grants) || !rows.are_all()
}

/// Makes sure that something is granted.
fn granted(wanted: &Wanted, grants: &[ColumnGrant]) -> Result<(), Error> {
    match grants.iter().any(|grant| grant.access != Access::Denied) {
        true => Ok(()),
        false => Err(wanted.everything(grants)),
    }
}

/// Takes the columns that cannot be read out of what is shown. Of a column that is denied anyway nothing is told.
fn withheld(
    name: &ProductRef,
    grants: &mut [ColumnGrant],
    mut unavailable: BTreeMap<String, String>,
) -> Result<BTreeMap<String, String>, Error> {
    unavailable.retain(|column, _| {
        let grant = grants.iter_mut().find(|grant| grant.column == *column && grant.access != Access::Denied);
        grant.map(|grant| grant.access = Access::Denied).is_some()
    });
    match unavailable.first_key_value() {
        Some((column, kind)) if grants.iter().all(|grant| grant.access == Access::Denied) => {
            Err(bind::unavailable(&name.to_string(), column, kind))
        }
        _ => Ok(unavailable),
    }
}

/// Denies the columns whose mask is not defined for the type that the table turned out to have, or has no key, and says
/// whether there were any.
fn deny_unfit_masks(name: &ProductRef, grants: &mut [ColumnGrant], schema: &Schema, keys: &Keys) -> bool {
    let mut any = false;
    for grant in grants {
        let Some(shown) = mask::Shown::of(&grant.access) else { continue };
        let Ok(field) = schema.field_with_name(&grant.column) else { continue };
        if let Err(why) = mask::fits(&shown, field.data_type(), keys) {
            tracing::warn!(product = %name, column = %grant.column, %why, "a mask does not fit its column, which is denied");
            grant.access = Access::Denied;
            any = true;
        }
    }
    any
}

/// An error of a store with the product that it keeps from being read: of a table's files alone nobody knows whose they are.
fn named(name: &ProductRef, error: Error) -> Error {
    match error.class {
        Class::Storage => Error { message: format!("`{name}` cannot be read: {}", error.message), ..error },
        _ => error,
    }
}

/// What a reader from whom something is kept may know of a table that is in drift or cannot be read: the whole of it could
/// name files, columns and their types.
fn untold(name: &ProductRef, error: Error) -> Error {
    match error.class {
        Class::Storage => Error::new(error.class, format!("the table of `{name}` cannot be read")),
        Class::Drift => Error::new(error.class, format!("the table of `{name}` does not keep its contract"))
            .help("its owner can see what is wrong with it"),
        _ => error,
    }
}
