//! Random row filters: their texts, where they fit, and what they say of a row.

use super::super::dice::Dice;
use super::super::evaluate::{Cell, Row};
use super::world::{Prod, Rule};
use crate::principal::{Attribute, Principal};

/// A condition on a row.
#[derive(Debug, Clone)]
pub(super) enum Test {
    /// A column of numbers or texts, an operator, and what it is compared with.
    Compare(String, &'static str, With),
    /// `path + n > m`
    Sum(String, i64, i64),
    In(String, Vec<With>),
    InTeams(String),
    Between(String, i64, i64),
    Like(String, &'static str),
    IsNull(String),
    And(Vec<Test>),
    Or(Vec<Test>),
    Not(Box<Test>),
}

#[derive(Debug, Clone)]
pub(super) enum With {
    Number(i64),
    Text(&'static str),
    Region,
    Level,
}

/// A filter that fits one at least of the products that the rule reaches, and every one if it names a product.
pub(super) fn filter(dice: &mut Dice, rule: &Rule, products: &[Prod]) -> Test {
    let reached: Vec<&Prod> = products.iter().filter(|product| rule.may_reach(product)).collect();
    let one = rule.what.as_ref().is_some_and(|(_, uid)| uid.starts_with("Product"));
    for _ in 0..50 {
        let test = Test::random(dice, 2);
        let fits = |product: &&&Prod| test.fits(product) && !test.lacks_column(product);
        let fitting = reached.iter().filter(fits).count();
        if fitting == reached.len() || (!one && fitting > 0) {
            return test;
        }
    }
    Test::IsNull("a".into())
}

impl Test {
    fn random(dice: &mut Dice, depth: usize) -> Self {
        let path = dice.pick(&["a", "a", "b", "b", "c", "a.x", "b.y", "z"]).to_owned();
        let n = dice.below(7) as i64 - 1;
        match dice.below(if depth > 0 { 12 } else { 9 }) {
            0 | 1 => {
                let operator = dice.pick(&["=", "<>", "<", "<=", ">", ">="]);
                let with = match dice.below(4) {
                    0 => With::Number(n),
                    1 => With::Text(dice.pick(&["EU", "x1", ""])),
                    2 => With::Region,
                    _ => With::Level,
                };
                Self::Compare(path, operator, with)
            }
            2 => Self::Sum(path, n, dice.below(7) as i64),
            3 => Self::In(path, vec![With::Number(n), With::Level]),
            4 => Self::In(path, vec![With::Text("EU"), With::Region]),
            5 => Self::InTeams(path),
            6 => Self::Between(path, n, n + 2),
            7 => Self::Like(path, dice.pick(&["%U", "x_", "%", "!%%"])),
            8 => Self::IsNull(path),
            9 => Self::And(vec![Self::random(dice, depth - 1), Self::random(dice, depth - 1)]),
            10 => Self::Or(vec![Self::random(dice, depth - 1), Self::random(dice, depth - 1)]),
            _ => Self::Not(Self::random(dice, depth - 1).into()),
        }
    }

    pub fn text(&self) -> String {
        let join = |tests: &[Self], word: &str| {
            tests.iter().map(|test| format!("({})", test.text())).collect::<Vec<_>>().join(word)
        };
        let list = |of: &[With]| of.iter().map(With::text).collect::<Vec<_>>().join(", ");
        match self {
            Self::Compare(path, operator, with) => format!("{path} {operator} {}", with.text()),
            Self::Sum(path, add, least) => format!("{path} + {add} > {least}"),
            Self::In(path, of) => format!("{path} IN ({})", list(of)),
            Self::InTeams(path) => format!("{path} IN principal.teams"),
            Self::Between(path, low, high) => format!("{path} BETWEEN {low} AND {high}"),
            Self::Like(path, pattern) => format!("{path} LIKE '{pattern}' ESCAPE '!'"),
            Self::IsNull(path) => format!("{path} IS NULL"),
            Self::And(tests) => join(tests, " AND "),
            Self::Or(tests) => join(tests, " OR "),
            Self::Not(test) => format!("NOT ({})", test.text()),
        }
    }

    fn each<'t>(&'t self, f: &mut dyn FnMut(&'t Self)) {
        f(self);
        match self {
            Self::And(tests) | Self::Or(tests) => tests.iter().for_each(|test| test.each(f)),
            Self::Not(test) => test.each(f),
            _ => {}
        }
    }

    fn any(&self, is: impl Fn(&Self) -> bool) -> bool {
        let mut found = false;
        self.each(&mut |test| found |= is(test));
        found
    }

    fn path(&self) -> Option<&str> {
        match self {
            Self::And(_) | Self::Or(_) | Self::Not(_) => None,
            Self::Compare(path, ..)
            | Self::Sum(path, ..)
            | Self::In(path, _)
            | Self::InTeams(path)
            | Self::Between(path, ..)
            | Self::Like(path, _)
            | Self::IsNull(path) => Some(path),
        }
    }

    /// Whether each part is of the kind that its column has. A column that is not there is of any.
    pub fn fits(&self, product: &Prod) -> bool {
        !self.any(|test| {
            let Some(kind) = test.path().map(|path| kind(product, path)) else { return false };
            let wanted = match test {
                Self::Compare(_, _, With::Number(_) | With::Level) | Self::Sum(..) | Self::Between(..) => "long",
                Self::In(_, of) if matches!(of.first(), Some(With::Number(_))) => "long",
                Self::IsNull(_) => return kind == "closed",
                _ => "string",
            };
            kind != wanted && kind != "missing"
        })
    }

    fn lacks_column(&self, product: &Prod) -> bool {
        self.any(|test| test.path().is_some_and(|path| kind(product, path) == "missing"))
    }

    /// Whether it speaks of a column or an attribute that is not there.
    pub fn lacks(&self, product: &Prod, who: &Principal) -> bool {
        let lacks = |name: &str| !who.attributes.contains_key(name);
        let of = |with: &With| match with {
            With::Region => lacks("region"),
            With::Level => lacks("level"),
            _ => false,
        };
        self.lacks_column(product)
            || self.any(|test| match test {
                Self::Compare(_, _, with) => of(with),
                Self::In(_, list) => list.iter().any(of),
                Self::InTeams(_) => lacks("teams"),
                _ => false,
            })
    }

    /// Three values: `None` is unknown.
    pub fn truth(&self, row: &Row, who: &Principal) -> Option<bool> {
        let cell = self.path().map(|path| row.get(path));
        let number = |n: i64| Cell::Number(n.into());
        match self {
            Self::And(tests) => {
                let truths: Vec<_> = tests.iter().map(|test| test.truth(row, who)).collect();
                if truths.contains(&Some(false)) {
                    Some(false)
                } else {
                    truths.into_iter().collect::<Option<Vec<_>>>().map(|_| true)
                }
            }
            Self::Or(tests) => {
                let truths: Vec<_> = tests.iter().map(|test| test.truth(row, who)).collect();
                if truths.contains(&Some(true)) {
                    Some(true)
                } else {
                    truths.into_iter().collect::<Option<Vec<_>>>().map(|_| false)
                }
            }
            Self::Not(test) => test.truth(row, who).map(|truth| !truth),
            Self::IsNull(_) => Some(cell.flatten().is_none()),
            Self::Compare(_, operator, with) => {
                let (left, right) = (cell??, with.cell(who));
                Some(match *operator {
                    "=" => *left == right,
                    "<>" => *left != right,
                    "<" => *left < right,
                    "<=" => *left <= right,
                    ">" => *left > right,
                    _ => *left >= right,
                })
            }
            Self::Sum(_, add, least) => match cell?? {
                Cell::Number(n) => Some(n + i128::from(*add) > (*least).into()),
                other => panic!("{other:?}"),
            },
            Self::In(_, of) => {
                let cell = cell??;
                Some(of.iter().any(|with| with.cell(who) == *cell))
            }
            Self::InTeams(_) => match (cell??, &who.attributes["teams"]) {
                (Cell::Text(text), Attribute::Set(teams)) => Some(teams.contains(text)),
                other => panic!("{other:?}"),
            },
            Self::Between(_, low, high) => {
                let cell = cell??;
                Some(number(*low) <= *cell && *cell <= number(*high))
            }
            Self::Like(_, pattern) => match cell?? {
                Cell::Text(text) => Some(match *pattern {
                    "%U" => text.ends_with('U'),
                    "x_" => text.starts_with('x') && text.chars().count() == 2,
                    "!%%" => text.starts_with('%'),
                    _ => true,
                }),
                other => panic!("{other:?}"),
            },
        }
    }
}

impl With {
    fn text(&self) -> String {
        match self {
            Self::Number(n) => n.to_string(),
            Self::Text(text) => format!("'{text}'"),
            Self::Region => "principal.region".into(),
            Self::Level => "principal.level".into(),
        }
    }

    fn cell(&self, who: &Principal) -> Cell {
        let attribute = |name: &str| match &who.attributes[name] {
            Attribute::String(text) => Cell::Text(text.clone()),
            Attribute::Long(number) => Cell::Number((*number).into()),
            other => panic!("{other:?}"),
        };
        match self {
            Self::Number(n) => Cell::Number((*n).into()),
            Self::Text(text) => Cell::Text((*text).into()),
            Self::Region => attribute("region"),
            Self::Level => attribute("level"),
        }
    }
}

/// The kind of the column at a path: `missing` if there is none, `closed` where a path leads into what is no struct.
pub(super) fn kind(product: &Prod, path: &str) -> &'static str {
    let (name, field) = path.split_once('.').map_or((path, None), |(name, field)| (name, Some(field)));
    let Some(column) = product.columns.iter().find(|column| column.name == name) else { return "missing" };
    match field {
        None => column.kind,
        Some(_) if column.kind != "struct" => "closed",
        Some(field) => column.fields.iter().find(|other| other.name == field).map_or("missing", |field| field.kind),
    }
}
