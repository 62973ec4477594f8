//! Writes a history step by step: to the table, and to the naive reader's list.

use std::collections::{BTreeMap, HashMap};

use iceberg::spec::{Datum, FormatVersion, Literal, Struct, Transform, UnboundPartitionSpec};
use iceberg::transform::create_transform_function;

use super::super::model::datum;
use super::forms::{Bounds, is_unmapped, nameless, unmap};
use super::reference::Rows;
use super::*;

/// A table, what the naive reader knows of it, and how it came to be.
pub(super) struct History<'a> {
    pub(super) shop: &'a Shop,
    pub(super) seed: u64,
    pub(super) model: Model,
    /// The table's columns today.
    pub(super) fields: Vec<F>,
    pub(super) reference: Reference,
    is_v3: bool,
    /// The next row's id, for a table that always kept track.
    next_row: Option<i64>,
    /// All partition specs: sources and transforms by id.
    specs: BTreeMap<i32, Vec<(i32, Transform)>>,
    spec: i32,
    /// All fields that ever were, as they were last, by the path of ids that leads to them.
    known: BTreeMap<Vec<i32>, F>,
    numbers: i64,
    steps: Vec<String>,
}

impl Drop for History<'_> {
    #[allow(clippy::print_stderr, reason = "a failed test tells how to repeat it")]
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("history {}:\n{}", self.seed, self.steps.join("\n"));
        }
    }
}

fn leaf(kind: &K) -> bool {
    !matches!(kind, K::Struct(_) | K::List(_) | K::Map(..))
}

impl<'a> History<'a> {
    /// A new table with a few rows.
    pub(super) async fn begin(shop: &'a Shop, seed: u64) -> Self {
        let mut model = Model { chance: Chance(seed.wrapping_mul(0x9e37_79b9)), last: 1 };
        let is_v3 = model.chance.below(2) == 0;
        shop.create("t", schema(vec![optional(1, "n", Long)])).await;
        if is_v3 {
            shop.change("t", |builder| builder.upgrade_format_version(FormatVersion::V3).unwrap()).await;
        }
        let mut fields = vec![F { id: 1, name: "n".into(), default: None, kind: K::Long }];
        fields.extend(NAMES.iter().take(4).map(|name| model.field(name, 1)));
        let mut history = Self {
            shop,
            seed,
            model,
            fields,
            reference: Reference::default(),
            is_v3,
            next_row: is_v3.then_some(0),
            specs: [(0, Vec::new())].into(),
            spec: 0,
            known: BTreeMap::new(),
            numbers: 0,
            steps: Vec::new(),
        };
        history.says(format!("begin, {}", if is_v3 { "v3" } else { "v2" }));
        history.show_fields().await;
        history.append().await;
        history
    }

    pub(super) fn says(&mut self, step: String) {
        self.steps.push(step);
    }

    /// Whether the ids of all rows are known.
    pub(super) fn keeps_track(&self) -> bool {
        self.next_row.is_some()
    }

    pub(super) async fn step(&mut self) {
        match self.model.chance.below(12) {
            0 | 1 => self.evolve().await,
            2 | 3 => self.repartition().await,
            4..=6 => self.append().await,
            7 | 8 => self.delete_positions().await,
            9 | 10 => {
                let mut files = Files::of(self.shop);
                self.delete_keys(&mut files, false).await;
                self.commit(files).await;
            }
            _ if self.is_v3 => self.append().await,
            _ => {
                self.says("upgrade to v3".into());
                self.shop.change("t", |builder| builder.upgrade_format_version(FormatVersion::V3).unwrap()).await;
                self.is_v3 = true;
            }
        }
    }

    /// Gives the table the fields of today.
    async fn show_fields(&mut self) {
        let fields = self.fields.clone();
        self.know(&fields, &[]);
        self.says(format!("schema {}", fields.iter().map(told).collect::<Vec<_>>().join(", ")));
        self.shop.evolve("t", schema(fields.iter().map(of_iceberg).collect())).await;
    }

    fn know(&mut self, fields: &[F], above: &[i32]) {
        for field in fields {
            let path = [above, &[field.id]].concat();
            match &field.kind {
                K::Struct(inside) => self.know(inside, &path),
                K::List(element) => self.know(std::slice::from_ref(element.as_ref()), &path),
                K::Map(key, value) => self.know(&[key.as_ref().clone(), value.as_ref().clone()], &path),
                _ => {}
            }
            self.known.insert(path, field.clone());
        }
    }

