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
use crate::error::{Class, Error};
use crate::resolve::SEARCH;

/// Names the searches of a query. Other table functions stay as they are, and are refused.
///
/// # Errors
/// When a search has anything but words that stand there.
pub(super) fn name(query: &mut Query) -> Result<(), Error> {
    match query.visit(&mut Searches) {
        ControlFlow::Continue(()) => Ok(()),
        ControlFlow::Break(()) => {
            Err(Error::new(Class::BadRequest, "`mesh.search` is given no text that stands there")
                .help("write what to look for as one text: `mesh.search('late orders')`"))
        }
    }
}

struct Searches;

impl VisitorMut for Searches {
    type Break = ();

    fn pre_visit_table_factor(&mut self, table: &mut TableFactor) -> ControlFlow<()> {
        let TableFactor::Table { name: ObjectName(parts), alias, args, .. } = table else {
            return ControlFlow::Continue(());
        };
        let Some(given) = args else { return ControlFlow::Continue(()) };
        let names: Vec<Option<String>> = parts.iter().map(|part| part.as_ident().map(normal)).collect();
        let is_search =
            matches!(names.as_slice(), [.., Some(schema), Some(function)] if schema == "mesh" && function == "search");
        if is_search && let Some(last) = parts.last_mut() {
            let Some(words) = words(given) else { return ControlFlow::Break(()) };
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
