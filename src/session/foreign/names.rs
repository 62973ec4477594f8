//! The tables that a view names become products, each under the name by which the view's text goes on.
//!
//! ```text
//! FROM sales.orders JOIN people p ON …  ->  FROM "shop"."orders" AS "orders" JOIN "shop"."customers" AS "p" ON …
//! SELECT sales.orders.id                ->  SELECT "orders"."id"
//! ```

use std::collections::BTreeSet;
use std::ops::ControlFlow;

use datafusion::sql::sqlparser::ast::{
    Expr, Ident, ObjectName, ObjectNamePart, Query, Select, SelectItem, SelectItemQualifiedWildcardKind, TableAlias,
    TableFactor, Visit, VisitMut, Visitor, VisitorMut,
};

use crate::error::{Class, Error};
use crate::lake::View;
use crate::resolve::{Names, Unplanned};
use crate::session::gate::normal;

/// Puts products in the place of tables.
pub(super) fn resolve(query: &mut Query, view: &View, names: &Names) -> Result<(), Unplanned> {
    let mut given = Given::default();
    let _ = Visit::visit(query, &mut given);
    let mut tables = Tables { view, names, given: given.0, qualified: BTreeSet::new() };
    match VisitMut::visit(query, &mut tables) {
        ControlFlow::Break(unplanned) => Err(unplanned),
        ControlFlow::Continue(()) => {
            let _ = VisitMut::visit(query, &mut Qualifiers(tables.qualified));
            Ok(())
        }
    }
}

/// The names that a query gives to what it makes in `WITH`.
#[derive(Default)]
struct Given(BTreeSet<String>);

impl Visitor for Given {
    type Break = ();

    fn pre_visit_query(&mut self, query: &Query) -> ControlFlow<()> {
        let given = query.with.iter().flat_map(|with| &with.cte_tables);
        self.0.extend(given.map(|given| normal(&given.alias.name)));
        ControlFlow::Continue(())
    }
}

struct Tables<'a> {
    view: &'a View,
    names: &'a Names,
    given: BTreeSet<String>,
    /// Names of more than one part under which no alias stands.
    qualified: BTreeSet<Vec<String>>,
}

fn parts(name: &ObjectName) -> Vec<String> {
    name.0.iter().filter_map(ObjectNamePart::as_ident).map(normal).collect()
}

impl VisitorMut for Tables<'_> {
    type Break = Unplanned;

    fn post_visit_table_factor(&mut self, table: &mut TableFactor) -> ControlFlow<Unplanned> {
        let TableFactor::Table { name, alias, .. } = table else { return ControlFlow::Continue(()) };
        let written = parts(name);
        let found = self.names.product(self.view, &written);
        if let [plain] = written.as_slice()
            && self.given.contains(plain)
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
            && let Some(last) = written.last()
        {
            *alias = Some(TableAlias { explicit: true, name: quoted(last), columns: Vec::new(), at: None });
            if written.len() > 1 {
                self.qualified.insert(written);
            }
        }
        let table = crate::resolve::table_part(product);
        let named = [product.product.domain().as_str(), &table];
        *name = ObjectName(named.map(|part| ObjectNamePart::Identifier(quoted(part))).to_vec());
        ControlFlow::Continue(())
    }
}

/// Names of columns that say where their table lies say its name alone.
struct Qualifiers(BTreeSet<Vec<String>>);

impl Qualifiers {
    /// How many of the first of these are too much.
    fn beyond(&self, written: &[String]) -> usize {
        let told = self.0.iter().filter(|table| written.starts_with(table)).map(|table| table.len() - 1);
        told.max().unwrap_or(0)
    }
}

impl VisitorMut for Qualifiers {
    type Break = ();

    fn pre_visit_select(&mut self, select: &mut Select) -> ControlFlow<()> {
        for item in &mut select.projection {
            if let SelectItem::QualifiedWildcard(SelectItemQualifiedWildcardKind::ObjectName(name), _) = item {
                let beyond = self.beyond(&parts(name));
                name.0.drain(..beyond);
            }
        }
        ControlFlow::Continue(())
    }

    fn pre_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<()> {
        if let Expr::CompoundIdentifier(name) = expr {
            let written: Vec<String> = name.iter().map(normal).collect();
            // The last part is a column whatever else it is called.
            let most = written.len().saturating_sub(1);
            let beyond = self.beyond(written.get(..most).unwrap_or_default());
            name.drain(..beyond);
        }
        ControlFlow::Continue(())
    }
}
