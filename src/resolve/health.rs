//! `mesh.health`: whether each product can be read now, since when not, and how old it is.
//!
//! ```text
//! down    its catalog or store cannot be read         drift   its table does not keep its contract
//! kept    the files of its domain are broken, and it is served as it was before
//! stale   it changed longer ago than its contract allows, or what it is made of did and is not read for that
//! ok
//! ```
//!
//! A product that is withheld since it falls short of a standard is told to those who are in the group of its domain's team,
//! with the reason; to all others it is not there.
//!
//! The first of these that holds is told. Every product is opened for it, those of all domains beside each other, and one
//! that does not answer soon is down. Who may discover a product learns its state. Why it is so, and when it changed,
//! is told in full to those alone from whom nothing of it is kept: it could name tables, files and columns, and tell of
//! rows.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use datafusion::common::TableReference;
use polder_catalog::mesh::{Domain, Product};
use polder_catalog::name::{ProductName, ProductRef};
use polder_catalog::policy::{Decision, Grants};

use super::age::{Age, is_refused, outdated};
use super::quality::{History, Runs};
use super::system::Row;
use super::{At, Resolver, Table, beside, bind, restricts, table_part};
use crate::error::{Class, Error};

/// What is remembered of products.
#[derive(Debug, Default)]
pub struct Seen {
    /// Since when they cannot be read, as far as anybody looked.
    ailing: Mutex<HashMap<(ProductName, u32), (State, SystemTime)>>,
    /// What came of their rules of quality.
    pub(super) held: Mutex<History>,
    /// How often that was looked at.
    pub(super) runs: Runs,
}

/// How a product is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Down,
    Drift,
    Kept,
    Stale,
    Withheld,
    Ok,
}

impl State {
    fn of(error: &Error) -> Self {
        if error.class == Class::Drift { Self::Drift } else { Self::Down }
    }

    fn as_str(self) -> &'static str {
        match self {
            Self::Down => "down",
            Self::Drift => "drift",
            Self::Kept => "kept",
            Self::Stale => "stale",
            Self::Withheld => "withheld",
            Self::Ok => "ok",
        }
    }
}

impl Seen {
    /// Notes how the table of a product was found, and says since when it is so.
    pub(super) fn note(&self, product: &Product, error: Option<&Error>) -> SystemTime {
        let (key, now) = ((product.name.clone(), product.contract.major), SystemTime::now());
        let mut seen = self.ailing.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(state) = error.map(State::of) else {
            seen.remove(&key);
            return now;
        };
        let known = seen.entry(key).or_insert((state, now));
        if known.0 != state {
            *known = (state, now);
        }
        known.1
    }
}

/// What was found of a product's table.
struct Found {
    /// What keeps it from being read, if anything does.
    error: Option<Error>,
    /// When it changed.
    changed: Option<SystemTime>,
    age: Option<Age>,
    /// What to say of it where it or something that it is made of is not read, since that is stale.
    refused: Option<String>,
    /// Whether anything of it is kept from the principal.
    restricted: bool,
}

impl Found {
    /// Where nothing more is known of it.
    fn failed(error: Option<Error>, restricted: bool) -> Self {
        Self { error, changed: None, age: None, refused: None, restricted }
    }

    /// How a product is of which this was found; `kept` is whether its domain's files are broken.
    fn state(&self, kept: bool) -> State {
        match &self.error {
            Some(error) => State::of(error),
            None if kept => State::Kept,
            None if self.refused.is_some() || self.age.is_some_and(|age| age.is_stale()) => State::Stale,
            None => State::Ok,
        }
    }
}

/// How old a product is that was opened, where its contract promises something.
fn promised(product: &Product, table: &Table) -> Option<Age> {
    let (changed, promised) = table.changed.zip(product.contract.freshness())?;
    Some(Age { changed, promised })
}

impl Resolver {
    /// The rows of `mesh.health`.
    pub(super) async fn health(&self) -> Vec<Row> {
        let rows = self.states(self.discoverable()).await;
        rows.into_iter().chain(self.withheld()).collect()
    }

