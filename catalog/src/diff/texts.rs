//! Texts for every way in which the texts and patterns of conditions can hold of one.
//!
//! ```text
//! == "EU"                  "EU", and another one
//! like "E*", like "*U"     "E", "U", "EU" and "other": each of them alone, both, and none
//! ```
//!
//! All patterns are followed at once, letter by letter, so that no way is forgotten, however they overlap. A letter that
//! stands in none of them is like any other such letter, and one stands for all.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

/// A pattern of `like`, with nothing for each `*`.
pub(super) type Pattern = Vec<Option<char>>;

/// No more beginnings of texts than these are followed.
const MOST: usize = 10_000;

/// The places in a pattern that a beginning of a text can have come to.
type Places = BTreeSet<usize>;

/// The texts themselves, and `each` others for every way in which patterns hold of others; and whether there are more.
pub(super) fn telling(texts: &BTreeSet<String>, patterns: &BTreeSet<Pattern>, each: usize) -> (BTreeSet<String>, bool) {
    let mut found = Found { texts, each, known: BTreeMap::new() };
    // Words that say what they are go first.
    let mut other = "other".to_owned();
    for _ in 0..each.saturating_add(texts.len()) {
        found.add(patterns.iter().map(|pattern| holds(pattern, &other)).collect(), &other);
        other.push('…');
    }
    let cut = !patterns.is_empty() && !follow(patterns, &mut found);
    (texts.iter().cloned().chain(found.known.into_values().flatten()).collect(), cut)
}

/// Others by the patterns that hold of them.
struct Found<'t> {
    texts: &'t BTreeSet<String>,
    each: usize,
    known: BTreeMap<Vec<bool>, Vec<String>>,
}

impl Found<'_> {
    fn add(&mut self, way: Vec<bool>, text: &str) {
        let known = self.known.entry(way).or_default();
        if known.len() < self.each && !self.texts.contains(text) && !known.iter().any(|other| other == text) {
            known.push(text.to_owned());
        }
    }
}

/// Goes through the beginnings of texts, short ones first; `false` where there are too many.
fn follow(patterns: &BTreeSet<Pattern>, found: &mut Found<'_>) -> bool {
    let mut letters: BTreeSet<char> = patterns.iter().flatten().flatten().copied().collect();
    let unlike = ('…'..).find(|letter| !letters.contains(letter));
    letters.extend(unlike);
    // As many texts come to the same places as are wanted there, and those that are no others.
    let spelled = found.texts.iter().filter(|text| text.chars().all(|letter| letters.contains(&letter))).count();
    let wanted = found.each.saturating_add(spelled);
    let start: Vec<Places> = patterns.iter().map(|pattern| onwards(pattern, Places::from([0]))).collect();
    let mut visits: BTreeMap<Vec<Places>, usize> = BTreeMap::new();
    let mut queue = VecDeque::from([(start, String::new())]);
    let mut steps = 0;
    while let Some((places, text)) = queue.pop_front() {
        let visits = visits.entry(places.clone()).or_default();
        if *visits >= wanted {
            continue;
        }
        *visits += 1;
        steps += 1;
        if steps > MOST {
            return false;
        }
        let way = patterns.iter().zip(&places).map(|(pattern, places)| places.contains(&pattern.len()));
        found.add(way.collect(), &text);
        // Beyond all patterns every text is alike, and there are words for it.
        if places.iter().all(BTreeSet::is_empty) {
            continue;
        }
        for letter in &letters {
            let next = patterns.iter().zip(&places).map(|(pattern, places)| step(pattern, places, *letter));
            let mut longer = text.clone();
            longer.push(*letter);
            queue.push_back((next.collect(), longer));
        }
    }
    true
}

fn holds(pattern: &Pattern, text: &str) -> bool {
    let start = onwards(pattern, Places::from([0]));
    text.chars().fold(start, |places, letter| step(pattern, &places, letter)).contains(&pattern.len())
}

fn step(pattern: &Pattern, places: &Places, letter: char) -> Places {
    let next = places.iter().filter_map(|place| match pattern.get(*place)? {
        None => Some(*place),
        Some(own) => (*own == letter).then(|| place.saturating_add(1)),
    });
    onwards(pattern, next.collect())
}

/// A `*` can be nothing, and what comes before the last one that was met matters no more.
fn onwards(pattern: &Pattern, mut places: Places) -> Places {
    let is_any = |place: &usize| matches!(pattern.get(*place), Some(None));
    let mut last = places.iter().copied().filter(is_any).max();
    while let Some(place) = last {
        places.insert(place.saturating_add(1));
        places.retain(|other| *other >= place);
        last = Some(place.saturating_add(1)).filter(is_any);
    }
    places
}

#[cfg(test)]
mod tests {
    use super::*;

    fn telling_of(texts: &[&str], patterns: &[&str], each: usize) -> Vec<String> {
        let texts = texts.iter().map(|text| (*text).to_owned()).collect();
        let pattern = |text: &&str| text.chars().map(|letter| (letter != '*').then_some(letter)).collect();
        let (found, cut) = telling(&texts, &patterns.iter().map(pattern).collect(), each);
        assert!(!cut);
        found.into_iter().collect()
    }

    #[test]
    fn there_is_a_text_for_each_way() {
        assert_eq!(telling_of(&["EU", "other"], &[], 1), ["EU", "other", "other…"]);
        assert_eq!(telling_of(&[], &["E*", "*U"], 1), ["E", "EU", "U", "other"]);
        assert_eq!(telling_of(&["E"], &["E*"], 2), ["E", "EE", "E…", "other", "other…"]);
        assert_eq!(telling_of(&[], &["*"], 1), ["other"]);
        assert_eq!(telling_of(&["a"], &["*a*b*", "*ba*"], 1).len(), 5);
        // One alone starts and ends with the letter, and is not longer.
        assert!(telling_of(&[], &["E*", "*E", "E*E"], 2).contains(&"E".to_owned()));
    }

    #[test]
    fn what_overlaps_without_end_is_cut() {
        let pattern = |letters: &str| letters.chars().flat_map(|letter| [None, Some(letter)]).chain([None]).collect();
        let patterns: BTreeSet<Pattern> =
            ["abcdefghijkl", "lkjihgfedcba", "adgjbehkcfil", "lifckhebjgda"].map(pattern).into();
        assert!(telling(&BTreeSet::new(), &patterns, 20).1);
    }
}
