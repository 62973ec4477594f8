//! Whether a scan filters rows while it reads them, or reads them whole and leaves the filter to the plan.
//!
//! Filtering first reads the filter's columns, then of the others only what is left. That costs a second pass through
//! each row group, which is won back where the filter's columns are a small part of the bytes and few rows are left: on
//! TPC-H, where neither is so, doing it everywhere costs 19 % in total, and 25 % of the rows left cost q10 a quarter.

use std::sync::Arc;

use datafusion::arrow::datatypes::SchemaRef;
use datafusion::common::Statistics;
use datafusion::logical_expr::Operator;
use datafusion::physical_expr::expressions::{BinaryExpr, Column, InListExpr};
use datafusion::physical_expr::intervals::utils::check_support;
use datafusion::physical_expr::{AnalysisContext, PhysicalExpr, analyze};

/// How many times the filter's columns must fit in the others.
const TIMES: u64 = 8;

/// The share of the rows that may be left.
const LEFT: f64 = 1.0 / 16.0;

/// Decides by the bytes of the columns that filters are about, and of the other columns that are read.
pub(super) fn pays(filters: u64, others: u64, left: f64) -> bool {
    filters > 0 && others / TIMES >= filters && left <= LEFT
}

/// Estimates the share of the rows that a filter leaves; all of them where DataFusion cannot say. `bits` is what a column's value takes in its files, in bits:
/// an even guess at one value leaves no less than its share of all values that so many bits can tell apart.
pub(super) fn left(
    filter: &Arc<dyn PhysicalExpr>,
    schema: &SchemaRef,
    statistics: &Statistics,
    bits: &dyn Fn(&Column) -> f64,
) -> f64 {
    if let Some(parts) = filter.downcast_ref::<BinaryExpr>() {
        let left = |part| left(part, schema, statistics, bits);
        match parts.op() {
            Operator::And => return left(parts.left()) * left(parts.right()),
            // A short list of values comes like this.
            Operator::Or => return (left(parts.left()) + left(parts.right())).min(1.0),
            _ => {}
        }
    }
    match chosen(filter) {
        Some((column, values)) => (values * (-bits(column)).exp2()).min(1.0),
        None if check_support(filter, schema) => {
            let context = AnalysisContext::try_from_statistics(schema, &statistics.column_statistics);
            let analysed = context.and_then(|context| analyze(filter, context, schema));
            analysed.ok().and_then(|analysed| analysed.selectivity).unwrap_or(1.0)
        }
        None => 1.0,
    }
}

/// The column of which a filter chooses single values, and how many.
fn chosen(filter: &Arc<dyn PhysicalExpr>) -> Option<(&Column, f64)> {
    if let Some(list) = filter.downcast_ref::<InListExpr>() {
        let values = u32::try_from(list.list().len()).ok().filter(|_| !list.negated())?;
        return Some((list.expr().downcast_ref()?, values.into()));
    }
    let equal = filter.downcast_ref::<BinaryExpr>().filter(|equal| *equal.op() == Operator::Eq)?;
    let column = equal.left().downcast_ref().or_else(|| equal.right().downcast_ref());
    Some((column?, 1.0))
}
