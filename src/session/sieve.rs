//! Filters of several conditions: the one that tells most for what it costs is asked first, the others of what it leaves.
//!
//! ```text
//! shipmode = 'MAIL' OR shipmode = 'SHIP' AND commit < receipt AND ship < commit AND receipt >= … AND receipt < …
//! in the order of the text     each of all rows, unless those before leave less than a fifth
//! here, batch by batch         receipt < … of all rows, receipt >= … of a half, the others of a seventh
//! ```
//!
//! What a condition costs and leaves is measured while it is asked, by all threads together. Where few rows are left, the
//! columns that are still to be looked at are copied without the others, once or several times for a batch.
//!
//! What it never does: it asks no condition that could fail, or hangs on more than its row, of other rows than before: a
//! filter that has one stays as it is, and so does one of few rows. NULL leaves a row out, as it does in any filter.
//!
//! It is put in when a plan starts: what is planned, verified and explained does not change.

use std::fmt;
use std::hash::{Hash, Hasher};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use datafusion::arrow::array::{Array, AsArray, BooleanArray, NullArray, RecordBatch, RecordBatchOptions};
use datafusion::arrow::buffer::BooleanBuffer;
use datafusion::arrow::compute::{FilterBuilder, prep_null_mask_filter};
use datafusion::arrow::datatypes::{DataType, Field, Schema};
use datafusion::arrow::util::bit_util;
use datafusion::common::internal_err;
use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::error::Result;
use datafusion::logical_expr::ColumnarValue;
use datafusion::physical_expr::utils::collect_columns;
use datafusion::physical_expr::{PhysicalExpr, split_conjunction};
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::filter::{FilterExec, FilterExecBuilder};
use datafusion::scalar::ScalarValue;

use crate::guard::is_leakproof_physical;

/// The most conditions that are put in an order.
const MOST: usize = 32;

/// How many rows a filter is given at least, as far as that is known: below, measuring costs more than it spares.
const ROWS: usize = 1 << 16;

/// Rows are left behind where no more than one in so many is left.
const LEFT: usize = 4;

/// The plan, whose large filters ask their conditions in the best order.
pub(super) fn sieved(plan: Arc<dyn ExecutionPlan>) -> Result<Arc<dyn ExecutionPlan>> {
    let sieved = plan.transform_up(|plan| {
        let Some(filter) = plan.downcast_ref::<FilterExec>() else { return Ok(Transformed::no(plan)) };
        let Some(sieve) = Sieve::of(filter)? else { return Ok(Transformed::no(plan)) };
        let filter = FilterExecBuilder::from(filter).with_predicate(Arc::new(sieve)).build()?;
        Ok(Transformed::yes(Arc::new(filter) as _))
    })?;
    Ok(sieved.data)
}

/// Conditions that hold together.
#[derive(Debug)]
struct Sieve {
    /// As they were written.
    whole: Arc<dyn PhysicalExpr>,
    parts: Vec<Part>,
}

#[derive(Debug)]
struct Part {
    condition: Arc<dyn PhysicalExpr>,
    /// The places of the columns that it is about.
    columns: Vec<usize>,
    /// Of how many rows it was asked.
    asked: AtomicU64,
    /// How many of them it left.
    left: AtomicU64,
    /// How long that took, in nanoseconds.
    took: AtomicU64,
}

impl Part {
    fn new(condition: &Arc<dyn PhysicalExpr>) -> Self {
        let columns = collect_columns(condition).iter().map(|column| column.index()).collect();
        let [asked, left, took] = Default::default();
        Self { condition: Arc::clone(condition), columns, asked, left, took }
    }

    /// What it costs to leave a row out by it, in nanoseconds; one that was never asked comes first.
    fn price(&self) -> f64 {
        let [asked, left, took] = [&self.asked, &self.left, &self.took].map(|sum| sum.load(Ordering::Relaxed) as f64);
        if asked == 0.0 { 0.0 } else { took / (asked - left).max(0.5) }
    }

    /// The rows of a batch for which it is true.
    fn ask(&self, batch: &RecordBatch) -> Result<BooleanBuffer> {
        let begun = Instant::now();
        let answer = self.condition.evaluate(batch)?.into_array(batch.num_rows())?;
        let Some(answer) = answer.as_boolean_opt() else { return internal_err!("a condition is no truth") };
        let kept = if answer.null_count() > 0 {
            prep_null_mask_filter(answer).values().clone()
        } else {
            answer.values().clone()
        };
        let took = u64::try_from(begun.elapsed().as_nanos()).unwrap_or(u64::MAX);
        for (sum, more) in
            [(&self.asked, kept.len() as u64), (&self.left, kept.count_set_bits() as u64), (&self.took, took)]
        {
            sum.fetch_add(more, Ordering::Relaxed);
        }
        Ok(kept)
    }
}

