//! Random statements on a world, as its reader could write them.

mod terms;

use super::chance::Chance;
use super::values::{Kind, Mask, Shown};
use super::world::{Table, World};

/// A statement, and how its answers are compared.
#[derive(Debug, Clone)]
pub struct Query {
    pub sql: String,
    /// Whether the order of its rows is total.
    pub is_ordered: bool,
    /// The columns that are hashes, which are compared up to renaming.
    pub hashes: Vec<usize>,
    /// Whether anything of what it reads is kept from the reader.
    pub is_restricted: bool,
    /// Whether it is one that can be explained.
    pub is_select: bool,
    /// Whether all tables that it reads have row rules, so that even where batches end follows from what is shown.
    pub is_cut: bool,
}

/// What an expression gives.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Sort {
    Int,
    Float,
    Decimal,
    Text,
    Bool,
    Date,
    Time,
    Bytes,
    /// A list: it is only passed on.
    Other,
    /// Equality is all that may be asked of it.
    Hash(Kind, Mask),
}

#[derive(Debug, Clone)]
struct Item {
    sql: String,
    sort: Sort,
    /// Whether no function fails on it; of a text, what it is.
    tame: Option<usize>,
}

type Scope = Vec<Item>;

/// How much a query dares: functions that cannot fail, those that do not fail on tame columns, all.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Daring {
    Safe,
    Tame,
    Wild,
}

struct Writer<'a> {
    world: &'a World,
    chance: &'a mut Chance,
    daring: Daring,
    aliases: usize,
    restricted: bool,
    cut: bool,
}

/// Writes a statement.
pub fn query(world: &World, chance: &mut Chance) -> Query {
    let daring = [Daring::Safe, Daring::Tame, Daring::Tame, Daring::Wild, Daring::Wild][chance.below(5)];
    let mut writer = Writer { world, chance, daring, aliases: 0, restricted: false, cut: true };
    let kind = writer.chance.below(20);
    let mut hashes = Vec::new();
    let (sql, is_ordered) = match kind {
        0 => {
            let (sql, found) = writer.whole();
            hashes = found;
            (sql, true)
        }
        1 => (writer.about(), false),
        2 => (writer.refused(), false),
        3 | 4 => {
            let (sql, items) = writer.set_operation();
            writer.total_order(sql, items.len())
        }
        5 | 6 => {
            let (sql, items) = writer.with();
            writer.total_order(sql, items.len())
        }
        _ => {
            let (sql, items) = writer.select(2, false);
            writer.total_order(sql, items.len())
        }
    };
    let is_select = kind != 1;
    let is_restricted = writer.restricted || !is_select;
    let is_cut = writer.cut;
    Query { sql, is_ordered, hashes, is_restricted, is_select, is_cut }
}

