//! Subqueries in FROM get a name where they have none.
//!
//! DataFusion 54.1 takes two equal projections, one directly over the other, for one: `SELECT x + 1 AS x` over
//! `SELECT x + 1 AS x` would add once. A name between them keeps them apart.

use std::ops::ControlFlow;

use datafusion::sql::sqlparser::ast::{Ident, Query, TableAlias, TableFactor, VisitMut, VisitorMut};

/// Names the subqueries of a query.
pub(super) fn name(query: &mut Query) {
    let _ = query.visit(&mut Names(0));
}

struct Names(usize);

impl VisitorMut for Names {
    type Break = ();

    fn post_visit_table_factor(&mut self, table: &mut TableFactor) -> ControlFlow<()> {
        if let TableFactor::Derived { alias: alias @ None, .. } = table {
            self.0 += 1;
            let name = Ident::with_quote('"', format!("subquery {}", self.0));
            *alias = Some(TableAlias { explicit: true, name, columns: Vec::new(), at: None });
        }
        ControlFlow::Continue(())
    }
}
