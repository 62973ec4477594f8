//! Container files that are right, and such that are not.

use super::*;

fn long(value: i64) -> Vec<u8> {
    let mut left = ((value << 1) ^ (value >> 63)).cast_unsigned();
    let mut out = Vec::new();
    while left > 0x7f {
        out.push((left & 0x7f) as u8 | 0x80);
        left >>= 7;
    }
    out.push(left as u8);
    out
}

fn text(value: &[u8]) -> Vec<u8> {
    [long(value.len() as i64), value.to_vec()].concat()
}

fn file(schema: &str, codec: &str, blocks: &[(i64, Vec<u8>)]) -> Vec<u8> {
    let sync = [7u8; 16];
    let mut out = b"Obj\x01".to_vec();
    out.extend(long(2));
    for (key, value) in [("avro.schema", schema), ("avro.codec", codec)] {
        out.extend([text(key.as_bytes()), text(value.as_bytes())].concat());
    }
    out.extend(long(0));
    out.extend(sync);
    for (count, bytes) in blocks {
        out.extend([long(*count), text(bytes), sync.to_vec()].concat());
    }
    out
}

fn longs(bytes: &[u8]) -> Result<Vec<i64>, Bad> {
    let container = Container::open(bytes)?;
    let mut out = Vec::new();
    container.each_block(|mut cursor, count| {
        for _ in 0..count {
            if let Some(Scalar::Long(value)) = cursor.scalar(&container.shape)? {
                out.push(value);
            }
        }
        Ok(())
    })?;
    Ok(out)
}

#[test]
fn each_codec_is_unpacked_and_checked() {
    use std::io::Write;
    let plain = [long(-1), long(i64::MAX), long(i64::MIN)].concat();
    let mut deflate = flate2::write::DeflateEncoder::new(Vec::new(), flate2::Compression::default());
    deflate.write_all(&plain).unwrap();
    let mut snappy = snap::raw::Encoder::new().compress_vec(&plain).unwrap();
    snappy.extend(crc32fast::hash(&plain).to_be_bytes());
    let zstandard = zstd::stream::encode_all(plain.as_slice(), 1).unwrap();
    let all = [("null", plain), ("deflate", deflate.finish().unwrap()), ("snappy", snappy), ("zstandard", zstandard)];
    for (codec, packed) in all {
        let bytes = file("\"long\"", codec, &[(3, packed.clone())]);
        assert_eq!(longs(&bytes).unwrap(), [-1, i64::MAX, i64::MIN], "{codec}");
        let mut torn = packed;
        let last = torn.len() - 1;
        torn[last] ^= 0xff;
        let torn = longs(&file("\"long\"", codec, &[(3, torn)]));
        assert!(codec == "deflate" || codec == "zstandard" || torn.is_err() || torn.unwrap() != [0], "{codec}");
    }
    assert!(longs(&file("\"long\"", "bzip2", &[])).is_err());
}

#[test]
fn absurd_lengths_are_refused_before_anything_is_made_for_them() {
    for count in [i64::MAX, i64::MIN, 1 << 40, -1] {
        assert!(longs(&file("\"long\"", "null", &[(count, long(1))])).is_err(), "{count}");
    }
    let array = "{\"type\":\"array\",\"items\":\"long\"}";
    for bytes in [long(i64::MAX), long(i64::MIN), [long(-1), long(i64::MAX)].concat()] {
        let bytes = file(array, "null", &[(1, bytes)]);
        let container = Container::open(&bytes).unwrap();
        assert!(container.each_block(|mut cursor, _| cursor.skip(&container.shape)).is_err());
    }
    let fixed = file("{\"type\":\"fixed\",\"name\":\"f\",\"size\":9007199254740991}", "null", &[(1, long(1))]);
    let container = Container::open(&fixed).unwrap();
    assert!(container.each_block(|mut cursor, _| cursor.skip(&container.shape)).is_err());
    let mut snappy = vec![0xff, 0xff, 0xff, 0xff, 0x0f];
    snappy.extend([0; 8]);
    assert!(longs(&file("\"long\"", "snappy", &[(1, snappy)])).is_err());
}

#[test]
fn schemas_that_nest_repeat_or_hold_nothing_are_refused() {
    let deep = format!("{}\"long\"{}", "{\"type\":\"array\",\"items\":".repeat(60), "}".repeat(60));
    let hostile = format!("{}\"long\"{}", "{\"type\":\"array\",\"items\":".repeat(60_000), "}".repeat(60_000));
    let own = "{\"type\":\"record\",\"name\":\"r\",\"fields\":[{\"name\":\"a\",\"type\":\"r\"}]}";
    let nothing = "{\"type\":\"array\",\"items\":\"null\"}";
    for schema in [deep.as_str(), &hostile, own, nothing, "\"null\"", "{}", "[1]", "\"what\""] {
        assert!(Container::open(&file(schema, "null", &[])).is_err(), "{:.60}", schema);
    }
    // Each record holds the one before it twice: a short text, and 2^30 values.
    let mut doubling =
        "{\"type\":\"record\",\"name\":\"r0\",\"fields\":[{\"name\":\"a\",\"type\":\"long\"}]}".to_owned();
    for level in 1..30 {
        doubling = format!(
            "{{\"type\":\"record\",\"name\":\"r{level}\",\"fields\":[{{\"name\":\"a\",\"type\":{doubling}}},\
                 {{\"name\":\"b\",\"type\":\"r{}\"}}]}}",
            level - 1
        );
    }
    assert!(Container::open(&file(&doubling, "null", &[])).is_err());
}

#[test]
fn a_name_stands_for_the_shape_that_it_was_first_given() {
    let schema = "{\"type\":\"record\",\"name\":\"r\",\"fields\":[\
            {\"name\":\"a\",\"type\":{\"type\":\"fixed\",\"name\":\"two\",\"size\":2}},\
            {\"name\":\"b\",\"type\":[\"null\",\"two\"]}]}";
    let bytes = file(schema, "null", &[(1, [vec![1, 2], long(1), vec![3, 4]].concat())]);
    let container = Container::open(&bytes).unwrap();
    let mut seen = Vec::new();
    container
        .each_block(|mut cursor, _| {
            for field in container.shape.fields()? {
                seen.push(format!("{:?}", cursor.scalar(&field.shape)?));
            }
            Ok(())
        })
        .unwrap();
    assert_eq!(seen, ["Some(Bytes([1, 2]))", "Some(Bytes([3, 4]))"]);
}
