//! Memory that no pool counts, bounded: what expressions make, what lists become when they are unnested, what windows hold,
//! and what joins repeat.
//!
//! ```text
//! repeat(a, 1000)        a call is told how much it would make before it makes it, and refused above a limit     [call]
//! a || b                 the same, as a call                                                                    [joined]
//! array_has_all(a, b)    a call is told how many steps one row would take; between rows it can be ended         [call]
//! regexp_count(a, '…')   a search is tried on a long text, and can be ended at each place that is found           [searched]
//! repeat(a, 1000), 'x…'  statements that make wide values work on fewer rows at once                            [narrow]
//! unnest(a)              an operator that multiplies what it is given is given it in portions                   [portions]
//! struct(a, a)           a type that has too many fields is refused while it is planned                         [structs]
//! x + x > 1              and so is a condition that becomes too long on its way down                            [unfolded]
//! max(a) OVER ()         what a window holds of its input is counted by the statement's pool                    [held]
//! approx_…(0.5, 1000)    what an aggregate keeps of each group is a number in the statement, and bounded          [states]
//! ```
//!
//! DataFusion's pool counts what sorts, joins and groups keep. A batch that an expression makes of another is counted by
//! nobody, and one call of `repeat` can make more than there is; so can `replace`, and any function that doubles its text
//! when it is nested by subqueries. Neither can a call be ended before it has done a batch, and some compare all with all.

mod call;
mod estimate;
mod held;
mod joined;
mod narrow;
mod portions;
mod searched;
mod states;
mod structs;
mod unfolded;
mod wrapper;

use std::sync::Arc;

use datafusion::common::Result;
use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::error::DataFusionError;
use datafusion::logical_expr::expr_rewriter::NamePreserver;
use datafusion::logical_expr::{Expr, LogicalPlan};
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::scalar_subquery::ScalarSubqueryExec;

pub(super) use call::wanted;
pub(super) use narrow::narrowed;
pub(super) use structs::Structs;
pub(super) use wrapper::Watched;

use crate::error::{Class, Error};

/// The most bytes that one call may make of a batch.
pub(super) const MOST: u64 = 32 << 20;

/// The most steps that a call may take for one row, within which it cannot be ended: a second at most.
const STEPS: u64 = 100_000_000;

/// The plan, whose growing calls are bounded. What it means, and the names of its columns, stay.
///
/// # Errors
/// `Limit` for a plan that would grow too large while it is optimized.
pub(super) fn bounded(plan: LogicalPlan) -> Result<LogicalPlan> {
    unfolded::check(&plan)?;
    let plan = plan.transform_up_with_subqueries(|plan| {
        let names = NamePreserver::new(&plan);
        plan.map_expressions(|expr| {
            let name = names.save(&expr);
            Ok(bounded_expr(expr)?.update_data(|expr| name.restore(expr)))
        })
    })?;
    Ok(plan.data)
}

fn bounded_expr(expr: Expr) -> Result<Transformed<Expr>> {
    expr.transform_up(|expr| {
        Ok(match expr {
            Expr::ScalarFunction(function) if call::grows(&function.func) => {
                Transformed::yes(Expr::ScalarFunction(call::bounded(function)))
            }
            Expr::AggregateFunction(ref call) => {
                states::check(call.func.name(), &call.params.args)?;
                Transformed::no(expr)
            }
            Expr::WindowFunction(ref call) => {
                states::check(call.fun.name(), &call.params.args)?;
                Transformed::no(expr)
            }
            Expr::BinaryExpr(binary) if joined::joins(&binary) => Transformed::yes(joined::bounded(binary)),
            expr => Transformed::no(expr),
        })
    })
}

/// The plan, in which operators that multiply are given portions, and windows are counted.
pub(super) fn apportioned(plan: Arc<dyn ExecutionPlan>) -> Result<Arc<dyn ExecutionPlan>> {
    let plan = plan.transform_up(|plan| {
        let measured = portions::of(&plan).or_else(|| held::of(&plan));
        let Some(work) = measured else { return Ok(Transformed::no(plan)) };
        let children = plan.children().into_iter();
        // What a subquery gives is repeated in each row, and the rows around it are not.
        let around = usize::from(plan.is::<ScalarSubqueryExec>());
        let children = children.enumerate().map(|(place, child)| match place < around {
            true => Arc::clone(child),
            false => wrapper::Watched::over(Arc::clone(child), work.clone()),
        });
        let children = children.collect();
        Ok(Transformed::yes(plan.with_new_children(children)?))
    })?;
    Ok(plan.data)
}

