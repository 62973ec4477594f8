//! The rows of a guard: those that are kept, in full batches, and then their masks.
//!
//! Where a batch ends must not tell how many rows are hidden around it: an expression of the query that is evaluated on
//! one batch or on another may fail on one and not on the other. So batches are cut by the rows that are kept alone.

use std::collections::BTreeSet;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use datafusion::arrow::array::{Array, BooleanArray, RecordBatch, RecordBatchOptions};
use datafusion::arrow::compute::{BatchCoalescer, prep_null_mask_filter};
use datafusion::arrow::datatypes::SchemaRef;
use datafusion::common::Result;
use datafusion::common::cast::as_boolean_array;
use datafusion::execution::SendableRecordBatchStream;
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_expr::utils::reassign_expr_columns;
use futures::{Stream, StreamExt};

/// Rows for which a predicate is true.
pub(super) struct Filtered {
    input: SendableRecordBatchStream,
    predicate: Arc<dyn PhysicalExpr>,
    /// The columns of the input that go on.
    kept: Vec<usize>,
    going: SchemaRef,
    full: Full,
    ended: bool,
}

/// Batches that are filled to the brim.
enum Full {
    Columns(BatchCoalescer),
    /// Rows without columns are only counted.
    Count {
        schema: SchemaRef,
        rows: usize,
        brim: usize,
        last: bool,
    },
}

impl Filtered {
    pub(super) fn new(
        input: SendableRecordBatchStream,
        predicate: Arc<dyn PhysicalExpr>,
        kept: BTreeSet<usize>,
        brim: usize,
    ) -> Result<Self> {
        let kept: Vec<usize> = kept.into_iter().collect();
        let schema = Arc::new(input.schema().project(&kept)?);
        let going = Arc::clone(&schema);
        let full = if kept.is_empty() {
            Full::Count { schema, rows: 0, brim: brim.max(1), last: false }
        } else {
            Full::Columns(BatchCoalescer::new(schema, brim.max(1)))
        };
        Ok(Self { input, predicate, kept, going, full, ended: false })
    }

    /// The columns that go on.
    pub(super) fn going(&self) -> &SchemaRef {
        &self.going
    }

    fn sift(&mut self, batch: &RecordBatch) -> Result<()> {
        let met = self.predicate.evaluate(batch)?.into_array(batch.num_rows())?;
        let met = as_boolean_array(&met)?;
        let met: BooleanArray = if met.null_count() > 0 { prep_null_mask_filter(met) } else { met.clone() };
        match &mut self.full {
            Full::Columns(full) => full.push_batch_with_filter(batch.project(&self.kept)?, &met)?,
            Full::Count { rows, .. } => *rows = rows.saturating_add(met.true_count()),
        }
        Ok(())
    }
}

impl Full {
    fn next(&mut self) -> Result<Option<RecordBatch>> {
        match self {
            Self::Columns(full) => Ok(full.next_completed_batch()),
            Self::Count { schema, rows, brim, last } => {
                let count = (*rows).min(*brim);
                if count == 0 || (count < *brim && !*last) {
                    return Ok(None);
                }
                *rows = rows.saturating_sub(count);
                let options = RecordBatchOptions::new().with_row_count(Some(count));
                Ok(Some(RecordBatch::try_new_with_options(Arc::clone(schema), Vec::new(), &options)?))
            }
        }
    }

    fn finish(&mut self) -> Result<()> {
        match self {
            Self::Columns(full) => full.finish_buffered_batch()?,
            Self::Count { last, .. } => *last = true,
        }
        Ok(())
    }
}

impl Stream for Filtered {
    type Item = Result<RecordBatch>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        loop {
            if let Some(batch) = self.full.next().transpose() {
                return Poll::Ready(Some(batch));
            }
            if self.ended {
                return Poll::Ready(None);
            }
            let done = match ready!(self.input.poll_next_unpin(context)) {
                Some(batch) => batch.and_then(|batch| self.sift(&batch)),
                None => {
                    self.ended = true;
                    self.full.finish()
                }
            };
            if let Err(error) = done {
                return Poll::Ready(Some(Err(error)));
            }
        }
    }
}

/// What makes the columns that come out.
pub(super) struct Masks {
    shown: Vec<Arc<dyn PhysicalExpr>>,
    schema: SchemaRef,
}

impl Masks {
    /// Masks over batches of `input`, whose columns they find by name: those that only a predicate needed are gone.
    pub(super) fn new(shown: &[(String, Arc<dyn PhysicalExpr>)], input: &SchemaRef, schema: SchemaRef) -> Result<Self> {
        let shown = shown.iter().map(|(_, expr)| reassign_expr_columns(Arc::clone(expr), input));
        Ok(Self { shown: shown.collect::<Result<_>>()?, schema })
    }

    /// The columns of a batch, each through its mask.
    pub(super) fn over(&self, batch: &RecordBatch) -> Result<RecordBatch> {
        let rows = batch.num_rows();
        let columns = self.shown.iter().map(|expr| expr.evaluate(batch)?.into_array(rows));
        let options = RecordBatchOptions::new().with_row_count(Some(rows));
        let columns = columns.collect::<Result<Vec<_>>>()?;
        Ok(RecordBatch::try_new_with_options(Arc::clone(&self.schema), columns, &options)?)
    }
}
