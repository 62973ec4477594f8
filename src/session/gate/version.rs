//! The version of a table that a statement names, read out of what the parser makes of it.

use std::fmt;
use std::ops::ControlFlow;

use datafusion::sql::sqlparser::ast::{
    self, Expr, Function, FunctionArg, FunctionArgExpr, FunctionArgOperator, FunctionArguments, Query, TableVersion,
    Value, Visit, Visitor,
};

use super::normal;

/// A version of a table. Its text is the same for the same version, however it was written.
#[derive(Debug, Clone)]
pub enum Version {
    /// `VERSION AS OF 7`: a snapshot by its id.
    Snapshot(i64),
    /// `AT(REF => 'june')`: a branch or a tag.
    Ref(String),
    /// `TIMESTAMP AS OF now() - INTERVAL '1 day'`: what was the newest snapshot then.
    Time(Box<Expr>),
}

impl Version {
    /// Reads a version.
    ///
    /// # Errors
    /// The part that is not implemented.
    pub fn read(version: &TableVersion) -> Result<Self, &'static str> {
        match version {
            TableVersion::ForSystemTimeAsOf(time) | TableVersion::TimestampAsOf(time) => Self::time(time),
            TableVersion::VersionAsOf(id) => Self::snapshot(id),
            TableVersion::Function(call) => Self::called(call),
            TableVersion::Changes { .. } => Err("CHANGES"),
        }
    }

    fn time(expr: &Expr) -> Result<Self, &'static str> {
        match expr.visit(&mut Constant) {
            ControlFlow::Continue(()) => Ok(Self::Time(Box::new(expr.clone()))),
            ControlFlow::Break(what) => Err(what),
        }
    }

    fn snapshot(expr: &Expr) -> Result<Self, &'static str> {
        let id = match value(expr) {
            Some(Value::Number(digits, _)) => digits.parse().ok(),
            Some(Value::Placeholder(_)) => return Err("a parameter inside a table version"),
            _ => None,
        };
        id.map(Self::Snapshot).ok_or("a table version that is no snapshot id")
    }

    /// `AT(name => value)`.
    fn called(call: &Expr) -> Result<Self, &'static str> {
        let other = Err("this form of a table version");
        let Expr::Function(Function {
            name,
            uses_odbc_syntax: false,
            parameters: FunctionArguments::None,
            args: FunctionArguments::List(list),
            filter: None,
            null_treatment: None,
            over: None,
            within_group,
        }) = call
        else {
            return other;
        };
        let ast::FunctionArgumentList { duplicate_treatment: None, args, clauses } = list else { return other };
        let at = matches!(name.0.as_slice(), [part] if part.as_ident().is_some_and(|name| normal(name) == "at"));
        let [FunctionArg::Named { name, arg: FunctionArgExpr::Expr(arg), operator: FunctionArgOperator::RightArrow }] =
            args.as_slice()
        else {
            return other;
        };
        if !at || !within_group.is_empty() || !clauses.is_empty() {
            return other;
        }
        match normal(name).as_str() {
            "ref" => match value(arg) {
                Some(Value::SingleQuotedString(name)) => Ok(Self::Ref(name.clone())),
                Some(Value::Placeholder(_)) => Err("a parameter inside a table version"),
                _ => Err("a branch or tag that is not a text in quotes"),
            },
            "version" => Self::snapshot(arg),
            "timestamp" => Self::time(arg),
            _ => other,
        }
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Snapshot(id) => write!(f, "VERSION AS OF {id}"),
            Self::Ref(name) => write!(f, "AT(REF => '{}')", name.replace('\'', "''")),
            Self::Time(time) => write!(f, "TIMESTAMP AS OF {time}"),
        }
    }
}

fn value(expr: &Expr) -> Option<&Value> {
    match expr {
        Expr::Value(value) => Some(&value.value),
        _ => None,
    }
}

/// Stops at what makes an expression more than a constant. A version says which table is meant, so that no parameter
/// can stand in it.
struct Constant;

impl Visitor for Constant {
    type Break = &'static str;

    fn pre_visit_query(&mut self, _query: &Query) -> ControlFlow<Self::Break> {
        ControlFlow::Break("a query inside a table version")
    }

    fn pre_visit_expr(&mut self, expr: &Expr) -> ControlFlow<Self::Break> {
        match value(expr) {
            Some(Value::Placeholder(_)) => ControlFlow::Break("a parameter inside a table version"),
            _ => ControlFlow::Continue(()),
        }
    }
}
