//! `polder token`: a new API token for a service, and the hash of it that a mesh declares.

use std::io::Write as _;

use clap::Args;

use super::{Outcome, terminal};
use crate::auth::new_token;

/// Make an API token for a service
///
/// Prints the token and its hash, each on a line. The token goes to the service, which sends it as a bearer token, or as the
/// password of the user `token`. The hash goes into a file that `auth.tokens` in mesh.yaml names. Nothing is kept: a token
/// that is lost is replaced by a new one.
#[derive(Args)]
#[command(after_help = "Examples:\n  \
    polder token\n  \
    polder token | tee etl.token | sed -n 's/^token_hash: //p' > secrets/etl.sha256\n\n\
    In mesh.yaml, below `auth`:\n  \
    tokens: [ { name: etl, token_hash: \"${file:secrets/etl.sha256}\", groups: [analysts] } ]")]
pub struct Token {}

impl Token {
    /// Runs the command.
    pub fn run(self) -> Outcome {
        let (token, hash) = new_token()?;
        writeln!(std::io::stdout().lock(), "token: {}\ntoken_hash: {hash}", token.expose())?;
        terminal::say("the token is shown this once: give it to the service, and its hash to the mesh");
        Ok(())
    }
}
