//! Avro container files, read by the schema that they carry.
//!
//! ```text
//! bytes -> Container (codec, Shape of a record) -> blocks, unpacked one at a time -> Cursor over one record
//! ```
//!
//! Nothing is believed that the bytes do not prove: a length is held against what is left, a schema against depth and
//! size, an unpacked block against a limit. There is no recursion in a shape, and every step of reading eats bytes.

use std::borrow::Cow;
use std::collections::HashMap;
use std::io::Read;
use std::sync::Arc;

use serde_json::Value;

/// How many bytes one unpacked block may have.
const BLOCK: usize = 256 * 1024 * 1024;
/// How many bytes the blocks of one file may have when unpacked.
const FILE: usize = 1024 * 1024 * 1024;
/// How deep a schema may nest.
const DEPTH: usize = 32;
/// How many values a record may have, nested ones included.
const WEIGHT: usize = 4096;

/// What is wrong with the bytes of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub(super) struct Bad(pub(super) &'static str);

const CUT: Bad = Bad("it ends too early");
const SCHEMA: Bad = Bad("its schema is not understood");

/// What a writer wrote for one value.
#[derive(Debug)]
pub(super) enum Shape {
    Null,
    Bool,
    Int,
    Long,
    Float,
    Double,
    Bytes,
    Fixed(usize),
    /// Bytes of a decimal; given without those that only repeat its sign.
    Decimal(Arc<Self>),
    Array(Arc<Self>),
    /// Its keys are text.
    Map(Arc<Self>),
    Union(Vec<Arc<Self>>),
    Record(Vec<Field>),
}

/// A field of a record.
#[derive(Debug, Clone)]
pub(super) struct Field {
    pub(super) name: String,
    /// The id that Iceberg gives it.
    pub(super) id: Option<i32>,
    pub(super) shape: Arc<Shape>,
}

/// A value that is not nested.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Scalar<'a> {
    Bool(bool),
    Int(i32),
    Long(i64),
    Float(f32),
    Double(f64),
    Bytes(&'a [u8]),
}

impl Shape {
    /// The fields of a record.
    pub(super) fn fields(&self) -> Result<&[Field], Bad> {
        match self {
            Self::Record(fields) => Ok(fields),
            _ => Err(SCHEMA),
        }
    }

    /// Itself, or what it is when it is not null.
    pub(super) fn present(&self) -> &Self {
        match self {
            Self::Union(branches) => match branches.iter().find(|branch| !matches!(***branch, Self::Null)) {
                Some(branch) => branch,
                None => self,
            },
            _ => self,
        }
    }

    /// The fewest bytes that a value takes.
    fn least(&self) -> usize {
        match self {
            Self::Null => 0,
            Self::Fixed(length) => *length,
            Self::Decimal(bytes) => bytes.least(),
            Self::Float => 4,
            Self::Double => 8,
            Self::Record(fields) => fields.iter().fold(0, |sum, field| field.shape.least().saturating_add(sum)),
            _ => 1,
        }
    }

    /// How many values there are in it, counting an array or a map once.
    fn weight(&self) -> usize {
        let sum = |sum: usize, shape: &Self| sum.saturating_add(shape.weight());
        match self {
            Self::Array(item) | Self::Map(item) => item.weight().saturating_add(1),
            Self::Union(branches) => branches.iter().fold(1, |so_far, branch| sum(so_far, branch)),
            Self::Record(fields) => fields.iter().fold(1, |so_far, field| sum(so_far, &field.shape)),
            _ => 1,
        }
    }
}

/// Reads a schema. Each name stands for the shape that it was first given.
struct Schemas {
    named: HashMap<String, Arc<Shape>>,
}

impl Schemas {
    fn shape(&mut self, json: &Value, depth: usize) -> Result<Arc<Shape>, Bad> {
        if depth > DEPTH {
            return Err(Bad("its schema nests too deep"));
        }
        let shape = match json {
            Value::String(name) => return self.by_name(name),
            Value::Array(branches) => {
                let branches = branches.iter().map(|branch| self.shape(branch, depth + 1)).collect::<Result<_, _>>()?;
                Arc::new(Shape::Union(branches))
            }
            Value::Object(object) => {
                let shape = match object.get("type").ok_or(SCHEMA)? {
                    Value::String(kind) => match kind.as_str() {
                        "record" => Arc::new(Shape::Record(self.fields(object.get("fields"), depth)?)),
                        "array" => Arc::new(Shape::Array(self.item(object.get("items"), depth)?)),
                        "map" => Arc::new(Shape::Map(self.shape(object.get("values").ok_or(SCHEMA)?, depth + 1)?)),
                        "enum" => Arc::new(Shape::Int),
                        "fixed" => {
                            let size = object.get("size").and_then(Value::as_u64);
                            Arc::new(Shape::Fixed(size.and_then(|size| usize::try_from(size).ok()).ok_or(SCHEMA)?))
                        }
                        name => self.by_name(name)?,
                    },
                    nested => self.shape(nested, depth + 1)?,
                };
                let is_decimal = object.get("logicalType").and_then(Value::as_str) == Some("decimal");
                let shape = if is_decimal { Arc::new(Shape::Decimal(shape)) } else { shape };
                if let Some(name) = object.get("name").and_then(Value::as_str) {
                    self.named.entry(name.to_owned()).or_insert_with(|| Arc::clone(&shape));
                    if let Some(space) = object.get("namespace").and_then(Value::as_str) {
                        self.named.entry(format!("{space}.{name}")).or_insert_with(|| Arc::clone(&shape));
                    }
                }
                shape
            }
            _ => return Err(SCHEMA),
        };
        // Names let a short text stand for a large shape, so it is weighed at every step.
        if shape.weight() > WEIGHT { Err(Bad("its schema is too large")) } else { Ok(shape) }
    }

