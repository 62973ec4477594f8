//! What each mask gives.

use datafusion::arrow::array::{Array, AsArray, ListArray, MapArray, StructArray, new_empty_array};
use datafusion::arrow::compute::cast;
use datafusion::arrow::datatypes::{Field, TimeUnit};
use polder_catalog::contract::Type;

use super::*;

fn show(mask: &Mask, array: &ArrayRef) -> ArrayRef {
    Masking::new(&Shown::Masked(mask.clone()), array.data_type(), &keys()).unwrap().show(array).unwrap()
}

fn texts(mask: &Mask, values: &[&str]) -> Vec<String> {
    let array: ArrayRef = Arc::new(StringArray::from(values.to_vec()));
    show(mask, &array).as_string::<i32>().iter().flatten().map(str::to_owned).collect()
}

#[test]
fn the_kernels_are_defined_where_the_policies_say_so_and_never_fail() {
    for mask in masks() {
        for (kind, array) in types() {
            let made = Masking::new(&Shown::Masked(mask.clone()), array.data_type(), &keys());
            assert_eq!(made.is_ok(), mask.applies_to(&Type::Physical(kind.clone())), "{mask} {kind}");
            let Ok(masking) = made else { continue };
            assert_eq!(&masking.to, array.data_type());
            for part in [array.clone(), array.slice(3, 11), new_empty_array(array.data_type())] {
                let shown = masking.show(&part).unwrap();
                shown.to_data().validate_full().unwrap();
                assert_eq!((shown.data_type(), shown.len()), (part.data_type(), part.len()), "{mask} {kind}");
            }
        }
        let inside = Field::new("f", DataType::Utf8, true);
        let nested = DataType::Struct(vec![inside].into());
        let entry = Arc::new(Field::new(
            "entries",
            DataType::Struct(
                vec![Field::new("key", DataType::Utf8, false), Field::new("value", DataType::Utf8, true)].into(),
            ),
            false,
        ));
        for (kind, arrow) in [(PhysicalType::Struct, nested), (PhysicalType::Map, DataType::Map(entry, false))] {
            let made = Masking::new(&Shown::Masked(mask.clone()), &arrow, &keys());
            assert_eq!(made.is_ok(), mask.applies_to(&Type::Physical(kind)), "{mask} {arrow}");
        }
    }
}

#[test]
fn views_large_types_and_dictionaries_stay_what_they_are() {
    let plain: ArrayRef = Arc::new(StringArray::from(vec![Some("abc"), None, Some("4111-1111-1111-4444")]));
    let dictionary = DataType::Dictionary(Box::new(DataType::Int32), Box::new(DataType::Utf8));
    for mask in masks() {
        let Ok(_) = fits(&Shown::Masked(mask.clone()), &DataType::Utf8, &keys()) else { continue };
        if mask == Mask::Sha256QueryLocal {
            continue;
        }
        for kind in [DataType::Utf8View, DataType::LargeUtf8, dictionary.clone()] {
            let shown = show(&mask, &cast(&plain, &kind).unwrap());
            assert_eq!(shown.data_type(), &kind, "{mask}");
            assert_eq!(&cast(&shown, &DataType::Utf8).unwrap(), &show(&mask, &plain), "{mask} {kind}");
        }
    }
}

#[test]
fn what_a_mask_makes_the_same_cannot_be_told_apart_by_the_keys_of_a_dictionary() {
    let plain: ArrayRef = Arc::new(StringArray::from(vec!["ann", "bob", "eve"]));
    let kind = DataType::Dictionary(Box::new(DataType::Int8), Box::new(DataType::Utf8));
    let shown = show(&Mask::Alphanum, &cast(&plain, &kind).unwrap());
    let shown = shown.as_dictionary::<datafusion::arrow::datatypes::Int8Type>();
    assert_eq!((shown.values().len(), shown.keys().values().to_vec()), (1, vec![0, 0, 0]));
}

