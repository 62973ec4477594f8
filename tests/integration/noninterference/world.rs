//! A world: tables, what one principal may see of them, and the rows of two lakes that look the same to that principal.
//!
//! ```text
//! columns, policies             random
//! rows of A                     random: some are shown, some are hidden by the row rules
//! rows of B                     the same where they are shown; other hidden rows, other values where a column is denied,
//!                               and where a mask shows both values alike
//! ```

use super::chance::Chance;
use super::rules::{REGION, Rule};
use super::values::{Cell, KINDS, Kind, Mask, Shown, Temper, random, vary};

pub struct Column {
    pub name: String,
    pub kind: Kind,
    pub shown: Shown,
    /// Whether no function fails on what is shown of it.
    pub tame: bool,
    pub flavour: usize,
}

/// The rows of a table in one lake, in the order in which they are written; with each, whether it is shown.
pub type Side = Vec<Vec<Cell>>;

pub struct Table {
    pub name: String,
    pub columns: Vec<Column>,
    /// Without, all rows are shown that no rule hides.
    pub permits: Option<Vec<Option<Rule>>>,
    pub forbids: Vec<Rule>,
    /// What the lakes hold: first until the tag `june`, then after it.
    pub sides: [[Side; 2]; 2],
    /// How many rows are shown, and how many each lake hides.
    pub counts: (usize, [usize; 2]),
}

pub struct World {
    pub tables: Vec<Table>,
}

impl Table {
    pub fn is_restricted(&self) -> bool {
        self.permits.is_some()
            || !self.forbids.is_empty()
            || self.columns.iter().any(|column| column.shown != Shown::Raw)
    }

    /// Whether its row rules are more than a permit of all rows.
    pub fn hides_rows(&self) -> bool {
        self.permits.as_ref().is_some_and(|permits| permits.iter().all(Option::is_some)) || !self.forbids.is_empty()
    }

    /// The name of a product that is derived from all that is shown of it. A struct of which a part is denied cannot be in
    /// one contract for all.
    pub fn derived(&self) -> Option<String> {
        let cut = |column: &Column| matches!(&column.shown, Shown::Fields(fields) if fields.contains(&Shown::Denied));
        (!self.columns.iter().any(cut)).then(|| format!("{}_derived", self.name))
    }

    fn shows(&self, row: &[Cell]) -> bool {
        let permitted = |rule: &Option<Rule>| rule.as_ref().is_none_or(|rule| rule.of(row) == Some(true));
        self.permits.as_ref().is_none_or(|permits| permits.iter().any(permitted))
            && self.forbids.iter().all(|rule| rule.of(row) == Some(false))
    }

    fn draw(&self, temper: Temper, chance: &mut Chance) -> Vec<Cell> {
        let draw = |column: &Column| {
            let temper = if column.tame { temper } else { temper.max(Temper::Wild) };
            random(column.kind, temper, column.flavour, chance)
        };
        self.columns.iter().map(draw).collect()
    }

    /// Up to so many rows that are shown, or that are not.
    fn rows(&self, many: usize, shown: bool, chance: &mut Chance) -> Side {
        let mut rows = Vec::new();
        for _ in 0..many * 40 {
            if rows.len() == many {
                break;
            }
            let mut row = self.draw(if shown { Temper::Tame } else { Temper::Hostile }, chance);
            if shown {
                row[0] = Cell::Int(i64::try_from(rows.len()).unwrap() + 1);
            }
            if self.shows(&row) == shown {
                rows.push(row);
            }
        }
        rows
    }

    /// A row that looks the same.
    fn other(&self, row: &[Cell], renamed: bool, read: &[usize], chance: &mut Chance) -> Vec<Cell> {
        for _ in 0..6 {
            let vary = |(cell, column): (&Cell, &Column)| vary(column.kind, cell, &column.shown, renamed, chance);
            let other: Vec<Cell> = row.iter().zip(&self.columns).map(vary).collect();
            if self.shows(&other) {
                return other;
            }
        }
        let vary = |(place, cell): (usize, &Cell)| match read.contains(&place) {
            true => cell.clone(),
            false => vary(self.columns[place].kind, cell, &self.columns[place].shown, renamed, chance),
        };
        row.iter().enumerate().map(vary).collect()
    }

