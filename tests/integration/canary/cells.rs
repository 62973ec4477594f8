//! Tables in which every cell holds a value that occurs nowhere else, and the forms in which such a value can leak.

use std::sync::Arc;

use datafusion::arrow::array::types::{
    Date32Type, Decimal128Type, Float32Type, Float64Type, Int32Type, Int64Type, Time64MicrosecondType,
    TimestampMicrosecondType, TimestampNanosecondType,
};
use datafusion::arrow::array::{
    Array, ArrayRef, ArrowPrimitiveType, AsArray, BinaryArray, FixedSizeBinaryArray, ListArray, MapArray,
    PrimitiveArray, StringArray, StructArray,
};
use datafusion::arrow::buffer::OffsetBuffer;
use datafusion::arrow::compute::cast;
use datafusion::arrow::datatypes::DataType;
use datafusion::arrow::util::display::{ArrayFormatter, FormatOptions};
use iceberg::arrow::schema_to_arrow_schema;
use iceberg::spec::{ListType, MapType, NestedField, NestedFieldRef, PrimitiveType as P, Schema, StructType, Type};

/// How many rows each table has. Every fourth is hidden from those for whom there are row rules.
pub const ROWS: u64 = 24;

/// The types of cells. A boolean has too few values for one of them to be a token.
pub fn types() -> Vec<(&'static str, P)> {
    vec![
        ("string", P::String),
        ("binary", P::Binary),
        ("fixed", P::Fixed(12)),
        ("uuid", P::Uuid),
        ("int", P::Int),
        ("long", P::Long),
        ("float", P::Float),
        ("double", P::Double),
        ("small", P::Decimal { precision: 18, scale: 2 }),
        ("large", P::Decimal { precision: 38, scale: 10 }),
        ("date", P::Date),
        ("time", P::Time),
        ("stamp", P::Timestamp),
        ("zoned", P::Timestamptz),
        ("stamp_ns", P::TimestampNs),
        ("zoned_ns", P::TimestamptzNs),
    ]
}

/// The ways in which a column holds cells; each is a table.
pub const NESTINGS: [&str; 5] = ["plain", "items", "inside", "listed", "mapped"];

/// The schema of a table: the row's number, whether it is for all, a text that is for all, and a column for each type.
pub fn schema(nesting: &str) -> Schema {
    let text = |id, name| Arc::new(NestedField::optional(id, name, Type::Primitive(P::String)));
    let mut fields: Vec<NestedFieldRef> =
        vec![Arc::new(NestedField::optional(1, "id", Type::Primitive(P::Long))), text(2, "side"), text(3, "open")];
    for ((name, kind), number) in types().into_iter().zip(1..) {
        let id = number * 10;
        fields.push(Arc::new(NestedField::optional(id, name, nested(nesting, id, Type::Primitive(kind)))));
    }
    Schema::builder().with_fields(fields).build().unwrap()
}

fn nested(nesting: &str, id: i32, kind: Type) -> Type {
    let field = |id, name: &str, kind| Arc::new(NestedField::optional(id, name, kind));
    let pair = |kind| {
        let beside = field(id + 4, "beside", Type::Primitive(P::String));
        Type::Struct(StructType::new(vec![field(id + 3, "leaf", kind), beside]))
    };
    match nesting {
        "plain" => kind,
        "items" => Type::List(ListType::new(Arc::new(NestedField::list_element(id + 1, kind, false)))),
        "inside" => pair(kind),
        "listed" => Type::List(ListType::new(Arc::new(NestedField::list_element(id + 1, pair(kind), false)))),
        _ => {
            let key = Arc::new(NestedField::map_key_element(id + 1, Type::Primitive(P::String)));
            Type::Map(MapType::new(key, Arc::new(NestedField::map_value_element(id + 2, pair(kind), false))))
        }
    }
}

/// The path of the cells inside of a column.
pub fn leaf(nesting: &str) -> &'static str {
    match nesting {
        "plain" | "items" => "",
        _ => ".leaf",
    }
}

/// Whether a row is hidden by row rules.
pub fn is_hidden(row: u64) -> bool {
    row % 4 == 1
}

/// A value and all forms of it that tell it.
pub struct Cell {
    pub nesting: &'static str,
    pub column: &'static str,
    pub row: u64,
    pub forms: Vec<Vec<u8>>,
}

