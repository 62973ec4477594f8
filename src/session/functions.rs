//! The names of the functions that statements may call.

use datafusion::execution::SessionStateDefaults;

/// Every name, in the order of names. Operators are functions too, and have no name that could be written.
pub fn functions() -> Vec<String> {
    let scalar = SessionStateDefaults::default_scalar_functions();
    let aggregate = SessionStateDefaults::default_aggregate_functions();
    let window = SessionStateDefaults::default_window_functions();
    let scalar = scalar.iter().flat_map(|f| std::iter::once(f.name()).chain(f.aliases().iter().map(String::as_str)));
    let names = scalar.chain(aggregate.iter().map(|f| f.name())).chain(window.iter().map(|f| f.name()));
    let is_word = |name: &&str| name.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_');
    let mut names: Vec<String> = names.filter(is_word).map(str::to_owned).collect();
    names.sort();
    names.dedup();
    names
}

#[cfg(test)]
mod tests {
    use super::functions;

    #[test]
    fn functions_of_every_kind_are_named_once() {
        let names = functions();
        for name in ["substr", "count", "row_number", "array_length"] {
            assert_eq!(names.iter().filter(|known| *known == name).count(), 1, "{name}");
        }
    }
}
