//! What a statement may cost before it is planned: bounds on what planning and execution cannot bound themselves.

use std::collections::HashSet;
use std::ops::ControlFlow;
use std::sync::LazyLock;

use arrow::compute::kernels::cast_utils::{Parser as _, parse_interval_month_day_nano};
use arrow::datatypes::Date32Type;
use datafusion::functions_aggregate::all_default_aggregate_functions;
use datafusion::logical_expr::AggregateUDF;
use datafusion::sql::sqlparser::ast::{self, Expr, Query, Visit, Visitor};
use datafusion::sql::sqlparser::keywords::Keyword;
use datafusion::sql::sqlparser::tokenizer::{Token, TokenWithSpan};

use super::normal;
use crate::error::{Class, Error};
use crate::session::dialect;

/// The longest statement that is parsed, in bytes.
pub const LONGEST: usize = 256 * 1024;

/// The most words and signs of a statement.
const WORDS: usize = 50_000;

/// The most operators of a statement. A chain of them is as deep as it is long, DataFusion walks it by recursion, and
/// planning time grows with its square: 2 000 take 36 s unoptimised, and 50 000 overflow any stack.
const OPERATORS: usize = 1_000;

/// The words that chain expressions, beside the signs.
const CHAINING: [Keyword; 12] = [
    Keyword::AND,
    Keyword::OR,
    Keyword::NOT,
    Keyword::CASE,
    Keyword::IS,
    Keyword::IN,
    Keyword::BETWEEN,
    Keyword::LIKE,
    Keyword::ILIKE,
    Keyword::AT,
    Keyword::COLLATE,
    Keyword::OVERLAPS,
];

/// The most tables that a statement reads, each common table expression counted as often as it is used. What is no table, and
/// stands in a query as one does, counts as well: the planner orders and prunes both.
pub const TABLES: u64 = 64;

/// The most window functions of a statement, counted in the same way. Each is a column that all others are carried past.
const WINDOWS: u64 = 256;

/// The most aggregates of a statement, counted in the same way. The planner looks for each among all others: 1 000 take 8 s
/// unoptimised, and what is asked of each column of a wide table is fewer.
const AGGREGATES: u64 = 1_000;

/// The most keys that a grouping by several sets makes of a row: as many as it has columns, for each set. The sets of `CUBE`,
/// `ROLLUP` and `GROUPING SETS` multiply, and no pool is asked before a whole batch has been grouped by all of them.
const GROUPED: u64 = 1_024;

/// The functions whose result is as large as an argument says, and the place of that argument. Memory for it is not
/// counted by any pool, so the argument must be a number that stands in the statement.
const GROWING: [(&str, usize); 9] = [
    ("repeat", 1),
    ("lpad", 1),
    ("rpad", 1),
    ("space", 0),
    ("array_repeat", 1),
    ("list_repeat", 1),
    ("array_resize", 1),
    ("list_resize", 1),
    ("array_pad", 1),
];

/// The functions that build a list from its ends, for each row anew.
const SERIES: [&str; 2] = ["range", "generate_series"];

/// The most values of the lists that are tables.
const UNNESTED: u64 = 1_000_000;

/// The functions that take a type as a text, which is the argument behind the value.
const CASTS: [&str; 2] = ["arrow_cast", "arrow_try_cast"];

/// The aggregates that gather values. As windows they do so for each row anew, and no pool counts that.
const GATHERING: [&str; 2] = ["array_agg", "string_agg"];

/// The most rows before or behind each that they may gather.
const GATHERED: f64 = 1_000.0;

/// The widest values of fixed width. One NULL takes as much as any other, and lists of fixed length multiply it: a type of a
/// few letters would take more memory than there is.
const WIDEST: usize = 1024;

/// The most that the sizes of growing functions may multiply up to in one statement.
const GROWTH: u64 = 10_000;

/// The deepest type that stands in a text, in parentheses. It is read by recursion, and 40 000 overflow any stack.
const DEEPEST_TYPE: usize = 64;

/// The most set operations of a statement, whose planning is as steep: 500 take 3.5 s unoptimised.
const SETS: usize = 200;

