//! A filter's words and signs become a tree that knows its places and no types yet.
//!
//! ```text
//! or    := and { OR and }                    and  := not { AND not }
//! not   := NOT not | test                    sum  := product { (+ | -) product }
//! test  := sum [ comparison sum | [NOT] IN (…) | [NOT] BETWEEN sum AND sum | [NOT] LIKE 'x' [ESCAPE 'c'] | IS [NOT] NULL ]
//! unit  := number | 'text' | TRUE | FALSE | DATE '…' | TIMESTAMP '…' | principal.name | column { . field } | - unit | ( or )
//! ```

use std::sync::Arc;

use super::lex::{Kind, Token, tokens};
use super::{Comparison, Fault, Literal, Operator, literal};
use crate::document::quote;

/// Deeper than any honest filter; what walks a filter walks it recursively.
const MAX_DEPTH: usize = 32;

/// A part of a filter, and where it begins in the text.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Expr {
    pub node: Node,
    pub offset: usize,
}

/// What a part of a filter is. Whether it makes sense is for the check to say.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Node {
    Column(Arc<[Arc<str>]>),
    Attribute(Arc<str>),
    Literal(Literal),
    Arithmetic(Operator, Box<Expr>, Box<Expr>),
    Compare(Comparison, Box<Expr>, Box<Expr>),
    And(Vec<Expr>),
    Or(Vec<Expr>),
    Not(Box<Expr>),
    In(Box<Expr>, Vec<Expr>),
    /// In a set that the principal has.
    InAttribute(Box<Expr>, Arc<str>),
    Between(Box<Expr>, Box<Expr>, Box<Expr>),
    Like(Box<Expr>, Arc<str>, Option<char>),
    IsNull(Box<Expr>),
}

/// Reads a filter.
pub(super) fn parse(text: &str) -> Result<Expr, Fault> {
    let mut parser = Parser { tokens: tokens(text)?, next: 0, depth: 0 };
    let expr = parser.or()?;
    match parser.peek().kind {
        Kind::End => Ok(expr),
        _ => Err(parser.unexpected("the end of the filter")),
    }
}

struct Parser {
    tokens: Vec<Token>,
    next: usize,
    depth: usize,
}

impl Parser {
    fn peek(&self) -> Token {
        // The end is the last token, and nothing reads past it.
        self.tokens.get(self.next).cloned().unwrap_or(Token { kind: Kind::End, offset: 0 })
    }

    fn take(&mut self) -> Token {
        let token = self.peek();
        self.next += 1;
        token
    }

    fn unexpected(&self, expected: &str) -> Fault {
        let Token { kind, offset } = self.peek();
        let found = match kind {
            Kind::Word(text) | Kind::Name(text) | Kind::Text(text) | Kind::Number(text) => quote(&text),
            Kind::Sign(sign) => quote(sign),
            Kind::End => "the end of the filter".to_owned(),
        };
        Fault::new(offset, format!("{found} stands where {expected} is expected"))
    }

    fn is_word(&self, word: &str) -> bool {
        matches!(self.peek().kind, Kind::Word(text) if text.eq_ignore_ascii_case(word))
    }

    fn word(&mut self, word: &str) -> bool {
        let there = self.is_word(word);
        self.next += usize::from(there);
        there
    }

    fn sign(&mut self, sign: &str) -> bool {
        let there = matches!(self.peek().kind, Kind::Sign(found) if found == sign);
        self.next += usize::from(there);
        there
    }

    fn expect(&mut self, sign: &'static str) -> Result<(), Fault> {
        if self.sign(sign) { Ok(()) } else { Err(self.unexpected(&format!("`{sign}`"))) }
    }

    fn text(&mut self, what: &str) -> Result<Arc<str>, Fault> {
        match self.peek().kind {
            Kind::Text(text) => {
                self.next += 1;
                Ok(text)
            }
            _ => Err(self.unexpected(what)),
        }
    }

    /// One level deeper.
    fn nested(&mut self, read: impl FnOnce(&mut Self) -> Result<Expr, Fault>) -> Result<Expr, Fault> {
        if self.depth == MAX_DEPTH {
            let message = format!("the filter is nested deeper than {MAX_DEPTH}");
            return Err(Fault::new(self.peek().offset, message));
        }
        self.depth += 1;
        let expr = read(self);
        self.depth -= 1;
        expr
    }

    fn or(&mut self) -> Result<Expr, Fault> {
        self.chain("OR", Self::and, Node::Or)
    }

