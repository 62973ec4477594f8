//! The life of a running query: its rows, its deadline, and its end when nobody wants them any more.

use std::collections::HashMap;
use std::fmt;
use std::future::pending;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::{Context, Poll};
use std::time::Duration;

use datafusion::arrow::datatypes::SchemaRef;
use datafusion::arrow::record_batch::RecordBatch;
use datafusion::error::DataFusionError;
use datafusion::execution::runtime_env::RuntimeEnv;
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::physical_plan::coop::make_cooperative;
use datafusion::physical_plan::execute_stream;
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use futures::{Stream, StreamExt, stream};
use polder_catalog::mesh::ResourceGroup;
use tokio::time::{Instant, Sleep};

use super::ahead::{End, Feeder, Queue, Unwanted, queue};
use super::engine::Turn;
use super::finish::starting;
use super::limits::{Allowance, Place, scanned};
use super::results::Slot;
use super::running::{Leave, Registered, Stopper};
use super::scans::Scans;
use super::threads::Work;
use super::{Engine, Planned, failure};
use crate::error::{Class, Error};
use crate::lake::STALENESS;
use crate::observe::{Commit, Entry, Outcome, Stretch, spanned, under};
use crate::resolve::Relied;

/// How many bytes of a query may wait for its reader, unless a single parcel is larger.
const AHEAD: usize = 8 << 20;

/// What becomes of the batches of a query before they leave, on the threads that make them.
pub trait Packer: Send + 'static {
    /// What leaves.
    type Parcel: Send + 'static;

    /// Takes the next batch in, once there is no parcel of the one before.
    ///
    /// # Errors
    /// When it cannot be packed.
    fn load(&mut self, batch: RecordBatch) -> Result<(), Error>;

    /// The next parcel of what was taken in.
    ///
    /// # Errors
    /// When it cannot be packed.
    fn next(&mut self) -> Result<Option<Self::Parcel>, Error>;

    /// Says that there are no more batches; there may be parcels still.
    ///
    /// # Errors
    /// When it cannot be packed.
    fn close(&mut self) -> Result<(), Error> {
        Ok(())
    }

    /// The bytes that a parcel holds.
    fn size(parcel: &Self::Parcel) -> usize;
}

/// Leaves batches as they are.
#[derive(Debug, Default)]
pub(super) struct Unpacked(Option<RecordBatch>);

impl Packer for Unpacked {
    type Parcel = RecordBatch;

    fn load(&mut self, batch: RecordBatch) -> Result<(), Error> {
        self.0 = Some(batch);
        Ok(())
    }

    fn next(&mut self) -> Result<Option<RecordBatch>, Error> {
        Ok(self.0.take())
    }

    fn size(batch: &RecordBatch) -> usize {
        // Two of them wait, however large they are: what they hold may be shared.
        batch.get_array_memory_size().max(AHEAD / 2)
    }
}

/// How long a statement may live.
#[derive(Debug, Clone)]
pub(super) struct Life {
    /// When it ends at the latest.
    pub(super) deadline: Instant,
    /// The time that it was given.
    pub(super) timeout: Timeout,
}

/// The time that a statement is given.
#[derive(Debug, Clone)]
pub(super) struct Timeout {
    pub(super) after: Duration,
    /// The resource group that gives no more.
    pub(super) group: Option<Arc<str>>,
}

/// The rows of a running query. Dropping it cancels the query.
///
/// A parcel leaves only while the mesh that is served allows the query, also one that waited here. The deadline stands
/// here and not beside the work: an operator that computes for long between two batches would not
/// see it, and its caller would wait.
pub struct Rows<T = RecordBatch> {
    schema: SchemaRef,
    /// Those that wait; none once the query has ended.
    parcels: Option<Queue<T>>,
    registered: Arc<Registered>,
    driver: Work<()>,
    deadline: Pin<Box<Sleep>>,
    timeout: Timeout,
    patience: Option<Duration>,
    /// What an observer is told when all of this is dropped.
    entry: Arc<Entry>,
}