    fn rules(&self) -> impl Iterator<Item = &Rule> {
        self.permits.iter().flatten().flatten().chain(&self.forbids)
    }

    fn read(&self) -> Vec<usize> {
        let mut read = Vec::new();
        self.rules().for_each(|rule| rule.reads(&mut read));
        read
    }
}

impl World {
    /// The same world for the same seed.
    pub fn of(seed: u64) -> Self {
        let mut chance = Chance::new(seed);
        let names = ["alpha", "beta", "gamma"];
        let many = 2 + chance.below(2);
        let mut tables: Vec<Table> = names.iter().take(many).map(|name| empty(name, &mut chance)).collect();
        let hashes = |column: &Column| matches!(&column.shown, Shown::Masked(mask) if mask.is_hash());
        let ruled = |table: &Table| table.read().iter().any(|place| hashes(&table.columns[*place]));
        // A value has one other name in all tables, whether a rule reads it or not.
        let renamed = !tables.iter().any(ruled) && chance.one_in(2);
        for table in &mut tables {
            fill(table, renamed, &mut chance);
        }
        Self { tables }
    }

    /// The files of the mesh, by their paths.
    pub fn files(&self) -> Vec<(String, String)> {
        let mesh = format!(
            "mesh: lab\ngroups: [readers, owners]\nattributes: {{ region: String }}\n\
             keys: {{ pii: \"${{file:secrets/pii.key}}\" }}\n\
             auth:\n  users:\n    - {{ name: reader, groups: [readers], attributes: {{ region: {REGION} }} }}\n    \
             - {{ name: owner, groups: [owners] }}\n"
        );
        let domain = "name: lab\nkind: shared\nowner: { team: lab, email: lab@lab.example }\ndescription: random\n\
                      catalog: { type: sql, uri: \"sqlite:lake/catalog.db\", warehouse: \"file:lake/data\" }\n";
        let mut files = vec![
            ("mesh.yaml".to_owned(), mesh),
            ("secrets/pii.key".to_owned(), "a key of thirty-two bytes or more, for tests".to_owned()),
            ("lab/domain.yaml".to_owned(), domain.to_owned()),
            ("lab/policies/access.cedar".to_owned(), self.policies()),
        ];
        files.extend(self.tables.iter().map(|table| {
            let data = format!("physicalName: lab.{}", table.name);
            (format!("lab/products/{}.odcs.yaml", table.name), contract(&table.name, &data, &table.columns))
        }));
        for table in &self.tables {
            let Some(name) = table.derived() else { continue };
            let shown: Vec<&Column> = table.columns.iter().filter(|column| column.shown != Shown::Denied).collect();
            let names: Vec<&str> = shown.iter().map(|column| column.name.as_str()).collect();
            let query = format!("SELECT {} FROM {}", names.join(", "), table.name);
            let data = format!("customProperties: [{{ property: polder.query, value: \"{query}\" }}]");
            files.push((format!("lab/products/{name}.odcs.yaml"), contract(&name, &data, shown)));
        }
        files
    }