/// The error of something that would have grown too large.
fn too_large(what: &str) -> DataFusionError {
    let error = Error::new(Class::Limit, format!("{what} would make more than {} MiB at once", MOST >> 20));
    told(error.help("ask for shorter values, or for fewer of them in a row"))
}

/// The error of something that would take too long in a single row.
fn too_long(what: &str) -> DataFusionError {
    let error = Error::new(Class::Limit, format!("{what} would take more than {STEPS} steps for one row"));
    told(error.help("ask for shorter lists, or for shorter texts"))
}

fn told(error: Error) -> DataFusionError {
    DataFusionError::External(Box::new(Grown(error)))
}

/// What is told of it, which holds no value and may be read by everybody.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
struct Grown(Error);

/// The error of ours behind an error of DataFusion's, if something would have grown too large.
pub(super) fn grown(error: &DataFusionError) -> Option<Error> {
    let DataFusionError::External(cause) = error else { return None };
    cause.downcast_ref::<Grown>().map(|Grown(error)| error.clone())
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::disallowed_methods, reason = "tests")]
mod tests {
    use datafusion::arrow::array::{ArrayRef, StringArray};
    use datafusion::arrow::record_batch::RecordBatch;
    use datafusion::execution::runtime_env::RuntimeEnvBuilder;
    use datafusion::physical_expr::ScalarFunctionExpr;
    use datafusion::physical_plan::execute_stream;
    use datafusion::prelude::{SessionConfig, SessionContext};
    use futures::{StreamExt, TryStreamExt};

    use super::estimate::{Arguments, bytes};
    use super::*;

    /// A table of texts, empty ones, long ones and NULL among them.
    fn texts() -> RecordBatch {
        let (long, wide) = ("abcabc-".repeat(100), "é漢".repeat(50));
        let texts = StringArray::from(vec![Some("abc"), None, Some(""), Some(long.as_str()), Some(wide.as_str())]);
        RecordBatch::try_from_iter([("t", Arc::new(texts) as ArrayRef)]).unwrap()
    }

    #[tokio::test]
    async fn no_call_makes_more_than_was_estimated() {
        let batch = texts();
        let context = SessionContext::new();
        context.register_batch("texts", batch.clone()).unwrap();
        for call in [
            "repeat(t, 7)",
            "lpad(t, 900)",
            "rpad(t, 900, 'é')",
            "lpad(t, 900, t)",
            "concat(t, t, '-', t)",
            "concat_ws('-----', t, t, t)",
            "replace(t, 'a', 'xxxxxxxxxxxxx')",
            "replace(t, '', 'xxxxxxxxxxxxx')",
            "replace(t, 'abc', t)",
            "translate(t, 'abc', 'éé漢')",
            "overlay(t PLACING 'xxxxxxxxxxxxxxxxx' FROM 1 FOR 0)",
            "regexp_replace(t, 'a|b|', 'yyyyyyyyyyyyy', 'g')",
            "regexp_replace(t, '(.*)', '\\1\\1\\1\\1')",
            "regexp_replace(t, '(a)', '${1}${1}${1}-', 'g')",
            "regexp_match(t, '(a)(b)')",
            "regexp_match(t, '((((((((((.*))))))))))')",
            "regexp_match(t, concat('((((((', t, '.*))))))'))",
            "regexp_match(t, '.*')",
            "encode(t, 'hex')",
            "upper(t)",
            "make_array(t, t, t)",
            "array_repeat(t, 9)",
            "array_repeat(1, 9)",
            "array_append(make_array(t), 'xxxxxxxxxxx')",
            "array_concat(make_array(t, t), make_array(t))",
            "array_resize(make_array(1, 2), 500, 9)",
            "array_replace_all(make_array('a', 'a', 'a'), 'a', t)",
            "array_to_string(make_array(t, t, NULL), '------', 'nothing')",
            "array_to_string(make_array(1, 2, length(t)), ',')",
            "array_to_string(make_array(make_array(t, t, t), make_array(t, t)), '------', 'nothing')",
            "array_to_string(make_array(make_array(range(1, 50)), make_array(range(1, 70))), '--------------------')",
            "arrays_zip(make_array(t, t, t, t), make_array(1), make_array(2), make_array(3))",
            "string_to_array(t, 'b')",
            "range(1, 700)",
            "generate_series(1, 900, 2)",
            "struct(t, t)",
            "named_struct('a', t, 'b', 'xxxxxxxxxxxxx')",
            "to_char(DATE '2024-09-25', '%A %B %c %A %B %c')",
        ] {
            let logical = context.sql(&format!("SELECT {call} FROM texts")).await.unwrap().into_unoptimized_plan();
            let logical =
                context.state().analyzer().execute_and_check(logical, context.state().config_options(), |_, _| {});
            let logical = logical.unwrap();
            let [expr] = <[Expr; 1]>::try_from(logical.expressions()).unwrap();
            let schema = logical.inputs().first().unwrap().schema().as_ref().clone();
            let expr = context.create_physical_expr(expr.unalias(), &schema).unwrap();
            let made = expr.evaluate(&batch).unwrap().into_array(batch.num_rows()).unwrap();
            let function = expr.downcast_ref::<ScalarFunctionExpr>().unwrap();
            let values: Vec<_> = function.args().iter().map(|arg| arg.evaluate(&batch).unwrap()).collect();
            let estimated = Arguments { values: &values, rows: batch.num_rows() as u64 }.made_by(function.fun().name());
            assert!(bytes(&made) <= estimated + 200, "{call} makes {} bytes and not {estimated}", bytes(&made));
        }
    }

