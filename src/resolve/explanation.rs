//! What a query may see and why, as rows: one for each column that reaches an output, and one for each rule on rows.
//!
//! ```text
//! EXPLAIN POLICY SELECT email FROM storefront.customers WHERE city = 'Delft'
//!
//! output | product              | column | via       | effect | mask           | policy           | place …
//! email  | storefront.customers | email  | value     | masked | sha-256-global | analysts-hashed  | storefront/…:21:1
//! *      | storefront.customers | city   | predicate | raw    |                | analysts-read    | storefront/…:15:1
//! ```
//!
//! It says what holds for the one who asks, of products that they may discover, and no filter and no value.

use std::sync::Arc;

use datafusion::catalog::TableProvider;
use datafusion::common::TableReference;
use polder_catalog::policy::{Access, ColumnGrant, Mask, Reason, RowRule, Rows};

use super::system::virtual_table;
use super::{Resolver, Rights, Table};
use crate::error::{Class, Error};
use crate::guard::flow::{Flow, Source};

/// The columns of an explanation.
const COLUMNS: [&str; 9] = ["output", "product", "column", "via", "effect", "mask", "policy", "place", "owner"];

/// What is in the place of an output's name where all of them are meant.
pub const EVERY: &str = "*";

/// One row of an explanation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Line {
    /// The output that is reached, or `None` for all of them.
    pub output: Option<String>,
    /// The product or system table.
    pub product: String,
    /// The column, with the fields inside of it behind dots; `None` for a rule on rows.
    pub column: Option<String>,
    /// How it reaches the output: `value`, `predicate`, `join`, `group`, `order`, `window`, `rows` for a rule, or `rights` where a
    /// derived product runs with its owner's.
    pub via: &'static str,
    /// What is shown of it.
    pub effect: Effect,
    /// The policies that decide so.
    pub reasons: Vec<Reason>,
    /// The team that owns it; nobody owns what the mesh says of itself.
    pub owner: Option<String>,
}

/// What is shown of a column, or by a rule on rows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Effect {
    /// The column as it is.
    Raw,
    /// The column through a mask.
    Masked(Mask),
    /// Nothing.
    Denied,
    /// The rows of a rule.
    Shown,
    /// All but the rows of a rule.
    Hidden,
    /// What its owner may see: it runs with the owner's rights, and what it is made of is not told.
    Owner,
}

impl Effect {
    /// What an innermost grant means.
    pub fn of(access: &Access) -> Self {
        match access {
            Access::Raw => Self::Raw,
            Access::Masked(mask) => Self::Masked(mask.clone()),
            // Fields have grants of their own, so that nothing is left of a column that has some.
            Access::Denied | Access::Nested(_) => Self::Denied,
        }
    }

    /// What each rule on rows means; no rule at all where all rows are shown.
    pub fn of_rows(rows: &Rows) -> Vec<(Self, Vec<Reason>)> {
        let (shows, takes) = rows.rules();
        let with = |effect: Self| move |rule: &RowRule| (effect.clone(), vec![rule.reason.clone()]);
        let none = shows.is_some_and(<[RowRule]>::is_empty).then(|| (Self::Denied, Vec::new()));
        let shows = shows.into_iter().flatten().map(with(Self::Shown));
        none.into_iter().chain(shows).chain(takes.iter().map(with(Self::Hidden))).collect()
    }

    /// The word for it.
    pub fn as_str(&self) -> &'static str {
        match self {
            Self::Raw => "raw",
            Self::Masked(_) => "masked",
            Self::Denied => "denied",
            Self::Shown => "shown",
            Self::Hidden => "hidden",
            Self::Owner => "owner",
        }
    }

    /// The mask, where there is one.
    pub fn mask(&self) -> Option<String> {
        match self {
            Self::Masked(mask) => Some(mask.to_string()),
            Self::Raw | Self::Denied | Self::Shown | Self::Hidden | Self::Owner => None,
        }
    }
}

/// The ids of policies.
pub fn policies(reasons: &[Reason]) -> Option<String> {
    let ids: Vec<&str> = reasons.iter().map(|reason| &*reason.policy).collect();
    (!ids.is_empty()).then(|| ids.join(", "))
}

/// Where they stand, in the same order.
pub fn places(reasons: &[Reason]) -> Option<String> {
    let places: Vec<String> = reasons.iter().map(|reason| reason.place.to_string()).collect();
    (!places.is_empty()).then(|| places.join(", "))
}

/// The innermost grants at `path` and inside of it, each under its path with dots. Elements of lists and values of
/// maps have the address of what holds them.
pub fn leaves<'a>(grants: &'a [ColumnGrant], path: &[String]) -> Vec<(String, &'a ColumnGrant)> {
    let Some((column, inside)) = path.split_first() else { return Vec::new() };
    let mut found = Vec::new();
    if let Some(grant) = grants.iter().find(|grant| grant.column == *column) {
        descend(grant, column.clone(), inside, &mut found);
    }
    found
}

fn descend<'a>(grant: &'a ColumnGrant, name: String, path: &[String], found: &mut Vec<(String, &'a ColumnGrant)>) {
    let Access::Nested(fields) = &grant.access else { return found.push((name, grant)) };
    let inside = |field: &ColumnGrant| format!("{name}.{}", field.column);
    match path.split_first() {
        None => fields.iter().for_each(|field| descend(field, inside(field), &[], found)),
        Some((first, rest)) => match fields.iter().find(|field| field.column == *first) {
            Some(field) => descend(field, inside(field), rest, found),
            // The key of a map.
            None => descend(grant, name, rest, found),
        },
    }
}

