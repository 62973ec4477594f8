//! Decision diagrams: a formula over choices, each of a few possibilities, kept so that equal formulas are one.
//!
//! ```text
//! region = "EU" and in group g        region? --EU--> g? --in--> true, and false on every other way
//! ```
//!
//! A formula that nothing makes true is `FALSE` itself, so asking costs nothing once it is built. Choices are asked in the
//! order of their numbers, and no way asks one twice.

use std::collections::HashMap;

/// A formula.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Formula(u32);

impl Formula {
    pub const FALSE: Self = Self(0);
    pub const TRUE: Self = Self(1);

    pub fn constant(truth: bool) -> Self {
        if truth { Self::TRUE } else { Self::FALSE }
    }
}

/// What is chosen, by its place in the order.
pub(super) type Choice = u32;

/// Which possibility of a choice: 0 is the least that can be said of somebody.
pub(super) type Possibility = u32;

/// Everything that is said of somebody; a choice that is not there is left at 0.
pub(super) type Model = Vec<(Choice, Possibility)>;

/// No more nodes than these: what needs more is not decided.
const MOST: usize = 1 << 19;

#[derive(Debug, PartialEq, Eq, Hash, Clone)]
struct Node {
    choice: Choice,
    /// One for each possibility.
    ways: Box<[Formula]>,
}

/// The formulas of one question.
#[derive(Debug, Default)]
pub(super) struct Diagrams {
    /// The first two are `FALSE` and `TRUE`, and have no ways.
    nodes: Vec<Node>,
    known: HashMap<Node, Formula>,
    ands: HashMap<(Formula, Formula), Formula>,
    nots: HashMap<Formula, Formula>,
    too_many: bool,
}

impl Diagrams {
    pub fn new() -> Self {
        let end = || Node { choice: Choice::MAX, ways: Box::default() };
        Self { nodes: vec![end(), end()], ..Self::default() }
    }

    /// Whether a formula was too large, so that what was built of it means nothing.
    pub fn is_too_large(&self) -> bool {
        self.too_many
    }

    /// Whether the choice falls on one of the possibilities for which `holds`.
    pub fn choice(&mut self, choice: Choice, of: u32, holds: impl Fn(Possibility) -> bool) -> Formula {
        self.node(choice, (0..of).map(|possibility| Formula::constant(holds(possibility))).collect())
    }

    /// Whether any of these choices of two possibilities falls on the second.
    pub fn any(&mut self, choices: impl IntoIterator<Item = Choice>) -> Formula {
        let mut sorted: Vec<Choice> = choices.into_iter().collect();
        sorted.sort_unstable();
        sorted.dedup();
        // From the last one on, so that each costs one node.
        let last_first = sorted.into_iter().rev();
        last_first.fold(Formula::FALSE, |rest, choice| self.node(choice, [rest, Formula::TRUE].into()))
    }

    pub fn and(&mut self, one: Formula, other: Formula) -> Formula {
        let (one, other) = if one <= other { (one, other) } else { (other, one) };
        if one == Formula::FALSE || one == other {
            return one;
        }
        if one == Formula::TRUE {
            return other;
        }
        if let Some(known) = self.ands.get(&(one, other)) {
            return *known;
        }
        let choice = self.choice_of(one).min(self.choice_of(other));
        let count = self.ways(one, choice).max(self.ways(other, choice));
        let ways = (0..count).map(|way| {
            let (one, other) = (self.way(one, choice, way), self.way(other, choice, way));
            self.and(one, other)
        });
        let ways: Box<[Formula]> = ways.collect();
        let both = self.node(choice, ways);
        self.ands.insert((one, other), both);
        both
    }

    pub fn not(&mut self, formula: Formula) -> Formula {
        match formula {
            Formula::FALSE => return Formula::TRUE,
            Formula::TRUE => return Formula::FALSE,
            _ => {}
        }
        if let Some(known) = self.nots.get(&formula) {
            return *known;
        }
        let choice = self.choice_of(formula);
        let ways: Box<[Formula]> = (0..self.ways(formula, choice))
            .map(|way| {
                let way = self.way(formula, choice, way);
                self.not(way)
            })
            .collect();
        let not = self.node(choice, ways);
        self.nots.insert(formula, not);
        self.nots.insert(not, formula);
        not
    }

    pub fn or(&mut self, one: Formula, other: Formula) -> Formula {
        let (one, other) = (self.not(one), self.not(other));
        let neither = self.and(one, other);
        self.not(neither)
    }

    /// Whether both are true or both false.
    pub fn same(&mut self, one: Formula, other: Formula) -> Formula {
        let (not_one, not_other) = (self.not(one), self.not(other));
        let (both, neither) = (self.and(one, other), self.and(not_one, not_other));
        self.or(both, neither)
    }

    /// Somebody for whom it is true, of whom least is said.
    pub fn least(&self, formula: Formula) -> Option<Model> {
        let mut best: HashMap<Formula, (usize, Possibility)> = HashMap::new();
        self.weigh(formula, &mut best)?;
        let mut model = Model::new();
        let mut at = formula;
        while at != Formula::TRUE {
            let (choice, (_, way)) = (self.choice_of(at), *best.get(&at)?);
            model.push((choice, way));
            at = self.way(at, choice, way);
        }
        Some(model)
    }