    async fn evolve(&mut self) {
        for _ in 0..=self.model.chance.below(3) {
            let mut fields = std::mem::take(&mut self.fields);
            self.model.evolve(&mut fields, 0, self.is_v3);
            self.fields = fields;
        }
        let here = self.sources();
        let mut spec = self.specs[&self.spec].clone();
        spec.retain(|(source, _)| here.iter().any(|(id, _)| id == source));
        if spec.len() < self.specs[&self.spec].len() {
            self.partition_by(spec).await;
        }
        self.show_fields().await;
    }

    /// What a table can be partitioned by, and the ids of the structs around it.
    fn sources(&self) -> Vec<(i32, K)> {
        let mut paths = Vec::new();
        leaves(&self.fields, &[], &mut paths);
        paths.into_iter().map(|(_, field)| (field.id, field.kind.clone())).collect()
    }

    async fn repartition(&mut self) {
        let mut spec = self.specs[&self.spec].clone();
        if !spec.is_empty() && self.model.chance.below(3) == 0 {
            let gone = self.model.chance.below(spec.len());
            spec.remove(gone);
        } else {
            let sources = self.sources();
            let (source, kind) = &sources[self.model.chance.below(sources.len())];
            let chance = &mut self.model.chance;
            let transforms = match kind {
                K::Int | K::Long | K::Text | K::Decimal(_) => {
                    vec![Transform::Identity, Transform::Bucket(3), Transform::Truncate(1 + chance.below(9) as u32)]
                }
                K::Date => {
                    vec![Transform::Identity, Transform::Year, Transform::Month, Transform::Day, Transform::Bucket(2)]
                }
                K::Timestamp => {
                    vec![Transform::Year, Transform::Month, Transform::Day, Transform::Hour, Transform::Bucket(2)]
                }
                _ => vec![Transform::Identity],
            };
            let transform = match chance.below(8) {
                0 => Transform::Void,
                // It would be a file for each row.
                _ if *source == 1 => Transform::Bucket(3),
                _ => transforms[chance.below(transforms.len())],
            };
            spec.retain(|(other, _)| other != source);
            spec.push((*source, transform));
            if spec.len() > 3 {
                spec.remove(0);
            }
        }
        self.partition_by(spec).await;
    }

    async fn partition_by(&mut self, spec: Vec<(i32, Transform)>) {
        self.says(format!("partition by {spec:?}"));
        let mut unbound = UnboundPartitionSpec::builder();
        for (source, transform) in &spec {
            let name = format!("p{source}_{transform}").replace(['[', ']'], "_");
            unbound = unbound.add_partition_field(*source, name, *transform).unwrap();
        }
        let unbound = unbound.build();
        self.shop.change("t", |builder| builder.add_default_partition_spec(unbound).unwrap()).await;
        self.spec = self.shop.load("t").await.metadata().default_partition_spec_id();
        self.specs.insert(self.spec, spec);
    }

    /// The partition of a row.
    fn partition(&self, spec: i32, values: &Map<String, Value>) -> Vec<Option<Datum>> {
        let one = |(source, transform): &(i32, Transform)| {
            let (path, field) = self.known.iter().find(|(path, _)| path.last() == Some(source)).unwrap();
            let (first, inside) = path.split_first().unwrap();
            let mut value = values.get(&first.to_string());
            for id in inside {
                value = value.and_then(|value| value.get(id.to_string()));
            }
            let value = datum(value?, &field.kind)?;
            create_transform_function(transform).unwrap().transform_literal(&value).unwrap()
        };
        self.specs[&spec].iter().map(one).collect()
    }

    async fn append(&mut self) {
        let here: Vec<i32> = self.sources().into_iter().map(|(id, _)| id).collect();
        let usable = |spec: &&i32| self.specs[*spec].iter().all(|(source, _)| here.contains(source));
        let specs: Vec<i32> = self.specs.keys().filter(usable).copied().collect();
        let spec =
            if self.model.chance.below(4) == 0 { specs[self.model.chance.below(specs.len())] } else { self.spec };
        type Rows = Vec<Map<String, Value>>;
        let mut groups: Vec<(Vec<Option<Datum>>, Rows)> = Vec::new();
        for _ in 0..5 + self.model.chance.below(40) {
            let mut values = Map::new();
            for field in &self.fields {
                values.insert(field.id.to_string(), self.model.value(&field.kind));
            }
            values.insert("1".into(), json!(self.numbers));
            self.numbers += 1;
            let partition = self.partition(spec, &values);
            // By text, which tells minus zero from zero.
            match groups.iter_mut().find(|(known, _)| texts_of(known) == texts_of(&partition)) {
                Some((_, rows)) => rows.push(values),
                None => groups.push((partition, vec![values])),
            }
        }
        groups.sort_by_key(|(_, rows)| std::cmp::Reverse(rows.len()));
        groups.truncate(1 + self.model.chance.below(3));
        let mut files = Files::of(self.shop);
        files.spec = spec;
        let commits = self.reference.commits();
        if commits > 0 && self.model.chance.below(6) == 0 {
            files.sequence = Some(1 + self.model.chance.below(commits as usize) as i64);
        }
        let sequence = files.sequence.unwrap_or(commits + 1);
        for (partition, rows) in groups {
            self.write(&mut files, partition, rows, sequence).await;
        }
        if files.sequence.is_none() && self.model.chance.below(2) == 0 {
            self.delete_keys(&mut files, true).await;
        }
        self.commit(files).await;
    }

