//! The same work on many things, on as many threads as the machine has; what comes out is in the order of the things.

use std::num::NonZero;
use std::sync::{Mutex, PoisonError};
use std::thread;

/// Cedar parses and checks by recursion, and its parser does not watch the stack: in a debug build a legal policy can
/// need more than the two megabytes of an ordinary thread.
const STACK: usize = 128 << 20;

/// Does `work` on each of `things`. `None` when a thread could not be started, or failed.
pub(crate) fn each<T: Send, R: Send>(things: Vec<T>, work: impl Fn(T) -> R + Sync) -> Option<Vec<R>> {
    let threads = thread::available_parallelism().map_or(1, NonZero::get).min(things.len());
    let rest = Mutex::new(things.into_iter().enumerate());
    let next = || rest.lock().unwrap_or_else(PoisonError::into_inner).next();
    let worker = || std::iter::from_fn(|| next().map(|(place, thing)| (place, work(thing)))).collect::<Vec<_>>();
    let done = thread::scope(|scope| {
        let start = || thread::Builder::new().name("mesh".into()).stack_size(STACK).spawn_scoped(scope, worker);
        let workers: Vec<_> = (0..threads).map(|_| start()).collect();
        let joined = workers.into_iter().map(|worker| worker.ok()?.join().ok());
        // All of them are waited for, whatever the first one says.
        joined.collect::<Vec<_>>().into_iter().collect::<Option<Vec<_>>>()
    })?;
    let mut done: Vec<(usize, R)> = done.into_iter().flatten().collect();
    done.sort_by_key(|(place, _)| *place);
    Some(done.into_iter().map(|(_, result)| result).collect())
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::panic, reason = "tests")]
mod tests {
    use super::*;

    #[test]
    fn results_are_in_the_order_of_the_things() {
        let doubled = each((0..1000).collect(), |n: usize| n * 2).unwrap();
        assert!(doubled.into_iter().eq((0..1000).map(|n| n * 2)));
        assert_eq!(each(Vec::<u8>::new(), |n| n), Some(Vec::new()));
    }

    #[test]
    fn one_failure_is_the_failure_of_all() {
        let quiet = std::panic::take_hook();
        std::panic::set_hook(Box::new(|_| {}));
        let done = each((0..100).collect(), |n: usize| if n == 50 { panic!("on purpose") } else { n });
        std::panic::set_hook(quiet);
        assert_eq!(done, None);
    }
}