impl<T> fmt::Debug for Rows<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Rows").field("schema", &self.schema).finish_non_exhaustive()
    }
}

impl<T> Rows<T> {
    /// The columns of the result.
    pub fn schema(&self) -> SchemaRef {
        Arc::clone(&self.schema)
    }

    /// What ends it from elsewhere, also while nobody reads.
    pub fn stopper(&self) -> Stopper {
        self.registered.stopper()
    }
}

/// Starts a planned query on the query threads. Its reader is waited for as long as `patience` says. `held` is dropped
/// when nothing of the query is left to read, or nobody to read it.
pub(super) fn start<P: Packer>(
    planned: Planned,
    packer: P,
    patience: Option<Duration>,
    held: impl Send + 'static,
) -> Result<Rows<P::Parcel>, Error> {
    let schema = planned.schema();
    let (statement, trace) = (Arc::clone(&planned.statement), planned.trace.clone());
    let (entry, commit) = planned.engine.observer.begin(statement, planned.origin, trace.clone())?;
    let entry = Arc::new(entry);
    let (feeder, parcels) = queue(AHEAD, patience, held);
    let engine = Arc::clone(&planned.engine);
    let Life { deadline, timeout } = planned.life.clone();
    let deadline = Box::pin(tokio::time::sleep_until(deadline));
    let registered = Arc::new(engine.running.register(planned.basis.clone()));
    let told = Told { entry: Arc::clone(&entry), commit };
    let driving = entry.within(drive(planned, packer, Arc::clone(&registered), feeder, told));
    let driver = engine.execute(under(trace, driving))?;
    registered.statement.driven_by(driver.ender());
    Ok(Rows { schema, parcels: Some(parcels), registered, driver, deadline, timeout, patience, entry })
}

/// What an observer is told of a query that runs, and was promised of its record.
struct Told {
    entry: Arc<Entry>,
    commit: Commit,
}

impl Told {
    /// Lets parcels leave once it is recorded that the query runs.
    async fn put<T>(&mut self, feeder: &Feeder<T>, parcel: T, size: usize) -> Result<(), Halt> {
        self.commit.done().await?;
        self.entry.bytes(size);
        Ok(feeder.put(parcel, size).await?)
    }
}

async fn drive<P: Packer>(
    planned: Planned,
    packer: P,
    registered: Arc<Registered>,
    feeder: Feeder<P::Parcel>,
    mut told: Told,
) {
    if !registered.may_execute() {
        return;
    }
    let engine = Arc::clone(&planned.engine);
    let passing = async {
        let since = Instant::now();
        let turn = engine.turn(&planned.basis.principal).await;
        told.entry.waited(since.elapsed());
        let (passed, _place) = match turn {
            Ok(Turn { of_group, of_all }) => (admitted(planned, of_group, packer, &feeder, &mut told).await, of_all),
            Err(error) => (Err(Halt::Failed(error)), None),
        };
        // All that the query held is free but its place among all, which what waits here keeps.
        match passed {
            Ok(()) => feeder.finish(Ok(())).await.inspect(|()| told.entry.ended(Outcome::Whole)),
            Err(Halt::Failed(error)) => {
                // An error can tell as much as a row.
                let error = told.commit.done().await.err().unwrap_or_else(|| engine.whose(error));
                told.entry.ended(Outcome::Failed(error.class));
                feeder.finish(Err(error)).await
            }
            Err(Halt::Unwanted(unwanted)) => Err(unwanted),
        }
    };
    let finished = tokio::select! {
        finished = passing => finished,
        () = demanded_otherwise(&engine, registered.relied()) => return registered.revoke(),
    };
    if finished == Err(Unwanted::Stalled) {
        told.entry.ended(Outcome::Failed(Class::Limit));
        engine.stalled.fetch_add(1, Ordering::Relaxed);
        tracing::info!("a statement was ended, since nobody read its rows");
    }
}