impl Writer<'_> {
    fn alias(&mut self) -> String {
        self.aliases += 1;
        format!("t{}", self.aliases)
    }

    /// Puts a statement in order, perhaps with a limit; says whether the order is total.
    fn total_order(&mut self, sql: String, columns: usize) -> (String, bool) {
        if self.chance.one_in(3) {
            return (sql, false);
        }
        let ends = ["", "", " DESC", " NULLS FIRST", " DESC NULLS LAST"];
        let keys: Vec<String> = (1..=columns).map(|place| format!("{place}{}", self.chance.pick(&ends))).collect();
        let sql = format!("{sql} ORDER BY {}", keys.join(", "));
        // DataFusion 54.1 drops keys of an order over groups (apache/datafusion#23027).
        if ["GROUP BY", "DISTINCT", "UNION", "INTERSECT", "EXCEPT", "(SELECT"].iter().any(|part| sql.contains(part)) {
            return (sql, false);
        }
        match self.chance.below(3) {
            0 => (format!("{sql} LIMIT {}", 1 + self.chance.below(12)), true),
            1 => (format!("{sql} LIMIT {} OFFSET {}", 1 + self.chance.below(9), self.chance.below(5)), true),
            _ => (sql, true),
        }
    }

    /// All columns of a table, and which of them are hashes.
    fn whole(&mut self) -> (String, Vec<usize>) {
        let table = self.chance.pick(&self.world.tables);
        let (from, scope) = self.aliased(table);
        let filter =
            if self.chance.one_in(2) { format!(" WHERE {}", self.condition(&scope, 2)) } else { String::new() };
        let shown = table.columns.iter().filter(|column| column.shown != Shown::Denied);
        let is_hash = |shown: &Shown| matches!(shown, Shown::Masked(mask) if mask.is_hash());
        let hashes = shown.enumerate().filter(|(_, column)| is_hash(&column.shown)).map(|(place, _)| place);
        (format!("SELECT * FROM {from}{filter} ORDER BY id"), hashes.collect())
    }

    /// A statement about the mesh.
    fn about(&mut self) -> String {
        let table = self.chance.pick(&self.world.tables);
        let name = &table.name;
        let kept = self.world.tables.iter().find(|table| table.is_restricted()).unwrap_or(table);
        let all = [
            "SELECT * FROM information_schema.columns".to_owned(),
            "SELECT * FROM information_schema.tables".to_owned(),
            "SELECT * FROM mesh.columns".to_owned(),
            "SELECT * FROM mesh.grants".to_owned(),
            "SELECT * FROM mesh.products".to_owned(),
            "SHOW TABLES".to_owned(),
            format!("DESCRIBE lab.{name}"),
            format!(
                "SELECT * FROM lab.\"{}${}\"",
                kept.name,
                self.chance.pick(&["files", "snapshots", "history", "refs", "partitions", "manifests"])
            ),
            format!("SELECT * FROM lab.{}x", kept.name),
            format!(
                "SELECT * FROM lab.{} {}",
                kept.name,
                self.chance.pick(&["VERSION AS OF 7", "AT(REF => 'july')", "TIMESTAMP AS OF '2001-01-01'"])
            ),
        ];
        self.chance.pick(&all).clone()
    }

    /// A statement that names what is not there for the reader.
    fn refused(&mut self) -> String {
        self.restricted = true;
        let table = self.chance.pick(&self.world.tables);
        let denied = table.columns.iter().find(|column| column.shown == Shown::Denied);
        let column = denied.map_or("c77", |column| column.name.as_str());
        let name = &table.name;
        let all = [
            format!("SELECT {column} FROM lab.{name}"),
            format!("SELECT id FROM lab.{name} WHERE {column} IS NULL"),
            format!("SELECT count(*) FROM lab.{name} GROUP BY {column}"),
            format!("SELECT id FROM lab.{name} WHERE id IN (SELECT {column} FROM lab.{name})"),
            format!("SELECT id FROM lab.{name} ORDER BY {column}"),
        ];
        self.chance.pick(&all).clone()
    }

    /// A table under a new alias, at the newest snapshot or at the tag.
    fn table(&mut self) -> (String, Scope) {
        let table = self.chance.pick(&self.world.tables);
        self.aliased(table)
    }

    fn aliased(&mut self, table: &Table) -> (String, Scope) {
        self.restricted |= table.is_restricted();
        self.cut &= table.hides_rows();
        let version = if self.chance.one_in(6) { " AT(REF => 'june')" } else { "" };
        let alias = self.alias();
        // Nothing is drawn for it, so that each seed has the statements that it had.
        let through = version.is_empty() && (self.aliases + table.columns.len()).is_multiple_of(3);
        let derived = table.derived().filter(|_| through);
        let name = derived.as_ref().unwrap_or(&table.name);
        (format!("lab.{name}{version} AS {alias}"), scope(table, &alias))
    }

    /// Something to select from, under a new alias.
    fn source(&mut self, depth: usize) -> (String, Scope) {
        if depth == 0 || self.chance.below(3) > 0 {
            return self.table();
        }
        let (sql, sorts) = self.select(depth - 1, true);
        let alias = self.alias();
        let scope = named(&alias, &sorts);
        (format!("({sql}) AS {alias}"), scope)
    }

    fn from(&mut self, depth: usize) -> (String, Scope) {
        let (mut from, mut scope) = self.source(depth);
        for _ in 0..[0, 0, 1, 1, 2][self.chance.below(5)] {
            let (other, others) = self.source(depth);
            let on = self.on(&scope, &others);
            let kind = *self.chance.pick(&[
                "JOIN",
                "JOIN",
                "LEFT JOIN",
                "RIGHT JOIN",
                "FULL JOIN",
                "LEFT SEMI JOIN",
                "LEFT ANTI JOIN",
            ]);
            from = format!("{from} {kind} {other} ON {on}");
            if !kind.ends_with("SEMI JOIN") && !kind.ends_with("ANTI JOIN") {
                scope.extend(others);
            }
        }
        (from, scope)
    }

    fn on(&mut self, one: &Scope, other: &Scope) -> String {
        let pairs: Vec<(&Item, &Item)> = one
            .iter()
            .flat_map(|a| other.iter().map(move |b| (a, b)))
            .filter(|(a, b)| a.sort == b.sort && !matches!(a.sort, Sort::Other | Sort::Bool))
            .collect();
        if pairs.is_empty() {
            return "1 = 2".to_owned();
        }
        let hashes: Vec<_> = pairs.iter().filter(|(a, _)| matches!(a.sort, Sort::Hash(..))).copied().collect();
        let keys: Vec<_> = pairs
            .iter()
            .filter(|(a, b)| a.tame.is_some() && b.tame.is_some() && a.sort == Sort::Int)
            .copied()
            .collect();
        let pairs = if keys.is_empty() || self.chance.one_in(3) { pairs } else { keys };
        let (a, b) = if hashes.is_empty() || self.chance.one_in(2) {
            *self.chance.pick(&pairs)
        } else {
            *self.chance.pick(&hashes)
        };
        let is_hash = matches!(a.sort, Sort::Hash(..));
        let operator = if !is_hash && self.chance.one_in(6) {
            *self.chance.pick(&["<", ">=", "<>", "IS NOT DISTINCT FROM"])
        } else {
            "="
        };
        let on = format!("{} {operator} {}", a.sql, b.sql);
        if !self.chance.one_in(3) {
            return on;
        }
        let both: Scope = one.iter().chain(other).cloned().collect();
        format!("{on} AND {}", self.condition(&both, 1))
    }

    /// A query and the sorts of its columns, which are called `x1`, `x2` and so on.
    fn select(&mut self, depth: usize, derived: bool) -> (String, Vec<Item>) {
        let (from, scope) = self.from(depth);
        let mut filter = String::new();
        if self.chance.below(5) < 2 {
            filter = format!(" WHERE {}", self.condition(&scope, 1));
            if depth > 0 && self.chance.one_in(3) {
                let (operator, nested) = (*self.chance.pick(&["AND", "AND", "OR"]), self.subquery(&scope, depth - 1));
                filter = format!("{filter} {operator} {nested}");
            }
        }
        let many = 1 + self.chance.below(3);
        match self.chance.below(6) {
            0 | 1 => {
                let mut items: Vec<(String, Sort)> = Vec::new();
                for _ in 0..many {
                    let aggregate = self.aggregate(&scope);
                    items.push(aggregate);
                }
                let mut groups = Vec::new();
                for _ in 0..self.chance.below(3) {
                    // A hash is grouped by, and does not come out.
                    let hashes: Vec<&Item> = scope.iter().filter(|item| matches!(item.sort, Sort::Hash(..))).collect();
                    if !hashes.is_empty() && self.chance.one_in(2) {
                        groups.push(self.chance.pick(&hashes).sql.clone());
                    } else {
                        let (sql, sort) = self.value(&scope, 1);
                        groups.push(sql.clone());
                        items.insert(0, (sql, sort));
                    }
                }
                let having = if groups.is_empty() || !self.chance.one_in(4) { "" } else { " HAVING count(*) > 1" };
                let group = if groups.is_empty() { String::new() } else { format!(" GROUP BY {}", groups.join(", ")) };
                listed("", items, format!("{from}{filter}{group}{having}"))
            }
            2 => {
                let mut items: Vec<(String, Sort)> = (0..many).map(|_| self.value(&scope, 1)).collect();
                items.push(self.window(&scope));
                listed("", items, format!("{from}{filter}"))
            }
            other => {
                let distinct = if other == 3 { "DISTINCT " } else { "" };
                let mut items: Vec<(String, Sort)> = (0..many).map(|_| self.value(&scope, 2)).collect();
                if derived && self.chance.one_in(2) {
                    let hashes: Vec<&Item> = scope.iter().filter(|item| matches!(item.sort, Sort::Hash(..))).collect();
                    if !hashes.is_empty() {
                        let hash = self.chance.pick(&hashes);
                        items.push((hash.sql.clone(), hash.sort));
                    }
                }
                listed(distinct, items, format!("{from}{filter}"))
            }
        }
    }

    fn set_operation(&mut self) -> (String, Vec<Item>) {
        let sorts: Vec<Sort> = (0..=self.chance.below(2))
            .map(|_| *self.chance.pick(&[Sort::Int, Sort::Text, Sort::Date, Sort::Bool]))
            .collect();
        let mut side = || {
            let (from, scope) = self.from(1);
            let items = sorts.iter().map(|sort| (self.of(*sort, &scope, 1), *sort)).collect();
            let filter =
                if self.chance.one_in(2) { format!(" WHERE {}", self.condition(&scope, 1)) } else { String::new() };
            listed("", items, format!("{from}{filter}"))
        };
        let ((one, items), (other, _)) = (side(), side());
        let operator = *self.chance.pick(&["UNION", "UNION", "UNION ALL", "INTERSECT", "EXCEPT"]);
        (format!("{one} {operator} {other}"), items)
    }

    /// A common table expression that is used twice.
    fn with(&mut self) -> (String, Vec<Item>) {
        let (inner, items) = self.select(1, true);
        let (mut one, other) = (named("a", &items), named("b", &items));
        let on = self.on(&one, &other);
        one.extend(other);
        let condition = self.condition(&one, 1);
        let mut picked: Vec<(String, Sort)> = vec![self.value(&one, 1)];
        picked.push(self.value(&one, 1));
        let (sql, items) = listed("", picked, format!("c AS a JOIN c AS b ON {on} WHERE {condition}"));
        (format!("WITH c AS ({inner}) {sql}"), items)
    }

    fn subquery(&mut self, scope: &Scope, depth: usize) -> String {
        let (from, inner) = self.from(depth);
        let not = if self.chance.one_in(3) { "NOT " } else { "" };
        match self.chance.below(4) {
            0 => {
                let value = self.of(Sort::Int, scope, 0);
                format!(
                    "{value} {not}IN (SELECT {} FROM {from} WHERE {})",
                    self.of(Sort::Int, &inner, 1),
                    self.condition(&inner, 1)
                )
            }
            1 => {
                let (a, b) = (self.of(Sort::Int, scope, 0), self.of(Sort::Int, &inner, 0));
                format!("{not}EXISTS (SELECT 1 FROM {from} WHERE {a} = {b} AND {})", self.condition(&inner, 1))
            }
            2 => format!(
                "{} {} (SELECT max({}) FROM {from})",
                self.of(Sort::Int, scope, 1),
                self.chance.pick(&["<", "=", ">="]),
                self.of(Sort::Int, &inner, 1)
            ),
            _ => {
                // Correlated by a plain equality, which is what the planner can take apart.
                let ints = |scope: &Scope| {
                    scope.iter().filter(|item| item.sort == Sort::Int).map(|i| i.sql.clone()).collect::<Vec<_>>()
                };
                let (outer, inside) = (ints(scope), ints(&inner));
                match outer.is_empty() || inside.is_empty() {
                    true => format!("{not}EXISTS (SELECT 1 FROM {from})"),
                    false => format!(
                        "(SELECT count(*) FROM {from} WHERE {} = {}) < {}",
                        self.chance.pick(&inside),
                        self.chance.pick(&outer),
                        self.chance.below(6)
                    ),
                }
            }
        }
    }
}

