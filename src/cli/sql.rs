//! `polder sql`: statements to an embedded mesh or a server, rows to stdout.

use std::io::{BufRead, BufWriter, IsTerminal, Read, Write};
use std::path::PathBuf;

use clap::{ArgGroup, Args};
use datafusion::arrow::array::RecordBatch;
use datafusion::arrow::datatypes::SchemaRef;
use futures::StreamExt;
use futures::stream::BoxStream;
use polder_catalog::principal::Principal;
use polder_catalog::secret::Secret;

use super::statements::{is_blank, split};
use super::{Failure, Limits, Outcome, engine, terminal};
use crate::error::{Class, Error};
use crate::flight::client::{Credentials, Remote};
use crate::format::{Format, Printer};
use crate::session::{Engine, Pins, Session, declared};

/// Run SQL against a mesh on this machine or a server
///
/// Statements come from -c, from -f, or from standard input: line by line on a terminal (a statement ends with a
/// semicolon, \q leaves), all at once otherwise. Rows go to stdout, everything else to stderr.
///
/// With --mesh the engine runs in this process, and --as names any user of the mesh without a password: who can read
/// the mesh's files and keys on this machine needs none. With --url the server asks who you are: the password is taken
/// from POLDER_PASSWORD or asked for, or a token from POLDER_TOKEN.
#[derive(Args)]
#[command(group(ArgGroup::new("where").required(true).args(["mesh", "url"])))]
#[command(group(ArgGroup::new("what").args(["command", "file"])))]
#[command(after_help = "Examples:\n  \
    polder sql --mesh packly --as analyst-eu -c 'SHOW TABLES'\n  \
    polder sql --url grpc://127.0.0.1:50051 --as analyst-eu -c 'SELECT * FROM storefront.customers LIMIT 5'\n  \
    polder sql --mesh packly --as privacy-officer -f report.sql --format parquet > report.parquet")]
pub struct Sql {
    /// A mesh directory, queried in this process
    #[arg(long, value_name = "DIR")]
    mesh: Option<PathBuf>,
    /// A server: grpc://HOST:PORT, or grpc+tls://HOST:PORT
    #[arg(long, value_name = "URL")]
    url: Option<String>,
    /// The user to ask as
    #[arg(long = "as", value_name = "USER")]
    user: Option<String>,
    /// The purpose to declare, if the mesh entitles you to it
    #[arg(long, value_name = "PURPOSE")]
    purpose: Option<String>,
    /// PEM certificates to trust instead of the system's
    #[arg(long, value_name = "FILE", requires = "url")]
    ca: Option<PathBuf>,
    /// Run these statements
    #[arg(short, long, value_name = "SQL")]
    command: Option<String>,
    /// Run the statements in this file
    #[arg(short, long, value_name = "FILE")]
    file: Option<PathBuf>,
    /// How rows are written; a table on a terminal and csv elsewhere by default
    #[arg(long, value_enum)]
    format: Option<Format>,
    #[command(flatten)]
    limits: Limits,
}

/// Where statements go.
enum Target {
    Embedded(Session),
    Remote(Box<Remote>),
}

/// A running statement.
struct Answer {
    schema: SchemaRef,
    rows: BoxStream<'static, Result<RecordBatch, Error>>,
    notices: Vec<String>,
}

impl Target {
    async fn ask(&mut self, sql: &str) -> Result<Answer, Error> {
        match self {
            Self::Embedded(session) => {
                let planned = session.plan(sql, &Pins::new()).await?;
                let notices = planned.notices().to_vec();
                let rows = planned.run()?;
                Ok(Answer { schema: rows.schema(), rows: rows.boxed(), notices })
            }
            Self::Remote(remote) => {
                let (schema, rows, notices) = match declared(sql) {
                    // The server keeps no session: the purpose goes with each call from here.
                    Some(purpose) => remote.declare(purpose.as_deref()).await?,
                    None => remote.query(sql).await?,
                };
                Ok(Answer { schema, rows, notices })
            }
        }
    }
}

impl Sql {
    /// Runs the command.
    pub async fn run(self) -> Outcome {
        let format = self.format.unwrap_or(if std::io::stdout().is_terminal() { Format::Table } else { Format::Csv });
        let script = match (&self.command, &self.file) {
            (Some(command), _) => Some(command.clone()),
            (None, Some(file)) => Some(std::fs::read_to_string(file).map_err(|error| {
                Failure::Environment(format!("the script `{}` cannot be read: {error}", file.display()))
            })?),
            (None, None) => None,
        };
        let mut target = self.target().await?;
        match script {
            Some(script) => run_script(&mut target, &script, format).await,
            None if std::io::stdin().is_terminal() => converse(&mut target, format).await,
            None => {
                let mut script = String::new();
                std::io::stdin().read_to_string(&mut script)?;
                run_script(&mut target, &script, format).await
            }
        }
    }

