//! Looks for thousands of short texts in many bytes.

use std::collections::HashMap;

use super::cells::Cell;

/// What is looked for. Each form has eight bytes or more.
pub struct Search<'a> {
    /// Whether anything begins with two such bytes.
    begins: Vec<bool>,
    by_start: HashMap<[u8; 8], Vec<(&'a [u8], &'a Cell)>>,
}

impl<'a> Search<'a> {
    pub fn new(cells: impl IntoIterator<Item = &'a Cell>) -> Self {
        let mut search = Self { begins: vec![false; 1 << 16], by_start: HashMap::new() };
        for cell in cells {
            for form in &cell.forms {
                search.begins[usize::from(u16::from_le_bytes([form[0], form[1]]))] = true;
                let start = form[..8].try_into().unwrap();
                search.by_start.entry(start).or_default().push((form, cell));
            }
        }
        search
    }

    /// The cells whose values are in `bytes`.
    pub fn find(&self, bytes: &[u8]) -> Vec<&'a Cell> {
        let mut found = Vec::new();
        for (place, pair) in bytes.windows(2).enumerate() {
            if self.begins[usize::from(u16::from_le_bytes([pair[0], pair[1]]))] {
                let rest = &bytes[place..];
                let start = rest.first_chunk().and_then(|start| self.by_start.get(start));
                found.extend(
                    start.into_iter().flatten().filter(|(form, _)| rest.starts_with(form)).map(|(_, cell)| cell),
                );
            }
        }
        found
    }
}
