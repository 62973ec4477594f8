//! `EXPLAIN`: the plan of a query as its principal may see it.
//!
//! The logical plan is shown whole, since it holds names that the query may use and no figure. In the physical plan a
//! scan shows its columns and predicates; its files, their number and their paths stay out.

use std::fmt::Write;
use std::sync::Arc;

use datafusion::arrow::array::{RecordBatch, StringArray};
use datafusion::arrow::datatypes::{DataType, Field, Schema};
use datafusion::catalog::TableProvider;
use datafusion::common::TableReference;
use datafusion::datasource::MemTable;
use datafusion::datasource::physical_plan::FileScanConfig;
use datafusion::datasource::source::DataSourceExec;
use datafusion::logical_expr::LogicalPlan;
use datafusion::physical_plan::{DisplayFormatType, ExecutionPlan};

use super::failure;
use crate::error::Error;
use crate::guard::govern_rows;

/// The answer to `EXPLAIN`: one row per plan.
pub(super) fn table(logical: &LogicalPlan, physical: &Arc<dyn ExecutionPlan>) -> Result<Arc<dyn TableProvider>, Error> {
    let mut shown = String::new();
    let made = write_node(&mut shown, physical.as_ref(), 0)
        .map_err(|_| datafusion::error::DataFusionError::Internal("a plan could not be written".to_owned()));
    let schema = Arc::new(Schema::new(vec![
        Field::new("plan_type", DataType::Utf8, false),
        Field::new("plan", DataType::Utf8, false),
    ]));
    let plans = vec![logical.display_indent().to_string(), shown.trim_end().to_owned()];
    let rows = made.and_then(|()| {
        let kinds = StringArray::from(vec!["logical_plan", "physical_plan"]);
        let batch =
            RecordBatch::try_new(Arc::clone(&schema), vec![Arc::new(kinds), Arc::new(StringArray::from(plans))])?;
        govern_rows(TableReference::bare("plan"), MemTable::try_new(schema.clone(), vec![vec![batch]])?)
    });
    rows.map_err(|error| failure::planning(&error, &[]))
}

fn write_node(out: &mut String, node: &dyn ExecutionPlan, depth: usize) -> std::fmt::Result {
    write!(out, "{:width$}", "", width = depth * 2)?;
    match node.downcast_ref::<DataSourceExec>() {
        Some(source) => write_source(out, source)?,
        None => write!(out, "{}", Line(node))?,
    }
    out.push('\n');
    node.children().into_iter().try_for_each(|child| write_node(out, child.as_ref(), depth + 1))
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
