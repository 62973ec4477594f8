//! How the domains are, for those who run the server: in words behind `/readyz`, in numbers behind `/metrics`.
//!
//! Everybody who gets there is told how many domains are in which state. Their names are told to those alone who show by
//! their credentials that they may discover them. One domain that is down does not make the server unready: all others are
//! served.

use std::fmt::Write;

use polder_catalog::name::DomainName;
use polder_catalog::principal::Principal;

use crate::session::{Engine, Standing};

/// The states, in the order of telling.
const STATES: [&str; 4] = ["ok", "kept", "down", "out"];

/// How the domains are, as one who asks may know.
#[derive(Debug)]
pub(super) struct Health {
    /// How many domains are in each of [`STATES`].
    counts: [usize; STATES.len()],
    /// Those that may be named.
    named: Vec<(DomainName, Standing)>,
}

impl Health {
    /// As `asking` may know it; nothing of names for nobody.
    pub(super) fn of(engine: &Engine, asking: Option<&Principal>) -> Self {
        let mut standings = engine.standings();
        let count = |state| standings.iter().filter(|(_, standing)| standing.as_str() == state).count();
        let counts = STATES.map(count);
        // Of a domain that is out nobody knows who may discover it.
        let discovered = asking.map(|principal| engine.discovered(principal)).unwrap_or_default();
        standings.retain(|(name, standing)| *standing != Standing::Out && discovered.contains(name));
        Self { counts, named: standings }
    }

    /// What there is to say beyond that all is well.
    pub(super) fn words(&self) -> String {
        let mut words = String::new();
        let [_, unwell @ ..] = &self.counts;
        if unwell.iter().all(|count| *count == 0) {
            return words;
        }
        let told = STATES.iter().zip(&self.counts).filter(|(_, count)| **count > 0);
        let told: Vec<String> = told.map(|(state, count)| format!("{count} {state}")).collect();
        let _ = writeln!(words, "domains: {}", told.join(", "));
        for (name, standing) in &self.named {
            let _ = match standing {
                Standing::Ok => continue,
                Standing::Down(what) => writeln!(words, "{name} is down: {what}"),
                Standing::Kept | Standing::Out => writeln!(words, "{name} is {}", standing.as_str()),
            };
        }
        words
    }

    /// In Prometheus' text format.
    pub(super) fn render(&self) -> String {
        let mut text = "# HELP polder_domains Domains by how they are.\n# TYPE polder_domains gauge\n".to_owned();
        for (state, count) in STATES.iter().zip(&self.counts) {
            let _ = writeln!(text, "polder_domains{{state=\"{state}\"}} {count}");
        }
        if self.named.is_empty() {
            return text;
        }
        text.push_str(
            "# HELP polder_domain_state Whether a domain is in this state.\n# TYPE polder_domain_state gauge\n",
        );
        for (name, standing) in &self.named {
            for state in STATES {
                let is = u8::from(standing.as_str() == state);
                let _ = writeln!(text, "polder_domain_state{{domain=\"{name}\",state=\"{state}\"}} {is}");
            }
        }
        text
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    #[test]
    fn what_is_well_needs_no_words_and_what_is_not_is_named_to_those_who_may_know() {
        let well = Health { counts: [3, 0, 0, 0], named: Vec::new() };
        assert_eq!(well.words(), "");
        assert!(well.render().contains("\npolder_domains{state=\"ok\"} 3\n"));
        assert!(!well.render().contains("polder_domain_state"));
        let down = Standing::Down("its catalog does not answer in time".to_owned());
        let named = vec![("shop".parse().unwrap(), down), ("depot".parse().unwrap(), Standing::Ok)];
        let ill = Health { counts: [1, 0, 1, 1], named };
        assert_eq!(ill.words(), "domains: 1 ok, 1 down, 1 out\nshop is down: its catalog does not answer in time\n");
        let text = ill.render();
        assert!(text.contains("\npolder_domain_state{domain=\"shop\",state=\"down\"} 1\n"), "{text}");
        assert!(text.contains("\npolder_domain_state{domain=\"shop\",state=\"ok\"} 0\n"), "{text}");
        assert!(text.contains("\npolder_domains{state=\"out\"} 1\n"), "{text}");
    }
}
