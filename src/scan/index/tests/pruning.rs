//! Pruning against a naive look at every row.

use datafusion::arrow::array::BooleanArray;
use datafusion::arrow::record_batch::RecordBatch;
use datafusion::common::{DFSchema, ScalarValue};
use datafusion::execution::context::ExecutionProps;
use datafusion::logical_expr::{Expr, Operator, binary_expr, col, lit};
use datafusion::physical_expr::create_physical_expr;

use super::*;

type Row = Vec<Option<Datum>>;

fn scalar(datum: Option<&Datum>, of: &DataType) -> ScalarValue {
    let Some(datum) = datum else { return ScalarValue::try_from(of).unwrap() };
    let bytes = datum.to_bytes().unwrap();
    let array = values::constants(&datafusion::arrow::array::BinaryArray::from_vec(vec![&bytes]), of).unwrap();
    match datum.literal() {
        PrimitiveLiteral::Double(v) if v.0.is_nan() => ScalarValue::Float64(Some(f64::NAN)),
        _ => ScalarValue::try_from_array(&array, 0).unwrap(),
    }
}

fn batch(schema: &SchemaRef, rows: &[Row]) -> RecordBatch {
    let column = |(place, field): (usize, &Arc<Field>)| {
        ScalarValue::iter_to_array(rows.iter().map(|row| scalar(row[place].as_ref(), field.data_type()))).unwrap()
    };
    RecordBatch::try_new(Arc::clone(schema), schema.fields().iter().enumerate().map(column).collect()).unwrap()
}

fn matches(schema: &SchemaRef, rows: &[Row], filter: &Expr) -> bool {
    let physical = physical(schema, filter);
    let found = physical.evaluate(&batch(schema, rows)).unwrap().into_array(rows.len()).unwrap();
    found.as_any().downcast_ref::<BooleanArray>().unwrap().true_count() > 0
}

fn physical(schema: &SchemaRef, filter: &Expr) -> Arc<dyn datafusion::physical_expr::PhysicalExpr> {
    let schema = DFSchema::try_from(Arc::clone(schema)).unwrap();
    create_physical_expr(filter, &schema, &ExecutionProps::new()).unwrap()
}

/// A file with these rows, and with metrics where `told` says so.
fn data_file(
    spec: &PartitionSpec,
    types: &[PrimitiveType],
    name: &str,
    rows: &[Row],
    told: bool,
) -> iceberg::spec::DataFile {
    let mut builder = file(name, spec, partition_of(spec, &rows[0]), rows.len() as u64);
    if told {
        let (mut lower, mut upper, mut nulls, mut nans) =
            (HashMap::new(), HashMap::new(), HashMap::new(), HashMap::new());
        for (place, id) in (0..types.len()).zip(1..) {
            let is_nan = |datum: &&Datum| matches!(datum.literal(), PrimitiveLiteral::Double(v) if v.0.is_nan());
            let present: Vec<&Datum> = rows.iter().filter_map(|row| row[place].as_ref()).collect();
            nulls.insert(id, (rows.len() - present.len()) as u64);
            nans.insert(id, present.iter().copied().filter(is_nan).count() as u64);
            let mut real: Vec<&Datum> = present.into_iter().filter(|datum| !is_nan(datum)).collect();
            real.sort_by(|a, b| a.partial_cmp(b).unwrap());
            if let (Some(first), Some(last)) = (real.first(), real.last()) {
                lower.insert(id, (*first).clone());
                upper.insert(id, (*last).clone());
            }
        }
        builder.lower_bounds(lower).upper_bounds(upper).null_value_counts(nulls).nan_value_counts(nans);
    }
    builder.build().unwrap()
}

/// Which files are kept, by place.
fn kept(index: &FileIndex, schema: &SchemaRef, filter: &Expr) -> Vec<std::string::String> {
    let asked = asked(schema);
    let chosen = index.prune(&asked, &physical(schema, filter));
    let mut names = Vec::new();
    for part in &chosen.parts {
        for row in part.rows() {
            let location = format!("{}{}", part.manifest.prefix, part.manifest.locations.value(row));
            names.push(location.rsplit('/').next().unwrap().trim_end_matches(".parquet").to_owned());
        }
    }
    names
}

