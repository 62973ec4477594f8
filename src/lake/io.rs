//! The threads of connections, apart from those that plan and compute.
//!
//! A connection lives where it was opened, whoever uses it later. Opened on a thread that computes, it would stand still while
//! that thread's statement does not yield, and with it the requests of all others to that server.

use std::panic::resume_unwind;
use std::sync::LazyLock;

use tokio::runtime::{Builder, Handle, Runtime};
use tokio_util::task::AbortOnDropHandle;

/// How many there are. They pass bytes on, and open what is sealed.
const THREADS: usize = 2;

/// They are there from the first connection on, for as long as the process.
static RUNTIME: LazyLock<Option<Runtime>> = LazyLock::new(|| {
    let started = Builder::new_multi_thread().worker_threads(THREADS).thread_name("polder-io").enable_all().build();
    started.inspect_err(|error| tracing::warn!(%error, "connections have no threads of their own")).ok()
});

/// Where connections live; without, they live where they are used.
pub(super) fn threads() -> Option<&'static Handle> {
    RUNTIME.as_ref().map(Runtime::handle)
}

/// Does `work` there. Dropping it ends it.
pub(super) async fn apart<T: Send + 'static>(work: impl Future<Output = T> + Send + 'static) -> T {
    let Some(threads) = threads() else { return work.await };
    match AbortOnDropHandle::new(threads.spawn(work)).await {
        Ok(done) => done,
        Err(error) => match error.try_into_panic() {
            Ok(panic) => resume_unwind(panic),
            // The process ends.
            Err(_) => std::future::pending().await,
        },
    }
}
