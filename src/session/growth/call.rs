//! A call of a function that can make more than it is given: it is measured before it is made, and refused if it is too much.
//!
//! ```text
//! repeat(a, 1000)  ->  repeat(a, 1000), which measures      the same name, types and order
//! ```
//!
//! The function itself is DataFusion's, and what it is simplified to is bounded again.

use std::sync::Arc;

use datafusion::arrow::array::Array;
use datafusion::arrow::compute::concat;
use datafusion::arrow::datatypes::{DataType, FieldRef};
use datafusion::common::Result;
use datafusion::common::config::ConfigOptions;
use datafusion::logical_expr::expr::ScalarFunction;
use datafusion::logical_expr::interval_arithmetic::Interval;
use datafusion::logical_expr::preimage::PreimageResult;
use datafusion::logical_expr::simplify::{ExprSimplifyResult, SimplifyContext};
use datafusion::logical_expr::sort_properties::{ExprProperties, SortProperties};
use datafusion::logical_expr::{
    ColumnarValue, Documentation, Expr, ExpressionPlacement, ReturnFieldArgs, ScalarFunctionArgs, ScalarUDF,
    ScalarUDFImpl, Signature, StructFieldMapping,
};

use super::super::failure;
use super::super::interrupt::heeding;
use super::super::threads::unwanted;
use super::estimate::{Arguments, GROWING, width};
use super::{MOST, STEPS, bounded_expr, portions, searched, structs, told, too_large, too_long};

/// The bytes that are made between two points at which a call can be ended: some hundredths of a second.
const PORTION: u64 = 4 << 20;

/// The bytes of text that are held against patterns between two such points: some patterns take a microsecond for each. A
/// pattern is made ready anew for each portion, and the texts of most batches are one.
const MATCHED: u64 = 512 << 10;

/// The patterns that are made ready between two such points, and held together. One is 10 MB at most.
const PATTERNS: usize = 8;

/// The steps that are taken between two such points.
const PACE: u64 = STEPS / 10;

/// Whether a function is to be measured and is not yet.
pub(super) fn grows(function: &ScalarUDF) -> bool {
    GROWING.contains(&function.name()) && !function.inner().is::<Bounded>()
}

/// The same call, measured.
pub(super) fn bounded(call: ScalarFunction) -> ScalarFunction {
    ScalarFunction { func: Arc::new(ScalarUDF::new_from_impl(Bounded::over(call.func))), ..call }
}

/// Whether a function is measured.
pub(super) fn is_bounded(function: &ScalarUDF) -> bool {
    function.inner().is::<Bounded>()
}

/// What a call makes, in portions between which it can be ended.
///
/// # Errors
/// `Limit` with the name of the function, when it would be too much or take too long, and whatever the call fails with.
pub(super) fn made(
    name: &str,
    args: ScalarFunctionArgs,
    call: impl Fn(ScalarFunctionArgs) -> Result<ColumnarValue>,
) -> Result<ColumnarValue> {
    let constant = args.args.iter().all(|arg| matches!(arg, ColumnarValue::Scalar(_)));
    let rows = if constant { 1 } else { args.number_rows };
    let arguments = Arguments { values: &args.args, rows: rows as u64 };
    let (bytes, steps) = (arguments.made_by(name), arguments.steps_of(name));
    if bytes > MOST {
        return Err(too_large(&format!("`{name}`")));
    }
    if steps > STEPS {
        return Err(too_long(&format!("`{name}`")));
    }
    let paced = portions::share(rows, steps.saturating_mul(rows as u64), PACE);
    let matched = arguments.matched_by(name).map_or(rows, |bytes| portions::share(rows, bytes, MATCHED));
    let compiled = if arguments.patterns_of(name) > PATTERNS { PATTERNS } else { rows };
    let most = portions::share(rows, bytes, PORTION).min(paced).min(matched).min(compiled);
    let call = |args: ScalarFunctionArgs| {
        heeding(|| {
            searched::tried(name, &args)?;
            call(args)
        })
    };
    if most >= rows {
        return call(args);
    }
    let mut portions = Vec::new();
    for start in (0..rows).step_by(most) {
        let number_rows = most.min(rows - start);
        let part = |arg: &ColumnarValue| match arg {
            ColumnarValue::Array(array) => ColumnarValue::Array(array.slice(start, number_rows)),
            scalar @ ColumnarValue::Scalar(_) => scalar.clone(),
        };
        let part = ScalarFunctionArgs {
            args: args.args.iter().map(part).collect(),
            arg_fields: args.arg_fields.clone(),
            number_rows,
            return_field: Arc::clone(&args.return_field),
            config_options: Arc::clone(&args.config_options),
        };
        portions.push(call(part)?.into_array(number_rows)?);
    }
    let portions: Vec<&dyn Array> = portions.iter().map(AsRef::as_ref).collect();
    Ok(ColumnarValue::Array(concat(&portions)?))
}

