//! Which order of joins makes the fewest rows: sizes in, a tree out. It knows neither plans nor expressions.
//!
//! ```text
//! rows of a set       the product of its relations' rows, times what each relation keeps when it comes to those before it
//! what it keeps       for each class of equal columns 1 / the larger number of distinct values; several classes that two
//!                     relations have in common are one key, which has no more values than the relation has rows
//! cost of a join      the rows that come out, and those of the smaller side, which are held
//! ```
//!
//! Up to [`EXACT`] relations every connected tree is looked at, bushy ones too; beyond, the two sets whose join makes the
//! fewest rows are joined first, again and again. No cross join is made but between parts that nothing connects.

use std::collections::HashMap;

/// Relations, as bits.
pub(super) type Set = u64;

/// The most relations whose trees are all looked at.
const EXACT: usize = 10;

/// The rows of a relation that joins.
#[derive(Debug, Clone, Copy)]
pub(super) struct Size {
    /// Those that its filters leave.
    pub(super) rows: f64,
    /// All of them.
    pub(super) whole: f64,
}

/// What is known of the values of a column.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Values {
    /// How many it has at most.
    pub(super) distinct: Option<f64>,
    /// How many there are from its least to its greatest.
    pub(super) span: Option<f64>,
}

/// Columns that are equal in the end, at most one of each relation.
#[derive(Debug, Clone)]
pub(super) struct Class {
    pub(super) of: Set,
    /// For each relation the distinct values that count, if it is one of the class.
    distinct: Vec<f64>,
}

/// A condition over several relations that is no class.
#[derive(Debug, Clone, Copy)]
pub(super) struct Condition {
    pub(super) over: Set,
    /// The part of the rows for which it is true.
    pub(super) keeps: f64,
}

/// What is joined with what.
#[derive(Debug, Clone, Default)]
pub(super) struct Graph {
    pub(super) sizes: Vec<Size>,
    pub(super) classes: Vec<Class>,
    pub(super) conditions: Vec<Condition>,
}

/// An order: the smaller side of each join stands first.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Order {
    Relation(usize),
    Join(Box<Order>, Box<Order>),
}

/// An order, with what it costs.
#[derive(Debug, Clone)]
struct Costed {
    set: Set,
    rows: f64,
    cost: f64,
    order: Order,
}

/// The bit of a relation.
pub(super) fn bit(relation: usize) -> Set {
    1 << relation
}

/// The relations of a set.
pub(super) fn members(set: Set) -> impl Iterator<Item = usize> {
    (0..Set::BITS as usize).filter(move |relation| set & bit(*relation) != 0)
}

impl Class {
    /// Columns of relations, and what is known of their values. One of which nothing is known may have as many as its
    /// relation has rows.
    ///
    /// The numbers are bounds. At most one column is taken for a key, and the others have its values alone: the one that
    /// fills its span best, and of two that fill it alike that of fewer rows. Who asks for a part of a relation with a
    /// key asks for one that is there: a year of 200 in a calendar is one of the five that have sales, so that a filtered
    /// key has no more values than come to it.
    pub(super) fn new(columns: &[(usize, Values)], sizes: &[Size]) -> Self {
        let size = |relation: usize| sizes.get(relation).copied().unwrap_or(Size { rows: 1.0, whole: 1.0 });
        let distinct = |relation: usize, values: Values| {
            let whole = size(relation).whole.max(1.0);
            values.distinct.unwrap_or(whole).clamp(1.0, whole)
        };
        let fills = |relation: usize, values: Values| {
            let whole = size(relation).whole;
            let is_key = distinct(relation, values) >= whole * 0.95 && values.span.is_none_or(|span| span >= whole);
            // Twenty steps, so that what is nearly alike is alike.
            is_key.then(|| values.span.map_or(10.0, |span| (whole / span * 20.0).round()))
        };
        let keys = columns.iter().filter_map(|(relation, values)| Some((*relation, fills(*relation, *values)?)));
        let whole = |relation: usize| size(relation).whole;
        let key = keys.max_by(|one, other| one.1.total_cmp(&other.1).then(whole(other.0).total_cmp(&whole(one.0))));
        let key = key.map(|(relation, _)| relation);
        let most = key.map_or(f64::INFINITY, whole);
        let (mut of, mut counted) = (0, vec![1.0; sizes.len()]);
        let mut others: f64 = 1.0;
        for (relation, values) in columns {
            of |= bit(*relation);
            let distinct = distinct(*relation, *values).min(most);
            if key != Some(*relation) {
                others = others.max(distinct);
            }
            if let Some(place) = counted.get_mut(*relation) {
                *place = distinct;
            }
        }
        if let Some((key, place)) = key.and_then(|key| Some((key, counted.get_mut(key)?))) {
            let Size { rows, whole } = size(key);
            if rows < whole {
                *place = place.min(others).max(rows);
            }
        }
        Self { of, distinct: counted }
    }