/// Counts what makes a statement dear, before anything walks it by recursion, and gives its words and signs.
///
/// # Errors
/// `Limit`, naming what there is too much of.
pub fn measure(sql: &str) -> Result<Vec<TokenWithSpan>, Error> {
    if sql.len() > LONGEST {
        return Err(Error::new(
            Class::Limit,
            format!("the statement is {} bytes long, and {LONGEST} is the most", sql.len()),
        ));
    }
    let tokens = dialect::tokens(sql)
        .map_err(|error| Error::new(Class::BadRequest, format!("the statement cannot be parsed: {error}")))?;
    bound(&tokens)?;
    Ok(tokens)
}

/// Checks what is to be parsed.
///
/// # Errors
/// `Limit`.
pub fn bound(tokens: &[TokenWithSpan]) -> Result<(), Error> {
    let count = |wanted: fn(&Token) -> bool| tokens.iter().filter(|token| wanted(&token.token)).count();
    let words = count(|token| !matches!(token, Token::Whitespace(_)));
    let operators = count(|token| match token {
        Token::Word(word) => CHAINING.contains(&word.keyword),
        Token::Comma
        | Token::Period
        | Token::SemiColon
        | Token::LParen
        | Token::RParen
        | Token::RBracket
        | Token::LBrace
        | Token::RBrace
        | Token::Number(..)
        | Token::SingleQuotedString(_)
        | Token::Placeholder(_)
        | Token::Whitespace(_)
        | Token::EOF => false,
        _ => true,
    });
    let sets = count(|token| {
        matches!(token, Token::Word(word)
            if matches!(word.keyword, Keyword::UNION | Keyword::INTERSECT | Keyword::EXCEPT | Keyword::MINUS))
    });
    for (found, most, what) in
        [(words, WORDS, "words and signs"), (operators, OPERATORS, "operators"), (sets, SETS, "set operations")]
    {
        if found > most {
            return Err(Error::new(Class::Limit, format!("the statement has {found} {what}, and {most} are the most"))
                .help("an IN list takes the place of many comparisons"));
        }
    }
    Ok(())
}

/// Checks what a parsed query would build and read.
///
/// # Errors
/// `Limit`, or `BadRequest` for a size that cannot be told from the statement.
pub fn weigh(query: &Query) -> Result<(), Error> {
    let mut scale = Scale { growth: 1, listed: 0, unnested: 0, frames: vec![Frame::default()] };
    if let ControlFlow::Break(what) = query.visit(&mut scale) {
        return Err(Error::new(Class::BadRequest, format!("{what} is not supported")));
    }
    if scale.growth.saturating_mul(scale.listed.max(1)) > GROWTH {
        let error = Error::new(Class::Limit, format!("the statement builds values more than {GROWTH} times as long"));
        return Err(match scale.listed {
            0 => error,
            _ => error.help("a list of numbers or dates may be longer in `FROM unnest(…)`, where it is built once"),
        });
    }
    if scale.growth.saturating_mul(scale.unnested) > UNNESTED {
        return Err(Error::new(Class::Limit, format!("the statement unnests lists of more than {UNNESTED} values")));
    }
    let Load { tables, windows, aggregates } = scale.frames.pop().map_or_else(Load::default, |frame| frame.load);
    if tables > TABLES {
        return Err(Error::new(
            Class::Limit,
            format!("the statement reads {tables} tables, and {TABLES} are the most"),
        )
        .help("a WITH query counts as often as it is used"));
    }
    for (found, most, what) in [(windows, WINDOWS, "window functions"), (aggregates, AGGREGATES, "aggregate functions")]
    {
        if found > most {
            return Err(Error::new(Class::Limit, format!("the statement has {found} {what}, and {most} are the most"))
                .help("ask for them in several statements; a WITH query counts as often as it is used"));
        }
    }
    Ok(())
}

/// The walk over a query: what its growing functions multiply up to, how long its lists are together, and a frame for each
/// query that it is inside of.
struct Scale {
    growth: u64,
    listed: u64,
    /// The same of the lists that are tables, which are built once and not for each row.
    unnested: u64,
    frames: Vec<Frame>,
}

/// What the planner has to deal with in a query.
#[derive(Default, Clone, Copy)]
struct Load {
    tables: u64,
    windows: u64,
    aggregates: u64,
}

