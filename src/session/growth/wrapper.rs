//! An input of an operator, watched: its batches go on in portions, are refused, or are counted.
//!
//! The input of a join is read once. DataFusion's nested loop join reads its left side anew when that does not fit into
//! memory, from operators that have given all they had: some panic, and others give nothing, so that rows are missing. And a
//! left join that went that way has rows more than once. So the join fails for want of memory, as it was about to.

use std::collections::BTreeSet;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use datafusion::arrow::record_batch::RecordBatch;
use datafusion::common::{DataFusionError, Result, internal_err};
use datafusion::execution::memory_pool::{MemoryConsumer, MemoryReservation};
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::physical_plan::coop::make_cooperative;
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::physical_plan::{DisplayAs, DisplayFormatType, ExecutionPlan, PlanProperties};
use futures::{StreamExt, TryStreamExt, stream};

use super::{held, portions};

/// What is done with the batches of an input.
#[derive(Debug, Clone)]
pub(super) enum Work {
    /// They are cut for what grows, and have no more rows than this.
    Compute(usize),
    /// They are cut for an operator that unnests these columns, each to its depth.
    Unnest(Vec<(usize, usize)>),
    /// They are refused where a join cannot repeat them.
    Repeat,
    /// They are counted as held.
    Hold,
}

/// The input of an operator.
#[derive(Debug)]
pub(in crate::session) struct Watched {
    input: Arc<dyn ExecutionPlan>,
    work: Work,
    /// The partitions that are read.
    begun: Mutex<BTreeSet<usize>>,
}

impl Watched {
    /// What it is called in a plan.
    pub(in crate::session) const NAME: &'static str = "Watched";

    pub(super) fn over(input: Arc<dyn ExecutionPlan>, work: Work) -> Arc<dyn ExecutionPlan> {
        Arc::new(Self { input, work, begun: Mutex::default() })
    }

    /// Refuses to read a partition of a join's input again.
    fn once(&self, partition: usize) -> Result<()> {
        let mut begun = self.begun.lock().unwrap_or_else(PoisonError::into_inner);
        match begun.insert(partition) || !matches!(self.work, Work::Repeat) {
            true => Ok(()),
            false => Err(DataFusionError::ResourcesExhausted("the side of a join does not fit into memory".to_owned())),
        }
    }
}

impl DisplayAs for Watched {
    fn fmt_as(&self, _: DisplayFormatType, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(Self::NAME)
    }
}

/// It is put in when a plan starts, so that no optimizer meets it: what it does not say is not asked.
impl ExecutionPlan for Watched {
    fn name(&self) -> &'static str {
        Self::NAME
    }

    fn properties(&self) -> &Arc<PlanProperties> {
        self.input.properties()
    }

    fn maintains_input_order(&self) -> Vec<bool> {
        vec![true]
    }

    fn children(&self) -> Vec<&Arc<dyn ExecutionPlan>> {
        vec![&self.input]
    }

    fn with_new_children(self: Arc<Self>, mut children: Vec<Arc<dyn ExecutionPlan>>) -> Result<Arc<dyn ExecutionPlan>> {
        match children.pop() {
            Some(input) => Ok(Self::over(input, self.work.clone())),
            None => internal_err!("an input is watched, and there is none"),
        }
    }

    fn execute(&self, partition: usize, context: Arc<TaskContext>) -> Result<SendableRecordBatchStream> {
        self.once(partition)?;
        let rows = context.session_config().batch_size();
        let batches = self.input.execute(partition, Arc::clone(&context))?;
        let schema = batches.schema();
        let reservation = MemoryConsumer::new(Self::NAME).register(context.memory_pool());
        let stream = match self.work.clone() {
            // Some operators make batches of more rows than they are told to.
            Work::Compute(most) => batches
                .map(move |batch| {
                    let batch = batch?;
                    cut(portions::computed(&batch).min(rows).min(most), batch, &reservation)
                })
                .try_flatten()
                .boxed(),
            Work::Unnest(lists) => batches
                .map(move |batch| {
                    let batch = batch?;
                    cut(portions::unnested(&batch, &lists)?, batch, &reservation)
                })
                .try_flatten()
                .boxed(),
            Work::Repeat => batches
                .map(move |batch| batch.and_then(|batch| portions::repeated(&batch, rows).map(|()| batch)))
                .boxed(),
            Work::Hold => batches
                .map(move |batch| {
                    let batch = batch?;
                    reservation.try_grow(batch.get_array_memory_size().saturating_mul(held::TIMES))?;
                    Ok(batch)
                })
                .boxed(),
        };
        // What one batch becomes may be so many portions that a task is to yield among them.
        Ok(make_cooperative(Box::pin(RecordBatchStreamAdapter::new(schema, stream))))
    }
}

/// A batch in portions of so many rows. It is held until the last of them has gone on, and beneath it another may be: what
/// doubles fourteen times is fourteen batches, none of them too large.
///
/// # Errors
/// When a batch of several portions does not fit into memory.
fn cut(
    rows: usize,
    batch: RecordBatch,
    reservation: &MemoryReservation,
) -> Result<impl futures::Stream<Item = Result<RecordBatch>> + Send + use<>> {
    let (all, rows) = (batch.num_rows(), rows.max(1));
    let held = reservation.new_empty();
    if all > rows {
        held.try_grow(usize::try_from(portions::all(&batch)).unwrap_or(usize::MAX))?;
    }
    let starts = (0..all.max(1)).step_by(rows);
    Ok(stream::iter(starts.map(move |start| {
        let _held = &held;
        Ok(batch.slice(start, rows.min(all - start)))
    })))
}