    fn by_name(&self, name: &str) -> Result<Arc<Shape>, Bad> {
        Ok(Arc::new(match name {
            "null" => Shape::Null,
            "boolean" => Shape::Bool,
            "int" => Shape::Int,
            "long" => Shape::Long,
            "float" => Shape::Float,
            "double" => Shape::Double,
            "bytes" | "string" => Shape::Bytes,
            _ => return self.named.get(name).map(Arc::clone).ok_or(SCHEMA),
        }))
    }

    fn fields(&mut self, json: Option<&Value>, depth: usize) -> Result<Vec<Field>, Bad> {
        let fields = json.and_then(Value::as_array).ok_or(SCHEMA)?;
        let field = |json: &Value| {
            Ok(Field {
                name: json.get("name").and_then(Value::as_str).ok_or(SCHEMA)?.to_owned(),
                id: json.get("field-id").and_then(Value::as_i64).and_then(|id| i32::try_from(id).ok()),
                shape: self.shape(json.get("type").ok_or(SCHEMA)?, depth + 1)?,
            })
        };
        fields.iter().map(field).collect()
    }

    /// Items without bytes would let a few bytes stand for any number of them.
    fn item(&mut self, json: Option<&Value>, depth: usize) -> Result<Arc<Shape>, Bad> {
        let item = self.shape(json.ok_or(SCHEMA)?, depth + 1)?;
        if item.least() == 0 { Err(SCHEMA) } else { Ok(item) }
    }
}

/// The bytes that are still to be read.
#[derive(Debug, Clone, Copy)]
pub(super) struct Cursor<'a> {
    rest: &'a [u8],
}

impl<'a> Cursor<'a> {
    pub(super) fn new(rest: &'a [u8]) -> Self {
        Self { rest }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.rest.is_empty()
    }

