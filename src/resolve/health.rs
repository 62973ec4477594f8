//! `mesh.health`: whether each product can be read now, since when not, and how old it is.
//!
//! ```text
//! down    its catalog or store cannot be read         drift   its table does not keep its contract
//! kept    the files of its domain are broken, and it is served as it was before
//! stale   it changed longer ago than its contract allows              ok
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

use super::age::{Age, outdated};
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
    /// Whether anything of it is kept from the principal.
    restricted: bool,
}

impl Resolver {
    /// The rows of `mesh.health`.
    pub(super) async fn health(&self) -> Vec<Row> {
        let found = self.discoverable();
        let names: Vec<ProductRef> = found.iter().map(|(name, ..)| name.clone()).collect();
        let of_domain = |name: &ProductRef| name.product.domain().clone();
        let looked = beside::each(names, of_domain, |name| async move { self.look(&name).await }).await;
        let rows = found.into_iter().zip(looked);
        let rows = rows.map(|((name, domain, product), found)| self.row(&name, domain, product, found.flatten()));
        rows.chain(self.withheld()).collect()
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
            Some(vec![Some(domain), Some(name), Some(state), None, Some(reason), None, None, None, None])
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
            return Some(self.look_beneath(name).await);
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
                // What is remembered of a table opens it, however its lake is.
                let ailing = || Some(Error::new(Class::Storage, self.lake.ailing(domain)?.told(domain.name.as_str())));
                Found {
                    error: bound.err().or_else(ailing),
                    changed: changed.and_then(|since| UNIX_EPOCH.checked_add(since)),
                    age: snapshot.zip(promised).and_then(|(snapshot, p)| Age::of(snapshot.timestamp_ms(), p)),
                    restricted,
                }
            }
            Err(error) => {
                // What the catalog would restrict is not known.
                let restricted = self.lake.may_restrict(domain)
                    || grants.is_none_or(|Grants { columns, rows }| restricts(&columns, &rows));
                Found { error: Some(error), changed: None, age: None, restricted }
            }
        })
    }

    /// A derived product is as what it is made of. What one may not read of that says nothing of its health.
    async fn look_beneath(&self, name: &ProductRef) -> Found {
        let reference = TableReference::partial(name.product.domain().as_str(), table_part(name));
        // Boxed, since resolving a system table comes here again.
        match Box::pin(self.table(&reference, &At::newest(None))).await {
            Ok(Table { changed, age, restricted, .. }) => Found { error: None, changed, age, restricted },
            Err(error) => {
                let ails = matches!(error.class, Class::Storage | Class::Drift);
                Found { error: ails.then_some(error), changed: None, age: None, restricted: true }
            }
        }
    }

    fn row(&self, name: &ProductRef, domain: &Domain, product: &Product, found: Option<Found>) -> Row {
        let late = || Found {
            error: Some(Error::new(
                Class::Storage,
                format!("the lake of domain `{}` does not answer soon", domain.name),
            )),
            changed: None,
            age: None,
            restricted: true,
        };
        let Found { error, changed, age, restricted } = found.unwrap_or_else(late);
        let is_stale = age.is_some_and(|age| age.is_stale());
        let (changed, age) = if restricted { (None, None) } else { (changed, age) };
        let kept = self.mesh.kept_since(&domain.name);
        let seen = self.seen.note(product, error.as_ref());
        let state = match (&error, kept) {
            (Some(error), _) => State::of(error),
            (None, Some(_)) => State::Kept,
            (None, None) if is_stale => State::Stale,
            (None, None) => State::Ok,
        };
        let since = match state {
            State::Ok | State::Withheld => None,
            State::Down => Some(self.lake.ailing(domain).map_or(seen, |ailing| ailing.since)),
            State::Drift => Some(seen),
            State::Kept => kept,
            State::Stale => age.and_then(|age| age.changed.checked_add(age.promised)),
        };
        let reason = match (state, error, &age) {
            (_, Some(error), _) if !restricted => Some(error.message),
            (State::Down, ..) => Some("its catalog or store cannot be read".to_owned()),
            (State::Drift, ..) => Some("its table does not keep its contract".to_owned()),
            (State::Kept, ..) => Some("the files of its domain are broken, and hold as they were before".to_owned()),
            (State::Stale, _, Some(age)) => age.notice(&name.to_string()),
            (State::Stale, ..) => Some(outdated(&name.to_string())),
            _ => None,
        };
        vec![
            Some(name.product.domain().to_string()),
            Some(table_part(name)),
            Some(state.as_str().to_owned()),
            since.and_then(micros),
            reason,
            changed.and_then(micros),
            changed.map(|changed| seconds(SystemTime::now().duration_since(changed).unwrap_or_default())),
            age.map(|age| seconds(age.promised)),
            self.seen.verdict(product, restricted).map(|verdict| verdict.as_str().to_owned()),
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