/// Ends when a catalog demands something else of the readers of a table than when it was planned.
async fn demanded_otherwise(engine: &Engine, relied: &Relied) {
    if !relied.on_demands() {
        return pending().await;
    }
    loop {
        tokio::time::sleep(STALENESS).await;
        if !relied.demanded(&engine.mesh(), &engine.lake).await {
            return;
        }
    }
}

/// Why a query does not go on.
enum Halt {
    Failed(Error),
    Unwanted(Unwanted),
}

impl From<Error> for Halt {
    fn from(error: Error) -> Self {
        Self::Failed(error)
    }
}

impl From<Unwanted> for Halt {
    fn from(unwanted: Unwanted) -> Self {
        Self::Unwanted(unwanted)
    }
}

/// What operators are given to run. Functions are found while planning, so it names none.
fn context(planned: &Planned, environment: Arc<RuntimeEnv>) -> Arc<TaskContext> {
    Arc::new(TaskContext::new(
        None,
        String::new(),
        planned.manner.config.clone(),
        HashMap::new(),
        HashMap::new(),
        HashMap::new(),
        HashMap::new(),
        environment,
    ))
}

/// Runs a query whose turn it is, within what its principal may use.
async fn admitted<P: Packer>(
    mut planned: Planned,
    of_group: Option<(Place, ResourceGroup)>,
    packer: P,
    feeder: &Feeder<P::Parcel>,
    told: &mut Told,
) -> Result<(), Halt> {
    let engine = Arc::clone(&planned.engine);
    let Some((place, group)) = of_group else {
        let environment = engine.environment(None)?;
        let context = context(&planned, environment);
        return spanned("execute", None, pass(planned, context, packer, feeder, told, None)).await;
    };
    let mut allowance = engine.allowance(group, &place);
    // Who may read and compute so much has an answer by that alone, and not since somebody asked before.
    let is_metered = allowance.most_scanned().is_some() || allowance.meter().is_some();
    planned.result = planned.result.filter(|_| !is_metered);
    let environment = engine.environment(Some(&allowance))?;
    let context = context(&planned, environment);
    let (meter, plan, most) = (allowance.meter(), Arc::clone(&planned.plan), allowance.most_scanned());
    let passing = spanned("execute", None, pass(planned, context, packer, feeder, told, Some(&mut allowance)));
    let passing = async {
        match meter {
            Some(meter) => meter.count(passing).await,
            None => Some(passing.await),
        }
    };
    let ended = tokio::select! {
        ended = passing => ended.ok_or(Allowance::computed_too_long as fn(&Allowance) -> Error),
        () = scanned(plan, most) => Err(Allowance::read_too_much as fn(&Allowance) -> Error),
    };
    match ended {
        Ok(Err(Halt::Failed(error))) => Err(Halt::Failed(allowance.told(error))),
        Ok(ended) => ended,
        Err(over) => Err(Halt::Failed(over(&allowance))),
    }
}

async fn pass<P: Packer>(
    planned: Planned,
    context: Arc<TaskContext>,
    mut packer: P,
    feeder: &Feeder<P::Parcel>,
    told: &mut Told,
    mut allowance: Option<&mut Allowance>,
) -> Result<(), Halt> {
    let Planned { plan, schema, guarded, valued, result, .. } = planned;
    let failed = |error: DataFusionError| {
        let error = failure::running(&error, guarded.as_ref());
        if valued { failure::valued(error) } else { error }
    };
    // It is told of when all that reads has been let go, however this ends.
    let _scans = Scans::of(&plan);
    let mut encoding = Stretch::of("encode");
    let found = result.as_ref().and_then(|slot| slot.found(&schema));
    let mut coming = result.filter(|_| found.is_none()).map(Slot::coming);
    let started = match found {
        Some(rows) => Ok(again(Arc::clone(&schema), rows)),
        None => starting(plan).and_then(|plan| execute_stream(plan, context)),
    };
    let mut batches = started.map_err(failed)?;
    while let Some(batch) = batches.next().await {
        let batch = batch.map_err(failed)?;
        coming = coming.and_then(|coming| coming.with(&batch));
        // A parameter may be NULL, so that the announced columns may be where these are not.
        let batch = batch.with_schema(Arc::clone(&schema)).map_err(|error| failed(error.into()))?;
        if let Some(allowance) = &mut allowance {
            allowance.rows(batch.num_rows())?;
        }
        told.entry.rows(batch.num_rows());
        encoding.turn(|| packer.load(batch))?;
        pack(&mut packer, feeder, told, &mut allowance, &mut encoding).await?;
    }
    encoding.turn(|| packer.close())?;
    pack(&mut packer, feeder, told, &mut allowance, &mut encoding).await?;
    // That there are no rows is an answer too.
    told.commit.done().await?;
    if let Some(coming) = coming {
        coming.whole();
    }
    Ok(())
}