/// What the reader may use of a table.
fn scope(table: &Table, alias: &str) -> Scope {
    let mut scope = Vec::new();
    for column in &table.columns {
        let sql = format!("{alias}.{}", column.name);
        let mut add = |sql: String, kind: Kind, shown: &Shown| {
            let tame = (column.tame && *shown == Shown::Raw).then_some(column.flavour);
            let sort = match shown {
                Shown::Denied => return,
                Shown::Masked(mask) if mask.is_hash() => Sort::Hash(kind, *mask),
                _ => match kind {
                    Kind::Bool => Sort::Bool,
                    Kind::Int | Kind::Long => Sort::Int,
                    Kind::Float | Kind::Double => Sort::Float,
                    Kind::Decimal => Sort::Decimal,
                    Kind::Text => Sort::Text,
                    Kind::Date => Sort::Date,
                    Kind::Time => Sort::Time,
                    Kind::Bytes => Sort::Bytes,
                    Kind::Pair | Kind::Numbers => Sort::Other,
                },
            };
            scope.push(Item { sql, sort, tame });
        };
        match (column.kind, &column.shown) {
            (_, Shown::Denied) => {}
            (Kind::Pair, Shown::Fields(fields)) => {
                add(format!("{sql}['a']"), Kind::Int, &fields[0]);
                add(format!("{sql}['b']"), Kind::Text, &fields[1]);
            }
            (Kind::Pair, shown) => {
                add(format!("{sql}['a']"), Kind::Int, shown);
                add(format!("{sql}['b']"), Kind::Text, shown);
            }
            (Kind::Numbers, shown) => {
                add(format!("array_length({sql})"), Kind::Int, &Shown::Masked(Mask::Fixed));
                add(format!("{sql}[1]"), Kind::Int, shown);
            }
            (kind, shown) => add(sql, kind, shown),
        }
    }
    scope
}

/// The columns of a query under an alias.
fn named(alias: &str, items: &[Item]) -> Scope {
    items.iter().map(|item| Item { sql: format!("{alias}.{}", item.sql), ..item.clone() }).collect()
}

fn listed(distinct: &str, items: Vec<(String, Sort)>, rest: String) -> (String, Vec<Item>) {
    let name = |place: usize| format!("x{}", place + 1);
    let texts: Vec<String> =
        items.iter().enumerate().map(|(place, (sql, _))| format!("{sql} AS {}", name(place))).collect();
    let items = items.iter().enumerate().map(|(place, (_, sort))| Item { sql: name(place), sort: *sort, tame: None });
    (format!("SELECT {distinct}{} FROM {rest}", texts.join(", ")), items.collect())
}
