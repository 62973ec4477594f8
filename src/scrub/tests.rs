//! What is hidden is gone, what is shown is the same, and what is tidy is not touched.

use std::sync::Arc;

use datafusion::arrow::array::{
    Array, ArrayData, ArrayRef, AsArray, BooleanArray, Int64Array, ListArray, MapArray, StringArray, StringViewArray,
    StructArray, make_array,
};
use datafusion::arrow::buffer::{Buffer, NullBuffer, OffsetBuffer};
use datafusion::arrow::datatypes::{DataType, Field};

use super::*;

const HIDDEN: &str = "hidden-from-this-principal";

/// NULL in every third row, whatever lies there.
fn nulls(length: usize) -> NullBuffer {
    NullBuffer::from((0..length).map(|row| row % 3 != 0).collect::<Vec<_>>())
}

fn covered(array: ArrayRef) -> ArrayRef {
    let nulls = nulls(array.len());
    make_array(array.to_data().into_builder().nulls(Some(nulls)).build().unwrap())
}

/// Texts that are hidden where [`nulls`] are.
fn texts() -> ArrayRef {
    Arc::new(StringArray::from_iter_values(
        (0..30).map(|row| if row % 3 == 0 { format!("{HIDDEN}-{row}") } else { format!("shown-{row}") }),
    ))
}

/// Every way to hold texts under NULL.
fn nestings() -> Vec<(&'static str, ArrayRef)> {
    let field = |name: &str, kind: &DataType| Arc::new(Field::new(name, kind.clone(), true));
    let ones = || OffsetBuffer::<i32>::from_lengths(std::iter::repeat_n(1, 30));
    let kind = DataType::Utf8;
    let inside = StructArray::new(vec![field("inner", &kind)].into(), vec![texts()], Some(nulls(30)));
    let keys: ArrayRef = texts();
    let entries = StructArray::new(
        vec![Arc::new(Field::new("key", kind.clone(), false)), field("value", &kind)].into(),
        vec![keys, texts()],
        None,
    );
    let entry = Arc::new(Field::new("entries", entries.data_type().clone(), false));
    let views: ArrayRef = Arc::new(StringViewArray::from_iter_values(texts().as_string::<i32>().iter().flatten()));
    vec![
        ("text", covered(texts())),
        ("large", covered(cast(&texts(), &DataType::LargeUtf8).unwrap())),
        ("bytes", covered(cast(&texts(), &DataType::Binary).unwrap())),
        ("view", covered(views)),
        (
            "dictionary",
            covered(
                cast(&texts(), &DataType::Dictionary(Box::new(DataType::Int32), Box::new(DataType::Utf8))).unwrap(),
            ),
        ),
        ("list", Arc::new(ListArray::new(field("item", &kind), ones(), texts(), Some(nulls(30))))),
        ("fixed", Arc::new(FixedSizeListArray::new(field("item", &kind), 1, texts(), Some(nulls(30))))),
        ("struct", Arc::new(inside.clone())),
        ("deep", Arc::new(ListArray::new(field("item", inside.data_type()), ones(), Arc::new(inside), None))),
        ("map", Arc::new(MapArray::new(entry, ones(), entries, Some(nulls(30)), false))),
    ]
}

fn holds(data: &ArrayData, bytes: &[u8]) -> bool {
    data.buffers().iter().any(|buffer| buffer.as_slice().windows(bytes.len()).any(|window| window == bytes))
        || data.child_data().iter().any(|child| holds(child, bytes))
}

#[test]
fn what_is_under_null_or_beside_a_slice_is_gone_and_the_rest_is_the_same() {
    for (name, array) in nestings() {
        assert!(holds(&array.to_data(), HIDDEN.as_bytes()), "{name}");
        for part in [array.clone(), array.slice(3, 17), array.slice(5, 1), array.slice(9, 0)] {
            let clean = scrub(&part).unwrap();
            assert_eq!(&clean, &part, "{name}");
            clean.to_data().validate_full().unwrap();
            assert!(!holds(&clean.to_data(), HIDDEN.as_bytes()), "{name}");
            let shown = clean.slice(clean.len().saturating_sub(clean.len() / 2), clean.len() / 2);
            assert_eq!(scrub(&shown).unwrap().len(), shown.len());
        }
        let beside = scrub(&array.slice(4, 1)).unwrap().to_data();
        assert!(holds(&beside, b"shown-4") && !holds(&beside, b"shown-5"), "{name}");
    }
}

