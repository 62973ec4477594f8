//! `polder sql`: statements to an embedded mesh or a server, rows to stdout.

mod profile;
mod progress;
mod run;
mod sink;
mod target;
mod toml;

use std::io::{IsTerminal, Read};
use std::path::{Path, PathBuf};

use clap::{ArgGroup, Args};
use polder_catalog::principal::Principal;
use polder_catalog::secret::Secret;

use self::profile::Profile;
use super::statements::{is_blank, split};
use super::{Failure, Limits, Outcome, engine, shell, terminal};
use crate::error::Error;
use crate::flight::client::{Credentials, Remote};
use crate::format::{Expanded, Format, Look};
use crate::session::Engine;

pub use progress::Progress;
pub use run::{Counted, Show, run};
pub use sink::{Sink, Size, keeps_colors, pager};
pub use target::Target;

/// Run SQL against a mesh on this machine or a server
///
/// Statements come from -c, from -f, or from standard input. On a terminal they are typed: a statement ends with a
/// semicolon, Tab completes what you may see, \? lists the commands and \q leaves. Rows go to stdout, everything else to
/// stderr.
///
/// With --mesh the engine runs in this process, and --as names any user of the mesh without a password: who can read
/// the mesh's files and keys on this machine needs none. With --url the server asks who you are: the password is taken
/// from POLDER_PASSWORD or asked for, or a token from POLDER_TOKEN, or --cert and --key are shown. With --profile an ADBC
/// connection profile says all of that.
#[derive(Args)]
#[command(group(ArgGroup::new("where").required(true).args(["mesh", "url", "profile"])))]
#[command(group(ArgGroup::new("what").args(["command", "file"])))]
#[command(after_help = "Examples:\n  \
    polder sql --mesh packly --as analyst-eu\n  \
    polder sql --mesh packly --as analyst-eu -c 'SHOW TABLES'\n  \
    polder sql --url grpc://127.0.0.1:50051 --as analyst-eu -c 'SELECT * FROM storefront.customers LIMIT 5'\n  \
    polder sql --profile packly -c 'SELECT * FROM storefront.customers LIMIT 5'\n  \
    polder sql --mesh packly --as privacy-officer -f report.sql --format parquet > report.parquet")]
pub struct Sql {
    /// A mesh directory, queried in this process
    #[arg(long, value_name = "DIR")]
    mesh: Option<PathBuf>,
    /// A server: grpc://HOST:PORT, or grpc+tls://HOST:PORT
    #[arg(long, value_name = "URL")]
    url: Option<String>,
    /// An ADBC connection profile: its name, or its file
    #[arg(long, value_name = "NAME")]
    profile: Option<String>,
    /// The user to ask as
    #[arg(long = "as", value_name = "USER")]
    user: Option<String>,
    /// The purpose to declare, if the mesh entitles you to it
    #[arg(long, value_name = "PURPOSE")]
    purpose: Option<String>,
    /// PEM certificates to trust instead of the system's
    #[arg(long, value_name = "FILE", conflicts_with = "mesh")]
    ca: Option<PathBuf>,
    /// PEM certificate to show, by which the server knows you
    #[arg(long, value_name = "FILE", conflicts_with = "mesh", requires = "key")]
    cert: Option<PathBuf>,
    /// PEM key of that certificate
    #[arg(long, value_name = "FILE", requires = "cert")]
    key: Option<PathBuf>,
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

impl Sql {
    /// Runs the command.
    pub async fn run(self) -> Outcome {
        let on_terminal = std::io::stdout().is_terminal();
        let format = self.format.unwrap_or(if on_terminal { Format::Table } else { Format::Csv });
        let script = match (&self.command, &self.file) {
            (Some(command), _) => Some(command.clone()),
            (None, Some(file)) => Some(read_script(file)?),
            (None, None) => None,
        };
        if format.is_binary() && on_terminal {
            return Err(Failure::Environment("this format is no text for a terminal: send it to a file".to_owned()));
        }
        let mut target = self.target().await?;
        match script {
            Some(script) => run_script(&mut target, &script, format).await,
            None if std::io::stdin().is_terminal() => shell::converse(target, format).await,
            None => {
                let mut script = String::new();
                std::io::stdin().read_to_string(&mut script)?;
                run_script(&mut target, &script, format).await
            }
        }
    }

    async fn target(&self) -> Result<Target, Failure> {
        match (&self.mesh, &self.url, &self.profile) {
            (Some(dir), ..) => {
                let engine = engine(dir, self.limits.options())?;
                let principal = embedded_principal(&engine, self.user.as_deref(), self.purpose.as_deref())?;
                Ok(Target::embedded(engine, principal))
            }
            (None, Some(url), _) => self.connect(Profile { url: Some(url.clone()), ..Profile::default() }).await,
            (None, None, Some(name)) => {
                let profile = Profile::find(name)?;
                for option in &profile.unused {
                    terminal::say(&format!("note: option `{option}` of the profile has no effect here"));
                }
                self.connect(profile).await
            }
            (None, None, None) => {
                Err(Failure::Environment("name a mesh with --mesh, or a server with --url or --profile".to_owned()))
            }
        }
    }

    /// Connects as the profile says. What the command line says goes before it.
    async fn connect(&self, profile: Profile) -> Result<Target, Failure> {
        let Profile { url, user, password, token, purpose, certificates, unused: _ } = profile;
        let Some(url) = url else {
            return Err(Failure::Environment("the profile names no server in its option `uri`".to_owned()));
        };
        let failed = |error: Error| Failure::Environment(error.to_string());
        let identity = self.cert.as_deref().zip(self.key.as_deref());
        let certificates = certificates.with_files(self.ca.as_deref(), identity).map_err(failed)?;
        // Another user has other credentials.
        let credentials = match &self.user {
            Some(other) if user.as_ref() != Some(other) => credentials(Some(other))?,
            _ => match (token, password, &user) {
                (Some(token), ..) => Credentials::Token(token),
                (None, Some(password), Some(user)) => Credentials::Password { user: user.clone(), password },
                (None, Some(_), None) => {
                    return Err(Failure::Environment("the profile has a `password` and no `username`".to_owned()));
                }
                // Who shows a certificate is known by it.
                (None, None, None) if certificates.identity.is_some() => Credentials::None,
                (None, None, user) => credentials(user.as_deref())?,
            },
        };
        let purpose = self.purpose.as_deref().or(purpose.as_deref());
        let remote = Remote::open(&url, credentials, purpose, &certificates).await.map_err(failed)?;
        Ok(Target::Remote(Box::new(remote)))
    }
}

/// The text of a script.
pub fn read_script(file: &Path) -> Result<String, Failure> {
    std::fs::read_to_string(file)
        .map_err(|error| Failure::Environment(format!("the script `{}` cannot be read: {error}", file.display())))
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
    let watched = terminal::watched();
    let counted = if format == Format::Table && watched { Counted::Rows } else { Counted::Silent };
    let look = Look { expanded: Expanded::Off, columns: None, color: false };
    for statement in statements {
        let progress = Progress::new(watched);
        let sink = Sink::stdout(&progress);
        run(target, &statement, Show { format, look, counted }, sink, &progress).await?;
    }
    Ok(())
}