    /// How much must be said at least of somebody for whom it is true.
    fn weigh(&self, formula: Formula, best: &mut HashMap<Formula, (usize, Possibility)>) -> Option<usize> {
        match formula {
            Formula::FALSE => return None,
            Formula::TRUE => return Some(0),
            _ => {}
        }
        if let Some((weight, _)) = best.get(&formula) {
            return Some(*weight);
        }
        let choice = self.choice_of(formula);
        let weights = (0..self.ways(formula, choice)).filter_map(|way| {
            let rest = self.weigh(self.way(formula, choice, way), best)?;
            Some((rest + usize::from(way > 0), way))
        });
        let least = weights.min()?;
        best.insert(formula, least);
        Some(least.0)
    }

    /// Somebody for whom it is true, drawn by `draw`, which is below the number that it is given.
    pub fn drawn(&self, formula: Formula, draw: &mut impl FnMut(usize) -> usize) -> Option<Model> {
        let mut model = Model::new();
        let mut at = formula;
        while at != Formula::TRUE {
            let choice = self.choice_of(at);
            // From every node but `FALSE` a way leads to `TRUE`.
            let open = (0..self.ways(at, choice)).filter(|way| self.way(at, choice, *way) != Formula::FALSE);
            let open: Vec<Possibility> = open.collect();
            let way = *open.get(draw(open.len().max(1)))?;
            model.push((choice, way));
            at = self.way(at, choice, way);
        }
        Some(model)
    }

    fn choice_of(&self, formula: Formula) -> Choice {
        self.nodes.get(formula.0 as usize).map_or(Choice::MAX, |node| node.choice)
    }

    /// How many ways `formula` has at `choice`: none if it does not ask it first.
    fn ways(&self, formula: Formula, choice: Choice) -> Possibility {
        let ways = self.nodes.get(formula.0 as usize).filter(|node| node.choice == choice).map(|node| node.ways.len());
        ways.and_then(|ways| Possibility::try_from(ways).ok()).unwrap_or(0)
    }

    /// What is left of `formula` once `choice` fell, which it asks first or not at all.
    fn way(&self, formula: Formula, choice: Choice, way: Possibility) -> Formula {
        match self.nodes.get(formula.0 as usize) {
            Some(node) if node.choice == choice => node.ways.get(way as usize).copied().unwrap_or(Formula::FALSE),
            _ => formula,
        }
    }

    fn node(&mut self, choice: Choice, ways: Box<[Formula]>) -> Formula {
        if let Some(first) = ways.first().copied().filter(|first| ways.iter().all(|way| way == first)) {
            return first;
        }
        let node = Node { choice, ways };
        if let Some(known) = self.known.get(&node) {
            return *known;
        }
        let Some(place) = u32::try_from(self.nodes.len()).ok().filter(|_| self.nodes.len() < MOST) else {
            self.too_many = true;
            return Formula::FALSE;
        };
        self.nodes.push(node.clone());
        self.known.insert(node, Formula(place));
        Formula(place)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    #[test]
    fn equal_formulas_are_one() {
        let mut all = Diagrams::new();
        let (a, b) = (all.choice(0, 3, |way| way == 1), all.choice(5, 2, |way| way == 1));
        let (one, other) = (all.and(a, b), all.and(b, a));
        assert_eq!(one, other);
        let (not_a, not_b) = (all.not(a), all.not(b));
        let neither = all.or(not_a, not_b);
        assert_eq!(all.not(neither), one);
        let never = all.and(a, not_a);
        assert_eq!((never, all.or(a, not_a)), (Formula::FALSE, Formula::TRUE));
        assert_eq!(all.same(a, a), Formula::TRUE);
        let second = all.choice(0, 3, |way| way == 2);
        assert_eq!(all.and(a, second), Formula::FALSE, "a choice falls once");
    }

    #[test]
    fn the_least_model_says_least() {
        let mut all = Diagrams::new();
        let any = all.any([7, 3, 5]);
        assert_eq!(all.least(any).unwrap().iter().filter(|(_, way)| *way > 0).count(), 1);
        let free = all.choice(1, 2, |way| way == 0);
        assert_eq!(all.least(free).unwrap(), [(1, 0)]);
        assert_eq!((all.least(Formula::FALSE), all.least(Formula::TRUE).unwrap()), (None, Vec::new()));
        let both = all.and(any, free);
        let mut turn = 0;
        let drawn = all.drawn(both, &mut |below| {
            turn += 1;
            turn % below
        });
        assert!(drawn.unwrap().contains(&(1, 0)));
    }

    #[test]
    fn what_is_too_large_is_said_to_be() {
        // Pairs that are far apart in the order: the formula has a node for each set of first halves.
        let mut all = Diagrams::new();
        let mut formula = Formula::TRUE;
        for pair in 0..24 {
            let (one, other) = (all.choice(pair, 2, |way| way == 1), all.choice(100 + pair, 2, |way| way == 1));
            let same = all.same(one, other);
            formula = all.and(formula, same);
        }
        assert!(all.is_too_large());
    }
}
