//! Column flow: which columns of which tables reach each output of a query, and how.
//!
//! ```text
//! SELECT upper(c.city), sum(o.total) FROM d.c JOIN d.o USING (id) WHERE o.open GROUP BY c.city
//!
//! upper(city)  <- c.city (value)
//! sum(total)   <- o.total (value)
//! every output <- c.id, o.id (join), o.open (predicate), c.city (group)
//! ```
//!
//! It is read from the plan before optimization, which says all that the statement says, and it may name too much and
//! never too little: what is not named cannot change an output. Tables are those of the plan's scans, as a principal
//! sees them; what the guards below a scan look at is theirs to tell. A node or an expression that is not known here is
//! an error, so that nothing runs whose flow cannot be told.

mod choice;
mod expr;
#[cfg(test)]
#[allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::disallowed_methods,
    reason = "tests plan by hand"
)]
mod tests;
mod walk;

use std::collections::BTreeSet;
use std::fmt;

use datafusion::common::{Column, DFSchema, TableReference};
use datafusion::logical_expr::LogicalPlan;

use walk::Walk;

/// How a column reaches an output.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Via {
    /// The output is made from its values.
    Value,
    /// It decides which rows there are.
    Predicate,
    /// It decides which rows meet, or how often a row is there.
    Join,
    /// It decides which rows are one.
    Group,
    /// It decides in which order rows are.
    Order,
    /// It decides which rows a window function looks at, and in which order.
    Window,
}

impl Via {
    /// The word for it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Value => "value",
            Self::Predicate => "predicate",
            Self::Join => "join",
            Self::Group => "group",
            Self::Order => "order",
            Self::Window => "window",
        }
    }
}

impl fmt::Display for Via {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A column of a table that reaches an output.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Source {
    /// The table, under the name by which the plan scans it.
    pub table: TableReference,
    /// The column, and the fields inside of it where the query looks at nothing else. Lists on the way have no part.
    pub path: Vec<String>,
    /// How it reaches the output.
    pub via: Via,
    /// Whether it does so behind a mask, wholly or in part.
    pub masked: bool,
}

/// A column of a table, or a field inside of one.
pub type Base = (TableReference, Vec<String>);

/// What reaches the outputs of a query.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Flow {
    /// The outputs in their order: the name, and what reaches this one.
    pub outputs: Vec<(String, Vec<Source>)>,
    /// What reaches every output, since it has a say in which rows there are, or in which order.
    pub rows: Vec<Source>,
    /// The columns that the query compares for equality as they are, in some of its rows at least, each pair once.
    pub equated: Vec<(Base, Base)>,
}

impl Flow {
    /// All that reaches anything; what reaches several outputs comes several times.
    pub fn sources(&self) -> impl Iterator<Item = &Source> {
        self.outputs.iter().flat_map(|(_, sources)| sources).chain(&self.rows)
    }
}

/// A node or an expression whose flow is not known.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the plan has a part whose columns cannot be followed: {0}")]
pub struct Unknown(String);

/// Follows the columns of a plan, subqueries included. `masked` says of a column or field of a table whether it is
/// behind a mask.
///
/// # Errors
/// The first node or expression that is not known.
pub fn flow(plan: &LogicalPlan, masked: &dyn Fn(&TableReference, &[String]) -> bool) -> Result<Flow, Unknown> {
    followed(Walk::default(), plan, masked)
}

/// The columns whose values each output is made of, or is compared with to decide which rows there are, since `a` says all
/// of `b` where `a = b`. A keyed hash is made of none, and neither is a count, where `least` says that small ones tell
/// something: one of which the query keeps only so many and more. What an output is not made of, and tells something of all
/// the same since it was chosen by comparing, comes as a predicate.
///
/// # Errors
/// As above.
pub fn carried(plan: &LogicalPlan, least: Option<u64>) -> Result<Vec<(String, Vec<Source>)>, Unknown> {
    let of_values = |sources: Vec<Source>| {
        let is_value = |source: &Source| source.via == Via::Value && Walk::is_of_a_table(&source.table);
        sources.into_iter().filter(is_value).collect::<Vec<_>>()
    };
    let outputs = |tells| Ok(followed(Walk::declassifying(least, tells), plan, &|_, _| false)?.outputs);
    let (made, told): (Vec<_>, Vec<_>) = (outputs(false)?, outputs(true)?);
    let both = made.into_iter().zip(told).map(|((name, made), (_, told))| {
        let mut made = of_values(made);
        let told: Vec<Source> = of_values(told).into_iter().filter(|source| !made.contains(source)).collect();
        made.extend(told.into_iter().map(|source| Source { via: Via::Predicate, ..source }));
        (name, made)
    });
    Ok(both.collect())
}

