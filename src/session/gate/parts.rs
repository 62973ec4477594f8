//! The parts of a query that are implemented: every other one is refused by name.

use std::ops::ControlFlow;

use datafusion::sql::sqlparser::ast::{
    self, Expr, GroupByExpr, LimitClause, Query, Select, SelectFlavor, SelectItem, SetExpr, SetOperator, SetQuantifier,
    TableFactor, Visit, Visitor,
};

use super::version::Version;
use crate::error::{Class, Error};

/// Checks every query, select, table factor and expression inside a query.
///
/// # Errors
/// `BadRequest`, naming the first part that is not implemented.
pub fn check(query: &Query) -> Result<(), Error> {
    match query.visit(&mut Parts) {
        ControlFlow::Continue(()) => Ok(()),
        ControlFlow::Break(what) => Err(Error::new(Class::BadRequest, format!("{what} is not supported"))),
    }
}

struct Parts;

/// The name of the first part that is present, or nothing.
macro_rules! absent {
    ($($present:expr => $what:expr),* $(,)?) => {
        $(if $present { return ControlFlow::Break($what); })*
    };
}

impl Visitor for Parts {
    type Break = &'static str;

    fn pre_visit_query(&mut self, query: &Query) -> ControlFlow<Self::Break> {
        let Query {
            with,
            body,
            order_by,
            limit_clause,
            fetch,
            locks,
            for_clause,
            settings,
            format_clause,
            pipe_operators,
        } = query;
        if let Some(ast::With { with_token: _, recursive: _, cte_tables }) = with {
            for ast::Cte { alias: _, query: _, from, materialized, closing_paren_token: _ } in cte_tables {
                absent! { from.is_some() => "FROM behind WITH", materialized.is_some() => "MATERIALIZED" }
            }
        }
        if let Some(ast::OrderBy { kind: _, interpolate }) = order_by {
            absent! { interpolate.is_some() => "INTERPOLATE" }
        }
        match limit_clause {
            Some(LimitClause::LimitOffset { limit: _, offset: _, limit_by }) => {
                absent! { !limit_by.is_empty() => "LIMIT BY" }
            }
            Some(LimitClause::OffsetCommaLimit { offset: _, limit: _ }) | None => {}
        }
        absent! {
            fetch.is_some() => "FETCH",
            !locks.is_empty() => "FOR UPDATE",
            for_clause.is_some() => "FOR XML and FOR JSON",
            settings.is_some() => "SETTINGS",
            format_clause.is_some() => "FORMAT",
            !pipe_operators.is_empty() => "the pipe syntax",
        }
        body_is_a_query(body)
    }

    fn pre_visit_select(&mut self, select: &Select) -> ControlFlow<Self::Break> {
        let Select {
            select_token: _,
            optimizer_hints,
            distinct: _,
            select_modifiers,
            top,
            top_before_distinct: _,
            projection,
            exclude,
            into,
            from,
            lateral_views,
            prewhere,
            selection: _,
            connect_by,
            group_by,
            cluster_by,
            distribute_by,
            sort_by,
            having: _,
            named_window: _,
            qualify: _,
            window_before_qualify: _,
            value_table_mode,
            flavor,
        } = select;
        let (GroupByExpr::All(modifiers) | GroupByExpr::Expressions(_, modifiers)) = group_by;
        absent! { !modifiers.is_empty() => "GROUP BY … WITH" }
        for item in projection {
            let (SelectItem::Wildcard(options) | SelectItem::QualifiedWildcard(_, options)) = item else { continue };
            absent! { options.opt_ilike.is_some() => "ILIKE behind *" }
        }
        for join in from.iter().flat_map(|table| &table.joins) {
            let ast::Join { relation: _, global, join_operator: _ } = join;
            absent! { *global => "GLOBAL JOIN" }
        }
        absent! {
            !optimizer_hints.is_empty() => "an optimizer hint",
            select_modifiers.is_some() => "a modifier of SELECT",
            top.is_some() => "TOP",
            exclude.is_some() => "EXCLUDE behind the select list",
            into.is_some() => "SELECT INTO",
            !lateral_views.is_empty() => "LATERAL VIEW",
            prewhere.is_some() => "PREWHERE",
            !connect_by.is_empty() => "CONNECT BY",
            !cluster_by.is_empty() => "CLUSTER BY",
            !distribute_by.is_empty() => "DISTRIBUTE BY",
            !sort_by.is_empty() => "SORT BY",
            value_table_mode.is_some() => "SELECT AS VALUE",
            matches!(flavor, SelectFlavor::FromFirstNoSelect) => "FROM without SELECT",
        }
        ControlFlow::Continue(())
    }