impl Load {
    fn add(&mut self, other: Self) {
        self.tables = self.tables.saturating_add(other.tables);
        self.windows = self.windows.saturating_add(other.windows);
        self.aggregates = self.aggregates.saturating_add(other.aggregates);
    }

    fn of(function: &ast::Function) -> Self {
        match (&function.over, name(function)) {
            (Some(_), _) => Self { windows: 1, ..Self::default() },
            (None, Some(name)) if AGGREGATING.contains(&name) => Self { aggregates: 1, ..Self::default() },
            (None, _) => Self::default(),
        }
    }

    /// The same of something that stands where a table does. One that is empty still costs a plan node each time.
    fn of_table(self) -> Self {
        Self { tables: self.tables.max(1), ..self }
    }
}

/// The names of aggregate functions.
static AGGREGATING: LazyLock<HashSet<String>> = LazyLock::new(|| {
    let named = |function: &AggregateUDF| [vec![function.name().to_owned()], function.aliases().to_vec()].concat();
    all_default_aggregate_functions().iter().flat_map(|function| named(function)).collect()
});

/// The last part of a function's name, as names are compared.
fn name(function: &ast::Function) -> Option<String> {
    function.name.0.last().and_then(|part| part.as_ident()).map(|name| name.value.to_lowercase())
}

/// What there is in a query, and in what its common table expressions stand for.
#[derive(Default)]
struct Frame {
    load: Load,
    /// How many tables made of lists one is inside of.
    unnesting: usize,
    /// The expressions that are still to be walked, by the address of their query.
    pending: Vec<(usize, String)>,
    known: Vec<(String, Load)>,
}

fn address(query: &Query) -> usize {
    std::ptr::from_ref(query).addr()
}

impl Visitor for Scale {
    type Break = &'static str;

    fn pre_visit_query(&mut self, query: &Query) -> ControlFlow<Self::Break> {
        let expressions = query.with.iter().flat_map(|with| &with.cte_tables);
        let pending = expressions.map(|cte| (address(&cte.query), normal(&cte.alias.name))).collect();
        self.frames.push(Frame { pending, ..Frame::default() });
        ControlFlow::Continue(())
    }

    fn post_visit_query(&mut self, query: &Query) -> ControlFlow<Self::Break> {
        let Some(done) = self.frames.pop() else { return ControlFlow::Continue(()) };
        if let Some(outer) = self.frames.last_mut() {
            match outer.pending.iter().find(|(place, _)| *place == address(query)) {
                Some((_, name)) => outer.known.push((name.clone(), done.load)),
                None => outer.load.add(done.load.of_table()),
            }
        }
        ControlFlow::Continue(())
    }

    fn pre_visit_select(&mut self, select: &ast::Select) -> ControlFlow<Self::Break> {
        match &select.group_by {
            ast::GroupByExpr::Expressions(by, _) if keys(by) > GROUPED => {
                ControlFlow::Break("a CUBE, ROLLUP or GROUPING SETS of so many columns")
            }
            ast::GroupByExpr::Expressions(..) | ast::GroupByExpr::All(_) => ControlFlow::Continue(()),
        }
    }

    fn pre_visit_relation(&mut self, relation: &ast::ObjectName) -> ControlFlow<Self::Break> {
        let name = match relation.0.as_slice() {
            [part] => part.as_ident().map(normal),
            _ => None,
        };
        let stands_for = |name: &String| {
            self.frames.iter().rev().find_map(|frame| frame.known.iter().rev().find(|(known, _)| known == name))
        };
        let load = name.as_ref().and_then(stands_for).map_or_else(Load::default, |(_, load)| *load).of_table();
        if let Some(frame) = self.frames.last_mut() {
            frame.load.add(load);
        }
        ControlFlow::Continue(())
    }

    fn pre_visit_table_factor(&mut self, table: &ast::TableFactor) -> ControlFlow<Self::Break> {
        if let (ast::TableFactor::UNNEST { .. }, Some(frame)) = (table, self.frames.last_mut()) {
            frame.unnesting += 1;
            frame.load.add(Load::default().of_table());
        }
        ControlFlow::Continue(())
    }

    fn post_visit_table_factor(&mut self, table: &ast::TableFactor) -> ControlFlow<Self::Break> {
        if let (ast::TableFactor::UNNEST { .. }, Some(frame)) = (table, self.frames.last_mut()) {
            frame.unnesting = frame.unnesting.saturating_sub(1);
        }
        ControlFlow::Continue(())
    }