fn followed(
    mut walk: Walk,
    plan: &LogicalPlan,
    masked: &dyn Fn(&TableReference, &[String]) -> bool,
) -> Result<Flow, Unknown> {
    let found = walk.plan(plan, None)?;
    let shown = |sources: &Sources| {
        let source = |(id, via): &(u32, Via)| {
            let (table, path) = walk.bases.get(*id as usize)?;
            Some(Source { table: table.clone(), path: path.clone(), via: *via, masked: masked(table, path) })
        };
        let sources = if walk.declassifies { walk.with_alike(sources.clone()) } else { sources.clone() };
        let mut shown: Vec<Source> = sources.iter().filter_map(source).collect();
        shown.sort();
        shown
    };
    let names = plan.schema().fields().iter().map(|field| field.name().clone());
    let base = |id: &u32| walk.bases.get(*id as usize).cloned();
    let equated = walk.equated.iter().filter_map(|(one, other)| base(one).zip(base(other)));
    Ok(Flow {
        outputs: names.zip(found.columns.iter().map(|column| shown(&column.from))).collect(),
        rows: shown(&found.rows),
        equated: equated.collect(),
    })
}

/// Columns of tables by their numbers, and how they come.
type Sources = BTreeSet<(u32, Via)>;

/// What reaches one value.
#[derive(Debug, Clone, Default, PartialEq)]
struct Reach {
    from: Sources,
    /// The column or field that this value is, untouched.
    whole: Option<u32>,
    /// The columns and fields of which it is one in a row and another in the next, untouched.
    one_of: BTreeSet<u32>,
    /// Whether this value is a count of them, untouched.
    count: bool,
}

impl Reach {
    fn of(from: Sources) -> Self {
        Self { from, ..Self::default() }
    }

    /// The same of rows that were chosen by these values.
    fn over(mut self, chosen: &Sources) -> Self {
        self.from.extend(chosen);
        self
    }

    /// Whether it mixes no values with one another.
    fn is_untouched(&self) -> bool {
        self.ones().next().is_some() || self.from.iter().filter(|(_, via)| *via == Via::Value).nth(1).is_none()
    }

    /// The columns that this value may be, untouched.
    fn ones(&self) -> impl Iterator<Item = u32> {
        self.whole.iter().chain(&self.one_of).copied()
    }
}

/// What reaches the output of a node.
#[derive(Debug, Clone, Default, PartialEq)]
struct Output {
    columns: Vec<Reach>,
    /// What reaches all of them, by way of the rows.
    rows: Sources,
    /// The values that tell how many rows there are, and are told by that.
    chosen: Sources,
}

impl Output {
    /// All of it, as a subquery has it that becomes one value.
    fn all(self) -> Sources {
        self.columns.into_iter().flat_map(|column| column.from).chain(self.rows).collect()
    }

    fn values(&self) -> Sources {
        self.columns.iter().flat_map(|column| &column.from).copied().collect()
    }
}

/// The columns that expressions of a node may name.
#[derive(Clone, Copy)]
struct Scope<'a> {
    inputs: &'a [(&'a DFSchema, &'a [Reach])],
    /// Those of the plan around a subquery.
    outer: Option<&'a Scope<'a>>,
}

impl Scope<'_> {
    /// What a column may mean. Where that is more than one thing it is all of them, which can only name too much.
    fn find(&self, column: &Column) -> Option<Reach> {
        let mut found = self.inputs.iter().flat_map(|(schema, reaches)| {
            let same = |place: usize| {
                let (qualifier, field) = schema.qualified_field(place);
                *field.name() == column.name
                    && match (qualifier, &column.relation) {
                        (Some(known), Some(named)) => known.resolved_eq(named),
                        (_, None) => true,
                        (None, Some(_)) => false,
                    }
            };
            reaches.iter().enumerate().filter(move |(place, _)| *place < schema.fields().len() && same(*place))
        });
        let mut reach = found.next()?.1.clone();
        for (_, other) in found {
            reach = Reach::of(reach.from.union(&other.from).copied().collect());
        }
        Some(reach)
    }
}
