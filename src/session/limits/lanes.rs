//! The lanes: how many statements of a resource group, and of all people together, run at once, how many are planned, and
//! whose turn is next.
//!
//! In each lane people take turns, and the statements of one wait in the order in which they came: somebody with a
//! hundred of them delays another one's by one at most. One that nobody wants any more leaves its lane by itself. In the
//! lane of all people some places are for those who have none: however many statements somebody does not read to their
//! end, others still have their turns.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::fmt::{self, Write as _};
use std::future::poll_fn;
use std::mem;
use std::pin::pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::Poll;
use std::time::Duration;

use futures::poll;
use polder_catalog::mesh::ResourceGroup;
use tokio::sync::oneshot;

use super::memory::Used;
use crate::error::{Class, Error};
use crate::observe::spanned;

/// How many statements wait in a group that does not say it.
const WAITING: usize = 256;
/// How long a statement waits in a group that does not say it.
const WAIT: Duration = Duration::from_secs(60);
/// Of so many places of all people together one is for those who have none.
const SPARED: usize = 4;
/// How many statements of all people together wait. Each is planned and holds little else.
const ALL_WAITING: usize = 1024;

/// Whose statements are in a lane.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
enum Whose {
    All,
    /// Those that are planned.
    Planner,
    Group(String),
}

impl fmt::Display for Whose {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::All => f.write_str("the server"),
            Self::Planner => f.write_str("the server's planner"),
            Self::Group(name) => write!(f, "the resource group `{name}`"),
        }
    }
}

/// How many statements of a lane run, how many wait behind them, and how long.
#[derive(Debug, Clone)]
pub(in crate::session) struct Bound {
    whose: Whose,
    at_once: Option<usize>,
    /// How many of these are for those who have none.
    spared: usize,
    waiting: usize,
    wait: Duration,
}

impl Bound {
    /// That of a resource group.
    pub(in crate::session) fn of(group: &ResourceGroup) -> Self {
        Self {
            whose: Whose::Group(group.name.clone()),
            at_once: group.at_once,
            spared: 0,
            waiting: group.waiting.unwrap_or(WAITING),
            wait: group.wait.unwrap_or(WAIT),
        }
    }

    /// That of all statements together.
    pub(in crate::session) fn of_all(at_once: usize, wait: Duration) -> Self {
        Self { whose: Whose::All, at_once: Some(at_once), spared: at_once / SPARED, waiting: ALL_WAITING, wait }
    }

    /// That of all that are planned, on so many threads, of which some are for those who have none.
    pub(in crate::session) fn of_planner(threads: usize, spared: usize, wait: Duration) -> Self {
        Self { whose: Whose::Planner, spared, ..Self::of_all(threads, wait) }
    }
}

/// The lanes of all resource groups, and the one of all statements together.
#[derive(Debug, Default)]
pub(in crate::session) struct Lanes(Mutex<BTreeMap<Whose, Lane>>);

#[derive(Debug, Default)]
struct Lane {
    at_once: Option<usize>,
    spared: usize,
    running: usize,
    /// How many of them each principal has.
    of_each: HashMap<Arc<str>, usize>,
    /// Those who wait, by their principals, the next one first.
    turns: VecDeque<(String, VecDeque<oneshot::Sender<Place>>)>,
    used: Arc<Used>,
}

/// A place among the statements of a lane that run, until it is dropped.
#[derive(Debug)]
pub(in crate::session) struct Place {
    lanes: Option<Arc<Lanes>>,
    whose: Whose,
    principal: Arc<str>,
    used: Arc<Used>,
}

impl Place {
    /// What the lane's statements use together.
    pub(in crate::session) fn used(&self) -> Arc<Used> {
        Arc::clone(&self.used)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        if let Some(lanes) = self.lanes.take() {
            lanes.left(&self.whose, &self.principal);
        }
    }
}

impl Lanes {
    fn lock(&self) -> MutexGuard<'_, BTreeMap<Whose, Lane>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes a place for a statement of `principal`, once it is its turn.
    ///
    /// # Errors
    /// `Limit`, when too many wait already, or when its turn does not come in time.
    pub(in crate::session) async fn enter(self: &Arc<Self>, bound: &Bound, principal: &str) -> Result<Place, Error> {
        let turn = {
            let mut lanes = self.lock();
            let lane = lanes.entry(bound.whose.clone()).or_default();
            (lane.at_once, lane.spared) = (bound.at_once, bound.spared);
            lane.forget_unwanted();
            // The lane may have been given more places since those who wait came.
            lane.next(self, &bound.whose);
            if lane.has_room_for(principal) {
                return Ok(lane.take(self, &bound.whose, principal.into()));
            }
            let waiting = lane.waiting();
            if waiting >= bound.waiting {
                return Err(full(&bound.whose, lane.running, waiting));
            }
            let (theirs, turn) = oneshot::channel();
            match lane.turns.iter_mut().find(|(waits, _)| waits == principal) {
                Some((_, statements)) => statements.push_back(theirs),
                None => lane.turns.push_back((principal.to_owned(), VecDeque::from([theirs]))),
            }
            turn
        };
        match spanned("wait", None, tokio::time::timeout(bound.wait, turn)).await {
            Ok(Ok(place)) => Ok(place),
            Ok(Err(_)) | Err(_) => Err(late(bound)),
        }
    }

