//! Masks as expressions: total, of the column's own type, built into fresh buffers.

use std::sync::Arc;

use datafusion::arrow::array::{ArrayRef, AsArray, BinaryArray, StringArray};
use datafusion::arrow::compute::{CastOptions, cast_with_options};
use datafusion::arrow::datatypes::DataType;
use datafusion::common::{Result, ScalarValue, exec_err, plan_datafusion_err, plan_err};
use datafusion::logical_expr::{
    ColumnarValue, Expr, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility,
};
use datafusion::scalar::ScalarValue as Scalar;
use polder_catalog::policy::Mask;
use sha2::{Digest, Sha256};

/// The text that stands for every text under a fixed mask without a value of its own.
const FIXED_TEXT: &str = "XXXXXXXX";

/// The expression that shows `column`, which has type `kind`, through `mask`.
///
/// Masks that need no input take none, so that the scan does not even read the column.
///
/// # Errors
/// When the mask is not defined for the type. The caller then denies the column.
pub fn masked(mask: &Mask, column: Expr, kind: &DataType) -> Result<Expr> {
    match mask {
        Mask::Null => Ok(Expr::Literal(ScalarValue::try_from(kind)?, None)),
        Mask::Fixed(value) => Ok(ScalarUDF::from(Fixed::new(fixed(value.as_deref(), kind)?)).call(Vec::new())),
        Mask::Sha256Global => match kind {
            DataType::Utf8 | DataType::Utf8View | DataType::Binary | DataType::BinaryView => {
                Ok(ScalarUDF::from(Sha256Global::new()).call(vec![column]))
            }
            other => plan_err!("`sha-256-global` is not defined for `{other}`"),
        },
        other => plan_err!("the mask `{}` is not enforced yet", other.name()),
    }
}

/// Whether there is a function for the mask.
pub fn is_supported(mask: &Mask) -> bool {
    matches!(mask, Mask::Null | Mask::Fixed(_) | Mask::Sha256Global)
}

/// The mask that `expr` applies, and to what. A mask is told by its type, never by its name, which anyone can imitate.
pub fn mask_of(expr: &Expr) -> Option<(Mask, &Expr)> {
    let Expr::ScalarFunction(call) = expr else { return None };
    let function: &dyn std::any::Any = call.func.inner().as_ref();
    match call.args.as_slice() {
        [input] if function.is::<Sha256Global>() => Some((Mask::Sha256Global, input)),
        _ => None,
    }
}

/// `value` (or the fixed value of the type) as a scalar of `kind`.
fn fixed(value: Option<&str>, kind: &DataType) -> Result<Scalar> {
    let text = match (value, kind) {
        (Some(value), _) => value,
        (None, DataType::Utf8 | DataType::Utf8View) => FIXED_TEXT,
        (None, DataType::Boolean) => "false",
        (None, DataType::Date32) => "1970-01-01",
        (None, DataType::Timestamp(_, _)) => "1970-01-01T00:00:00",
        (None, DataType::Time64(_)) => "00:00:00",
        (None, kind) if kind.is_numeric() => "0",
        (None, DataType::Binary | DataType::BinaryView) => "",
        (None, kind) => return plan_err!("`mask-to-fixed-value` is not defined for `{kind}`"),
    };
    let strict = CastOptions { safe: false, ..CastOptions::default() };
    let array = Scalar::from(text).to_array()?;
    let cast = cast_with_options(&array, kind, &strict)
        .map_err(|_| plan_datafusion_err!("the fixed value of a mask is not a `{kind}`"))?;
    Scalar::try_from_array(&cast, 0)
}

/// `mask-to-fixed-value`: the same value in every row, nullable like every masked column. A literal would not be, and
/// would tell the planner that no row is NULL.
#[derive(Debug, PartialEq, Eq, Hash)]
struct Fixed {
    value: Scalar,
    signature: Signature,
}

impl Fixed {
    fn new(value: Scalar) -> Self {
        // Volatile in name only: what is not gets folded into a literal.
        Self { value, signature: Signature::nullary(Volatility::Volatile) }
    }
}

impl ScalarUDFImpl for Fixed {
    fn name(&self) -> &str {
        "mask_fixed"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _arguments: &[DataType]) -> Result<DataType> {
        Ok(self.value.data_type())
    }

    fn invoke_with_args(&self, _arguments: ScalarFunctionArgs) -> Result<ColumnarValue> {
        Ok(ColumnarValue::Scalar(self.value.clone()))
    }
}

