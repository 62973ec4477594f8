//! The `polder` binary: reads the command line and ends with the command's exit code.

use std::process::ExitCode;

/// Results are built on one thread and freed on another; the system's allocator keeps what such threads free.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    polder::cli::main()
}