fn random_filter(dice: &mut Dice, schema: &SchemaRef, types: &[PrimitiveType], rows: &[Row], depth: usize) -> Expr {
    if depth > 0 && !dice.one_in(3) {
        let (left, right) =
            (random_filter(dice, schema, types, rows, depth - 1), random_filter(dice, schema, types, rows, depth - 1));
        return if dice.one_in(3) { left.or(right) } else { left.and(right) };
    }
    let place = dice.below(types.len());
    let field = schema.field(place);
    let literal = |dice: &mut Dice| {
        let datum = if dice.one_in(2) { dice.pick(rows)[place].clone() } else { Some(random(dice, &types[place])) };
        lit(scalar(datum.as_ref(), field.data_type()))
    };
    let column = col(field.name().as_str());
    match dice.below(8) {
        0 => column.is_null(),
        1 => column.is_not_null(),
        2 => column.in_list((0..1 + dice.below(30)).map(|_| literal(dice)).collect(), dice.one_in(4)),
        _ => {
            use Operator::{Eq, Gt, GtEq, IsDistinctFrom, Lt, LtEq, NotEq};
            let operator = *dice.pick(&[Eq, Eq, Eq, NotEq, Lt, LtEq, Gt, GtEq, IsDistinctFrom]);
            binary_expr(column, operator, literal(dice))
        }
    }
}

#[tokio::test]
async fn a_file_with_a_matching_row_is_never_pruned_whatever_its_partition() {
    use Transform::{Bucket, Day, Hour, Identity, Month, Truncate, Void, Year};
    let types =
        [Long, String, Timestamp, Date, Decimal { precision: 12, scale: 2 }, Double, Int, Timestamptz, TimestampNs];
    let schema = table(&types);
    let arrow = arrow(&schema);
    let specs = [
        spec(&schema, 0, &[]),
        spec(&schema, 1, &[(1, Identity), (2, Truncate(2)), (3, Day)]),
        spec(&schema, 2, &[(1, Bucket(7)), (2, Bucket(5)), (5, Truncate(100)), (4, Month)]),
        spec(&schema, 3, &[(3, Year), (8, Month), (9, Hour), (6, Identity)]),
        spec(&schema, 4, &[(7, Truncate(10)), (3, Hour), (4, Year), (2, Identity), (5, Bucket(3))]),
        spec(&schema, 5, &[(1, Void), (7, Bucket(4)), (1, Truncate(1000)), (9, Day), (8, Year), (4, Bucket(6))]),
        spec(&schema, 6, &[(5, Identity), (4, Identity), (3, Bucket(5)), (9, Bucket(5)), (2, Truncate(1))]),
    ];
    let mut dice = Dice(77);
    let (mut pruned, mut all) = (0, 0);
    for round in 0..12 {
        let mut index = FileIndex::default();
        let mut files: Vec<(std::string::String, Vec<Row>)> = Vec::new();
        for spec in &specs {
            let mut entries = Vec::new();
            for _ in 0..6 {
                let row = |dice: &mut Dice| -> Row {
                    let value = |dice: &mut Dice, of: &PrimitiveType| match of {
                        Double if dice.one_in(6) => Some(Datum::double(f64::NAN)),
                        _ => (!dice.one_in(7)).then(|| random(dice, of)),
                    };
                    types.iter().map(|of| value(dice, of)).collect()
                };
                let first = row(&mut dice);
                let of = partition_of(spec, &first);
                let mut rows = vec![first];
                for _ in 0..40 {
                    // One value at a time is another, so that some rows stay in the partition.
                    let mut other = dice.pick(&rows).clone();
                    let place = dice.below(types.len());
                    other[place] = row(&mut dice)[place].clone();
                    if partition_of(spec, &other) == of {
                        rows.push(other);
                    }
                }
                let name = format!("f{}", files.len());
                entries.push((data_file(spec, &types, &name, &rows, round % 2 == 0), false));
                files.push((name, rows));
            }
            let (bytes, listed, ..) = manifest(Version::Two, &schema, spec, entries).await;
            let frame = Frame { listed: &listed, spec };
            index.manifests.push(Arc::new(manifest::decode_data(&bytes, &frame).unwrap()));
        }
        let rows: Vec<Row> = files.iter().flat_map(|(_, rows)| rows.iter().cloned()).collect();
        for _ in 0..60 {
            let filter = random_filter(&mut dice, &arrow, &types, &rows, 2);
            let kept = kept(&index, &arrow, &filter);
            all += files.len();
            pruned += files.len() - kept.len();
            for (name, rows) in &files {
                assert!(kept.contains(name) || !matches(&arrow, rows, &filter), "{name} is lost to {filter}");
            }
        }
    }
    assert!(pruned * 4 > all, "{pruned} of {all} were pruned");
}