    fn distinct(&self, relation: usize) -> f64 {
        self.distinct.get(relation).copied().unwrap_or(1.0)
    }

    /// The values that are left when all relations of a set were joined.
    fn left(&self, set: Set) -> f64 {
        members(self.of & set).map(|relation| self.distinct(relation)).fold(f64::INFINITY, f64::min)
    }
}

impl Graph {
    /// All relations.
    pub(super) fn all(&self) -> Set {
        (0..self.sizes.len()).map(bit).fold(0, |all, one| all | one)
    }

    /// The rows of a set when it is joined.
    pub(super) fn rows(&self, set: Set) -> f64 {
        let (mut rows, mut joined) = (1.0, 0);
        for relation in members(set) {
            rows *= self.adds(joined, relation);
            joined |= bit(relation);
        }
        rows.max(1.0)
    }

    /// How many times as many rows there are when a relation comes to others, with the conditions that come with it.
    fn adds(&self, others: Set, relation: usize) -> f64 {
        let rows = self.sizes.get(relation).map_or(1.0, |size| size.rows) * self.keeps(others, relation);
        let all = others | bit(relation);
        let here = |condition: &&Condition| condition.over & bit(relation) != 0 && condition.over & !all == 0;
        self.conditions.iter().filter(here).fold(rows, |rows, condition| rows * condition.keeps)
    }

    /// The part of all pairs that is left when a relation comes to others.
    fn keeps(&self, others: Set, relation: usize) -> f64 {
        let shares = |class: &&Class, set: Set| class.of & bit(relation) != 0 && class.of & set != 0;
        let mut left: Vec<&Class> = self.classes.iter().filter(|class| shares(class, others)).collect();
        let mut keeps = 1.0;
        while !left.is_empty() {
            let common = |other: &usize| left.iter().filter(|class| shares(class, bit(*other))).count();
            // Of several with as many the first one, as ever.
            let Some(other) = members(others).min_by_key(|other| std::cmp::Reverse(common(other))) else { break };
            let (key, rest): (Vec<&Class>, Vec<&Class>) = left.iter().partition(|class| shares(class, bit(other)));
            if key.is_empty() {
                break;
            }
            let apart: f64 = key.iter().map(|class| 1.0 / class.distinct(relation).max(class.left(others))).product();
            let whole = |of: usize| self.sizes.get(of).map_or(1.0, |size| size.whole).max(1.0);
            let values = |of: usize| key.iter().map(|class| class.distinct(of)).product::<f64>();
            let (here, there) = (values(relation), values(other));
            let both = match here >= whole(relation) && there >= whole(other) {
                // Each could be the other's key.
                true => (whole(relation) * whole(other)).sqrt(),
                false => here.min(whole(relation)).max(there.min(whole(other))),
            };
            keeps *= if key.len() > 1 { apart.max(1.0 / both.max(1.0)) } else { apart };
            left = rest;
        }
        keeps
    }

    /// What is directly connected with a relation.
    fn near(&self, relation: usize) -> Set {
        let classes = self.classes.iter().filter(|class| class.of & bit(relation) != 0);
        classes.fold(0, |near, class| near | class.of) & !bit(relation)
    }

    /// Whether something makes two sets equal in a column.
    fn connects(&self, one: Set, other: Set) -> bool {
        self.classes.iter().any(|class| class.of & one != 0 && class.of & other != 0)
    }

    /// The sets that nothing connects with each other.
    pub(super) fn parts(&self) -> Vec<Set> {
        let (mut left, mut parts) = (self.all(), Vec::new());
        while let Some(first) = members(left).next() {
            let mut part = bit(first);
            loop {
                let wider = members(part).fold(part, |wider, relation| wider | self.near(relation));
                if wider == part {
                    break;
                }
                part = wider;
            }
            parts.push(part);
            left &= !part;
        }
        parts
    }

    /// What a join of two sets costs by itself.
    pub(super) fn step(rows: f64, left: f64, right: f64) -> f64 {
        rows + left.min(right)
    }

    /// The best order, and its cost.
    pub(super) fn best(&self) -> Option<(Order, f64)> {
        let mut parts: Vec<Costed> = Vec::new();
        for part in self.parts() {
            parts.push(if part.count_ones() as usize <= EXACT { self.exact(part)? } else { self.greedy(part)? });
        }
        parts.sort_by(|one, other| one.rows.total_cmp(&other.rows));
        let all = parts.into_iter().reduce(|one, other| self.joined(&one, &other))?;
        Some((all.order, all.cost))
    }