    /// The states of some products, as far as that is known soon.
    pub(super) async fn states_soon(&self, found: &[(ProductRef, &Domain, &Product)]) -> Vec<Option<&'static str>> {
        let of_domain = |(name, ..): &(ProductRef, &Domain, &Product)| name.product.domain().clone();
        let look = |(name, domain, _): (ProductRef, &Domain, &Product)| {
            let kept = self.mesh.kept_since(&domain.name).is_some();
            async move { Some(self.look(&name).await?.state(kept).as_str()) }
        };
        beside::each_soon(found.to_vec(), of_domain, look).await.into_iter().map(Option::flatten).collect()
    }

    /// The rows of some products.
    pub(super) async fn states(&self, found: Vec<(ProductRef, &Domain, &Product)>) -> Vec<Row> {
        let names: Vec<ProductRef> = found.iter().map(|(name, ..)| name.clone()).collect();
        let of_domain = |name: &ProductRef| name.product.domain().clone();
        let looked = beside::each(names, of_domain, |name| async move { self.look(&name).await }).await;
        let rows = found.into_iter().zip(looked);
        rows.map(|((name, domain, product), found)| self.row(&name, domain, product, found.flatten())).collect()
    }

    /// What is not served since it falls short of a standard, and why: for those alone who own it.
    fn withheld(&self) -> impl Iterator<Item = Row> {
        self.mesh.withheld().filter_map(|(name, withheld)| {
            let domain = self.mesh.domain(name.domain())?;
            if !self.principal.groups.contains(&domain.owner.team) {
                return None;
            }
            let name = ProductRef { product: name.clone(), major: Some(withheld.major) };
            let reason =
                format!("{} ({}, {})", withheld.finding.message, withheld.finding.code, withheld.finding.place);
            let state = State::Withheld.as_str().to_owned();
            let (domain, name) = (name.product.domain().to_string(), table_part(&name));
            Some(vec![Some(domain), Some(name), Some(state), None, Some(reason), None, None, None, None, None])
        })
    }

    /// Nothing for what is not there any more.
    async fn look(&self, name: &ProductRef) -> Option<Found> {
        let (product, domain) = (self.mesh.product(name)?, self.mesh.domain(name.product.domain())?);
        let grants = match self.mesh.decide(&self.principal, product) {
            Decision::Granted(grants) => Some(grants),
            Decision::Hidden(_) | Decision::Refused(_) => None,
        };
        if product.contract.query().is_some() {
            return Some(self.look_beneath(name, product).await);
        }
        Some(match self.opened(domain, product).await {
            Ok(open) => {
                let metadata = open.table.metadata();
                let bound = bind::bind(name, &product.contract, metadata.current_schema(), &open.beyond);
                let grants = grants.and_then(|grants| self.restricted(name, domain, product, &open, grants).ok());
                let restricted = grants.is_none_or(|Grants { columns, rows }| restricts(&columns, &rows));
                let snapshot = metadata.current_snapshot();
                let changed = snapshot.and_then(|snapshot| u64::try_from(snapshot.timestamp_ms()).ok());
                let changed = changed.map(Duration::from_millis);
                let promised = product.contract.freshness();
                let age = snapshot.zip(promised).and_then(|(snapshot, p)| Age::of(snapshot.timestamp_ms(), p));
                // What is remembered of a table opens it, however its lake is.
                let ailing = || Some(Error::new(Class::Storage, self.lake.ailing(domain)?.told(domain.name.as_str())));
                Found {
                    error: bound.err().or_else(ailing),
                    changed: changed.and_then(|since| UNIX_EPOCH.checked_add(since)),
                    age,
                    refused: is_refused(product, age.as_ref()).then(|| outdated(&name.to_string())),
                    restricted,
                }
            }
            Err(error) => {
                // What the catalog would restrict is not known.
                let restricted = self.lake.may_restrict(domain)
                    || grants.is_none_or(|Grants { columns, rows }| restricts(&columns, &rows));
                Found::failed(Some(error), restricted)
            }
        })
    }

    /// A derived product is as what it is made of. What one may not read of that says nothing of its health.
    async fn look_beneath(&self, name: &ProductRef, product: &Product) -> Found {
        let reference = TableReference::partial(name.product.domain().as_str(), table_part(name));
        let regardless = self.of_any_age();
        match regardless.table_anew(&reference, &At::newest(None)).await {
            Ok(table) => {
                let age = promised(product, &table);
                let reads = table.beneath.as_ref().is_some_and(|beneath| !beneath.tables.is_empty());
                let own = || (reads && is_refused(product, age.as_ref())).then(|| outdated(&name.to_string()));
                Found {
                    error: None,
                    changed: table.changed,
                    age,
                    refused: self.refused_beneath(name, &table).or_else(own),
                    restricted: table.restricted,
                }
            }
            Err(error) => {
                let ails = matches!(error.class, Class::Storage | Class::Drift);
                Found::failed(ails.then_some(error), true)
            }
        }
    }

    /// What to say of a derived product where something that it is made of is not read, since that is stale.
    fn refused_beneath(&self, name: &ProductRef, table: &Table) -> Option<String> {
        let mut sources = table.beneath.iter().flat_map(|beneath| &beneath.tables);
        sources.find_map(|(_, _, source)| {
            let product = self.mesh.product(source.wanted.as_ref()?.product())?;
            // An old version is as old as it was asked for.
            if source.version.is_some() || !is_refused(product, promised(product, source).as_ref()) {
                return None;
            }
            let why =
                if source.rights.is_kept() { "what it is made of is stale".to_owned() } else { outdated(&source.name) };
            Some(format!("`{name}` cannot be read: {why}"))
        })
    }

    fn row(&self, name: &ProductRef, domain: &Domain, product: &Product, found: Option<Found>) -> Row {
        let late = || {
            let message = format!("the lake of domain `{}` does not answer soon", domain.name);
            Found::failed(Some(Error::new(Class::Storage, message)), true)
        };
        let (found, kept) = (found.unwrap_or_else(late), self.mesh.kept_since(&domain.name));
        let state = found.state(kept.is_some());
        let Found { error, changed, age, refused, restricted } = found;
        let (changed, age) = if restricted { (None, None) } else { (changed, age) };
        let seen = self.seen.note(product, error.as_ref());
        let since = match state {
            State::Ok | State::Withheld => None,
            State::Down => Some(self.lake.ailing(domain).map_or(seen, |ailing| ailing.since)),
            State::Drift => Some(seen),
            State::Kept => kept,
            State::Stale => age.filter(Age::is_stale).and_then(|age| age.changed.checked_add(age.promised)),
        };
        let reason = match (state, error) {
            (_, Some(error)) if !restricted => Some(error.message),
            (State::Down, ..) => Some("its catalog or store cannot be read".to_owned()),
            (State::Drift, ..) => Some("its table does not keep its contract".to_owned()),
            (State::Kept, ..) => Some("the files of its domain are broken, and hold as they were before".to_owned()),
            (State::Stale, ..) => {
                let own = age.and_then(|age| age.notice(&name.to_string()));
                Some(own.or(refused).unwrap_or_else(|| outdated(&name.to_string())))
            }
            _ => None,
        };
        let (quality, rules) = self.seen.verdict(product, restricted).unzip();
        vec![
            Some(name.product.domain().to_string()),
            Some(table_part(name)),
            Some(state.as_str().to_owned()),
            since.and_then(micros),
            reason,
            changed.and_then(micros),
            changed.map(|changed| seconds(SystemTime::now().duration_since(changed).unwrap_or_default())),
            age.map(|age| seconds(age.promised)),
            quality.map(|verdict| verdict.as_str().to_owned()),
            rules.flatten(),
        ]
    }
}

/// As the system tables' times are made of.
pub(super) fn micros(time: SystemTime) -> Option<String> {
    Some(time.duration_since(UNIX_EPOCH).ok()?.as_micros().to_string())
}

fn seconds(time: Duration) -> String {
    u32::try_from(time.as_secs()).unwrap_or(u32::MAX).to_string()
}