/// Bits that look like chance and are the same every time.
fn mixed(seed: u64) -> u64 {
    let seed = seed.wrapping_add(1).wrapping_mul(0x9E37_79B9_7F4A_7C15);
    let seed = (seed ^ (seed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    let seed = (seed ^ (seed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    seed ^ (seed >> 31)
}

/// The same, below a limit.
fn below(seed: u64, limit: i64) -> i64 {
    (mixed(seed) % limit.unsigned_abs()) as i64
}

fn seed(nesting: &str, column: &str, row: u64) -> u64 {
    let name = nesting.bytes().chain(column.bytes()).fold(7_u64, |sum, byte| sum.wrapping_mul(257) + u64::from(byte));
    mixed(name).wrapping_add(row)
}

/// What a text is known by: neither its first four characters nor its last four.
fn middle(nesting: &str, column: &str, row: u64) -> String {
    format!("{:016x}", mixed(seed(nesting, column, row)))
}

fn numbers<T: ArrowPrimitiveType>(kind: &DataType, values: impl Fn(u64) -> T::Native) -> ArrayRef {
    Arc::new(PrimitiveArray::<T>::from_iter_values((0..ROWS).map(values)).with_data_type(kind.clone()))
}

/// The values of a column of cells, before they are nested.
fn values(nesting: &str, column: &str, kind: &DataType) -> ArrayRef {
    let seed = |row| seed(nesting, column, row);
    let text = |row| format!("näme {} end.", middle(nesting, column, row));
    let bytes = |row| [mixed(seed(row)), mixed(!seed(row))].map(u64::to_be_bytes).concat();
    match column {
        "string" | "open" | "beside" => {
            cast(&(Arc::new(StringArray::from_iter_values((0..ROWS).map(text))) as ArrayRef), kind).unwrap()
        }
        "binary" => cast(&(Arc::new(BinaryArray::from_iter_values((0..ROWS).map(bytes))) as ArrayRef), kind).unwrap(),
        "fixed" | "uuid" => {
            let width = if column == "uuid" { 16 } else { 12 };
            Arc::new(FixedSizeBinaryArray::try_from_iter((0..ROWS).map(|row| bytes(row)[..width].to_vec())).unwrap())
        }
        "int" => numbers::<Int32Type>(kind, |row| 1_000_000_000 + below(seed(row), 1_100_000_000) as i32),
        "long" => numbers::<Int64Type>(kind, |row| 10_i64.pow(18) + below(seed(row), 8 * 10_i64.pow(18))),
        "float" => numbers::<Float32Type>(kind, |row| 1e9 + below(seed(row), 1 << 40) as f32 * 1.37),
        "double" => numbers::<Float64Type>(kind, |row| below(seed(row), 1 << 52) as f64 * 1.000_001 + 0.123),
        "small" => numbers::<Decimal128Type>(kind, |row| i128::from(10_i64.pow(17) + below(seed(row), 10_i64.pow(17)))),
        "large" => numbers::<Decimal128Type>(kind, |row| {
            i128::from(mixed(seed(row)) >> 4) * 10_i128.pow(18) + i128::from(below(!seed(row), 10_i64.pow(18)))
        }),
        "date" => numbers::<Date32Type>(kind, |row| 1_500_000 + below(seed(row), 800_000) as i32),
        "time" => numbers::<Time64MicrosecondType>(kind, |row| 10_000_000_000 + below(seed(row), 70_000_000_000)),
        // Within the years of the microseconds and of the nanoseconds that sixty-four bits can tell.
        "stamp" | "zoned" => {
            numbers::<TimestampMicrosecondType>(kind, |row| 90_000_000_000_000_000 + below(seed(row), 1 << 54))
        }
        "stamp_ns" | "zoned_ns" => {
            numbers::<TimestampNanosecondType>(kind, |row| 10_i64.pow(18) + below(seed(row), 1 << 60))
        }
        _ => panic!("there is no column `{column}`"),
    }
}

/// A column of a table, of the type that the table's file wants.
pub fn column(nesting: &str, name: &str, kind: &DataType) -> ArrayRef {
    match name {
        "id" => numbers::<Int64Type>(kind, |row| row as i64),
        "side" => {
            let side = |row| if is_hidden(row) { "theirs" } else { "ours" };
            Arc::new(StringArray::from_iter_values((0..ROWS).map(side)))
        }
        _ => nest(nesting, name, kind),
    }
}

fn nest(nesting: &str, name: &str, kind: &DataType) -> ArrayRef {
    let ones = || OffsetBuffer::<i32>::from_lengths(vec![1; ROWS as usize]);
    match kind {
        DataType::Struct(fields) => {
            let columns = fields.iter().map(|field| {
                let kind = field.data_type();
                match field.name().as_str() {
                    "beside" => values(&format!("{nesting} beside {name}"), "beside", kind),
                    _ => nest(nesting, name, kind),
                }
            });
            Arc::new(StructArray::new(fields.clone(), columns.collect(), None))
        }
        DataType::List(item) => {
            Arc::new(ListArray::new(Arc::clone(item), ones(), nest(nesting, name, item.data_type()), None))
        }
        DataType::Map(entry, sorted) => {
            let DataType::Struct(pair) = entry.data_type() else { panic!("the entries of a map are pairs") };
            let keys: ArrayRef = Arc::new(StringArray::from(vec!["key"; ROWS as usize]));
            let entries = StructArray::new(pair.clone(), vec![keys, nest(nesting, name, pair[1].data_type())], None);
            Arc::new(MapArray::new(Arc::clone(entry), ones(), entries, None, *sorted))
        }
        plain => values(nesting, name, plain),
    }
}

/// All cells of a table.
pub fn all(nesting: &'static str) -> Vec<Cell> {
    let plain = schema_to_arrow_schema(&schema("plain")).unwrap();
    let open = ("open", P::String);
    let cells = types().into_iter().chain([open]).flat_map(|(column, _)| {
        let array = values(nesting, column, plain.field_with_name(column).unwrap().data_type());
        let cell = |row| Cell { nesting, column, row, forms: forms(&array, nesting, column, row as usize) };
        (0..ROWS).map(cell).collect::<Vec<_>>()
    });
    let beside = types().into_iter().filter(|_| leaf(nesting) == ".leaf").flat_map(|(column, _)| {
        let forms = move |row| vec![middle(&format!("{nesting} beside {column}"), "beside", row).into_bytes()];
        (0..ROWS).map(move |row| Cell { nesting, column, row, forms: forms(row) })
    });
    cells.chain(beside).collect()
}

/// The bytes by which a value is known wherever it is: as it is held, and as it is written.
fn forms(array: &ArrayRef, nesting: &str, column: &str, row: usize) -> Vec<Vec<u8>> {
    if matches!(column, "string" | "open") {
        return vec![middle(nesting, column, row as u64).into_bytes()];
    }
    let written = ArrayFormatter::try_new(array, &FormatOptions::default()).unwrap().value(row).to_string();
    let mut forms = Vec::new();
    let held = array.to_data();
    match array.data_type() {
        DataType::Binary | DataType::LargeBinary | DataType::FixedSizeBinary(_) => {
            let bytes = match array.data_type() {
                DataType::FixedSizeBinary(_) => array.as_fixed_size_binary().value(row).to_vec(),
                DataType::LargeBinary => array.as_binary::<i64>().value(row).to_vec(),
                _ => array.as_binary::<i32>().value(row).to_vec(),
            };
            let texts: Vec<String> = bytes.iter().map(u8::to_string).collect();
            forms.push(texts.join(", ").into_bytes());
            forms.push(texts.join(",").into_bytes());
            if let Ok(uuid) = uuid::Uuid::from_slice(&bytes) {
                forms.push(uuid.to_string().into_bytes());
            }
            forms.push(bytes);
        }
        // Four bytes are found by chance; with those of the next row, or of the one before the last, they are not.
        DataType::Int32 | DataType::Float32 | DataType::Date32 => {
            let start = row.min(array.len() - 2) * 4;
            forms.push(held.buffers()[0].as_slice()[start..start + 8].to_vec());
        }
        kind => {
            let width = kind.primitive_width().unwrap();
            let bytes = held.buffers()[0].as_slice()[row * width..(row + 1) * width].to_vec();
            // As literals are written in plans.
            if width == 8 && !kind.is_floating() {
                forms.push(i64::from_le_bytes(bytes[..].try_into().unwrap()).to_string().into_bytes());
            }
            if width == 16 {
                forms.push(i128::from_le_bytes(bytes[..].try_into().unwrap()).to_string().into_bytes());
            }
            forms.push(bytes.iter().rev().copied().collect());
            forms.push(bytes);
        }
    }
    match array.data_type() {
        // A moment's date may well be shown; its time of day is one of many.
        DataType::Timestamp(..) => forms.push(written.trim_end_matches('Z').as_bytes()[11..].to_vec()),
        // They are so coarse that a bucket gives some of them back as they were.
        DataType::Float32 => {}
        // The first of a month is what its whole month may be shown as.
        DataType::Date32 if written.ends_with("-01") => {}
        _ => forms.push(written.into_bytes()),
    }
    forms.retain(|form| form.len() >= 8);
    forms
}
