//! The lanes: how many statements of a resource group run at once, and whose turn is next.
//!
//! In each group people take turns, and the statements of one wait in the order in which they came: somebody with a
//! hundred of them delays another one's by one at most. One that nobody wants any more leaves its lane by itself.

use std::collections::{BTreeMap, VecDeque};
use std::fmt::Write as _;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use polder_catalog::mesh::ResourceGroup;
use tokio::sync::oneshot;

use super::memory::Used;
use crate::error::{Class, Error};

/// How many statements wait in a group that does not say it.
const WAITING: usize = 256;
/// How long a statement waits in a group that does not say it.
const WAIT: Duration = Duration::from_secs(60);

/// The lanes of all resource groups.
#[derive(Debug, Default)]
pub(in crate::session) struct Lanes(Mutex<BTreeMap<String, Lane>>);

#[derive(Debug, Default)]
struct Lane {
    at_once: Option<usize>,
    running: usize,
    /// Those who wait, by their principals, the next one first.
    turns: VecDeque<(String, VecDeque<oneshot::Sender<Place>>)>,
    used: Arc<Used>,
}

/// A place among the statements of a group that run, until it is dropped.
#[derive(Debug)]
pub(in crate::session) struct Place {
    lanes: Option<Arc<Lanes>>,
    group: String,
    used: Arc<Used>,
}

impl Place {
    /// What the group's statements use together.
    pub(in crate::session) fn used(&self) -> Arc<Used> {
        Arc::clone(&self.used)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        if let Some(lanes) = self.lanes.take() {
            lanes.left(&self.group);
        }
    }
}

impl Lanes {
    fn lock(&self) -> MutexGuard<'_, BTreeMap<String, Lane>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes a place for a statement of `principal`, once it is its turn.
    ///
    /// # Errors
    /// `Limit`, when too many wait already, or when its turn does not come in time.
    pub(in crate::session) async fn enter(
        self: &Arc<Self>,
        group: &ResourceGroup,
        principal: &str,
    ) -> Result<Place, Error> {
        let (turn, wait) = {
            let mut lanes = self.lock();
            let lane = lanes.entry(group.name.clone()).or_default();
            lane.at_once = group.at_once;
            if lane.has_room() && lane.turns.is_empty() {
                return Ok(lane.take(self, &group.name));
            }
            lane.forget_unwanted();
            let waiting = lane.waiting();
            if waiting >= group.waiting.unwrap_or(WAITING) {
                return Err(full(group, lane.running, waiting));
            }
            let (theirs, turn) = oneshot::channel();
            match lane.turns.iter_mut().find(|(waits, _)| waits == principal) {
                Some((_, statements)) => statements.push_back(theirs),
                None => lane.turns.push_back((principal.to_owned(), VecDeque::from([theirs]))),
            }
            // The group may have been given more places since those who wait came.
            lane.next(self, &group.name);
            (turn, group.wait.unwrap_or(WAIT))
        };
        match tokio::time::timeout(wait, turn).await {
            Ok(Ok(place)) => Ok(place),
            Ok(Err(_)) | Err(_) => Err(late(group, wait)),
        }
    }

    fn left(self: &Arc<Self>, group: &str) {
        let mut lanes = self.lock();
        if let Some(lane) = lanes.get_mut(group) {
            lane.running = lane.running.saturating_sub(1);
            lane.next(self, group);
            if lane.running == 0 && lane.turns.is_empty() {
                lanes.remove(group);
            }
        }
    }

    /// How many statements run and wait, as Prometheus reads it: of groups that have any.
    pub(in crate::session) fn render(&self) -> String {
        let mut text = "# HELP polder_statements Statements of resource groups that are at work now.\n\
                        # TYPE polder_statements gauge\n"
            .to_owned();
        for (group, lane) in self.lock().iter() {
            let group = group.replace(['\\', '"', '\n'], "_");
            for (state, count) in [("running", lane.running), ("waiting", lane.waiting())] {
                let _into_text = writeln!(text, "polder_statements{{group=\"{group}\",state=\"{state}\"}} {count}");
            }
        }
        text
    }
}

impl Lane {
    fn has_room(&self) -> bool {
        self.at_once.is_none_or(|at_once| self.running < at_once)
    }

    fn waiting(&self) -> usize {
        self.turns.iter().map(|(_, statements)| statements.iter().filter(|turn| !turn.is_closed()).count()).sum()
    }

    fn forget_unwanted(&mut self) {
        self.turns.retain_mut(|(_, statements)| {
            statements.retain(|turn| !turn.is_closed());
            !statements.is_empty()
        });
    }

