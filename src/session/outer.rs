//! Names in a subquery that mean a denied column of its own tables, and would mean one of the query around it.
//!
//! ```text
//! SELECT 1 FROM a WHERE a.email IN (SELECT email FROM customers)     customers.email is denied
//! ```
//!
//! A denied column is not there, so SQL's rules look for `email` further out and find `a.email`: the statement would run
//! and mean something else. It is the denial that its writer must see.

use std::collections::BTreeSet;
use std::ops::ControlFlow;

use datafusion::common::tree_node::{TreeNode, TreeNodeRecursion};
use datafusion::common::{Result as DfResult, TableReference};
use datafusion::logical_expr::{Expr, LogicalPlan};
use datafusion::sql::planner::object_name_to_table_reference;
use datafusion::sql::sqlparser::ast::{self, Query, TableFactor, Visit, Visitor};

use super::gate::normal;
use super::planning::failed;
use crate::error::Error;
use crate::resolve::Scanned;

/// The bare names of each subquery, with each of the tables that it reads.
#[derive(Debug, Default)]
pub(super) struct Shadows {
    scopes: Vec<Scope>,
    /// A table, and a name that stands beside it in a subquery.
    pub(super) found: BTreeSet<(TableReference, String)>,
}

#[derive(Debug, Default)]
struct Scope {
    tables: Vec<TableReference>,
    names: BTreeSet<String>,
}

impl Shadows {
    pub(super) fn find(query: &Query) -> Self {
        let mut shadows = Self::default();
        let _: ControlFlow<()> = query.visit(&mut shadows);
        shadows
    }
}

impl Visitor for Shadows {
    type Break = ();

    fn pre_visit_query(&mut self, _query: &Query) -> ControlFlow<()> {
        self.scopes.push(Scope::default());
        ControlFlow::Continue(())
    }

    fn post_visit_query(&mut self, _query: &Query) -> ControlFlow<()> {
        let Some(Scope { tables, names }) = self.scopes.pop() else { return ControlFlow::Continue(()) };
        if !self.scopes.is_empty() {
            let beside =
                |table: &TableReference| names.iter().map(|name| (table.clone(), name.clone())).collect::<Vec<_>>();
            self.found.extend(tables.iter().flat_map(beside));
        }
        ControlFlow::Continue(())
    }

    fn pre_visit_table_factor(&mut self, factor: &TableFactor) -> ControlFlow<()> {
        if let (TableFactor::Table { name, .. }, Some(scope)) = (factor, self.scopes.last_mut()) {
            scope.tables.extend(object_name_to_table_reference(name.clone(), true));
        }
        ControlFlow::Continue(())
    }

    fn pre_visit_expr(&mut self, expr: &ast::Expr) -> ControlFlow<()> {
        if let (ast::Expr::Identifier(name), Some(scope)) = (expr, self.scopes.last_mut()) {
            scope.names.insert(normal(name));
        }
        ControlFlow::Continue(())
    }
}

/// Makes sure that no name in a subquery means something further out since what it would mean inside is denied.
pub(super) fn undenied(logical: &LogicalPlan, denials: Vec<(String, Error)>, tables: &[Scanned]) -> Result<(), Error> {
    if denials.is_empty() {
        return Ok(());
    }
    let outer = outer_names(logical).map_err(|error| failed(&error, tables))?;
    match denials.into_iter().find(|(name, _)| outer.contains(name)) {
        Some((_, denial)) => Err(denial),
        None => Ok(()),
    }
}

/// The names of the columns that subqueries take from the queries around them.
fn outer_names(plan: &LogicalPlan) -> DfResult<BTreeSet<String>> {
    let mut names = BTreeSet::new();
    plan.apply_with_subqueries(|node| {
        node.apply_expressions(|expr| {
            expr.apply(|expr| {
                if let Expr::OuterReferenceColumn(_, column) = expr {
                    names.insert(column.name.clone());
                }
                Ok(TreeNodeRecursion::Continue)
            })
        })
    })?;
    Ok(names)
}
