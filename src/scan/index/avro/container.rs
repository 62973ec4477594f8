//! A container file: its head, and its blocks, unpacked one at a time.

use std::borrow::Cow;
use std::collections::HashMap;
use std::io::Read;
use std::sync::Arc;

use super::{Bad, CUT, Cursor, SCHEMA, Schemas, Shape};

/// How many bytes one unpacked block may have.
const BLOCK: usize = 256 * 1024 * 1024;
/// How many bytes the blocks of one file may have when unpacked.
const FILE: usize = 1024 * 1024 * 1024;

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
pub(in super::super) struct Container<'a> {
    meta: HashMap<&'a [u8], &'a [u8]>,
    /// What each record is.
    pub(in super::super) shape: Arc<Shape>,
    codec: Codec,
    sync: &'a [u8],
    blocks: Cursor<'a>,
}

impl<'a> Container<'a> {
    pub(in super::super) fn open(bytes: &'a [u8]) -> Result<Self, Bad> {
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
    pub(in super::super) fn text(&self, key: &str) -> Option<&'a str> {
        self.meta.get(key.as_bytes()).and_then(|value| std::str::from_utf8(value).ok())
    }

    /// Gives each block, unpacked, with the number of its records.
    pub(in super::super) fn each_block(
        &self,
        mut read: impl FnMut(Cursor<'_>, usize) -> Result<(), Bad>,
    ) -> Result<(), Bad> {
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
