//! Digests: SHA-256 and HMAC-SHA-256 of a value's bytes, in the value's own type.
//!
//! | type | what is digested | what of the digest is shown |
//! |---|---|---|
//! | string | UTF-8 | all of it, as 64 lowercase hexadecimal digits |
//! | binary | the bytes | all 32 bytes |
//! | int, long | 4 or 8 bytes, little-endian | the first 4 or 8 bytes, read in the same way |
//!
//! That is what Iceberg's read restrictions say of `sha-256-global`; `sha-256-query-local` digests the salt before the
//! value, and `hmac` does the same with a key.

use std::sync::Arc;

use datafusion::arrow::array::types::{Int32Type, Int64Type};
use datafusion::arrow::array::{Array, ArrayRef, AsArray};
use datafusion::arrow::datatypes::DataType;
use ring::{digest, hmac};

use super::Failed;
use super::keys::Secretly;
use super::text::rewrite;

/// Which digest.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) enum Digest {
    /// Of the value alone.
    Plain,
    /// Of a salt and the value.
    Salted(Secretly<[u8; 32]>),
    /// Under a key.
    Keyed(Secretly<hmac::Key>),
}

impl Digest {
    /// The digests of an array's values. NULL stays NULL.
    pub(super) fn of(&self, array: &ArrayRef) -> Result<ArrayRef, Failed> {
        match array.data_type() {
            DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View => {
                rewrite(array, 64, |value, out| self.bytes(value, |digest| hex(digest, out)))
            }
            DataType::Binary | DataType::LargeBinary | DataType::BinaryView => {
                rewrite(array, 32, |value, out| self.bytes(value, |digest| out.extend_from_slice(digest)))
            }
            DataType::Int32 => {
                let first = |value: i32| self.bytes(&value.to_le_bytes(), |d| d.first_chunk().copied());
                let ints = array.as_primitive::<Int32Type>();
                Ok(Arc::new(ints.unary_opt::<_, Int32Type>(|value| first(value).map(i32::from_le_bytes))))
            }
            DataType::Int64 => {
                let first = |value: i64| self.bytes(&value.to_le_bytes(), |d| d.first_chunk().copied());
                let longs = array.as_primitive::<Int64Type>();
                Ok(Arc::new(longs.unary_opt::<_, Int64Type>(|value| first(value).map(i64::from_le_bytes))))
            }
            _ => Err(Failed),
        }
    }

    fn bytes<T>(&self, value: &[u8], then: impl FnOnce(&[u8]) -> T) -> T {
        match self {
            Self::Plain => then(digest::digest(&digest::SHA256, value).as_ref()),
            Self::Salted(salt) => {
                let mut context = digest::Context::new(&digest::SHA256);
                context.update(&salt.value);
                context.update(value);
                then(context.finish().as_ref())
            }
            Self::Keyed(key) => then(hmac::sign(&key.value, value).as_ref()),
        }
    }
}

fn hex(bytes: &[u8], out: &mut Vec<u8>) {
    let digit = |nibble: u8| if nibble < 10 { b'0' + nibble } else { b'a' - 10 + nibble };
    out.extend(bytes.iter().flat_map(|byte| [digit(byte >> 4), digit(byte & 15)]));
}
