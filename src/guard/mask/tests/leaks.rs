//! Nothing raw is in the buffers of what a mask gives, in memory and as bytes of IPC, for each mask, type and nesting.

use std::collections::BTreeSet;

use datafusion::arrow::array::{
    Array, ArrayData, ListArray, MapArray, RecordBatch, StringArray, StructArray, make_array,
};
use datafusion::arrow::buffer::{NullBuffer, OffsetBuffer};
use datafusion::arrow::compute::cast;
use datafusion::arrow::datatypes::Field;
use datafusion::arrow::ipc::writer::StreamWriter;

use super::*;

/// So many values of each array of [`types`] occur nowhere else.
const TOKENS: usize = 24;

/// The bytes of the values of an array, one after the other, that nobody may see.
fn tokens(array: &ArrayRef) -> BTreeSet<Vec<u8>> {
    let one = |row| {
        let data = array.slice(row, 1).to_data();
        let buffer = data.buffers().last().unwrap();
        match array.data_type().primitive_width() {
            Some(width) => buffer.as_slice()[..width].to_vec(),
            None if array.data_type() == &DataType::Boolean => Vec::new(),
            None if matches!(array.data_type(), DataType::FixedSizeBinary(_)) => {
                data.buffers()[0].as_slice()[..4].to_vec()
            }
            None => {
                let offsets = data.buffers()[0].typed_data::<i32>();
                let at = |place: usize| usize::try_from(offsets[data.offset() + place]).unwrap();
                buffer.as_slice()[at(0)..at(1)].to_vec()
            }
        }
    };
    (0..TOKENS).map(one).filter(|token| !token.is_empty()).collect()
}

fn holds(data: &ArrayData, token: &[u8]) -> bool {
    data.buffers().iter().any(|buffer| buffer.as_slice().windows(token.len()).any(|window| window == token))
        || data.child_data().iter().any(|child| holds(child, token))
}

fn ipc(array: &ArrayRef) -> Vec<u8> {
    let batch = RecordBatch::try_from_iter_with_nullable([("c", Arc::clone(array), true)]).unwrap();
    let mut bytes = Vec::new();
    let mut writer = StreamWriter::try_new(&mut bytes, &batch.schema()).unwrap();
    writer.write(&batch).unwrap();
    writer.finish().unwrap();
    drop(writer);
    bytes
}

/// NULL in every third row, with the value still under it.
fn nulls() -> NullBuffer {
    (0..TOKENS).map(|row| row % 3 != 0).collect::<Vec<_>>().into()
}

/// An array in all the places where a column can have it: what is masked, and how.
fn places(array: &ArrayRef, mask: &Mask) -> Vec<(&'static str, ArrayRef, Shown)> {
    let leaf = Shown::Masked(mask.clone());
    let array = array.slice(0, TOKENS);
    let field = Arc::new(Field::new("leaf", array.data_type().clone(), true));
    let inside = Shown::Fields(vec![("leaf".to_owned(), leaf.clone())]);
    let ones = || OffsetBuffer::<i32>::from_lengths(std::iter::repeat_n(1, TOKENS));
    let covered = make_array(array.to_data().into_builder().nulls(Some(nulls())).build().unwrap());
    let pair = vec![Arc::clone(&field), Arc::new(Field::new("other", array.data_type().clone(), true))];
    let of = StructArray::new(pair.into(), vec![array.clone(), array.clone()], Some(nulls()));
    let item = Arc::new(Field::new("element", of.data_type().clone(), true));
    let keys: ArrayRef = Arc::new(StringArray::from_iter_values((0..TOKENS).map(|row| format!("k{row}"))));
    let entry = [Arc::new(Field::new("key", DataType::Utf8, false)), item.clone()];
    let entries = StructArray::new(entry.to_vec().into(), vec![keys, Arc::new(of.clone())], None);
    let entry = Arc::new(Field::new("entries", entries.data_type().clone(), false));
    let list = ListArray::new(Arc::clone(&field), ones(), array.clone(), Some(nulls()));
    let mut places: Vec<(_, ArrayRef, _)> = vec![
        ("plain", array.clone(), leaf.clone()),
        ("covered", covered.clone(), leaf.clone()),
        ("list", Arc::new(list), leaf.clone()),
        ("struct", Arc::new(of.clone()), inside.clone()),
        ("list of structs", Arc::new(ListArray::new(item, ones(), Arc::new(of), Some(nulls()))), inside.clone()),
        ("map", Arc::new(MapArray::new(entry, ones(), entries, Some(nulls()), false)), inside),
    ];
    let other = match array.data_type() {
        DataType::Utf8 => Some(DataType::Utf8View),
        DataType::Binary => Some(DataType::BinaryView),
        _ => None,
    };
    if let Some(view) = other {
        let plain = array.data_type().clone();
        let dictionary = DataType::Dictionary(Box::new(DataType::Int32), Box::new(plain));
        places.push(("view", cast(&array, &view).unwrap(), leaf.clone()));
        places.push(("dictionary", cast(&array, &dictionary).unwrap(), leaf));
    }
    places
}

#[test]
fn no_raw_value_is_left_whatever_the_mask_the_type_and_the_nesting() {
    let mut checked = 0;
    for (kind, array) in types() {
        let tokens = tokens(&array);
        for mask in masks() {
            // The multiples of such widths are the values themselves.
            if matches!(&mask, Mask::Bucket(width) if width.scale > 0 || width.unscaled < 1_000) {
                continue;
            }
            for (place, raw, shown) in places(&array, &mask) {
                let Ok(masking) = Masking::new(&shown, raw.data_type(), &keys()) else { continue };
                for part in [raw.clone(), raw.slice(5, 13)] {
                    let masked = masking.show(&part).unwrap();
                    let (memory, wire) = (masked.to_data(), ipc(&masked));
                    memory.validate_full().unwrap();
                    for token in &tokens {
                        assert!(!holds(&memory, token), "{mask} of {kind} in memory: {place}");
                        let found = token.len() > 4 && wire.windows(token.len()).any(|window| window == token);
                        assert!(!found, "{mask} of {kind} on the wire: {place}");
                    }
                    checked += 1;
                }
            }
        }
    }
    assert!(checked > 1_000, "{checked}");
}

#[test]
fn the_search_finds_what_is_there() {
    for (kind, array) in types() {
        for token in tokens(&array) {
            for (place, raw, _) in places(&array, &Mask::Null) {
                assert!(holds(&raw.to_data(), &token), "{kind}: {place}");
            }
        }
    }
}

#[test]
fn a_raw_field_beside_a_masked_one_keeps_nothing_of_the_rows_that_are_not_there() {
    let array: ArrayRef = types().into_iter().find(|(kind, _)| *kind == PhysicalType::String).unwrap().1;
    let shown =
        Shown::Fields(vec![("leaf".to_owned(), Shown::Masked(Mask::Alphanum)), ("other".to_owned(), Shown::Raw)]);
    for (place, raw, how) in places(&array, &Mask::Alphanum) {
        if !matches!(how, Shown::Fields(_)) {
            continue;
        }
        let masked = Masking::new(&shown, raw.data_type(), &keys()).unwrap().show(&raw.slice(4, 9)).unwrap();
        for row in 0..TOKENS {
            let there = (4..13).contains(&row) && row % 3 != 0;
            let token = format!("RÄW-{row:02}-");
            assert_eq!(holds(&masked.to_data(), token.as_bytes()), there, "{place} {row}");
        }
    }
}
