//! A Hive Metastore, by its own protocol: Thrift over a connection of its own for each question.
//!
//! ```text
//! get_table_req(database, table) -> Table { tableType, parameters { table_type, metadata_location } }
//!                                   NoSuchObjectException: no such table    MetaException: it failed
//! ```
//!
//! That method is answered by all metastores from Hive 2.3 to 4; `get_table` is gone in 4. Nobody logs in: a metastore that
//! wants SASL or Kerberos is refused.

mod thrift;
mod tls;

use std::fmt;
use std::io;
use std::time::Duration;

use async_trait::async_trait;
use iceberg::TableIdent;
use polder_catalog::mesh;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;
use tokio::time::timeout;

use self::thrift::{Answer, Fault, I32, MAP, Reply, STRING, STRUCT, call};
use self::tls::Tls;
use super::http::garbled;
use super::pointer::{Entry, FORMAT, LOCATION, database};
use super::{Found, STALENESS, Tables};
use crate::lake::error::LakeError;

const CONNECT: Duration = Duration::from_secs(5);
const METHOD: &str = "get_table_req";
/// Each connection has one question.
const NUMBER: u32 = 1;
/// The longest answer that is read. A table of thousands of columns is a part of it.
const MAX_BYTES: usize = 64 * 1024 * 1024;
/// The longest name and the longest place that are read.
const MAX_NAME: usize = 4096;
const MAX_PLACE: usize = 64 * 1024;

/// A metastore that is only asked.
pub(in crate::lake) struct Hive {
    domain: String,
    host: String,
    port: u16,
    tls: Option<Tls>,
    /// The longest answer that is read.
    most: usize,
}

impl fmt::Debug for Hive {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Hive").field("domain", &self.domain).finish_non_exhaustive()
    }
}

/// What a metastore says.
enum Said {
    Table(Entry),
    Nothing,
    /// That it failed.
    Failure,
}

impl Hive {
    pub(in crate::lake) fn new(domain: &str, settings: &mesh::Hive) -> Result<Self, LakeError> {
        let tls = settings.tls.then(|| Tls::new(domain, &settings.host)).transpose()?;
        Ok(Self { domain: domain.to_owned(), host: settings.host.clone(), port: settings.port, tls, most: MAX_BYTES })
    }

    async fn ask(&self, question: &[u8]) -> Result<Said, Fault> {
        let connect = TcpStream::connect((self.host.as_str(), self.port));
        let late = |_| io::Error::from(io::ErrorKind::TimedOut);
        let stream = timeout(CONNECT, connect).await.map_err(late)??;
        stream.set_nodelay(true)?;
        match &self.tls {
            Some(tls) => self.exchange(timeout(CONNECT, tls.over(stream)).await.map_err(late)??, question).await,
            None => self.exchange(stream, question).await,
        }
    }

    async fn exchange(&self, mut stream: impl AsyncRead + AsyncWrite + Unpin, question: &[u8]) -> Result<Said, Fault> {
        stream.write_all(question).await?;
        stream.flush().await?;
        let mut answer = Answer::new(BufReader::new(stream), self.most);
        match answer.begin(NUMBER).await? {
            Reply::Answer => said(&mut answer).await,
            Reply::Exception => exception(&mut answer).await,
        }
    }
}

/// The outcome of the call: one of three fields.
async fn said<R: AsyncRead + Unpin>(answer: &mut Answer<R>) -> Result<Said, Fault> {
    match answer.field().await? {
        Some((STRUCT, 0)) => {
            while let Some((kind, number)) = answer.field().await? {
                match (kind, number) {
                    (STRUCT, 1) => return table(answer).await.map(Said::Table),
                    _ => answer.skip(kind).await?,
                }
            }
            Err(Fault::Garbled("it holds no table"))
        }
        Some((STRUCT, 1)) => Ok(Said::Failure),
        Some((STRUCT, 2)) => Ok(Said::Nothing),
        _ => Err(Fault::Garbled("it holds no table")),
    }
}

/// Of a table, no more than what tells where it is.
async fn table<R: AsyncRead + Unpin>(answer: &mut Answer<R>) -> Result<Entry, Fault> {
    let mut entry = Entry::default();
    while let Some((kind, number)) = answer.field().await? {
        match (kind, number) {
            (STRING, 1) => entry.name = answer.text(MAX_NAME).await?,
            (STRING, 2) => entry.database = answer.text(MAX_NAME).await?,
            (MAP, 9) => parameters(answer, &mut entry).await?,
            (STRING, 12) => entry.kind = answer.text(MAX_NAME).await?,
            _ => answer.skip(kind).await?,
        }
    }
    Ok(entry)
}

async fn parameters<R: AsyncRead + Unpin>(answer: &mut Answer<R>, entry: &mut Entry) -> Result<(), Fault> {
    let pairs = answer.texts().await?.unwrap_or_default();
    for _ in 0..pairs {
        match answer.text(MAX_NAME).await?.as_deref() {
            Some(FORMAT) => entry.format = answer.text(MAX_NAME).await?,
            Some(LOCATION) => entry.location = answer.text(MAX_PLACE).await?,
            _ => answer.skip(STRING).await?,
        }
    }
    Ok(())
}

/// That the call was not taken, and why.
async fn exception<R: AsyncRead + Unpin>(answer: &mut Answer<R>) -> Result<Said, Fault> {
    const UNKNOWN_METHOD: i32 = 1;
    while let Some((kind, number)) = answer.field().await? {
        match (kind, number) {
            (I32, 2) => {
                if answer.number().await? == UNKNOWN_METHOD {
                    return Err(Fault::Garbled("it is older than Hive 2.3, or no metastore"));
                }
            }
            _ => answer.skip(kind).await?,
        }
    }
    Ok(Said::Failure)
}

#[async_trait]
impl Tables for Hive {
    async fn find(&self, table: &TableIdent) -> Result<Option<Found>, LakeError> {
        let Some(database) = database(table) else { return Ok(None) };
        let told = |fault| match fault {
            Fault::Lost(cause) => LakeError::Catalog { domain: self.domain.clone(), source: Box::new(cause) },
            Fault::Garbled(what) => garbled(&self.domain, what),
        };
        let question = call(METHOD, NUMBER, &[database, table.name()]).map_err(told)?;
        match self.ask(&question).await.map_err(told)? {
            Said::Table(entry) => entry.found(&self.domain, table),
            Said::Nothing => Ok(None),
            Said::Failure => Err(LakeError::Failed { domain: self.domain.clone() }),
        }
    }

    fn staleness(&self) -> Duration {
        STALENESS
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests")]
pub(in crate::lake::catalog) mod tests;
