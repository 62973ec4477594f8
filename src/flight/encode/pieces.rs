//! Rows are cut into pieces that fit a message.

use datafusion::arrow::array::{Array, RecordBatch};
use datafusion::arrow::datatypes::DataType;

/// Pieces of about `most` bytes each, in their order, or of a single row that is larger.
pub(super) fn pieces(batch: RecordBatch, most: usize) -> Vec<RecordBatch> {
    let (mut rest, mut pieces) = (vec![batch], Vec::new());
    while let Some(batch) = rest.pop() {
        let rows = batch.num_rows();
        let size = size(&batch);
        if size <= most || rows < 2 {
            pieces.push(batch);
            continue;
        }
        let step = (rows / size.div_ceil(most)).clamp(1, rows.div_ceil(2));
        // The last piece first, because the stack gives them back the other way round.
        let starts: Vec<usize> = (0..rows).step_by(step).collect();
        rest.extend(starts.into_iter().rev().map(|start| batch.slice(start, step.min(rows - start))));
    }
    pieces
}

fn size(batch: &RecordBatch) -> usize {
    batch.columns().iter().map(|column| sliced_size(column.as_ref())).sum()
}

/// The bytes of an array's own rows. Arrow's own figure counts a list's items without regard to the slice.
fn sliced_size(array: &dyn Array) -> usize {
    use datafusion::arrow::array::cast::AsArray as _;
    let rows = array.len();
    match array.data_type() {
        DataType::List(_) => {
            let list = array.as_list::<i32>();
            let (start, end) = ends(list.value_offsets());
            rows * 4 + sliced_size(list.values().slice(start, end - start).as_ref())
        }
        DataType::Map(..) => {
            let map = array.as_map();
            let (start, end) = ends(map.value_offsets());
            rows * 4 + sliced_size(&map.entries().slice(start, end - start))
        }
        DataType::FixedSizeList(..) => sliced_size(array.as_fixed_size_list().values().as_ref()),
        DataType::Utf8View => views(rows, array.as_string_view().views()),
        DataType::BinaryView => views(rows, array.as_binary_view().views()),
        // Its values are cleared of those that no row has, and there are no more of them than rows.
        DataType::Dictionary(key, _) => {
            let values = array.as_any_dictionary().values();
            let share = sliced_size(values.as_ref()).saturating_mul(rows.min(values.len()));
            rows * key.primitive_width().unwrap_or_default() + share / values.len().max(1)
        }
        DataType::Struct(_) => array.as_struct().columns().iter().map(|column| sliced_size(column.as_ref())).sum(),
        _ => array.to_data().get_slice_memory_size().unwrap_or_else(|_| array.get_buffer_memory_size()),
    }
}

/// Views, and the bytes that those of them point at which do not hold their own.
fn views(rows: usize, views: &[u128]) -> usize {
    // The lowest four bytes of a view are the length.
    let lengths = views.iter().map(|view| (view & u128::from(u32::MAX)) as usize);
    rows * 16 + lengths.filter(|length| *length > 12).sum::<usize>()
}

fn ends(offsets: &[i32]) -> (usize, usize) {
    let at = |offset: Option<&i32>| offset.and_then(|offset| usize::try_from(*offset).ok()).unwrap_or_default();
    (at(offsets.first()), at(offsets.last()))
}
