//! The life of a running query: its rows, its deadline, and its end when nobody wants them any more.

use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use datafusion::arrow::datatypes::SchemaRef;
use datafusion::arrow::record_batch::RecordBatch;
use datafusion::physical_plan::execute_stream;
use futures::{Stream, StreamExt};
use tokio::sync::mpsc;
use tokio_util::task::AbortOnDropHandle;

use super::{Planned, failure};
use crate::error::Error;

/// How many batches may wait for a slow reader.
const AHEAD: usize = 2;

/// The rows of a running query. Dropping it cancels the query.
pub struct Rows {
    schema: SchemaRef,
    batches: mpsc::Receiver<Result<RecordBatch, Error>>,
    driver: Option<AbortOnDropHandle<()>>,
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
}

/// Starts a planned query on the query threads.
pub(super) fn start(planned: Planned) -> Result<Rows, Error> {
    let schema = planned.schema();
    let (sender, batches) = mpsc::channel(AHEAD);
    let engine = Arc::clone(&planned.engine);
    let driver = engine.spawn(drive(planned, sender))?;
    Ok(Rows { schema, batches, driver: Some(driver) })
}

async fn drive(planned: Planned, sender: mpsc::Sender<Result<RecordBatch, Error>>) {
    let Planned { engine, state, plan, guarded, deadline, .. } = planned;
    let mut stream = match execute_stream(plan, state.task_ctx()) {
        Ok(stream) => stream,
        Err(error) => {
            let _ = sender.send(Err(failure::running(&error, guarded))).await;
            return;
        }
    };
    loop {
        let item = match tokio::time::timeout_at(deadline, stream.next()).await {
            Ok(None) => return,
            Ok(Some(Ok(batch))) => Ok(batch),
            Ok(Some(Err(error))) => Err(failure::running(&error, guarded)),
            Err(_) => Err(failure::timeout(engine.timeout)),
        };
        let last = item.is_err();
        // A closed channel is a reader that has gone, and then there is nobody to tell.
        if sender.send(item).await.is_err() || last {
            return;
        }
    }
}

impl Stream for Rows {
    type Item = Result<RecordBatch, Error>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let this = &mut *self;
        match this.batches.poll_recv(context) {
            Poll::Ready(None) => {}
            waiting => return waiting,
        }
        // The channel is closed: at the end of the rows, or because the driver panicked.
        let Some(driver) = this.driver.as_mut() else { return Poll::Ready(None) };
        match Pin::new(driver).poll(context) {
            Poll::Pending => Poll::Pending,
            Poll::Ready(ended) => {
                this.driver = None;
                Poll::Ready(ended.err().map(|error| Err(failure::ended(&error))))
            }
        }
    }
}
