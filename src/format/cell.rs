//! One value as a table shows it: on one line, in characters that move no cursor, and NULL unlike any text.

use std::borrow::Cow;

use datafusion::arrow::array::{Array, ArrayRef};
use datafusion::arrow::buffer::NullBuffer;
use datafusion::arrow::datatypes::DataType;
use datafusion::arrow::error::ArrowError;
use datafusion::arrow::util::display::{ArrayFormatter, FormatOptions};
use rustyline::GraphemeClusterMode;

use super::harmless;

/// How a NULL is shown. A text that reads the same is shown in quotes.
const NULL: &str = "NULL";

const OPTIONS: FormatOptions<'static> = FormatOptions::new().with_null(NULL);

/// A value as it is shown.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cell {
    pub text: String,
    pub null: bool,
    /// How many columns of a terminal it takes.
    pub width: usize,
}

impl Cell {
    /// A text that holds no value, such as a column's name.
    pub fn of(text: String) -> Self {
        let text = match harmless(&text, |_| false) {
            Cow::Owned(written) => written,
            Cow::Borrowed(_) => text,
        };
        Self { width: width(&text), text, null: false }
    }
}

/// The values of a column, one by one.
pub struct Cells<'a> {
    formatter: ArrayFormatter<'a>,
    nulls: Option<NullBuffer>,
    quotes: bool,
}

impl<'a> Cells<'a> {
    /// # Errors
    /// When values of this type have no written form.
    pub fn of(column: &'a ArrayRef) -> Result<Self, ArrowError> {
        let kind = column.data_type();
        Ok(Self {
            formatter: ArrayFormatter::try_new(column.as_ref(), &OPTIONS)?,
            nulls: column.logical_nulls(),
            quotes: !kind.is_numeric() && !kind.is_temporal() && !matches!(kind, DataType::Null),
        })
    }

    /// The value at `row`.
    pub fn at(&self, row: usize) -> Cell {
        let text = self.formatter.value(row).to_string();
        if text == NULL {
            let null = self.nulls.as_ref().is_some_and(|nulls| nulls.is_null(row)) || !self.quotes;
            let text = if null { text } else { format!("\"{text}\"") };
            return Cell { width: text.len(), text, null };
        }
        Cell::of(text)
    }
}

/// How many columns of a terminal a text takes.
pub fn width(text: &str) -> usize {
    if text.is_ascii() {
        return text.len();
    }
    // One by one, since the widths of long texts do not fit the number that holds their sum there.
    let mut letter = [0; 4];
    text.chars().map(|c| usize::from(GraphemeClusterMode::WcWidth.width(c.encode_utf8(&mut letter)))).sum()
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use std::sync::Arc;

    use datafusion::arrow::array::{Int32Array, StringArray};

    use super::*;

    #[test]
    fn null_is_unlike_any_text() {
        let column: ArrayRef = Arc::new(StringArray::from(vec![Some("NULL"), None, Some("null")]));
        let cells = Cells::of(&column).unwrap();
        let shown: Vec<(String, bool)> = (0..3).map(|row| cells.at(row)).map(|cell| (cell.text, cell.null)).collect();
        assert_eq!(shown, [("\"NULL\"".into(), false), ("NULL".into(), true), ("null".into(), false)]);
        let numbers: ArrayRef = Arc::new(Int32Array::from(vec![None, Some(1)]));
        assert!(Cells::of(&numbers).unwrap().at(0).null);
    }

    #[test]
    fn no_value_moves_the_cursor() {
        let column: ArrayRef = Arc::new(StringArray::from(vec!["a\nb\u{1b}[2J\u{202e}é"]));
        let cell = Cells::of(&column).unwrap().at(0);
        assert_eq!(cell.text, "a\\nb\\u{1b}[2J\\u{202e}é");
        assert_eq!(cell.width, cell.text.chars().count());
    }

    #[test]
    fn wide_letters_take_two_columns_and_long_texts_are_measured() {
        assert_eq!(width("漢字"), 4);
        assert_eq!(width(&"é".repeat(100_000)), 100_000);
    }
}
