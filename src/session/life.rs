//! The life of a running query: its rows, its deadline, and its end when nobody wants them any more.

use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use datafusion::arrow::datatypes::SchemaRef;
use datafusion::arrow::record_batch::RecordBatch;
use datafusion::error::DataFusionError;
use datafusion::physical_plan::execute_stream;
use futures::{Stream, StreamExt};
use tokio::sync::mpsc;
use tokio::time::{Instant, Sleep};
use tokio_util::task::AbortOnDropHandle;

use super::running::{Leave, Registered, Stopper};
use super::{Planned, failure};
use crate::error::Error;

/// How many batches may wait for a slow reader.
const AHEAD: usize = 2;

/// How long a statement may live.
#[derive(Debug, Clone, Copy)]
pub(super) struct Life {
    /// When it ends at the latest.
    pub(super) deadline: Instant,
    /// The time that it was given.
    pub(super) timeout: Duration,
}

/// The rows of a running query. Dropping it cancels the query.
///
/// A batch leaves only while the mesh that is served allows the query, also one that waited here. The deadline stands
/// here and not beside the work: an operator that computes for long between two batches would not
/// see it, and its caller would wait.
pub struct Rows {
    schema: SchemaRef,
    /// Those that wait; none once the query was ended.
    batches: Option<mpsc::Receiver<Result<RecordBatch, Error>>>,
    registered: Arc<Registered>,
    driver: Option<AbortOnDropHandle<()>>,
    deadline: Pin<Box<Sleep>>,
    timeout: Duration,
}

impl fmt::Debug for Rows {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Rows").field("schema", &self.schema).finish_non_exhaustive()
    }
}

impl Rows {
    /// The columns of the result.
    pub fn schema(&self) -> SchemaRef {
        Arc::clone(&self.schema)
    }

    /// What ends it from elsewhere, also while nobody reads.
    pub fn stopper(&self) -> Stopper {
        self.registered.stopper()
    }
}

/// Starts a planned query on the query threads.
pub(super) fn start(planned: Planned) -> Result<Rows, Error> {
    let schema = planned.schema();
    let (sender, batches) = mpsc::channel(AHEAD);
    let engine = Arc::clone(&planned.engine);
    let Life { deadline, timeout } = planned.life;
    let deadline = Box::pin(tokio::time::sleep_until(deadline));
    let registered = Arc::new(engine.running.register(planned.basis.clone()));
    let driver = engine.execute(drive(planned, Arc::clone(&registered), sender))?;
    registered.statement.driven_by(driver.abort_handle());
    let (batches, driver) = (Some(batches), Some(driver));
    Ok(Rows { schema, batches, registered, driver, deadline, timeout })
}

async fn drive(planned: Planned, registered: Arc<Registered>, sender: mpsc::Sender<Result<RecordBatch, Error>>) {
    if !registered.may_execute() {
        return;
    }
    let Planned { state, plan, schema, guarded, valued, .. } = planned;
    let failed = |error: DataFusionError| {
        let error = failure::running(&error, guarded.as_ref());
        if valued { failure::valued(error) } else { error }
    };
    let mut stream = match execute_stream(plan, state.task_ctx()) {
        Ok(stream) => stream,
        Err(error) => {
            let _ = sender.send(Err(failed(error))).await;
            return;
        }
    };
    loop {
        let Some(item) = stream.next().await else { return };
        // A parameter may be NULL, so that the announced columns may be where these are not.
        let item = item.and_then(|batch| Ok(batch.with_schema(Arc::clone(&schema))?)).map_err(failed);
        let last = item.is_err();
        // A closed channel is a reader that has gone, and then there is nobody to tell.
        if sender.send(item).await.is_err() || last {
            return;
        }
    }
}

impl Rows {
    /// Ends the query and what waits of it, with an error.
    fn end(&mut self, error: Error) -> Poll<Option<Result<RecordBatch, Error>>> {
        self.driver = None;
        self.batches = None;
        Poll::Ready(Some(Err(error)))
    }
}

impl Stream for Rows {
    type Item = Result<RecordBatch, Error>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let this = &mut *self;
        let Some(batches) = this.batches.as_mut() else { return Poll::Ready(None) };
        let next = match this.registered.may_leave(context.waker()) {
            Leave::Clear => batches.poll_recv(context),
            Leave::Wait => Poll::Pending,
            Leave::Revoked => return this.end(failure::revoked()),
            Leave::Stopped => return this.end(failure::stopped()),
        };
        match next {
            Poll::Ready(Some(item)) => return Poll::Ready(Some(item)),
            Poll::Ready(None) => {}
            Poll::Pending if this.driver.is_some() && this.deadline.as_mut().poll(context).is_ready() => {
                let error = failure::timeout(this.timeout);
                return this.end(error);
            }
            Poll::Pending => return Poll::Pending,
        }
        // The channel is closed: at the end of the rows, or because the driver panicked.
        let Some(driver) = this.driver.as_mut() else { return Poll::Ready(None) };
        match Pin::new(driver).poll(context) {
            Poll::Pending => Poll::Pending,
            Poll::Ready(ended) => {
                this.driver = None;
                // It may have ended because it was revoked after the look above.
                match this.registered.may_leave(context.waker()) {
                    Leave::Revoked => this.end(failure::revoked()),
                    Leave::Stopped => this.end(failure::stopped()),
                    Leave::Clear | Leave::Wait => Poll::Ready(ended.err().map(|error| Err(failure::ended(&error)))),
                }
            }
        }
    }
}