#[tokio::test]
async fn each_transform_alone_prunes_without_any_bounds() {
    use Transform::{Bucket, Day, Hour, Identity, Month, Truncate, Year};
    let types = [Long, String, Timestamp];
    let schema = table(&types);
    let arrow = arrow(&schema);
    let day = 86_400_000_000i64;
    for (source, transform) in [
        (1, Identity),
        (1, Bucket(100)),
        (1, Truncate(10)),
        (2, Truncate(3)),
        (3, Year),
        (3, Month),
        (3, Day),
        (3, Hour),
    ] {
        let spec = spec(&schema, 1, &[(source, transform)]);
        let row = |n: i64| -> Row {
            vec![
                Some(Datum::long(n * 1000)),
                Some(Datum::string(format!("{n}{n}{n}{n}"))),
                Some(Datum::timestamp_micros(n * 400 * day)),
            ]
        };
        let mut rows: Vec<Row> = (1..6).map(row).collect();
        rows.push(vec![None, None, None]);
        let entries = rows
            .iter()
            .enumerate()
            .map(|(at, row)| (data_file(&spec, &types, &at.to_string(), std::slice::from_ref(row), false), false));
        let (bytes, listed, ..) = manifest(Version::Two, &schema, &spec, entries.collect()).await;
        let read = manifest::decode_data(&bytes, &Frame { listed: &listed, spec: &spec }).unwrap();
        let index = FileIndex { manifests: vec![Arc::new(read)] };
        let place = source as usize - 1;
        let value = lit(scalar(rows[2][place].as_ref(), arrow.field(place).data_type()));
        let column = || col(arrow.field(place).name().as_str());
        assert_eq!(kept(&index, &arrow, &column().eq(value)), ["2"], "{transform}");
        assert_eq!(kept(&index, &arrow, &column().is_null()), ["5"], "{transform}");
        assert_eq!(kept(&index, &arrow, &column().is_not_null()).len(), 5, "{transform}");
    }
}

#[tokio::test]
async fn bounds_from_before_a_promotion_still_prune() {
    let old = table(&[Int, Float, Decimal { precision: 5, scale: 2 }, Date]);
    let spec = spec(&old, 0, &[]);
    let bounds = |n: i32| -> HashMap<i32, Datum> {
        let decimal = decimal(n.into(), &Decimal { precision: 5, scale: 2 });
        [(1, Datum::int(n)), (2, Datum::float(n as f32)), (3, decimal), (4, Datum::date(n))].into()
    };
    let entries = (1..4).map(|n| {
        let mut builder = file(&n.to_string(), &spec, Struct::empty(), 5);
        let none: HashMap<i32, u64> = (1..5).map(|id| (id, 0)).collect();
        builder.lower_bounds(bounds(-n * 10)).upper_bounds(bounds(n * 10));
        builder.null_value_counts(none.clone()).nan_value_counts(none);
        (builder.build().unwrap(), false)
    });
    let (bytes, listed, ..) = manifest(Version::Two, &old, &spec, entries.collect()).await;
    let read = manifest::decode_data(&bytes, &Frame { listed: &listed, spec: &spec }).unwrap();
    let index = FileIndex { manifests: vec![Arc::new(read)] };
    let new = arrow(&table(&[Long, Double, Decimal { precision: 20, scale: 2 }, Timestamp]));
    let decimal = |n| lit(ScalarValue::Decimal128(Some(n), 20, 2));
    let time = |n: i64| lit(ScalarValue::TimestampMicrosecond(Some(n * 86_400_000_000), None));
    for (low, high) in [
        (col("c1").lt(lit(-15i64)), col("c1").gt(lit(25i64))),
        (col("c2").lt(lit(-15.0)), col("c2").gt(lit(25.0))),
        (col("c3").lt(decimal(-15)), col("c3").gt(decimal(25))),
        (col("c4").lt(time(-15)), col("c4").gt(time(25))),
    ] {
        assert_eq!(kept(&index, &new, &low), ["2", "3"]);
        assert_eq!(kept(&index, &new, &high), ["3"]);
    }
    let statistics = index.all().statistics(&asked(&new), &[0, 1, 2, 3]).unwrap();
    let column = |at: usize| &statistics.column_statistics[at];
    use datafusion::common::stats::Precision::{Exact, Inexact};
    assert_eq!(column(0).min_value, Exact(ScalarValue::Int64(Some(-30))));
    assert_eq!(column(1).max_value, Inexact(ScalarValue::Float64(Some(30.0))));
    assert_eq!(column(2).max_value, Exact(ScalarValue::Decimal128(Some(30), 20, 2)));
    assert_eq!((statistics.num_rows, column(0).null_count), (Exact(15), Exact(0)));
}

