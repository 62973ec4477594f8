//! Whether two rules on rows show the same rows.
//!
//! Written alike they do. Otherwise both are asked about every kind of row that they can tell apart:
//!
//! ```text
//! region = 'EU' AND score > 3      region: 'EU', texts around it, NULL      score: 2, 3, 4, NULL
//! ```
//!
//! A comparison of a column with a literal changes only at the literal, so its neighbours stand for all values. What
//! looks at a column in another way (`LIKE`, arithmetic, two columns) is taken to hold or not as it likes. So equal here
//! is equal on every row; and rules that are equal only by what they compute are told apart.

mod grid;
mod test;

use crate::contract::Column;
use crate::policy::Rows;
use crate::policy::filter::Filter;

use test::Test;

/// Whether a row is shown.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Shown(Test);

impl Shown {
    /// The rows that a decision shows.
    pub fn of(rows: &Rows) -> Self {
        let (permits, forbids) = rows.rules();
        let permits = permits.map(|rules| {
            let any = rules.iter().map(|rule| match &rule.filter {
                Some(filter) => Test::of(filter).is(true),
                None => Test::Constant(true),
            });
            Test::any(any.collect())
        });
        let forbids = forbids.iter().map(|rule| match &rule.filter {
            Some(filter) => Test::of(filter).is(false),
            None => Test::Constant(false),
        });
        Self(Test::all(permits.into_iter().chain(forbids).collect()))
    }

    /// The rows for which a filter is true.
    pub fn by(filter: &Filter) -> Self {
        Self(Test::of(filter).is(true))
    }

    /// Every row, or none.
    pub fn always(shown: bool) -> Self {
        Self(Test::Constant(shown))
    }
}

/// How the rows that two rules show compare.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Relation {
    /// They are the same.
    Same,
    /// They are not. A row that only the first one shows, and one that only the second one shows.
    Differ(Option<String>, Option<String>),
    /// They have more kinds of rows than are looked at.
    TooMany,
}

/// Holds two rules on a product with `columns` against each other.
pub(crate) fn compare(first: &Shown, second: &Shown, columns: &[Column]) -> Relation {
    if first == second {
        return Relation::Same;
    }
    let Some(mut grid) = grid::Grid::over([&first.0, &second.0], columns) else { return Relation::TooMany };
    let (mut only_first, mut only_second) = (None, None);
    loop {
        match (grid.answer(&first.0), grid.answer(&second.0)) {
            (Some(true), Some(true)) => {}
            (Some(true), _) if only_first.is_none() => only_first = Some(grid.row()),
            (_, Some(true)) if only_second.is_none() => only_second = Some(grid.row()),
            _ => {}
        }
        let known = only_first.is_some() && only_second.is_some();
        if known || !grid.advance() {
            break;
        }
    }
    match (only_first, only_second) {
        (None, None) => Relation::Same,
        (first, second) => Relation::Differ(first, second),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "tests")]
mod tests {
    use super::*;
    use crate::contract::{PhysicalType, Type};
    use crate::document::Place;
    use crate::mesh::declared::Declared;
    use crate::policy::filter::{Checked, Written};

    fn columns() -> Vec<Column> {
        use PhysicalType as P;
        let kinds = [
            ("region", P::String),
            ("name", P::String),
            ("level", P::Int),
            ("score", P::Decimal { precision: 5, scale: 2 }),
            ("ratio", P::Double),
            ("on", P::Date),
            ("at", P::TimestamptzNs),
            ("open", P::Boolean),
        ];
        let column = |(name, kind): (&str, P)| Column {
            name: name.into(),
            physical_name: name.into(),
            kind: Type::Physical(kind),
            required: false,
            key: None,
            partition: None,
            description: None,
            classification: None,
            tags: Default::default(),
            fields: Vec::new(),
            field_id: None,
            pattern: None,
            examples: Vec::new(),
            declassified: None,
            place: Place { file: "x".into(), line: 1, column: 1 },
        };
        kinds.into_iter().map(column).collect()
    }

    fn by(text: &str) -> Shown {
        match Written::parse(text).unwrap().on(&Declared::default(), &columns(), None).unwrap() {
            Checked::Known(filter) => Shown::by(&filter),
            other => panic!("{text}: {other:?}"),
        }
    }

