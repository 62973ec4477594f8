//! What makes a product a derived one: a query over other products in the place of a table.
//!
//! ```text
//! schema:
//!   - name: revenue                        no physicalName: it has no table
//!     customProperties:
//!       - { property: polder.query, value: "SELECT region, sum(total) AS total FROM orders GROUP BY region" }
//! ```
//!
//! Or the query is that of a view in the domain's catalog, which `physicalType: view` tells from a table:
//!
//! ```text
//!   - name: revenue
//!     physicalName: sales.revenue
//!     physicalType: view
//! ```
//!
//! The text is carried and not understood here. Who asks needs the rights for all that it reads, unless `polder.rights` says
//! that its owner needs them.

use std::collections::BTreeMap;

use super::{Column, Data, Declassified, Query, Rights, Text};
use crate::document::fields::{Fields, text};
use crate::document::yaml::{Kind, Node};
use crate::document::{Report, quote};

pub(super) const QUERY: &str = "polder.query";
pub(super) const RIGHTS: &str = "polder.rights";
pub(super) const DECLASSIFIED: &str = "polder.declassified";

/// The query of a schema object, if it has one.
pub(super) fn query(
    fields: &mut Fields<'_>,
    properties: &BTreeMap<String, &Node>,
    report: &mut Report,
) -> Option<Query> {
    let node = properties.get(QUERY).copied();
    let view = view(fields, report);
    let mut rights = Rights::default();
    if let Some(written) = properties.get(RIGHTS) {
        rights = read_rights(written, report);
        // What a view says is not in the files that are looked at before they hold.
        if view.is_some() && rights == Rights::Owner {
            report.error("contract/rights", &written.place, "a view runs with the rights of whoever asks");
        }
        if node.is_none() && view.is_none() {
            report.error("contract/rights", &written.place, "`polder.rights` means nothing without `polder.query`");
        }
    }
    let Some(node) = node else { return view };
    if fields.get("physicalName").is_some() {
        report
            .error("contract/query", fields.key_place("physicalName"), "a derived product has no table of its own")
            .help("keep `polder.query` or `physicalName`, and not both");
    }
    let written = text(node, QUERY, report)?;
    if written.trim().is_empty() {
        report.error("contract/query", &node.place, "`polder.query` holds no query");
    }
    Some(Query { text: Text::Here(written.to_owned()), rights, place: node.place.clone() })
}

/// The view that a schema object names, if its `physicalType` says that it is one.
fn view(fields: &mut Fields<'_>, report: &mut Report) -> Option<Query> {
    // Tools write it in both cases, and what a table is called there is nothing to us.
    match &fields.get("physicalType")?.kind {
        Kind::Scalar { text, .. } if text.eq_ignore_ascii_case("view") => {}
        _ => return None,
    }
    let name = super::read::in_catalog(fields, "view", report)?;
    Some(Query { text: Text::View(name), rights: Rights::Invoker, place: fields.key_place("physicalName").clone() })
}

/// With whose rights the query runs. What is misspelt gives no more than it would without.
fn read_rights(node: &Node, report: &mut Report) -> Rights {
    match &node.kind {
        Kind::Scalar { text, .. } if text == "invoker" => Rights::Invoker,
        Kind::Scalar { text, .. } if text == "owner" => Rights::Owner,
        _ => {
            report.error("contract/rights", &node.place, "`polder.rights` is `invoker` or `owner`");
            Rights::Invoker
        }
    }
}

/// Holds columns against where their data is.
pub(super) fn check_columns(data: &Data, columns: &[Column], report: &mut Report) {
    for column in columns {
        let (name, place) = (quote(&column.name), &column.place);
        match data {
            Data::Query(_) if column.physical_name != column.name || column.field_id.is_some() => {
                let message = format!("{name} is made by a query, and is no column of a table");
                report
                    .error("contract/query", place, message)
                    .help("take `physicalName` and `polder.field_id` away, and name the column in the query");
            }
            Data::Table(_) if column.declassified.is_some() => {
                let message = format!("{name} is read from a table, and `polder.declassified` is for derived columns");
                report.error("contract/declassified", place, message).help("take the tags away that it does not need");
            }
            _ => {
                if matches!(data, Data::Query(_)) {
                    none_declassified(&column.fields, report);
                }
                check_columns(data, &column.fields, report);
            }
        }
    }
}

/// What flows into a field is not told apart from what flows into its column, so that no field is declassified.
fn none_declassified(fields: &[Column], report: &mut Report) {
    for (field, declassified) in fields.iter().filter_map(|field| Some((field, field.declassified.as_ref()?))) {
        let message = format!(
            "{} lies inside of a column, and `polder.declassified` holds for a whole column",
            quote(&field.name)
        );
        report
            .error("contract/declassified", &declassified.place, message)
            .help("say it of the whole column, or make a column of its own of the field");
    }
}

/// Why a column needs none of the tags of what it is made of.
pub(super) fn declassified(properties: &BTreeMap<String, &Node>, report: &mut Report) -> Option<Declassified> {
    let node = properties.get(DECLASSIFIED)?;
    let reason = text(node, DECLASSIFIED, report)?;
    if reason.trim().is_empty() {
        report
            .error("contract/declassified", &node.place, "`polder.declassified` gives no reason")
            .help("say who decided so, and why the values tell nothing any more");
    }
    Some(Declassified { reason: reason.to_owned(), place: node.place.clone() })
}

/// What concerns a schema object means nothing on a column.
pub(super) fn none_of_a_column(properties: &BTreeMap<String, &Node>, report: &mut Report) {
    misplaced(properties, &[QUERY, RIGHTS], "a column", "a schema object", report);
}

/// What concerns one table or column means nothing on a contract, which may have several.
pub(super) fn none_of_a_contract(properties: &BTreeMap<String, &Node>, report: &mut Report) {
    misplaced(properties, &[QUERY, RIGHTS], "a whole contract", "a schema object", report);
    misplaced(properties, &[DECLASSIFIED], "a whole contract", "a column", report);
}

/// The same of a schema object.
pub(super) fn none_of_an_object(properties: &BTreeMap<String, &Node>, report: &mut Report) {
    misplaced(properties, &[DECLASSIFIED], "a schema object", "a column", report);
}

fn misplaced(
    properties: &BTreeMap<String, &Node>,
    names: &[&'static str],
    here: &str,
    there: &str,
    report: &mut Report,
) {
    for name in names {
        if let Some(node) = properties.get(*name) {
            let message = format!("`{name}` means nothing on {here}");
            report.error("contract/custom-property", &node.place, message).help(format!("it stands on {there}"));
        }
    }
}
