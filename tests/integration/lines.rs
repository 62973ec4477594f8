//! Rows as text: what a test compares.

use std::sync::Arc;

use datafusion::arrow::array::RecordBatch;
use datafusion::arrow::util::display::{ArrayFormatter, FormatOptions};
use futures::TryStreamExt;
use polder::error::Error;
use polder::session::{Engine, Pins};
use polder_catalog::principal::Principal;

/// The cells of each row, where a value that cannot be written is an error's text.
pub fn cells(batches: &[RecordBatch]) -> impl Iterator<Item = Vec<String>> {
    let options = FormatOptions::default().with_null("NULL").with_display_error(true);
    batches.iter().flat_map(move |batch| {
        let column = |array| ArrayFormatter::try_new(array, &options).unwrap();
        let columns: Vec<_> = batch.columns().iter().map(|array| column(array.as_ref())).collect();
        (0..batch.num_rows())
            .map(|row| columns.iter().map(|column| column.value(row).to_string()).collect())
            .collect::<Vec<_>>()
    })
}

/// The rows that an engine answers somebody with, a line each.
pub async fn asked(engine: &Arc<Engine>, who: &Principal, sql: &str) -> Result<Vec<String>, Error> {
    let planned = engine.plan(who, sql, &Pins::new()).await?;
    let batches: Vec<_> = planned.run()?.try_collect().await?;
    Ok(cells(&batches).map(|row| row.join(" | ")).collect())
}