    /// What becomes of a query over the texts: its rows, or its error.
    async fn run(sql: &str) -> Result<Vec<RecordBatch>> {
        let config = SessionConfig::new().with_target_partitions(2);
        run_in(SessionContext::new_with_config(config), sql).await
    }

    async fn run_in(context: SessionContext, sql: &str) -> Result<Vec<RecordBatch>> {
        context.register_batch("texts", texts()).unwrap();
        let plan = context.sql(sql).await.unwrap().into_unoptimized_plan();
        let plan = bounded(context.state().optimize(&bounded(plan)?)?)?;
        let state = narrowed(&context.state(), &plan)?.unwrap_or_else(|| context.state());
        let plan = state.query_planner().create_physical_plan(&plan, &state).await?;
        execute_stream(apportioned(plan)?, state.task_ctx())?.boxed().try_collect().await
    }

    #[tokio::test]
    async fn what_grows_too_large_is_refused_by_the_name_of_what_makes_it() {
        let level = |inner: String, make: &str| format!("SELECT {make} AS t FROM ({inner}) AS q");
        for (make, name) in [
            ("concat(t, t, t, t, t, t, t, t)", "`concat`"),
            ("t || t || t || t || t || t || t || t", "`||`"),
            ("replace(t, 'a', 'aaaaaaaaaaaaaaaaaaaaa')", "`replace`"),
            ("array_to_string(regexp_match(t, '((((((((.*))))))))'), '')", "`regexp_match`"),
        ] {
            for from in ["SELECT t FROM texts", "SELECT 'abc' AS t"] {
                let sql = (0..12).fold(from.to_owned(), |inner, _| level(inner, make));
                let error = run(&format!("SELECT length(t) FROM ({sql}) AS q")).await.unwrap_err();
                let error = grown(error.find_root()).unwrap();
                assert_eq!(error.class, Class::Limit);
                assert!(error.message.contains(name), "{error}");
            }
        }
        let error = run("SELECT unnest(range(1, 9000000)), repeat(t, 1000) FROM texts").await.unwrap_err();
        assert_eq!(grown(error.find_root()).unwrap().class, Class::Limit);
    }

    /// The engine plans where there is as much room.
    #[test]
    fn a_condition_that_doubles_on_its_way_down_is_refused_before_that() {
        let planned = std::thread::Builder::new().stack_size(64 << 20).spawn(|| {
            tokio::runtime::Runtime::new().unwrap().block_on(conditions_that_double());
        });
        planned.unwrap().join().unwrap();
    }

    async fn conditions_that_double() {
        let level = |inner: String| format!("SELECT n + n AS n FROM ({inner}) AS q");
        let levels = |times| (0..times).fold("SELECT length(t) AS n FROM texts".to_owned(), |inner, _| level(inner));
        for condition in ["WHERE n > 5", "JOIN texts AS u ON q.n = length(u.t)", "GROUP BY n HAVING n > 5"] {
            let error = run(&format!("SELECT count(*) FROM ({}) AS q {condition}", levels(18))).await.unwrap_err();
            let error = grown(error.find_root()).unwrap();
            assert_eq!(error.class, Class::Limit);
            assert!(error.message.contains("a condition of the statement would become"), "{condition}: {error}");
        }
        let batches = run(&format!("SELECT n FROM ({}) AS q WHERE n > 5", levels(8))).await.unwrap();
        assert_eq!(batches.iter().map(RecordBatch::num_rows).sum::<usize>(), 3);
    }