#[test]
fn null_stays_null_but_where_nothing_is_looked_at() {
    for mask in masks() {
        for (_, array) in types() {
            let Ok(masking) = Masking::new(&Shown::Masked(mask.clone()), array.data_type(), &keys()) else { continue };
            let nulls = datafusion::arrow::array::new_null_array(array.data_type(), 3);
            let expect = if matches!(mask, Mask::Fixed(_)) { 0 } else { 3 };
            assert_eq!(masking.show(&nulls).unwrap().null_count(), expect, "{mask}");
        }
    }
}

#[test]
fn texts_are_redacted_as_iceberg_says_and_short_ones_wholly() {
    for (raw, all, last, first) in [
        (
            "prashant010696@gmail.com",
            "xxxxxxxxnnnnnn@xxxxx.xxx",
            "xxxxxxxxnnnnnn@xxxxx.com",
            "prasxxxxnnnnnn@xxxxx.xxx",
        ),
        ("4111-1111-1111-4444", "nnnn-nnnn-nnnn-nnnn", "nnnn-nnnn-nnnn-4444", "4111-nnnn-nnnn-nnnn"),
        ("(a, b)_\t!", "(x,xx)xxx", "(x,xx)_\t!", "(a, x)xxx"),
        ("a1.@", "xn.@", "xn.@", "xn.@"),
        ("a1.@é", "xn.@x", "x1.@é", "a1.@x"),
        ("日本語字五", "xxxxx", "x本語字五", "日本語字x"),
        ("日本語字", "xxxx", "xxxx", "xxxx"),
        ("٣٤٥٦٧", "xxxxx", "x٤٥٦٧", "٣٤٥٦x"),
        ("", "", "", ""),
    ] {
        for (mask, expect) in [(Mask::Alphanum, all), (Mask::Last4, last), (Mask::First4, first)] {
            assert_eq!(texts(&mask, &[raw]), [expect], "{mask} {raw}");
        }
    }
}

#[test]
fn digests_are_the_published_ones() {
    // FIPS 180-4 and RFC 4231.
    let abc = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
    let empty = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
    assert_eq!(texts(&Mask::Sha256Global, &["abc", ""]), [abc, empty]);
    let keys = Keys::new([("jefe", &Secret::new("Jefe"))]);
    let array: ArrayRef = Arc::new(StringArray::from(vec!["what do ya want for nothing?"]));
    let keyed = Masking::new(&Shown::Masked(Mask::Hmac("jefe".into())), &DataType::Utf8, &keys).unwrap();
    let tag = "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843";
    assert_eq!(keyed.show(&array).unwrap().as_string::<i32>().value(0), tag);
}

#[test]
fn digests_of_numbers_and_bytes_are_the_start_and_all_of_the_digest() {
    use sha2::{Digest as _, Sha256};
    let ints = show(&Mask::Sha256Global, &numbers::<Int32Type>(DataType::Int32, vec![-7]));
    let digest = Sha256::digest((-7_i32).to_le_bytes());
    assert_eq!(ints.as_primitive::<Int32Type>().value(0), i32::from_le_bytes(digest[..4].try_into().unwrap()));
    let longs = show(&Mask::Sha256Global, &numbers::<Int64Type>(DataType::Int64, vec![1 << 40]));
    let digest = Sha256::digest((1_i64 << 40).to_le_bytes());
    assert_eq!(longs.as_primitive::<Int64Type>().value(0), i64::from_le_bytes(digest[..8].try_into().unwrap()));
    let bytes: ArrayRef = Arc::new(BinaryArray::from_iter_values([b"abc"]));
    let shown = show(&Mask::Sha256Global, &bytes);
    assert_eq!(shown.as_binary::<i32>().value(0), Sha256::digest(b"abc").as_slice());
}

#[test]
fn a_salt_lasts_for_one_statement() {
    let array: ArrayRef = Arc::new(StringArray::from(vec!["a", "b", "a"]));
    let salted = |keys: &Keys| {
        let masking = Masking::new(&Shown::Masked(Mask::Sha256QueryLocal), &DataType::Utf8, keys).unwrap();
        let shown = masking.show(&array).unwrap();
        shown.as_string::<i32>().iter().flatten().map(str::to_owned).collect::<Vec<_>>()
    };
    let (one, other) = (keys(), keys());
    assert_eq!(salted(&one), salted(&one));
    assert_eq!(salted(&one)[0], salted(&one)[2]);
    assert_ne!(salted(&one), salted(&other));
    assert_ne!(salted(&one), texts(&Mask::Sha256Global, &["a", "b", "a"]));
}

