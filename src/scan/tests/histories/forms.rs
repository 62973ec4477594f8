//! The forms that a data file can have: with or without ids, and with more or less said of it in its manifest.

use std::collections::HashMap;

use iceberg::spec::Datum;

use super::super::model::{datum, real};
use super::*;

/// Whether the name mapping knows the names of a field and gives them no id.
pub(super) fn is_unmapped(id: i32) -> bool {
    id % 7 == 5
}

/// A field as files without ids name it.
pub(super) fn nameless(field: &F) -> F {
    let kind = match &field.kind {
        K::Struct(inside) => K::Struct(inside.iter().map(nameless).collect()),
        K::List(element) => K::List(Box::new(inside_of(element))),
        K::Map(key, value) => K::Map(key.clone(), Box::new(inside_of(value))),
        plain => plain.clone(),
    };
    F { name: format!("w{}", field.id), kind, ..field.clone() }
}

/// The same of an element or a value, which keep their names.
fn inside_of(field: &F) -> F {
    F { name: field.name.clone(), ..nameless(field) }
}

/// Takes out of a row what the name mapping leaves out.
pub(super) fn unmap(row: &mut Map<String, Value>, fields: &[F]) {
    for field in fields {
        if is_unmapped(field.id) {
            row.remove(&field.id.to_string());
        } else if let Some(value) = row.get_mut(&field.id.to_string()) {
            unmap_inside(value, field);
        }
    }
}

fn unmap_inside(value: &mut Value, field: &F) {
    match (&field.kind, value) {
        (K::Struct(inside), Value::Object(values)) => unmap(values, inside),
        (K::List(element), Value::Array(values)) => {
            values.iter_mut().for_each(|value| unmap_inside(value, element));
        }
        (K::Map(_, of), Value::Object(values)) => values.values_mut().for_each(|value| unmap_inside(value, of)),
        _ => {}
    }
}

/// What a manifest says of a file's columns.
#[derive(Default)]
pub(super) struct Bounds {
    nulls: HashMap<i32, u64>,
    nans: HashMap<i32, u64>,
    lower: HashMap<i32, Datum>,
    upper: HashMap<i32, Datum>,
}

impl Bounds {
    pub(super) fn of(leaves: &[(Vec<String>, &F)], rows: &[Map<String, Value>], chance: &mut Chance) -> Self {
        let mut bounds = Self::default();
        for (path, field) in leaves {
            if path.len() > 1 || chance.below(5) == 0 {
                continue;
            }
            let id = field.id.to_string();
            let values = || rows.iter().filter_map(|row| datum(&row[&id], &field.kind));
            bounds.nulls.insert(field.id, (rows.len() - values().count()) as u64);
            let is_nan = |row: &&Map<String, Value>| real(&row[&id]).is_some_and(f64::is_nan);
            if chance.below(2) == 0 {
                bounds.nans.insert(field.id, rows.iter().filter(is_nan).count() as u64);
            }
            let (mut low, mut high) = (None::<Datum>, None::<Datum>);
            let numbers = rows.iter().filter(|row| !is_nan(row)).filter_map(|row| datum(&row[&id], &field.kind));
            for value in numbers {
                low = Some(low.filter(|low| *low <= value).unwrap_or_else(|| value.clone()));
                high = Some(high.filter(|high| *high >= value).unwrap_or(value));
            }
            let cut = matches!(field.kind, K::Text) && chance.below(2) == 0;
            let (Some(low), Some(high)) = (low, high) else { continue };
            // Bounds of text are cut as writers cut them: the lower one is shorter, and the upper one is above.
            bounds.lower.insert(field.id, if cut { Datum::string("t") } else { low });
            bounds.upper.insert(field.id, if cut { Datum::string("u") } else { high });
        }
        bounds
    }

    pub(super) fn tell(self, file: &mut DataFileBuilder, rows: u64) {
        let counts = self.nulls.keys().map(|id| (*id, rows)).collect();
        file.value_counts(counts).null_value_counts(self.nulls).nan_value_counts(self.nans);
        file.lower_bounds(self.lower).upper_bounds(self.upper);
    }
}