    fn pre_visit_expr(&mut self, expr: &Expr) -> ControlFlow<Self::Break> {
        match expr {
            Expr::Function(function) => {
                if let Some(frame) = self.frames.last_mut() {
                    frame.load.add(Load::of(function));
                }
                self.growing(function)
            }
            Expr::Cast { data_type, .. } | Expr::TypedString(ast::TypedString { data_type, .. })
                if has_fixed_length(&data_type.to_string()) =>
            {
                ControlFlow::Break("a type of lists of a fixed length")
            }
            _ => ControlFlow::Continue(()),
        }
    }
}

impl Scale {
    /// Lets a function that grows its result pass with a size that stands in the statement.
    fn growing(&mut self, function: &ast::Function) -> ControlFlow<&'static str> {
        let name = name(function);
        let is = |names: &[&str]| names.iter().any(|known| name.as_deref() == Some(*known));
        if is(&CASTS) {
            return cast(function);
        }
        if is(&GATHERING) && function.over.as_ref().is_some_and(|window| !is_narrow(window)) {
            return ControlFlow::Break(
                "a window that gathers lists or texts of more than 1000 rows before or behind each",
            );
        }
        if is(&SERIES) {
            let Some(length) = length(function) else {
                return ControlFlow::Break(
                    "a list whose ends are not plain numbers, or dates with a step of whole days, in `range` or \
                     `generate_series`,",
                );
            };
            // As a number it saturates.
            let once = self.frames.last().is_some_and(|frame| frame.unnesting > 0);
            let lengths = if once { &mut self.unnested } else { &mut self.listed };
            *lengths = lengths.saturating_add(length as u64);
            return ControlFlow::Continue(());
        }
        let Some((_, place)) = GROWING.iter().find(|(growing, _)| name.as_deref() == Some(*growing)) else {
            return ControlFlow::Continue(());
        };
        let ast::FunctionArguments::List(list) = &function.args else { return ControlFlow::Continue(()) };
        let size = match list.args.get(*place) {
            Some(ast::FunctionArg::Unnamed(ast::FunctionArgExpr::Expr(Expr::Value(value)))) => match &value.value {
                ast::Value::Number(number, _) => number.parse::<u64>().ok(),
                _ => None,
            },
            _ => None,
        };
        match size {
            Some(size) => {
                self.growth = self.growth.saturating_mul(size.max(1));
                ControlFlow::Continue(())
            }
            None => ControlFlow::Break("a size that is not a plain number, in `repeat`, `lpad` and the like,"),
        }
    }
}

/// How many keys a grouping makes of a row; none where it has but one set, as a plain one has.
fn keys(by: &[Expr]) -> u64 {
    let (mut sets, mut columns) = (1_u64, HashSet::new());
    for expr in by {
        let (times, parts) = match expr {
            Expr::Cube(parts) => (2_u64.saturating_pow(u32::try_from(parts.len()).unwrap_or(u32::MAX)), parts),
            Expr::Rollup(parts) => (parts.len() as u64 + 1, parts),
            Expr::GroupingSets(parts) => (parts.len() as u64, parts),
            column => {
                columns.insert(column);
                continue;
            }
        };
        sets = sets.saturating_mul(times.max(1));
        columns.extend(parts.iter().flatten());
    }
    if sets > 1 { sets.saturating_mul(columns.len() as u64) } else { 0 }
}

/// Whether a window has so few rows for each row, as it stands in the statement.
fn is_narrow(window: &ast::WindowType) -> bool {
    let ast::WindowType::WindowSpec(ast::WindowSpec { window_frame: Some(frame), .. }) = window else { return false };
    let near = |bound: &ast::WindowFrameBound| match bound {
        ast::WindowFrameBound::CurrentRow => true,
        ast::WindowFrameBound::Preceding(Some(rows)) | ast::WindowFrameBound::Following(Some(rows)) => {
            number(rows).is_some_and(|rows| rows <= GATHERED)
        }
        ast::WindowFrameBound::Preceding(None) | ast::WindowFrameBound::Following(None) => false,
    };
    frame.units == ast::WindowFrameUnits::Rows && near(&frame.start_bound) && frame.end_bound.as_ref().is_none_or(near)
}

