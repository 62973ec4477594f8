//! What each code of a finding means, why it is asked for, and what to write instead: the only place that says so.
//!
//! `polder explain CODE` shows a page, SARIF carries them as the help of its rules, and docs/governance.md lists them.

mod claims;
mod contracts;
mod detections;
mod documents;
mod domains;
mod live;
mod meshes;
mod policies;
mod trials;

use crate::document::nearest;

/// The page of a code.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Page {
    /// The code: `policy/unknown-entity`.
    pub code: &'static str,
    /// What is wrong, in a sentence.
    pub means: &'static str,
    /// Why it is asked for.
    pub why: &'static str,
    /// What to write instead.
    pub write: &'static str,
}

impl Page {
    /// What to write instead, as the help of a finding.
    pub fn help(&self) -> String {
        let mut text = self.write.trim_end_matches('.').chars();
        text.next().map(|first| first.to_lowercase().chain(text).collect()).unwrap_or_default()
    }
}

const fn page(code: &'static str, means: &'static str, why: &'static str, write: &'static str) -> Page {
    Page { code, means, why, write }
}

/// Every page, in the order of the codes.
pub fn pages() -> Vec<Page> {
    let mut all: Vec<Page> = [
        claims::PAGES,
        contracts::PAGES,
        detections::PAGES,
        documents::PAGES,
        domains::PAGES,
        live::PAGES,
        meshes::PAGES,
        policies::PAGES,
        trials::PAGES,
    ]
    .concat();
    all.sort_by_key(|page| page.code);
    all
}

/// The page of a code.
///
/// # Errors
/// The code that is nearest, if one is near.
pub fn find(code: &str) -> Result<Page, Option<&'static str>> {
    let all = pages();
    let found = all.iter().find(|page| page.code == code);
    found.copied().ok_or_else(|| nearest(code, all.iter().map(|page| page.code)))
}
