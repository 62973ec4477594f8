//! A derived product: its data is a query over other products, its contract's own or that of a view in its catalog,
//! planned with the grants of whoever asks.
//!
//! ```text
//! sales.revenue --Plans::plan--> plan over governed tables --fit--> the contract's columns --guard--> table
//!                   |  each product inside is found, decided and opened as for the one who asks
//!                   +- and may be derived itself, so deep and so often as the bounds below allow
//! ```
//!
//! Nobody sees through it what they may not see without it: rows and columns of what it reads are cut down before its
//! query meets them, and its own row rules and masks come on top. What one may not discover, or may not read, of what it
//! is made of keeps the whole of it, and the error names the derived product alone. A product that runs with the rights of
//! its owner shows more, and `owner` says what holds then.
//!
//! This room plans nothing: it asks the session's [`Plans`].

mod beneath;
mod declared;
mod fit;
mod owner;
mod tags;
mod view;
mod wrong;

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use datafusion::common::TableReference;
use datafusion::logical_expr::{Expr, LogicalPlan, LogicalPlanBuilder, cast};
use futures::future::BoxFuture;
use polder_catalog::contract::{Query, Text};
use polder_catalog::mesh::{Domain, Product};
use polder_catalog::name::{DomainName, ProductRef};
use polder_catalog::policy::{Access, ColumnGrant, Grants};

use super::age::Age;
use super::cut::Cut;
use super::{At, Resolver, Table, deny_unfit_masks, descriptions, granted, notices, restricts, table_part};
use crate::error::{Class, Error};
use crate::guard::mask::KeyedHash;
use crate::guard::{Shown, Source, Treatment, govern};
use crate::scan::ScanColumn;

pub use beneath::{Beneath, expanded, weight};
pub use declared::{Flaw, Use};
use fit::Fitted;
pub use owner::Rights;
pub use tags::Untagged;
pub use view::{Names, Said};
pub(super) use wrong::no_table;
use wrong::{bug, drift, invalid, told, too_much};

/// How deep derived products may lie in each other.
const DEEPEST: usize = 8;

/// How many queries of derived products one name of a statement may take.
const MOST: usize = 64;

/// How many tables the query of a derived product may read in all, those of derived products in it counted as often as
/// they are read: as many as a statement.
pub const WIDEST: usize = 64;

/// A table that a statement names: the name of its scans, its name in the statement, and what it is.
pub type Scanned = (TableReference, TableReference, Table);

/// What a statement is planned over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Over {
    /// Its tables, opened.
    Tables,
    /// Their contracts, with the columns that are denied.
    Outlines,
}

/// The query of a derived product, planned and not optimized.
#[derive(Debug)]
pub struct Inner {
    /// Its plan.
    pub plan: LogicalPlan,
    /// What it reads.
    pub beneath: Beneath,
}

/// Why a query of a derived product could not be planned.
#[derive(Debug)]
pub enum Unplanned {
    /// One of its tables could not be found, or not be had.
    Table(Error),
    /// It cannot be planned over them.
    Plan(Error),
}

/// Plans queries of derived products. The session does.
pub trait Plans: fmt::Debug + Send + Sync {
    /// Plans a query for the resolver's principal.
    fn plan<'a>(
        &'a self,
        resolver: &'a Resolver,
        said: Said<'a>,
        over: Over,
    ) -> BoxFuture<'a, Result<Inner, Unplanned>>;

    /// What reads the rows of a planned query of `product`.
    ///
    /// # Errors
    /// When it cannot be optimized.
    fn source(&self, product: &str, plan: LogicalPlan, beneath: Arc<Beneath>) -> Result<Source, Error>;
}

/// What plans the queries of derived products, and inside of which of them names are resolved.
#[derive(Debug, Clone, Default)]
pub(super) struct Deriving {
    plans: Option<Arc<dyn Plans>>,
    /// The snapshots of the statement.
    pins: Arc<BTreeMap<String, i64>>,
    above: Vec<ProductRef>,
    /// The domain with whose rights names are resolved, where it is not who asks.
    owner: Option<DomainName>,
    /// Whether nothing is decided: contracts alone are looked at.
    declared: bool,
    /// Whether nothing is decided since who asks looks after the data, and nothing is kept from them.
    whole: bool,
    /// Whether who asks looks after the mesh, and may know what is decided for whom.
    frank: bool,
    /// Whether no catalog is asked, not even for what a view says now.
    offline: bool,
    /// Whether what is stale is opened though its contract refuses it, since only its state is asked for.
    of_any_age: bool,
    /// How many queries were planned for the outermost of these.
    planned: Arc<AtomicUsize>,
}

