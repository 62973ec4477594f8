//! `polder audit`: whether an audit log is what was written.

use std::io::Write as _;
use std::path::PathBuf;

use clap::{Args, Subcommand};

use super::{Failure, Outcome};
use crate::observe::{Unverified, Verified, verify};

/// Look at an audit log
#[derive(Args)]
pub struct Audit {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    Verify(Verify),
}

/// Say whether an audit log is what was written
///
/// Every line holds the hash of the one before it, across files. Ends with 0 when all of them fit, with 1 when one does not,
/// and with 2 when the log could not be read. The hash that is printed says all that is before it: kept elsewhere, it
/// tells later whether the log was written anew or lost its end.
#[derive(Args)]
#[command(after_help = "Examples:\n  \
    polder audit verify /var/log/polder/audit\n  \
    polder audit verify audit-00000007.jsonl")]
struct Verify {
    /// The directory that `polder serve --audit` wrote, or one of its files
    #[arg(value_name = "FILE|DIR")]
    path: PathBuf,
}

impl Audit {
    /// Runs the command.
    pub fn run(self) -> Outcome {
        let Command::Verify(Verify { path }) = self.command;
        let mut out = std::io::stdout().lock();
        match verify(&path) {
            Ok(Verified { files, records, first, last, hash }) => {
                writeln!(out, "{records} records in {} fit, numbers {first} to {last}", counted(files))?;
                if first > 1 {
                    writeln!(out, "those before number {first} are not here")?;
                }
                writeln!(out, "last hash: {hash}")?;
                Ok(())
            }
            Err(Unverified::Broken(broken)) => {
                writeln!(out, "{}:{}: {}", broken.file, broken.line, broken.why)?;
                Err(Failure::Findings)
            }
            Err(unread) => {
                Err(Failure::Environment(format!("the audit log `{}` was not verified: {unread}", path.display())))
            }
        }
    }
}

fn counted(files: usize) -> String {
    if files == 1 { "one file".to_owned() } else { format!("{files} files") }
}