    /// Does `work` of `principal`, which has a place whenever it computes, and none while it waits for something else, as for
    /// a catalog that does not answer.
    ///
    /// # Errors
    /// As of [`Self::enter`], and those of the work.
    pub(in crate::session) async fn take_turns<T>(
        self: &Arc<Self>,
        bound: &Bound,
        principal: &str,
        work: impl Future<Output = Result<T, Error>>,
    ) -> Result<T, Error> {
        let mut work = pin!(work);
        loop {
            let place = self.enter(bound, principal).await?;
            if let Poll::Ready(done) = poll!(work.as_mut()) {
                return done;
            }
            drop(place);
            woken().await;
        }
    }

    fn left(self: &Arc<Self>, whose: &Whose, principal: &str) {
        let mut lanes = self.lock();
        if let Some(lane) = lanes.get_mut(whose) {
            lane.leave(principal);
            lane.next(self, whose);
            if lane.running == 0 && lane.turns.is_empty() {
                lanes.remove(whose);
            }
        }
    }

    /// How many statements run and wait, as Prometheus reads it: of all together where that is bounded, and of groups
    /// that have any.
    pub(in crate::session) fn render(&self, all: Option<&Bound>) -> String {
        let lanes = self.lock();
        let mut text = String::new();
        if let Some(most) = all.and_then(|all| all.at_once) {
            text.push_str(
                "# HELP polder_places Places of statements, of all people together.\n# TYPE polder_places gauge\n",
            );
            let (running, waiting) = lanes.get(&Whose::All).map_or((0, 0), |lane| (lane.running, lane.waiting()));
            for (state, count) in [("all", most), ("taken", running), ("waited_for", waiting)] {
                let _into_text = writeln!(text, "polder_places{{state=\"{state}\"}} {count}");
            }
        }
        text.push_str(
            "# HELP polder_statements Statements of resource groups that are at work now.\n\
             # TYPE polder_statements gauge\n",
        );
        for (whose, lane) in lanes.iter() {
            let Whose::Group(group) = whose else { continue };
            let group = group.replace(['\\', '"', '\n'], "_");
            for (state, count) in [("running", lane.running), ("waiting", lane.waiting())] {
                let _into_text = writeln!(text, "polder_statements{{group=\"{group}\",state=\"{state}\"}} {count}");
            }
        }
        text
    }
}