impl Resolver {
    /// The same for a statement that may read derived products, on these snapshots.
    #[must_use]
    pub fn deriving(self, plans: Arc<dyn Plans>, pins: BTreeMap<String, i64>) -> Self {
        let deriving = Deriving { plans: Some(plans), pins: Arc::new(pins), ..Deriving::default() };
        Self { deriving, ..self }
    }

    /// The snapshots of the statement.
    pub(crate) fn pins(&self) -> &BTreeMap<String, i64> {
        &self.deriving.pins
    }

    /// From which number on a count tells nothing of what is counted, where the mesh says it.
    pub(crate) fn least_count(&self) -> Option<u64> {
        self.mesh.least_count()
    }

    /// The function that hashes in queries of contracts.
    pub(crate) fn keyed_hash(&self) -> KeyedHash {
        KeyedHash::new(self.keys.clone(), self.mesh.keyed_hashes())
    }

    /// What resolves the names inside of a derived product. It shares all that this statement has found.
    fn inside(&self, name: &ProductRef) -> Result<Self, Error> {
        let mut deriving = self.deriving.clone();
        if deriving.above.contains(name) {
            return Err(Error::new(Class::Drift, format!("`{}` is made of itself", name.product)));
        }
        if deriving.above.is_empty() {
            deriving.planned = Arc::default();
        }
        deriving.above.push(name.clone());
        if deriving.above.len() > DEEPEST || deriving.planned.fetch_add(1, Ordering::Relaxed) >= MOST {
            return Err(too_much(&name.product));
        }
        Ok(self.with(deriving))
    }

    fn with(&self, deriving: Deriving) -> Self {
        Self {
            mesh: Arc::clone(&self.mesh),
            lake: Arc::clone(&self.lake),
            principal: self.principal.clone(),
            keys: self.keys.clone(),
            seen: Arc::clone(&self.seen),
            opened: Arc::clone(&self.opened),
            relied: Arc::clone(&self.relied),
            recent: Arc::clone(&self.recent),
            deriving,
        }
    }

    /// The same that looks at contracts alone, and at those of all products.
    fn as_declared(&self, offline: bool) -> Self {
        self.with(Deriving { declared: true, offline, ..self.deriving.clone() })
    }

    /// The same for who looks after the data: past every grant and every restriction of a catalog.
    #[must_use]
    pub(crate) fn for_checks(&self) -> Self {
        self.with(Deriving { whole: true, ..self.deriving.clone() })
    }

    /// The same that opens what is stale too, to tell of its state and not to read it.
    pub(super) fn of_any_age(&self) -> Self {
        self.with(Deriving { of_any_age: true, ..self.deriving.clone() })
    }

    /// Whether products are opened however old they are.
    pub(super) fn takes_any_age(&self) -> bool {
        self.deriving.of_any_age
    }

    /// Whether nothing is kept from who asks.
    pub(super) fn is_for_checks(&self) -> bool {
        self.deriving.whole
    }

    /// Whether who asks may know all that is wrong.
    fn is_told_all(&self) -> bool {
        self.deriving.declared || self.deriving.whole || self.deriving.frank
    }

    /// The domain with whose rights names are resolved.
    pub(super) fn owner(&self) -> Option<&DomainName> {
        self.deriving.owner.as_ref()
    }

    /// Whether no catalog is asked.
    pub(super) fn is_offline(&self) -> bool {
        self.deriving.offline
    }

    /// Whether contracts alone are looked at.
    pub(super) fn is_declared(&self) -> bool {
        self.deriving.declared
    }