    pub fn policies(&self) -> String {
        let mut text = "@id(\"all-discover\") permit (principal, action == Action::\"discover\", resource in Domain::\"lab\");\n\
                        @id(\"owners-read\") permit (principal in Group::\"owners\", action == Action::\"read\", resource in Domain::\"lab\");\n"
            .to_owned();
        for name in self.tables.iter().filter_map(Table::derived) {
            text += &format!(
                "@id(\"{name}\") permit (principal in Group::\"readers\", action == Action::\"read\", \
                 resource in Product::\"lab.{name}\");\n"
            );
        }
        for table in &self.tables {
            for column in &table.columns {
                see(&mut text, &format!("{}.{}", table.name, column.name), &column.shown);
            }
            let product = &table.name;
            let mut rows = |id: String, effect: &str, group: &str, filter: Option<String>| {
                let filter = filter.map(|filter| format!("@filter(\"{filter}\") ")).unwrap_or_default();
                text += &format!(
                    "@id(\"{id}\") {filter}{effect} (principal in Group::\"{group}\", action == Action::\"read_rows\", \
                     resource == Product::\"lab.{product}\");\n"
                );
            };
            for (number, rule) in table.permits.iter().flatten().enumerate() {
                rows(
                    format!("{product}-shown-{number}"),
                    "permit",
                    "readers",
                    rule.as_ref().map(|r| r.text(&table.columns)),
                );
            }
            if table.permits.is_some() {
                rows(format!("{product}-owners"), "permit", "owners", None);
            }
            for (number, rule) in table.forbids.iter().enumerate() {
                rows(format!("{product}-hidden-{number}"), "forbid", "readers", Some(rule.text(&table.columns)));
            }
        }
        text
    }
}

fn see(text: &mut String, path: &str, shown: &Shown) {
    let id = path.replace('.', "-");
    let head = "permit (principal in Group::\"readers\", action == Action::";
    match shown {
        Shown::Raw => *text += &format!("@id(\"{id}\") {head}\"read\", resource in Column::\"lab.{path}\");\n"),
        Shown::Masked(mask) => {
            let mask = mask.text();
            *text += &format!(
                "@id(\"{id}\") @mask(\"{mask}\") {head}\"read_masked\", resource in Column::\"lab.{path}\");\n"
            );
        }
        Shown::Denied => {}
        Shown::Fields(fields) => {
            see(text, &format!("{path}.a"), &fields[0]);
            see(text, &format!("{path}.b"), &fields[1]);
        }
    }
}

fn contract<'a>(name: &str, data: &str, columns: impl IntoIterator<Item = &'a Column>) -> String {
    let mut text = format!(
        "apiVersion: v3.1.0\nkind: DataContract\nid: lab-{name}\nname: {name}\nversion: 1.0.0\nstatus: active\n\
         domain: lab\ndescription: {{ purpose: random }}\nschema:\n  - name: {name}\n    {data}\n    \
         logicalType: object\n    properties:\n"
    );
    for column in columns {
        let (logical, physical) = types(column.kind);
        text += &format!(
            "      - name: {}\n        logicalType: {logical}\n        physicalType: {physical}\n",
            column.name
        );
        match column.kind {
            Kind::Pair => {
                text += "        properties:\n          \
                         - { name: a, logicalType: integer, physicalType: int }\n          \
                         - { name: b, logicalType: string, physicalType: string }\n";
            }
            Kind::Numbers => text += "        items: { logicalType: integer, physicalType: int }\n",
            _ => {}
        }
    }
    text
}

fn types(kind: Kind) -> (&'static str, &'static str) {
    match kind {
        Kind::Bool => ("boolean", "boolean"),
        Kind::Int => ("integer", "int"),
        Kind::Long => ("integer", "long"),
        Kind::Float => ("number", "float"),
        Kind::Double => ("number", "double"),
        Kind::Decimal => ("number", "\"decimal(15,2)\""),
        Kind::Text => ("string", "string"),
        Kind::Date => ("date", "date"),
        Kind::Time => ("timestamp", "timestamp"),
        Kind::Bytes => ("string", "binary"),
        Kind::Pair => ("object", "struct"),
        Kind::Numbers => ("array", "list"),
    }
}

