//! Rows as a table for people.
//!
//! ```text
//! +------+-------+      the first rows are held until it is known how wide the columns are;
//! | city | total |      those behind them are written as they come, and a wider value pushes
//! +------+-------+      its line out of shape rather than being cut
//! | Ghent|    12 |
//! ```
//!
//! Expanded, each row is a block of lines, one for each column.

use std::io::Write;

use datafusion::arrow::array::RecordBatch;
use datafusion::arrow::datatypes::SchemaRef;

use super::cell::{Cell, Cells};
use super::failed;

/// How many rows decide how wide the columns are.
const SAMPLE: usize = 1000;

/// How wide a column is at most. Longer values push their lines out of shape rather than filling all others with spaces.
const WIDEST: usize = 1000;

/// How far the line over an expanded row reaches at least.
const RULE: usize = 32;

const BOLD: &str = "\x1b[1m";
const DIM: &str = "\x1b[2m";
const PLAIN: &str = "\x1b[0m";

/// Whether each row is a block of lines.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Expanded {
    /// No: a row is a line.
    #[default]
    Off,
    /// Yes.
    On,
    /// Where the lines would be wider than the terminal.
    Auto,
}

/// How a table looks.
#[derive(Debug, Clone, Copy, Default)]
pub struct Look {
    /// Whether each row is a block of lines.
    pub expanded: Expanded,
    /// How wide the terminal is, where it is one.
    pub columns: Option<usize>,
    /// Whether names are bold and NULLs dim.
    pub color: bool,
}

/// A table that is being written.
pub struct Table<W> {
    schema: SchemaRef,
    look: Look,
    out: W,
    held: Vec<RecordBatch>,
    rows: usize,
    shape: Option<Shape>,
}

/// What is known of a table when its first line is written.
enum Shape {
    /// A line for each row, in columns of these widths.
    Lines(Vec<Column>),
    /// A block for each row, with these names under a line of this length.
    Blocks { names: Vec<String>, rule: usize },
}

struct Column {
    name: Cell,
    width: usize,
    right: bool,
}

impl<W: Write> Table<W> {
    /// A table with these columns.
    pub fn new(schema: SchemaRef, look: Look, out: W) -> Self {
        Self { schema, look, out, held: Vec::new(), rows: 0, shape: None }
    }

    /// Writes a batch, now or with those that follow.
    ///
    /// # Errors
    /// When it cannot be written or a value has no written form.
    pub fn write(&mut self, batch: RecordBatch) -> std::io::Result<()> {
        if self.shape.is_some() {
            return self.print(&batch);
        }
        self.rows = self.rows.saturating_add(batch.num_rows());
        self.held.push(batch);
        if self.rows >= SAMPLE { self.begin() } else { Ok(()) }
    }

    /// Ends the table.
    ///
    /// # Errors
    /// When it cannot be written or a value has no written form.
    pub fn finish(mut self) -> std::io::Result<W> {
        if self.shape.is_none() {
            self.begin()?;
        }
        if let Some(Shape::Lines(columns)) = &self.shape {
            self.out.write_all(border(columns).as_bytes())?;
        }
        Ok(self.out)
    }

    /// Measures what is held and writes it.
    fn begin(&mut self) -> std::io::Result<()> {
        let shape = self.measure()?;
        if let Shape::Lines(columns) = &shape {
            let names = columns.iter().map(|column| (column, &column.name));
            let names = line(names, |_| self.look.style(BOLD));
            write!(self.out, "{0}{names}{0}", border(columns))?;
        }
        self.shape = Some(shape);
        self.rows = 0;
        std::mem::take(&mut self.held).iter().try_for_each(|batch| self.print(batch))
    }