    fn one(&self, relation: usize) -> Costed {
        let rows = self.rows(bit(relation));
        Costed { set: bit(relation), rows, cost: 0.0, order: Order::Relation(relation) }
    }

    fn joined(&self, one: &Costed, other: &Costed) -> Costed {
        let set = one.set | other.set;
        let rows = self.rows(set);
        let (first, second) = if one.rows <= other.rows { (one, other) } else { (other, one) };
        let order = Order::Join(Box::new(first.order.clone()), Box::new(second.order.clone()));
        Costed { set, rows, cost: one.cost + other.cost + Self::step(rows, one.rows, other.rows), order }
    }

    /// The cheapest of all trees over a connected set.
    fn exact(&self, part: Set) -> Option<Costed> {
        let relations: Vec<usize> = members(part).collect();
        let count = 1usize << relations.len();
        // Of each set, by the places of its relations: the set, its rows, and what is near it.
        let mut sets: Vec<(Set, f64, Set)> = vec![(0, 1.0, 0)];
        for narrow in 1..count {
            let highest = narrow.ilog2() as usize;
            let (rest, rows, near) = sets.get(narrow ^ (1 << highest)).copied()?;
            let relation = relations.get(highest).copied()?;
            sets.push((rest | bit(relation), rows * self.adds(rest, relation), near | self.near(relation)));
        }
        // The cost and the first side of the best tree of each connected set.
        let mut table: Vec<Option<(f64, usize)>> = vec![None; count];
        for (narrow, (_, rows, _)) in sets.iter().enumerate().skip(1) {
            let best = if narrow.is_power_of_two() { Some((0.0, 0)) } else { cut(narrow, &sets, &table) };
            let rows = if narrow.is_power_of_two() { 0.0 } else { rows.max(1.0) };
            *table.get_mut(narrow)? = best.map(|(cost, side)| (cost + rows, side));
        }
        let (cost, _) = table.last().copied().flatten()?;
        let (set, rows, _) = sets.last().copied()?;
        Some(Costed { set, rows: rows.max(1.0), cost, order: tree(&table, &sets, count - 1)? })
    }

    fn greedy(&self, part: Set) -> Option<Costed> {
        let mut forest: Vec<Costed> = members(part).map(|relation| self.one(relation)).collect();
        let mut known: HashMap<Set, f64> = HashMap::new();
        while forest.len() > 1 {
            let mut best: Option<(f64, usize, usize)> = None;
            for (place, one) in forest.iter().enumerate() {
                for (beyond, other) in forest.iter().enumerate().skip(place + 1) {
                    if self.connects(one.set, other.set) {
                        let set = one.set | other.set;
                        let rows = *known.entry(set).or_insert_with(|| self.rows(set));
                        let cost = Self::step(rows, one.rows, other.rows);
                        if best.is_none_or(|(least, ..)| cost < least) {
                            best = Some((cost, place, beyond));
                        }
                    }
                }
            }
            let (_, place, beyond) = best?;
            let other = forest.remove(beyond);
            let one = forest.get_mut(place)?;
            *one = self.joined(one, &other);
        }
        forest.pop()
    }
}

/// The best two sides of a set, and what they cost together with the one that is held.
fn cut(narrow: usize, sets: &[(Set, f64, Set)], table: &[Option<(f64, usize)>]) -> Option<(f64, usize)> {
    let mut best: Option<(f64, usize)> = None;
    let mut side = (narrow - 1) & narrow;
    // Each pair of sides comes twice.
    while side > 0 {
        let other = narrow ^ side;
        if side < other
            && let (Some((one, _)), Some((two, _))) = (table.get(side)?, table.get(other)?)
            && let (Some((_, here, near)), Some((set, there, _))) = (sets.get(side), sets.get(other))
            && near & set != 0
        {
            let cost = one + two + here.min(*there).max(1.0);
            if best.is_none_or(|(least, _)| cost < least) {
                best = Some((cost, side));
            }
        }
        side = (side - 1) & narrow;
    }
    best
}

/// The tree that a table of best sides stands for.
fn tree(table: &[Option<(f64, usize)>], sets: &[(Set, f64, Set)], narrow: usize) -> Option<Order> {
    let (_, side) = table.get(narrow).copied().flatten()?;
    let (set, ..) = sets.get(narrow)?;
    if side == 0 {
        return Some(Order::Relation(set.trailing_zeros() as usize));
    }
    let rows = |of: usize| sets.get(of).map_or(0.0, |(_, rows, _)| *rows);
    let other = narrow ^ side;
    let (first, second) = if rows(side) <= rows(other) { (side, other) } else { (other, side) };
    Some(Order::Join(Box::new(tree(table, sets, first)?), Box::new(tree(table, sets, second)?)))
}