/// Rows that were kept.
fn again(schema: SchemaRef, rows: Arc<Vec<RecordBatch>>) -> SendableRecordBatchStream {
    let batches = (0..rows.len()).filter_map(move |place| rows.get(place).cloned().map(Ok));
    make_cooperative(Box::pin(RecordBatchStreamAdapter::new(schema, stream::iter(batches))))
}

/// Lets all parcels leave that there are.
async fn pack<P: Packer>(
    packer: &mut P,
    feeder: &Feeder<P::Parcel>,
    told: &mut Told,
    allowance: &mut Option<&mut Allowance>,
    encoding: &mut Stretch,
) -> Result<(), Halt> {
    while let Some(parcel) = encoding.turn(|| packer.next())? {
        let size = P::size(&parcel);
        if let Some(allowance) = allowance {
            allowance.bytes(size)?;
        }
        told.put(feeder, parcel, size).await?;
    }
    Ok(())
}

impl<T> Rows<T> {
    /// Ends the query and what waits of it, with an error.
    fn end(&mut self, error: Error) -> Poll<Option<Result<T, Error>>> {
        self.entry.ended(Outcome::Failed(error.class));
        self.driver.ender().end();
        self.parcels = None;
        Poll::Ready(Some(Err(error)))
    }

    /// What made the parcels ended without a word: it was revoked, or it panicked.
    fn broken(&mut self, context: &mut Context<'_>) -> Poll<Option<Result<T, Error>>> {
        let Poll::Ready(ended) = Pin::new(&mut self.driver).poll(context) else { return Poll::Pending };
        match (self.registered.may_leave(context.waker()), ended) {
            (Leave::Clear | Leave::Wait, Err(error)) => self.end(failure::ended(&error)),
            (Leave::Stopped, _) => self.end(failure::stopped()),
            (Leave::Revoked, _) | (_, Ok(())) => self.end(failure::revoked()),
        }
    }
}

impl<T> Stream for Rows<T> {
    type Item = Result<T, Error>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let this = &mut *self;
        let Some(parcels) = this.parcels.as_ref() else { return Poll::Ready(None) };
        let next = match this.registered.may_leave(context.waker()) {
            Leave::Clear => parcels.poll_take(context),
            Leave::Wait => Poll::Pending,
            Leave::Revoked => return this.end(failure::revoked()),
            Leave::Stopped => return this.end(failure::stopped()),
        };
        match next {
            Poll::Ready(Ok(parcel)) => Poll::Ready(Some(Ok(parcel))),
            Poll::Ready(Err(End::Whole)) => {
                this.entry.ended(Outcome::Whole);
                this.parcels = None;
                Poll::Ready(None)
            }
            Poll::Ready(Err(End::Failed(error))) => this.end(error),
            Poll::Ready(Err(End::Stalled)) => this.end(failure::stalled(this.patience.unwrap_or_default())),
            Poll::Ready(Err(End::Broken)) => this.broken(context),
            Poll::Pending if this.deadline.as_mut().poll(context).is_ready() => {
                let error = failure::timeout(&this.timeout);
                this.end(error)
            }
            Poll::Pending => Poll::Pending,
        }
    }
}