/// Ends a statement that computes on, though nobody wants it.
pub(in crate::session) fn wanted() -> Result<()> {
    if unwanted() { Err(told(failure::stopped())) } else { Ok(()) }
}

/// A function that is measured.
#[derive(Debug, PartialEq, Eq, Hash)]
pub(super) struct Bounded(Arc<ScalarUDF>);

impl Bounded {
    pub(super) fn over(function: Arc<ScalarUDF>) -> Self {
        Self(function)
    }

    fn inner(&self) -> &dyn ScalarUDFImpl {
        self.0.inner().as_ref()
    }
}

#[deny(clippy::missing_trait_methods)]
#[allow(deprecated, reason = "DataFusion asks some functions for it still")]
impl ScalarUDFImpl for Bounded {
    fn name(&self) -> &str {
        self.inner().name()
    }

    fn aliases(&self) -> &[String] {
        self.inner().aliases()
    }

    fn display_name(&self, args: &[Expr]) -> Result<String> {
        self.inner().display_name(args)
    }

    fn schema_name(&self, args: &[Expr]) -> Result<String> {
        self.inner().schema_name(args)
    }

    fn signature(&self) -> &Signature {
        self.inner().signature()
    }

    fn return_type(&self, arg_types: &[DataType]) -> Result<DataType> {
        self.inner().return_type(arg_types)
    }

    fn with_updated_config(&self, config: &ConfigOptions) -> Option<ScalarUDF> {
        let updated = self.inner().with_updated_config(config)?;
        Some(ScalarUDF::new_from_impl(Self::over(Arc::new(updated))))
    }

    fn return_field_from_args(&self, args: ReturnFieldArgs<'_>) -> Result<FieldRef> {
        structs::measured(self.name(), self.inner().return_field_from_args(args)?)
    }

    fn is_nullable(&self, args: &[Expr], schema: &dyn datafusion::common::ExprSchema) -> bool {
        self.inner().is_nullable(args, schema)
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        made(self.name(), args, |args| self.inner().invoke_with_args(args))
    }

    fn simplify(&self, args: Vec<Expr>, info: &SimplifyContext) -> Result<ExprSimplifyResult> {
        // Some functions are simplified to what they make, by nobody who measures it.
        let literals = args.iter().map(|arg| match arg {
            Expr::Literal(value, _) => width(value),
            _ => 0,
        });
        if literals.fold(0, u64::saturating_add) > MOST {
            return Ok(ExprSimplifyResult::Original(args));
        }
        Ok(match self.inner().simplify(args, info)? {
            ExprSimplifyResult::Simplified(expr) => ExprSimplifyResult::Simplified(bounded_expr(expr)?.data),
            original @ ExprSimplifyResult::Original(_) => original,
        })
    }

    fn preimage(&self, args: &[Expr], literal: &Expr, info: &SimplifyContext) -> Result<PreimageResult> {
        self.inner().preimage(args, literal, info)
    }

    fn short_circuits(&self) -> bool {
        self.inner().short_circuits()
    }

    fn conditional_arguments<'a>(&self, args: &'a [Expr]) -> Option<(Vec<&'a Expr>, Vec<&'a Expr>)> {
        self.inner().conditional_arguments(args)
    }

    fn evaluate_bounds(&self, input: &[&Interval]) -> Result<Interval> {
        self.inner().evaluate_bounds(input)
    }

    fn propagate_constraints(&self, interval: &Interval, inputs: &[&Interval]) -> Result<Option<Vec<Interval>>> {
        self.inner().propagate_constraints(interval, inputs)
    }

    fn output_ordering(&self, inputs: &[ExprProperties]) -> Result<SortProperties> {
        self.inner().output_ordering(inputs)
    }

    fn preserves_lex_ordering(&self, inputs: &[ExprProperties]) -> Result<bool> {
        self.inner().preserves_lex_ordering(inputs)
    }

    fn coerce_types(&self, arg_types: &[DataType]) -> Result<Vec<DataType>> {
        self.inner().coerce_types(arg_types)
    }

    fn struct_field_mapping(&self, literals: &[Option<datafusion::common::ScalarValue>]) -> Option<StructFieldMapping> {
        self.inner().struct_field_mapping(literals)
    }

    fn documentation(&self) -> Option<&Documentation> {
        self.inner().documentation()
    }

    fn placement(&self, args: &[ExpressionPlacement]) -> ExpressionPlacement {
        self.inner().placement(args)
    }
}