    #[tokio::test]
    async fn groups_are_given_as_many_rows_as_their_states_let() {
        let most = |aggregates: &'static str, by: &'static str| async move {
            let context = SessionContext::new();
            context.register_batch("texts", texts()).unwrap();
            let plan = context.sql(&format!("SELECT {aggregates} FROM texts {by}")).await.unwrap();
            let mut plan = vec![plan.create_physical_plan().await.unwrap()];
            let mut found = Vec::new();
            while let Some(node) = plan.pop() {
                found.extend(portions::of(&node));
                plan.extend(node.children().into_iter().map(Arc::clone));
            }
            let rows = found.into_iter().map(|work| match work {
                wrapper::Work::Compute(most) => most,
                _ => usize::MAX,
            });
            rows.min()
        };
        assert_eq!(most("count(t), max(t)", "GROUP BY t").await, None);
        assert_eq!(most("approx_distinct(t)", "").await, None, "one state is no matter");
        assert!(most("approx_distinct(t)", "GROUP BY t").await.unwrap() <= 512);
        assert!(
            most("count(t)", "GROUP BY CUBE (t, length(t), t || 'a', t || 'b', t || 'c', t || 'd')").await.unwrap()
                < 1024
        );
        let sql = "SELECT approx_distinct(n) AS d, n % 2000 AS k FROM unnest(range(0, 9000)) AS r(n) GROUP BY 2";
        assert_eq!(run(sql).await.unwrap().iter().map(RecordBatch::num_rows).sum::<usize>(), 2000);
    }

    #[tokio::test]
    async fn patterns_of_rows_are_held_as_before() {
        for (sql, expected) in [
            (
                "SELECT count(*) AS n FROM unnest(range(0, 1000)) AS r(n) WHERE regexp_like('x' || n, '^x' || n || '$')",
                "| 1000 |",
            ),
            ("SELECT count(*) AS n FROM unnest(range(0, 1000)) AS r(n) WHERE ('x' || n) ~ ('^X' || n || '$')", "| 0 |"),
            (
                "SELECT count(*) AS n FROM unnest(range(0, 1000)) AS r(n) WHERE ('x' || n) ~* ('^X' || n || '$')",
                "| 1000 |",
            ),
            (
                "SELECT count(*) AS n FROM unnest(range(0, 1000)) AS r(n) WHERE ('x' || n) !~ ('^.' || n || '$')",
                "| 0 |",
            ),
            (
                "SELECT sum(regexp_count(repeat('x' || n, 9000), 'x')) AS n FROM unnest(range(0, 100)) AS r(n)",
                "| 900000 |",
            ),
            (
                "SELECT sum(length(regexp_replace(repeat('x' || n, 9000), 'x' || n, 'y', 'g'))) AS n FROM unnest(range(0, 100)) AS r(n)",
                "| 900000 |",
            ),
        ] {
            let rows = datafusion::arrow::util::pretty::pretty_format_batches(&run(sql).await.unwrap()).unwrap();
            assert!(rows.to_string().contains(expected), "{sql}: {rows}");
        }
    }

    #[tokio::test]
    async fn a_join_whose_side_does_not_fit_into_memory_fails_for_that() {
        for join in ["LEFT JOIN", "JOIN"] {
            let sql = format!(
                "SELECT sum(length(t)) FROM (SELECT value AS x, concat(value, repeat('x', 500)) AS t FROM range(0, 40000)) \
                 {join} (SELECT value AS y FROM range(0, 9)) ON x + y < 30"
            );
            let of = |memory| {
                let runtime = RuntimeEnvBuilder::new().with_memory_limit(memory, 1.0).build_arc().unwrap();
                run_in(
                    SessionContext::new_with_config_rt(SessionConfig::new().with_target_partitions(2), runtime),
                    &sql,
                )
            };
            of(1 << 30).await.unwrap();
            let error = of(2 << 20).await.unwrap_err();
            assert!(matches!(error.find_root(), DataFusionError::ResourcesExhausted(_)), "{join}: {error}");
        }
    }

