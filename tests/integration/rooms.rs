//! The import rules of the architecture, read from the sources: who may know whom.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

/// Which rooms a room may import from. `error` is open to all.
const ROOMS: [(&str, &[&str]); 17] = [
    ("error", &[]),
    ("served", &[]),
    ("lock", &[]),
    ("lake", &["lock"]),
    ("scan", &["lake"]),
    ("scrub", &[]),
    ("format", &[]),
    ("observe", &["lock"]),
    ("guard", &["scrub"]),
    ("resolve", &["guard", "scan", "lake", "observe"]),
    ("session", &["served", "resolve", "guard", "scan", "lake", "observe", "lock"]),
    ("inspect", &["session", "resolve", "scan", "lake"]),
    ("auth", &["served", "observe"]),
    ("flight", &["auth", "session", "scrub", "observe"]),
    ("server", &["flight", "auth", "session", "served", "inspect", "format", "observe"]),
    ("packly", &["lake"]),
    ("cli", &["inspect", "packly", "server", "flight", "auth", "session", "lake", "format", "observe"]),
];

/// Outside crates that only some rooms may import.
const OUTSIDE: [(&str, &[&str]); 10] = [
    ("tonic", &["flight"]),
    ("arrow_flight", &["flight"]),
    ("tonic_health", &["flight"]),
    ("axum", &["server"]),
    ("iceberg", &["lake", "scan", "resolve", "inspect", "packly"]),
    ("object_store", &["lake", "scan"]),
    ("reqwest", &["auth", "lake", "observe"]),
    ("x509_parser", &["auth"]),
    ("tokio_rustls", &["flight", "server", "lake"]),
    ("rustls_native_certs", &["lake"]),
];

/// The sources below a directory, without those that only tests compile.
fn product_sources(dir: &Path) -> Vec<PathBuf> {
    let tests = |path: &PathBuf| {
        path.components().any(|part| part.as_os_str() == "tests")
            || path.ends_with("tests.rs")
            || path.ends_with("fixture.rs")
    };
    sources(dir).into_iter().filter(|path| !tests(&path.strip_prefix(root()).unwrap().to_owned())).collect()
}

fn sources(dir: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(sources(&path));
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
    found
}

/// The code of a file without its comments and its tests.
fn code(path: &Path) -> String {
    let text = fs::read_to_string(path).unwrap();
    let text = text.split("#[cfg(test)]").next().unwrap();
    text.lines().filter(|line| !line.trim_start().starts_with("//")).collect::<Vec<_>>().join("\n")
}

/// The first segments behind `prefix` in the paths of a file: `use crate::lake::…` and `crate::lake::Lake` alike, and
/// each branch of `use crate::{lake::…, scan::…}`.
fn segments(code: &str, prefix: &str) -> Vec<String> {
    let mut found = Vec::new();
    for (at, _) in code.match_indices(prefix) {
        let rest = &code[at + prefix.len()..];
        if code[..at].ends_with(|c: char| c.is_alphanumeric() || c == '_' || c == ':') {
            continue;
        }
        if let Some(group) = rest.strip_prefix('{') {
            let (mut depth, mut word) = (0, String::new());
            for letter in group.chars() {
                match letter {
                    '{' => depth += 1,
                    '}' if depth == 0 => break,
                    '}' => depth -= 1,
                    ',' if depth == 0 => found.push(std::mem::take(&mut word)),
                    _ if depth == 0 => word.push(letter),
                    _ => {}
                }
            }
            found.push(word);
        } else {
            found.push(rest.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect());
        }
    }
    let first = |text: String| text.trim().split("::").next().unwrap_or_default().trim().to_owned();
    found.into_iter().map(first).filter(|word| !word.is_empty()).collect()
}

fn room(path: &Path, src: &Path) -> String {
    let inside = path.strip_prefix(src).unwrap();
    let first = inside.components().next().unwrap().as_os_str().to_string_lossy();
    first.trim_end_matches(".rs").to_owned()
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

#[test]
fn rooms_import_only_what_the_architecture_allows() {
    let src = root().join("src");
    let allowed: BTreeMap<&str, &[&str]> = ROOMS.into_iter().collect();
    let mut wrong = Vec::new();
    for path in product_sources(&src) {
        let room = room(&path, &src);
        if room == "lib" || room == "main" {
            continue;
        }
        let Some(allowed) = allowed.get(room.as_str()) else {
            wrong.push(format!("{} is in no room that the architecture knows", path.display()));
            continue;
        };
        let code = code(&path);
        for other in segments(&code, "crate::") {
            if other != room && other != "error" && !allowed.contains(&other.as_str()) {
                wrong.push(format!("{}: `{room}` must not know `{other}`", path.display()));
            }
        }
        for (outside, rooms) in OUTSIDE {
            let names = code.contains(&format!("{outside}::"))
                && code
                    .match_indices(&format!("{outside}::"))
                    .any(|(at, _)| !code[..at].ends_with(|c: char| c.is_alphanumeric() || c == '_' || c == ':'));
            if names && !rooms.contains(&room.as_str()) {
                wrong.push(format!("{}: `{room}` must not know the crate `{outside}`", path.display()));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn the_catalog_stays_pure() {
    let manifest = fs::read_to_string(root().join("catalog/Cargo.toml")).unwrap();
    let dependencies = manifest.split("[dependencies]").nth(1).unwrap().split("\n[").next().unwrap();
    for banned in ["tokio", "arrow", "datafusion", "iceberg", "tonic", "object_store", "parquet"] {
        let named = dependencies.lines().any(|line| line.trim_start().starts_with(banned));
        assert!(!named, "polder-catalog must not depend on {banned}");
    }
}

#[test]
fn only_the_session_makes_datafusion_sessions() {
    let src = root().join("src");
    for path in product_sources(&src) {
        if room(&path, &src) == "session" {
            continue;
        }
        let code = code(&path);
        for maker in ["SessionContext", "SessionStateBuilder", "SessionState::"] {
            assert!(!code.contains(maker), "{} makes a DataFusion session with {maker}", path.display());
        }
    }
}

#[test]
fn every_file_opens_with_its_idea() {
    for dir in ["src", "catalog/src", "tests/integration"] {
        for path in sources(&root().join(dir)) {
            let text = fs::read_to_string(&path).unwrap();
            assert!(text.starts_with("//!"), "{} does not open with a //! sentence", path.display());
        }
    }
}

#[test]
fn the_rules_see_an_import_that_breaks_them() {
    let code =
        "use crate::lake::Lake;\nuse crate::{scan::IcebergScan, guard::{self, govern}};\nlet x = crate::auth::Auth;";
    assert_eq!(segments(code, "crate::"), ["lake", "scan", "guard", "auth"]);
    assert!(segments("use mycrate::lake;", "crate::").is_empty());
}
