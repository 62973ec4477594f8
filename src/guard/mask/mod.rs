//! Masks: how values are hidden, leaf by leaf, as expressions that no optimizer can see through.
//!
//! ```text
//! grant (Access) --Shown::of--> treatment --apply(column, type, keys)--> physical expression --> hidden values
//! ```
//!
//! [`apply`] is the way in: it gives the expression that shows a column through a treatment, or says why there is none;
//! the caller then denies the column. [`applied`] tells such an expression again, for the verifier, by its type and
//! never by its name, which anyone can imitate.
//!
//! - Which mask is defined for which type says [`Mask::applies_to`], and nothing here says it again.
//! - A mask is total: for values of its type it gives values of its type. What would be no value of it is NULL.
//! - What comes out is built anew: no raw byte is under a NULL slot, in a shared buffer, in a dictionary or next to a
//!   slice. The type stays, views and dictionaries included; every masked column is nullable, also inside of others.
//! - NULL stays NULL, except that `replace-with-null` and `mask-to-fixed-value` do not look at what they replace.
//! - Keys and salts are in [`Keys`]. Plans and their texts hold names alone.
//!
//! The masks with a name of Iceberg's read restrictions do what those say, with one exception: `show-first-4` and
//! `show-last-4` hide a text of four characters or fewer, in the way of `mask-alphanum`.

mod digest;
mod fixed;
mod hashed;
mod keys;
mod number;
mod shape;
#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic, reason = "tests")]
mod tests;
mod text;
mod time;

use std::sync::Arc;

use datafusion::arrow::array::ArrayRef;
use datafusion::arrow::datatypes::{DataType, Field};
use datafusion::arrow::error::ArrowError;
use datafusion::common::config::ConfigOptions;
use datafusion::common::{Result, ScalarValue, exec_err, plan_err};
use datafusion::logical_expr::{ColumnarValue, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility};
use datafusion::physical_expr::{PhysicalExpr, ScalarFunctionExpr};
use polder_catalog::policy::{Access, Mask};

use self::shape::{Shape, shape};
pub use hashed::KeyedHash;
pub use keys::Keys;

/// How a column is shown.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Shown {
    /// As it is.
    Raw,
    /// Through this mask, which acts on each item of a list.
    Masked(Mask),
    /// Field by field, through the lists and maps between the column and its fields. The keys of such maps are raw, and
    /// a field without an entry is left out.
    Fields(Vec<(String, Shown)>),
}

impl Shown {
    /// What is granted of a column, or `None` where nothing is.
    pub fn of(access: &Access) -> Option<Self> {
        match access {
            Access::Raw => Some(Self::Raw),
            Access::Masked(mask) => Some(Self::Masked(mask.clone())),
            Access::Denied => None,
            Access::Nested(fields) => {
                let shown = |field: &polder_catalog::policy::ColumnGrant| {
                    Some((field.column.clone(), Self::of(&field.access)?))
                };
                Some(Self::Fields(fields.iter().filter_map(shown).collect()))
            }
        }
    }

    /// The masks, each with the path of what it hides.
    pub(super) fn masks(&self, path: &str) -> Vec<(String, &Mask)> {
        match self {
            Self::Raw => Vec::new(),
            Self::Masked(mask) => vec![(path.to_owned(), mask)],
            Self::Fields(fields) => {
                fields.iter().flat_map(|(name, shown)| shown.masks(&format!("{path}.{name}"))).collect()
            }
        }
    }

    /// What an expression that does it is called.
    fn name(&self) -> &'static str {
        match self {
            Self::Raw => "mask_nothing",
            Self::Fields(_) => "mask_fields",
            Self::Masked(mask) => match mask {
                Mask::Null => "mask_null",
                Mask::Fixed(_) => "mask_fixed",
                Mask::Sha256QueryLocal => "mask_sha256_query_local",
                Mask::Hmac(_) => "mask_hmac",
                Mask::Sha256Global => "mask_sha256_global",
                Mask::Bucket(_) => "mask_bucket",
                Mask::Year => "mask_year",
                Mask::Month => "mask_month",
                Mask::Alphanum => "mask_alphanum",
                Mask::Last4 => "mask_show_last_4",
                Mask::First4 => "mask_show_first_4",
            },
        }
    }
}

/// Why a column cannot be shown in the way that is asked for. It is then denied.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Unfit {
    /// The mask is not defined for the type.
    #[error("`{shown}` is not defined for `{kind}`")]
    Undefined {
        /// What the expression would be called.
        shown: &'static str,
        /// The type of the values.
        kind: DataType,
    },
    /// The struct has no such field.
    #[error("there is no field `{0}`")]
    NoField(String),
    /// The mesh has no such key, or its secret could not be read.
    #[error("the key `{0}` of a mask cannot be read")]
    NoKey(String),
    /// The machine gave no randomness.
    #[error("no salt could be drawn")]
    NoSalt,
}