    fn and(&mut self) -> Result<Expr, Fault> {
        self.chain("AND", Self::not, Node::And)
    }

    fn chain(
        &mut self,
        word: &str,
        part: fn(&mut Self) -> Result<Expr, Fault>,
        join: fn(Vec<Expr>) -> Node,
    ) -> Result<Expr, Fault> {
        let first = part(self)?;
        let offset = first.offset;
        let mut parts = vec![first];
        while self.word(word) {
            parts.push(part(self)?);
        }
        match parts.pop() {
            Some(only) if parts.is_empty() => Ok(only),
            last => {
                parts.extend(last);
                Ok(Expr { node: join(parts), offset })
            }
        }
    }

    fn not(&mut self) -> Result<Expr, Fault> {
        let offset = self.peek().offset;
        if self.word("NOT") {
            let inner = self.nested(Self::not)?;
            return Ok(Expr { node: Node::Not(inner.into()), offset });
        }
        self.test()
    }

    fn test(&mut self) -> Result<Expr, Fault> {
        let left = self.sum()?;
        let offset = left.offset;
        if let Some(comparison) = self.comparison() {
            let right = self.sum()?;
            return Ok(Expr { node: Node::Compare(comparison, left.into(), right.into()), offset });
        }
        if self.word("IS") {
            let not = self.word("NOT");
            if !self.word("NULL") {
                return Err(self.unexpected("`NULL`"));
            }
            return Ok(negated(not, Node::IsNull(left.into()), offset));
        }
        let not = self.word("NOT");
        let node = if self.word("IN") {
            self.list(left)?
        } else if self.word("BETWEEN") {
            let low = self.sum()?;
            if !self.word("AND") {
                return Err(self.unexpected("`AND`"));
            }
            Node::Between(left.into(), low.into(), self.sum()?.into())
        } else if self.word("LIKE") {
            let pattern = self.text("a pattern in single quotes")?;
            let escape = if self.word("ESCAPE") { Some(self.escape()?) } else { None };
            Node::Like(left.into(), pattern, escape)
        } else if not {
            return Err(self.unexpected("`IN`, `BETWEEN` or `LIKE`"));
        } else {
            return Ok(left);
        };
        Ok(negated(not, node, offset))
    }

    fn comparison(&mut self) -> Option<Comparison> {
        let Kind::Sign(sign) = self.peek().kind else { return None };
        let comparison = match sign {
            "=" => Comparison::Equal,
            "<>" | "!=" => Comparison::NotEqual,
            "<" => Comparison::Less,
            "<=" => Comparison::LessOrEqual,
            ">" => Comparison::Greater,
            ">=" => Comparison::GreaterOrEqual,
            _ => return None,
        };
        self.next += 1;
        Some(comparison)
    }

    fn list(&mut self, left: Expr) -> Result<Node, Fault> {
        if self.is_word("principal") {
            return match self.unit()? {
                Expr { node: Node::Attribute(name), .. } => Ok(Node::InAttribute(left.into(), name)),
                other => Err(Fault::new(other.offset, "an attribute of the principal is expected here".to_owned())),
            };
        }
        self.expect("(")?;
        let mut items = vec![self.sum()?];
        while self.sign(",") {
            items.push(self.sum()?);
        }
        self.expect(")")?;
        Ok(Node::In(left.into(), items))
    }

    fn escape(&mut self) -> Result<char, Fault> {
        let offset = self.peek().offset;
        let text = self.text("a character in single quotes")?;
        let mut chars = text.chars();
        match (chars.next(), chars.next()) {
            (Some(escape), None) if !['%', '_'].contains(&escape) => Ok(escape),
            _ => Err(Fault::new(offset, "`ESCAPE` takes one character, and neither `%` nor `_`".to_owned())),
        }
    }

    fn sum(&mut self) -> Result<Expr, Fault> {
        self.arithmetic(&[("+", Operator::Add), ("-", Operator::Subtract)], Self::product)
    }

    fn product(&mut self) -> Result<Expr, Fault> {
        self.arithmetic(&[("*", Operator::Multiply)], Self::unit)
    }

