//! A table of the demo: its Iceberg schema, its blocks of rows, and the function that makes a block.

use std::ops::Range;
use std::sync::Arc;

use arrow::array::ArrayRef;
use arrow::error::ArrowError;
use iceberg::spec::{ListType, NestedField, PrimitiveType, Schema, StructType, Type};

use super::draw::MONTHS;
use super::world::World;

/// Makes the columns of a block; rows count from 0.
pub type Columns = fn(World, &Range<u64>) -> Result<Vec<ArrayRef>, ArrowError>;

/// A table of the demo.
#[derive(Debug, Clone, Copy)]
pub struct Table {
    /// The namespace in the domain's catalog.
    pub namespace: &'static str,
    /// The name in that namespace.
    pub name: &'static str,
    /// Name, type and whether it is always there, of each column.
    pub fields: fn() -> Vec<(&'static str, Type, bool)>,
    /// How many rows the table has.
    pub rows: fn(World) -> u64,
    /// How its rows are cut into files.
    pub cut: Cut,
    /// Makes the columns.
    pub columns: Columns,
}

/// How rows, which come in the order of time, are cut into files.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cut {
    /// Into this many files of equal length.
    Even(u64),
    /// Into the months of 2025, and partitioned by the month of this column, over which rows are spread evenly.
    Monthly(&'static str),
}

/// The rows of one file, and the month of its partition, in months since 1970.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Block {
    pub rows: Range<u64>,
    pub month: Option<i32>,
}

impl Table {
    /// The table's blocks in the order of rows.
    pub fn blocks(&self, world: World) -> Vec<Block> {
        let total = (self.rows)(world);
        match self.cut {
            Cut::Even(files) => (0..files)
                .map(|file| Block { rows: total * file / files..total * (file + 1) / files, month: None })
                .filter(|block| !block.rows.is_empty())
                .collect(),
            Cut::Monthly(_) => {
                // Row r happens at r/total of the year, so a month begins with the first row at or after it.
                let first = |day: i64| (day.unsigned_abs() * total).div_ceil(365);
                let ends = MONTHS.iter().skip(1);
                MONTHS
                    .iter()
                    .zip(ends)
                    .zip(660..)
                    .map(|((start, end), month)| Block { rows: first(*start)..first(*end), month: Some(month) })
                    .filter(|block| !block.rows.is_empty())
                    .collect()
            }
        }
    }

    /// The Iceberg schema: ids count from 1 in the order of columns, those of nested fields follow.
    pub fn schema(&self) -> Result<Schema, iceberg::Error> {
        let fields = (self.fields)()
            .into_iter()
            .zip(1..)
            .map(|((name, kind, required), id)| Arc::new(NestedField::new(id, name, kind, required)));
        Schema::builder().with_fields(fields).build()
    }
}

pub const LONG: Type = Type::Primitive(PrimitiveType::Long);
pub const INT: Type = Type::Primitive(PrimitiveType::Int);
pub const DOUBLE: Type = Type::Primitive(PrimitiveType::Double);
pub const TEXT: Type = Type::Primitive(PrimitiveType::String);
pub const FLAG: Type = Type::Primitive(PrimitiveType::Boolean);
pub const DATE: Type = Type::Primitive(PrimitiveType::Date);
pub const INSTANT: Type = Type::Primitive(PrimitiveType::Timestamptz);
pub const MONEY: Type = Type::Primitive(PrimitiveType::Decimal { precision: 12, scale: 2 });

/// A list of texts whose element has the field id `id`.
pub fn text_list(id: i32) -> Type {
    Type::List(ListType::new(Arc::new(NestedField::list_element(id, TEXT, true))))
}

/// A struct of whole numbers whose fields count from `id`.
pub fn int_struct(id: i32, names: &[&str]) -> Type {
    Type::Struct(StructType::new(
        names.iter().zip(id..).map(|(name, id)| Arc::new(NestedField::required(id, name, INT))).collect(),
    ))
}