impl Lane {
    fn has_room_for(&self, principal: &str) -> bool {
        let spared = if self.of_each.contains_key(principal) { self.spared } else { 0 };
        self.at_once.is_none_or(|at_once| self.running.saturating_add(spared) < at_once)
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

    fn take(&mut self, lanes: &Arc<Lanes>, whose: &Whose, principal: Arc<str>) -> Place {
        self.running = self.running.saturating_add(1);
        let theirs = self.of_each.entry(Arc::clone(&principal)).or_default();
        *theirs = theirs.saturating_add(1);
        Place { lanes: Some(Arc::clone(lanes)), whose: whose.clone(), principal, used: Arc::clone(&self.used) }
    }

    fn leave(&mut self, principal: &str) {
        self.running = self.running.saturating_sub(1);
        if let Some(theirs) = self.of_each.get_mut(principal) {
            *theirs = theirs.saturating_sub(1);
            if *theirs == 0 {
                self.of_each.remove(principal);
            }
        }
    }

    /// Gives free places to those whose turn it is.
    fn next(&mut self, lanes: &Arc<Lanes>, whose: &Whose) {
        while let Some(place) = self.turns.iter().position(|(principal, _)| self.has_room_for(principal)) {
            let Some((principal, mut statements)) = self.turns.remove(place) else { return };
            let Some(turn) = statements.pop_front() else { continue };
            let place = self.take(lanes, whose, principal.as_str().into());
            if !statements.is_empty() {
                self.turns.push_back((principal, statements));
            }
            if let Err(mut unwanted) = turn.send(place) {
                // It left its lane while it waited. The lanes are locked here, so that its drop must not look at them.
                unwanted.lanes = None;
                self.leave(&unwanted.principal);
            }
        }
    }
}

/// Waits until something that this task asked before has come.
async fn woken() {
    let mut asked = false;
    poll_fn(|_| if mem::replace(&mut asked, true) { Poll::Ready(()) } else { Poll::Pending }).await;
}

fn full(whose: &Whose, running: usize, waiting: usize) -> Error {
    let message = format!("{running} statements of {whose} run and {waiting} wait, which is the most at once");
    Error::new(Class::Limit, message).help(whose.help())
}

fn late(bound: &Bound) -> Error {
    let Bound { whose, wait, .. } = bound;
    let message = match (whose, bound.at_once) {
        (Whose::All, Some(most)) => {
            format!("the statement waited for {wait:?} behind others of {whose}, which runs {most} at once")
        }
        _ => format!("the statement waited for {wait:?} behind others of {whose}"),
    };
    Error::new(Class::Limit, message).help(whose.help())
}

impl Whose {
    fn help(&self) -> &'static str {
        match self {
            Self::All => {
                "try again in a moment, and read or cancel what you have begun; `polder serve --at-once` says how many run"
            }
            Self::Planner => "try again in a moment, with statements that are shorter",
            Self::Group(_) => "try again in a moment, or cancel what you do not need any more",
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests")]
mod tests {
    use std::collections::BTreeMap;

    use polder_catalog::mesh::Mesh;

    use super::*;

    fn group(limits: &str) -> Bound {
        let text = format!("mesh: m\nlimits: [{{ name: few, {limits} }}]\n");
        let mesh = Mesh::from_files(&BTreeMap::from([("mesh.yaml".to_owned(), text)])).unwrap();
        Bound::of(mesh.limits_of(&crate::served::anonymous()).unwrap())
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
        assert!(lanes.render(None).contains("polder_statements{group=\"few\",state=\"waiting\"} 4\n"));
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
    async fn work_that_waits_for_something_else_has_no_place() {
        let (lanes, planner) = (Arc::new(Lanes::default()), Bound::of_planner(1, 0, Duration::from_millis(50)));
        let (answers, catalog) = oneshot::channel();
        let asking = async { catalog.await.map_err(|_| Error::new(Class::Bug, "nobody answers")) };
        let mut asks = Box::pin(lanes.take_turns(&planner, "ada", asking));
        assert!(poll!(&mut asks).is_pending());
        let computing = lanes.enter(&planner, "ada").await.unwrap();
        answers.send(1).unwrap();
        assert!(poll!(&mut asks).is_pending(), "another has the place now");
        drop(computing);
        assert_eq!(asks.await.unwrap(), 1);
        assert!(lanes.lock().is_empty());
    }

    #[tokio::test]
    async fn somebody_who_fills_the_lane_of_all_leaves_places_for_those_who_have_none() {
        let (lanes, all) = (Arc::new(Lanes::default()), Bound::of_all(4, WAIT));
        let mut of_ada = Vec::new();
        for _ in 0..3 {
            of_ada.push(lanes.enter(&all, "ada").await.unwrap());
        }
        let mut more_of_ada = Box::pin(lanes.enter(&all, "ada"));
        assert!(poll!(&mut more_of_ada).is_pending(), "the last place is not for her");
        let of_bob = lanes.enter(&all, "bob").await.unwrap();
        let mut more_of_bob = Box::pin(lanes.enter(&all, "bob"));
        assert!(poll!(&mut more_of_bob).is_pending());
        drop(of_bob);
        assert!(poll!(&mut more_of_ada).is_pending() && poll!(&mut more_of_bob).is_ready(), "he has none any more");
        drop(of_ada);
        assert!(more_of_ada.await.is_ok());
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

    #[tokio::test]
    async fn all_statements_together_have_places_beside_those_of_their_groups() {
        let lanes = Arc::new(Lanes::default());
        let all = Bound::of_all(2, Duration::from_millis(50));
        let few = group("at_once: 1");
        let _of_group = lanes.enter(&few, "ada").await.unwrap();
        let first = lanes.enter(&all, "ada").await.unwrap();
        let _second = lanes.enter(&all, "ada").await.unwrap();
        let error = lanes.enter(&all, "bob").await.unwrap_err();
        assert_eq!(error.class, Class::Limit);
        assert!(
            error.to_string().contains("waited for 50ms behind others of the server, which runs 2 at once"),
            "{error}"
        );
        let mut waiting = Box::pin(lanes.enter(&all, "bob"));
        assert!(poll!(&mut waiting).is_pending());
        let text = lanes.render(Some(&all));
        for line in ["all\"} 2", "taken\"} 2", "waited_for\"} 1"] {
            assert!(text.contains(&format!("\npolder_places{{state=\"{line}\n")), "{text}");
        }
        drop(first);
        assert!(waiting.await.is_ok());
    }
}
