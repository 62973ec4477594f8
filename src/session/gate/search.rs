//! The one table function there is: `mesh.search('words')`, which becomes a table of the mesh that has the words in its name.
//!
//! ```text
//! FROM mesh.search('late orders')  ->  FROM mesh."search late orders" AS search
//! ```

use std::ops::ControlFlow;

use datafusion::sql::sqlparser::ast::{
    self, FunctionArg, FunctionArgExpr, Ident, ObjectName, ObjectNamePart, Query, TableAlias, TableFactor,
    TableFunctionArgs, Value, VisitMut, VisitorMut,
};

use super::normal;
use crate::resolve::SEARCH;

/// Names the searches of a query. What is no search of words that stand there stays as it is, and is refused with all other
/// table functions.
pub(super) fn name(query: &mut Query) {
    let _ = query.visit(&mut Searches);
}

struct Searches;

impl VisitorMut for Searches {
    type Break = ();

    fn pre_visit_table_factor(&mut self, table: &mut TableFactor) -> ControlFlow<()> {
        let TableFactor::Table { name: ObjectName(parts), alias, args, .. } = table else {
            return ControlFlow::Continue(());
        };
        let Some(words) = args.as_ref().and_then(words) else { return ControlFlow::Continue(()) };
        let names: Vec<Option<String>> = parts.iter().map(|part| part.as_ident().map(normal)).collect();
        let is_search =
            matches!(names.as_slice(), [.., Some(schema), Some(function)] if schema == "mesh" && function == "search");
        if is_search && let Some(last) = parts.last_mut() {
            *last = ObjectNamePart::Identifier(Ident::with_quote('"', format!("{SEARCH}{words}")));
            *args = None;
            let name = Ident::new("search");
            alias.get_or_insert_with(|| TableAlias { explicit: true, name, columns: Vec::new(), at: None });
        }
        ControlFlow::Continue(())
    }
}

/// The words, where they are all that is given.
fn words(args: &TableFunctionArgs) -> Option<String> {
    let TableFunctionArgs { args, settings: None } = args else { return None };
    let [FunctionArg::Unnamed(FunctionArgExpr::Expr(ast::Expr::Value(value)))] = args.as_slice() else { return None };
    match &value.value {
        Value::SingleQuotedString(words) => Some(words.clone()),
        _ => None,
    }
}
