//! The `polder` binary: reads the command line and ends with the command's exit code.

use std::process::ExitCode;

fn main() -> ExitCode {
    polder::cli::main()
}
