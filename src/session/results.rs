//! Results that are kept: the rows of a statement, for the next one that would give the same.
//!
//! ```text
//! optimized plan with its values  ┐
//! of each table: its snapshot,    ├─ kept? ── its rows, as if they were computed
//!   what is shown of it, and how  │    `──── computed, and kept when they came to their end
//! the mesh's epoch                ┘
//! ```
//!
//! A statement that finds its rows here was admitted, resolved, decided, planned and verified like any other, waits for its
//! turn, and is recorded and counted; what is spared is the reading and the computing. Nothing makes a result invalid:
//! what could change it is part of its key. Rows that are shown by a rule can hang on who asks, so that
//! these are kept for that principal alone.
//!
//! Where a resource group limits what a statement may scan or compute, its people's statements neither find rows here nor leave
//! any: an error of the limit that turns into rows would tell that somebody asked the same.
//!
//! Only where the contracts of all products that a statement reads say so (`polder.results: keep`): who asks for what was asked
//! before has it sooner, and can tell.
//!
//! What it never does: it keeps nothing of a statement that was cut off, that tells moments in zones of its own, that calls what gives other values the next time, or
//! that reads what has no stamp (see `resolve::stamp`); and it holds no more than it may, those that come included.

use std::collections::HashMap;
use std::fmt;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use datafusion::arrow::array::RecordBatch;
use datafusion::arrow::datatypes::Schema;
use datafusion::common::TableReference;
use datafusion::logical_expr::LogicalPlan;
use polder_catalog::principal::Principal;

use super::again::{COLUMN, detached, expressions, is_told_apart};
use crate::resolve::{Scanned, Stamp};

/// Which part of all one result may be.
const EACH: usize = 16;

/// What is computed of the same words over different grants is kept so many times.
const GRANTS: usize = 8;

/// What a result holds beside its rows and what was asked, roughly.
const RESULT: usize = 16 << 10;

/// The results that are kept.
pub(super) struct Results {
    /// The bytes that they may hold.
    most: usize,
    kept: Mutex<Kept>,
    /// The bytes of those that come.
    coming: AtomicUsize,
    used: AtomicU64,
}

#[derive(Default)]
struct Kept {
    results: HashMap<Arc<Question>, Vec<Answer>>,
    weight: usize,
    epoch: u64,
}

/// The name under which a table is scanned, that of its product, and what it was.
type Read = (TableReference, String, Stamp);

/// What was asked.
#[derive(Debug, PartialEq, Eq, Hash)]
struct Question {
    epoch: u64,
    /// Who asked, where that can matter.
    principal: Option<Principal>,
    /// Without its tables.
    plan: LogicalPlan,
}

struct Answer {
    tables: Vec<Read>,
    batches: Arc<Vec<RecordBatch>>,
    weight: usize,
    used: Instant,
}

/// A statement whose rows may be kept.
pub(super) struct Slot {
    results: Arc<Results>,
    question: Arc<Question>,
    tables: Vec<Read>,
    /// What is held beside the rows.
    held: usize,
}

/// The rows of a statement as they come.
pub(super) struct Coming {
    slot: Slot,
    batches: Vec<RecordBatch>,
    weight: usize,
}

/// What a statement asks of its tables by this optimized plan, which has its values, if its rows may be kept.
pub(super) fn question(plan: &LogicalPlan, tables: &[Scanned]) -> Option<LogicalPlan> {
    let keeps = |(_, _, table): &Scanned| table.stamp.as_ref().is_some_and(Stamp::keeps_results);
    let is_kept = !tables.is_empty() && tables.iter().all(keeps) && is_told_apart(plan).unwrap_or(false);
    is_kept.then(|| detached(plan, tables).ok())?
}

impl fmt::Debug for Results {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Results").field("most", &self.most).finish_non_exhaustive()
    }
}

impl fmt::Debug for Slot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Slot").field("tables", &self.tables.len()).finish_non_exhaustive()
    }
}

impl Kept {
    fn remove_oldest(&mut self) -> bool {
        let all =
            self.results.iter().flat_map(|(question, answers)| answers.iter().map(move |answer| (question, answer)));
        let Some((question, used)) = all.min_by_key(|(_, answer)| answer.used).map(|(q, a)| (Arc::clone(q), a.used))
        else {
            return false;
        };
        let Some(answers) = self.results.get_mut(&question) else { return false };
        if let Some(place) = answers.iter().position(|answer| answer.used == used) {
            self.weight = self.weight.saturating_sub(answers.swap_remove(place).weight);
        }
        if answers.is_empty() {
            self.results.remove(&question);
        }
        true
    }
}

