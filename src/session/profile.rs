//! `EXPLAIN ANALYZE`: a query runs to its end, and its plan is the answer, with what each operator did.
//!
//! ```text
//! ProfileExec      runs what is below it, throws the rows away and counts them
//!   FilterExec     rows, bytes, times: told where nothing beneath is kept from the principal
//!     ...
//! ```
//!
//! How many rows an operator met, in how many batches and for how long, follows from more than is shown as soon as a
//! guard is beneath: how rows are spread over files and partitions, and where a limit stops, does. So of a query on
//! anything restricted there is the plan that `EXPLAIN` gives, written before it runs, and the number of its rows, which
//! whoever may ask the query may count. Times are for the others too: one's own clock tells that time.

use std::fmt;
use std::sync::Arc;

use datafusion::arrow::array::{RecordBatch, StringArray};
use datafusion::arrow::datatypes::SchemaRef;
use datafusion::common::{Result, internal_err};
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::physical_expr::EquivalenceProperties;
use datafusion::physical_plan::execution_plan::{Boundedness, EmissionType, SchedulingType};
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::physical_plan::{
    DisplayAs, DisplayFormatType, ExecutionPlan, Partitioning, PlanProperties, execute_stream,
};
use futures::{StreamExt, stream};
use tokio::time::Instant;

use super::explain::{schema, with_figures, without_figures};

/// A query that runs for its figures.
#[derive(Debug)]
pub(super) struct ProfileExec {
    input: Arc<dyn ExecutionPlan>,
    /// The plan, where its figures are not told.
    plan: Option<String>,
    cache: Arc<PlanProperties>,
}

impl ProfileExec {
    /// Runs `input`; of what is `restricted` no figures are told.
    pub(super) fn over(input: Arc<dyn ExecutionPlan>, restricted: bool) -> Self {
        let plan = restricted.then(|| without_figures(input.as_ref()));
        Self::new(input, plan)
    }

    fn new(input: Arc<dyn ExecutionPlan>, plan: Option<String>) -> Self {
        let properties = PlanProperties::new(
            EquivalenceProperties::new(schema()),
            Partitioning::UnknownPartitioning(1),
            EmissionType::Final,
            Boundedness::Bounded,
        );
        let cache = Arc::new(properties.with_scheduling_type(SchedulingType::Cooperative));
        Self { input, plan, cache }
    }
}

impl DisplayAs for ProfileExec {
    fn fmt_as(&self, _kind: DisplayFormatType, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ProfileExec")
    }
}

impl ExecutionPlan for ProfileExec {
    fn name(&self) -> &'static str {
        "ProfileExec"
    }

    fn properties(&self) -> &Arc<PlanProperties> {
        &self.cache
    }

    fn children(&self) -> Vec<&Arc<dyn ExecutionPlan>> {
        vec![&self.input]
    }

    fn with_new_children(self: Arc<Self>, mut children: Vec<Arc<dyn ExecutionPlan>>) -> Result<Arc<dyn ExecutionPlan>> {
        match (children.pop(), children.is_empty()) {
            (Some(input), true) => Ok(Arc::new(Self::new(input, self.plan.clone()))),
            _ => internal_err!("a profile is one of one plan"),
        }
    }

    fn execute(&self, _partition: usize, context: Arc<TaskContext>) -> Result<SendableRecordBatchStream> {
        let begun = Instant::now();
        let (input, plan) = (Arc::clone(&self.input), self.plan.clone());
        let mut batches = execute_stream(Arc::clone(&input), context)?;
        let profile = async move {
            let mut rows = 0_usize;
            while let Some(batch) = batches.next().await {
                rows = rows.saturating_add(batch?.num_rows());
            }
            // Operators close their figures when they are let go.
            drop(batches);
            match plan {
                Some(plan) => answer(&plan, &format!("rows={rows}")),
                None => answer(&with_figures(input.as_ref()), &format!("rows={rows}, elapsed={:?}", begun.elapsed())),
            }
        };
        Ok(Box::pin(RecordBatchStreamAdapter::new(schema(), stream::once(profile))))
    }
}

fn answer(plan: &str, rows: &str) -> Result<RecordBatch> {
    let columns = [vec!["physical_plan", "answer"], vec![plan, rows]];
    let schema: SchemaRef = schema();
    Ok(RecordBatch::try_new(schema, columns.map(|texts| Arc::new(StringArray::from(texts)) as _).to_vec())?)
}
