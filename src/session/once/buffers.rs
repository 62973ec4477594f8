//! What batches hold together, of which several can be slices of the same buffers: an aggregation makes its groups at
//! once and gives them away in slices, and each of these counts as all of them.

use std::collections::HashMap;

use datafusion::arrow::array::{Array, ArrayData, RecordBatch};

/// The buffers of some batches: where each lies, how many batches have it, and its bytes.
#[derive(Debug, Default)]
pub(super) struct Buffers(HashMap<usize, (usize, usize)>);

impl Buffers {
    /// How many bytes more are held with this batch.
    pub(super) fn with(&mut self, batch: &RecordBatch) -> usize {
        let mut more = 0_usize;
        each(batch, &mut |place, bytes| {
            let (times, _) = self.0.entry(place).or_insert((0, bytes));
            more = more.saturating_add(if *times == 0 { bytes } else { 0 });
            *times = times.saturating_add(1);
        });
        more
    }

    /// How many bytes fewer are held without it.
    pub(super) fn without(&mut self, batch: &RecordBatch) -> usize {
        let mut fewer = 0_usize;
        each(batch, &mut |place, _| {
            let Some((times, bytes)) = self.0.get_mut(&place) else { return };
            *times = times.saturating_sub(1);
            if *times == 0 {
                fewer = fewer.saturating_add(*bytes);
                self.0.remove(&place);
            }
        });
        fewer
    }
}

/// Each buffer of a batch: where it lies, and its bytes.
fn each(batch: &RecordBatch, told: &mut impl FnMut(usize, usize)) {
    let mut rest: Vec<ArrayData> = batch.columns().iter().map(|column| column.to_data()).collect();
    while let Some(data) = rest.pop() {
        let nulls = data.nulls().map(|nulls| nulls.buffer());
        for buffer in data.buffers().iter().chain(nulls) {
            told(buffer.data_ptr().as_ptr().addr(), buffer.capacity());
        }
        rest.extend(data.child_data().iter().cloned());
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use std::sync::Arc;

    use datafusion::arrow::array::{ArrayRef, Int64Array, StringViewArray};

    use super::*;

    #[test]
    fn slices_of_a_batch_hold_it_once() {
        let numbers = Arc::new(Int64Array::from_iter((0..1000).map(|n| (n % 3 > 0).then_some(n)))) as ArrayRef;
        let texts = Arc::new(StringViewArray::from_iter_values((0..1000).map(|n| format!("{n:020}")))) as ArrayRef;
        let batch = RecordBatch::try_from_iter([("n", numbers), ("t", texts)]).unwrap();
        let mut buffers = Buffers::default();
        let whole = buffers.with(&batch.slice(0, 100));
        assert!(whole >= 1000 * (8 + 16 + 20), "{whole}");
        assert_eq!(buffers.with(&batch.slice(100, 100)), 0);
        assert_eq!(buffers.without(&batch.slice(0, 100)), 0);
        assert_eq!(buffers.without(&batch.slice(100, 100)), whole);
        assert!(buffers.0.is_empty());
    }
}
