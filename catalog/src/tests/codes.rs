//! Every code has its page, every page its code, and the documents list them all.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use crate::codes::{find, pages};

fn sources(dir: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            // The pages themselves use no code, and tests make findings of their own.
            if !["codes", "tests"].iter().any(|name| path.file_name().unwrap() == *name) {
                sources(&path, found);
            }
        } else if path.extension().is_some_and(|extension| extension == "rs")
            && !["codes.rs", "tests.rs"].iter().any(|name| path.ends_with(name))
        {
            found.push(path);
        }
    }
}

/// The codes that stand as texts in the sources of both crates.
fn used() -> BTreeSet<String> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let known: BTreeSet<&str> = pages().iter().filter_map(|page| page.code.split('/').next()).collect();
    let mut found = BTreeSet::new();
    // In this crate nothing else looks like a code; in the other one media types do.
    for (dir, any) in [("src", true), ("../src/cli", false)] {
        let mut files = Vec::new();
        sources(&root.join(dir), &mut files);
        for file in files {
            let text = fs::read_to_string(&file).unwrap();
            for literal in text.split("#[cfg(test)]").next().unwrap().split('"').skip(1) {
                let Some((prefix, rest)) = literal.split_once('/') else { continue };
                let is_name =
                    |name: &str| !name.is_empty() && name.bytes().all(|b| b.is_ascii_lowercase() || b == b'-');
                if is_name(prefix) && is_name(rest) && (any || known.contains(prefix)) {
                    found.insert(literal.to_owned());
                }
            }
        }
    }
    found
}

#[test]
fn every_code_has_a_page_and_every_page_a_code() {
    let (pages, used) = (pages(), used());
    let told: BTreeSet<String> = pages.iter().map(|page| page.code.to_owned()).collect();
    assert_eq!(told.len(), pages.len(), "no code has two pages");
    let missing: Vec<&String> = used.difference(&told).collect();
    assert!(missing.is_empty(), "these codes have no page: {missing:?}");
    let unused: Vec<&String> = told.difference(&used).collect();
    assert!(unused.is_empty(), "these pages have no code: {unused:?}");
    for page in pages {
        assert!(!page.means.is_empty() && !page.means.ends_with('.'), "{page:?}");
        assert!(page.why.ends_with('.') && page.write.ends_with(['.', '…']), "{page:?}");
    }
}

#[test]
fn the_documents_list_every_code() {
    let text = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/governance.md")).unwrap();
    let listed: Vec<&str> = text.lines().filter_map(|line| line.strip_prefix("| `")?.split('`').next()).collect();
    let codes: Vec<&str> = listed.into_iter().filter(|code| code.contains('/')).collect();
    let expected: Vec<&str> = pages().iter().map(|page| page.code).collect();
    assert_eq!(codes, expected, "docs/governance.md has a line for each code, in their order");
}

#[test]
fn a_slip_in_a_code_is_told() {
    assert_eq!(find("policy/no-id").unwrap().code, "policy/no-id");
    assert_eq!(find("policy/noid"), Err(Some("policy/no-id")));
    assert_eq!(find("what/ever"), Err(None));
}
