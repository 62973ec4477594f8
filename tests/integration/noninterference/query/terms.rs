//! What stands in statements: values, conditions, aggregates and windows, some of which may fail.

use super::{Daring, Item, Scope, Sort, Writer};

impl Writer<'_> {
    pub(super) fn aggregate(&mut self, scope: &Scope) -> (String, Sort) {
        let hashes: Vec<&Item> = scope.iter().filter(|item| matches!(item.sort, Sort::Hash(..))).collect();
        if !hashes.is_empty() && self.chance.one_in(4) {
            return (format!("count(DISTINCT {})", self.chance.pick(&hashes).sql), Sort::Int);
        }
        match self.chance.below(8) {
            0 => ("count(*)".to_owned(), Sort::Int),
            1 => (format!("count({})", self.value(scope, 1).0), Sort::Int),
            2 => (format!("count(DISTINCT {})", self.value(scope, 1).0), Sort::Int),
            3 => (format!("sum({})", self.of(Sort::Int, scope, 1)), Sort::Int),
            4 => (format!("sum({})", self.of(Sort::Decimal, scope, 0)), Sort::Other),
            5 => {
                let sort =
                    *self.chance.pick(&[Sort::Int, Sort::Float, Sort::Text, Sort::Date, Sort::Time, Sort::Decimal]);
                (format!("{}({})", self.chance.pick(&["min", "max"]), self.of(sort, scope, 1)), sort)
            }
            6 => (format!("bool_or({})", self.condition(scope, 1)), Sort::Bool),
            _ => {
                let small: Vec<&Item> =
                    scope.iter().filter(|item| item.sort == Sort::Int && item.tame.is_some()).collect();
                match small.is_empty() {
                    true => ("count(*)".to_owned(), Sort::Int),
                    false => (format!("avg({})", self.chance.pick(&small).sql), Sort::Float),
                }
            }
        }
    }

    pub(super) fn window(&mut self, scope: &Scope) -> (String, Sort) {
        // Ties would be broken by chance.
        let order = self.of(Sort::Int, scope, 0);
        let sort = *self.chance.pick(&[Sort::Int, Sort::Text, Sort::Bool]);
        let part = self.of(sort, scope, 0);
        let over = format!("OVER (PARTITION BY {part} ORDER BY {order})");
        match self.chance.below(5) {
            0 => (format!("rank() {over}"), Sort::Int),
            1 => (format!("dense_rank() OVER (ORDER BY {order})"), Sort::Int),
            2 => (format!("sum({}) {over}", self.of(Sort::Int, scope, 0)), Sort::Int),
            3 => (format!("max({}) {over}", self.of(Sort::Text, scope, 1)), Sort::Text),
            _ => (format!("count(*) OVER (PARTITION BY {part})"), Sort::Int),
        }
    }

    /// A condition.
    pub(super) fn condition(&mut self, scope: &Scope, depth: usize) -> String {
        if depth > 0 && self.chance.one_in(2) {
            let (one, other) = (self.condition(scope, depth - 1), self.condition(scope, depth - 1));
            return match self.chance.below(4) {
                0 | 1 => format!("({one} AND {other})"),
                2 => format!("({one} OR {other})"),
                _ => format!("NOT ({one})"),
            };
        }
        let hashes: Vec<&Item> = scope.iter().filter(|item| matches!(item.sort, Sort::Hash(..))).collect();
        if !hashes.is_empty() && self.chance.one_in(8) {
            let one = *self.chance.pick(&hashes);
            let alike: Vec<&&Item> = hashes.iter().filter(|item| item.sort == one.sort).collect();
            return match self.chance.below(2) {
                0 => format!("{} IS NULL", one.sql),
                _ => format!("{} = {}", one.sql, self.chance.pick(&alike).sql),
            };
        }
        let (tame, wild) = (self.daring >= Daring::Tame, self.daring == Daring::Wild);
        match self.chance.below(12) {
            0 => format!("{} IS {}NULL", self.any(scope), if self.chance.one_in(2) { "NOT " } else { "" }),
            1 => format!(
                "{} LIKE '{}'",
                self.of(Sort::Text, scope, 1),
                self.chance.pick(&["%", "E%", "%0%", "_", "x%", "%n"])
            ),
            2 => format!("{} IN (1, 2, 3, 7, 20)", self.of(Sort::Int, scope, 1)),
            3 => format!("{} BETWEEN 2 AND {}", self.of(Sort::Int, scope, 1), self.chance.within(2, 30)),
            4 => self.of(Sort::Bool, scope, depth),
            5..8 if tame => self.daring(scope, wild),
            _ => {
                let sort = *self.chance.pick(&[
                    Sort::Int,
                    Sort::Int,
                    Sort::Text,
                    Sort::Float,
                    Sort::Date,
                    Sort::Time,
                    Sort::Decimal,
                    Sort::Bytes,
                ]);
                let operator = *self.chance.pick(&["=", "<>", "<>", "<", "<=", ">", ">=", "IS DISTINCT FROM"]);
                format!("{} {operator} {}", self.of(sort, scope, 1), self.of(sort, scope, 0))
            }
        }
    }

    /// A condition that may fail.
    fn daring(&mut self, scope: &Scope, wild: bool) -> String {
        let (number, text) = (self.risky_number(scope, wild), self.risky_text(scope, 0, wild));
        let some = self.chance.within(1, 12);
        match self.chance.below(16) {
            // Whether the second half fails is up to whether it is asked at all.
            12 => format!("(({number} - {some}) <> 0 AND 12 / ({number} - {some}) > 0)"),
            13 => format!("(({number} - {some}) = 0 OR 12 / ({number} - {some}) > 0)"),
            14 => format!("({number} <> {some} AND 12 % ({number} - {some}) > 0)"),
            15 => format!("({} AND 12 / ({number} - {some}) > 0)", self.condition(scope, 0)),
            0 => format!("CAST({text} AS BIGINT) > 3"),
            1 => format!("10 / {number} > 1"),
            2 => format!("10 % {number} = 0"),
            3 => format!("CAST({number} AS INT) + 0 > 2"),
            4 => format!("extract(year FROM CAST({} AS DATE)) = 2024", self.risky_text(scope, 1, wild)),
            5 => format!("to_timestamp({}) IS NOT NULL", self.risky_text(scope, 1, wild)),
            6 => format!("arrow_cast({text}, 'Int8') + 0 > 5"),
            7 => format!("factorial({number}) > 6"),
            8 => format!("CAST({number} AS DECIMAL(3, 0)) + 1 > 4"),
            9 => format!("regexp_like('a', {text})"),
            10 => format!("decode(lpad({text}, 2, '0'), 'hex') IS NOT NULL"),
            _ => format!("CAST(CAST({number} AS VARCHAR) AS TINYINT) < 9"),
        }
    }

    /// A number to divide by: one that is not zero where it is shown, or any.
    fn risky_number(&mut self, scope: &Scope, wild: bool) -> String {
        let fits = |item: &&Item| item.sort == Sort::Int && (wild || item.tame.is_some());
        let all: Vec<&Item> = scope.iter().filter(fits).collect();
        if all.is_empty() { "4".to_owned() } else { self.chance.pick(&all).sql.clone() }
    }

    /// A text that is a number (0) or a date (1) where it is shown, or any.
    fn risky_text(&mut self, scope: &Scope, flavour: usize, wild: bool) -> String {
        let fits = |item: &&Item| item.sort == Sort::Text && (wild || item.tame == Some(flavour));
        let all: Vec<&Item> = scope.iter().filter(fits).collect();
        match (all.is_empty(), flavour) {
            (false, _) => self.chance.pick(&all).sql.clone(),
            (true, 0) => "'12'".to_owned(),
            (true, _) => "'2024-02-29'".to_owned(),
        }
    }

    fn any(&mut self, scope: &Scope) -> String {
        self.chance.pick(scope).sql.clone()
    }

    pub(super) fn value(&mut self, scope: &Scope, depth: usize) -> (String, Sort) {
        let sorts = [
            Sort::Int,
            Sort::Int,
            Sort::Text,
            Sort::Text,
            Sort::Float,
            Sort::Decimal,
            Sort::Bool,
            Sort::Date,
            Sort::Time,
            Sort::Bytes,
        ];
        let sort = *self.chance.pick(&sorts);
        (self.of(sort, scope, depth), sort)
    }

    /// An expression of a sort.
    pub(super) fn of(&mut self, sort: Sort, scope: &Scope, depth: usize) -> String {
        let own: Vec<&Item> = scope.iter().filter(|item| item.sort == sort).collect();
        if depth == 0 || self.chance.one_in(2) {
            if !own.is_empty() && !self.chance.one_in(8) {
                return self.chance.pick(&own).sql.clone();
            }
            return match sort {
                Sort::Int => self.chance.within(-2, 13).to_string(),
                Sort::Float => "CAST(2.5 AS DOUBLE)".to_owned(),
                Sort::Decimal => "CAST(7.25 AS DECIMAL(15, 2))".to_owned(),
                Sort::Text => format!("'{}'", self.chance.pick(&["EU", "7", "x", "2024-05", "nn"])),
                Sort::Bool => (*self.chance.pick(&["true", "false"])).to_owned(),
                Sort::Date => "DATE '2023-06-01'".to_owned(),
                Sort::Time => "TIMESTAMP '2023-06-01 12:00:00'".to_owned(),
                Sort::Bytes => "X'3031'".to_owned(),
                Sort::Other | Sort::Hash(..) => "NULL".to_owned(),
            };
        }
        let depth = depth - 1;
        if self.chance.one_in(5) {
            let (one, other) = (self.of(sort, scope, depth), self.of(sort, scope, depth));
            return match self.chance.below(3) {
                0 => format!("coalesce({one}, {other})"),
                1 => format!("nullif({one}, {other})"),
                _ => format!("CASE WHEN {} THEN {one} ELSE {other} END", self.condition(scope, 1)),
            };
        }
        let (tame, wild) = (self.daring >= Daring::Tame, self.daring == Daring::Wild);
        match (sort, self.chance.below(6)) {
            (Sort::Int, 0) => format!("({} + {})", self.of(sort, scope, depth), self.of(sort, scope, depth)),
            (Sort::Int, 1) => format!("({} * {})", self.of(sort, scope, depth), self.of(sort, scope, depth)),
            (Sort::Int, 2) => format!("length({})", self.of(Sort::Text, scope, depth)),
            (Sort::Int, 3) if wild => {
                format!("(120 / ({} - {}))", self.risky_number(scope, wild), self.chance.within(1, 12))
            }
            (Sort::Int, 3) if tame => format!("(120 / {})", self.risky_number(scope, wild)),
            (Sort::Int, 4) if tame => format!("CAST({} AS BIGINT)", self.risky_text(scope, 0, wild)),
            (Sort::Int, 4) => format!("TRY_CAST({} AS BIGINT)", self.of(Sort::Text, scope, depth)),
            (Sort::Int, _) => format!("CASE WHEN {0} <> 0 THEN 60 / {0} END", self.of(sort, scope, 0)),
            (Sort::Text, 0) => format!("upper({})", self.of(sort, scope, depth)),
            (Sort::Text, 1) => format!("{} || {}", self.of(sort, scope, depth), self.of(sort, scope, depth)),
            (Sort::Text, 2) => format!("CAST({} AS VARCHAR)", self.of(Sort::Int, scope, depth)),
            (Sort::Text, 3) if tame => format!("substr('abcdefgh', 2, {})", self.risky_number(scope, wild)),
            (Sort::Text, _) => format!("substr({}, 2, 3)", self.of(sort, scope, depth)),
            (Sort::Float, 0) => format!("CAST({} AS DOUBLE)", self.of(Sort::Int, scope, depth)),
            (Sort::Float, 1) => format!("({} / {})", self.of(sort, scope, depth), self.of(sort, scope, depth)),
            (Sort::Float, _) => format!("({} * 2)", self.of(sort, scope, depth)),
            (Sort::Decimal, _) => format!("abs({})", self.of(sort, scope, depth)),
            (Sort::Bool, _) => format!("({} < {})", self.of(Sort::Int, scope, depth), self.of(Sort::Int, scope, depth)),
            (Sort::Date, 0) if tame => format!("CAST({} AS DATE)", self.risky_text(scope, 1, wild)),
            (Sort::Date, _) => format!("CAST({} AS DATE)", self.of(Sort::Time, scope, 0)),
            (Sort::Time, _) => format!("date_trunc('month', {})", self.of(sort, scope, depth)),
            (sort, _) => self.of(sort, scope, 0),
        }
    }
}