    fn relation(one: &str, two: &str) -> Relation {
        compare(&by(one), &by(two), &columns())
    }

    #[test]
    fn what_means_the_same_is_the_same() {
        for (one, two) in [
            ("region = 'EU' AND level > 3", "3 < level AND 'EU' = region"),
            ("region IN ('EU', 'US')", "region = 'US' OR region = 'EU'"),
            ("level BETWEEN 2 AND 4", "level > 1 AND level < 5"),
            ("NOT (level <= 3 OR region <> 'EU')", "level >= 4 AND region = 'EU'"),
            ("score > 1.25", "score >= 1.26"),
            ("score > 1.255", "score >= 1.26"),
            ("open", "open = TRUE"),
            ("open", "NOT (NOT open)"),
            ("region IS NOT NULL", "region = 'a' OR region <> 'a'"),
            ("name LIKE 'a%' AND region = 'EU'", "region = 'EU' AND name LIKE 'a%'"),
            ("name LIKE 'abc'", "name = 'abc'"),
            ("on > DATE '2024-01-01'", "on >= DATE '2024-01-02'"),
            ("region = name OR region = name", "region = name"),
        ] {
            assert_eq!(relation(one, two), Relation::Same, "{one} / {two}");
        }
    }

    #[test]
    fn what_differs_is_told_by_a_row() {
        for (one, two, first, second) in [
            ("region = 'EU'", "region = 'US'", Some("region = 'EU'"), Some("region = 'US'")),
            ("level > 3", "level >= 3", None, Some("level = 3")),
            ("region <> 'EU'", "region <> 'EU' OR region IS NULL", None, Some("region is NULL")),
            ("ratio > 1.5", "ratio >= 1.6", Some("ratio = 1.51"), None),
            ("score > 1.25", "score > 1.26", Some("score = 1.26"), None),
            (
                "at > TIMESTAMP '2024-01-01 00:00:00Z'",
                "at >= TIMESTAMP '2024-01-01 00:00:00.000001Z'",
                Some("at = 2024-01-01 00:00:00.000000001Z"),
                None,
            ),
            ("on = DATE '2024-02-29'", "open", Some("on = 2024-02-29, open = false"), Some("open = true")),
        ] {
            let Relation::Differ(only_first, only_second) = relation(one, two) else { panic!("{one} / {two}") };
            for (found, expected) in [(only_first, first), (only_second, second)] {
                assert_eq!(found.is_some(), expected.is_some(), "{one} / {two}: {found:?}");
                let told = found.unwrap_or_default();
                assert!(told.contains(expected.unwrap_or_default()), "{one} / {two}: {told}");
            }
        }
    }

    #[test]
    fn what_cannot_be_computed_is_never_called_the_same() {
        for (one, two) in
            [("name LIKE 'a%'", "name LIKE 'a_%'"), ("level + 1 > 3", "level > 2"), ("region < name", "name > 'a'")]
        {
            assert!(matches!(relation(one, two), Relation::Differ(..)), "{one} / {two}");
        }
        let many = |word: &str| {
            let numbers: Vec<String> = (0..150).map(|number| (number * 10).to_string()).collect();
            let texts: Vec<String> = (0..150).map(|number| format!("'{number}'")).collect();
            format!("level {word} ({}) AND region {word} ({})", numbers.join(", "), texts.join(", "))
        };
        assert_eq!(relation(&many("IN"), &many("NOT IN")), Relation::TooMany);
        assert_eq!(relation(&many("IN"), &many("IN")), Relation::Same);
    }

    #[test]
    fn open_and_closed_rows_are_compared_as_well() {
        let differs = |rows: &Rows, by: &Shown| compare(&Shown::of(rows), by, &columns()) != Relation::Same;
        assert!(!differs(&Rows::All, &Shown::always(true)));
        assert!(differs(&Rows::All, &by("region = 'EU'")));
        let closed = Rows::Closed { permits: Vec::new(), forbids: Vec::new() };
        assert!(!differs(&closed, &Shown::always(false)));
        assert!(!differs(&Rows::All, &by("open OR NOT open OR open IS NULL")));
    }
}