    /// The governed table of a derived product.
    pub(super) async fn derive(
        &self,
        name: &ProductRef,
        domain: &Domain,
        product: &Product,
        query: &Query,
        grants: Grants,
        at: &At,
    ) -> Result<Table, Error> {
        if at.text.is_some() {
            return Err(Error::new(
                Class::BadRequest,
                format!("`{name}` is derived from other products and has no versions"),
            )
            .help("query a version of what it is made of"));
        }
        let Grants { columns: mut grants, rows } = grants;
        whole_or_nothing(&mut grants);
        granted(&self.wanted(name), &grants)?;
        let own = restricts(&grants, &rows);
        let noted = |error: &Error| {
            if error.class == Class::Drift {
                self.seen.note(product, Some(error));
            }
        };
        let planned = self.planned(name, domain, product, query, Over::Tables).await;
        let Inner { plan, beneath } = planned.map_err(|error| told(name, error, own)).inspect_err(noted)?;
        let by_owner = self.is_by_owner(query);
        let restricted = own || beneath.is_restricted();
        let fitted = match fit::fit(&product.contract, plan.schema()) {
            Ok(fitted) => fitted,
            Err(misfit) => {
                // `SELECT *` leaves out what is denied inside.
                let denied =
                    if misfit.is_missing && !by_owner { self.denied(name, domain, product, query).await } else { None };
                let error = denied.unwrap_or_else(|| told(name, drift(name, &product.contract, &misfit), restricted));
                noted(&error);
                return Err(error);
            }
        };
        if let Some(untagged) = self.untagged(product, &beneath).first() {
            let error = if by_owner { told(name, untagged.error(name), true) } else { untagged.error(name) };
            noted(&error);
            return Err(error);
        }
        self.seen.note(product, None);
        let bound: Vec<ScanColumn> = fitted.iter().map(Fitted::as_column).collect();
        let mut cut = Cut::new(name, &bound, &grants, &rows)?;
        let mut shown = made(&plan, &fitted, &cut.columns).map_err(bug(name))?;
        if deny_unfit_masks(name, &mut grants, shown.schema().as_arrow(), &self.keys) {
            granted(&self.wanted(name), &grants)?;
            cut = Cut::new(name, &bound, &grants, &rows)?;
            shown = made(&plan, &fitted, &cut.columns).map_err(bug(name))?;
        }
        let filter = cut.rows(name, &rows, shown.schema().as_arrow())?;
        let restricted = restricted || restricts(&grants, &rows);
        let hides = filter.is_some() || cut.shown.iter().any(|column| column.treatment != Treatment::Raw);
        let filter = if by_owner { filter.or_else(|| Some(owner::every_row())) } else { filter };
        let beneath = Arc::new(beneath);
        let plans = self.plans()?;
        let source = plans.source(&name.to_string(), shown, Arc::clone(&beneath));
        let source = source.map_err(|error| if by_owner { owner::told(name, error) } else { error })?;
        if by_owner && hides && source.may_fail() {
            return Err(owner::may_fail(name));
        }
        let reference = TableReference::partial(name.product.domain().as_str(), table_part(name));
        let shown = Shown { columns: cut.shown, rows: filter, restricted };
        let provider = govern(reference, source, shown, &self.keys).map_err(bug(name))?;
        let changed = beneath.oldest();
        let age = changed.zip(product.contract.freshness()).map(|(changed, promised)| Age { changed, promised });
        // What is made of no table never changes.
        if !beneath.tables.is_empty() {
            self.fresh_enough(product, age.as_ref())?;
        }
        Ok(Table {
            name: name.to_string(),
            version: None,
            provider,
            notices: notices(name, product, &rows),
            grants,
            rows,
            descriptions: descriptions(product),
            wanted: Some(self.wanted(name)),
            snapshot: None,
            changed,
            beneath: Some(beneath),
            age: age.filter(|_| !restricted),
            stamp: None,
            unavailable: BTreeMap::new(),
            restricted,
            rights: if by_owner { Rights::Owner } else { Rights::Asking },
        })
    }

    /// What an explanation says of the inside of a derived product.
    pub(super) async fn outlined_beneath(
        &self,
        name: &ProductRef,
        domain: &Domain,
        product: &Product,
        query: &Query,
    ) -> Result<Arc<Beneath>, Error> {
        let planned = self.planned(name, domain, product, query, Over::Outlines).await;
        let restricted = !self.is_told_all();
        planned.map(|inner| Arc::new(inner.beneath)).map_err(|error| told(name, error, restricted))
    }

