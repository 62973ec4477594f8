//! Turns become JSON lines while they are taken, and a table of ratios at the end.

use std::fmt::Write;

use serde_json::json;

use crate::measure::{Cost, geometric_mean, median, spread};

/// The turns of some arms at one case each: a query, a variant of a table.
pub(crate) struct Turns {
    suite: &'static str,
    arms: Vec<String>,
    cases: Vec<Case>,
}

struct Case {
    name: String,
    /// For each arm.
    turns: Vec<Vec<Cost>>,
}

impl Turns {
    /// The last arm is what the others are held against.
    pub(crate) fn new(suite: &'static str, arms: Vec<String>) -> Self {
        Self { suite, arms, cases: Vec::new() }
    }

    /// One JSON object with what a turn took, on stdout.
    pub(crate) fn add(&mut self, case: &str, arm: &str, cost: Cost) {
        let line = json!({ "suite": self.suite, "case": case, "arm": arm, "seconds": cost.wall, "cpu": cost.cpu });
        println!("{line}");
        let arms = self.arms.len();
        let known = self.cases.iter_mut().position(|known| known.name == case);
        let at = known.unwrap_or_else(|| {
            self.cases.push(Case { name: case.to_owned(), turns: vec![Vec::new(); arms] });
            self.cases.len() - 1
        });
        let arm = self.arms.iter().position(|known| known == arm);
        if let Some(turns) = arm.and_then(|arm| self.cases.get_mut(at)?.turns.get_mut(arm)) {
            turns.push(cost);
        }
    }

    /// A Markdown table: medians in milliseconds, then ratios to the last arm by time and by CPU time.
    pub(crate) fn table(&self, title: &str) -> String {
        let Some((base, others)) = self.arms.split_last() else { return String::new() };
        let mut text = format!("## {title}\n\n| case |");
        for arm in &self.arms {
            let _ = write!(text, " {arm} ms | ± |");
        }
        for arm in others {
            let _ = write!(text, " {arm}/{base} | by CPU |");
        }
        let columns = 1 + 2 * self.arms.len() + 2 * others.len();
        let _ = writeln!(text, "\n|{}", "---|".repeat(columns));
        let mut ratios = vec![(Vec::new(), Vec::new()); others.len()];
        for case in &self.cases {
            let Some((base, others)) = case.turns.split_last() else { continue };
            let _ = write!(text, "| {} |", case.name);
            for turns in &case.turns {
                let walls: Vec<f64> = turns.iter().map(|cost| cost.wall).collect();
                let _ = write!(text, " {:.1} | {:.0} % |", 1e3 * median(walls.iter().copied()), 100.0 * spread(&walls));
            }
            for (turns, (walls, cpus)) in others.iter().zip(&mut ratios) {
                let of = |turns: &[Cost], what: fn(&Cost) -> f64| median(turns.iter().map(what));
                let wall = of(turns, |c| c.wall) / of(base, |c| c.wall);
                let cpu = of(turns, |c| c.cpu) / of(base, |c| c.cpu);
                let _ = write!(text, " {wall:.3} | {cpu:.3} |");
                walls.push(wall);
                cpus.push(cpu);
            }
            text.push('\n');
        }
        for (arm, (walls, cpus)) in others.iter().zip(&ratios) {
            let worst = |of: &[f64]| of.iter().copied().fold(f64::NAN, f64::max);
            let _ = writeln!(
                text,
                "\n{arm}/{base}: geometric mean {:.3} (by CPU {:.3}), worst {:.3} (by CPU {:.3})",
                geometric_mean(walls),
                geometric_mean(cpus),
                worst(walls),
                worst(cpus),
            );
        }
        text
    }
}
