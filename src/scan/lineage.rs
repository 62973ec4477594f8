//! Row lineage: the id of each row and when it last changed, for tables of the format's third version.
//!
//! A file may hold the two as columns; where it has none, or NULL, the values follow from the file and the row's place in
//! it. Files from before the table kept track have neither.

use std::ops::Range;
use std::sync::Arc;

use datafusion::arrow::array::{Array, ArrayRef, AsArray, Int64Array};
use datafusion::arrow::compute::is_not_null;
use datafusion::arrow::compute::kernels::zip::zip;
use datafusion::arrow::datatypes::Int64Type;
use datafusion::common::Result;
use iceberg::spec::{NestedField, NestedFieldRef, PrimitiveType, Type};

/// The reserved field of a row's id.
pub const ROW_ID: i32 = 2_147_483_540;
/// The reserved field of the sequence number at which a row last changed.
pub const LAST_UPDATED: i32 = 2_147_483_539;

const NAMES: [(i32, &str); 2] = [(ROW_ID, "_row_id"), (LAST_UPDATED, "_last_updated_sequence_number")];

/// The reserved field with this id.
pub fn field(id: i32) -> Option<NestedFieldRef> {
    let (_, name) = NAMES.iter().find(|(reserved, _)| *reserved == id)?;
    Some(Arc::new(NestedField::optional(id, *name, Type::Primitive(PrimitiveType::Long))))
}

/// The reserved field with this name.
pub fn reserved(name: &str) -> Option<i32> {
    NAMES.iter().find(|(_, reserved)| *reserved == name).map(|(id, _)| *id)
}

/// `held`, a column of a file, with `inherited` where it is NULL.
pub(super) fn fill(held: &ArrayRef, inherited: &Int64Array) -> Result<ArrayRef> {
    if held.null_count() == held.len() {
        return Ok(Arc::new(inherited.clone()));
    }
    Ok(zip(&is_not_null(held.as_ref())?, held.as_primitive::<Int64Type>(), inherited)?)
}

/// The ids of the rows at these positions of a file whose first row has the id `first`.
pub(super) fn ids(positions: &[Range<u64>], first: i64) -> Int64Array {
    let id = |position: u64| i64::try_from(position).unwrap_or(i64::MAX).saturating_add(first);
    positions.iter().cloned().flatten().map(id).collect()
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    #[test]
    fn what_a_file_holds_goes_before_what_it_inherits() {
        let held: ArrayRef = Arc::new(Int64Array::from(vec![Some(1), None, Some(3)]));
        let filled = fill(&held, &Int64Array::from(vec![10, 11, 12])).unwrap();
        assert_eq!(filled.as_primitive::<Int64Type>().values(), &[1, 11, 3]);
    }
}
