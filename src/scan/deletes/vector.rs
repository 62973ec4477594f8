//! Deletion vectors: the positions of a data file's deleted rows, as a blob in a Puffin file.
//!
//! ```text
//! length of magic + vector (4, big endian) | magic (4) | vector | CRC-32 of magic + vector (4, big endian)
//! vector: number of bitmaps (8, little endian), each: upper half of its positions (4, little endian), 32-bit roaring
//! ```
//!
//! Nothing is allocated by a number that the blob only claims: each bitmap is read off the bytes that are there.

use std::ops::Range;

use roaring::{RoaringBitmap, RoaringTreemap};

const MAGIC: [u8; 4] = [0xD1, 0xD3, 0x39, 0x64];

/// The positions in `blob`, or what is wrong with it.
pub(super) fn decode(blob: &[u8]) -> Result<RoaringTreemap, &'static str> {
    let (length, rest) = blob.split_first_chunk::<4>().ok_or(CUT)?;
    let (checked, sum) = rest.split_last_chunk::<4>().ok_or(CUT)?;
    if usize::try_from(u32::from_be_bytes(*length)) != Ok(checked.len()) {
        return Err("holds a deletion vector of another length than it says");
    }
    if crc32fast::hash(checked) != u32::from_be_bytes(*sum) {
        return Err("holds a deletion vector whose checksum is wrong");
    }
    let vector = checked.strip_prefix(&MAGIC).ok_or("holds something else than a deletion vector")?;
    bitmaps(vector)
}

const CUT: &str = "holds a deletion vector that is cut";
const BROKEN: &str = "holds a deletion vector that cannot be read";

fn bitmaps(vector: &[u8]) -> Result<RoaringTreemap, &'static str> {
    let (count, mut rest) = vector.split_first_chunk::<8>().ok_or(CUT)?;
    let count = u64::from_le_bytes(*count);
    let mut found: Vec<(u32, RoaringBitmap)> = Vec::new();
    for _ in 0..count {
        let (key, bitmap) = rest.split_first_chunk::<4>().ok_or(CUT)?;
        let key = u32::from_le_bytes(*key);
        rest = bitmap;
        let bitmap = RoaringBitmap::deserialize_from(&mut rest).map_err(|_| BROKEN)?;
        if found.last().is_some_and(|(last, _)| *last >= key) {
            return Err(BROKEN);
        }
        found.push((key, bitmap));
    }
    if !rest.is_empty() {
        return Err("holds a deletion vector with something after its end");
    }
    Ok(RoaringTreemap::from_bitmaps(found))
}

/// Where a blob is in its file, if it lies inside.
pub(super) fn place(offset: u64, length: u64, size: u64) -> Option<Range<u64>> {
    let end = offset.checked_add(length)?;
    (end <= size).then_some(offset..end)
}

/// A blob as writers make it.
#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
pub(in crate::scan) fn encode(positions: &RoaringTreemap) -> Vec<u8> {
    let mut checked = MAGIC.to_vec();
    checked.extend((positions.bitmaps().count() as u64).to_le_bytes());
    for (key, bitmap) in positions.bitmaps() {
        checked.extend(key.to_le_bytes());
        bitmap.serialize_into(&mut checked).unwrap();
    }
    let mut blob = u32::try_from(checked.len()).unwrap().to_be_bytes().to_vec();
    blob.extend(&checked);
    blob.extend(crc32fast::hash(&checked).to_be_bytes());
    blob
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests")]
mod tests {
    use super::*;

    fn some() -> RoaringTreemap {
        let mut positions: RoaringTreemap =
            (0..100).chain(1000..9000).chain([70_000, 1 << 33, (1 << 33) + 5]).collect();
        positions.insert_range(200_000..300_000);
        positions.optimize();
        positions
    }

    #[test]
    fn what_was_written_is_read() {
        for positions in [RoaringTreemap::new(), RoaringTreemap::from_iter([0]), some()] {
            assert_eq!(decode(&encode(&positions)).unwrap(), positions);
        }
    }

    /// The example that Java's tests keep, with positions 5, 7, 9 in the first bitmap.
    #[test]
    fn the_layout_is_the_specifications() {
        let blob = encode(&RoaringTreemap::from_iter([5, 7, 9]));
        assert_eq!(blob[..4], (blob.len() as u32 - 8).to_be_bytes());
        assert_eq!(blob[4..8], MAGIC);
        assert_eq!(blob[8..16], 1u64.to_le_bytes());
        assert_eq!(blob[16..20], 0u32.to_le_bytes());
        assert_eq!(blob[20..24], 12346u32.to_le_bytes());
    }

    #[test]
    fn what_is_cut_or_changed_is_refused() {
        let blob = encode(&some());
        for end in 0..blob.len() {
            assert!(decode(&blob[..end]).is_err(), "cut at {end}");
        }
        for at in [0, 4, 9, 17, 22, blob.len() / 2, blob.len() - 1] {
            let mut changed = blob.clone();
            changed[at] ^= 1;
            assert!(decode(&changed).is_err(), "changed at {at}");
        }
    }

    /// The checksum is made right again, so that the mutations reach the bitmaps.
    #[test]
    fn mutations_neither_panic_nor_allocate_what_is_not_there() {
        let blob = encode(&some());
        let mut state = 0x9E37_79B9_7F4A_7C15_u64;
        let mut next = move |below: usize| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            usize::try_from(state >> 33).unwrap() % below
        };
        for _ in 0..5000 {
            let mut changed = blob[4..blob.len() - 4].to_vec();
            for _ in 0..=next(4) {
                let at = if next(2) == 0 { next(64) } else { next(changed.len()) };
                match next(4) {
                    0 => changed[at] = 0xFF,
                    1 => changed[at] ^= 1 << next(8),
                    2 => changed.truncate(at.max(70)),
                    _ => changed[at] = u8::try_from(next(256)).unwrap(),
                }
            }
            let mut blob = u32::try_from(changed.len()).unwrap().to_be_bytes().to_vec();
            blob.extend(&changed);
            blob.extend(crc32fast::hash(&changed).to_be_bytes());
            if let Ok(positions) = decode(&blob) {
                assert!(positions.serialized_size() <= 16 * blob.len());
            }
        }
        let mut hostile = MAGIC.to_vec();
        hostile.extend(u64::MAX.to_le_bytes());
        assert_eq!(bitmaps(&hostile[4..]), Err(CUT));
    }

    #[test]
    fn a_blob_lies_inside_its_file() {
        assert_eq!(place(4, 6, 10), Some(4..10));
        assert_eq!(place(4, 7, 10), None);
        assert_eq!(place(u64::MAX, 2, u64::MAX), None);
    }
}