    /// Puts one data file.
    async fn write(
        &mut self,
        files: &mut Files<'_>,
        partition: Vec<Option<Datum>>,
        mut rows: Vec<Map<String, Value>>,
        sequence: i64,
    ) {
        let spec = self.specs[&files.spec].clone();
        let mut fields = self.fields.clone();
        let is_plain = |id: i32| spec.contains(&(id, Transform::Identity));
        let ids = self.model.chance.below(4) > 0 || spec.iter().any(|(source, _)| is_unmapped(*source));
        let metrics = self.model.chance.below(4) > 0;
        let mut known = Vec::new();
        leaves(&self.fields, &[], &mut known);
        known.retain(|(_, field)| ids || !is_unmapped(field.id));
        let bounds = Bounds::of(&known, &rows, &mut self.model.chance);
        let mut form = "with ids";
        let held = rows.clone();
        if !ids {
            form = "without ids";
            self.map_names().await;
            rows.iter_mut().for_each(|row| unmap(row, &fields));
            fields = fields.iter().map(nameless).collect();
        } else if self.model.chance.below(3) == 0
            && fields.iter().any(|field| is_plain(field.id))
            // A value that only a partition has is refused where it is NaN.
            && !texts_of(&partition).contains(&"NaN".to_owned())
        {
            form = "without what its partition says";
            fields.retain(|field| !is_plain(field.id));
        }
        let count = rows.len() as u64;
        files.partition = literals(&partition);
        let location = files
            .put(bytes(&fields, &held, ids), count, |file| {
                if metrics {
                    bounds.tell(file, count);
                }
            })
            .await;
        let partition: Vec<String> = texts_of(&partition);
        self.says(format!("append {count} rows {form}, {sequence}, spec {} {partition:?}, {location}", files.spec));
        self.reference.files.push(Rows {
            location,
            commit: self.reference.commits() + 1,
            sequence,
            spec: files.spec,
            partition,
            rows: rows.into_iter().map(|row| (row, None)).collect(),
            vector: false,
            first: self.next_row,
        });
        self.next_row = self.next_row.map(|id| id + count as i64);
    }

    /// Gives the table a name mapping for the names of files without ids.
    async fn map_names(&self) {
        fn level(known: &BTreeMap<Vec<i32>, F>, above: &[i32]) -> Value {
            let here = known.iter().filter(|(path, _)| path.len() == above.len() + 1 && path.starts_with(above));
            let one = |(path, field): (&Vec<i32>, &F)| {
                let of_list = ["element", "key", "value"].contains(&field.name.as_str());
                let name = if of_list { field.name.clone() } else { format!("w{}", field.id) };
                let id = (!is_unmapped(field.id) || of_list).then_some(field.id);
                json!({"field-id": id, "names": ["other".to_owned() + &name, name], "fields": level(known, path)})
            };
            here.map(one).collect()
        }
        let text = level(&self.known, &[]).to_string();
        let property = HashMap::from([("schema.name-mapping.default".to_owned(), text)]);
        self.shop.change("t", |builder| builder.set_properties(property).unwrap()).await;
    }