    fn measure(&self) -> std::io::Result<Shape> {
        let fields = self.schema.fields();
        let mut columns: Vec<Column> = fields
            .iter()
            .map(|field| {
                let name = Cell::of(field.name().clone());
                Column { width: name.width, name, right: field.data_type().is_numeric() }
            })
            .collect();
        let mut left = SAMPLE;
        for batch in &self.held {
            let rows = batch.num_rows().min(left);
            left -= rows;
            for (column, values) in columns.iter_mut().zip(batch.columns()) {
                let cells = Cells::of(values).map_err(failed)?;
                let widths = (0..rows).map(|row| cells.at(row).width.min(WIDEST));
                column.width = widths.fold(column.width, usize::max);
            }
        }
        // A space on each side of a value, and a line between the columns and around them.
        let wide = columns.iter().map(|column| column.width.saturating_add(3)).fold(1, usize::saturating_add);
        let blocks = match self.look.expanded {
            Expanded::Off => false,
            Expanded::On => true,
            Expanded::Auto => self.look.columns.is_some_and(|screen| wide > screen),
        };
        if !blocks {
            return Ok(Shape::Lines(columns));
        }
        let width = columns.iter().map(|column| column.name.width).max().unwrap_or(0);
        let values = columns.iter().map(|column| column.width).max().unwrap_or(0);
        let rule = width.saturating_add(values).saturating_add(3).min(self.look.columns.unwrap_or(RULE * 2)).max(RULE);
        let (before, behind) = self.look.style(BOLD);
        let name = |Column { name, .. }: Column| {
            let padding = " ".repeat(width.saturating_sub(name.width));
            format!("{before}{}{behind}{padding}", name.text)
        };
        Ok(Shape::Blocks { names: columns.into_iter().map(name).collect(), rule })
    }

    fn print(&mut self, batch: &RecordBatch) -> std::io::Result<()> {
        let values = batch.columns().iter().map(Cells::of).collect::<Result<Vec<_>, _>>().map_err(failed)?;
        let Some(shape) = &self.shape else { return Ok(()) };
        let dim = self.look.style(DIM);
        let dimmed = |cell: &Cell| if cell.null { dim } else { ("", "") };
        for row in 0..batch.num_rows() {
            let cells: Vec<Cell> = values.iter().map(|column| column.at(row)).collect();
            self.rows = self.rows.saturating_add(1);
            let text = match shape {
                Shape::Lines(columns) => line(columns.iter().zip(&cells), dimmed),
                Shape::Blocks { names, rule } => {
                    let head = format!("-[ row {} ]", self.rows);
                    let mut text = format!("{head:-<rule$}\n");
                    for (name, cell) in names.iter().zip(&cells) {
                        let (before, behind) = dimmed(cell);
                        text.extend([name.as_str(), " | ", before, &cell.text, behind, "\n"]);
                    }
                    text
                }
            };
            self.out.write_all(text.as_bytes())?;
        }
        Ok(())
    }
}

impl Look {
    /// What stands before and behind a text in this style.
    fn style(self, style: &'static str) -> (&'static str, &'static str) {
        if self.color { (style, PLAIN) } else { ("", "") }
    }
}

fn border(columns: &[Column]) -> String {
    let mut text = String::from("+");
    for column in columns {
        text.extend(std::iter::repeat_n('-', column.width.saturating_add(2)));
        text.push('+');
    }
    text.push('\n');
    text
}

