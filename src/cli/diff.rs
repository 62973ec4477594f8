//! `polder diff`: what breaks whom between two states of a mesh, and who gains or loses access to what.

use std::path::PathBuf;

use clap::Args;

use super::Outcome;

#[derive(Args)]
pub struct Diff {
    #[arg(value_name = "OLD")]
    old: PathBuf,
}

impl Diff {
    pub fn run(self) -> Outcome {
        let _ = self.old;
        Ok(())
    }
}