#[tokio::test]
async fn both_zeros_are_within_bounds_of_either() {
    let schema = table(&[Double]);
    let arrow = arrow(&schema);
    let spec = spec(&schema, 0, &[]);
    let with = |name: &str, low: f64, high: f64| {
        let mut builder = file(name, &spec, Struct::empty(), 5);
        builder.lower_bounds([(1, Datum::double(low))].into()).upper_bounds([(1, Datum::double(high))].into());
        builder.nan_value_counts([(1, 0)].into());
        (builder.build().unwrap(), false)
    };
    let entries = vec![with("from", 0.0, 1.0), with("to", -1.0, -0.0), with("none", 1.0, 2.0)];
    let (bytes, listed, ..) = manifest(Version::Two, &schema, &spec, entries).await;
    let read = manifest::decode_data(&bytes, &Frame { listed: &listed, spec: &spec }).unwrap();
    let index = FileIndex { manifests: vec![Arc::new(read)] };
    for zero in [0.0, -0.0] {
        assert_eq!(kept(&index, &arrow, &col("c1").eq(lit(zero))), ["from", "to"]);
        assert_eq!(kept(&index, &arrow, &col("c1").in_list(vec![lit(zero), lit(7.0)], false)), ["from", "to"]);
    }
    assert_eq!(kept(&index, &arrow, &col("c1").lt(lit(0.0))), ["from", "to"]);
}

#[tokio::test]
async fn a_long_list_of_values_is_held_against_bounds() {
    let schema = table(&[Long, String]);
    let arrow = arrow(&schema);
    let spec = spec(&schema, 0, &[]);
    let entries = (0..5i64).map(|at| {
        let mut builder = file(&at.to_string(), &spec, Struct::empty(), 5);
        let text = |n: i64| Datum::string(format!("k{n:04}"));
        builder.lower_bounds([(1, Datum::long(at * 100)), (2, text(at * 100))].into());
        builder.upper_bounds([(1, Datum::long(at * 100 + 50)), (2, text(at * 100 + 50))].into());
        (builder.build().unwrap(), false)
    });
    let (bytes, listed, ..) = manifest(Version::Two, &schema, &spec, entries.collect()).await;
    let read = manifest::decode_data(&bytes, &Frame { listed: &listed, spec: &spec }).unwrap();
    let index = FileIndex { manifests: vec![Arc::new(read)] };
    let longs = |from: i64| col("c1").in_list((from..from + 40).map(lit).collect(), false);
    assert_eq!(kept(&index, &arrow, &longs(105)), ["1"]);
    assert_eq!(kept(&index, &arrow, &longs(180)), ["2"]);
    assert_eq!(kept(&index, &arrow, &longs(155)), Vec::<std::string::String>::new());
    assert_eq!(kept(&index, &arrow, &longs(-100)), Vec::<std::string::String>::new());
    let texts = |from: i64| (from..from + 40).map(|n| lit(format!("k{n:04}")));
    let list = texts(110).chain(texts(410)).collect();
    assert_eq!(kept(&index, &arrow, &col("c2").in_list(list, false)), ["1", "4"]);
    assert_eq!(kept(&index, &arrow, &longs(105).is_not_true()).len(), 5);
    let but = col("c1").in_list((0..40i64).map(lit).collect(), true);
    assert_eq!(kept(&index, &arrow, &but).len(), 5);
}