/// The arguments that a function is called with, in their order.
fn arguments(function: &ast::Function) -> Vec<&Expr> {
    let ast::FunctionArguments::List(list) = &function.args else { return Vec::new() };
    let plain = |argument| match argument {
        &ast::FunctionArg::Unnamed(ast::FunctionArgExpr::Expr(ref expr)) => Some(expr),
        _ => None,
    };
    list.args.iter().filter_map(plain).collect()
}

/// Whether a type, as it is written, has a length in brackets.
fn has_fixed_length(kind: &str) -> bool {
    kind.split('[').skip(1).any(|rest| rest.trim_start().starts_with(|c: char| c.is_ascii_digit()))
}

/// Lets a cast pass to a type that stands in the statement and whose values have no large width of their own.
fn cast(function: &ast::Function) -> ControlFlow<&'static str> {
    let kind = match arguments(function).get(1) {
        Some(Expr::Value(value)) => value.value.clone().into_string(),
        _ => None,
    };
    let Some(kind) = kind else { return ControlFlow::Break("a type that is not a plain text, in `arrow_cast`,") };
    let kind = kind.to_lowercase();
    let narrow = |rest: &str| {
        let digits: String =
            rest.chars().filter(|c| !c.is_whitespace()).skip(1).take_while(char::is_ascii_digit).collect();
        digits.parse::<usize>().is_ok_and(|width| width <= WIDEST)
    };
    if kind.matches('(').count() > DEEPEST_TYPE {
        return ControlFlow::Break("a type that is nested so deeply");
    }
    match kind.contains("fixedsizelist") || !kind.split("fixedsizebinary").skip(1).all(narrow) {
        true => ControlFlow::Break("a type of fixed length"),
        false => ControlFlow::Continue(()),
    }
}

/// How long a list from one end to another is, where both stand in the statement: numbers, or dates by days or more. A step
/// of hours between dates would be millions of values in a few letters.
fn length(function: &ast::Function) -> Option<f64> {
    let ends = arguments(function);
    let places: Option<Vec<f64>> =
        ends.iter().map(|end| number(end).or_else(|| day(end)).or_else(|| days(end))).collect();
    let length = match (places?.as_slice(), ends.as_slice()) {
        (&[stop], [end]) if number(end).is_some() => stop,
        (&[start, stop], [first, second]) if number(first).is_some() && number(second).is_some() => stop - start,
        (&[start, stop, step], [first, second, by]) if step != 0.0 => {
            let numbers = [first, second, by].into_iter().all(|end| number(end).is_some());
            let dates = day(first).is_some() && day(second).is_some() && days(by).is_some();
            (numbers || dates).then(|| (stop - start) / step)?
        }
        _ => return None,
    };
    Some(length.abs())
}

/// The place of a date among the days.
fn day(expr: &Expr) -> Option<f64> {
    match expr {
        Expr::TypedString(ast::TypedString { data_type: ast::DataType::Date, value, .. }) => match &value.value {
            ast::Value::SingleQuotedString(text) => Date32Type::parse(text).map(f64::from),
            _ => None,
        },
        _ => None,
    }
}

/// The fewest days of an interval that has no smaller parts.
fn days(expr: &Expr) -> Option<f64> {
    let Expr::Interval(ast::Interval { value, leading_field, leading_precision: None, last_field: None, .. }) = expr
    else {
        return None;
    };
    let Expr::Value(ast::ValueWithSpan { value: ast::Value::SingleQuotedString(text), .. }) = value.as_ref() else {
        return None;
    };
    let unit = leading_field.as_ref().map_or_else(String::new, ToString::to_string);
    let step = parse_interval_month_day_nano(format!("{text} {unit}").trim()).ok()?;
    let (months, days) = (f64::from(step.months), f64::from(step.days));
    (step.nanoseconds == 0 && months * days >= 0.0).then_some(months * 28.0 + days)
}

fn number(expr: &Expr) -> Option<f64> {
    match expr {
        Expr::Value(value) => match &value.value {
            ast::Value::Number(number, _) => number.parse().ok(),
            _ => None,
        },
        Expr::UnaryOp { op: ast::UnaryOperator::Minus, expr } => number(expr).map(|number| -number),
        _ => None,
    }
}