fn line<'a>(
    cells: impl Iterator<Item = (&'a Column, &'a Cell)>,
    style: impl Fn(&Cell) -> (&'static str, &'static str),
) -> String {
    let mut text = String::from("|");
    for (column, cell) in cells {
        let padding = std::iter::repeat_n(' ', column.width.saturating_sub(cell.width));
        let (before, behind) = style(cell);
        text.push(' ');
        if column.right {
            text.extend(padding.clone());
        }
        text.extend([before, &cell.text, behind]);
        if !column.right {
            text.extend(padding);
        }
        text.push_str(" |");
    }
    text.push('\n');
    text
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests")]
mod tests {
    use std::sync::Arc;

    use datafusion::arrow::array::{ArrayRef, Int32Array, StringArray};

    use super::*;

    fn batch(cities: Vec<Option<&str>>, totals: Vec<Option<i32>>) -> RecordBatch {
        let cities: ArrayRef = Arc::new(StringArray::from(cities));
        let totals: ArrayRef = Arc::new(Int32Array::from(totals));
        RecordBatch::try_from_iter_with_nullable([("city", cities, true), ("total", totals, true)]).unwrap()
    }

    fn shown(look: Look, batches: &[RecordBatch]) -> String {
        let mut table = Table::new(batches[0].schema(), look, Vec::new());
        batches.iter().for_each(|batch| table.write(batch.clone()).unwrap());
        String::from_utf8(table.finish().unwrap()).unwrap()
    }

    #[test]
    fn numbers_stand_right_and_everything_else_left() {
        let rows = batch(vec![Some("Gent"), None, Some("漢")], vec![Some(7), Some(123_456), None]);
        let expect = "\
+------+--------+
| city |  total |
+------+--------+
| Gent |      7 |
| NULL | 123456 |
| 漢   |   NULL |
+------+--------+
";
        assert_eq!(shown(Look::default(), &[rows]), expect);
    }

    #[test]
    fn without_rows_there_are_names() {
        let expect = "+------+-------+\n| city | total |\n+------+-------+\n+------+-------+\n";
        assert_eq!(shown(Look::default(), &[batch(vec![], vec![])]), expect);
    }

    #[test]
    fn rows_behind_the_sample_are_written_as_they_come() {
        let first = batch(vec![Some("a"); SAMPLE], vec![Some(1); SAMPLE]);
        let mut table = Table::new(first.schema(), Look::default(), Vec::new());
        table.write(first.slice(0, SAMPLE - 1)).unwrap();
        assert!(table.out.is_empty(), "it is not known yet how wide the columns are");
        table.write(first.slice(0, 1)).unwrap();
        let begun = table.out.len();
        assert!(begun > 0 && table.held.is_empty());
        table.write(batch(vec![Some("wider than before")], vec![Some(2)])).unwrap();
        let text = String::from_utf8(table.out).unwrap();
        assert_eq!(&text[begun..], "| wider than before |     2 |\n");
    }

    #[test]
    fn one_long_value_does_not_make_every_line_long() {
        let long = "x".repeat(WIDEST * 3);
        let text = shown(Look::default(), &[batch(vec![Some(&long), Some("y")], vec![None, None])]);
        let lines: Vec<&str> = text.lines().collect();
        assert!(lines[3].contains(&long) && lines[4].len() < WIDEST + 20);
    }

    #[test]
    fn expanded_rows_are_blocks_and_are_counted() {
        let rows = batch(vec![Some("Gent"), None], vec![Some(7), Some(8)]);
        let look = Look { expanded: Expanded::On, ..Look::default() };
        let expect = "\
-[ row 1 ]----------------------
city  | Gent
total | 7
-[ row 2 ]----------------------
city  | NULL
total | 8
";
        assert_eq!(shown(look, &[rows]), expect);
    }

    #[test]
    fn what_does_not_fit_the_screen_is_expanded_where_that_is_asked_for() {
        let rows = batch(vec![Some("Gent")], vec![Some(7)]);
        let look = |columns| Look { expanded: Expanded::Auto, columns, color: false };
        assert!(shown(look(Some(15)), std::slice::from_ref(&rows)).starts_with("-[ row 1 ]"));
        assert!(shown(look(Some(16)), std::slice::from_ref(&rows)).starts_with('+'));
        assert!(shown(look(None), &[rows]).starts_with('+'));
    }

    #[test]
    fn colours_take_no_room() {
        let rows = batch(vec![None], vec![Some(7)]);
        let look = Look { color: true, ..Look::default() };
        let plain = shown(look, &[rows]).replace(BOLD, "").replace(DIM, "").replace(PLAIN, "");
        assert!(plain.contains("| city | total |\n") && plain.contains("| NULL |     7 |\n"), "{plain}");
    }
}