#[tokio::test]
async fn what_cannot_be_decided_of_one_file_still_prunes_others() {
    use datafusion::arrow::datatypes::TimeUnit;
    use datafusion::logical_expr::cast;
    let schema = table(&[Date, Long]);
    let arrow = arrow(&schema);
    let spec = spec(&schema, 0, &[]);
    let with = |name: &str, days: [i32; 2], number: i64| {
        let mut builder = file(name, &spec, Struct::empty(), 5);
        builder.lower_bounds([(1, Datum::date(days[0])), (2, Datum::long(number))].into());
        builder.upper_bounds([(1, Datum::date(days[1])), (2, Datum::long(number))].into());
        (builder.build().unwrap(), false)
    };
    // The last day of the far one has no nanoseconds.
    let entries = vec![with("old", [0, 10], 1), with("new", [19_000, 19_010], 1), with("far", [0, 2_932_896], 2)];
    let (bytes, listed, ..) = manifest(Version::Two, &schema, &spec, entries).await;
    let read = manifest::decode_data(&bytes, &Frame { listed: &listed, spec: &spec }).unwrap();
    let index = FileIndex { manifests: vec![Arc::new(read)] };
    let time = |days: i64| lit(ScalarValue::TimestampNanosecond(Some(days * 86_400_000_000_000), None));
    let late = cast(col("c1"), DataType::Timestamp(TimeUnit::Nanosecond, None)).gt_eq(time(18_000));
    assert_eq!(kept(&index, &arrow, &late), ["new", "far"]);
    // What fails whatever the file leaves the rest of a filter as it is.
    let never = col("c2").gt(binary_expr(lit(1i64), Operator::Divide, lit(0i64)));
    assert_eq!(kept(&index, &arrow, &never.clone()), ["old", "new", "far"]);
    assert_eq!(kept(&index, &arrow, &never.and(late.clone()).and(col("c2").eq(lit(1i64)))), ["new"]);
}

#[tokio::test]
async fn files_without_counts_of_nan_give_floats_no_bound_above() {
    let schema = table(&[Double, Long]);
    let arrow = arrow(&schema);
    let spec = spec(&schema, 0, &[]);
    let with = |name: &str, nans: Option<u64>| {
        let bounds: HashMap<i32, Datum> = [(1, Datum::double(1.0)), (2, Datum::long(1))].into();
        let mut builder = file(name, &spec, Struct::empty(), 5);
        builder.lower_bounds(bounds.clone()).upper_bounds(bounds);
        builder.nan_value_counts(nans.map(|nans| (1, nans)).into_iter().collect());
        (builder.build().unwrap(), false)
    };
    let entries = vec![with("none", Some(0)), with("some", Some(2)), with("who knows", None)];
    let (bytes, listed, ..) = manifest(Version::Two, &schema, &spec, entries).await;
    let read = manifest::decode_data(&bytes, &Frame { listed: &listed, spec: &spec }).unwrap();
    let index = FileIndex { manifests: vec![Arc::new(read)] };
    assert_eq!(kept(&index, &arrow, &col("c1").gt(lit(5.0))), ["some", "who knows"]);
    assert_eq!(kept(&index, &arrow, &col("c2").gt(lit(5i64))), Vec::<std::string::String>::new());
    // NaN is below no number and equals none.
    let none = Vec::<std::string::String>::new();
    assert_eq!(kept(&index, &arrow, &col("c1").lt(lit(1.0))), none);
    assert_eq!(kept(&index, &arrow, &col("c1").eq(lit(5.0))), none);
    assert_eq!(kept(&index, &arrow, &col("c1").in_list(vec![lit(5.0), lit(0.0)], false)), none);
    assert_eq!(kept(&index, &arrow, &col("c1").lt_eq(lit(1.0))).len(), 3);
    assert_eq!(kept(&index, &arrow, &col("c1").eq(lit(f64::NAN))), ["some", "who knows"]);
    assert_eq!(kept(&index, &arrow, &col("c1").in_list(vec![lit(5.0), lit(f64::NAN)], false)), ["some", "who knows"]);
    let asked = asked(&arrow);
    assert_eq!(index.all().may_hold_nan(&asked, &[0, 1]).unwrap(), [0]);
    assert!(index.all().may_hold_nan(&asked, &[1]).unwrap().is_empty());
    let sure = index.choose(&[true, false, false]);
    assert!(sure.may_hold_nan(&asked, &[0, 1]).unwrap().is_empty());
}