#[test]
fn numbers_under_null_are_zero() {
    let clean = scrub(&covered(Arc::new(Int64Array::from_iter_values(100..130))).slice(3, 9)).unwrap();
    let clean = clean.as_primitive::<datafusion::arrow::datatypes::Int64Type>();
    let values: Vec<i64> = (103..112).map(|value| if (value - 100) % 3 == 0 { 0 } else { value }).collect();
    assert_eq!(clean.values().to_vec(), values);
    assert_eq!(clean.null_count(), 3);
}

#[test]
fn no_foreign_bit_is_in_the_last_byte() {
    let all = BooleanArray::new(BooleanBuffer::new_set(64), Some(nulls(64)));
    for (start, length) in [(0, 3), (8, 3), (5, 9), (16, 8), (3, 60)] {
        let part: ArrayRef = Arc::new(all.slice(start, length));
        let clean = scrub(&part).unwrap();
        assert_eq!(&clean, &part);
        let clean = clean.as_boolean();
        for bits in [clean.values(), clean.nulls().unwrap().inner()] {
            assert_eq!(bits.offset(), 0);
            let set: u32 = bits.values().iter().map(|byte| byte.count_ones()).sum();
            assert_eq!(usize::try_from(set).unwrap(), bits.count_set_bits(), "{start} {length}");
        }
        let shown = clean.nulls().unwrap().inner() & clean.values();
        assert_eq!(shown.count_set_bits(), clean.values().count_set_bits(), "nothing is set under NULL");
    }
}

#[test]
fn a_field_of_a_struct_that_is_null_is_null_too() {
    let array = nestings().into_iter().find(|(name, _)| *name == "struct").unwrap().1;
    assert_eq!(array.as_struct().column(0).null_count(), 0);
    assert_eq!(scrub(&array).unwrap().as_struct().column(0).null_count(), 10);
}

#[test]
fn what_is_tidy_is_passed_on() {
    let tidy: Vec<ArrayRef> = vec![
        Arc::new(StringArray::from(vec![Some("a"), None])),
        Arc::new(StringArray::from(vec!["a", "b"])),
        Arc::new(Int64Array::from(vec![1, 2])),
    ];
    for array in tidy {
        let buffers = |array: &ArrayRef| array.to_data().buffers().iter().map(|b| b.as_ptr()).collect::<Vec<_>>();
        assert_eq!(buffers(&scrub(&array).unwrap()), buffers(&array));
    }
}

#[test]
fn views_become_plain_arrays_of_what_they_show() {
    let words =
        (0..200).map(|row| "wörter und Worte ".chars().cycle().skip(row % 7).take(row % 29).collect::<String>());
    let plain: ArrayRef = Arc::new(StringArray::from_iter_values(words));
    for kind in [DataType::Utf8View, DataType::BinaryView] {
        for array in [Arc::clone(&plain), covered(Arc::clone(&plain)), plain.slice(13, 0), plain.slice(0, 1)] {
            let views = cast(&array, &kind).unwrap();
            for views in [Arc::clone(&views), views.slice(views.len() / 3, views.len() / 2)] {
                let like = if kind == DataType::Utf8View { DataType::Utf8 } else { DataType::Binary };
                let made = unviewed(&views).unwrap();
                assert_eq!(&made, &cast(&views, &like).unwrap());
                assert!(made.to_data().buffers()[1].len() <= array.to_data().buffers().get(1).map_or(0, Buffer::len));
            }
        }
    }
    let hidden = nestings().into_iter().find(|(name, _)| *name == "view").unwrap().1;
    assert!(holds(&hidden.to_data(), HIDDEN.as_bytes()));
    assert!(!holds(&unviewed(&hidden).unwrap().to_data(), HIDDEN.as_bytes()));
}
