//! The decoder against iceberg's own.

use super::*;

const TYPES: [PrimitiveType; 15] = [
    Boolean,
    Int,
    Long,
    Float,
    Double,
    Decimal { precision: 20, scale: 2 },
    Date,
    Time,
    Timestamp,
    Timestamptz,
    String,
    Uuid,
    Fixed(3),
    Binary,
    TimestampNs,
];

fn specs(schema: &Arc<Schema>) -> Vec<PartitionSpecRef> {
    // iceberg cannot write a partition of uuids, nor read one of nanoseconds.
    let identities: Vec<(i32, Transform)> =
        (1..=15).filter(|id| ![12, 15].contains(id)).map(|id| (id, Transform::Identity)).collect();
    vec![
        spec(schema, 0, &[]),
        spec(schema, 1, &[(2, Transform::Identity), (3, Transform::Bucket(8)), (11, Transform::Truncate(2))]),
        spec(schema, 2, &[(7, Transform::Year), (9, Transform::Month), (10, Transform::Day), (15, Transform::Hour)]),
        spec(schema, 3, &[(6, Transform::Truncate(50)), (2, Transform::Void), (6, Transform::Bucket(3))]),
        spec(schema, 4, &identities),
    ]
}

fn random_file(dice: &mut Dice, spec: &PartitionSpec, at: usize, v3: bool) -> iceberg::spec::DataFile {
    let row: Vec<Option<Datum>> = TYPES.iter().map(|of| (!dice.one_in(6)).then(|| random(dice, of))).collect();
    let some = |dice: &mut Dice, of: &PrimitiveType| (!dice.one_in(5)).then(|| random(dice, of));
    let bounds = |dice: &mut Dice| -> HashMap<i32, Datum> {
        (1..).zip(&TYPES).filter_map(|(id, of)| Some((id, some(dice, of)?))).collect()
    };
    let (lower, upper) = (bounds(dice), bounds(dice));
    let mut counts = || -> HashMap<i32, u64> {
        (1..=15).filter_map(|id| (!dice.one_in(4)).then_some((id, id as u64 * 3))).collect()
    };
    let mut builder = file(&format!("{at}"), spec, partition_of(spec, &row), at as u64);
    builder
        .lower_bounds(lower)
        .upper_bounds(upper)
        .null_value_counts(counts())
        .nan_value_counts(counts())
        .value_counts(counts())
        .column_sizes(counts())
        .split_offsets(Some(vec![4, 1000]));
    if at.is_multiple_of(2) {
        builder.sort_order_id(1);
    }
    if v3 && at.is_multiple_of(3) {
        builder.first_row_id(Some(at as i64 * 1000));
    }
    builder.build().unwrap()
}

fn bytes_of(literal: &PrimitiveLiteral) -> Vec<u8> {
    match literal {
        PrimitiveLiteral::Boolean(v) => vec![u8::from(*v)],
        PrimitiveLiteral::Int(v) => i64::from(*v).to_le_bytes().to_vec(),
        PrimitiveLiteral::Long(v) => v.to_le_bytes().to_vec(),
        PrimitiveLiteral::Float(v) => f64::from(v.0).to_le_bytes().to_vec(),
        PrimitiveLiteral::Double(v) => v.0.to_le_bytes().to_vec(),
        PrimitiveLiteral::String(v) => v.as_bytes().to_vec(),
        PrimitiveLiteral::Binary(v) => v.clone(),
        PrimitiveLiteral::Int128(v) => avro::shortest(&v.to_be_bytes()).to_vec(),
        PrimitiveLiteral::UInt128(v) => v.to_be_bytes().to_vec(),
        other => unreachable!("{other:?}"),
    }
}

#[tokio::test]
async fn every_entry_is_what_iceberg_reads() {
    let schema = table(&TYPES);
    let mut dice = Dice(11);
    for version in [Version::One, Version::Two, Version::Three] {
        for spec in specs(&schema) {
            let files: Vec<_> =
                (1..40).map(|at| (random_file(&mut dice, &spec, at, version == Version::Three), at % 4 == 0)).collect();
            let (bytes, listed, written, io) = manifest(version, &schema, &spec, files).await;
            let read = manifest::decode_data(&bytes, &Frame { listed: &listed, spec: &spec }).unwrap();
            let expect = written.load_manifest(&io).await.unwrap();
            assert_eq!(read.len(), expect.entries().len());
            for (row, entry) in expect.entries().iter().enumerate() {
                let file = entry.data_file();
                assert_eq!(format!("{}{}", read.prefix, read.locations.value(row)), file.file_path());
                assert_eq!(
                    (read.sizes.value(row), read.rows.value(row)),
                    (file.file_size_in_bytes(), file.record_count())
                );
                assert_eq!(Some(read.sequences.value(row)), entry.sequence_number());
                let order = read.sort_orders.as_ref().and_then(|ids| ids.is_valid(row).then(|| ids.value(row)));
                assert_eq!(order, file.sort_order_id());
                for (place, value) in file.partition().fields().iter().enumerate() {
                    let values = &read.partition[place];
                    let found = values.is_valid(row).then(|| values.value(row).to_vec());
                    let expect = value.as_ref().map(|v| bytes_of(&v.as_primitive_literal().unwrap()));
                    assert_eq!(found, expect, "partition field {place} of {:?}", spec.fields());
                }
                for id in 1..=15 {
                    let stored = &read.columns[&id];
                    let bytes = |array: &Option<datafusion::arrow::array::BinaryArray>| {
                        array.as_ref().and_then(|array| array.is_valid(row).then(|| array.value(row).to_vec()))
                    };
                    let datum = |datum: Option<&Datum>| datum.map(|datum| datum.to_bytes().unwrap().to_vec());
                    assert_eq!(bytes(&stored.lower), datum(file.lower_bounds().get(&id)), "lower bound {id}");
                    assert_eq!(bytes(&stored.upper), datum(file.upper_bounds().get(&id)), "upper bound {id}");
                    let count = |array: &Option<datafusion::arrow::array::UInt64Array>| {
                        array.as_ref().and_then(|array| array.is_valid(row).then(|| array.value(row)))
                    };
                    assert_eq!(count(&stored.nulls), file.null_value_counts().get(&id).copied());
                    assert_eq!(count(&stored.nans), file.nan_value_counts().get(&id).copied());
                }
            }
        }
    }
}