#[test]
fn buckets_round_down_also_below_zero_and_at_the_ends() {
    let ten = Mask::Bucket(Width { unscaled: 10, scale: 0 });
    let ints = show(&ten, &numbers::<Int32Type>(DataType::Int32, vec![0, 9, 10, -1, -10, -11, i32::MAX, i32::MIN]));
    let ints: Vec<_> = ints.as_primitive::<Int32Type>().iter().collect();
    let ends = [Some(2_147_483_640), None];
    assert_eq!(ints, [[Some(0), Some(0), Some(10), Some(-10), Some(-10), Some(-20)].as_slice(), &ends].concat());

    let half = Mask::Bucket(Width { unscaled: 5, scale: 1 });
    let odd = vec![0.4, 0.5, -0.1, -0.0, 1e300, f64::NAN, f64::INFINITY, f64::MIN];
    let shown = show(&half, &numbers::<Float64Type>(DataType::Float64, odd));
    let shown: Vec<_> = shown.as_primitive::<Float64Type>().iter().collect();
    assert_eq!(shown[..5], [Some(0.0), Some(0.5), Some(-0.5), Some(0.0), Some(1e300)]);
    assert!(shown[3].unwrap().is_sign_positive());
    assert_eq!(shown[5..7], [None, None]);

    let kind = DataType::Decimal128(4, 2);
    let shown = show(&half, &numbers::<Decimal128Type>(kind, vec![149, -149, 9_999, -9_999]));
    let shown: Vec<_> = shown.as_primitive::<Decimal128Type>().iter().collect();
    assert_eq!(shown, [Some(100), Some(-150), Some(9_950), None]);
}

#[test]
fn a_bucket_is_never_above_its_value() {
    for (unscaled, scale) in [(1, 1), (3, 1), (7, 0), (1, 9), (123_456_789, 3)] {
        let values: Vec<f64> = (-2_000..2_000).map(|step| f64::from(step) * 0.1).collect();
        let mask = Mask::Bucket(Width { unscaled, scale });
        let shown = show(&mask, &numbers::<Float64Type>(DataType::Float64, values.clone()));
        let shown = shown.as_primitive::<Float64Type>();
        assert!(values.iter().zip(shown.values()).all(|(value, down)| down <= value), "{mask}");
    }
}

#[test]
fn days_are_truncated_as_the_calendar_says() {
    // Arrow's own truncation, for each day from 1500 to 2500.
    let days: Vec<i32> = (-171_664..193_580).collect();
    let array = numbers::<Date32Type>(DataType::Date32, days.clone());
    for (mask, part) in [(Mask::Year, false), (Mask::Month, true)] {
        let shown = show(&mask, &array);
        for (day, shown) in days.iter().zip(shown.as_primitive::<Date32Type>().values()) {
            let date = Date32Type::to_naive_date_opt(*day).unwrap();
            let text = date.to_string();
            let (year, month) = (&text[..4], if part { &text[5..7] } else { "01" });
            assert_eq!(Date32Type::to_naive_date_opt(*shown).unwrap().to_string(), format!("{year}-{month}-01"));
        }
    }
}