    async fn delete_positions(&mut self) {
        let commit = self.reference.commits() + 1;
        let first = self.model.chance.below(self.reference.files.len());
        let (spec, partition) = (self.reference.files[first].spec, self.reference.files[first].partition.clone());
        let struct_ = literals(&self.partition(spec, &self.reference.files[first].rows[0].0));
        let mut files = Files::of(self.shop);
        (files.spec, files.partition) = (spec, struct_);
        let alone = self.is_v3 || self.model.chance.below(2) == 0;
        let mut positions: Vec<(String, i64)> = Vec::new();
        let chance = &mut self.model.chance;
        for (at, file) in self.reference.files.iter_mut().enumerate() {
            let here = (file.spec, &file.partition) == (spec, &partition);
            if file.vector || !here || (alone && at != first) {
                continue;
            }
            let dense = chance.below(2) == 0;
            let mut gone: Vec<u64> = Vec::new();
            for (position, (_, deleted)) in file.rows.iter_mut().enumerate() {
                if chance.below(if dense { 2 } else { 9 }) == 0 {
                    deleted.get_or_insert(commit);
                    gone.push(position as u64);
                } else if deleted.is_some() {
                    gone.push(position as u64);
                }
            }
            if self.is_v3 {
                file.vector = true;
                files.vector(&file.location, gone.clone()).await;
            } else {
                positions.extend(gone.iter().map(|position| (file.location.clone(), *position as i64)));
            }
        }
        if !positions.is_empty() {
            let named: Vec<(&str, i64)> = positions.iter().map(|(path, at)| (path.as_str(), *at)).collect();
            let only = (alone && self.model.chance.below(2) == 0).then(|| named[0].0);
            files.positions(&named, only).await;
        }
        if files.added.is_empty() {
            return;
        }
        self.says(format!("delete positions of spec {spec} {partition:?}, vectors {}", self.is_v3));
        self.commit(files).await;
    }

    /// Puts an equality delete file; one that comes with data is in a partition of its spec.
    async fn delete_keys(&mut self, files: &mut Files<'_>, with_data: bool) {
        let last = self.reference.files.len() - 1;
        let file = &self.reference.files[if with_data { last } else { self.model.chance.below(last + 1) }];
        let scoped = with_data || self.model.chance.below(2) == 0;
        let global = |spec: i32| self.specs[&spec].iter().all(|(_, transform)| *transform == Transform::Void);
        let mut within = None;
        if scoped {
            files.spec = file.spec;
            files.partition = literals(&self.partition(file.spec, &file.rows[0].0));
            within = (!global(file.spec)).then(|| (file.spec, file.partition.clone()));
        }
        let plain: Vec<&F> = self.fields.iter().filter(|field| leaf(&field.kind)).collect();
        let mut fields: Vec<F> =
            (0..=self.model.chance.below(2)).map(|_| plain[self.model.chance.below(plain.len())].clone()).collect();
        fields.dedup_by_key(|field| field.id);
        let rows: Vec<&Map<String, Value>> =
            self.reference.files.iter().flat_map(|file| &file.rows).map(|(row, _)| row).collect();
        let mut keys = Vec::new();
        for _ in 0..1 + self.model.chance.below(4) {
            let newest = self.model.chance.below(2) == 0;
            let row =
                rows[rows.len() - 1 - self.model.chance.below(if newest { rows.len().min(9) } else { rows.len() })];
            let there = self.model.chance.below(4) > 0;
            let mut key = Map::new();
            for field in &fields {
                let id = field.id.to_string();
                let value = if there { shown(row.get(&id), field) } else { self.model.value(&field.kind) };
                key.insert(id, value);
            }
            keys.push(key);
        }
        let ids = fields.iter().map(|field| field.id).collect();
        files
            .put(bytes(&fields, &keys, true), keys.len() as u64, |file| {
                file.content(DataContentType::EqualityDeletes).equality_ids(Some(ids));
            })
            .await;
        let sequence = self.reference.commits() + 1;
        self.says(format!("delete keys {keys:?} at {sequence} within {within:?}"));
        self.reference.keys.push(Keys { sequence, within, fields, keys });
    }

    async fn commit(&mut self, files: Files<'_>) {
        files.commit().await;
        let table = self.shop.load("t").await;
        self.reference.snapshots.push(table.metadata().current_snapshot().unwrap().snapshot_id());
        assert_eq!(table.metadata().last_sequence_number(), self.reference.commits());
    }
}

fn told(field: &F) -> String {
    let default = field.default.as_ref().map(|value| format!(" = {value}")).unwrap_or_default();
    let kind = match &field.kind {
        K::Struct(fields) => format!("{{{}}}", fields.iter().map(told).collect::<Vec<_>>().join(", ")),
        K::List(element) => format!("[{}]", told(element)),
        K::Map(key, value) => format!("map<{}, {}>", told(key), told(value)),
        plain => format!("{plain:?}"),
    };
    format!("{}#{} {kind}{default}", field.name, field.id)
}

fn literals(partition: &[Option<Datum>]) -> Struct {
    let literal = |value: &Datum| Literal::Primitive(value.literal().clone());
    Struct::from_iter(partition.iter().map(|value| value.as_ref().map(literal)))
}

fn texts_of(partition: &[Option<Datum>]) -> Vec<String> {
    partition.iter().map(|value| value.as_ref().map_or("null".to_owned(), Datum::to_string)).collect()
}
