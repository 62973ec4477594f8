//! Random evolution of nested schemas, read by field id, against a naive reading of the same rows.
//!
//! A row is kept as JSON by field ids, as it was when it was written. What the table must show of it follows from the
//! schema of today alone: each field by its id, its default where the row is older than the field.

use datafusion::arrow::array::RecordBatch;
use datafusion::arrow::datatypes::{Field, Fields, Schema};
use datafusion::arrow::json::ReaderBuilder;
use datafusion::arrow::json::writer::{JsonArray, WriterBuilder};
use iceberg::spec::{FormatVersion, Literal, MapType};
use parquet::arrow::{ArrowWriter, PARQUET_FIELD_ID_META_KEY};
use serde_json::{Map, Value, json};

use super::*;

#[derive(Debug, Clone)]
struct F {
    id: i32,
    name: String,
    default: Option<i64>,
    kind: K,
}

#[derive(Debug, Clone)]
enum K {
    Int,
    Long,
    Float,
    Double,
    Text,
    Struct(Vec<F>),
    List(Box<F>),
    Map(Box<F>, Box<F>),
}

const NAMES: [&str; 6] = ["a", "b", "c", "d", "e", "f"];

struct Model {
    chance: Chance,
    last: i32,
}

impl Model {
    fn id(&mut self) -> i32 {
        self.last += 1;
        self.last
    }

    fn field(&mut self, name: &str, depth: usize) -> F {
        let id = self.id();
        let kind = match self.chance.below(if depth > 2 { 5 } else { 9 }) {
            0 => K::Int,
            1 => K::Long,
            2 => K::Float,
            3 => K::Double,
            4 => K::Text,
            5 => K::List(Box::new(self.field("element", depth + 1))),
            6 => {
                let key = Box::new(F { id: self.id(), name: "key".into(), default: None, kind: K::Text });
                K::Map(key, Box::new(self.field("value", depth + 1)))
            }
            _ => {
                let count = 1 + self.chance.below(3);
                K::Struct(NAMES.iter().take(count).map(|name| self.field(name, depth + 1)).collect())
            }
        };
        F { id, name: name.to_owned(), default: None, kind }
    }

    fn value(&mut self, kind: &K) -> Value {
        if self.chance.below(5) == 0 {
            return Value::Null;
        }
        let number = self.chance.below(40) as i64 - 8;
        match kind {
            K::Int | K::Long => json!(number),
            K::Float | K::Double => json!(number as f64 / 2.0),
            K::Text => json!(format!("t{number}")),
            K::Struct(fields) => {
                Value::Object(fields.iter().map(|field| (field.id.to_string(), self.value(&field.kind))).collect())
            }
            K::List(element) => {
                let count = self.chance.below(4);
                Value::Array((0..count).map(|_| self.value(&element.kind)).collect())
            }
            K::Map(_, value) => {
                let count = self.chance.below(4);
                Value::Object((0..count).map(|i| (format!("k{i}"), self.value(&value.kind))).collect())
            }
        }
    }

    /// One change somewhere in the schema: in the columns, or in a struct that is found by going down a random way.
    fn evolve(&mut self, level: &mut Vec<F>, depth: usize) {
        let inside: Vec<usize> = (0..level.len()).filter(|i| struct_in(&mut level[*i].kind).is_some()).collect();
        if !inside.is_empty() && self.chance.below(3) > 0 {
            let pick = inside[self.chance.below(inside.len())];
            return self.evolve(struct_in(&mut level[pick].kind).unwrap(), depth + 1);
        }
        // The first column numbers the rows, and stays.
        let first = usize::from(depth == 0);
        let free = NAMES.iter().find(|name| level.iter().all(|field| field.name != **name));
        let pick = first + self.chance.below((level.len() - first).max(1));
        match (self.chance.below(6), free) {
            (0, Some(name)) if level.len() > first => level[pick].name = (*name).to_owned(),
            (1, _) if level.len() > first + 1 => drop(level.remove(pick)),
            (2 | 3, Some(name)) => {
                let mut field = self.field(name, depth);
                if matches!(field.kind, K::Int | K::Long) && self.chance.below(2) == 0 {
                    field.default = Some(self.chance.below(30) as i64);
                }
                level.insert(pick.min(level.len()), field);
            }
            (4, _) if level.len() > first + 1 => level[first..].rotate_left(pick - first),
            _ => level.iter_mut().for_each(|field| promote(&mut field.kind)),
        }
    }
}

fn promote(kind: &mut K) {
    match kind {
        K::Int => *kind = K::Long,
        K::Float => *kind = K::Double,
        K::List(inside) | K::Map(_, inside) => promote(&mut inside.kind),
        _ => {}
    }
}

