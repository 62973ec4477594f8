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
use datafusion::common::{Result, internal_err};
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

/// The positions of the rows of a file as they are read: the live ones, in the file's order.
#[derive(Debug)]
pub(super) struct Positions {
    left: std::vec::IntoIter<Range<u64>>,
    now: Range<u64>,
}

impl Positions {
    pub(super) fn new(live: Vec<Range<u64>>) -> Self {
        Self { left: live.into_iter(), now: 0..0 }
    }

    /// The ids of the next `rows` rows of a file whose first row has the id `first`.
    pub(super) fn next_ids(&mut self, first: i64, rows: usize) -> Result<Int64Array> {
        let mut ids = Vec::with_capacity(rows);
        while ids.len() < rows {
            let Some(position) = self.now.next() else {
                let Some(range) = self.left.next() else {
                    return internal_err!("a file gave more rows than it has");
                };
                self.now = range;
                continue;
            };
            ids.push(i64::try_from(position).unwrap_or(i64::MAX).saturating_add(first));
        }
        Ok(ids.into())
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::single_range_in_vec_init, reason = "tests")]
mod tests {
    use super::*;

    #[test]
    fn ids_jump_over_what_is_not_read() {
        let mut positions = Positions::new(vec![2..4, 4..4, 7..9]);
        assert_eq!(positions.next_ids(100, 3).unwrap().values(), &[102, 103, 107]);
        assert_eq!(positions.next_ids(100, 1).unwrap().values(), &[108]);
        assert!(positions.next_ids(100, 1).is_err());
    }

    #[test]
    fn what_a_file_holds_goes_before_what_it_inherits() {
        let held: ArrayRef = Arc::new(Int64Array::from(vec![Some(1), None, Some(3)]));
        let filled = fill(&held, &Int64Array::from(vec![10, 11, 12])).unwrap();
        assert_eq!(filled.as_primitive::<Int64Type>().values(), &[1, 11, 3]);
    }
}