impl Results {
    /// Results that hold no more bytes than these; none without any.
    pub(super) fn new(most: usize) -> Arc<Self> {
        let (kept, coming, used) = Default::default();
        Arc::new(Self { most, kept, coming, used })
    }

    fn kept(&self) -> MutexGuard<'_, Kept> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Where the rows of a statement may be kept, if its tables allow that.
    pub(super) fn slot(
        self: &Arc<Self>,
        epoch: u64,
        principal: &Principal,
        plan: LogicalPlan,
        tables: &[Scanned],
    ) -> Option<Slot> {
        if self.most == 0 {
            return None;
        }
        let stamped = |(scan, _, table): &Scanned| {
            let stamp = table.stamp.clone().filter(Stamp::keeps_results)?;
            Some((scan.clone(), table.pin_name(), stamp))
        };
        let tables: Vec<Read> = tables.iter().map(stamped).collect::<Option<_>>()?;
        let stamps = || tables.iter().map(|(.., stamp)| stamp);
        let columns: usize = stamps().map(Stamp::columns).sum();
        let held = expressions(&plan).ok()?.saturating_add(RESULT + columns * COLUMN);
        let principal = (!stamps().all(Stamp::is_everybodys)).then(|| principal.clone());
        let question = Arc::new(Question { epoch, principal, plan });
        (held <= self.most / EACH).then(|| Slot { results: Arc::clone(self), question, tables, held })
    }

    /// Forgets all results of epochs before this one.
    pub(super) fn forget(&self, epoch: u64) {
        // Dropped when nobody waits for it.
        let earlier = std::mem::replace(&mut *self.kept(), Kept { epoch, ..Kept::default() });
        drop(earlier);
    }

    /// How many results there are, what they hold, and how many statements used one, as Prometheus reads it.
    pub(super) fn render(&self) -> String {
        let kept = self.kept();
        let (count, bytes) = (kept.results.values().map(Vec::len).sum::<usize>(), kept.weight);
        let used = self.used.load(Ordering::Relaxed);
        format!(
            "# HELP polder_results_kept Results that are kept for statements that would give the same.\n\
             # TYPE polder_results_kept gauge\n\
             polder_results_kept {count}\n\
             # HELP polder_results_bytes Bytes that these results hold.\n\
             # TYPE polder_results_bytes gauge\n\
             polder_results_bytes {bytes}\n\
             # HELP polder_results_used_total Statements whose rows were those of an earlier one.\n\
             # TYPE polder_results_used_total counter\n\
             polder_results_used_total {used}\n"
        )
    }
}

impl Slot {
    /// The rows that are kept, if they can be told in these columns.
    pub(super) fn found(&self, columns: &Schema) -> Option<Arc<Vec<RecordBatch>>> {
        let mut kept = self.results.kept();
        let answers = kept.results.get_mut(&self.question)?;
        let fits = |batch: &RecordBatch| columns.contains(&batch.schema());
        let fit = |answer: &&mut Answer| answer.tables == self.tables && answer.batches.iter().all(fits);
        let answer = answers.iter_mut().find(fit)?;
        answer.used = Instant::now();
        self.results.used.fetch_add(1, Ordering::Relaxed);
        Some(Arc::clone(&answer.batches))
    }

    /// Begins to keep rows.
    pub(super) fn coming(self) -> Coming {
        Coming { slot: self, batches: Vec::new(), weight: 0 }
    }
}

impl Coming {
    /// Takes a batch in. Gives up where the result is too large, or too much comes at once.
    pub(super) fn with(mut self, batch: &RecordBatch) -> Option<Self> {
        let results = Arc::clone(&self.slot.results);
        let bytes = batch.get_array_memory_size();
        self.weight = self.weight.saturating_add(bytes);
        let coming = results.coming.fetch_add(bytes, Ordering::Relaxed).saturating_add(bytes);
        self.batches.push(batch.clone());
        let fits = self.weight <= results.most / EACH && coming <= results.most / 4;
        fits.then_some(self)
    }

