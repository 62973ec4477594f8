//! A prepared statement that finds one row, over the wire and without it, by one client and by many.

use std::fmt::Write;
use std::sync::Arc;
use std::time::Instant;

use arrow_flight::sql::client::PreparedStatement;
use futures::TryStreamExt;
use futures::future::try_join_all;
use polder::session::{Engine, Pins};
use polder_catalog::principal::Principal;
use serde_json::json;
use tonic::transport::Channel;

use super::serve::Server;
use super::{Client, client, engine};
use crate::Result;
use crate::measure::{median, process_seconds};
use crate::tables::Setting;

const SQL: &str = "SELECT o_orderkey, o_custkey, o_totalprice, o_orderdate FROM tpch.orders WHERE o_orderkey = 1000007";
const CLIENTS: [usize; 3] = [1, 8, 64];

/// What is wanted: milliseconds that the wire adds at the median, its CPU time and its slowest hundredth as ratios.
const ADDS: f64 = 0.5;
const CPU: f64 = 1.5;
const SLOWEST: f64 = 5.0;

/// A turn of one arm.
struct Turn {
    /// How long each statement took.
    took: Vec<f64>,
    /// CPU seconds of each, of the process that answered.
    cpu: f64,
}

pub(super) async fn run(setting: &Setting, server: &Server, statements: usize) -> Result<String> {
    let (engine, principal) = engine(setting)?;
    let mut text = String::from(
        "\n### A prepared statement that finds a row\n\n\
         | clients | p50 in process, ms | p50 over the wire | added | p99 | p99/p50 | CPU in process, ms | CPU of the server | ratio |\n\
         |---|---|---|---|---|---|---|---|---|\n",
    );
    for clients in CLIENTS {
        let connections: Vec<Client> = try_join_all((0..clients).map(|_| client(server))).await?;
        let (mut inside, mut outside) = (Vec::new(), Vec::new());
        // The first turn of each is not measured.
        for round in 0..=setting.rounds {
            let near = in_process(&engine, &principal, clients, statements).await?;
            let far = over_the_wire(server, &connections, statements).await?;
            if round > 0 {
                line("in process", clients, &near);
                line("wire", clients, &far);
                inside.push(near);
                outside.push(far);
            }
        }
        let at = |turns: &[Turn], part: f64| median(turns.iter().map(|turn| 1e3 * quantile(&turn.took, part)));
        let cpu = |turns: &[Turn]| 1e3 * median(turns.iter().map(|turn| turn.cpu));
        let (near, far, slow) = (at(&inside, 0.5), at(&outside, 0.5), at(&outside, 0.99));
        let (near_cpu, far_cpu) = (cpu(&inside), cpu(&outside));
        writeln!(
            text,
            "| {clients} | {near:.2} | {far:.2} | {:.2} | {slow:.2} | {:.1} | {near_cpu:.2} | {far_cpu:.2} | {:.2} |",
            far - near,
            slow / far,
            far_cpu / near_cpu,
        )?;
    }
    writeln!(
        text,
        "\nWanted: at most {ADDS} ms added with one client, p99 of at most {SLOWEST} times p50, and {CPU} times the CPU."
    )?;
    Ok(text)
}

fn line(arm: &str, clients: usize, turn: &Turn) {
    let at = |part| quantile(&turn.took, part);
    println!(
        "{}",
        json!({
            "suite": "wire", "case": "point", "clients": clients, "arm": arm,
            "p50": at(0.5), "p99": at(0.99), "cpu": turn.cpu,
        })
    );
}

fn quantile(numbers: &[f64], part: f64) -> f64 {
    let mut sorted = numbers.to_vec();
    sorted.sort_by(f64::total_cmp);
    let at = (sorted.len().saturating_sub(1)) as f64 * part;
    sorted.get(at.round() as usize).copied().unwrap_or(f64::NAN)
}

async fn in_process(engine: &Arc<Engine>, principal: &Principal, clients: usize, statements: usize) -> Result<Turn> {
    let before = process_seconds();
    let asking = (0..clients).map(|_| {
        let (engine, principal) = (Arc::clone(engine), principal.clone());
        tokio::spawn(async move {
            let mut took = Vec::new();
            for _ in 0..statements / clients {
                let begin = Instant::now();
                let rows = engine.plan(&principal, SQL, &Pins::new()).await?.run()?.try_collect::<Vec<_>>().await?;
                took.push(begin.elapsed().as_secs_f64());
                expect(rows.iter().map(|batch| batch.num_rows()).sum())?;
            }
            Ok::<_, Box<dyn std::error::Error + Send + Sync>>(took)
        })
    });
    let took = collected(try_join_all(asking).await?)?;
    Ok(Turn { cpu: (process_seconds() - before) / took.len() as f64, took })
}

async fn over_the_wire(server: &Server, connections: &[Client], statements: usize) -> Result<Turn> {
    let each = statements / connections.len();
    let before = server.cpu();
    let asking = connections.iter().cloned().map(|mut client| {
        tokio::spawn(async move {
            let mut prepared = client.prepare(SQL.to_owned(), None).await?;
            let mut took = Vec::new();
            for _ in 0..each {
                let begin = Instant::now();
                let rows = ask(&mut client, &mut prepared).await?;
                took.push(begin.elapsed().as_secs_f64());
                expect(rows)?;
            }
            prepared.close().await?;
            Ok::<_, Box<dyn std::error::Error + Send + Sync>>(took)
        })
    });
    let took = collected(try_join_all(asking).await?)?;
    Ok(Turn { cpu: (server.cpu() - before) / took.len() as f64, took })
}

async fn ask(client: &mut Client, prepared: &mut PreparedStatement<Channel>) -> Result<usize> {
    let info = prepared.execute().await?;
    let ticket = info.endpoint.into_iter().next().and_then(|endpoint| endpoint.ticket).ok_or("there is no ticket")?;
    let rows: Vec<_> = client.do_get(ticket).await?.try_collect().await?;
    Ok(rows.iter().map(|batch| batch.num_rows()).sum())
}

fn expect(rows: usize) -> Result<()> {
    if rows == 1 { Ok(()) } else { Err(format!("there are {rows} rows and not one").into()) }
}

fn collected(took: Vec<Result<Vec<f64>>>) -> Result<Vec<f64>> {
    Ok(took.into_iter().collect::<Result<Vec<_>>>()?.concat())
}
