//! Timestamps of twelve bytes, as Spark wrote them first: beside deletes, filters and nested columns.

use super::*;

/// A file with two columns of Spark's oldest timestamps and three rows: two times and NULL.
fn oldest() -> Vec<u8> {
    let message = "message m { optional int96 z = 1; optional int96 w = 2; }";
    let root = Arc::new(parse_message_type(message).unwrap());
    let mut writer = SerializedFileWriter::new(Vec::new(), root, Default::default()).unwrap();
    let mut group = writer.next_row_group().unwrap();
    let mut day = Int96::new();
    // Noon of the Julian day that 1970 begins with, and of one that nanoseconds in 64 bits do not reach.
    let noon: u64 = 43_200_000_000_000;
    let mut far = Int96::new();
    day.set_data(noon as u32, (noon >> 32) as u32, 2_440_588);
    far.set_data(noon as u32, (noon >> 32) as u32, 2_440_588 + 800_000);
    while let Some(mut column) = group.next_column().unwrap() {
        column.typed::<Int96Type>().write_batch(&[day, far], Some(&[1, 1, 0]), None).unwrap();
        column.close().unwrap();
    }
    group.close().unwrap();
    writer.into_inner().unwrap()
}

#[tokio::test]
async fn sparks_oldest_timestamps_are_those_of_the_table() {
    let shop = shop().await;
    shop.create("t", schema(vec![optional(1, "z", Timestamptz), optional(2, "w", Timestamp)])).await;
    add(&shop, "old", oldest(), 3).await;
    let got = rows(&shop, &[("z", 1), ("w", 2)], "SELECT z, w FROM t").await.unwrap();
    assert_eq!(got, ["1970-01-01T12:00:00Z 1970-01-01T12:00:00", "4160-04-29T12:00:00Z 4160-04-29T12:00:00", "- -"]);
    let got = rows(&shop, &[("z", 1)], "SELECT count(*) FROM t WHERE z > TIMESTAMP '1999-01-01T00:00:00Z'").await;
    assert_eq!(got.unwrap(), ["1"]);
}

#[tokio::test]
async fn sparks_oldest_timestamps_are_filtered_beside_deletes() {
    let shop = shop().await;
    shop.create("t", schema(vec![optional(1, "z", Timestamptz), optional(2, "w", Timestamp)])).await;
    let mut files = Files::of(&shop);
    let location = files.put(oldest(), 3, |_| {}).await;
    files.commit().await;
    let mut files = Files::of(&shop);
    files.positions(&[(&location, 0)], Some(&location)).await;
    files.commit().await;
    for (sql, count) in [
        ("SELECT count(*) FROM t WHERE z > TIMESTAMP '1999-01-01T00:00:00Z'", "1"),
        ("SELECT count(*) FROM t WHERE z < TIMESTAMP '1999-01-01T00:00:00Z'", "0"),
    ] {
        assert_eq!(rows(&shop, &[("z", 1)], sql).await.unwrap(), [count], "{sql}");
    }
}

/// A file with one of Spark's oldest timestamps beside a list, a map and a struct, with ids or without.
fn oldest_beside_nested(ids: bool) -> Vec<u8> {
    let message = "message m { optional int96 z = 1;
        optional group l (LIST) = 2 { repeated group list { optional int64 element = 3; } }
        optional group m (MAP) = 4 { repeated group key_value { required binary key (STRING) = 5; optional int64 value = 6; } }
        optional group s = 7 { optional int64 x = 8; optional int96 t = 9;
            optional group in = 10 { optional int64 y = 11; } } }";
    let plain: String = message.split(" = ").enumerate().fold(String::new(), |mut all, (at, part)| {
        all.push_str(if at == 0 { part } else { part.trim_start_matches(|c: char| c.is_ascii_digit()) });
        all
    });
    let root = Arc::new(parse_message_type(if ids { message } else { &plain }).unwrap());
    let mut writer = SerializedFileWriter::new(Vec::new(), root, Default::default()).unwrap();
    let mut group = writer.next_row_group().unwrap();
    let mut noon = Int96::new();
    let nanos: u64 = 43_200_000_000_000;
    noon.set_data(nanos as u32, (nanos >> 32) as u32, 2_440_588);
    // Two rows, of which the second has a struct only.
    type Levels = (&'static [i16], Option<&'static [i16]>);
    let levels: [Levels; 7] = [
        (&[1, 0], None),
        (&[3, 3, 0], Some(&[0, 1, 0])),
        (&[2, 0], Some(&[0, 0])),
        (&[3, 0], Some(&[0, 0])),
        (&[2, 2], None),
        (&[2, 1], None),
        (&[3, 3], None),
    ];
    for (place, (defined, repeated)) in levels.into_iter().enumerate() {
        let mut column = group.next_column().unwrap().unwrap();
        match place {
            0 | 5 => drop(column.typed::<Int96Type>().write_batch(&[noon], Some(defined), repeated).unwrap()),
            2 => drop(column.typed::<ByteArrayType>().write_batch(&["k".into()], Some(defined), repeated).unwrap()),
            3 => drop(column.typed::<Int64Type>().write_batch(&[7], Some(defined), repeated).unwrap()),
            1 => drop(column.typed::<Int64Type>().write_batch(&[1, 2], Some(defined), repeated).unwrap()),
            4 => drop(column.typed::<Int64Type>().write_batch(&[5, 6], Some(defined), repeated).unwrap()),
            _ => drop(column.typed::<Int64Type>().write_batch(&[50, 60], Some(defined), repeated).unwrap()),
        }
        column.close().unwrap();
    }
    group.close().unwrap();
    writer.into_inner().unwrap()
}

