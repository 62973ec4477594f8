//! Statements that make wide values work on fewer rows at once.
//!
//! ```text
//! SELECT repeat(a, 10000) FROM t      82 MB in 8192 rows of one letter; 8 MB in 800
//! SELECT '…100 kB…', a FROM t         a literal stands in each row of a batch
//! approx_distinct(a) … GROUP BY b     what each group keeps is 16 KiB in a row of a batch that goes to another thread, or to disk
//! ```
//!
//! Operators make batches of so many rows, however wide these are. How wide what a statement makes can be is told roughly
//! by the sizes that stand in it.

use datafusion::arrow::datatypes::DataType;
use datafusion::common::tree_node::{TreeNode, TreeNodeRecursion};
use datafusion::common::{Result, ScalarValue};
use datafusion::execution::session_state::SessionState;
use datafusion::logical_expr::{Expr, LogicalPlan};

use super::estimate::width;
use super::states;
use crate::session::finish::with_config;

/// The bytes of a batch that a statement is let make by one expression, roughly.
const BATCH: u64 = 8 << 20;

/// The width of a value that is in a table, roughly.
const VALUE: u64 = 64;

/// The literals that are looked at: others are no wider than what stands in tables.
pub(super) const LONG: u64 = 1024;

/// The fewest rows of a batch: below that it costs more than it spares.
const FEWEST: usize = 8;

/// The rows at once where aggregates gather values of a whole group, and something repeats what comes of them.
const GATHERED: usize = 1024;

/// The state for a plan, where it is not to work on as many rows at once as other ones.
pub(in crate::session) fn narrowed(state: &SessionState, plan: &LogicalPlan) -> Result<Option<SessionState>> {
    let usual = state.config().batch_size();
    let mut found = Found { factor: 1, literals: 0, states: 0, gathers: false, repeats: false };
    found.look(plan)?;
    let wide = found.factor.saturating_mul(VALUE).saturating_add(found.literals).saturating_add(found.states);
    let mut rows = usize::try_from(BATCH / wide.max(1)).unwrap_or(usize::MAX).max(FEWEST);
    if found.gathers && found.repeats {
        rows = rows.min(GATHERED);
    }
    if rows >= usual {
        return Ok(None);
    }
    let config = state.config().clone().with_batch_size(rows);
    Ok(Some(with_config(state, config)))
}

struct Found {
    factor: u64,
    literals: u64,
    states: u64,
    gathers: bool,
    repeats: bool,
}

impl Found {
    fn look(&mut self, plan: &LogicalPlan) -> Result<()> {
        plan.apply_with_subqueries(|node| {
            self.repeats |= matches!(node, LogicalPlan::Join(_) | LogicalPlan::Unnest(_));
            if let LogicalPlan::Aggregate(aggregate) = node
                && !aggregate.group_expr.is_empty()
            {
                let states = aggregate.aggr_expr.iter().map(states::width);
                self.states = states.fold(self.states, u64::saturating_add);
            }
            node.apply_expressions(|expr| {
                expr.apply(|expr| {
                    match expr {
                        // These stand in no batch.
                        Expr::InList(_) => return Ok(TreeNodeRecursion::Jump),
                        Expr::Literal(value, _) if width(value) > LONG => {
                            self.literals = self.literals.saturating_add(width(value));
                        }
                        Expr::ScalarFunction(call) => {
                            self.factor = self.factor.saturating_mul(grows_by(call.name(), &call.args));
                        }
                        Expr::ScalarSubquery(_) => self.repeats = true,
                        Expr::AggregateFunction(call) => {
                            self.gathers |= matches!(call.func.name(), "array_agg" | "string_agg");
                        }
                        _ => {}
                    }
                    Ok(TreeNodeRecursion::Continue)
                })
            })
        })?;
        Ok(())
    }
}

/// How many times as long as its arguments a call makes a value.
fn grows_by(name: &str, args: &[Expr]) -> u64 {
    let number = |place: usize| args.get(place).and_then(number);
    let times = match name {
        "repeat" | "array_repeat" | "array_resize" => number(1),
        // As long as the number says, and not as many times.
        "lpad" | "rpad" => number(1).map(|length| length / VALUE),
        "range" | "generate_series" => match args.len() {
            1 => number(0),
            _ => number(1).zip(number(0)).map(|(stop, start)| stop.saturating_add(start)),
        },
        _ => None,
    };
    times.unwrap_or(1).max(1)
}

/// The number that stands there.
pub(super) fn number(expr: &Expr) -> Option<u64> {
    match expr {
        Expr::Literal(value, _) => match value.cast_to(&DataType::Int64) {
            Ok(ScalarValue::Int64(number)) => number.map(i64::unsigned_abs),
            _ => None,
        },
        Expr::Cast(cast) => number(&cast.expr),
        _ => None,
    }
}
