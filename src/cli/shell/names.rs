//! The names that the user may see, fetched in the background with their own statements.
//!
//! They come through the same gate as everything else that is asked, so completion can tell nothing that a query would not.
//! Nobody waits for them: until they have come, and when they cannot, completion knows the grammar alone. What was fetched
//! for one purpose is forgotten when another one is declared.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use tokio_util::task::AbortOnDropHandle;

use crate::cli::sql::Target;
use crate::error::Error;

/// How old names may be before they are fetched again.
const FRESH: Duration = Duration::from_secs(60);

const TABLES: &str = "SELECT table_schema, table_name, table_type FROM information_schema.tables";
const COLUMNS: &str = "SELECT domain, product, \"column\" FROM mesh.columns WHERE access <> 'denied' \
                       ORDER BY domain, product, position";

/// Domains, their products, and the columns of these.
pub type Tables = BTreeMap<String, BTreeMap<String, Vec<String>>>;

/// The names that the user may see.
#[derive(Debug, Clone, Default)]
pub struct Names {
    pub tables: Tables,
}

impl Names {
    /// The products of a domain.
    pub fn of(&self, domain: &str) -> impl Iterator<Item = &str> {
        self.tables.get(domain).into_iter().flat_map(BTreeMap::keys).map(String::as_str)
    }

    /// The columns of a product.
    pub fn columns(&self, domain: &str, product: &str) -> &[String] {
        self.tables.get(domain).and_then(|tables| tables.get(product)).map_or(&[], Vec::as_slice)
    }

    /// Every product, as `domain.product`.
    pub fn products(&self) -> impl Iterator<Item = (&str, &str)> {
        self.tables
            .iter()
            .flat_map(|(domain, tables)| tables.keys().map(move |product| (domain.as_str(), product.as_str())))
    }
}

/// The names as they are known now.
#[derive(Debug, Clone, Default)]
pub struct Known(Arc<Mutex<Arc<Names>>>);

impl Known {
    /// What is known.
    pub fn now(&self) -> Arc<Names> {
        Arc::clone(&self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn learn(&self, names: Names) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Arc::new(names);
    }
}

/// Keeps the names fresh.
#[derive(Debug, Default)]
pub struct Fetcher {
    pub known: Known,
    /// Dropped, it ends.
    running: Option<AbortOnDropHandle<()>>,
    begun: Option<Instant>,
}

impl Fetcher {
    /// Fetches the names again, if they are no longer fresh.
    pub fn refresh(&mut self, target: &Target) {
        if self.begun.is_some_and(|begun| begun.elapsed() < FRESH) {
            return;
        }
        self.begun = Some(Instant::now());
        let (known, target) = (self.known.clone(), target.beside());
        self.running = Some(AbortOnDropHandle::new(tokio::spawn(async move {
            if let Err(error) = fetch(target, &known).await {
                tracing::debug!(%error, "names cannot be completed");
            }
        })));
    }

    /// Forgets what was fetched: somebody else asks now, or for another purpose.
    pub fn forget(&mut self) {
        // First the fetching, so that it cannot bring them back.
        self.running = None;
        self.begun = None;
        self.known = Known::default();
    }
}

async fn fetch(mut target: Target, known: &Known) -> Result<(), Error> {
    let mut names = Names::default();
    let mut system = Vec::new();
    let before = known.now();
    for [domain, table, kind] in rows::<3>(&mut target, TABLES).await? {
        if kind == "SYSTEM TABLE" {
            system.push((domain.clone(), table.clone()));
        }
        // What was known of it stays until it is known anew.
        let columns = before.columns(&domain, &table).to_vec();
        names.tables.entry(domain).or_default().insert(table, columns);
    }
    known.learn(names.clone());
    let mut columns = Tables::new();
    for [domain, table, column] in rows::<3>(&mut target, COLUMNS).await? {
        columns.entry(domain).or_default().entry(table).or_default().push(column);
    }
    for (domain, tables) in &mut names.tables {
        for (table, known) in tables.iter_mut() {
            let found = columns.get_mut(domain).and_then(|tables| tables.remove(table));
            if !system.iter().any(|(d, t)| d == domain && t == table) {
                *known = found.unwrap_or_default();
            }
        }
    }
    known.learn(names.clone());
    // What the mesh says of itself has the columns that it always had.
    for (domain, table) in system {
        let Some(known) = names.tables.get_mut(&domain).and_then(|tables| tables.get_mut(&table)) else { continue };
        if known.is_empty() {
            let answer = target.ask(&format!("SELECT * FROM {domain}.\"{table}\" LIMIT 0")).await?;
            *known = answer.schema.fields().iter().map(|field| field.name().clone()).collect();
        }
    }
    known.learn(names);
    Ok(())
}

/// The rows of a statement with `N` texts. One with a NULL among them is left out.
async fn rows<const N: usize>(target: &mut Target, sql: &str) -> Result<Vec<[String; N]>, Error> {
    let whole = |row: Vec<Option<String>>| row.into_iter().collect::<Option<Vec<_>>>()?.try_into().ok();
    Ok(target.texts(sql).await?.into_iter().filter_map(whole).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_is_forgotten_does_not_come_back() {
        let mut fetcher = Fetcher::default();
        let old = fetcher.known.clone();
        fetcher.begun = Some(Instant::now());
        fetcher.forget();
        // A fetch that was under way still holds the old place.
        let mut names = Names::default();
        names.tables.entry("d".to_owned()).or_default();
        old.learn(names);
        assert!(fetcher.known.now().tables.is_empty());
        assert!(fetcher.begun.is_none(), "the next prompt fetches again");
    }
}