impl Sieve {
    fn of(filter: &FilterExec) -> Result<Option<Self>> {
        let conditions = split_conjunction(filter.predicate());
        let schema = filter.input().schema();
        let is_steady = |condition: &&Arc<dyn PhysicalExpr>| is_leakproof_physical(condition, &schema, &|_| true);
        if !(2..=MOST).contains(&conditions.len()) || !conditions.iter().all(is_steady) {
            return Ok(None);
        }
        // What is equal to a value comes in an order that plans above rely on, and that only the conditions tell.
        if filter.properties().output_ordering().is_some() {
            return Ok(None);
        }
        let rows = filter.input().partition_statistics(None)?.num_rows;
        if rows.get_value().is_some_and(|rows| *rows < ROWS) {
            return Ok(None);
        }
        let parts = conditions.into_iter().map(Part::new).collect();
        Ok(Some(Self { whole: Arc::clone(filter.predicate()), parts }))
    }

    /// The parts in the order in which they are asked now.
    fn order(&self) -> Vec<&Part> {
        let mut priced: Vec<(f64, &Part)> = self.parts.iter().map(|part| (part.price(), part)).collect();
        priced.sort_by(|(one, _), (other, _)| one.total_cmp(other));
        priced.into_iter().map(|(_, part)| part).collect()
    }

    /// The rows that all parts leave; `None` for none.
    fn left(&self, batch: &RecordBatch) -> Result<Option<BooleanBuffer>> {
        let order = self.order();
        // What was left of the rows when others were left behind.
        let mut behind: Vec<BooleanBuffer> = Vec::new();
        let mut among: Option<RecordBatch> = None;
        let mut left: Option<BooleanBuffer> = None;
        for (place, part) in order.iter().enumerate() {
            let rows = among.as_ref().unwrap_or(batch);
            let kept = part.ask(rows)?;
            let both = match left.take() {
                Some(left) => &left & &kept,
                None => kept,
            };
            let count = both.count_set_bits();
            if count == 0 {
                return Ok(None);
            }
            let rest = order.get(place + 1..).unwrap_or_default();
            if !rest.is_empty() && count <= rows.num_rows() / LEFT {
                among = Some(only(rows, &both, count, rest)?);
                behind.push(both);
            } else {
                left = Some(both);
            }
        }
        Ok(left.map(|left| behind.iter().rev().fold(left, |inner, outer| spread(outer, &inner))))
    }
}

/// Some rows of a batch, with the columns that some conditions are about; all others are empty.
fn only(batch: &RecordBatch, left: &BooleanBuffer, count: usize, parts: &[&Part]) -> Result<RecordBatch> {
    let filter = FilterBuilder::new(&BooleanArray::new(left.clone(), None)).optimize().build();
    let schema = batch.schema();
    let columns = schema.fields().iter().zip(batch.columns()).enumerate().map(|(place, (field, column))| {
        Ok(match parts.iter().any(|part| part.columns.contains(&place)) {
            true => (Arc::clone(field), filter.filter(column)?),
            false => (Arc::new(Field::new(field.name(), DataType::Null, true)), Arc::new(NullArray::new(count)) as _),
        })
    });
    let (fields, columns): (Vec<_>, Vec<_>) = columns.collect::<Result<Vec<_>>>()?.into_iter().unzip();
    let options = RecordBatchOptions::new().with_row_count(Some(count));
    Ok(RecordBatch::try_new_with_options(Arc::new(Schema::new(fields)), columns, &options)?)
}

/// The rows among all that are left of those that were left.
fn spread(outer: &BooleanBuffer, inner: &BooleanBuffer) -> BooleanBuffer {
    let mut bits = vec![0_u8; outer.len().div_ceil(8)];
    for (place, stays) in outer.set_indices().zip(inner) {
        if stays {
            bit_util::set_bit(&mut bits, place);
        }
    }
    BooleanBuffer::new(bits.into(), 0, outer.len())
}

impl PartialEq for Sieve {
    fn eq(&self, other: &Self) -> bool {
        self.whole.eq(&other.whole)
    }
}

impl Eq for Sieve {}

impl Hash for Sieve {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.whole.hash(state);
    }
}

impl fmt::Display for Sieve {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.whole.fmt(f)
    }
}

impl PhysicalExpr for Sieve {
    fn data_type(&self, _: &Schema) -> Result<DataType> {
        Ok(DataType::Boolean)
    }

    fn nullable(&self, _: &Schema) -> Result<bool> {
        Ok(false)
    }

    fn evaluate(&self, batch: &RecordBatch) -> Result<ColumnarValue> {
        Ok(match self.left(batch)? {
            Some(left) => ColumnarValue::Array(Arc::new(BooleanArray::new(left, None))),
            None => ColumnarValue::Scalar(ScalarValue::Boolean(Some(false))),
        })
    }

    fn children(&self) -> Vec<&Arc<dyn PhysicalExpr>> {
        vec![&self.whole]
    }

    fn with_new_children(self: Arc<Self>, mut children: Vec<Arc<dyn PhysicalExpr>>) -> Result<Arc<dyn PhysicalExpr>> {
        let Some(whole) = children.pop() else { return internal_err!("conditions are asked, and there are none") };
        let parts = split_conjunction(&whole).into_iter().map(Part::new).collect();
        Ok(Arc::new(Self { whole, parts }))
    }

