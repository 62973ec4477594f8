//! A query in the place of a scan: what a derived product is read from.
//!
//! ```text
//! GuardExec: sales.revenue          the derived product's own row rules and masks, if it has any
//!   QueryExec: sales.revenue        a leaf, as a scan is
//!     …                             the plan of its query, with the guards of what that reads
//! ```
//!
//! The plan inside was optimized by itself. No rule that works on the plan around it reaches in, so what holds for the
//! guards below holds as if the query had been asked alone. The verifier looks inside.

use std::fmt;
use std::sync::Arc;

use datafusion::arrow::array::{RecordBatch, RecordBatchOptions};
use datafusion::arrow::datatypes::SchemaRef;
use datafusion::common::{Result, internal_err};
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::physical_expr::{EquivalenceProperties, PhysicalExpr};
use datafusion::physical_plan::execution_plan::reset_plan_states;
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::physical_plan::{
    DisplayAs, DisplayFormatType, ExecutionPlan, ExecutionPlanProperties, Partitioning, PlanProperties,
};
use futures::StreamExt;

/// What tells the plans of one derived product, as one statement reads it, from all others.
#[derive(Debug, Clone, Default)]
pub struct Seal(Arc<()>);

impl Seal {
    /// Whether a node reads what this seals.
    pub(super) fn is_on(&self, plan: &dyn ExecutionPlan) -> bool {
        plan.downcast_ref::<QueryExec>().is_some_and(|query| Arc::ptr_eq(&query.seal.0, &self.0))
    }
}

/// The plan of a derived product's query, as a leaf.
#[derive(Debug, Clone)]
pub struct QueryExec {
    name: String,
    schema: SchemaRef,
    inner: Arc<dyn ExecutionPlan>,
    seal: Seal,
    /// What was asked of the rows and went into the plan.
    below: Vec<Arc<dyn PhysicalExpr>>,
    cache: Arc<PlanProperties>,
}

impl QueryExec {
    /// The finished plan of the query of `name`, into which the predicates `below` went. Its columns are those of `schema`.
    pub fn new(
        name: impl Into<String>,
        schema: SchemaRef,
        inner: Arc<dyn ExecutionPlan>,
        seal: Seal,
        below: Vec<Arc<dyn PhysicalExpr>>,
    ) -> Self {
        let properties = PlanProperties::new(
            EquivalenceProperties::new(Arc::clone(&schema)),
            Partitioning::UnknownPartitioning(inner.output_partitioning().partition_count()),
            inner.pipeline_behavior(),
            inner.boundedness(),
        );
        let properties = properties.with_scheduling_type(inner.properties().scheduling_type);
        Self { name: name.into(), schema, inner, seal, below, cache: Arc::new(properties) }
    }

    /// The derived product.
    pub(super) fn of(&self) -> &str {
        &self.name
    }

    /// The plan inside.
    pub fn inner(&self) -> &Arc<dyn ExecutionPlan> {
        &self.inner
    }

    pub(super) fn below(&self) -> &[Arc<dyn PhysicalExpr>] {
        &self.below
    }
}

impl DisplayAs for QueryExec {
    fn fmt_as(&self, _kind: DisplayFormatType, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<&str> = self.schema.fields().iter().map(|field| field.name().as_str()).collect();
        write!(f, "QueryExec: {}, projection=[{}]", self.name, names.join(", "))
    }
}

impl ExecutionPlan for QueryExec {
    fn name(&self) -> &str {
        "QueryExec"
    }

    fn properties(&self) -> &Arc<PlanProperties> {
        &self.cache
    }

    fn children(&self) -> Vec<&Arc<dyn ExecutionPlan>> {
        Vec::new()
    }

    fn with_new_children(self: Arc<Self>, children: Vec<Arc<dyn ExecutionPlan>>) -> Result<Arc<dyn ExecutionPlan>> {
        if children.is_empty() { Ok(self) } else { internal_err!("a sealed query has no children") }
    }

    /// A round of a recursion runs the query from the beginning.
    fn reset_state(self: Arc<Self>) -> Result<Arc<dyn ExecutionPlan>> {
        let inner = reset_plan_states(Arc::clone(&self.inner))?;
        Ok(Arc::new(Self { inner, ..Arc::unwrap_or_clone(self) }))
    }

    fn execute(&self, partition: usize, context: Arc<TaskContext>) -> Result<SendableRecordBatchStream> {
        let schema = Arc::clone(&self.schema);
        // A plan may know better than a schema what is never NULL.
        let rows = self.inner.execute(partition, context)?.map(move |batch| {
            let batch = batch?;
            let options = RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
            Ok(RecordBatch::try_new_with_options(Arc::clone(&schema), batch.columns().to_vec(), &options)?)
        });
        Ok(Box::pin(RecordBatchStreamAdapter::new(Arc::clone(&self.schema), rows)))
    }
}