/// The expression that shows `input`, which has type `kind`, in the way of `shown`.
///
/// It has the name of the mask and no other property that tells anything. A mask that needs no input takes none, so that
/// the scan does not even read the column.
///
/// # Errors
/// When there is no such expression. The caller then denies the column.
pub fn apply(
    shown: &Shown,
    input: Arc<dyn PhysicalExpr>,
    kind: &DataType,
    keys: &Keys,
) -> Result<Arc<dyn PhysicalExpr>, Unfit> {
    if *shown == Shown::Raw {
        return Ok(input);
    }
    let masking = Masking::new(shown, kind, keys)?;
    let inputs = if masking.shape.is_constant() { Vec::new() } else { vec![input] };
    let (name, field) = (shown.name(), Arc::new(Field::new(shown.name(), masking.to.clone(), true)));
    let function = Arc::new(ScalarUDF::from(masking));
    Ok(Arc::new(ScalarFunctionExpr::new(name, function, inputs, field, Arc::new(ConfigOptions::new()))))
}

/// What an expression of [`apply`] shows, and of what; the input is `None` where the mask takes none.
pub fn applied(expr: &dyn PhysicalExpr) -> Option<(&Shown, Option<&Arc<dyn PhysicalExpr>>)> {
    let call = expr.downcast_ref::<ScalarFunctionExpr>()?;
    let function: &dyn std::any::Any = call.fun().inner().as_ref();
    match (function.downcast_ref::<Masking>()?, call.args()) {
        (masking, []) if masking.shape.is_constant() => Some((&masking.shown, None)),
        (masking, [input]) if !masking.shape.is_constant() => Some((&masking.shown, Some(input))),
        _ => None,
    }
}

/// Whether a column of type `kind` can be shown in the way of `shown`.
///
/// # Errors
/// When it cannot.
pub fn fits(shown: &Shown, kind: &DataType, keys: &Keys) -> Result<(), Unfit> {
    Masking::new(shown, kind, keys).map(drop)
}

/// Rows that a mask could not be applied to: more than one array can hold, or of another type than it was made for.
/// It says no more, because arrow's own errors quote values.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Failed;

impl From<ArrowError> for Failed {
    fn from(_: ArrowError) -> Self {
        Self
    }
}

impl From<crate::scrub::Fault> for Failed {
    fn from(_: crate::scrub::Fault) -> Self {
        Self
    }
}

/// A treatment made ready for a type, as a function.
#[derive(Debug, PartialEq, Eq, Hash)]
struct Masking {
    shown: Shown,
    shape: Shape,
    from: DataType,
    to: DataType,
    signature: Signature,
}

impl Masking {
    fn new(shown: &Shown, kind: &DataType, keys: &Keys) -> Result<Self, Unfit> {
        let (shape, to) = shape(shown, kind, keys)?;
        // A constant is volatile in name only: what is not gets folded into a literal, and a literal that is not NULL
        // tells the planner that no row is.
        let signature = match shape.is_constant() {
            true => Signature::nullary(Volatility::Volatile),
            false => Signature::any(1, Volatility::Immutable),
        };
        Ok(Self { shown: shown.clone(), shape, from: kind.clone(), to, signature })
    }

    /// The values as they are shown.
    fn show(&self, array: &ArrayRef) -> Result<ArrayRef, Failed> {
        if *array.data_type() != self.from {
            return Err(Failed);
        }
        self.shape.apply(array)
    }
}

impl ScalarUDFImpl for Masking {
    fn name(&self) -> &str {
        self.shown.name()
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, arguments: &[DataType]) -> Result<DataType> {
        match arguments {
            [] if self.shape.is_constant() => Ok(self.to.clone()),
            [kind] if *kind == self.from => Ok(self.to.clone()),
            _ => plan_err!("a mask is not defined for this type"),
        }
    }

    fn invoke_with_args(&self, arguments: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let shown = match (&self.shape, arguments.args.as_slice()) {
            (Shape::Null, []) => return ScalarValue::try_from(&self.to).map(ColumnarValue::Scalar),
            (Shape::Fixed(value), []) => return Ok(ColumnarValue::Scalar(value.clone())),
            (_, [argument]) => self.show(&argument.to_array(arguments.number_rows)?),
            _ => Err(Failed),
        };
        match shown {
            Ok(shown) => Ok(ColumnarValue::Array(shown)),
            Err(Failed) => exec_err!("a mask could not be applied"),
        }
    }
}