#[tokio::test]
async fn row_ids_are_inherited_where_a_file_has_none() {
    let schema = table(&[Long]);
    let spec = spec(&schema, 0, &[]);
    let data = |at: u64, first: Option<i64>| {
        (file(&at.to_string(), &spec, Struct::empty(), at).first_row_id(first).build().unwrap(), false)
    };
    let files = vec![data(5, None), data(7, Some(10_000)), data(3, None), data(1, None)];
    let (bytes, mut listed, ..) = manifest(Version::Three, &schema, &spec, files).await;
    let read = |listed: &Listed| manifest::decode_data(&bytes, &Frame { listed, spec: &spec }).unwrap().first_rows;
    assert_eq!(read(&listed), None);
    listed.first_row = Some(100);
    assert_eq!(read(&listed).unwrap().values().to_vec(), [100, 10_000, 105, 108]);
}

#[tokio::test]
async fn a_manifest_that_is_not_what_its_list_says_is_refused() {
    let schema = table(&[Long]);
    let spec = spec(&schema, 0, &[]);
    let files = (0..3).map(|at| (file(&at.to_string(), &spec, Struct::empty(), 1).build().unwrap(), false)).collect();
    let (bytes, listed, ..) = manifest(Version::Two, &schema, &spec, files).await;
    let read = |bytes: &[u8], listed: &Listed| {
        manifest::decode_data(bytes, &Frame { listed, spec: &spec }).map(|read| read.len())
    };
    assert_eq!(read(&bytes, &listed).unwrap(), 3);
    assert!(read(&bytes[..bytes.len() - 1], &listed).is_err());
    for added in [2, 4] {
        let other = Listed { added: Some(added), ..listed.clone() };
        assert!(read(&bytes, &other).unwrap_err().0.contains("another number of files"));
    }
    let unknown = Listed { added: None, existing: None, length: 0, ..listed.clone() };
    assert_eq!(read(&bytes, &unknown).unwrap(), 3);
    assert!(manifest::decode_deletes(&bytes, &Frame { listed: &listed, spec: &spec }).is_err());
}

#[tokio::test]
async fn delete_files_keep_their_kind_and_an_equal_partition() {
    let schema = table(&[Long, String]);
    let spec = spec(&schema, 1, &[(1, Transform::Identity), (2, Transform::Truncate(2))]);
    let row = [Some(Datum::long(5)), Some(Datum::string("abcd"))];
    let io = FileIO::new_with_memory();
    let output = io.new_output("memory:///d.avro").unwrap();
    let builder = ManifestWriterBuilder::new(output, Some(7), Arc::clone(&schema), spec.as_ref().clone());
    let mut writer = builder.build_v3_deletes();
    let mut add = |name: &str, edit: &dyn Fn(&mut DataFileBuilder)| {
        let mut builder = file(name, &spec, partition_of(&spec, &row), 3);
        edit(&mut builder);
        writer.add_file(builder.build().unwrap(), 6).unwrap();
    };
    add("e", &|file| {
        file.content(DataContentType::EqualityDeletes).equality_ids(Some(vec![2, 1]));
    });
    add("p", &|file| {
        file.content(DataContentType::PositionDeletes).referenced_data_file(Some("x".into()));
    });
    add("v", &|file| {
        file.content(DataContentType::PositionDeletes).file_format(DataFileFormat::Puffin);
        file.content_offset(Some(4)).content_size_in_bytes(Some(50));
    });
    let written = writer.write_manifest_file().await.unwrap();
    let listed = Listed { deletes: true, sequence: written.sequence_number, ..Listed::default() };
    let bytes = io.new_input("memory:///d.avro").unwrap().read().await.unwrap();
    let read = manifest::decode_deletes(&bytes, &Frame { listed: &listed, spec: &spec }).unwrap().files;
    assert_eq!(
        read.iter().map(|file| (file.equality, file.puffin)).collect::<Vec<_>>(),
        [(true, false), (false, false), (false, true)]
    );
    assert_eq!((read[0].ids.as_slice(), read[1].data_file.as_deref()), ([2, 1].as_slice(), Some("x")));
    assert_eq!((read[2].offset, read[2].length, read[2].sequence), (Some(4), Some(50), 6));

    let data = vec![(file("d", &spec, partition_of(&spec, &row), 1).build().unwrap(), false)];
    let (bytes, listed, ..) = manifest(Version::Two, &schema, &spec, data).await;
    let data = manifest::decode_data(&bytes, &Frame { listed: &listed, spec: &spec }).unwrap();
    let own = manifest::key(&spec, data.partition.iter().map(|values| Some(values.value(0))));
    assert_eq!(own, read[0].partition);
    assert_ne!(manifest::key(&spec, [Some([5].as_slice()), None].into_iter()), own);
}
