//! The index over manifests that iceberg's own writer wrote, without a table around them.

use std::collections::HashMap;
use std::sync::Arc;

use datafusion::arrow::datatypes::{Field, Schema as ArrowSchema};
use iceberg::io::FileIO;
use iceberg::spec::PrimitiveType::*;
use iceberg::spec::{
    DataContentType, DataFileBuilder, DataFileFormat, Datum, ManifestFile, ManifestWriterBuilder, NestedField,
    PartitionSpec, PrimitiveLiteral, PrimitiveType, Schema, Struct, Transform, Type,
};
use iceberg::transform::create_transform_function;

use super::*;
use crate::lake::metadata::Beyond;
use crate::scan::columns::want;

mod decoding;
mod fuzzing;
mod lake;
mod pruning;

/// Numbers that are the same in every run.
struct Dice(u64);

impl Dice {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    fn below(&mut self, end: usize) -> usize {
        (self.next() % end as u64) as usize
    }

    fn one_in(&mut self, n: usize) -> bool {
        self.below(n) == 0
    }

    fn pick<'a, T>(&mut self, from: &'a [T]) -> &'a T {
        &from[self.below(from.len())]
    }
}

/// Fields with the ids 1, 2, 3… under the names `c1`, `c2`, `c3`…
fn table(types: &[PrimitiveType]) -> Arc<Schema> {
    let field = |(id, of): (i32, &PrimitiveType)| {
        Arc::new(NestedField::optional(id, format!("c{id}"), Type::Primitive(of.clone())))
    };
    Arc::new(Schema::builder().with_fields((1..).zip(types).map(field)).build().unwrap())
}

fn arrow(schema: &Schema) -> SchemaRef {
    let fields = schema.as_struct().fields().iter();
    Arc::new(ArrowSchema::new(
        fields
            .map(|field| {
                Field::new(
                    &field.name,
                    want(field, &field.name, None, &Beyond::default()).unwrap().field.data_type().clone(),
                    true,
                )
            })
            .collect::<Vec<_>>(),
    ))
}

fn asked(schema: &SchemaRef) -> Asked<'_> {
    Asked { ids: (1..).take(schema.fields().len()).collect(), schema }
}

/// A spec over some of the fields, each by a transform.
fn spec(schema: &Arc<Schema>, id: i32, fields: &[(i32, Transform)]) -> PartitionSpecRef {
    let mut builder = PartitionSpec::builder(Arc::clone(schema)).with_spec_id(id);
    for (place, (source, transform)) in fields.iter().enumerate() {
        builder = builder.add_partition_field(format!("c{source}"), format!("p{id}_{place}"), *transform).unwrap();
    }
    Arc::new(builder.build().unwrap())
}

/// A row's partition.
fn partition_of(spec: &PartitionSpec, row: &[Option<Datum>]) -> Struct {
    let value = |field: &iceberg::spec::PartitionField| {
        let datum = row[field.source_id as usize - 1].as_ref()?;
        let made = create_transform_function(&field.transform).unwrap().transform_literal(datum).unwrap()?;
        Some(iceberg::spec::Literal::Primitive(made.literal().clone()))
    };
    spec.fields().iter().map(value).collect()
}

#[derive(Clone, Copy, PartialEq)]
enum Version {
    One,
    Two,
    Three,
}

/// Writes a manifest; each file as added, or as taken over from before.
async fn manifest(
    version: Version,
    schema: &Arc<Schema>,
    spec: &PartitionSpecRef,
    files: Vec<(iceberg::spec::DataFile, bool)>,
) -> (Vec<u8>, Listed, ManifestFile, FileIO) {
    let io = FileIO::new_with_memory();
    let output = io.new_output("memory:///m.avro").unwrap();
    let builder = ManifestWriterBuilder::new(output, Some(7), Arc::clone(schema), spec.as_ref().clone());
    let mut writer = match version {
        Version::One => builder.build_v1(),
        Version::Two => builder.build_v2_data(),
        Version::Three => builder.build_v3_data(),
    };
    for (file, existing) in files {
        if existing {
            writer.add_existing_file(file, 3, 4, Some(4)).unwrap();
        } else {
            writer.add_file(file, -1).unwrap();
        }
    }
    let mut written = writer.write_manifest_file().await.unwrap();
    written.sequence_number = if version == Version::One { 0 } else { 9 };
    let listed = Listed {
        location: written.manifest_path.clone(),
        length: written.manifest_length,
        spec: written.partition_spec_id,
        sequence: written.sequence_number,
        added: written.added_files_count.map(i64::from),
        existing: written.existing_files_count.map(i64::from),
        ..Listed::default()
    };
    (io.new_input("memory:///m.avro").unwrap().read().await.unwrap().to_vec(), listed, written, io)
}

fn file(name: &str, spec: &PartitionSpec, partition: Struct, rows: u64) -> DataFileBuilder {
    let mut builder = DataFileBuilder::default();
    builder
        .content(DataContentType::Data)
        .file_path(format!("memory:///t/data/{name}.parquet"))
        .file_format(DataFileFormat::Parquet)
        .partition(partition)
        .record_count(rows)
        .file_size_in_bytes(1000 + rows)
        .partition_spec_id(spec.spec_id());
    builder
}

/// A value of a type; small numbers, so that values meet.
fn random(dice: &mut Dice, of: &PrimitiveType) -> Datum {
    let number = match dice.below(4) {
        0 => dice.below(10) as i64,
        1 => -(dice.below(10) as i64),
        _ => dice.below(100_000) as i64 - 50_000,
    };
    let (small, hours) = (number as i32, number * 3_700_000_000);
    match of {
        Boolean => Datum::bool(number > 0),
        Int => Datum::int(small),
        Long => Datum::long(number),
        Float => Datum::float(small as f32 / 8.0),
        Double => Datum::double(number as f64 / 8.0),
        Date => Datum::date(small),
        Time => Datum::time_micros(number.abs()).unwrap(),
        Timestamp => Datum::timestamp_micros(hours),
        Timestamptz => Datum::timestamptz_micros(hours),
        TimestampNs => Datum::timestamp_nanos(hours * 100 + number),
        TimestamptzNs => Datum::timestamptz_nanos(hours * 100 + number),
        String => {
            Datum::string(["", "a", "ab", "abc", "äöü", "zz\u{10ffff}", "b"][dice.below(7)].repeat(dice.below(3)))
        }
        Uuid => Datum::uuid(uuid::Uuid::from_u128(dice.next().into())),
        Fixed(length) => Datum::fixed(vec![small as u8; *length as usize]),
        Binary => Datum::binary(number.to_be_bytes()[dice.below(8)..].to_vec()),
        Decimal { .. } => decimal(number, of),
    }
}

fn decimal(unscaled: i64, of: &PrimitiveType) -> Datum {
    Datum::try_from_bytes(avro::shortest(&unscaled.to_be_bytes()), of.clone()).unwrap()
}
