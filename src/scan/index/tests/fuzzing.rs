//! Broken bytes: an error or another reading, and never a panic or memory without measure.

use super::*;
use crate::lake::memory::Weighed;

fn break_it(dice: &mut Dice, bytes: &[u8]) -> Vec<u8> {
    let mut bytes = bytes.to_vec();
    for _ in 0..=dice.below(4) {
        let at = dice.below(bytes.len());
        match dice.below(5) {
            0 => bytes[at] = *dice.pick(&[0, 1, 0x7f, 0x80, 0xfe, 0xff]),
            1 => bytes[at] ^= 1 << dice.below(8),
            2 => bytes.insert(at, dice.next() as u8),
            3 => drop(bytes.remove(at)),
            _ => {
                let end = (at + 9).min(bytes.len());
                bytes[at..end].fill(0xff);
            }
        }
    }
    if dice.one_in(8) {
        bytes.truncate(dice.below(bytes.len()));
    }
    bytes
}

#[tokio::test]
async fn mutated_manifests_are_refused_or_read_within_bounds() {
    let types = [Long, String, Double, Date, Decimal { precision: 9, scale: 2 }];
    let schema = table(&types);
    let spec = spec(&schema, 1, &[(1, Transform::Identity), (2, Transform::Truncate(2)), (5, Transform::Identity)]);
    let arrow = arrow(&schema);
    let mut dice = Dice(5);
    let files = (0..6)
        .map(|at| {
            let row: Vec<_> = types.iter().map(|of| Some(random(&mut dice, of))).collect();
            let bounds: HashMap<i32, Datum> = (1..).zip(row.iter().flatten().cloned()).collect();
            let counts: HashMap<i32, u64> = (1..=5).map(|id| (id, 0)).collect();
            let mut builder = file(&at.to_string(), &spec, partition_of(&spec, &row), 4);
            builder.lower_bounds(bounds.clone()).upper_bounds(bounds).null_value_counts(counts);
            (builder.build().unwrap(), false)
        })
        .collect();
    let (bytes, listed, ..) = manifest(Version::Two, &schema, &spec, files).await;
    let listed = Listed { length: 0, added: None, existing: None, first_row: Some(5), ..listed };
    let (mut read, mut refused) = (0, 0);
    for _ in 0..3000 {
        let broken = break_it(&mut dice, &bytes);
        let frame = Frame { listed: &listed, spec: &spec };
        let _ = manifest::decode_deletes(&broken, &frame);
        let _ = list::decode(&broken);
        let Ok(manifest) = manifest::decode_data(&broken, &frame) else {
            refused += 1;
            continue;
        };
        read += 1;
        assert!(manifest.bytes() <= 20_000 + 512 * broken.len(), "{} bytes of {}", manifest.bytes(), broken.len());
        let index = FileIndex { manifests: vec![Arc::new(manifest)] };
        let asked = asked(&arrow);
        index.all().statistics(&asked, &[0, 1, 2, 3, 4]).unwrap();
        index.all().known(&asked, &[0, 1, 2, 3, 4]).unwrap();
        for (field, of) in (1..).zip(arrow.fields()) {
            index.all().facts(field, of.data_type(), statistics::Purpose::Pruning).unwrap();
        }
    }
    // How many are read depends on the names and the marker that a manifest is written with.
    assert!(read > 30 && refused > 500, "{read} read, {refused} refused");
}

#[tokio::test]
async fn mutated_manifest_lists_are_refused_or_read() {
    use iceberg::spec::ManifestListWriter;
    let io = FileIO::new_with_memory();
    let schema = table(&[Long]);
    let spec = spec(&schema, 0, &[]);
    let data = vec![(file("a", &spec, Struct::empty(), 5).build().unwrap(), false)];
    let (_, _, written, _) = manifest(Version::Three, &schema, &spec, data).await;
    let output = io.new_output("memory:///l.avro").unwrap().writer().await.unwrap();
    let mut writer = ManifestListWriter::v3(output, 7, None, 9, Some(40));
    writer.add_manifests(std::iter::repeat_n(ManifestFile { sequence_number: -1, ..written }, 3)).unwrap();
    writer.close().await.unwrap();
    let bytes = io.new_input("memory:///l.avro").unwrap().read().await.unwrap();
    let list = list::decode(&bytes).unwrap().manifests;
    assert_eq!(list.iter().map(|listed| listed.first_row).collect::<Vec<_>>(), [Some(40), Some(45), Some(50)]);
    assert_eq!((list[0].sequence, list[0].added, list[0].existing, list[0].deletes), (9, Some(1), Some(0), false));
    assert_eq!((list[0].spec, list[0].location.as_str(), list[0].encrypted), (0, "memory:///m.avro", false));
    let mut dice = Dice(6);
    let mut refused = 0;
    for _ in 0..2000 {
        let broken = break_it(&mut dice, &bytes);
        match list::decode(&broken) {
            Ok(list) => assert!(list.bytes() <= 20_000 + 512 * broken.len()),
            Err(_) => refused += 1,
        }
    }
    assert!(refused > 200, "{refused}");
}