    fn take(&mut self, lanes: &Arc<Lanes>, group: &str) -> Place {
        self.running = self.running.saturating_add(1);
        Place { lanes: Some(Arc::clone(lanes)), group: group.to_owned(), used: Arc::clone(&self.used) }
    }

    /// Gives free places to those whose turn it is.
    fn next(&mut self, lanes: &Arc<Lanes>, group: &str) {
        while self.has_room() {
            let Some((principal, mut statements)) = self.turns.pop_front() else { return };
            let Some(turn) = statements.pop_front() else { continue };
            if !statements.is_empty() {
                self.turns.push_back((principal, statements));
            }
            let place = self.take(lanes, group);
            if let Err(mut unwanted) = turn.send(place) {
                // It left its lane while it waited. The lanes are locked here, so that its drop must not look at them.
                unwanted.lanes = None;
                self.running = self.running.saturating_sub(1);
            }
        }
    }
}

fn full(group: &ResourceGroup, running: usize, waiting: usize) -> Error {
    let name = &group.name;
    let message = format!(
        "{running} statements of the resource group `{name}` run and {waiting} wait, which is the most at once"
    );
    Error::new(Class::Limit, message).help("try again in a moment, or cancel what you do not need any more")
}

fn late(group: &ResourceGroup, wait: Duration) -> Error {
    let message = format!("the statement waited for {wait:?} behind others of the resource group `{}`", group.name);
    Error::new(Class::Limit, message).help("try again in a moment, or cancel what you do not need any more")
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests")]
mod tests {
    use std::collections::BTreeMap;

    use futures::poll;
    use polder_catalog::mesh::Mesh;

    use super::*;

    fn group(limits: &str) -> ResourceGroup {
        let text = format!("mesh: m\nlimits: [{{ name: few, {limits} }}]\n");
        let mesh = Mesh::from_files(&BTreeMap::from([("mesh.yaml".to_owned(), text)])).unwrap();
        mesh.limits_of(&crate::served::anonymous()).unwrap().clone()
    }

    #[tokio::test]
    async fn those_who_wait_take_turns() {
        let (lanes, group) = (Arc::new(Lanes::default()), group("at_once: 1"));
        let running = lanes.enter(&group, "ada").await.unwrap();
        let mut of_ada: Vec<_> = (0..3).map(|_| Box::pin(lanes.enter(&group, "ada"))).collect();
        for waiting in &mut of_ada {
            assert!(poll!(waiting).is_pending());
        }
        let mut of_bob = Box::pin(lanes.enter(&group, "bob"));
        assert!(poll!(&mut of_bob).is_pending());
        assert!(lanes.render().contains("polder_statements{group=\"few\",state=\"waiting\"} 4\n"));
        drop(running);
        let first = of_ada.remove(0).await.unwrap();
        assert!(poll!(&mut of_bob).is_pending());
        drop(first);
        let bobs = of_bob.await.unwrap();
        assert!(poll!(&mut of_ada[0]).is_pending(), "it is not her turn again before his");
        drop(bobs);
        drop(of_ada.remove(0).await.unwrap());
        drop(of_ada.remove(0).await.unwrap());
        assert!(lanes.lock().is_empty(), "what ended is not kept");
    }

    #[tokio::test]
    async fn a_lane_that_is_full_says_so_and_one_that_leaves_it_makes_room() {
        let (lanes, group) = (Arc::new(Lanes::default()), group("at_once: 1, waiting: 1, wait: 50ms"));
        let running = lanes.enter(&group, "ada").await.unwrap();
        let mut waiting = Box::pin(lanes.enter(&group, "bob"));
        assert!(poll!(&mut waiting).is_pending());
        let error = lanes.enter(&group, "eve").await.unwrap_err();
        assert_eq!(error.class, Class::Limit);
        assert!(error.to_string().contains("1 statements of the resource group `few` run and 1 wait"), "{error}");
        drop(waiting);
        let error = lanes.enter(&group, "eve").await.unwrap_err();
        assert!(error.to_string().contains("waited for 50ms"), "{error}");
        drop(running);
        assert!(lanes.enter(&group, "eve").await.is_ok());
    }

    #[tokio::test]
    async fn a_group_that_is_given_more_places_uses_them() {
        let lanes = Arc::new(Lanes::default());
        let _running = lanes.enter(&group("at_once: 1"), "ada").await.unwrap();
        let few = group("at_once: 1");
        let mut waiting = Box::pin(lanes.enter(&few, "ada"));
        assert!(poll!(&mut waiting).is_pending());
        let more = group("at_once: 3");
        let _third = lanes.enter(&more, "bob").await.unwrap();
        waiting.await.unwrap();
    }
}