/// `sha-256-global`: the lowercase hexadecimal digest of a text's UTF-8 bytes, or the 32 bytes of a binary's digest.
/// The same in every query and every mesh, so that masked values still join and count; NULL stays NULL.
#[derive(Debug, PartialEq, Eq, Hash)]
struct Sha256Global {
    signature: Signature,
}

impl Sha256Global {
    fn new() -> Self {
        Self { signature: Signature::any(1, Volatility::Immutable) }
    }
}

impl ScalarUDFImpl for Sha256Global {
    fn name(&self) -> &str {
        "mask_sha256_global"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, arguments: &[DataType]) -> Result<DataType> {
        match arguments {
            [DataType::Utf8 | DataType::Utf8View] => Ok(DataType::Utf8),
            [DataType::Binary | DataType::BinaryView] => Ok(DataType::Binary),
            _ => plan_err!("`sha-256-global` is not defined for this type"),
        }
    }

    fn invoke_with_args(&self, arguments: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let Some(argument) = arguments.args.first() else {
            return exec_err!("a mask takes one argument");
        };
        let array = argument.to_array(arguments.number_rows)?;
        Ok(ColumnarValue::Array(digest(&array)?))
    }
}

fn digest(array: &ArrayRef) -> Result<ArrayRef> {
    match array.data_type() {
        DataType::Utf8 => Ok(texts(array.as_string::<i32>())),
        DataType::Utf8View => Ok(texts(array.as_string_view())),
        DataType::Binary => Ok(bytes(array.as_binary::<i32>())),
        DataType::BinaryView => Ok(bytes(array.as_binary_view())),
        other => exec_err!("`sha-256-global` is not defined for `{other}`"),
    }
}

fn texts<'a>(values: impl IntoIterator<Item = Option<&'a str>>) -> ArrayRef {
    let hash = |text: &str| hex(&Sha256::digest(text.as_bytes()));
    Arc::new(values.into_iter().map(|value| value.map(hash)).collect::<StringArray>())
}

fn bytes<'a>(values: impl IntoIterator<Item = Option<&'a [u8]>>) -> ArrayRef {
    Arc::new(values.into_iter().map(|value| value.map(Sha256::digest)).collect::<BinaryArray>())
}

fn hex(bytes: &[u8]) -> String {
    const DIGITS: [char; 16] = ['0', '1', '2', '3', '4', '5', '6', '7', '8', '9', 'a', 'b', 'c', 'd', 'e', 'f'];
    let digit = |nibble: u8| DIGITS.get(usize::from(nibble)).copied().unwrap_or_default();
    bytes.iter().flat_map(|byte| [digit(byte >> 4), digit(byte & 15)]).collect()
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use datafusion::arrow::array::{StringArray, StringViewArray};
    use datafusion::arrow::datatypes::TimeUnit;
    use datafusion::logical_expr::ExprSchemable;
    use datafusion::prelude::col;

    use datafusion::arrow::array::Array as _;

    use super::*;

    #[test]
    fn digests_are_the_published_ones_and_null_stays_null() {
        let values = vec![Some("abc"), None, Some("")];
        let plain: ArrayRef = Arc::new(StringArray::from(values.clone()));
        let views: ArrayRef = Arc::new(StringViewArray::from(values));
        for values in [plain, views] {
            let digests = digest(&values).unwrap();
            let digests = digests.as_string::<i32>();
            assert_eq!(digests.value(0), "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
            assert!(digests.is_null(1));
            assert_eq!(digests.value(2), "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
        }
    }

    #[test]
    fn fixed_values_have_the_columns_type() {
        for kind in [
            DataType::Utf8,
            DataType::Utf8View,
            DataType::Boolean,
            DataType::Int32,
            DataType::Int64,
            DataType::Float64,
            DataType::Decimal128(12, 2),
            DataType::Date32,
            DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into())),
        ] {
            let value = fixed(None, &kind).unwrap();
            assert_eq!(value.data_type(), kind);
            assert!(!value.is_null());
            let schema = datafusion::common::DFSchema::empty();
            let field = masked(&Mask::Fixed(None), col("c"), &kind).unwrap().to_field(&schema).unwrap().1;
            assert_eq!((field.data_type(), field.is_nullable()), (&kind, true));
        }
        assert_eq!(fixed(Some("7"), &DataType::Int32).unwrap(), Scalar::Int32(Some(7)));
        assert!(fixed(Some("seven"), &DataType::Int32).is_err());
    }

    #[test]
    fn a_digest_of_a_number_is_refused() {
        assert!(masked(&Mask::Sha256Global, col("c"), &DataType::Int64).is_err());
    }
}
