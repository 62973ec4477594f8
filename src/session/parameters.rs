//! Parameters: their types follow from where they stand, and values take their places before a plan is verified.
//!
//! ```text
//! statement   SELECT $2 FROM d.p WHERE a > $1 LIMIT $3
//! types       $1 that of d.p.a      $2 nothing tells it      $3 BIGINT, as a LIMIT is
//! offered     $1 INT, $2 TEXT, $3 BIGINT                     every parameter may be NULL
//! bound       SELECT 'x' FROM d.p WHERE a > 7 LIMIT 10       what the guard, the optimizer and the verifier see
//! ```
//!
//! A parameter whose type nothing tells is offered as text, because clients must be told a concrete one, and has the type
//! of what is bound to it. Types never follow from values: a value that does not fit the type of its parameter exactly is
//! refused, and so is a statement whose result would have other types with one value than with another. Before values are
//! known a statement is planned with NULL for each, so that what can be said of it is said by the same way.
//!
//! Of a statement that comes again with other values the plan is optimized once, with a place for each (`again`).
//!
//! A value that was bound stands in no error: DataFusion's words are told for what fails without the values alone.

mod cast;
mod infer;

use std::sync::Arc;

use datafusion::arrow::array::{Array, RecordBatch};
use datafusion::arrow::datatypes::{DataType, Field, FieldRef, Schema, SchemaRef};
use datafusion::common::tree_node::{Transformed, TreeNode, TreeNodeRecursion};
use datafusion::common::{ParamValues, Result as DfResult, plan_err};
use datafusion::error::DataFusionError;
use datafusion::logical_expr::expr::Placeholder;
use datafusion::logical_expr::{Expr, LogicalPlan};
use datafusion::scalar::ScalarValue;

use super::Values;
use crate::error::{Class, Error};

/// A plan whose parameters have types, and its plan with the values.
pub(super) struct Bound {
    /// With NULL for each parameter.
    pub(super) typed: LogicalPlan,
    /// With a place for each value, where its types are the same for all values and it has as many rows.
    pub(super) open: Option<LogicalPlan>,
    /// With the values, where there are some.
    pub(super) valued: Option<LogicalPlan>,
    /// The parameters under their names.
    pub(super) offered: SchemaRef,
}

/// Why values cannot be bound.
pub(super) enum Unbound {
    /// In our words.
    Refused(Error),
    /// In DataFusion's, before it knew any value.
    Failed(DataFusionError),
}

impl From<DataFusionError> for Unbound {
    fn from(error: DataFusionError) -> Self {
        Self::Failed(error)
    }
}

impl From<Error> for Unbound {
    fn from(error: Error) -> Self {
        Self::Refused(error)
    }
}

/// Makes sure that there are as many values as parameters.
pub(super) fn counted(names: &[String], values: &Values) -> Result<(), Error> {
    let wanted = names.len();
    let found = match values {
        Values::Later => return Ok(()),
        Values::None => 0,
        Values::Row(batch, _) => batch.num_columns(),
    };
    if found == wanted {
        return Ok(());
    }
    let error = Error::new(
        Class::BadRequest,
        format!("the number of parameters is {wanted}, and that of the values that are bound is {found}"),
    );
    Err(match found {
        0 => error.help("prepare the statement and bind a value to each parameter"),
        _ => error,
    })
}

/// Types the parameters of a plan and puts values in their places.
pub(super) fn bind(plan: LogicalPlan, names: &[String], values: &Values) -> Result<Bound, Unbound> {
    if names.is_empty() {
        return Ok(Bound { typed: plan, open: None, valued: None, offered: Arc::new(Schema::empty()) });
    }
    let inferred = infer::types(&plan, names)?;
    let row = match values {
        Values::Row(batch, row) => Some((ordered(batch, names)?, *row)),
        Values::None | Values::Later => None,
    };
    let mut types = Vec::with_capacity(names.len());
    for (place, inferred) in inferred.iter().enumerate() {
        let sent = row.as_ref().and_then(|(batch, _)| batch.columns().get(place)).map(|column| column.data_type());
        types.push(match (inferred, sent) {
            (Some(known), _) => known.clone(),
            (None, Some(sent)) if *sent != DataType::Null => sent.clone(),
            (None, _) => DataType::Utf8,
        });
    }
    let offered = names.iter().zip(&types).map(|(name, kind)| Field::new(name, kind.clone(), true));
    let offered = Arc::new(Schema::new(offered.collect::<Vec<_>>()));
    let plan = typed(plan, &types.iter().cloned().map(Some).collect::<Vec<_>>())?;
    let open = inferred.iter().all(Option::is_some) && !is_counted_by(&plan)?;
    let open = open.then(|| plan.clone());
    let nulls = types.iter().map(ScalarValue::try_from).collect::<DfResult<Vec<_>>>()?;
    let valued = match row {
        None => None,
        Some((batch, row)) => {
            let values = fitted(&batch, row, names, &types)?;
            // What fails here, fails by a value.
            let valued = replaced(plan.clone(), values).map_err(|_| Unbound::Refused(by_value()))?;
            Some(valued)
        }
    };
    let typed = replaced(plan, nulls)?;
    if let Some(valued) = &valued
        && !same_types(valued, &typed)
    {
        return Err(Error::new(Class::BadRequest, "the types of the result follow from the values that are bound")
            .help("cast what is made from the parameters")
            .into());
    }
    Ok(Bound { typed, open, valued, offered })
}