    /// Keeps the rows, all of which came.
    pub(super) fn whole(mut self) {
        let (results, weight) = (Arc::clone(&self.slot.results), self.weight.saturating_add(self.slot.held));
        let batches = Arc::new(std::mem::take(&mut self.batches));
        let tables = std::mem::take(&mut self.slot.tables);
        let mut kept = results.kept();
        if self.slot.question.epoch < kept.epoch || weight > results.most {
            return;
        }
        let answers = kept.results.entry(Arc::clone(&self.slot.question)).or_default();
        let mut gone = 0;
        answers.retain(|answer| {
            let stays = answer.tables != tables;
            gone += if stays { 0 } else { answer.weight };
            stays
        });
        if answers.len() >= GRANTS
            && let Some(oldest) = (0..answers.len()).min_by_key(|place| answers.get(*place).map(|answer| answer.used))
        {
            gone += answers.swap_remove(oldest).weight;
        }
        answers.push(Answer { tables, batches, weight, used: Instant::now() });
        kept.weight = kept.weight.saturating_add(weight).saturating_sub(gone);
        while kept.weight > results.most && kept.remove_oldest() {}
    }
}

impl Drop for Coming {
    fn drop(&mut self) {
        self.slot.results.coming.fetch_sub(self.weight, Ordering::Relaxed);
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use datafusion::arrow::array::{ArrayRef, Int64Array};
    use datafusion::logical_expr::{LogicalPlanBuilder, lit};

    use super::*;

    fn slot(results: &Arc<Results>, epoch: u64, number: i64) -> Slot {
        let plan = LogicalPlanBuilder::values(vec![vec![lit(number)]]).unwrap().build().unwrap();
        let question = Arc::new(Question { epoch, principal: None, plan });
        Slot { results: Arc::clone(results), question, tables: Vec::new(), held: RESULT }
    }

    fn batch(rows: i64) -> RecordBatch {
        RecordBatch::try_from_iter([("n", Arc::new(Int64Array::from_iter_values(0..rows)) as ArrayRef)]).unwrap()
    }

    fn keep(results: &Arc<Results>, epoch: u64, number: i64) -> bool {
        let coming = slot(results, epoch, number).coming().with(&batch(1000));
        coming.map(Coming::whole).is_some()
    }

    fn held(results: &Results) -> (usize, usize) {
        (results.kept().results.len(), results.coming.load(Ordering::Relaxed))
    }

    #[test]
    fn results_stay_within_their_bound_and_the_one_goes_that_was_asked_for_longest_ago() {
        let results = Results::new(1 << 20);
        let fit = i64::try_from((1 << 20) / (RESULT + batch(1000).get_array_memory_size())).unwrap();
        for number in 0..fit {
            assert!(keep(&results, 1, number));
        }
        assert_eq!(slot(&results, 1, 0).found(&batch(0).schema()).unwrap().first(), Some(&batch(1000)));
        for number in fit..fit + 5 {
            assert!(keep(&results, 1, number));
        }
        assert!(results.kept().weight <= 1 << 20 && held(&results).1 == 0);
        assert!(
            slot(&results, 1, 0).found(&batch(0).schema()).is_some()
                && slot(&results, 1, 1).found(&batch(0).schema()).is_none()
        );
        assert!(slot(&results, 2, 0).found(&batch(0).schema()).is_none(), "another mesh");
        results.forget(2);
        assert_eq!((held(&results), results.kept().weight), ((0, 0), 0));
        assert!(keep(&results, 1, 0), "and one that began before");
        assert_eq!(held(&results), (0, 0));
    }

    #[test]
    fn what_is_too_large_or_does_not_come_to_its_end_is_not_kept() {
        let results = Results::new(1 << 20);
        assert!(slot(&results, 1, 0).coming().with(&batch(10_000)).is_none());
        let many: Vec<Option<Coming>> = (0..5).map(|at| slot(&results, 1, at).coming().with(&batch(7_500))).collect();
        assert_eq!(many.iter().filter(|coming| coming.is_some()).count(), 4, "no more than a quarter comes at once");
        drop(many);
        assert_eq!(held(&results), (0, 0));
        let asked = |bytes: usize| {
            let text = LogicalPlanBuilder::values(vec![vec![lit("x".repeat(bytes))]]).unwrap().build().unwrap();
            results.slot(1, &crate::served::anonymous(), text, &[])
        };
        assert!(asked(10_000).unwrap().held > RESULT + 20_000, "what was asked is held too");
        assert!(asked(100_000).is_none());
        assert!(
            Results::new(0)
                .slot(1, &crate::served::anonymous(), slot(&results, 1, 0).question.plan.clone(), &[])
                .is_none()
        );
    }

    #[test]
    fn one_question_has_an_answer_for_each_of_a_few_grants() {
        let results = Results::new(1 << 20);
        for _ in 0..3 {
            assert!(keep(&results, 1, 7));
        }
        assert_eq!(results.kept().results.values().map(Vec::len).sum::<usize>(), 1, "the later one takes its place");
        assert_eq!(results.kept().weight, RESULT + batch(1000).get_array_memory_size());
    }
}
