//! Structs that are made of structs: a type that doubles with each subquery is refused while it is planned.
//!
//! ```text
//! struct(s, s)  {a: s, b: s}  map([s], [s])      2 fields of s, 4, 8…: planning walks all of them, again and again
//! ```
//!
//! The functions that make types of several others are measured from the start: the type is told before anything walks it.

use std::sync::Arc;

use datafusion::arrow::datatypes::{DataType, FieldRef};
use datafusion::common::{DFSchema, Result};
use datafusion::execution::FunctionRegistry;
use datafusion::execution::session_state::SessionState;
use datafusion::functions::core::planner::CoreFunctionPlanner;
use datafusion::functions_nested::planner::NestedFunctionPlanner;
use datafusion::logical_expr::planner::{ExprPlanner, PlannerResult, RawDictionaryExpr};
use datafusion::logical_expr::{Expr, ScalarUDF};

use super::{bounded_expr, call, told};
use crate::error::{Class, Error};

/// The most fields of a column's type, those inside of fields included. Planning walks them a hundred times: 4 096 take half a
/// second unoptimised.
const FIELDS: usize = 4_096;

/// The functions that make a type of several others.
const MAKERS: [&str; 4] = ["arrays_zip", "map", "named_struct", "struct"];

/// Plans literals of structs and maps as DataFusion does, with their types measured.
#[derive(Debug)]
pub(in crate::session) struct Structs;

impl Structs {
    /// Measures the functions that make such types, wherever they are called by name.
    ///
    /// # Errors
    /// When the state refuses a function.
    pub(in crate::session) fn measure(state: &mut SessionState) -> Result<()> {
        for name in MAKERS {
            let function = state.udf(name)?;
            state.register_udf(Arc::new(ScalarUDF::new_from_impl(call::Bounded::over(function))))?;
        }
        Ok(())
    }
}

impl ExprPlanner for Structs {
    fn plan_dictionary_literal(
        &self,
        expr: RawDictionaryExpr,
        schema: &DFSchema,
    ) -> Result<PlannerResult<RawDictionaryExpr>> {
        measured_literal(CoreFunctionPlanner::default().plan_dictionary_literal(expr, schema)?)
    }

    fn plan_struct_literal(&self, args: Vec<Expr>, is_named: bool) -> Result<PlannerResult<Vec<Expr>>> {
        measured_literal(CoreFunctionPlanner::default().plan_struct_literal(args, is_named)?)
    }

    fn plan_make_map(&self, args: Vec<Expr>) -> Result<PlannerResult<Vec<Expr>>> {
        measured_literal(NestedFunctionPlanner.plan_make_map(args)?)
    }
}

fn measured_literal<T>(planned: PlannerResult<T>) -> Result<PlannerResult<T>> {
    Ok(match planned {
        PlannerResult::Planned(expr) => PlannerResult::Planned(bounded_expr(expr)?.data),
        original @ PlannerResult::Original(_) => original,
    })
}

/// What a function gives, unless its type has too many fields.
///
/// # Errors
/// `Limit`, with the name of the function.
pub(super) fn measured(function: &str, field: FieldRef) -> Result<FieldRef> {
    match within(field.data_type(), FIELDS) {
        Some(_) => Ok(field),
        None => Err(told(
            Error::new(Class::Limit, format!("`{function}` would make a type of more than {FIELDS} fields"))
                .help("ask for the fields as columns, or for fewer of them"),
        )),
    }
}

/// How many fields are left of so many after those of a type; none when it has more. It looks at no more than there may be.
fn within(kind: &DataType, left: usize) -> Option<usize> {
    match kind {
        DataType::Struct(fields) => {
            fields.iter().try_fold(left, |left, field| within(field.data_type(), left.checked_sub(1)?))
        }
        DataType::List(field)
        | DataType::LargeList(field)
        | DataType::ListView(field)
        | DataType::LargeListView(field)
        | DataType::FixedSizeList(field, _)
        | DataType::Map(field, _) => within(field.data_type(), left.checked_sub(1)?),
        DataType::Dictionary(_, values) => within(values, left),
        _ => Some(left),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::panic, clippy::disallowed_methods, reason = "tests")]
mod tests {
    use datafusion::arrow::datatypes::Field;
    use datafusion::execution::SessionStateBuilder;
    use datafusion::prelude::SessionContext;

    use super::*;

    fn doubled(times: usize) -> DataType {
        (0..times).fold(DataType::Int64, |kind, _| {
            let list = DataType::new_list(kind, true);
            let field = |name| Field::new(name, list.clone(), true);
            DataType::Struct(vec![field("a"), field("b")].into())
        })
    }

    #[test]
    fn a_type_that_doubles_is_refused_without_a_walk_over_all_of_it() {
        let field = |kind| Arc::new(Field::new("s", kind, true));
        assert!(measured("struct", field(doubled(9))).is_ok());
        let error = super::super::grown(&measured("struct", field(doubled(60))).unwrap_err()).unwrap();
        assert_eq!(error.class, Class::Limit);
        assert_eq!(error.message, "`struct` would make a type of more than 4096 fields");
    }

    #[tokio::test]
    async fn whatever_makes_a_type_of_several_is_measured() {
        let state = SessionStateBuilder::new().with_expr_planners(vec![Arc::new(Structs)]).with_default_features();
        let mut state = state.build();
        Structs::measure(&mut state).unwrap();
        let context = SessionContext::new_with_state(state);
        for make in [
            "struct(s, s)",
            "named_struct('a', s, 'b', s)",
            "{'a': s, 'b': s}",
            "map([s], [s])",
            "MAP {s: s}",
            "arrays_zip([s], [s])",
        ] {
            let nested = |times| {
                (0..times)
                    .fold("SELECT 1 AS s".to_owned(), |inner, _| format!("SELECT {make} AS s FROM ({inner}) AS q"))
            };
            context.sql(&nested(3)).await.unwrap();
            let error = context.sql(&nested(14)).await.unwrap_err();
            let error = super::super::grown(error.find_root()).unwrap_or_else(|| panic!("{make}: {error}"));
            assert!(error.message.ends_with("would make a type of more than 4096 fields"), "{make}: {error}");
        }
    }
}
