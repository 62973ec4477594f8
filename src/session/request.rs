//! What is asked of an engine: a statement, and what it means where it is asked.

use std::fmt;
use std::time::Duration;

use datafusion::arrow::record_batch::RecordBatch;
use datafusion::common::TableReference;
use tokio::time::Instant;

use super::{Part, Pins};
use crate::observe::Origin;

/// A statement, and what it means where it is asked.
#[derive(Debug, Clone, Default)]
pub struct Request {
    /// Its text.
    pub sql: String,
    /// The snapshots that it reads; the newest ones of products that are not named here.
    pub pins: Pins,
    /// The schema in which a plain name lies.
    pub schema: Option<String>,
    /// How long it may take, where that is less than the engine's own limit.
    pub timeout: Option<Duration>,
    /// When it must be done at the latest, with others that it is part of.
    pub deadline: Option<Instant>,
    /// The values of its parameters.
    pub values: Values,
    /// The part of the rows that is wanted, if it is not all of them.
    pub part: Option<Part>,
    /// Where it came from.
    pub origin: Origin,
}

/// The values of a statement's parameters.
#[derive(Clone, Default)]
pub enum Values {
    /// There are none, so that a statement with parameters is refused.
    #[default]
    None,
    /// They are bound later. Until then a statement has a schema and does not run.
    Later,
    /// One row of a batch with a column for each parameter.
    Row(RecordBatch, usize),
}

impl fmt::Debug for Values {
    /// Says how many there are, and none of them.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::None => f.write_str("None"),
            Self::Later => f.write_str("Later"),
            Self::Row(batch, row) => write!(f, "Row({row} of {}, {} values)", batch.num_rows(), batch.num_columns()),
        }
    }
}

impl Request {
    /// A statement alone.
    pub fn new(sql: impl Into<String>) -> Self {
        Self { sql: sql.into(), ..Self::default() }
    }

    /// What a reference means here: a plain name lies in the default schema.
    pub(super) fn whole(&self, reference: TableReference) -> TableReference {
        match (reference, &self.schema) {
            (TableReference::Bare { table }, Some(schema)) => TableReference::partial(schema.as_str(), table),
            (whole, _) => whole,
        }
    }
}
