//! Reads a YAML document and writes what was read of it, so that other programs can compare both.
//!
//! ```text
//! rewrite FILE     the document of FILE as YAML on stdout; 0 written · 1 it is no document · 2 it cannot be read
//! ```

use std::io::Write;
use std::process::ExitCode;
use std::{env, fs, io};

use polder_catalog::document::Value;

fn main() -> ExitCode {
    let mut arguments = env::args().skip(1);
    let (Some(path), None) = (arguments.next(), arguments.next()) else {
        return failed(2, "name one file: rewrite FILE");
    };
    let text = match fs::read_to_string(&path) {
        Ok(text) => text,
        Err(error) => return failed(2, &format!("`{path}` cannot be read: {error}")),
    };
    match Value::parse(&path, &text) {
        Ok(document) => match io::stdout().write_all(document.to_yaml().as_bytes()) {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => failed(2, &format!("nothing can be written: {error}")),
        },
        Err(findings) => {
            let lines = findings.iter().map(|found| format!("{}: {}: {}", found.place, found.code, found.message));
            failed(1, &lines.collect::<Vec<_>>().join("\n"))
        }
    }
}

fn failed(code: u8, why: &str) -> ExitCode {
    // There is nowhere to tell that stderr is closed.
    drop(writeln!(io::stderr(), "{why}"));
    ExitCode::from(code)
}