/// A plan with a place for each value, with a row of values in them.
pub(super) fn filled(
    open: LogicalPlan,
    names: &[String],
    offered: &Schema,
    (batch, row): (&RecordBatch, usize),
) -> DfResult<LogicalPlan> {
    let types: Vec<DataType> = offered.fields().iter().map(|field| field.data_type().clone()).collect();
    let values = ordered(batch, names).and_then(|batch| fitted(&batch, row, names, &types));
    let values = values.map_err(|error| DataFusionError::External(Box::new(error)))?;
    let schema = Arc::clone(open.schema());
    let filled = replaced(open, values)?;
    match same_columns(filled.schema().as_arrow(), schema.as_arrow()) {
        true => Ok(filled),
        false => plan_err!("a value changes the columns of the result"),
    }
}

/// Whether two results have the same columns, but for where there may be NULL.
pub(super) fn same_columns(one: &Schema, other: &Schema) -> bool {
    let column = |field: &FieldRef| (field.name().clone(), field.data_type().clone(), field.metadata().clone());
    one.fields().iter().map(column).eq(other.fields().iter().map(column))
}

/// Whether a parameter says how many rows there are, by which a plan is chosen.
fn is_counted_by(plan: &LogicalPlan) -> DfResult<bool> {
    let mut found = false;
    plan.apply_with_subqueries(|node| {
        if let LogicalPlan::Limit(limit) = node {
            for count in [&limit.skip, &limit.fetch].into_iter().flatten() {
                found |= count.exists(|expr| Ok(matches!(expr, Expr::Placeholder(_))))?;
            }
        }
        Ok(if found { TreeNodeRecursion::Stop } else { TreeNodeRecursion::Continue })
    })?;
    Ok(found)
}

/// The error of a statement that fails with its values, and without them does not.
pub(super) fn by_value() -> Error {
    Error::new(Class::BadRequest, "the statement fails with the values that are bound to its parameters")
        .help("why is not told, since that could show a value")
}

/// The columns in the order of the parameters. Those that have names are found by them.
fn ordered(batch: &RecordBatch, names: &[String]) -> Result<RecordBatch, Error> {
    let by_name = names.iter().any(|name| !name.trim_start_matches('$').starts_with(|c: char| c.is_ascii_digit()));
    if !by_name {
        return Ok(batch.clone());
    }
    let schema = batch.schema();
    let places = names.iter().map(|name| {
        let bare = name.trim_start_matches('$');
        let mut found =
            schema.fields().iter().enumerate().filter(|(_, field)| field.name().trim_start_matches('$') == bare);
        match (found.next(), found.next()) {
            (Some((place, _)), None) => Ok(place),
            (None, _) => Err(Error::new(Class::BadRequest, format!("no value is bound to the parameter `{name}`"))
                .help("bind values under the names of the parameters")),
            (Some(_), Some(_)) => {
                Err(Error::new(Class::BadRequest, format!("two values are bound to the parameter `{name}`")))
            }
        }
    });
    let places = places.collect::<Result<Vec<_>, _>>()?;
    batch.project(&places).map_err(|_| Error::new(Class::Bug, "the values of parameters could not be put in order"))
}

/// The values of one row, under the types of their parameters. Every row must fit, so that none fails after others ran.
fn fitted(batch: &RecordBatch, row: usize, names: &[String], types: &[DataType]) -> Result<Vec<ScalarValue>, Error> {
    let mut values = Vec::with_capacity(types.len());
    for ((column, name), kind) in batch.columns().iter().zip(names).zip(types) {
        let cast = cast::exactly(column, kind).map_err(|misfit| misfit.of(name, column.data_type(), kind))?;
        let value = ScalarValue::try_from_array(&cast, row);
        values.push(value.map_err(|_| Error::new(Class::BadRequest, format!("no value of the parameter `{name}`")))?);
    }
    Ok(values)
}

/// The same plan, in which every parameter has its type, as far as that is known.
fn typed(plan: LogicalPlan, types: &[Option<DataType>]) -> DfResult<LogicalPlan> {
    let plan = plan.transform_up_with_subqueries(|node| {
        node.map_expressions(|expr| {
            expr.transform_up(|expr| match expr {
                Expr::Placeholder(Placeholder { id, field: _ }) => {
                    let kind = infer::place(&id).and_then(|place| types.get(place)).cloned().flatten();
                    let field = kind.map(|kind| Arc::new(Field::new("", kind, true)));
                    Ok(Transformed::yes(Expr::Placeholder(Placeholder { id, field })))
                }
                other => Ok(Transformed::no(other)),
            })
        })
    });
    plan.map(|plan| plan.data)
}

fn replaced(plan: LogicalPlan, values: Vec<ScalarValue>) -> DfResult<LogicalPlan> {
    plan.with_param_values(ParamValues::from(values))
}

fn same_types(one: &LogicalPlan, other: &LogicalPlan) -> bool {
    let types = |plan: &LogicalPlan| -> Vec<DataType> {
        plan.schema().fields().iter().map(|field| field.data_type().clone()).collect()
    };
    types(one) == types(other)
}
