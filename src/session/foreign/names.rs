//! The tables that a view names become products, each under the name by which the view's text goes on.
//!
//! ```text
//! FROM sales.orders JOIN people p ON …  ->  FROM "shop"."orders" AS "orders" JOIN "shop"."customers" AS "p" ON …
//! ```

use std::collections::BTreeSet;
use std::ops::ControlFlow;

use datafusion::sql::sqlparser::ast::{
    Ident, ObjectName, ObjectNamePart, Query, TableAlias, TableFactor, Visit, VisitMut, Visitor, VisitorMut,
};

use super::Manner;
use super::words::Written;
use crate::error::{Class, Error};
use crate::lake::View;
use crate::resolve::{Names, Unplanned};
use crate::session::gate::normal;

/// Puts products in the place of tables.
pub(super) fn resolve(
    query: &mut Query,
    view: &View,
    names: &Names,
    manner: Manner,
    written: &Written,
) -> Result<(), Unplanned> {
    let mut given = Given::default();
    let _ = Visit::visit(query, &mut given);
    let mut tables = Tables { view, names, manner, written, given: given.0 };
    match VisitMut::visit(query, &mut tables) {
        ControlFlow::Break(unplanned) => Err(unplanned),
        ControlFlow::Continue(()) => Ok(()),
    }
}

/// The names that a query gives to what it makes in `WITH`.
#[derive(Default)]
struct Given(BTreeSet<String>);

impl Visitor for Given {
    type Break = ();

    fn pre_visit_query(&mut self, query: &Query) -> ControlFlow<()> {
        let given = query.with.iter().flat_map(|with| &with.cte_tables);
        self.0.extend(given.map(|given| given.alias.name.value.to_lowercase()));
        ControlFlow::Continue(())
    }
}

struct Tables<'a> {
    view: &'a View,
    names: &'a Names,
    manner: Manner,
    written: &'a Written,
    given: BTreeSet<String>,
}

impl Tables<'_> {
    /// A part of a table's name, as a catalog has it: Spark asks for it as it is written, and Trino in lower case.
    fn part(&self, part: &str) -> Result<String, Unplanned> {
        let lower = part.to_lowercase();
        match (self.manner, self.written.get(&lower).map(|written| written.iter().collect::<Vec<_>>()).as_deref()) {
            (Manner::Own, _) => Ok(part.to_owned()),
            (Manner::Trino, _) => Ok(lower),
            (Manner::Spark, Some([only])) => Ok((*only).clone()),
            (Manner::Spark, _) => {
                let what = format!("the view writes `{lower}` in several ways");
                Err(Unplanned::Plan(Error::new(Class::BadRequest, what)))
            }
        }
    }
}

fn parts(name: &ObjectName) -> Vec<String> {
    name.0.iter().filter_map(ObjectNamePart::as_ident).map(normal).collect()
}

impl VisitorMut for Tables<'_> {
    type Break = Unplanned;

    fn post_visit_table_factor(&mut self, table: &mut TableFactor) -> ControlFlow<Unplanned> {
        let TableFactor::Table { name, alias, .. } = table else { return ControlFlow::Continue(()) };
        let spelled = parts(name);
        let written = match spelled.iter().map(|part| self.part(part)).collect::<Result<Vec<_>, _>>() {
            Ok(written) => written,
            Err(unplanned) => return ControlFlow::Break(unplanned),
        };
        let found = self.names.product(self.view, &written);
        if let [plain] = spelled.as_slice()
            && self.given.contains(&plain.to_lowercase())
        {
            // It lies in the namespace as well, and where one hides the other is not looked into.
            return match found {
                Err(_) => ControlFlow::Continue(()),
                Ok(_) => ControlFlow::Break(Unplanned::Plan(Error::new(
                    Class::BadRequest,
                    format!("`{plain}` is a table and what the view makes itself"),
                ))),
            };
        }
        let product = match found {
            Ok(product) => product,
            Err(error) if error.class == Class::UnknownName => return ControlFlow::Break(Unplanned::Table(error)),
            Err(error) => return ControlFlow::Break(Unplanned::Plan(error)),
        };
        let quoted = |name: &str| Ident::with_quote('"', name);
        if alias.is_none()
            && let Some(last) = spelled.last()
        {
            *alias = Some(TableAlias { explicit: true, name: quoted(last), columns: Vec::new(), at: None });
        }
        let table = crate::resolve::table_part(product);
        let named = [product.product.domain().as_str(), &table];
        *name = ObjectName(named.map(|part| ObjectNamePart::Identifier(quoted(part))).to_vec());
        ControlFlow::Continue(())
    }
}