    fn fmt_sql(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.whole.fmt_sql(f)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests")]
mod tests {
    use datafusion::arrow::array::{ArrayRef, Int64Array, StringArray};
    use datafusion::arrow::util::pretty::pretty_format_batches;
    use datafusion::physical_plan::collect;
    use datafusion::prelude::SessionContext;

    use super::*;

    const MANY: i64 = 100_000;

    /// Numbers, their remainders, texts, and NULL in each.
    fn table() -> RecordBatch {
        let some = |each: i64, value: fn(i64) -> i64| {
            Arc::new(Int64Array::from_iter((0..MANY).map(|n| (n % each != 0).then(|| value(n))))) as ArrayRef
        };
        let texts = (0..MANY).map(|n| (n % 11 != 0).then(|| format!("t{}", n % 7)));
        RecordBatch::try_from_iter([
            ("n", some(13, |n| n)),
            ("tens", some(7, |n| n / 10)),
            ("rest", some(17, |n| n % 100)),
            ("t", Arc::new(StringArray::from_iter(texts)) as ArrayRef),
        ])
        .unwrap()
    }

    async fn plan(context: &SessionContext, condition: &str) -> Arc<dyn ExecutionPlan> {
        let sql = format!("SELECT n, t FROM numbers WHERE {condition} ORDER BY n NULLS FIRST, t NULLS FIRST");
        context.sql(&sql).await.unwrap().create_physical_plan().await.unwrap()
    }

    fn sieves(plan: &Arc<dyn ExecutionPlan>) -> usize {
        let own = plan.downcast_ref::<FilterExec>().is_some_and(|filter| filter.predicate().is::<Sieve>());
        usize::from(own) + plan.children().into_iter().map(sieves).sum::<usize>()
    }

    #[tokio::test]
    async fn rows_are_the_same_in_any_order() {
        let context = SessionContext::new();
        context.register_batch("numbers", table()).unwrap();
        for (condition, count) in [
            ("t = 't3' AND rest < 5", 1),
            ("rest < 50 AND tens > 900 AND t <> 't1' AND n < 9700", 1),
            ("n > 5 AND n < 90000 AND rest = 7 AND t IN ('t1', 't2', 't3', 't4', 't5')", 1),
            ("n < 3 AND tens IS NULL AND t IS NOT NULL", 1),
            ("n < rest AND (t = 't1' OR tens < 4) AND NOT rest = 8", 1),
            ("n < 0 AND rest > 1", 1),
            ("n >= 0 AND rest >= 0 AND tens >= 0", 1),
            ("t LIKE 't1%' AND rest < 3 AND n % 2 = 1", 0),
            ("1000 / rest > 20 AND n < 500", 0),
            ("n > 500", 0),
        ] {
            let plain = plan(&context, condition).await;
            let sieved = sieved(plan(&context, condition).await).unwrap();
            assert_eq!(sieves(&sieved), count, "{condition}");
            let rows = async |plan| collect(plan, context.task_ctx()).await.map_err(|error| error.to_string());
            let told = |rows: &[RecordBatch]| pretty_format_batches(rows).unwrap().to_string();
            let (plain, sieved) = (rows(plain).await, rows(sieved).await);
            assert_eq!(plain.map(|rows| told(&rows)), sieved.map(|rows| told(&rows)), "{condition}");
        }
    }

    #[test]
    fn what_tells_most_for_its_price_is_asked_first() {
        let batch = table().slice(0, 8192);
        let part = |name: &str, below: i64| {
            let column = datafusion::physical_expr::expressions::col(name, &batch.schema()).unwrap();
            let number = datafusion::physical_expr::expressions::lit(below);
            let lower = datafusion::logical_expr::Operator::Lt;
            datafusion::physical_expr::expressions::binary(column, lower, number, &batch.schema()).unwrap()
        };
        let conditions = [part("n", 1 << 40), part("rest", 90), part("tens", 2)];
        let whole = datafusion::physical_expr::conjunction(conditions.iter().cloned());
        let sieve = Sieve { whole, parts: conditions.iter().map(Part::new).collect() };
        let first = sieve.left(&batch).unwrap().unwrap();
        for _ in 0..50 {
            assert_eq!(sieve.left(&batch).unwrap().unwrap(), first);
        }
        assert_eq!(sieve.order()[0].condition.to_string(), conditions[2].to_string());
        let asked = |place: usize| sieve.parts[place].asked.load(Ordering::Relaxed);
        assert!(asked(0) < asked(2) / 4 && asked(1) < asked(2) / 4, "{sieve:?}");
    }

    #[test]
    fn what_is_left_is_found_among_all() {
        let inner = BooleanBuffer::from(vec![true, false, true]);
        let outer = BooleanBuffer::from(vec![false, true, false, true, false, false, false, false, true, false]);
        let found: Vec<usize> = spread(&outer, &inner).set_indices().collect();
        assert_eq!(found, [1, 8]);
    }
}