#[test]
fn moments_are_truncated_in_utc_and_null_before_the_first_start() {
    for (unit, second) in [(TimeUnit::Microsecond, 1_000_000_i64), (TimeUnit::Nanosecond, 1_000_000_000)] {
        for zone in [None, Some("UTC".into())] {
            let kind = DataType::Timestamp(unit, zone);
            // 2024-02-29T23:59:59, the second before 1970, and the first and last moments of all.
            let values = numbers::<Int64Type>(DataType::Int64, vec![1_709_251_199 * second, -1, i64::MIN, i64::MAX]);
            let values = cast(&values, &kind).unwrap();
            let starts = |mask| -> Vec<_> {
                let shown = show(&mask, &values);
                assert_eq!(shown.data_type(), &kind);
                cast(&shown, &DataType::Int64).unwrap().as_primitive::<Int64Type>().iter().collect()
            };
            let (year, month) = (starts(Mask::Year), starts(Mask::Month));
            assert_eq!(year[..3], [Some(1_704_067_200 * second), Some(-31_536_000 * second), None]);
            assert_eq!(month[..3], [Some(1_706_745_600 * second), Some(-2_678_400 * second), None]);
            assert!(year[3] <= month[3] && month[3] < Some(i64::MAX));
        }
    }
}

#[test]
fn fixed_values_are_those_of_iceberg_or_of_the_policy() {
    use datafusion::scalar::ScalarValue as S;
    let utc = || Some("UTC".into());
    for (text, kind, expect) in [
        (None, DataType::Utf8View, S::Utf8View(Some("XXXXXXXX".into()))),
        (None, DataType::Boolean, S::Boolean(Some(false))),
        (None, DataType::Int64, S::Int64(Some(0))),
        (None, DataType::Decimal128(9, 2), S::Decimal128(Some(0), 9, 2)),
        (None, DataType::Date32, S::Date32(Some(0))),
        (None, DataType::Timestamp(TimeUnit::Nanosecond, None), S::TimestampNanosecond(Some(0), None)),
        (None, DataType::FixedSizeBinary(3), S::FixedSizeBinary(3, Some(vec![0; 3]))),
        (None, DataType::BinaryView, S::BinaryView(Some(vec![]))),
        (Some("7"), DataType::Int32, S::Int32(Some(7))),
        (Some("-1.5"), DataType::Decimal128(9, 2), S::Decimal128(Some(-150), 9, 2)),
        (Some("1970-01-02"), DataType::Date32, S::Date32(Some(1))),
        (
            Some("1970-01-01T01:00:00+01:00"),
            DataType::Timestamp(TimeUnit::Microsecond, utc()),
            S::TimestampMicrosecond(Some(0), utc()),
        ),
        (Some("true"), DataType::Boolean, S::Boolean(Some(true))),
    ] {
        assert_eq!(fixed::value(text, &kind), Some(expect));
    }
}

/// A list of structs with `name`, `born` and `ssn`; the second list is NULL, the third struct is.
fn people() -> ArrayRef {
    let text = |name: &str, values: Vec<&str>| {
        (Arc::new(Field::new(name, DataType::Utf8, false)), Arc::new(StringArray::from(values)) as ArrayRef)
    };
    let born = numbers::<Date32Type>(DataType::Date32, vec![19_782, 0, 40, 41]);
    let columns = [
        text("name", vec!["ann", "bob", "cid", "dan"]),
        (Arc::new(Field::new("born", DataType::Date32, false)), born),
        text("ssn", vec!["1", "2", "3", "4"]),
    ];
    let (fields, columns): (Vec<_>, Vec<_>) = columns.into_iter().unzip();
    let present = vec![true, true, false, true].into();
    let inside = StructArray::new(fields.into(), columns, Some(present));
    let item = Arc::new(Field::new("element", inside.data_type().clone(), true));
    let offsets = datafusion::arrow::buffer::OffsetBuffer::from_lengths([1, 1, 2]);
    Arc::new(ListArray::new(item, offsets, Arc::new(inside), Some(vec![true, false, true].into())))
}

fn fields() -> Shown {
    let masked = |name: &str, mask| (name.to_owned(), Shown::Masked(mask));
    Shown::Fields(vec![masked("born", Mask::Year), ("name".to_owned(), Shown::Raw)])
}

