//! The expectations of a product, held against a decision.

use super::rows::{Relation, Shown, compare};
use super::{ExpectedRows, Failure, OfProduct, access_at, find};
use crate::document::Place;
use crate::mesh::{Mesh, Product};
use crate::policy::{Decision, Grants, Reason, RowRule, Rows};
use crate::principal::Principal;

pub(super) fn hold(expected: &OfProduct, mesh: &Mesh, principal: &Principal) -> Vec<Failure> {
    let Some(product) = mesh.product(&expected.name) else { return Vec::new() };
    let decision = mesh.decide(principal, product);
    let fail = |code, place: &Place, what: String, (expected, got): (String, String), because| Failure {
        code,
        place: place.clone(),
        what,
        expected,
        got,
        because,
    };
    let mut failures = Vec::new();
    let name = &expected.name;
    let is_shown = !matches!(decision, Decision::Hidden(_));
    if let Some((discover, place)) = &expected.discover
        && *discover != is_shown
    {
        let word = |shown| if shown { "discoverable" } else { "hidden" }.to_owned();
        let because = match &decision {
            Decision::Hidden(reason) => reason.iter().cloned().collect(),
            Decision::Refused(_) | Decision::Granted(_) => Vec::new(),
        };
        failures.push(fail("test/discover", place, format!("`{name}`"), (word(*discover), word(is_shown)), because));
    }
    let grants = match decision {
        Decision::Granted(grants) => Ok(grants),
        Decision::Hidden(reason) => Err(("hidden: the product may not be discovered", reason)),
        Decision::Refused(reason) => Err(("refused: a policy could not be evaluated", Some(reason))),
    };
    let grants = grants.map_err(|(got, reason)| (got.to_owned(), reason.into_iter().collect::<Vec<_>>()));
    if let Some(rows) = &expected.rows {
        let got = match &grants {
            Ok(grants) => rows_differ(rows, grants, product),
            Err(got) => Some(got.clone()),
        };
        if let Some((got, because)) = got {
            let texts = (rows.written.clone(), got);
            failures.push(fail("test/rows", &rows.place, format!("the rows of `{name}`"), texts, because));
        }
    }
    for (path, effect, place) in &expected.columns {
        let found = match &grants {
            Ok(grants) => find(&product.contract.columns, path)
                .and_then(|path| access_at(&grants.columns, &path))
                .map(|(access, because)| (effect.holds(&access), access.to_string(), because)),
            Err((got, because)) => Some((false, got.clone(), because.clone())),
        };
        let (holds, got, because) = found.unwrap_or((false, "no such column".to_owned(), Vec::new()));
        if !holds {
            let what = format!("column `{path}` of `{name}`");
            failures.push(fail("test/column", place, what, (effect.to_string(), got), because));
        }
    }
    failures
}

/// What the rows are, and why, unless they are what is expected.
fn rows_differ(expected: &ExpectedRows, grants: &Grants, product: &Product) -> Option<(String, Vec<Reason>)> {
    let relation = compare(&Shown::of(&grants.rows), &expected.shown, &product.contract.columns);
    let example = match relation {
        Relation::Same => return None,
        Relation::TooMany => "too many cases to tell whether that is the same".to_owned(),
        Relation::Differ(Some(row), _) => format!("shows a row with {row}"),
        Relation::Differ(None, Some(row)) => format!("hides a row with {row}"),
        Relation::Differ(None, None) => "shows other rows".to_owned(),
    };
    let (permits, forbids) = grants.rows.rules();
    let because = permits.unwrap_or_default().iter().chain(forbids).map(|rule| rule.reason.clone()).collect();
    Some((format!("{} ({example})", written(&grants.rows)), because))
}

/// The rows of a decision, as one writes them.
pub(crate) fn written(rows: &Rows) -> String {
    let filters = |rules: &[RowRule], word: &str| {
        let all = || "all".to_owned();
        let texts: Vec<String> =
            rules.iter().map(|rule| rule.filter.as_ref().map_or_else(all, |filter| filter.to_string())).collect();
        texts.join(word)
    };
    match rows {
        Rows::All => "all".to_owned(),
        Rows::Except(forbids) => format!("all except {}", filters(forbids, ", ")),
        Rows::Closed { permits, .. } if permits.is_empty() => "none".to_owned(),
        Rows::Closed { permits, forbids } if forbids.is_empty() => filters(permits, " OR "),
        Rows::Closed { permits, forbids } => format!("{} except {}", filters(permits, " OR "), filters(forbids, ", ")),
    }
}
