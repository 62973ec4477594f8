//! What a query chooses by comparing values with one another, and what it tells of them without being made of them.
//!
//! ```text
//! max(chr(n.n)) … WHERE n.n = ascii(p.email)     n.n is as good as the letter: both are compared
//! count(*)      … WHERE n.n <= ascii(p.email)    and so is how many rows there are
//! ```
//!
//! Values that one expression mixes are alike wherever it decides something: about rows, groups, orders and what an aggregate
//! takes in. A walk follows what a column is made of, and only one that `tells` goes on to what stands beside it: how rows are
//! counted, grouped and ordered. In it, `selects` gives what rows were chosen by to the columns of other tables, too.
//! How many rows there are says no more than that two columns are the same where they are compared as they are
//! (`ON a.id = b.id`), and anything else where they are not: then all that is counted over these rows is chosen.

use datafusion::common::tree_node::{TreeNode, TreeNodeRecursion};
use datafusion::logical_expr::{BinaryExpr, Expr, Operator};

use super::walk::{Walk, by_way_of};
use super::{Output, Reach, Scope, Sources, Unknown, Via};

/// Functions that put columns together or write them in one way, so that comparing what they give is comparing the columns.
const PLAIN: [&str; 9] = ["btrim", "coalesce", "concat", "concat_ws", "lower", "ltrim", "rtrim", "struct", "upper"];

/// What the conditions of a join choose rows by.
#[derive(Default)]
pub(super) struct Choosing {
    /// All but what only says that two columns are the same.
    pub(super) all: Sources,
    /// Of conditions that mix several values.
    pub(super) by_several: Sources,
}

impl Choosing {
    /// All of it, and what chose the rows of a side.
    pub(super) fn with(&self, rows: &Sources) -> Sources {
        let chosen = rows.iter().filter(|(_, via)| *via == Via::Predicate);
        chosen.map(|(id, _)| (*id, Via::Value)).chain(self.all.iter().copied()).collect()
    }
}

impl Walk {
    /// Remembers whose values a condition on rows mixes: each tells something of the others, and all where they are equal.
    /// Which comparison it is does not matter, since `a = b` can be said in many ways.
    pub(super) fn compares(&mut self, deciding: &Sources) {
        if !self.declassifies {
            return;
        }
        let mut all = values(deciding);
        let Some((first, _)) = all.next() else { return };
        self.alike.extend(all.map(|(other, _)| (first, other)));
    }

    /// The same for whatever else decides something.
    pub(super) fn likens(&mut self, deciding: &Sources) {
        if self.tells {
            self.compares(deciding);
        }
    }

    /// The same for an expression on which it depends how many rows there are. Whether that tells more than that columns are
    /// there, or the same.
    pub(super) fn chooses(&mut self, deciding: &Expr, from: &Sources, scope: &Scope<'_>) -> Result<bool, Unknown> {
        self.likens(from);
        let chooses = self.tells && values(from).nth(1).is_some() && !self.is_plain(deciding, scope)?;
        if chooses {
            self.counts(from);
        }
        Ok(chooses)
    }

    /// Whether a condition says no more than that two columns are the same.
    pub(super) fn matches(&mut self, condition: &Expr, from: &Sources, scope: &Scope<'_>) -> Result<bool, Unknown> {
        Ok(values(from).nth(1).is_some() && self.is_plain(condition, scope)?)
    }

    /// Whether a value is made of no table's.
    pub(super) fn is_anybodys(&self, id: u32) -> bool {
        self.bases.get(id as usize).is_some_and(|(table, _)| !Self::is_of_a_table(table))
    }

