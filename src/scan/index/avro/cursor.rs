//! The parts of one record, read as the schema says.

use std::sync::Arc;

use super::{Bad, CUT, SCHEMA, Scalar, Shape};

/// The bytes that are still to be read.
#[derive(Debug, Clone, Copy)]
pub(in super::super) struct Cursor<'a> {
    rest: &'a [u8],
}

impl<'a> Cursor<'a> {
    pub(in super::super) fn new(rest: &'a [u8]) -> Self {
        Self { rest }
    }

    pub(in super::super) fn is_empty(&self) -> bool {
        self.rest.is_empty()
    }

    pub(in super::super) fn take(&mut self, length: usize) -> Result<&'a [u8], Bad> {
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
    pub(in super::super) fn long(&mut self) -> Result<i64, Bad> {
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
    pub(in super::super) fn bytes(&mut self) -> Result<&'a [u8], Bad> {
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
    pub(in super::super) fn scalar(&mut self, shape: &Shape) -> Result<Option<Scalar<'a>>, Bad> {
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
    pub(in super::super) fn items(&mut self) -> Result<usize, Bad> {
        let count = self.long()?;
        if count < 0 {
            self.long()?;
        }
        let count = usize::try_from(count.unsigned_abs()).map_err(|_| CUT)?;
        if count > self.rest.len() { Err(CUT) } else { Ok(count) }
    }

    /// Reads each item of an array, or does nothing when it is null.
    pub(in super::super) fn each(
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
    pub(in super::super) fn each_pair(
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

    pub(in super::super) fn skip(&mut self, shape: &Shape) -> Result<(), Bad> {
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
pub(in super::super) fn shortest(mut bytes: &[u8]) -> &[u8] {
    while let [first, rest @ ..] = bytes
        && let [second, ..] = rest
        && matches!((first, second & 0x80), (0, 0) | (0xff, 0x80))
    {
        bytes = rest;
    }
    bytes
}
