//! Answers that can be held against each other: the same rows in any order, floats up to their last digits.

use datafusion::arrow::array::{Array, AsArray, RecordBatch};
use datafusion::arrow::compute::cast;
use datafusion::arrow::datatypes::{DataType, Float64Type};
use datafusion::arrow::util::display::{ArrayFormatter, FormatOptions};

use serde_json::Value;

use crate::Result;

/// How far two sums of the same floats in another order may be apart.
const TOLERANCE: f64 = 1e-9;
/// How far numbers of another engine may be, which gives means of decimals other types and so fewer digits.
const ABROAD: f64 = 1e-4;

#[derive(Debug, PartialEq)]
enum Cell {
    Text(String),
    Float(f64),
}

/// Rows, sorted.
pub(crate) struct Answer(Vec<Vec<Cell>>);

impl Answer {
    pub(crate) fn of(batches: &[RecordBatch]) -> Result<Self> {
        let mut rows = Vec::new();
        for batch in batches {
            let columns = batch.columns().iter().map(|column| cells(column.as_ref())).collect::<Result<Vec<_>>>()?;
            let mut columns: Vec<_> = columns.into_iter().map(Vec::into_iter).collect();
            rows.extend((0..batch.num_rows()).map(|_| columns.iter_mut().filter_map(Iterator::next).collect()));
        }
        Ok(Self::sorted(rows))
    }

    pub(crate) fn rows(&self) -> usize {
        self.0.len()
    }

    pub(crate) fn agrees(&self, other: &Self) -> bool {
        self.agrees_within(other, TOLERANCE)
    }

    fn agrees_within(&self, other: &Self, tolerance: f64) -> bool {
        let cells = |rows: &'_ [Vec<Cell>]| rows.iter().map(Vec::len).collect::<Vec<_>>();
        cells(&self.0) == cells(&other.0)
            && self.0.iter().flatten().zip(other.0.iter().flatten()).all(|(a, b)| a.agrees(b, tolerance))
    }

    /// Whether another engine's answer is the same but for the types of its numbers.
    pub(crate) fn agrees_abroad(&self, other: &Self) -> bool {
        self.without_types().agrees_within(&other.without_types(), ABROAD)
    }

    fn without_types(&self) -> Self {
        let cell = |cell: &Cell| match cell {
            Cell::Text(text) => text.trim().parse().map_or_else(|_| Cell::Text(text.trim().to_owned()), Cell::Float),
            Cell::Float(number) => Cell::Float(*number),
        };
        Self::sorted(self.0.iter().map(|row| row.iter().map(cell).collect()).collect())
    }

    /// The rows that a peer tells: lists of numbers, texts and nulls.
    pub(crate) fn of_json(rows: &Value) -> Option<Self> {
        let cell = |value: &Value| match value {
            Value::Null => Some(Cell::Text("-".into())),
            Value::Number(number) => number.as_f64().map(Cell::Float),
            Value::String(text) => Some(Cell::Text(text.clone())),
            _ => None,
        };
        let row = |row: &Value| row.as_array()?.iter().map(cell).collect();
        Some(Self::sorted(rows.as_array()?.iter().map(row).collect::<Option<_>>()?))
    }

    fn sorted(mut rows: Vec<Vec<Cell>>) -> Self {
        rows.sort_by_cached_key(|row: &Vec<Cell>| row.iter().map(Cell::key).collect::<Vec<_>>());
        Self(rows)
    }
}

impl Cell {
    /// What rows are sorted by: few enough digits that both arms sort alike.
    fn key(&self) -> String {
        match self {
            Self::Text(text) => text.clone(),
            Self::Float(number) => format!("{number:.3e}"),
        }
    }

    fn agrees(&self, other: &Self, tolerance: f64) -> bool {
        match (self, other) {
            (Self::Float(a), Self::Float(b)) => (a - b).abs() <= tolerance * a.abs().max(b.abs()).max(1.0),
            _ => self == other,
        }
    }
}

fn cells(column: &dyn Array) -> Result<Vec<Cell>> {
    if matches!(column.data_type(), DataType::Float32 | DataType::Float64) {
        let floats = cast(column, &DataType::Float64)?;
        let floats = floats.as_primitive::<Float64Type>();
        let cell = |float: Option<f64>| float.map_or_else(|| Cell::Text("-".into()), Cell::Float);
        return Ok(floats.iter().map(cell).collect());
    }
    let options = FormatOptions::default().with_null("-");
    let texts = ArrayFormatter::try_new(column, &options)?;
    Ok((0..column.len()).map(|row| Cell::Text(texts.value(row).to_string())).collect())
}