    /// Puts what rows were chosen by into the columns of other tables: what stands beside a value that was compared may say
    /// all of it, as a letter beside its code.
    pub(super) fn selects(&self, columns: &mut [Reach], choosing: &Sources) {
        let table = |id: u32| {
            self.bases.get(id as usize).map(|(table, path)| match Self::is_of_a_table(table) {
                true => (table, None),
                false => (table, Some(path)),
            })
        };
        for column in columns {
            let own: Vec<_> = values(&column.from).map(|(id, _)| table(id)).collect();
            column.from.extend(values(choosing).filter(|(id, _)| !own.contains(&table(*id))));
        }
    }

    /// Whether a number of rows tells no more of the columns of an expression than that they are there, or the same.
    fn is_plain(&mut self, expr: &Expr, scope: &Scope<'_>) -> Result<bool, Unknown> {
        match expr {
            Expr::BinaryExpr(BinaryExpr { left, op: Operator::Eq | Operator::IsNotDistinctFrom, right }) => {
                Ok(self.joins(left, scope)? && self.joins(right, scope)?)
            }
            // What is inside is looked at where it is followed.
            Expr::InSubquery(within) => self.joins(&within.expr, scope),
            expr => self.joins(expr, scope),
        }
    }

    /// Whether an expression only puts columns together, each of which is as it is in a table.
    fn joins(&mut self, expr: &Expr, scope: &Scope<'_>) -> Result<bool, Unknown> {
        let (mut columns, mut joins) = (Vec::new(), true);
        // Nothing in it fails.
        let _ = expr.apply(|expr| {
            match expr {
                Expr::Column(_) | Expr::OuterReferenceColumn(..) => columns.push(expr.clone()),
                Expr::Alias(_) | Expr::Cast(_) | Expr::TryCast(_) | Expr::Literal(..) => {}
                Expr::BinaryExpr(binary) => joins &= binary.op == Operator::StringConcat,
                Expr::ScalarFunction(call) => joins &= PLAIN.contains(&call.name()),
                _ => joins = false,
            }
            Ok(if joins { TreeNodeRecursion::Continue } else { TreeNodeRecursion::Stop })
        });
        for column in columns {
            let reach = self.expr(&column, scope)?;
            joins &= reach.is_untouched();
        }
        Ok(joins)
    }

    /// Remembers that how many rows there are tells all of these.
    pub(super) fn counts(&mut self, from: &Sources) {
        if self.tells {
            self.chosen.extend(values(from));
        }
    }

    /// Rows that are the same become one.
    pub(super) fn distinct(&mut self, output: &mut Output) {
        for column in &output.columns {
            self.likens(&column.from);
            if values(&column.from).nth(1).is_some() {
                self.counts(&column.from);
            }
        }
        output.rows.extend(by_way_of(Via::Group, output.values()));
    }

    /// All values that one is compared with, over as many others as there are.
    pub(super) fn with_alike(&self, mut sources: Sources) -> Sources {
        loop {
            let has = |id: u32| sources.contains(&(id, Via::Value));
            let more = self.alike.iter().filter(|(one, other)| has(*one) != has(*other));
            let more: Sources = more.flat_map(|(one, other)| [(*one, Via::Value), (*other, Via::Value)]).collect();
            if more.is_empty() {
                return sources;
            }
            sources.extend(more);
        }
    }
}

/// Puts what decides about the rows of the parts of a union into the columns that are not columns of tables as they are: which
/// part a row is of can stand there.
pub(super) fn tell_apart(output: &mut Output, parts: &[Output]) {
    let deciding = parts.iter().flat_map(|part| &part.rows).filter(|(_, via)| *via == Via::Predicate);
    let deciding: Sources = deciding.map(|(id, _)| (*id, Via::Value)).collect();
    for (place, column) in output.columns.iter_mut().enumerate() {
        let mut made = parts.iter().filter_map(|part| part.columns.get(place));
        if made.any(|column| column.ones().next().is_none()) {
            column.from.extend(&deciding);
        }
    }
}

/// What comes as a value.
fn values(sources: &Sources) -> impl Iterator<Item = (u32, Via)> {
    sources.iter().filter(|(_, via)| *via == Via::Value).copied()
}
