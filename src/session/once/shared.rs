//! What the places of one part of a plan have in common: its rows, which one of them computes and all read.
//!
//! ```text
//! place 0 ──┐           ┌─ batch ─ batch ─ batch ─> rows of the place that was asked first
//! place 1 ──┴─ reader ──┤   kept until each place had them
//! ```
//!
//! Whoever wants a batch that is not there drives the rows on, and wakes the others. It never waits for another place.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::fmt;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use datafusion::arrow::array::RecordBatch;
use datafusion::arrow::datatypes::SchemaRef;
use datafusion::common::{DataFusionError, Result, exec_err};
use datafusion::execution::memory_pool::{MemoryConsumer, MemoryReservation};
use datafusion::execution::{RecordBatchStream, SendableRecordBatchStream, TaskContext};
use datafusion::physical_plan::ExecutionPlan;
use futures::task::{ArcWake, waker};
use futures::{Stream, StreamExt};

use super::NAME;
use super::buffers::Buffers;

/// What the places of one part have in common.
#[derive(Debug)]
pub(in crate::session) struct Common {
    pub(super) places: usize,
    planned: AtomicBool,
    head: Mutex<Head>,
    pub(super) parts: Mutex<BTreeMap<usize, Arc<Mutex<Part>>>>,
}

#[derive(Debug, Default)]
struct Head {
    /// The place whose plan computes.
    source: Option<(usize, Arc<dyn ExecutionPlan>, Arc<TaskContext>)>,
    /// The places that are read.
    begun: BTreeSet<usize>,
    /// Whether each place computes for itself.
    apart: bool,
}

/// A partition of what is computed.
pub(super) struct Part {
    rows: Option<SendableRecordBatchStream>,
    /// How it ended, if it did.
    end: Option<Option<Arc<DataFusionError>>>,
    /// The batches that some place has not read, and how many came before them.
    kept: VecDeque<RecordBatch>,
    before: usize,
    /// How many batches each place has had.
    had: BTreeMap<usize, usize>,
    buffers: Buffers,
    pub(super) held: MemoryReservation,
    waiting: Arc<Waiting>,
}

impl fmt::Debug for Part {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Part").field("kept", &self.kept.len()).field("had", &self.had).finish_non_exhaustive()
    }
}

/// Those who wait for the next batch, by their places: whoever asked last is not the only one.
#[derive(Debug, Default)]
struct Waiting(Mutex<BTreeMap<usize, Waker>>);

impl Waiting {
    fn add(&self, place: usize, waker: &Waker) {
        locked(&self.0).insert(place, waker.clone());
    }

    /// Wakes all but the place that has its answer. Another one can be read by the same task.
    fn wake_others(&self, place: usize) {
        let mut waiting = std::mem::take(&mut *locked(&self.0));
        waiting.remove(&place);
        waiting.into_values().for_each(Waker::wake);
    }
}

impl ArcWake for Waiting {
    fn wake_by_ref(this: &Arc<Self>) {
        let waiting = std::mem::take(&mut *locked(&this.0));
        waiting.into_values().for_each(Waker::wake);
    }
}

pub(super) fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Common {
    pub(super) fn new(places: usize) -> Arc<Self> {
        let (planned, head, parts) = Default::default();
        Arc::new(Self { places, planned, head, parts })
    }

    /// Says that the plan is physical, and may be looked into.
    pub(in crate::session) fn planned(&self) {
        self.planned.store(true, Ordering::Release);
    }

    pub(super) fn is_planned(&self) -> bool {
        self.planned.load(Ordering::Acquire)
    }

    fn part(&self, partition: usize, context: &TaskContext) -> Arc<Mutex<Part>> {
        let part = || {
            let held = MemoryConsumer::new(NAME).register(context.memory_pool());
            let (rows, end, kept, buffers, before, had, waiting) = Default::default();
            Arc::new(Mutex::new(Part { rows, end, kept, buffers, before, had, held, waiting }))
        };
        Arc::clone(locked(&self.parts).entry(partition).or_insert_with(part))
    }

    /// Whether a batch is kept for the other places. Nothing is if memory is short before one of them has begun.
    fn keep(&self, part: &mut Part, batch: &RecordBatch) -> Result<()> {
        let mut head = locked(&self.head);
        if !head.apart {
            match part.held.try_grow(part.buffers.with(batch)) {
                Ok(()) => {
                    part.kept.push_back(batch.clone());
                    return Ok(());
                }
                Err(error) if head.begun.len() > 1 => return Err(error),
                Err(_) => head.apart = true,
            }
        }
        part.before = part.before.saturating_add(part.kept.len()).saturating_add(1);
        part.kept.clear();
        part.buffers = Buffers::default();
        part.held.free();
        Ok(())
    }
}

