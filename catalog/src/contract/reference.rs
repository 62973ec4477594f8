//! Foreign keys, as the standard writes them: `relationships` of a schema object or of a property.
//!
//! ```text
//! relationships: [{ from: lines.order_id, to: orders.id }]       of an object; several columns as lists
//! relationships: [{ to: storefront.customers.customer_id }]      of a property; `domain.` before one of another domain
//! relationships: [{ to: schema/orders/properties/id }]           the standard's long form
//! ```
//!
//! They say what belongs together and are held against nothing. One that points out of the mesh, or whose kind is another,
//! is left alone.

use super::keys::{self, check};
use crate::document::Report;
use crate::document::fields::Fields;
use crate::document::yaml::Kind;

/// Columns whose values are those of another product's columns.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reference {
    /// The columns, one for each in `to`.
    pub columns: Vec<String>,
    /// The domain of the other product; its own where none is named.
    pub domain: Option<String>,
    /// The schema object that the other product is.
    pub object: String,
    /// The columns there.
    pub to: Vec<String>,
}

/// The foreign keys that stand at an object, or at the property `own`.
pub(super) fn references(fields: &mut Fields<'_>, own: Option<&str>, report: &mut Report) -> Vec<Reference> {
    let mut found = Vec::new();
    for node in fields.list("relationships", report) {
        let Some(mut relationship) = Fields::of(node, "a relationship", report) else { continue };
        check(&relationship, keys::RELATIONSHIP, report);
        let foreign = relationship.text("type", report).is_none_or(|kind| kind == "foreignKey");
        let from = one_or_several(&mut relationship, "from", report);
        let targets: Option<Vec<_>> =
            one_or_several(&mut relationship, "to", report).iter().map(|text| target(text)).collect();
        let columns: Vec<String> = match own {
            Some(own) => vec![own.to_owned()],
            None => from.iter().map(|text| last(text).to_owned()).collect(),
        };
        let Some(targets) = targets else { continue };
        let Some((domain, object, _)) = targets.first().cloned() else { continue };
        let one_product = targets.iter().all(|(d, o, _)| (d, o) == (&domain, &object));
        if foreign && one_product && columns.len() == targets.len() {
            let to = targets.into_iter().map(|(_, _, column)| column).collect();
            found.push(Reference { columns, domain, object, to });
        }
    }
    found
}

fn one_or_several(fields: &mut Fields<'_>, key: &'static str, report: &mut Report) -> Vec<String> {
    match fields.get(key).map(|node| &node.kind) {
        Some(Kind::List(_)) => fields.texts(key, report).into_iter().map(|(text, _)| text.to_owned()).collect(),
        Some(_) => fields.text(key, report).map(str::to_owned).into_iter().collect(),
        None => Vec::new(),
    }
}

/// The domain, the object and the column that a reference means.
fn target(text: &str) -> Option<(Option<String>, String, String)> {
    if text.contains('#') {
        return None;
    }
    let long: Vec<&str> = text.trim_start_matches('/').split('/').collect();
    if let ["schema", object, "properties", column] = long.as_slice() {
        return Some((None, (*object).to_owned(), (*column).to_owned()));
    }
    match text.split('.').collect::<Vec<_>>().as_slice() {
        [object, column] => Some((None, (*object).to_owned(), (*column).to_owned())),
        [domain, object, column] => Some((Some((*domain).to_owned()), (*object).to_owned(), (*column).to_owned())),
        _ => None,
    }
}

fn last(text: &str) -> &str {
    text.rsplit(['.', '/']).next().unwrap_or(text)
}