impl Resolver {
    /// What `flow` tells of tables, which it knows by the names of their scans.
    ///
    /// # Errors
    /// When a product is not there any more.
    pub fn explain(&self, flow: &Flow, tables: &[(TableReference, TableReference, Table)]) -> Result<Vec<Line>, Error> {
        let mut lines: Vec<Line> = Vec::new();
        let outputs = flow.outputs.iter().map(|(name, sources)| (Some(name), sources));
        for (output, sources) in outputs.chain([(None, &flow.rows)]) {
            for source in sources {
                let (_, _, table) = tables.iter().find(|(scan, ..)| *scan == source.table).ok_or_else(lost)?;
                if table.rights.is_kept() {
                    continue;
                }
                for line in reached(output, source, table) {
                    // A table that is read at two versions is told of once.
                    if !lines.contains(&line) {
                        lines.push(line);
                    }
                }
            }
        }
        for (_, _, table) in tables.iter().filter(|(_, _, table)| !table.rights.is_kept()) {
            let rules = Effect::of_rows(&table.rows).into_iter().map(|(effect, reasons)| ("rows", effect, reasons));
            let rights = (table.rights == Rights::Owner).then(|| ("rights", Effect::Owner, Vec::new()));
            for (via, effect, reasons) in rules.chain(rights) {
                let line = Line {
                    output: None,
                    product: table.name.clone(),
                    column: None,
                    via,
                    effect,
                    reasons,
                    owner: owner(table),
                };
                if !lines.contains(&line) {
                    lines.push(line);
                }
            }
        }
        Ok(lines)
    }
}

fn owner(table: &Table) -> Option<String> {
    table.wanted.as_ref().and_then(|wanted| wanted.owner()).map(|owner| owner.team.clone())
}

fn lost() -> Error {
    Error::new(Class::Bug, "a table of the statement was lost while it was explained")
}

fn reached(output: Option<&String>, source: &Source, table: &Table) -> Vec<Line> {
    let owner = owner(table);
    let line = |column: String, effect: Effect, reasons: Vec<Reason>| Line {
        output: output.cloned(),
        product: table.name.clone(),
        column: Some(column),
        via: source.via.as_str(),
        effect,
        reasons,
        owner: owner.clone(),
    };
    match table.is_product() {
        true => leaves(&table.grants, &source.path)
            .into_iter()
            .map(|(column, grant)| line(column, Effect::of(&grant.access), grant.reasons.clone()))
            .collect(),
        // All that the mesh says of itself was cleared when it was made.
        false => vec![line(source.path.join("."), Effect::Raw, Vec::new())],
    }
}

/// An explanation as a table.
///
/// # Errors
/// None that a user can cause.
pub fn table(lines: &[Line]) -> Result<Arc<dyn TableProvider>, Error> {
    let rows: Vec<Vec<Option<String>>> = lines
        .iter()
        .map(|line| {
            vec![
                Some(line.output.clone().unwrap_or_else(|| EVERY.to_owned())),
                Some(line.product.clone()),
                line.column.clone(),
                Some(line.via.to_owned()),
                Some(line.effect.as_str().to_owned()),
                line.effect.mask(),
                policies(&line.reasons),
                places(&line.reasons),
                line.owner.clone(),
            ]
        })
        .collect();
    virtual_table(TableReference::bare("explanation"), &COLUMNS, &rows)
        .map_err(|error| Error::new(Class::Bug, format!("the explanation could not be made: {error}")))
}

#[cfg(test)]
mod tests {
    use polder_catalog::document::Place;

    use super::*;

    fn grant(column: &str, access: Access) -> ColumnGrant {
        ColumnGrant { column: column.to_owned(), access, reasons: Vec::new() }
    }

    #[test]
    fn a_path_leads_to_the_grants_at_it_and_inside_of_it() {
        let zip = grant("zip", Access::Masked(Mask::Null));
        let home = Access::Nested(vec![grant("street", Access::Denied), grant("geo", Access::Nested(vec![zip]))]);
        let grants = [grant("id", Access::Raw), grant("home", home)];
        let at = |path: &[&str]| {
            let path: Vec<String> = path.iter().map(|part| (*part).to_owned()).collect();
            let found = leaves(&grants, &path).into_iter();
            found.map(|(name, grant)| format!("{name} {}", Effect::of(&grant.access).as_str())).collect::<Vec<_>>()
        };
        assert_eq!(at(&["id"]), ["id raw"]);
        // A struct that is shown whole has one grant, and so have its fields.
        assert_eq!(at(&["id", "inside"]), ["id raw"]);
        assert_eq!(at(&["home"]), ["home.street denied", "home.geo.zip masked"]);
        assert_eq!(at(&["home", "street"]), ["home.street denied"]);
        assert_eq!(at(&["home", "some key", "geo"]), ["home.geo.zip masked"]);
        assert_eq!(at(&["nothing"]), [""; 0]);
    }

    #[test]
    fn each_rule_on_rows_is_told_and_that_there_is_none() {
        let reason =
            |id: &str| Reason { policy: id.into(), place: Place { file: "a.cedar".into(), line: 1, column: 1 } };
        let rule = |id| RowRule { filter: None, reason: reason(id) };
        let told = |rows: &Rows| {
            let told = Effect::of_rows(rows).into_iter();
            told.map(|(effect, reasons)| format!("{} {}", effect.as_str(), policies(&reasons).unwrap_or_default()))
                .collect::<Vec<_>>()
        };
        assert_eq!(told(&Rows::All), [""; 0]);
        assert_eq!(told(&Rows::Except(vec![rule("a")])), ["hidden a"]);
        let closed = Rows::Closed { permits: vec![rule("a"), rule("b")], forbids: vec![rule("c")] };
        assert_eq!(told(&closed), ["shown a", "shown b", "hidden c"]);
        assert_eq!(told(&Rows::Closed { permits: Vec::new(), forbids: Vec::new() }), ["denied "]);
    }
}
