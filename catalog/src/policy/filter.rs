//! Row filters: a small typed grammar over the columns of a contract.
//!
//! A [`Filter`] is closed and checked: its columns are the contract's, its attributes have become the principal's own
//! values, and each comparison is between values of one kind, so no evaluation of it can fail. It speaks of raw values.
//!
//! ```text
//! @filter("region = principal.region AND NOT closed")   in a policy, checked against the contract
//! Compare(Equal, Column(region), Literal("EU")) …       for one principal
//! ```
//!
//! Logic has three values, as in SQL: a comparison with NULL is unknown, and so is whatever depends on it. Who lowers a
//! filter makes the end explicit: a permit shows where its filter `IS TRUE`, a forbid hides unless its filter `IS FALSE`.

mod check;
mod lex;
pub(crate) mod literal;
mod parse;

use std::sync::Arc;

pub(crate) use check::Checked;

use crate::contract::Column;
use crate::mesh::declared::Declared;
use crate::principal::Principal;

/// A condition on a row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Filter {
    /// Holds for every row, or for none.
    Constant(bool),
    /// A boolean value as it is.
    Holds(Value),
    /// `left op right`
    Compare(Comparison, Value, Value),
    /// All of them; never empty.
    And(Vec<Filter>),
    /// One of them; never empty.
    Or(Vec<Filter>),
    /// The opposite; unknown stays unknown.
    Not(Box<Filter>),
    /// Equal to one of several values; never an empty list, never a NULL in it.
    In(Value, Vec<Value>),
    /// From `low` to `high`, both included.
    Between(Value, Value, Value),
    /// `value LIKE pattern`: `%` stands for any text, `_` for one character, `escape` takes the next one as it is.
    /// Case counts.
    Like {
        /// A text.
        value: Value,
        /// The pattern.
        pattern: Arc<str>,
        /// The character that escapes; none unless the filter names one.
        escape: Option<char>,
    },
    /// Whether the value is NULL; never unknown.
    IsNull(Value),
}

/// A value in a row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Value {
    /// A column by its path: its name in the contract, and those of the struct fields inside of it.
    Column(Arc<[Arc<str>]>),
    /// The same value in every row.
    Literal(Literal),
    /// Of exact numbers; the result fits 38 digits whatever the operands are, and `scale` is exact.
    Arithmetic(Operator, Box<Value>, Box<Value>),
}

/// A value that stands in a filter, or an attribute of the principal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Literal {
    /// A truth value.
    Boolean(bool),
    /// An exact number: `unscaled` · 10^-`scale`, of at most 38 digits.
    Number {
        /// The digits.
        unscaled: i128,
        /// How many of them stand behind the point.
        scale: u8,
    },
    /// A text.
    Text(Arc<str>),
    /// Days since 1970-01-01.
    Date(i32),
    /// Microseconds since 1970-01-01 00:00, on no particular clock.
    Timestamp(i64),
    /// Microseconds since 1970-01-01 00:00 UTC.
    Timestamptz(i64),
    /// The bits of a floating-point number, in the total order of IEEE 754: NaN lies beyond the infinities. Policies
    /// cannot write one.
    Float(u64),
}

impl Literal {
    pub(crate) fn float(number: f64) -> Self {
        Self::Float(number.to_bits())
    }

    /// Whether it is a zero, of either sign.
    pub(crate) fn is_float_zero(&self) -> bool {
        matches!(self, Self::Float(bits) if f64::from_bits(*bits) == 0.0)
    }
}

/// How two values are compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
#[allow(missing_docs, reason = "the names say it")]
pub enum Comparison {
    Equal,
    NotEqual,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
}

impl Comparison {
    /// What holds where it does not, of values that are known.
    pub(crate) fn opposite(self) -> Self {
        match self {
            Self::Equal => Self::NotEqual,
            Self::NotEqual => Self::Equal,
            Self::Less => Self::GreaterOrEqual,
            Self::LessOrEqual => Self::Greater,
            Self::Greater => Self::LessOrEqual,
            Self::GreaterOrEqual => Self::Less,
        }
    }

    /// The same with the sides changed.
    pub(crate) fn turned(self) -> Self {
        match self {
            Self::Less => Self::Greater,
            Self::LessOrEqual => Self::GreaterOrEqual,
            Self::Greater => Self::Less,
            Self::GreaterOrEqual => Self::LessOrEqual,
            same => same,
        }
    }
}

/// Arithmetic that cannot fail.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs, reason = "the names say it")]
pub enum Operator {
    Add,
    Subtract,
    Multiply,
}

/// What is wrong with a filter, and where in its text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Fault {
    pub offset: usize,
    pub message: String,
    pub help: Option<String>,
}

impl Fault {
    fn new(offset: usize, message: String) -> Self {
        Self { offset, message, help: None }
    }

    fn help(self, text: impl Into<String>) -> Self {
        Self { help: Some(text.into()), ..self }
    }
}

/// A filter as it is written in a policy, whatever product and principal it is for.
#[derive(Debug, Clone)]
pub(crate) struct Written(parse::Expr);

impl Written {
    /// Reads the text of a `@filter`.
    pub fn parse(text: &str) -> Result<Self, Fault> {
        parse::parse(text).map(Self)
    }

    /// What it is on a product with `columns`, for `principal` or, while a mesh is loaded, for nobody yet.
    pub fn on(&self, declared: &Declared, columns: &[Column], principal: Option<&Principal>) -> Result<Checked, Fault> {
        check::Check::new(declared, columns, principal).run(&self.0)
    }
}
