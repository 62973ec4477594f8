//! The arm of `iceberg-datafusion`: answers the queries that it is sent over the tables that prepare.py made.
//!
//! ```text
//! iceberg-datafusion-arm DIRECTORY THREADS
//! ```
//!
//! What it says and reads is what `benches/src/peer.rs` tells of peers.

use std::collections::BTreeMap;
use std::error::Error;
use std::io::{BufRead, Write};
use std::sync::Arc;
use std::time::Instant;

use datafusion::catalog::MemorySchemaProvider;
use datafusion::prelude::{SessionConfig, SessionContext};
use iceberg::TableIdent;
use iceberg::io::FileIO;
use iceberg::table::StaticTable;
use iceberg_datafusion::IcebergStaticTableProvider;
use serde_json::{Value, json};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> Result<(), Box<dyn Error>> {
    let mut words = std::env::args().skip(1);
    let (directory, threads) = (words.next().ok_or("no directory")?, words.next().ok_or("no number of threads")?);
    let threads: usize = threads.parse()?;
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(threads).enable_all().build()?;
    runtime.block_on(answer(&directory, threads))
}

async fn answer(directory: &str, threads: usize) -> Result<(), Box<dyn Error>> {
    let context = SessionContext::new_with_config(SessionConfig::new().with_target_partitions(threads));
    let catalog = context.catalog("datafusion").ok_or("the session has no catalog")?;
    let schema = Arc::new(MemorySchemaProvider::new());
    catalog.register_schema("tpch", schema)?;
    let pinned: BTreeMap<String, String> =
        serde_json::from_slice(&std::fs::read(format!("{directory}/mesh/pinned.json"))?)?;
    for (name, place) in pinned {
        let io = FileIO::new_with_fs();
        let ident = TableIdent::from_strs(name.split('.'))?;
        let table = StaticTable::from_metadata_file(&place, ident, io).await?.into_table();
        let provider = IcebergStaticTableProvider::try_new_from_table(table).await?;
        context.register_table(name.as_str(), Arc::new(provider))?;
    }
    println!("iceberg-datafusion");
    for line in std::io::stdin().lock().lines() {
        let asked: Value = serde_json::from_str(&line?)?;
        let sql = asked.get("sql").and_then(Value::as_str).ok_or("a line without a query")?;
        let (cpu, begin) = (cpu_seconds(), Instant::now());
        let done = async { context.sql(sql).await?.collect().await }.await;
        let answer = match done {
            Ok(batches) => json!({
                "seconds": begin.elapsed().as_secs_f64(),
                "cpu": cpu_seconds() - cpu,
                "rows": batches.iter().map(|batch| batch.num_rows()).sum::<usize>(),
            }),
            Err(error) => json!({ "error": error.to_string() }),
        };
        println!("{answer}");
        std::io::stdout().flush()?;
    }
    Ok(())
}

/// What the threads of this process have computed, as Linux tells it; none of them ends meanwhile.
fn cpu_seconds() -> f64 {
    let spent = |thread: std::fs::DirEntry| {
        let text = std::fs::read_to_string(thread.path().join("schedstat")).ok()?;
        text.split_whitespace().next()?.parse::<f64>().ok()
    };
    let threads = std::fs::read_dir("/proc/self/task").into_iter().flatten().flatten();
    threads.filter_map(spent).sum::<f64>() / 1e9
}
