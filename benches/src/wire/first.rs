//! How long the first row of a table of many small files takes, warm, from the statement to the batch.

use std::fmt::Write;
use std::time::Instant;

use futures::TryStreamExt;
use serde_json::json;

use super::serve::Server;
use super::{SMALL_FILES, client};
use crate::Result;
use crate::measure::median;
use crate::tables::Setting;

/// Milliseconds that are wanted at the most.
const WANTED: f64 = 25.0;
/// Statements of a round.
const STATEMENTS: usize = 20;

pub(super) async fn run(setting: &Setting, server: &Server) -> Result<String> {
    let mut client = client(server).await?;
    let sql = format!("SELECT * FROM tpch.{SMALL_FILES} LIMIT 10");
    let mut took = Vec::new();
    for round in 0..=setting.rounds {
        for _ in 0..STATEMENTS {
            let begin = Instant::now();
            let info = client.execute(sql.clone(), None).await?;
            let ticket = info.endpoint.into_iter().next().and_then(|endpoint| endpoint.ticket).ok_or("no ticket")?;
            let mut batches = client.do_get(ticket).await?;
            let batch = batches.try_next().await?.ok_or("there is no row")?;
            let seconds = begin.elapsed().as_secs_f64();
            if batch.num_rows() == 0 || batches.try_next().await?.is_some_and(|batch| batch.num_rows() > 10) {
                return Err("these are not ten rows".into());
            }
            // The first round finds nothing cached.
            if round > 0 {
                println!("{}", json!({ "suite": "wire", "case": "first row", "seconds": seconds }));
                took.push(1e3 * seconds);
            }
        }
    }
    let mut text = String::new();
    writeln!(
        text,
        "\n### The first row of 100 files\n\n`{sql}`, warm: {:.1} ms at the median of {}; wanted are at most {WANTED}.",
        median(took.iter().copied()),
        took.len()
    )?;
    Ok(text)
}
