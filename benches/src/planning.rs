//! What planning costs over a table of many files: at first, and when its index is known, beside `iceberg`'s own.

use std::fmt::Write;

use datafusion::prelude::{col, lit};
use futures::TryStreamExt;
use iceberg::expr::Reference;
use iceberg::spec::Datum;
use polder::lake::Lake;
use serde_json::json;

use crate::Result;
use crate::arms::bare;
use crate::measure::{Cost, median, memory, once};
use crate::tables::{Setting, open, pin};

/// What the index of one table may keep, in bytes.
const MOST: u64 = 100_000_000;

/// A key that one file of the table can hold.
const KEY: i64 = 50_000 * 1_000_000 + 7;

pub(crate) async fn run(setting: &Setting) -> Result<String> {
    let variants = setting.pinned("variants")?;
    let mut text = String::from("## Planning over many files\n\n| table | what | ms | CPU ms |\n|---|---|---|---|\n");
    let mut after = String::new();
    for name in variants.keys().filter(|name| name.contains("many_")) {
        let mut line = |what: &str, costs: &[Cost]| {
            for cost in costs {
                let (seconds, cpu) = (cost.wall, cost.cpu);
                println!(
                    "{}",
                    json!({ "suite": "planning", "case": name, "arm": what, "seconds": seconds, "cpu": cpu })
                );
            }
            let (wall, cpu) = (median(costs.iter().map(|c| c.wall)), median(costs.iter().map(|c| c.cpu)));
            let _ = writeln!(text, "| {name} | {what} | {:.1} | {:.1} |", 1e3 * wall, 1e3 * cpu);
            wall
        };
        let (before, _) = memory();
        let lake = Lake::default();
        let (done, first) = once(plan(setting, &lake, name)).await;
        let chosen = done?;
        line("first plan", &[first]);
        let (held, _) = memory();
        // Nothing else is in this lake's memory but the table's own metadata, which is small.
        let index = open(setting, &lake, "variants", name).await?.memory.bytes().await;
        println!("{}", json!({ "suite": "planning", "case": name, "arm": "index", "bytes": index }));
        if index > MOST {
            return Err(format!("the index of {name} keeps {index} bytes, which is more than {MOST}").into());
        }
        let mut warm = Vec::new();
        for _ in 0..setting.rounds {
            let (done, cost) = once(plan(setting, &lake, name)).await;
            done?;
            warm.push(cost);
        }
        let ours = line("warm selective plan", &warm);

        let table = open(setting, &lake, "variants", name).await?.table;
        let mut theirs = Vec::new();
        for _ in 0..=setting.rounds.min(5) {
            let (done, cost) = once(async {
                let filter = Reference::new("c1").equal_to(Datum::long(KEY));
                let scan = table.scan().with_filter(filter).build()?;
                scan.plan_files().await?.try_collect::<Vec<_>>().await
            })
            .await;
            done?;
            theirs.push(cost);
        }
        // The first fills the cache that belongs to the table.
        let warm = theirs.split_off(1);
        line("iceberg, first plan_files", &theirs);
        let theirs = line("iceberg, warm plan_files", &warm);
        let _ = writeln!(
            after,
            "\n{name}: {chosen} files chosen; warm {:.1} times faster than `plan_files`; the index keeps {:.1} MB (at most \
             {} MB), and the process held {} MB more after the first plan",
            theirs / ours,
            index as f64 / 1e6,
            MOST / 1_000_000,
            held.saturating_sub(before) >> 20,
        );
    }
    Ok(text + &after)
}

/// Opens the table and plans a scan for one key, as a query does. How many files it would open.
async fn plan(setting: &Setting, lake: &Lake, table: &str) -> Result<usize> {
    let scan = pin(open(setting, lake, "variants", table).await?).await?;
    let context = bare(setting, Some(lake))?;
    let plan = context.read_table(scan)?.filter(col("c1").eq(lit(KEY)))?.create_physical_plan().await?;
    let text = datafusion::physical_plan::displayable(plan.as_ref()).indent(true).to_string();
    Ok(text.matches(".parquet").count())
}