    pub(super) fn take(&mut self, length: usize) -> Result<&'a [u8], Bad> {
        let (taken, rest) = self.rest.split_at_checked(length).ok_or(CUT)?;
        self.rest = rest;
        Ok(taken)
    }

    fn number<const N: usize>(&mut self) -> Result<[u8; N], Bad> {
        let (taken, rest) = self.rest.split_first_chunk::<N>().ok_or(CUT)?;
        self.rest = rest;
        Ok(*taken)
    }

    #[inline]
    pub(super) fn long(&mut self) -> Result<i64, Bad> {
        let mut value = 0u64;
        let mut shift = 0u32;
        loop {
            let (byte, rest) = self.rest.split_first().ok_or(CUT)?;
            self.rest = rest;
            value |= u64::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return Ok((value >> 1).cast_signed() ^ (value & 1).cast_signed().wrapping_neg());
            }
            shift += 7;
            if shift > 63 {
                return Err(Bad("a number in it is too long"));
            }
        }
    }

    fn int(&mut self) -> Result<i32, Bad> {
        i32::try_from(self.long()?).map_err(|_| Bad("a number in it is too large"))
    }

    #[inline]
    pub(super) fn bytes(&mut self) -> Result<&'a [u8], Bad> {
        let length = usize::try_from(self.long()?).map_err(|_| CUT)?;
        self.take(length)
    }

    fn branch<'s>(&mut self, branches: &'s [Arc<Shape>]) -> Result<&'s Shape, Bad> {
        let index = usize::try_from(self.long()?).ok();
        let branch = index.and_then(|index| branches.get(index));
        branch.map(AsRef::as_ref).ok_or(Bad("a choice in it does not exist"))
    }

    /// A value that is not nested; `None` for null.
    #[inline]
    pub(super) fn scalar(&mut self, shape: &Shape) -> Result<Option<Scalar<'a>>, Bad> {
        Ok(Some(match shape {
            Shape::Null => return Ok(None),
            Shape::Bool => Scalar::Bool(self.number::<1>()? != [0]),
            Shape::Int => Scalar::Int(self.int()?),
            Shape::Long => Scalar::Long(self.long()?),
            Shape::Float => Scalar::Float(f32::from_le_bytes(self.number()?)),
            Shape::Double => Scalar::Double(f64::from_le_bytes(self.number()?)),
            Shape::Bytes => Scalar::Bytes(self.bytes()?),
            Shape::Fixed(length) => Scalar::Bytes(self.take(*length)?),
            Shape::Decimal(bytes) => match bytes.as_ref() {
                Shape::Bytes => Scalar::Bytes(shortest(self.bytes()?)),
                Shape::Fixed(length) => Scalar::Bytes(shortest(self.take(*length)?)),
                _ => return Err(SCHEMA),
            },
            Shape::Union(branches) => {
                let branch = self.branch(branches)?;
                return if matches!(branch, Shape::Union(_)) { Err(SCHEMA) } else { self.scalar(branch) };
            }
            Shape::Array(_) | Shape::Map(_) | Shape::Record(_) => return Err(SCHEMA),
        }))
    }

    /// How many items come next in an array or a map; 0 at its end.
    fn items(&mut self) -> Result<usize, Bad> {
        let count = self.long()?;
        if count < 0 {
            self.long()?;
        }
        let count = usize::try_from(count.unsigned_abs()).map_err(|_| CUT)?;
        if count > self.rest.len() { Err(CUT) } else { Ok(count) }
    }

    /// Reads each item of an array, or does nothing when it is null.
    pub(super) fn each(
        &mut self,
        shape: &Shape,
        mut read: impl FnMut(&mut Self, &Shape) -> Result<(), Bad>,
    ) -> Result<(), Bad> {
        match shape {
            Shape::Null => Ok(()),
            Shape::Union(branches) => {
                let branch = self.branch(branches)?;
                if matches!(branch, Shape::Union(_)) { Err(SCHEMA) } else { self.each_item(branch, &mut read) }
            }
            _ => self.each_item(shape, &mut read),
        }
    }

    fn each_item(
        &mut self,
        shape: &Shape,
        read: &mut impl FnMut(&mut Self, &Shape) -> Result<(), Bad>,
    ) -> Result<(), Bad> {
        let item = match shape {
            Shape::Null => return Ok(()),
            Shape::Array(item) => item,
            _ => return Err(SCHEMA),
        };
        loop {
            match self.items()? {
                0 => return Ok(()),
                count => (0..count).try_for_each(|_| read(self, item))?,
            }
        }
    }

    /// Reads each pair of a map, or does nothing when it is null.
    pub(super) fn each_pair(
        &mut self,
        shape: &Shape,
        mut read: impl FnMut(&'a [u8], Option<Scalar<'a>>) -> Result<(), Bad>,
    ) -> Result<(), Bad> {
        let shape = match shape {
            Shape::Union(branches) => self.branch(branches)?,
            _ => shape,
        };
        let value = match shape {
            Shape::Null => return Ok(()),
            Shape::Map(value) => value,
            _ => return Err(SCHEMA),
        };
        loop {
            match self.items()? {
                0 => return Ok(()),
                count => (0..count).try_for_each(|_| read(self.bytes()?, self.scalar(value)?))?,
            }
        }
    }

    pub(super) fn skip(&mut self, shape: &Shape) -> Result<(), Bad> {
        match shape {
            Shape::Union(branches) => {
                let branch = self.branch(branches)?;
                self.skip(branch)
            }
            Shape::Record(fields) => fields.iter().try_for_each(|field| self.skip(&field.shape)),
            Shape::Array(item) => self.skip_items(|cursor| cursor.skip(item)),
            Shape::Map(value) => self.skip_items(|cursor| {
                cursor.bytes()?;
                cursor.skip(value)
            }),
            _ => self.scalar(shape).map(drop),
        }
    }

    fn skip_items(&mut self, item: impl Fn(&mut Self) -> Result<(), Bad>) -> Result<(), Bad> {
        loop {
            let count = self.long()?;
            if count < 0 {
                self.bytes()?;
                continue;
            }
            let count = usize::try_from(count).map_err(|_| CUT)?;
            if count > self.rest.len() {
                return Err(CUT);
            }
            if count == 0 {
                return Ok(());
            }
            (0..count).try_for_each(|_| item(self))?;
        }
    }
}

/// The same number in as few bytes as it can be told from others.
pub(super) fn shortest(mut bytes: &[u8]) -> &[u8] {
    while let [first, rest @ ..] = bytes
        && let [second, ..] = rest
        && matches!((first, second & 0x80), (0, 0) | (0xff, 0x80))
    {
        bytes = rest;
    }
    bytes
}