    #[tokio::test]
    async fn lists_in_lists_are_counted_to_their_last_value() {
        let apart = "-".repeat(200_000);
        for depth in 0..3 {
            let lists = (0..depth).fold("range(0, 10000)".to_owned(), |inner, _| format!("make_array({inner})"));
            let error = run(&format!("SELECT length(array_to_string({lists}, '{apart}'))")).await.unwrap_err();
            let error = grown(error.find_root()).unwrap();
            assert_eq!(error.class, Class::Limit);
            assert!(error.message.contains("`array_to_string`"), "{error}");
        }
        let sql = "SELECT unnest(unnest(make_array(range(0, 300000), range(0, 300000)))), repeat(t, 1000) FROM texts";
        let error = run(sql).await.unwrap_err();
        assert!(grown(error.find_root()).unwrap().message.contains("`unnest`"));
        // What is unnested once repeats nothing for the values of its lists.
        let sql = "SELECT unnest(make_array(range(0, 300000))), repeat(t, 1000) FROM texts";
        let batches = run(sql).await.unwrap();
        assert_eq!(batches.iter().map(RecordBatch::num_rows).sum::<usize>(), 5);
    }

    #[tokio::test]
    async fn what_would_take_too_long_in_one_row_is_refused_by_its_name() {
        let list = "array_append(range(0, 20000), length(t))";
        for (call, name) in [
            ("array_has_all(range(0, 20000), range(0, 20000))", "`array_has_all`"),
            (&format!("array_has_all({list}, range(0, 20000))"), "`array_has_all`"),
            (&format!("array_has_any({list}, {list})"), "`array_has_any`"),
            (&format!("{list} @> {list}"), "`array_has_all`"),
            ("levenshtein(repeat(t, 5000), repeat(t, 5000))", "`levenshtein`"),
            ("btrim(repeat(t, 5000), repeat(t, 5000))", "`btrim`"),
            ("ltrim(repeat(t, 5000), repeat(t, 5000))", "`ltrim`"),
            ("rtrim(repeat(t, 5000), repeat(t, 5000))", "`rtrim`"),
        ] {
            let error = run(&format!("SELECT {call} FROM texts")).await.unwrap_err();
            let error = grown(error.find_root()).unwrap();
            assert_eq!(error.class, Class::Limit);
            assert!(error.message.contains(name) && error.message.contains("steps"), "{call}: {error}");
        }
    }

    #[tokio::test]
    async fn what_takes_many_steps_in_all_is_done_row_by_row() {
        for (sql, expected) in [
            ("SELECT sum(levenshtein(repeat(t, 4), repeat(t, 2))) AS n FROM texts", "| 1606 |"),
            ("SELECT count(btrim(repeat(t, 20), t)) AS n FROM texts", "| 4 |"),
            (
                "SELECT count(*) AS n FROM unnest(range(0, 1000)) AS r(n) \
                 WHERE array_has_all(array_append(range(0, 10000), n), make_array(n, n + 9500))",
                "| 500 |",
            ),
            (
                "SELECT count(*) AS n FROM texts WHERE array_has_any(make_array(t, 'x'), make_array('y', t)) AND t IS NOT NULL",
                "| 4 |",
            ),
            (
                "SELECT count(*) AS n FROM texts WHERE array_has_any(range(0, 50000), array_append(range(60000, 99000), 7))",
                "| 5 |",
            ),
        ] {
            let rows = datafusion::arrow::util::pretty::pretty_format_batches(&run(sql).await.unwrap()).unwrap();
            assert!(rows.to_string().contains(expected), "{sql}: {rows}");
        }
    }

    #[tokio::test]
    async fn what_is_done_in_portions_is_what_it_would_be_at_once() {
        let counted = |batches: Vec<RecordBatch>| batches.iter().map(RecordBatch::num_rows).sum::<usize>();
        let sql = "SELECT unnest(range(0, 50000)) AS n, t FROM texts";
        assert_eq!(counted(run(sql).await.unwrap()), 250_000);
        let sql = "SELECT repeat(t, 5000) AS wide FROM texts CROSS JOIN unnest(range(0, 200)) AS r(n) WHERE length(repeat(t, 5000)) > 9";
        assert_eq!(counted(run(sql).await.unwrap()), 600);
        let sql = "SELECT string_agg(t, ',') OVER () || t AS all_of_it FROM texts";
        assert_eq!(counted(run(sql).await.unwrap()), 5);
    }

    #[tokio::test]
    async fn texts_are_joined_as_they_were_and_named_as_they_were() {
        let batches = run("SELECT t || '!' , 'a' || NULL, 1 || t FROM texts ORDER BY length(t) LIMIT 1").await.unwrap();
        let rows = datafusion::arrow::util::pretty::pretty_format_batches(&batches).unwrap().to_string();
        assert!(rows.contains("texts.t || Utf8(\"!\")"), "{rows}");
        assert!(rows.contains("| !"), "{rows}");
    }
}