#[test]
fn fields_are_shown_each_in_its_way_and_those_without_a_grant_are_gone() {
    let masking = Masking::new(&fields(), people().data_type(), &keys()).unwrap();
    let shown = masking.show(&people()).unwrap();
    assert_eq!(shown.data_type(), &masking.to);
    let list = shown.as_list::<i32>();
    assert_eq!((list.value_offsets(), list.is_null(1)), ([0, 1, 1, 3].as_slice(), true));
    let inside = list.values().as_struct();
    assert_eq!(inside.column_names(), ["born", "name"]);
    assert_eq!(inside.fields().iter().map(|field| field.is_nullable()).collect::<Vec<_>>(), [true, false]);
    let born: Vec<_> = inside.column(0).as_primitive::<Date32Type>().iter().collect();
    assert_eq!(born, [Some(19_723), None, Some(0)]);
    let names: Vec<_> = inside.column(1).as_string::<i32>().iter().collect();
    assert_eq!(names, [Some("ann"), None, Some("dan")]);
}

#[test]
fn a_fixed_value_stands_in_no_struct_that_is_null() {
    let fixed = Shown::Fields(vec![("ssn".to_owned(), Shown::Masked(Mask::Fixed(None)))]);
    let shown = Masking::new(&fixed, people().data_type(), &keys()).unwrap().show(&people()).unwrap();
    let inside = shown.as_list::<i32>().values().as_struct();
    let values: Vec<_> = inside.column(0).as_string::<i32>().iter().collect();
    assert_eq!(values, [Some("XXXXXXXX"), None, Some("XXXXXXXX")]);
}

#[test]
fn values_of_a_map_are_masked_and_its_keys_are_raw() {
    let people = people();
    let inside = people.as_list::<i32>().values().clone();
    let key = Arc::new(Field::new("key", DataType::Utf8, false));
    let value = Arc::new(Field::new("value", inside.data_type().clone(), true));
    let names: ArrayRef = Arc::new(StringArray::from(vec!["k1", "k2", "k3", "k4"]));
    let entries = StructArray::new(vec![key, value].into(), vec![names, inside], None);
    let entry = Arc::new(Field::new("entries", entries.data_type().clone(), false));
    let offsets = datafusion::arrow::buffer::OffsetBuffer::from_lengths([2, 2]);
    let map: ArrayRef = Arc::new(MapArray::new(entry, offsets, entries, Some(vec![true, false].into()), false));
    let shown = Masking::new(&fields(), map.data_type(), &keys()).unwrap().show(&map).unwrap();
    let shown = shown.as_map();
    assert_eq!(shown.keys().as_string::<i32>().iter().flatten().collect::<Vec<_>>(), ["k1", "k2"]);
    assert_eq!(shown.values().as_struct().column(0).as_primitive::<Date32Type>().values().to_vec(), [19_723, 0]);
}

#[test]
fn items_of_a_list_are_masked_and_null_hides_the_list_as_a_whole() {
    let people = people();
    let names = people.as_list::<i32>().values().as_struct().column(0).clone();
    let item = Arc::new(Field::new("element", DataType::Utf8, false));
    let offsets = datafusion::arrow::buffer::OffsetBuffer::<i32>::from_lengths([3, 1]);
    let list: ArrayRef = Arc::new(ListArray::new(item, offsets, names, None));
    let shown = show(&Mask::Alphanum, &list);
    assert_eq!(shown.as_list::<i32>().values().as_string::<i32>().iter().flatten().collect::<Vec<_>>(), ["xxx"; 4]);
    let shown = show(&Mask::Null, &list);
    assert_eq!((shown.null_count(), shown.as_list::<i32>().values().len()), (2, 0));
}

#[test]
fn what_a_treatment_names_must_be_there() {
    let missing = Shown::Fields(vec![("gone".to_owned(), Shown::Raw)]);
    let unfit = fits(&missing, people().data_type(), &keys()).unwrap_err();
    assert_eq!(unfit, Unfit::NoField("gone".to_owned()));
    assert!(fits(&Shown::Fields(vec![]), people().data_type(), &keys()).is_err());
    assert!(fits(&fields(), &DataType::Utf8, &keys()).is_err());
    let masking = Masking::new(&Shown::Masked(Mask::Year), &DataType::Date32, &keys()).unwrap();
    let other: ArrayRef = Arc::new(StringArray::from(vec!["x"]));
    assert_eq!(masking.show(&other), Err(Failed));
}
