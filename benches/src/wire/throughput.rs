//! A large result beside a plain copy of as many bytes, on one stream each.

use std::fmt::Write as _;
use std::io::{Read, Write};
use std::net::TcpStream;

use arrow_flight::FlightData;
use futures::TryStreamExt;
use serde_json::json;

use super::serve::Server;
use super::{Client, client};
use crate::Result;
use crate::measure::{Cost, median, once};
use crate::tables::Setting;

/// The least part of a plain copy's rate that is wanted.
const WANTED: f64 = 0.35;

/// Rows of lineitem over and over: the join passes on the very batches, so that nearly nothing is measured but the wire.
fn sql(times: usize) -> String {
    format!(
        "SELECT l.* FROM (SELECT n_nationkey FROM tpch.nation CROSS JOIN tpch.region LIMIT {times}) AS n \
         CROSS JOIN (SELECT * FROM tpch.lineitem WHERE l_orderkey <= 262144) AS l"
    )
}

pub(super) async fn run(setting: &Setting, server: &Server, bytes: u64) -> Result<String> {
    let mut client = client(server).await?;
    // How many bytes one time is.
    let (once_over, rows) = fetch(&mut client, &sql(1)).await?;
    let times = usize::try_from(bytes / once_over.max(1))?.clamp(1, 125);
    let sql = sql(times);
    let (total, _) = fetch(&mut client, &sql).await?;
    let (mut ours, mut decoded, mut raw) = (Vec::new(), Vec::new(), Vec::new());
    let mut server_cpu = Vec::new();
    for _ in 0..setting.rounds {
        let (done, cost) = once(async { copy(server, total) }).await;
        raw.push(done?);
        line("raw", cost);
        let before = server.cpu();
        let (done, cost) = once(fetch(&mut client, &sql)).await;
        done?;
        server_cpu.push(server.cpu() - before);
        line("messages", cost);
        ours.push(cost.wall);
        let (done, cost) = once(read(&mut client, &sql)).await;
        done?;
        line("rows", cost);
        decoded.push(cost.wall);
    }
    let rate = |seconds: &[f64]| total as f64 / median(seconds.iter().copied()) / 1e6;
    let ratio = median(raw.iter().copied()) / median(ours.iter().copied());
    let ratio_decoded = median(raw.iter().copied()) / median(decoded.iter().copied());
    let mut text =
        String::from("\n### A large result on one stream\n\n| what | MB/s | of a plain copy |\n|---|---|---|\n");
    writeln!(text, "| a plain copy over TCP | {:.0} | 1 |", rate(&raw))?;
    writeln!(text, "| DoGet, its messages | {:.0} | {ratio:.2} |", rate(&ours))?;
    writeln!(text, "| DoGet, read as record batches | {:.0} | {ratio_decoded:.2} |", rate(&decoded))?;
    writeln!(
        text,
        "\n{total} bytes, {} rows; wanted is {WANTED} of a plain copy. The server took {:.0} ms of CPU for each GB.",
        rows * times,
        1e12 * median(server_cpu.iter().copied()) / total as f64
    )?;
    Ok(text)
}

fn line(arm: &str, cost: Cost) {
    println!("{}", json!({ "suite": "wire", "case": "throughput", "arm": arm, "seconds": cost.wall, "cpu": cost.cpu }));
}

/// How long the bytes take from the first to the last.
fn copy(server: &Server, total: u64) -> Result<f64> {
    let mut connection = TcpStream::connect(server.raw)?;
    connection.write_all(&total.to_le_bytes())?;
    connection.read_exact(&mut [0])?;
    let mut buffer = vec![0; 1 << 20];
    let begin = std::time::Instant::now();
    connection.write_all(&[0])?;
    let mut read = 0;
    while read < total {
        match connection.read(&mut buffer)? {
            0 => return Err("the copy ended early".into()),
            part => read += u64::try_from(part)?,
        }
    }
    Ok(begin.elapsed().as_secs_f64())
}

/// The bytes and the messages' rows of a result; nothing is decoded.
async fn fetch(client: &mut Client, sql: &str) -> Result<(u64, usize)> {
    let info = client.execute(sql.to_owned(), None).await?;
    let ticket = info.endpoint.into_iter().next().and_then(|endpoint| endpoint.ticket).ok_or("there is no ticket")?;
    let mut messages = client.inner_mut().do_get(ticket).await?.into_inner();
    let (mut bytes, mut rows) = (0, 0);
    while let Some(FlightData { data_header, data_body, .. }) = messages.message().await? {
        bytes += u64::try_from(data_header.len() + data_body.len())?;
        let header = datafusion::arrow::ipc::root_as_message(&data_header).map_err(|error| error.to_string())?;
        rows += header.header_as_record_batch().map_or(0, |batch| usize::try_from(batch.length()).unwrap_or_default());
    }
    Ok((bytes, rows))
}

/// The same as record batches.
async fn read(client: &mut Client, sql: &str) -> Result<usize> {
    let info = client.execute(sql.to_owned(), None).await?;
    let ticket = info.endpoint.into_iter().next().and_then(|endpoint| endpoint.ticket).ok_or("there is no ticket")?;
    let mut batches = client.do_get(ticket).await?;
    let mut rows = 0;
    while let Some(batch) = batches.try_next().await? {
        rows += batch.num_rows();
    }
    Ok(rows)
}