    fn arithmetic(
        &mut self,
        operators: &[(&'static str, Operator)],
        part: fn(&mut Self) -> Result<Expr, Fault>,
    ) -> Result<Expr, Fault> {
        let mut left = part(self)?;
        // Every operator nests what stands before it one level deeper.
        let mut depth = self.depth;
        while let Some((_, operator)) = operators.iter().find(|(sign, _)| self.sign(sign)) {
            depth += 1;
            if depth > MAX_DEPTH {
                let message = format!("the filter is nested deeper than {MAX_DEPTH}");
                return Err(Fault::new(self.peek().offset, message));
            }
            let right = part(self)?;
            let offset = left.offset;
            left = Expr { node: Node::Arithmetic(*operator, left.into(), right.into()), offset };
        }
        Ok(left)
    }

    fn unit(&mut self) -> Result<Expr, Fault> {
        let Token { kind, offset } = self.take();
        let node = match kind {
            Kind::Sign("(") => {
                let inner = self.nested(Self::or)?;
                self.expect(")")?;
                return Ok(inner);
            }
            Kind::Sign("-") => return self.nested(Self::unit).map(|inner| negative(inner, offset)),
            Kind::Number(text) => {
                let fault = || Fault::new(offset, format!("{} is not a number of at most 38 digits", quote(&text)));
                Node::Literal(literal::number(&text).ok_or_else(fault)?)
            }
            Kind::Text(text) => Node::Literal(Literal::Text(text)),
            Kind::Name(name) => self.path(name)?,
            Kind::Word(word) => match word.to_ascii_uppercase().as_str() {
                "TRUE" => Node::Literal(Literal::Boolean(true)),
                "FALSE" => Node::Literal(Literal::Boolean(false)),
                "NULL" => {
                    let message = "nothing can be compared with `NULL`".to_owned();
                    return Err(Fault::new(offset, message).help("write `IS NULL`"));
                }
                "DATE" if matches!(self.peek().kind, Kind::Text(_)) => self.date()?,
                "TIMESTAMP" if matches!(self.peek().kind, Kind::Text(_)) => self.timestamp()?,
                "AND" | "OR" | "NOT" | "IN" | "BETWEEN" | "LIKE" | "ESCAPE" | "IS" => {
                    self.next -= 1;
                    return Err(self.unexpected("a value").help("a column of that name stands in double quotes"));
                }
                "PRINCIPAL" => self.attribute()?,
                _ => self.path(word)?,
            },
            _ => {
                self.next -= 1;
                return Err(self.unexpected("a value"));
            }
        };
        Ok(Expr { node, offset })
    }

    fn date(&mut self) -> Result<Node, Fault> {
        let offset = self.peek().offset;
        let text = self.text("a date")?;
        let date = literal::date(&text).ok_or_else(|| {
            Fault::new(offset, format!("{} is not a date", quote(&text))).help("write it like `DATE '2024-02-29'`")
        });
        Ok(Node::Literal(Literal::Date(date?)))
    }

    fn timestamp(&mut self) -> Result<Node, Fault> {
        let offset = self.peek().offset;
        let text = self.text("a timestamp")?;
        let local = literal::timestamp(&text).map(Literal::Timestamp);
        let value = local.or_else(|| literal::timestamptz(&text).map(Literal::Timestamptz)).ok_or_else(|| {
            Fault::new(offset, format!("{} is not a timestamp", quote(&text)))
                .help("write it like `TIMESTAMP '2024-02-29 12:00:00'`, with `Z` behind it for one in UTC")
        });
        Ok(Node::Literal(value?))
    }

    fn attribute(&mut self) -> Result<Node, Fault> {
        self.expect(".")?;
        Ok(Node::Attribute(self.name("an attribute")?))
    }

    fn name(&mut self, what: &str) -> Result<Arc<str>, Fault> {
        match self.peek().kind {
            Kind::Word(name) | Kind::Name(name) => {
                self.next += 1;
                Ok(name)
            }
            _ => Err(self.unexpected(what)),
        }
    }

    fn path(&mut self, first: Arc<str>) -> Result<Node, Fault> {
        let mut path = vec![first];
        while self.sign(".") {
            path.push(self.name("a field")?);
        }
        Ok(Node::Column(path.into()))
    }
}

fn negated(not: bool, node: Node, offset: usize) -> Expr {
    let expr = Expr { node, offset };
    if not { Expr { node: Node::Not(expr.into()), offset } } else { expr }
}

fn negative(inner: Expr, offset: usize) -> Expr {
    let node = match inner.node {
        Node::Literal(Literal::Number { unscaled, scale }) => {
            // No number has more than 38 digits, so each has an opposite.
            Node::Literal(Literal::Number { unscaled: -unscaled, scale })
        }
        node => {
            let zero = Expr { node: Node::Literal(Literal::Number { unscaled: 0, scale: 0 }), offset };
            Node::Arithmetic(Operator::Subtract, zero.into(), Expr { node, offset: inner.offset }.into())
        }
    };
    Expr { node, offset }
}