impl Part {
    /// Notes how many batches a place has had, and lets go of what all have.
    fn passed(&mut self, place: usize, had: usize, places: usize) {
        self.had.insert(place, had);
        if self.had.len() < places {
            return;
        }
        let least = self.had.values().copied().min().unwrap_or_default();
        while self.before < least
            && let Some(batch) = self.kept.pop_front()
        {
            self.before = self.before.saturating_add(1);
            self.held.shrink(self.buffers.without(&batch));
        }
        if least == usize::MAX {
            self.rows = None;
        }
    }
}

/// The rows of a partition, for one place.
pub(super) struct Reader {
    common: Arc<Common>,
    part: Arc<Mutex<Part>>,
    place: usize,
    child: Arc<dyn ExecutionPlan>,
    context: Arc<TaskContext>,
    partition: usize,
    /// How many batches it has had.
    had: usize,
    begun: bool,
    /// Its own rows, where it shares none.
    own: Option<SendableRecordBatchStream>,
}

impl Reader {
    pub(super) fn of(
        common: &Arc<Common>,
        place: usize,
        child: Arc<dyn ExecutionPlan>,
        partition: usize,
        context: Arc<TaskContext>,
    ) -> Self {
        let (part, common) = (common.part(partition, &context), Arc::clone(common));
        Self { common, part, place, child, context, partition, had: 0, begun: false, own: None }
    }

    /// Begins to read what this place computes for itself, or what one computes for all.
    fn begin(&mut self) -> Result<()> {
        let mut head = locked(&self.common.head);
        head.begun.insert(self.place);
        let (apart, source) = (
            head.apart,
            head.source.get_or_insert_with(|| (self.place, Arc::clone(&self.child), Arc::clone(&self.context))),
        );
        let (place, plan, context) = (source.0, Arc::clone(&source.1), Arc::clone(&source.2));
        drop(head);
        if apart && place != self.place {
            self.own = Some(self.child.execute(self.partition, Arc::clone(&self.context))?);
        } else {
            let mut part = locked(&self.part);
            if part.rows.is_none() && part.end.is_none() {
                part.rows = Some(plan.execute(self.partition, context)?);
            }
        }
        self.begun = true;
        Ok(())
    }
}

impl Stream for Reader {
    type Item = Result<RecordBatch>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let reader = &mut *self;
        if !reader.begun
            && let Err(error) = reader.begin()
        {
            return Poll::Ready(Some(Err(error)));
        }
        if let Some(own) = &mut reader.own {
            return own.poll_next_unpin(context);
        }
        let mut part = locked(&reader.part);
        let Some(place) = reader.had.checked_sub(part.before) else {
            if reader.had > 0 {
                return Poll::Ready(Some(exec_err!("rows were let go that a part of a plan had not read")));
            }
            // A join that cannot hold its left side reads it once more, and what is kept no longer is not computed for it.
            drop(part);
            return match reader.child.execute(reader.partition, Arc::clone(&reader.context)) {
                Ok(own) => reader.own.insert(own).poll_next_unpin(context),
                Err(error) => Poll::Ready(Some(Err(error))),
            };
        };
        if let Some(batch) = part.kept.get(place) {
            let batch = batch.clone();
            reader.had = reader.had.saturating_add(1);
            part.passed(reader.place, reader.had, reader.common.places);
            return Poll::Ready(Some(Ok(batch)));
        }
        if let Some(end) = &part.end {
            return Poll::Ready(end.as_ref().map(|error| Err(DataFusionError::from(error))));
        }
        let waiting = Arc::clone(&part.waiting);
        waiting.add(reader.place, context.waker());
        let wakes = waker(Arc::clone(&waiting));
        let Some(rows) = &mut part.rows else { return Poll::Ready(None) };
        let Poll::Ready(next) = rows.poll_next_unpin(&mut Context::from_waker(&wakes)) else { return Poll::Pending };
        let next = next.transpose().and_then(|next| match next {
            Some(batch) => reader.common.keep(&mut part, &batch).map(|()| Some(batch)),
            None => Ok(None),
        });
        let answer = match next {
            Ok(Some(batch)) => {
                reader.had = reader.had.saturating_add(1);
                part.passed(reader.place, reader.had, reader.common.places);
                Some(Ok(batch))
            }
            Ok(None) => {
                (part.rows, part.end) = (None, Some(None));
                None
            }
            Err(error) => {
                let error = Arc::new(error);
                (part.rows, part.end) = (None, Some(Some(Arc::clone(&error))));
                Some(Err(DataFusionError::from(&error)))
            }
        };
        drop(part);
        waiting.wake_others(reader.place);
        Poll::Ready(answer)
    }
}

impl RecordBatchStream for Reader {
    fn schema(&self) -> SchemaRef {
        self.child.schema()
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        // Its place wants nothing more of this partition.
        let mut part = locked(&self.part);
        part.passed(self.place, usize::MAX, self.common.places);
    }
}
