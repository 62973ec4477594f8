//! `hmac(value, 'key')` in the query of a derived product: what the mask `hmac(key)` gives of the value.
//!
//! Who could call it on values of one's own would find out what is behind the mask by trying. It is therefore in no
//! statement: a contract's query alone has it, under keys that the mesh lists for that.

use std::collections::BTreeSet;

use datafusion::arrow::array::ArrayRef;
use datafusion::arrow::datatypes::{DataType, Field, FieldRef};
use datafusion::common::{Result, ScalarValue, exec_err, internal_err, plan_err};
use datafusion::logical_expr::{
    ColumnarValue, ReturnFieldArgs, ScalarFunctionArgs, ScalarUDFImpl, Signature, Volatility,
};

use super::digest::Digest;
use super::keys::Keys;

/// The function.
#[derive(Debug, PartialEq, Eq, Hash)]
pub struct KeyedHash {
    keys: Keys,
    listed: BTreeSet<String>,
    signature: Signature,
}

impl KeyedHash {
    /// Under those of `keys` that are listed for it.
    pub fn new<'l>(keys: Keys, listed: impl IntoIterator<Item = &'l str>) -> Self {
        let listed = listed.into_iter().map(str::to_owned).collect();
        Self { keys, listed, signature: Signature::user_defined(Volatility::Immutable) }
    }
}

impl ScalarUDFImpl for KeyedHash {
    fn name(&self) -> &'static str {
        "hmac"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn coerce_types(&self, types: &[DataType]) -> Result<Vec<DataType>> {
        use DataType as D;
        let [value, _] = types else {
            return plan_err!("`hmac` takes a value and the name of a key: hmac(email, 'pii')");
        };
        let value = match value {
            D::Utf8 | D::LargeUtf8 | D::Utf8View | D::Binary | D::LargeBinary | D::BinaryView | D::Int32 | D::Int64 => {
                value.clone()
            }
            D::Null => D::Utf8,
            D::Int8 | D::Int16 => D::Int32,
            other => return plan_err!("`hmac` hashes texts, whole numbers and bytes, and this is {other}"),
        };
        Ok(vec![value, D::Utf8])
    }

    fn return_type(&self, _types: &[DataType]) -> Result<DataType> {
        internal_err!("the type of `hmac` follows from its fields")
    }

    fn return_field_from_args(&self, args: ReturnFieldArgs<'_>) -> Result<FieldRef> {
        let (Some(value), Some(key)) = (args.arg_fields.first(), args.scalar_arguments.get(1)) else {
            return internal_err!("`hmac` has two arguments");
        };
        match key.and_then(text) {
            Some(key) if self.listed.contains(key) => {
                Ok(Field::new(self.name(), value.data_type().clone(), value.is_nullable()).into())
            }
            _ => plan_err!("`hmac` takes the name of a key that `standards.keyed_hashes` of mesh.yaml lists"),
        }
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let [value, ColumnarValue::Scalar(key)] = args.args.as_slice() else {
            return internal_err!("the key of `hmac` is not one text");
        };
        let key = text(key).filter(|key| self.listed.contains(*key));
        let Some(key) = key.and_then(|key| self.keys.key(key)) else {
            return exec_err!("the key of `hmac` could not be read");
        };
        let digest = |array: &ArrayRef| match Digest::Keyed(key.clone()).of(array) {
            Ok(digests) => Ok(digests),
            Err(_) => internal_err!("`hmac` was given a type that it does not hash"),
        };
        Ok(match value {
            ColumnarValue::Array(array) => ColumnarValue::Array(digest(array)?),
            ColumnarValue::Scalar(scalar) => {
                ColumnarValue::Scalar(ScalarValue::try_from_array(&digest(&scalar.to_array()?)?, 0)?)
            }
        })
    }
}

fn text(value: &ScalarValue) -> Option<&str> {
    value.try_as_str().flatten()
}
