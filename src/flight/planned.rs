//! Plans that were just made: what the call for the information planned, the call for the rows executes.
//!
//! A client asks for information and at once for rows, and both need the plan. So it is kept for a moment under the ticket
//! that was sealed with it, and taken once. It is executed only for the very principal that it was made for and in the very
//! mesh, by its epoch: after any change the statement is planned again. A replica that does not have it plans again too,
//! so nothing depends on it but time.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use polder_catalog::principal::Principal;
use tokio::time::Instant;

use crate::session::Planned;

/// How long a plan is kept.
const KEPT_FOR: Duration = Duration::from_secs(10);
/// How many plans are kept.
const MOST: usize = 128;
/// The most files that a plan names which is kept: a larger one is planned quickly beside what it reads.
const FILES: usize = 1_000;

/// Plans that were just made.
#[derive(Debug, Default)]
pub(super) struct Plans(Mutex<VecDeque<Kept>>);

#[derive(Debug)]
struct Kept {
    /// The ticket as it was sealed: no other has the same bytes.
    ticket: Vec<u8>,
    planned: Planned,
    until: Instant,
}

impl Plans {
    /// Keeps a plan under its ticket.
    pub(super) fn keep(&self, ticket: &[u8], planned: Planned) {
        if planned.files() > FILES {
            return;
        }
        let now = Instant::now();
        let mut plans = self.plans();
        plans.push_back(Kept { ticket: ticket.to_owned(), planned, until: now + KEPT_FOR });
        let late = plans.iter().take_while(|kept| kept.until <= now).count();
        let gone = late.max(plans.len().saturating_sub(MOST));
        let gone: Vec<Kept> = plans.drain(..gone).collect();
        // A plan takes a while to be taken apart.
        drop(plans);
        drop(gone);
    }

    /// Takes the plan of a ticket that was opened for this principal, if it is still what would be planned now.
    pub(super) fn take(&self, ticket: &[u8], principal: &Principal) -> Option<Planned> {
        let mut plans = self.plans();
        let at = plans.iter().position(|kept| kept.ticket == ticket)?;
        let kept = plans.remove(at)?;
        drop(plans);
        (kept.until > Instant::now() && kept.planned.holds_for(principal)).then(|| kept.planned.anew())
    }

    fn plans(&self) -> MutexGuard<'_, VecDeque<Kept>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use std::collections::BTreeMap;
    use std::sync::Arc;

    use polder_catalog::mesh::Mesh;

    use super::*;
    use crate::served::anonymous;
    use crate::session::{Engine, Options, Pins};

    fn mesh() -> Mesh {
        Mesh::from_files(&BTreeMap::from([("mesh.yaml".to_owned(), "mesh: m".to_owned())])).unwrap()
    }

    fn engine() -> Arc<Engine> {
        Engine::start(mesh(), Options { threads: Some(1), ..Options::default() }).unwrap()
    }

    async fn planned(engine: &Arc<Engine>) -> Planned {
        engine.plan(&anonymous(), "SELECT 1", &Pins::new()).await.unwrap()
    }

    #[tokio::test]
    async fn a_plan_is_taken_once_by_the_one_that_it_was_made_for() {
        let (plans, engine) = (Plans::default(), engine());
        plans.keep(b"ticket", planned(&engine).await);
        assert!(plans.take(b"another", &anonymous()).is_none());
        assert!(plans.take(b"ticket", &anonymous()).is_some());
        assert!(plans.take(b"ticket", &anonymous()).is_none());

        plans.keep(b"ticket", planned(&engine).await);
        let somebody = Principal { purpose: Some("fraud".to_owned()), ..anonymous() };
        assert!(plans.take(b"ticket", &somebody).is_none());
    }

    #[tokio::test]
    async fn a_plan_does_not_outlive_the_mesh_that_it_was_made_in() {
        let (plans, engine) = (Plans::default(), engine());
        plans.keep(b"ticket", planned(&engine).await);
        engine.serve(mesh());
        assert!(plans.take(b"ticket", &anonymous()).is_none());
    }

    #[tokio::test]
    async fn only_so_many_are_kept_and_not_for_long() {
        let (plans, engine) = (Plans::default(), engine());
        for number in 0..=MOST {
            plans.keep(&number.to_be_bytes(), planned(&engine).await);
        }
        assert_eq!(plans.plans().len(), MOST);
        assert!(plans.take(&0_usize.to_be_bytes(), &anonymous()).is_none());
        plans.plans().iter_mut().for_each(|kept| kept.until = Instant::now());
        assert!(plans.take(&MOST.to_be_bytes(), &anonymous()).is_none());
        plans.keep(b"ticket", planned(&engine).await);
        assert_eq!(plans.plans().len(), 1);
    }
}