/// A table with columns and rules and without rows.
fn empty(name: &str, chance: &mut Chance) -> Table {
    let open = chance.one_in(6);
    let mut columns: Vec<Column> = [("id", Kind::Long), ("k", Kind::Int)]
        .map(|(name, kind)| Column { name: name.to_owned(), kind, shown: Shown::Raw, tame: true, flavour: 0 })
        .into();
    for number in 0..3 + chance.below(5) {
        let kind =
            if chance.one_in(3) { *chance.pick(&[Kind::Text, Kind::Int, Kind::Long]) } else { *chance.pick(&KINDS) };
        let shown = if open { Shown::Raw } else { shown(kind, chance) };
        columns.push(Column {
            name: format!("c{number}"),
            kind,
            shown,
            tame: chance.below(3) > 0,
            flavour: chance.below(3),
        });
    }
    let rule = |chance: &mut Chance| Rule::random(&columns, 2, chance);
    let permits = (!open && chance.below(3) > 0).then(|| {
        let many = 1 + chance.below(2);
        (0..many).map(|_| (!chance.one_in(8)).then(|| rule(chance))).collect()
    });
    let forbids = if open || !chance.one_in(3) { Vec::new() } else { vec![rule(chance)] };
    Table { name: name.to_owned(), columns, permits, forbids, sides: Default::default(), counts: Default::default() }
}

fn shown(kind: Kind, chance: &mut Chance) -> Shown {
    match chance.below(10) {
        0..4 => Shown::Raw,
        4 => Shown::Denied,
        _ if kind == Kind::Pair && !chance.one_in(4) => {
            let mut fields = [shown(Kind::Int, chance), shown(Kind::Text, chance)];
            if fields.iter().all(|field| *field == Shown::Denied) {
                fields[0] = Shown::Raw;
            }
            // Hashes inside are left to other columns.
            for field in &mut fields {
                if matches!(field, Shown::Masked(mask) if mask.is_hash()) {
                    *field = Shown::Masked(Mask::Fixed);
                }
            }
            match &fields {
                [Shown::Raw, Shown::Raw] => Shown::Raw,
                _ => Shown::Fields(Box::new(fields)),
            }
        }
        _ => Shown::Masked(*chance.pick(Mask::of(kind))),
    }
}

/// The share of rows that is shown, of a hundred.
const SHARES: [usize; 12] = [0, 1, 5, 20, 21, 25, 50, 50, 75, 95, 99, 100];

fn fill(table: &mut Table, renamed: bool, chance: &mut Chance) {
    let ruled = table.rules().next().is_some() || table.permits.is_some();
    let all = *chance.pick(&[30, 100, 250]);
    let many = if ruled { all * chance.pick(&SHARES) / 100 } else { all };
    let shown = table.rows(many, true, chance);
    let read = table.read();
    let others: Side = shown.iter().map(|row| table.other(row, renamed, &read, chance)).collect();
    let june = if shown.is_empty() { 0 } else { 1 + chance.below(shown.len().div_ceil(2)) };
    let hidden = if ruled { all - many } else { 0 };
    let of_b = *chance.pick(&[hidden, hidden, 0, hidden / 3, hidden * 4]);
    table.counts.0 = shown.len();
    for (side, (shown, hidden)) in [(shown, hidden), (others, of_b)].into_iter().enumerate() {
        // Both phases have rows in both lakes, since a table without any has no snapshot to travel to.
        let lacks = usize::from(june == 0) + usize::from(june == shown.len());
        let hidden = table.rows(hidden.max(lacks), false, chance);
        table.counts.1[side] = hidden.len();
        let mut phases = [shown[..june].to_vec(), shown[june..].to_vec()];
        for (number, row) in hidden.into_iter().enumerate() {
            let lacking = phases.iter().position(Vec::is_empty).filter(|_| number < lacks);
            let phase = &mut phases[lacking.unwrap_or_else(|| chance.below(2))];
            phase.insert(chance.below(phase.len() + 1), row);
        }
        table.sides[side] = phases;
    }
    if table.sides.iter().flatten().any(Vec::is_empty) {
        // The rules hide all that can be drawn, or nothing of it.
        (table.permits, table.forbids) = (None, Vec::new());
        return fill(table, renamed, chance);
    }
    if !table.is_restricted() {
        table.sides[1] = table.sides[0].clone();
    }
}
