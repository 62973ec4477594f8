//! Which statement is worked for, so that what is logged meanwhile can name it.

use std::sync::Arc;

use futures::future::{BoxFuture, FutureExt as _};

use super::recent::Recorded;

tokio::task_local! {
    static STATEMENT: Arc<Recorded>;
}

/// Does `work` for a statement.
pub(super) fn within<'a, T: 'a>(
    recorded: Arc<Recorded>,
    work: impl Future<Output = T> + Send + 'a,
) -> BoxFuture<'a, T> {
    STATEMENT.scope(recorded, work).boxed()
}

/// Does `work`, which is started on a task of its own, for the statement that this one is for.
pub fn alongside<T: 'static>(work: BoxFuture<'static, T>) -> BoxFuture<'static, T> {
    match STATEMENT.try_with(Arc::clone) {
        Ok(recorded) => within(recorded, work),
        Err(_) => work,
    }
}

/// The same for what is done on a thread of its own.
pub fn alongside_blocking<T: 'static>(work: Box<dyn FnOnce() -> T + Send>) -> Box<dyn FnOnce() -> T + Send> {
    match STATEMENT.try_with(Arc::clone) {
        Ok(recorded) => Box::new(move || STATEMENT.sync_scope(recorded, work)),
        Err(_) => work,
    }
}

/// The id of the statement that is worked for, by which its records know it.
pub fn statement() -> Option<String> {
    STATEMENT.try_with(|recorded| recorded.id().to_owned()).ok()
}
