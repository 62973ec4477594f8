//! `polder demo`: the Packly mesh, one question asked by three users, and then a server.

use std::path::PathBuf;

use clap::Args;

use super::serve::{Listen, until_stopped};
use super::{Limits, Outcome};

/// Make the Packly mesh, query it as three users, and serve it
#[derive(Args)]
#[command(after_help = "Examples:\n  polder demo\n  polder demo --dir /tmp/packly --once")]
pub struct Demo {
    /// Where the mesh and its tables are made; one that is there already is used again
    #[arg(long, value_name = "DIR", default_value = "demo")]
    dir: PathBuf,
    /// End after the queries
    #[arg(long)]
    once: bool,
    #[command(flatten)]
    listen: Listen,
    #[command(flatten)]
    limits: Limits,
}