    async fn target(&self) -> Result<Target, Failure> {
        match (&self.mesh, &self.url) {
            (Some(dir), _) => {
                let engine = engine(dir, self.limits.options())?;
                let principal = embedded_principal(&engine, self.user.as_deref(), self.purpose.as_deref())?;
                Ok(Target::Embedded(Session::new(engine, principal)))
            }
            (None, Some(url)) => {
                let credentials = credentials(self.user.as_deref())?;
                let remote = Remote::connect(url, credentials, self.purpose.as_deref(), self.ca.as_deref()).await;
                let remote = remote.map_err(|error| Failure::Environment(error.to_string()))?;
                Ok(Target::Remote(Box::new(remote)))
            }
            (None, None) => Err(Failure::Environment("name a mesh with --mesh or a server with --url".to_owned())),
        }
    }
}

/// The user that the operator of this machine asks as.
pub fn embedded_principal(engine: &Engine, user: Option<&str>, purpose: Option<&str>) -> Result<Principal, Failure> {
    let mesh = engine.mesh();
    let Some(user) = user else {
        return Err(Failure::Environment("name the user to ask as with --as".to_owned()));
    };
    let principal = mesh.principal(user).ok_or_else(|| {
        let users: Vec<&str> = mesh.users().collect();
        let known = match users.as_slice() {
            [] => "the mesh declares no users".to_owned(),
            users => format!("the mesh declares {}", users.join(", ")),
        };
        Failure::Environment(format!("there is no user `{user}`: {known}"))
    })?;
    match purpose {
        None => Ok(principal),
        Some(purpose) => mesh.with_purpose(principal, purpose).map_err(|error| Failure::Environment(error.to_string())),
    }
}

fn credentials(user: Option<&str>) -> Result<Credentials, Failure> {
    if let Ok(token) = std::env::var("POLDER_TOKEN") {
        return Ok(Credentials::Token(Secret::new(token)));
    }
    let Some(user) = user else { return Ok(Credentials::None) };
    if let Ok(password) = std::env::var("POLDER_PASSWORD") {
        return Ok(Credentials::Password { user: user.to_owned(), password: Secret::new(password) });
    }
    if !std::io::stdin().is_terminal() {
        return Err(Failure::Environment(
            "set POLDER_PASSWORD or POLDER_TOKEN: there is no terminal to ask on".to_owned(),
        ));
    }
    let password = rpassword::prompt_password(format!("password of {user}: "))?;
    Ok(Credentials::Password { user: user.to_owned(), password: Secret::new(password) })
}

async fn run_script(target: &mut Target, script: &str, format: Format) -> Outcome {
    let (mut statements, rest) = split(script);
    if !is_blank(&rest) {
        statements.push(rest);
    }
    for statement in statements {
        run_one(target, &statement, format).await?;
    }
    Ok(())
}

async fn run_one(target: &mut Target, statement: &str, format: Format) -> Outcome {
    let interrupted = || Error::new(Class::Cancelled, "the statement was interrupted");
    let mut answer = tokio::select! {
        answer = target.ask(statement) => answer?,
        _ = tokio::signal::ctrl_c() => return Err(interrupted().into()),
    };
    for notice in &answer.notices {
        terminal::say(&format!("note: {notice}"));
    }
    let mut printer = Printer::new(format, &answer.schema, BufWriter::new(std::io::stdout()))?;
    let mut count = 0;
    loop {
        let batch = tokio::select! {
            batch = answer.rows.next() => batch,
            _ = tokio::signal::ctrl_c() => return Err(interrupted().into()),
        };
        let Some(batch) = batch.transpose()? else { break };
        count += batch.num_rows();
        printer.write(batch)?;
    }
    printer.finish()?;
    if format == Format::Table && terminal::watched() {
        terminal::say(&format!("{count} {}", if count == 1 { "row" } else { "rows" }));
    }
    Ok(())
}

/// Reads statements from a terminal until its end. An error ends its statement and not the conversation.
async fn converse(target: &mut Target, format: Format) -> Outcome {
    terminal::say("a statement ends with a semicolon; \\q leaves");
    let mut pending = String::new();
    loop {
        let prompt = if pending.trim().is_empty() { "polder> " } else { "   ...> " };
        let Some(line) = read_line(prompt).await? else { return Ok(()) };
        if pending.trim().is_empty() && matches!(line.trim(), "\\q" | "quit" | "exit") {
            return Ok(());
        }
        pending.push_str(&line);
        let (statements, rest) = split(&pending);
        pending = rest;
        for statement in statements {
            match run_one(target, &statement, format).await {
                Err(Failure::Error(error)) => terminal::say_error(&error),
                other => other?,
            }
        }
    }
}

/// One line from the terminal, or `None` at its end.
async fn read_line(prompt: &'static str) -> std::io::Result<Option<String>> {
    let read = move || {
        let mut out = std::io::stderr().lock();
        write!(out, "{prompt}")?;
        out.flush()?;
        let mut line = String::new();
        let read = std::io::stdin().lock().read_line(&mut line)?;
        Ok((read > 0).then_some(line))
    };
    tokio::task::spawn_blocking(read).await.map_err(std::io::Error::other)?
}