#[derive(Debug, Clone, Copy)]
enum Codec {
    Null,
    Deflate,
    Snappy,
    Zstandard,
}

impl Codec {
    fn unpack<'a>(self, packed: &'a [u8]) -> Result<Cow<'a, [u8]>, Bad> {
        Ok(match self {
            Self::Null => Cow::Borrowed(packed),
            Self::Deflate => Cow::Owned(limited(flate2::read::DeflateDecoder::new(packed))?),
            Self::Zstandard => Cow::Owned(limited(zstd::stream::read::Decoder::new(packed).map_err(|_| BROKEN)?)?),
            Self::Snappy => {
                let (packed, checksum) = packed.split_last_chunk::<4>().ok_or(CUT)?;
                // No snappy block grows further than this, so a larger claim is a lie.
                let claim = snap::raw::decompress_len(packed).map_err(|_| BROKEN)?;
                if claim > BLOCK || claim > packed.len().saturating_mul(64) {
                    return Err(LARGE);
                }
                let bytes = snap::raw::Decoder::new().decompress_vec(packed).map_err(|_| BROKEN)?;
                if crc32fast::hash(&bytes) != u32::from_be_bytes(*checksum) {
                    return Err(Bad("a checksum in it does not fit"));
                }
                Cow::Owned(bytes)
            }
        })
    }
}

const BROKEN: Bad = Bad("a block in it cannot be unpacked");
const LARGE: Bad = Bad("it is too large when unpacked");

fn limited(from: impl Read) -> Result<Vec<u8>, Bad> {
    let limit = u64::try_from(BLOCK).unwrap_or(u64::MAX);
    let mut bytes = Vec::new();
    from.take(limit.saturating_add(1)).read_to_end(&mut bytes).map_err(|_| BROKEN)?;
    if bytes.len() > BLOCK { Err(LARGE) } else { Ok(bytes) }
}

/// A container file: its head, and its blocks.
#[derive(Debug)]
pub(super) struct Container<'a> {
    meta: HashMap<&'a [u8], &'a [u8]>,
    /// What each record is.
    pub(super) shape: Arc<Shape>,
    codec: Codec,
    sync: &'a [u8],
    blocks: Cursor<'a>,
}

impl<'a> Container<'a> {
    pub(super) fn open(bytes: &'a [u8]) -> Result<Self, Bad> {
        let mut cursor = Cursor::new(bytes);
        if cursor.take(4)? != b"Obj\x01" {
            return Err(Bad("it is not an Avro file"));
        }
        let mut meta = HashMap::new();
        loop {
            let count = cursor.items()?;
            if count == 0 {
                break;
            }
            for _ in 0..count {
                meta.insert(cursor.bytes()?, cursor.bytes()?);
            }
        }
        let sync = cursor.take(16)?;
        let codec = match meta.get(b"avro.codec".as_slice()).copied().unwrap_or(b"null") {
            b"null" => Codec::Null,
            b"deflate" => Codec::Deflate,
            b"snappy" => Codec::Snappy,
            b"zstandard" => Codec::Zstandard,
            _ => return Err(Bad("it is packed in a way that is not supported")),
        };
        let json = serde_json::from_slice(meta.get(b"avro.schema".as_slice()).ok_or(SCHEMA)?).map_err(|_| SCHEMA)?;
        let shape = Schemas { named: HashMap::new() }.shape(&json, 0)?;
        if shape.least() == 0 {
            return Err(SCHEMA);
        }
        Ok(Self { meta, shape, codec, sync, blocks: cursor })
    }

    /// A text in the file's head.
    pub(super) fn text(&self, key: &str) -> Option<&'a str> {
        self.meta.get(key.as_bytes()).and_then(|value| std::str::from_utf8(value).ok())
    }

    /// Gives each block, unpacked, with the number of its records.
    pub(super) fn each_block(&self, mut read: impl FnMut(Cursor<'_>, usize) -> Result<(), Bad>) -> Result<(), Bad> {
        let mut blocks = self.blocks;
        let mut total = 0usize;
        while !blocks.is_empty() {
            let count = usize::try_from(blocks.long()?).map_err(|_| CUT)?;
            let packed = blocks.bytes()?;
            if blocks.take(16)? != self.sync {
                return Err(Bad("its blocks do not fit together"));
            }
            let bytes = self.codec.unpack(packed)?;
            total = total.saturating_add(bytes.len());
            if total > FILE {
                return Err(LARGE);
            }
            if count > bytes.len() {
                return Err(CUT);
            }
            read(Cursor::new(&bytes), count)?;
        }
        Ok(())
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests")]
mod tests {
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
        let all =
            [("null", plain), ("deflate", deflate.finish().unwrap()), ("snappy", snappy), ("zstandard", zstandard)];
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
}
