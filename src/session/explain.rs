//! `EXPLAIN`: the plan of a query as its principal may see it.
//!
//! The logical plan is shown whole, since it holds names that the query may use and no figure. In the physical plan a
//! scan shows its columns and predicates; its files, their number and their paths stay out.

use std::fmt::Write;
use std::sync::Arc;

use datafusion::arrow::array::{RecordBatch, StringArray};
use datafusion::arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use datafusion::catalog::TableProvider;
use datafusion::common::TableReference;
use datafusion::datasource::MemTable;
use datafusion::datasource::physical_plan::FileScanConfig;
use datafusion::datasource::source::DataSourceExec;
use datafusion::error::DataFusionError;
use datafusion::logical_expr::LogicalPlan;
use datafusion::physical_plan::{DisplayFormatType, ExecutionPlan};

use super::failure;
use super::growth::Watched;
use crate::error::Error;
use crate::guard::govern_rows;

/// The answer to `EXPLAIN`: one row per plan.
pub(super) fn table(logical: &LogicalPlan, physical: &Arc<dyn ExecutionPlan>) -> Result<Arc<dyn TableProvider>, Error> {
    let schema = schema();
    let plans = vec![logical.display_indent().to_string(), without_figures(physical.as_ref())];
    let kinds = StringArray::from(vec!["logical_plan", "physical_plan"]);
    let batch = RecordBatch::try_new(Arc::clone(&schema), vec![Arc::new(kinds), Arc::new(StringArray::from(plans))]);
    let rows = batch.map_err(DataFusionError::from).and_then(|batch| {
        govern_rows(TableReference::bare("plan"), MemTable::try_new(Arc::clone(&schema), vec![vec![batch]])?)
    });
    rows.map_err(|error| failure::planning(&error, &[]))
}

/// The columns of what is told of plans.
pub(super) fn schema() -> SchemaRef {
    let text = |name: &str| Field::new(name, DataType::Utf8, false);
    Arc::new(Schema::new(vec![text("plan_type"), text("plan")]))
}

/// A physical plan as anybody may see it who may ask the query.
pub(super) fn without_figures(plan: &dyn ExecutionPlan) -> String {
    written(plan, &|_: &dyn ExecutionPlan| None)
}

/// A physical plan that has run, with what its operators did: not for whom anything beneath is restricted.
pub(super) fn with_figures(plan: &dyn ExecutionPlan) -> String {
    let figures = |node: &dyn ExecutionPlan| {
        let figures = node.metrics()?.aggregate_by_name().sorted_for_display().timestamps_removed();
        Some(format!(", metrics=[{figures}]"))
    };
    written(plan, &figures)
}

fn written(plan: &dyn ExecutionPlan, figures: &Figures<'_>) -> String {
    let mut shown = String::new();
    // A text takes whatever is written into it.
    let _infallible = write_node(&mut shown, plan, 0, figures);
    shown.trim_end().to_owned()
}

/// What is told of an operator behind its name.
type Figures<'a> = dyn Fn(&dyn ExecutionPlan) -> Option<String> + 'a;

fn write_node(out: &mut String, node: &dyn ExecutionPlan, depth: usize, figures: &Figures<'_>) -> std::fmt::Result {
    // What was put in when it started is of no interest to who asked.
    if node.name() == Watched::NAME {
        return node.children().into_iter().try_for_each(|child| write_node(out, child.as_ref(), depth, figures));
    }
    write!(out, "{:width$}", "", width = depth * 2)?;
    match node.downcast_ref::<DataSourceExec>() {
        Some(source) => write_source(out, source)?,
        None => write!(out, "{}", Line(node))?,
    }
    writeln!(out, "{}", figures(node).unwrap_or_default())?;
    node.children().into_iter().try_for_each(|child| write_node(out, child.as_ref(), depth + 1, figures))
}

fn write_source(out: &mut String, source: &DataSourceExec) -> std::fmt::Result {
    let columns: Vec<String> = source.schema().fields().iter().map(|field| field.name().clone()).collect();
    write!(out, "DataSourceExec: projection=[{}]", columns.join(", "))?;
    if let Some(config) = source.data_source().downcast_ref::<FileScanConfig>() {
        write!(out, ", file_type={}", config.file_source().file_type())?;
        if let Some(filter) = config.file_source().filter() {
            write!(out, ", predicate={filter}")?;
        }
    }
    Ok(())
}

/// One node of a plan in its default form.
struct Line<'a>(&'a dyn ExecutionPlan);

impl std::fmt::Display for Line<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.fmt_as(DisplayFormatType::Default, f)
    }
}
