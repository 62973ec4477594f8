//! The files on disk, and what is found wrong with them: every finding names file, line and column.

mod edit;
pub(crate) mod fields;
pub(crate) mod file;
pub(crate) mod texts;
pub(crate) mod value;
mod watch;
pub(crate) mod yaml;

use std::fmt;
use std::sync::Arc;

use crate::codes;
use crate::mesh::Product;
use crate::name::{DomainName, ProductRef};

pub use edit::with_tag;
pub use value::Value;
pub use watch::Watch;

/// A place in a file of the mesh.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    /// The file, relative to the mesh directory, with `/` between its parts.
    pub file: Arc<str>,
    /// The line, from 1.
    pub line: u32,
    /// The column in characters, from 1.
    pub column: u32,
}

impl Place {
    /// The top of `mesh.yaml`, for what has no place of its own.
    pub fn top() -> Self {
        Self { file: "mesh.yaml".into(), line: 1, column: 1 }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}:{}", self.file, self.line, self.column)
    }
}

/// How grave a finding is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// Good to know; nothing is wrong.
    Note,
    /// Worth a look; everything is served.
    Warning,
    /// What it concerns is not served.
    Error,
}

/// Something wrong with the files of a mesh.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// A stable code, `policy/unknown-attribute`.
    pub code: &'static str,
    /// How grave it is.
    pub severity: Severity,
    /// Where it is.
    pub place: Place,
    /// The domain that it takes out, or `None` when it concerns the whole mesh or takes nothing out.
    pub domain: Option<DomainName>,
    /// The product that it alone takes out, with its major.
    pub product: Option<ProductRef>,
    /// What is wrong: lowercase, no trailing stop, the user's text in backticks.
    pub message: String,
    /// What to write instead.
    pub help: Option<String>,
}

impl Finding {
    /// What says nothing of its own about what to write instead says what the page of its code does. Notes need none.
    #[must_use]
    pub fn helped(mut self) -> Self {
        if self.help.is_none() && self.severity != Severity::Note {
            self.help = codes::find(self.code).ok().map(|page| page.help());
        }
        self
    }
}

/// The findings about one scope: the mesh, or one domain.
#[derive(Debug, Default)]
pub(crate) struct Report {
    domain: Option<DomainName>,
    findings: Vec<Finding>,
}

impl Report {
    /// A report whose findings concern `domain`, or the whole mesh.
    pub fn new(domain: Option<DomainName>) -> Self {
        Self { domain, findings: Vec::new() }
    }

    /// Notes something that takes its scope out of service.
    pub fn error(&mut self, code: &'static str, place: &Place, message: impl Into<String>) -> Help<'_> {
        self.add(code, Severity::Error, place, message.into())
    }

    /// Notes something that is wrong and keeps nothing of its domain from being served.
    pub fn fault(&mut self, code: &'static str, place: &Place, message: impl Into<String>) -> Help<'_> {
        let _ = self.add(code, Severity::Error, place, message.into());
        let mut found = self.findings.last_mut();
        if let Some(finding) = &mut found {
            finding.domain = None;
        }
        Help(found)
    }

    /// Notes something worth a look.
    pub fn warning(&mut self, code: &'static str, place: &Place, message: impl Into<String>) -> Help<'_> {
        self.add(code, Severity::Warning, place, message.into())
    }

    /// Notes something that is good to know.
    pub fn note(&mut self, code: &'static str, place: &Place, message: impl Into<String>) -> Help<'_> {
        self.add(code, Severity::Note, place, message.into())
    }

    fn add(&mut self, code: &'static str, severity: Severity, place: &Place, message: String) -> Help<'_> {
        let domain = self.domain.clone();
        self.findings.push(Finding {
            code,
            severity,
            place: place.clone(),
            domain,
            product: None,
            message,
            help: None,
        });
        Help(self.findings.last_mut())
    }

    /// Notes something that takes `product` out of service, and nothing else of its scope.
    pub fn refuse(
        &mut self,
        code: &'static str,
        place: &Place,
        product: &Product,
        message: impl Into<String>,
    ) -> Help<'_> {
        let _ = self.add(code, Severity::Error, place, message.into());
        let mut found = self.findings.last_mut();
        if let Some(finding) = &mut found {
            finding.product = Some(ProductRef { product: product.name.clone(), major: Some(product.contract.major) });
        }
        Help(found)
    }

    /// Whether anything was found that takes the scope out.
    pub fn is_broken(&self) -> bool {
        let takes_out = |finding: &Finding| finding.product.is_none() && finding.domain == self.domain;
        self.findings.iter().any(|finding| finding.severity == Severity::Error && takes_out(finding))
    }

    /// What takes `product` out of service, if anything does.
    pub fn refusal(&self, product: &Product) -> Option<&Finding> {
        self.findings.iter().find(|finding| {
            let name = finding.product.as_ref();
            name.is_some_and(|name| name.product == product.name && name.major == Some(product.contract.major))
        })
    }

    /// How much was found so far.
    pub fn count(&self) -> usize {
        self.findings.len()
    }

    /// Everything that was found. What says nothing of its own says what the page of its code does.
    pub fn into_findings(self) -> Vec<Finding> {
        self.findings.into_iter().map(Finding::helped).collect()
    }
}

/// The finding that was just noted, for its help.
pub(crate) struct Help<'a>(Option<&'a mut Finding>);

impl Help<'_> {
    /// Says what to write instead.
    pub fn help(self, text: impl Into<String>) {
        if let Some(finding) = self.0 {
            finding.help = Some(text.into());
        }
    }

    /// Names the declared name that is nearest to `text`, if one is near.
    pub fn did_you_mean<'n>(self, text: &str, names: impl IntoIterator<Item = &'n str>) {
        if let Some(name) = nearest(text, names) {
            self.help(format!("did you mean `{name}`?"));
        }
    }
}

/// The name that `text` is most likely a slip of.
pub fn nearest<'n>(text: &str, names: impl IntoIterator<Item = &'n str>) -> Option<&'n str> {
    // Longer texts are no slips of names, and the distance is quadratic in them.
    if text.len() > 256 {
        return None;
    }
    let allowed = (text.chars().count() / 3).clamp(1, 3);
    names
        .into_iter()
        .filter(|name| name.len() <= 256)
        .map(|name| (strsim::osa_distance(&text.to_lowercase(), &name.to_lowercase()), name))
        .filter(|(distance, _)| *distance <= allowed)
        .min()
        .map(|(_, name)| name)
}

/// The user's text in backticks, cut where it would drown the message.
pub(crate) fn quote(text: &str) -> String {
    let mut short: String = text.chars().take(80).map(|c| if c.is_control() { ' ' } else { c }).collect();
    if text.chars().nth(80).is_some() {
        short.push('…');
    }
    format!("`{short}`")
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "tests")]
mod tests {
    use super::*;

    #[test]
    fn a_slip_is_near_and_another_word_is_not() {
        let names = ["analysts", "auditors", "fraud-team"];
        assert_eq!(nearest("analyst", names), Some("analysts"));
        assert_eq!(nearest("Auditros", names), Some("auditors"));
        assert_eq!(nearest("marketing", names), None);
        assert_eq!(nearest("x", ["y", "zz"]), Some("y"));
        assert_eq!(nearest(&"a".repeat(300), names), None);
    }

    #[test]
    fn a_long_text_is_cut() {
        assert_eq!(quote("a\nb"), "`a b`");
        assert_eq!(quote(&"é".repeat(100)), format!("`{}…`", "é".repeat(80)));
    }
}
