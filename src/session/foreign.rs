//! The SQL of a view that others made, read as ours where it means the same.
//!
//! ```text
//! text --words--> our tokens --gate--> query --sense--> nothing in it means something else here
//!      --names--> tables are products --> under the names of the view's columns --plan--> kinds
//! ```
//!
//! A dialect is more than its grammar: `'a' < 1`, `ORDER BY x` and `5 / 2` are read everywhere and mean three things. So
//! what is not known to mean the same is refused, with its name. Nothing is guessed: a view is served as its makers mean
//! it, or not at all.

mod kinds;
mod names;
mod sense;
mod words;

use datafusion::sql::sqlparser::ast::{Query, SetExpr, TableFactor};
use datafusion::sql::sqlparser::dialect::{Dialect, GenericDialect, SparkSqlDialect};

use super::gate;
use crate::error::{Class, Error};
use crate::lake::{Text, View};
use crate::resolve::{Names, Unplanned};

pub(super) use kinds::check;

/// Where a plain name of a view lies that is not its product already: in no domain.
pub(super) const NOWHERE: &str = "no domain";

/// Whose SQL it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Manner {
    /// Ours.
    Own,
    Trino,
    Spark,
}

/// Each with what it is called, those that need the least reading first.
const MANNERS: [(&str, Manner); 4] =
    [("polder", Manner::Own), ("datafusion", Manner::Own), ("trino", Manner::Trino), ("spark", Manner::Spark)];

impl Manner {
    fn dialect(self) -> &'static dyn Dialect {
        match self {
            Self::Own | Self::Trino => &GenericDialect,
            Self::Spark => &SparkSqlDialect,
        }
    }
}

/// What is read of a view.
pub(super) struct Read {
    /// Its query, over products.
    pub(super) query: Box<Query>,
    /// In whose manner it was written.
    pub(super) manner: Manner,
    /// Whether a query inside of it has a column that does not say where it is from.
    pub(super) bare: bool,
}

/// Reads a view.
///
/// # Errors
/// A table that is no product, and for the plan whatever else is not read.
pub(super) fn read(view: &View, names: &Names) -> Result<Read, Unplanned> {
    let (text, manner) = choose(&view.texts).map_err(Unplanned::Plan)?;
    let (tokens, written) = words::read(text, manner, names).map_err(Unplanned::Plan)?;
    let mut query = gate::view(tokens).map_err(Unplanned::Plan)?;
    let bare = sense::check(&mut query, manner).map_err(Unplanned::Plan)?;
    names::resolve(&mut query, view, names, manner, &written)?;
    let query = named(query, view, manner, names).map_err(Unplanned::Plan)?;
    Ok(Read { query, manner, bare })
}

/// The text that is read.
fn choose(texts: &[Text]) -> Result<(&str, Manner), Error> {
    let known = MANNERS.iter().find_map(|(name, manner)| {
        let text = texts.iter().find(|text| text.dialect == *name)?;
        Some((text.sql.as_str(), *manner))
    });
    known.ok_or_else(|| {
        let written: Vec<_> = texts.iter().map(|text| format!("`{}`", text.dialect)).collect();
        Error::new(Class::BadRequest, format!("the view is written in the SQL of {}", written.join(" and ")))
            .help("views are read in the SQL of spark and trino, and in polder's own")
    })
}

/// The query under the names of the view's columns. These are other than what its text says where the view was made with a
/// list of names; by which place each of them goes is known only of a text without `*`.
fn named(query: Box<Query>, view: &View, manner: Manner, names: &Names) -> Result<Box<Query>, Error> {
    let spell = |name: &String| if manner == Manner::Own { name.clone() } else { names.spelled(name) };
    let columns: Vec<String> = view.columns.iter().map(spell).collect();
    let quoted = |name: &str| format!("\"{}\"", name.replace('"', "\"\""));
    let has_star = sense::has_star(&query);
    let outer = match &view.made {
        _ if columns.is_empty() => return Ok(query),
        _ if !has_star => {
            let columns: Vec<_> = columns.iter().map(|name| quoted(name)).collect();
            format!("SELECT * FROM (SELECT 1) AS \"view\" ({})", columns.join(", "))
        }
        None => return Ok(query),
        Some(made) if made.len() != columns.len() => {
            return Err(Error::new(Class::BadRequest, "the view does not say what its columns are called"));
        }
        Some(made) => {
            let pairs = made.iter().map(spell).zip(&columns);
            let pairs: Vec<_> = pairs.map(|(made, name)| format!("{} AS {}", quoted(&made), quoted(name))).collect();
            format!("SELECT {} FROM (SELECT 1) AS \"view\"", pairs.join(", "))
        }
    };
    let bug = || Error::new(Class::Bug, "the columns of a view could not be named");
    let gate::Admitted::Query(mut outer) = gate::admit(&outer)?.statement else { return Err(bug()) };
    let SetExpr::Select(select) = outer.body.as_mut() else { return Err(bug()) };
    let from = select.from.first_mut().map(|from| &mut from.relation);
    let Some(TableFactor::Derived { subquery, .. }) = from else { return Err(bug()) };
    *subquery = query;
    Ok(outer)
}

#[cfg(test)]
#[allow(clippy::panic, reason = "tests")]
mod tests;
