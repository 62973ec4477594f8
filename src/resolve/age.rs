//! How old a product's data is, beside what its contract promises. How old exactly is told only to those from whom nothing of
//! the product is kept: when a table changed tells of rows that others may not see. That a promise is broken is told to all.

use std::time::{Duration, SystemTime};

use polder_catalog::mesh::Product;

use super::Resolver;
use crate::error::{Class, Error};

/// When a product's table changed last, and the longest time since then that its contract allows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Age {
    /// When its snapshot was committed.
    pub changed: SystemTime,
    /// What its contract promises.
    pub promised: Duration,
}

impl Age {
    /// Of a snapshot that was committed at a time in milliseconds since 1970.
    pub fn of(committed: i64, promised: Duration) -> Option<Self> {
        Some(Self { changed: instant(committed)?, promised })
    }

    /// How long ago it changed. What changes in the future is new.
    pub fn age(&self) -> Duration {
        SystemTime::now().duration_since(self.changed).unwrap_or_default()
    }

    /// Whether it is older than its contract promises.
    pub fn is_stale(&self) -> bool {
        self.age() > self.promised
    }

    /// What to say of a product that is stale.
    pub fn notice(&self, product: &str) -> Option<String> {
        let (age, promised) = (words(self.age()), words(self.promised));
        let said = format!("`{product}` is stale: it changed {age} ago, and its contract allows {promised}");
        self.is_stale().then_some(said)
    }
}

impl Resolver {
    /// Makes sure that a product may be read as old as it is.
    ///
    /// # Errors
    /// `Drift` where its contract lets nobody read what is stale.
    pub(super) fn fresh_enough(&self, product: &Product, age: Option<&Age>) -> Result<(), Error> {
        if self.takes_any_age() || !is_refused(product, age) {
            return Ok(());
        }
        let help = "ask its owner when it changes again; `polder.stale` of the contract refuses it until then";
        Err(Error::new(Class::Drift, outdated(&product.name.to_string())).help(help))
    }
}

/// Whether the contract of a product of this age lets nobody read it. What never changed is older than any promise.
pub(super) fn is_refused(product: &Product, age: Option<&Age>) -> bool {
    let contract = &product.contract;
    contract.refuses_stale && contract.freshness().is_some() && age.is_none_or(Age::is_stale)
}

/// What to say of a product that is stale to those who may not know how old it is.
pub(super) fn outdated(product: &str) -> String {
    format!("`{product}` is stale: it changed longer ago than its contract allows")
}

/// A time in milliseconds since 1970.
pub(super) fn instant(milliseconds: i64) -> Option<SystemTime> {
    SystemTime::UNIX_EPOCH.checked_add(Duration::from_millis(u64::try_from(milliseconds).ok()?))
}

/// A time in the largest unit of which it has two, so that little is lost.
fn words(time: Duration) -> String {
    let seconds = time.as_secs();
    let units = [(24 * 60 * 60, "days"), (60 * 60, "hours"), (60, "minutes")];
    match units.into_iter().find(|(unit, _)| seconds >= 2 * unit) {
        Some((unit, name)) => format!("{} {name}", seconds / unit),
        None => format!("{seconds} seconds"),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    #[test]
    fn what_is_older_than_promised_is_stale() {
        let hour = Duration::from_secs(3_600);
        let ago = |time: Duration| Age { changed: SystemTime::now().checked_sub(time).unwrap(), promised: hour };
        assert_eq!(ago(hour / 2).notice("d.p"), None);
        let said = ago(hour * 50).notice("d.p").unwrap();
        assert_eq!(said, "`d.p` is stale: it changed 2 days ago, and its contract allows 60 minutes");
        let future = Age { changed: SystemTime::now() + hour * 5, promised: hour };
        assert!(!future.is_stale());
    }
}
