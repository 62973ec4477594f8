//! The live half of `polder check`: every table is opened, and a line on the terminal says how far it is.

use std::sync::Arc;
use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use polder_catalog::document::Finding;

use crate::cli::terminal;
use crate::inspect::{Inspection, inspect};
use crate::session::Engine;

/// What is found in the tables of a mesh, and a word for the summary.
pub async fn found(engine: &Arc<Engine>, rows: usize) -> (Vec<Finding>, String) {
    let bar = bar(engine.mesh().products().count());
    let told = bar.clone();
    let Inspection { findings, looked, missed } = inspect(engine, rows, move || told.inc(1)).await;
    bar.finish_and_clear();
    let missed = if missed > 0 { format!(", {missed} could not be") } else { String::new() };
    (findings, format!("; the tables of {looked} were looked at{missed}"))
}

/// A line that counts products, where a person looks.
fn bar(products: usize) -> ProgressBar {
    if !terminal::watched() {
        return ProgressBar::hidden();
    }
    let length = u64::try_from(products).ok();
    let bar = ProgressBar::with_draw_target(length, ProgressDrawTarget::stderr());
    if let Ok(style) = ProgressStyle::with_template("{spinner} {pos} of {len} tables, {elapsed}") {
        bar.set_style(style);
    }
    bar.enable_steady_tick(Duration::from_millis(100));
    bar
}