fn struct_in(kind: &mut K) -> Option<&mut Vec<F>> {
    match kind {
        K::Struct(fields) => Some(fields),
        K::List(inside) | K::Map(_, inside) => struct_in(&mut inside.kind),
        _ => None,
    }
}

fn of_iceberg(field: &F) -> Arc<NestedField> {
    let kind = match &field.kind {
        K::Int => Type::Primitive(Int),
        K::Long => Type::Primitive(Long),
        K::Float => Type::Primitive(Float),
        K::Double => Type::Primitive(Double),
        K::Text => Type::Primitive(Text),
        K::Struct(fields) => Type::Struct(StructType::new(fields.iter().map(of_iceberg).collect())),
        K::List(element) => Type::List(ListType::new(of_iceberg(element))),
        K::Map(key, value) => {
            let key = NestedField::map_key_element(key.id, Type::Primitive(Text));
            Type::Map(MapType::new(key.into(), of_iceberg(value)))
        }
    };
    let built = NestedField::optional(field.id, &field.name, kind);
    Arc::new(match (field.default, &field.kind) {
        (Some(value), K::Int) => built.with_initial_default(Literal::int(value as i32)),
        (Some(value), _) => built.with_initial_default(Literal::long(value)),
        (None, _) => built,
    })
}

fn of_arrow(field: &F) -> Field {
    let kind = match &field.kind {
        K::Int => DataType::Int32,
        K::Long => DataType::Int64,
        K::Float => DataType::Float32,
        K::Double => DataType::Float64,
        K::Text => DataType::Utf8,
        K::Struct(fields) => DataType::Struct(fields.iter().map(of_arrow).collect::<Fields>()),
        K::List(element) => DataType::List(Arc::new(of_arrow(element))),
        K::Map(key, value) => {
            let pair = Fields::from(vec![of_arrow(key).with_nullable(false), of_arrow(value)]);
            DataType::Map(Arc::new(Field::new("key_value", DataType::Struct(pair), false)), false)
        }
    };
    let id = [(PARQUET_FIELD_ID_META_KEY.to_owned(), field.id.to_string())].into();
    Field::new(&field.name, kind, true).with_metadata(id)
}

/// A value as its file has it: by the names of that time.
fn written(value: &Value, kind: &K) -> Value {
    match (kind, value) {
        (K::Struct(fields), Value::Object(inside)) => {
            let one = |field: &F| (field.name.clone(), written(&inside[&field.id.to_string()], &field.kind));
            Value::Object(fields.iter().map(one).collect())
        }
        (K::List(element), Value::Array(inside)) => inside.iter().map(|value| written(value, &element.kind)).collect(),
        (K::Map(_, kind), Value::Object(inside)) => {
            Value::Object(inside.iter().map(|(key, value)| (key.clone(), written(value, &kind.kind))).collect())
        }
        _ => value.clone(),
    }
}

/// A value as the table shows it today.
fn shown(value: Option<&Value>, field: &F) -> Value {
    let Some(value) = value else { return field.default.map_or(Value::Null, Value::from) };
    match (&field.kind, value) {
        (K::Struct(fields), Value::Object(inside)) => row(inside, fields),
        (K::List(element), Value::Array(inside)) => inside.iter().map(|value| shown(Some(value), element)).collect(),
        (K::Map(_, kind), Value::Object(inside)) => {
            Value::Object(inside.iter().map(|(key, value)| (key.clone(), shown(Some(value), kind))).collect())
        }
        _ => value.clone(),
    }
}

fn row(values: &Map<String, Value>, fields: &[F]) -> Value {
    let one = |field: &F| (field.name.clone(), shown(values.get(&field.id.to_string()), field));
    Value::Object(fields.iter().map(one).collect())
}

/// The paths to numbers.
fn paths(fields: &[F], prefix: &[String], out: &mut Vec<Vec<String>>) {
    for field in fields {
        let path = [prefix, std::slice::from_ref(&field.name)].concat();
        match &field.kind {
            K::Int | K::Long | K::Float | K::Double => out.push(path),
            K::Struct(inside) => paths(inside, &path, out),
            _ => {}
        }
    }
}

