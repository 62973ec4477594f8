//! What adds up is counted in new files alone: what was counted in the files that a table had the last time is still true of
//! them, since files never change.
//!
//! ```text
//! the last time: 12 of 4 000 rows ─┐
//! files since then: 1 of 500 rows ─┴─ 13 of 4 500 rows
//! ```
//!
//! That holds only where all files of then are still there, nothing was deleted from any, and the same is asked of the same
//! fields under the same schema. In all other cases the whole table is read again.

use std::sync::Arc;

use polder_catalog::contract::Rule;
use polder_catalog::mesh::Product;
use sha2::{Digest, Sha256};

use crate::error::Error;
use crate::lake::OpenTable;
use crate::resolve::{Counted, Held};
use crate::scan::{IcebergScan, ScanColumn};
use crate::session::{Engine, Numbers};

/// A table at its snapshot of now, and what was counted in it the last time.
pub(super) struct Grown<'a> {
    open: OpenTable,
    columns: Vec<ScanColumn>,
    whole: Arc<IcebergScan>,
    /// What was found then, and the files that are new since.
    since: Option<(&'a Held, Arc<IcebergScan>)>,
}

impl<'a> Grown<'a> {
    pub(super) async fn of(
        open: OpenTable,
        columns: Vec<ScanColumn>,
        whole: Arc<IcebergScan>,
        last: Option<&'a Held>,
    ) -> Self {
        let then = last.and_then(|last| Some((last, last.of.snapshot()?)));
        let since = match then.filter(|(last, _)| last.rules.iter().any(|judged| judged.counted.is_some())) {
            // What cannot be read of then is no reason not to count now.
            Some((last, then)) => whole.since(then).await.ok().flatten().map(|more| (last, more)),
            None => None,
        };
        Self { open, columns, whole, since }
    }

    /// The numbers of a rule, and what is to be remembered of them.
    pub(super) async fn measure(
        &self,
        engine: &Engine,
        product: &Product,
        rule: &Rule,
        sql: &str,
    ) -> Result<(Numbers, Counted), Error> {
        let what = self.what(rule, sql);
        let before = self.since.as_ref().and_then(|(last, more)| Some((last.counted(&what)?, more)));
        let table = before.as_ref().map_or(&self.whole, |(_, more)| more);
        let mut numbers = engine.measure(&product.name, Arc::clone(table) as _, sql).await?;
        if let Some((then, _)) = before {
            for (now, then) in numbers.row.iter_mut().zip(&then.row) {
                *now = now.zip(*then).map(|(now, then)| now + then);
            }
        }
        let counted = Counted { what, row: numbers.row.clone() };
        Ok((numbers, counted))
    }

    /// What tells a question from all others that would be answered otherwise.
    fn what(&self, rule: &Rule, sql: &str) -> String {
        let column = self.columns.iter().find(|column| rule.column.as_deref() == Some(column.name.as_str()));
        let metadata = self.open.table.metadata();
        let text = format!("{:?}", (sql, column, metadata.uuid(), metadata.current_schema_id()));
        Sha256::digest(text).iter().map(|byte| format!("{byte:02x}")).collect()
    }
}