    fn plans(&self) -> Result<&Arc<dyn Plans>, Error> {
        self.deriving.plans.as_ref().ok_or_else(|| Error::new(Class::Bug, "derived products cannot be planned here"))
    }

    /// The planned query. Its errors are about the derived product, and name of what is in it no more than may be known.
    async fn planned(
        &self,
        name: &ProductRef,
        domain: &Domain,
        product: &Product,
        query: &Query,
        over: Over,
    ) -> Result<Inner, Error> {
        let known = ProductRef { product: name.product.clone(), major: Some(product.contract.major) };
        let by_owner = self.is_by_owner(query);
        let inside = self.inside(&known)?;
        let inside = if by_owner { inside.of_owner(name, domain)? } else { inside };
        let planned = match self.said(domain, product, query).await {
            Ok(said) => self.plans()?.plan(&inside, said, over).await,
            Err(unplanned) => Err(unplanned),
        };
        let error = match planned {
            Ok(inner) if inner.beneath.weight > WIDEST => return Err(too_much(name)),
            Ok(inner) if inner.beneath.tables.iter().any(|(_, _, table)| !table.is_product()) => {
                return Err(invalid(name, "it reads what is no product"));
            }
            Ok(Inner { plan, beneath }) if by_owner => return Ok(Inner { plan, beneath: beneath.kept(name) }),
            Ok(inner) => return Ok(inner),
            Err(unplanned) => unplanned,
        };
        if by_owner && !self.is_told_all() {
            let (Unplanned::Table(error) | Unplanned::Plan(error)) = error;
            return Err(owner::told(name, error));
        }
        Err(match error {
            Unplanned::Table(Error { class: Class::UnknownName, .. }) if !self.is_told_all() => self.hidden(name),
            Unplanned::Table(error) | Unplanned::Plan(error) => match error.class {
                Class::Denied => match over {
                    Over::Tables => self.denied(name, domain, product, query).await.unwrap_or_else(|| self.kept(name)),
                    Over::Outlines => self.kept(name),
                },
                // What a view says is in nobody's contract, so it is told to those alone who look after the mesh.
                Class::UnknownName | Class::BadRequest | Class::Limit
                    if matches!(query.text, Text::View(_)) && !self.is_told_all() =>
                {
                    tracing::warn!(product = %name, error = %error.message, "a view is not read");
                    invalid(name, "its view is none that is read here")
                        .help("`polder check` says why, and what is read")
                }
                // What is near to a name is told to owners: a reader may not know all that the query reads.
                Class::UnknownName | Class::BadRequest => {
                    Error { help: error.help.filter(|_| self.is_told_all()), ..invalid(name, &error.message) }
                }
                Class::Storage | Class::Drift => {
                    Error { message: format!("`{name}` cannot be read: {}", error.message), ..error }
                }
                _ => error,
            },
        })
    }
}

/// The columns of a cut, made of what the query makes.
fn made(plan: &LogicalPlan, fitted: &[Fitted], columns: &[ScanColumn]) -> datafusion::common::Result<LogicalPlan> {
    let schema = plan.schema();
    let exprs = columns.iter().filter_map(|column| {
        let fitted = fitted.iter().find(|fitted| fitted.id() == column.field_id)?;
        let made = Expr::from(schema.qualified_field(fitted.place));
        let kind = schema.field(fitted.place).data_type();
        let made = if *kind == fitted.kind { made } else { cast(made, fitted.kind.clone()) };
        Some(made.alias(&column.name))
    });
    LogicalPlanBuilder::from(plan.clone()).project(exprs.collect::<Vec<_>>())?.build()
}

/// A struct that is made is shown whole or not at all: no field of it can be left out.
fn whole_or_nothing(grants: &mut [ColumnGrant]) {
    fn hides(access: &Access) -> bool {
        match access {
            Access::Denied => true,
            Access::Nested(fields) => fields.iter().any(|field| hides(&field.access)),
            Access::Raw | Access::Masked(_) => false,
        }
    }
    for grant in grants.iter_mut().filter(|grant| hides(&grant.access)) {
        grant.access = Access::Denied;
    }
}