fn bytes(fields: &[F], rows: &[Map<String, Value>]) -> Vec<u8> {
    let schema = Arc::new(Schema::new(fields.iter().map(of_arrow).collect::<Vec<_>>()));
    let kind = K::Struct(fields.to_vec());
    let rows: Vec<Value> = rows.iter().map(|row| written(&Value::Object(row.clone()), &kind)).collect();
    let mut decoder = ReaderBuilder::new(Arc::clone(&schema)).build_decoder().unwrap();
    decoder.serialize(&rows).unwrap();
    let batch = decoder.flush().unwrap().unwrap();
    let props = WriterProperties::builder()
        .set_max_row_group_row_count(Some(7))
        .set_data_page_row_count_limit(2)
        .set_write_batch_size(2)
        .set_bloom_filter_enabled(true)
        .build();
    let mut writer = ArrowWriter::try_new(Vec::new(), schema, Some(props)).unwrap();
    writer.write(&batch).unwrap();
    writer.into_inner().unwrap()
}

fn as_json(batches: &[RecordBatch]) -> Vec<Value> {
    let mut writer = WriterBuilder::new().with_explicit_nulls(true).build::<_, JsonArray>(Vec::new());
    writer.write_batches(&batches.iter().collect::<Vec<_>>()).unwrap();
    writer.finish().unwrap();
    let text = writer.into_inner();
    if text.is_empty() { Vec::new() } else { serde_json::from_slice(&text).unwrap() }
}

#[tokio::test]
async fn any_evolution_reads_as_the_rows_say() {
    for seed in 0..6 {
        let mut model = Model { chance: Chance(seed), last: 1 };
        let shop = shop().await;
        shop.create("t", schema(vec![optional(1, "n", Long)])).await;
        shop.change("t", |builder| builder.upgrade_format_version(FormatVersion::V3).unwrap()).await;
        let mut fields = vec![F { id: 1, name: "n".into(), default: None, kind: K::Long }];
        fields.extend(NAMES.iter().take(3).map(|name| model.field(name, 0)));
        let mut all: Vec<Map<String, Value>> = Vec::new();
        for version in 0..3 {
            if version > 0 {
                (0..3).for_each(|_| model.evolve(&mut fields, 0));
            }
            shop.evolve("t", schema(fields.iter().map(of_iceberg).collect())).await;
            let first = all.len();
            for number in first..first + 20 {
                let value = |field: &F| (field.id.to_string(), model.value(&field.kind));
                let mut row: Map<String, Value> = fields.iter().map(value).collect();
                row.insert("1".into(), json!(number));
                all.push(row);
            }
            let table = shop.load("t").await;
            let file = put_rows(&table, &format!("v{version}"), bytes(&fields, &all[first..]), 20).await;
            append_files(&shop, vec![file]).await;
            check(&shop, &fields, &all, &mut model.chance, seed).await;
        }
    }
}

async fn check(shop: &Shop, fields: &[F], all: &[Map<String, Value>], chance: &mut Chance, seed: u64) {
    let expected: Vec<Value> = all.iter().map(|values| row(values, fields)).collect();
    let columns: Vec<(&str, i32)> = fields.iter().map(|field| (field.name.as_str(), field.id)).collect();
    let mut numbers = Vec::new();
    paths(fields, &[], &mut numbers);
    for query in 0..5 {
        let path = &numbers[chance.below(numbers.len())];
        let bound = chance.below(30) as i64 - 6;
        let value =
            |row: &Value| path.iter().try_fold(row.clone(), |at, name| at.get(name).cloned()).unwrap_or_default();
        let op = ["<", ">", "="][chance.below(3)];
        let holds = |row: &&Value| {
            value(row).as_f64().is_some_and(|number| match op {
                "<" => number < bound as f64,
                ">" => number > bound as f64,
                _ => number == bound as f64,
            })
        };
        let inside: String = path[1..].iter().map(|name| format!("['{name}']")).collect();
        let sql = format!("t.\"{}\"{inside}", path[0]);
        let everything = query == 0;
        let condition = if everything { "true".to_owned() } else { format!("{sql} {op} {bound}") };
        let expect: Vec<&Value> = expected.iter().filter(|row| everything || holds(row)).collect();
        for late in [false, true] {
            let context = context(shop);
            context.state_ref().write().config_mut().options_mut().execution.parquet.pushdown_filters = late;
            context.register_table("t", pin(shop, &columns).await.unwrap()).unwrap();
            for (select, expect) in [
                ("*".to_owned(), expect.iter().map(|row| (*row).clone()).collect::<Vec<_>>()),
                (format!("n, {sql} AS x"), expect.iter().map(|row| json!({"n": row["n"], "x": value(row)})).collect()),
            ] {
                let statement = format!("SELECT {select} FROM t WHERE {condition} ORDER BY n");
                let got = context.sql(&statement).await.unwrap().collect().await;
                let got = got.unwrap_or_else(|error| panic!("seed {seed}, {statement}: {error}\n{fields:#?}"));
                assert_eq!(as_json(&got), expect, "seed {seed}, late {late}, {statement}\n{fields:#?}");
            }
        }
    }
}
