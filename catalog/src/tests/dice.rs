//! Random choices, the same again for the same seed.

use std::collections::BTreeSet;

/// What is drawn from.
pub(crate) struct Dice(pub u64);

impl Dice {
    pub fn below(&mut self, n: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 % n as u64) as usize
    }
    pub fn one_in(&mut self, n: usize) -> bool {
        self.below(n) == 0
    }
    pub fn pick<'a>(&mut self, of: &[&'a str]) -> &'a str {
        of[self.below(of.len())]
    }
    pub fn some(&mut self, of: &[&'static str], one_in: usize) -> BTreeSet<&'static str> {
        of.iter().copied().filter(|_| self.one_in(one_in)).collect()
    }
}