#[tokio::test]
async fn what_is_nested_is_read_beside_sparks_oldest_timestamps() {
    let inner = StructType::new(vec![optional(11, "y", Long)]);
    let inside = vec![
        optional(8, "x", Long),
        optional(9, "t", Timestamptz),
        NestedField::optional(10, "in", Type::Struct(inner)).into(),
    ];
    let list = ListType::new(NestedField::list_element(3, Type::Primitive(Long), false).into());
    let key = NestedField::map_key_element(5, Type::Primitive(Text));
    let map =
        iceberg::spec::MapType::new(key.into(), NestedField::map_value_element(6, Type::Primitive(Long), false).into());
    let fields = vec![
        optional(1, "z", Timestamptz),
        NestedField::optional(2, "l", Type::List(list)).into(),
        NestedField::optional(4, "m", Type::Map(map)).into(),
        NestedField::optional(7, "s", Type::Struct(StructType::new(inside))).into(),
    ];
    let names = json!([
        {"field-id": 1, "names": ["z"]},
        {"field-id": 2, "names": ["l"], "fields": [{"field-id": 3, "names": ["element"]}]},
        {"field-id": 4, "names": ["m"], "fields": [{"field-id": 5, "names": ["key"]}, {"field-id": 6, "names": ["value"]}]},
        {"field-id": 7, "names": ["s"], "fields": [{"field-id": 8, "names": ["x"]}, {"field-id": 9, "names": ["t"]},
            {"field-id": 10, "names": ["in"], "fields": [{"field-id": 11, "names": ["y"]}]}]},
    ]);
    let all = [("z", 1), ("l", 2), ("m", 4), ("s", 7)];
    for ids in [true, false] {
        let shop = shop().await;
        shop.create("t", schema(vec![optional(1, "z", Timestamptz)])).await;
        shop.evolve("t", schema(fields.clone())).await;
        let names = HashMap::from([(mapping::PROPERTY.to_owned(), names.to_string())]);
        shop.change("t", |builder| builder.set_properties(names).unwrap()).await;
        let mut files = Files::of(&shop);
        let location = files.put(oldest_beside_nested(ids), 2, |_| {}).await;
        files.commit().await;
        for pushdown in [false, true] {
            let read = |sql: &'static str| rows_in(context_with(&shop, settings(pushdown)), &shop, &all, sql);
            let got = read("SELECT l, m, s FROM t ORDER BY s['x']").await.unwrap();
            let noon = "1970-01-01T12:00:00Z";
            assert_eq!(
                got,
                [
                    format!("[1, 2] {{k: 7}} {{x: 5, t: {noon}, in: {{y: 50}}}}"),
                    "- - {x: 6, t: -, in: {y: 60}}".to_owned()
                ]
            );
            assert_eq!(read("SELECT s['in']['y'], l[2], m['k'] FROM t WHERE s['x'] = 5").await.unwrap(), ["50 2 7"]);
            assert_eq!(read("SELECT s['in'] FROM t WHERE l IS NULL").await.unwrap(), ["{y: 60}"]);
            assert_eq!(read("SELECT count(*) FROM t WHERE z IS NULL AND s IS NOT NULL").await.unwrap(), ["1"]);
        }
        let mut files = Files::of(&shop);
        files.positions(&[(&location, 1)], Some(&location)).await;
        files.commit().await;
        let got = rows(&shop, &all, "SELECT l, s['in'] FROM t WHERE s['x'] > 0").await.unwrap();
        assert_eq!(got, ["[1, 2] {y: 50}"], "with ids: {ids}");
    }
}