    fn pre_visit_table_factor(&mut self, factor: &TableFactor) -> ControlFlow<Self::Break> {
        match factor {
            TableFactor::Table {
                name: _,
                alias: _,
                args,
                with_hints,
                version,
                with_ordinality,
                partitions,
                json_path,
                sample,
                index_hints,
            } => {
                absent! {
                    args.is_some() => "this table function",
                    !with_hints.is_empty() => "a table hint",
                    *with_ordinality => "WITH ORDINALITY",
                    !partitions.is_empty() => "PARTITION",
                    json_path.is_some() => "a JSON path behind a table",
                    sample.is_some() => "TABLESAMPLE",
                    !index_hints.is_empty() => "an index hint",
                }
                if let Some(Err(what)) = version.as_ref().map(Version::read) {
                    return ControlFlow::Break(what);
                }
            }
            TableFactor::Derived { lateral: _, subquery: _, alias: _, sample } => {
                absent! {
                    sample.is_some() => "TABLESAMPLE",
                }
            }
            TableFactor::NestedJoin { table_with_joins, alias } => {
                absent! { alias.is_some() => "an alias of a nested join" }
                for join in &table_with_joins.joins {
                    let ast::Join { relation: _, global, join_operator: _ } = join;
                    absent! { *global => "GLOBAL JOIN" }
                }
            }
            TableFactor::UNNEST { alias: _, array_exprs: _, with_offset, with_offset_alias, with_ordinality } => {
                absent! {
                    *with_offset || with_offset_alias.is_some() => "UNNEST WITH OFFSET",
                    *with_ordinality => "UNNEST WITH ORDINALITY",
                }
            }
            TableFactor::TableFunction { .. } | TableFactor::Function { .. } => {
                return ControlFlow::Break("this table function");
            }
            TableFactor::JsonTable { .. }
            | TableFactor::OpenJsonTable { .. }
            | TableFactor::Pivot { .. }
            | TableFactor::Unpivot { .. }
            | TableFactor::MatchRecognize { .. }
            | TableFactor::XmlTable { .. }
            | TableFactor::SemanticView { .. } => return ControlFlow::Break("this kind of table"),
        }
        ControlFlow::Continue(())
    }

    fn pre_visit_expr(&mut self, expr: &Expr) -> ControlFlow<Self::Break> {
        match expr {
            // Those that the gate has numbered.
            Expr::Value(value) if matches!(&value.value, ast::Value::Placeholder(name) if !name.starts_with('$')) => {
                ControlFlow::Break("this form of a parameter")
            }
            _ => ControlFlow::Continue(()),
        }
    }
}

/// A query's body, which may be something else than a query.
fn body_is_a_query(body: &SetExpr) -> ControlFlow<&'static str> {
    match body {
        SetExpr::Select(_) | SetExpr::Query(_) | SetExpr::Values(_) => ControlFlow::Continue(()),
        // DataFusion makes joins of them, which do not count how often a row is there.
        SetExpr::SetOperation {
            op: SetOperator::Except | SetOperator::Minus,
            set_quantifier: SetQuantifier::All,
            ..
        } => ControlFlow::Break("EXCEPT ALL"),
        SetExpr::SetOperation { op: SetOperator::Intersect, set_quantifier: SetQuantifier::All, .. } => {
            ControlFlow::Break("INTERSECT ALL")
        }
        SetExpr::SetOperation { op: _, set_quantifier: _, left, right } => {
            body_is_a_query(left)?;
            body_is_a_query(right)
        }
        SetExpr::Insert(_) | SetExpr::Update(_) | SetExpr::Delete(_) | SetExpr::Merge(_) => {
            ControlFlow::Break("a statement that writes")
        }
        SetExpr::Table(_) => ControlFlow::Break("TABLE as a query"),
    }
}
