//! Random row rules: their text, and which rows they hold for, evaluated as plainly as the law says it.

use super::chance::Chance;
use super::values::{Cell, Kind, Temper, random};
use super::world::Column;

/// The attribute `region` of the principal.
pub const REGION: &str = "EU";

/// A filter over the columns of a table, by their places.
#[derive(Debug, Clone)]
pub enum Rule {
    Holds(usize),
    Compare(usize, &'static str, Cell),
    Own(usize),
    In(usize, Vec<Cell>),
    Starts(usize, String),
    IsNull(usize),
    And(Box<Rule>, Box<Rule>),
    Or(Box<Rule>, Box<Rule>),
    Not(Box<Rule>),
}

impl Rule {
    pub fn random(columns: &[Column], depth: usize, chance: &mut Chance) -> Self {
        if depth > 0 && !chance.one_in(3) {
            let mut part = || Box::new(Self::random(columns, depth - 1, chance));
            let (one, other) = (part(), part());
            return match chance.below(3) {
                0 => Self::And(one, other),
                1 => Self::Or(one, other),
                _ => Self::Not(one),
            };
        }
        let place = chance.below(columns.len());
        let column = &columns[place];
        let value = |chance: &mut Chance| loop {
            match random(column.kind, Temper::Wild, column.flavour, chance) {
                Cell::Null => {}
                cell => return cell,
            }
        };
        match column.kind {
            _ if chance.one_in(8) => Self::IsNull(place),
            Kind::Bool => Self::Holds(place),
            Kind::Text if chance.one_in(4) => Self::Own(place),
            Kind::Text if chance.one_in(3) => {
                Self::Starts(place, (*chance.pick(&["", "E", "2024-0", "1", "se"])).to_owned())
            }
            Kind::Int | Kind::Long | Kind::Decimal | Kind::Text => {
                if chance.one_in(3) {
                    return Self::In(place, (0..=chance.below(3)).map(|_| value(chance)).collect());
                }
                Self::Compare(place, chance.pick::<&str>(&["=", "<>", "<", "<=", ">", ">="]), value(chance))
            }
            _ => Self::IsNull(place),
        }
    }

    pub fn reads(&self, found: &mut Vec<usize>) {
        match self {
            Self::Holds(place)
            | Self::Compare(place, ..)
            | Self::Own(place)
            | Self::In(place, _)
            | Self::Starts(place, _)
            | Self::IsNull(place) => found.push(*place),
            Self::And(one, other) | Self::Or(one, other) => {
                one.reads(found);
                other.reads(found);
            }
            Self::Not(one) => one.reads(found),
        }
    }

    pub fn text(&self, columns: &[Column]) -> String {
        let name = |place: &usize| columns[*place].name.as_str();
        let kind = |place: &usize| columns[*place].kind;
        match self {
            Self::Holds(place) => name(place).to_owned(),
            Self::Compare(place, operator, cell) => {
                format!("{} {operator} {}", name(place), literal(kind(place), cell))
            }
            Self::Own(place) => format!("{} = principal.region", name(place)),
            Self::In(place, cells) => {
                let cells: Vec<String> = cells.iter().map(|cell| literal(kind(place), cell)).collect();
                format!("{} IN ({})", name(place), cells.join(", "))
            }
            Self::Starts(place, start) => format!("{} LIKE '{start}%'", name(place)),
            Self::IsNull(place) => format!("{} IS NULL", name(place)),
            Self::And(one, other) => format!("({} AND {})", one.text(columns), other.text(columns)),
            Self::Or(one, other) => format!("({} OR {})", one.text(columns), other.text(columns)),
            Self::Not(one) => format!("NOT ({})", one.text(columns)),
        }
    }

    /// `None` where it is unknown.
    pub fn of(&self, row: &[Cell]) -> Option<bool> {
        match self {
            Self::Holds(place) => match row[*place] {
                Cell::Bool(value) => Some(value),
                _ => None,
            },
            Self::Compare(place, operator, other) => {
                let order = order(&row[*place], other)?;
                Some(match *operator {
                    "=" => order.is_eq(),
                    "<>" => order.is_ne(),
                    "<" => order.is_lt(),
                    "<=" => order.is_le(),
                    ">" => order.is_gt(),
                    _ => order.is_ge(),
                })
            }
            Self::Own(place) => Some(order(&row[*place], &Cell::Text(REGION.to_owned()))?.is_eq()),
            Self::In(place, cells) => {
                let equal = |cell| Some(order(&row[*place], cell)?.is_eq());
                cells.iter().map(equal).try_fold(false, |found, equal| Some(found || equal?))
            }
            Self::Starts(place, start) => match &row[*place] {
                Cell::Text(text) => Some(text.starts_with(start)),
                _ => None,
            },
            Self::IsNull(place) => Some(row[*place] == Cell::Null),
            Self::And(one, other) => match (one.of(row), other.of(row)) {
                (Some(false), _) | (_, Some(false)) => Some(false),
                (Some(true), Some(true)) => Some(true),
                _ => None,
            },
            Self::Or(one, other) => match (one.of(row), other.of(row)) {
                (Some(true), _) | (_, Some(true)) => Some(true),
                (Some(false), Some(false)) => Some(false),
                _ => None,
            },
            Self::Not(one) => one.of(row).map(|held| !held),
        }
    }
}

fn order(one: &Cell, other: &Cell) -> Option<std::cmp::Ordering> {
    match (one, other) {
        (Cell::Int(one), Cell::Int(other)) => Some(one.cmp(other)),
        (Cell::Text(one), Cell::Text(other)) => Some(one.cmp(other)),
        _ => None,
    }
}

fn literal(kind: Kind, cell: &Cell) -> String {
    match cell {
        Cell::Int(value) if kind == Kind::Decimal => {
            let sign = if *value < 0 { "-" } else { "" };
            format!("{sign}{}.{:02}", value.unsigned_abs() / 100, value.unsigned_abs() % 100)
        }
        Cell::Int(value) => value.to_string(),
        Cell::Text(text) => format!("'{text}'"),
        other => panic!("{other:?}"),
    }
}
