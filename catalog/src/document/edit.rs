//! A tag is written into a file, and all else in it stays as it is, letter by letter.
//!
//! ```text
//! - name: email          - tags: ["pii"]
//!   ...           --->     name: email
//! - { name: id }         - {"tags": ["pii"],  name: id }
//! tags: [a]              tags: ["pii", a]
//! ```
//!
//! What was written is read again: an edit that says anything else than that a tag was added is none.

use super::file::File;
use super::yaml::{Kind, Node};
use super::{Place, Report, Value};

/// The text of `file` with `tag` among the tags of the mapping that begins at `place`; nothing where that cannot be written.
pub fn with_tag(file: &str, text: &str, place: &Place, tag: &str) -> Option<String> {
    // What a tag may be has no quotes.
    if tag.contains(['"', '\\']) || tag.chars().any(char::is_control) {
        return None;
    }
    let parse = |text: &str| Node::parse(&File::new(file, text), &mut Report::default());
    let root = parse(text)?;
    let node = at(&root, place)?;
    let edited = inserted(text, node, tag)?;
    let (mut before, after) = (Value::of(&root), Value::of(&parse(&edited)?));
    let path = way(&root, place)?;
    add(&mut before, &path, tag)?;
    same(&before, &after).then_some(edited)
}

/// The mapping that begins at a place.
fn at<'n>(node: &'n Node, place: &Place) -> Option<&'n Node> {
    let inside = || match &node.kind {
        Kind::List(items) => items.iter().find_map(|item| at(item, place)),
        Kind::Map(entries) => entries.iter().find_map(|(_, value)| at(value, place)),
        Kind::Scalar { .. } => None,
    };
    let here = matches!(node.kind, Kind::Map(_)) && (node.place.line, node.place.column) == (place.line, place.column);
    // The root of a block document begins where its first key does, and so may what lies deeper.
    inside().or_else(|| here.then_some(node))
}

/// A step from a value to one inside of it.
enum Step {
    Item(usize),
    Key(String),
}

/// The steps that lead to the mapping at a place.
fn way(node: &Node, place: &Place) -> Option<Vec<Step>> {
    let deeper = match &node.kind {
        Kind::List(items) => {
            items.iter().enumerate().find_map(|(nth, item)| Some((Step::Item(nth), way(item, place)?)))
        }
        Kind::Map(entries) => {
            entries.iter().find_map(|(key, value)| Some((Step::Key(key.text.clone()), way(value, place)?)))
        }
        Kind::Scalar { .. } => None,
    };
    if let Some((step, mut steps)) = deeper {
        steps.insert(0, step);
        return Some(steps);
    }
    let here = matches!(node.kind, Kind::Map(_)) && (node.place.line, node.place.column) == (place.line, place.column);
    here.then(Vec::new)
}

/// Adds a tag to the mapping at the end of these steps.
fn add(value: &mut Value, steps: &[Step], tag: &str) -> Option<()> {
    match (value, steps) {
        (Value::List(items), [Step::Item(nth), rest @ ..]) => add(items.get_mut(*nth)?, rest, tag),
        (Value::Map(entries), [Step::Key(key), rest @ ..]) => {
            add(&mut entries.iter_mut().find(|(name, _)| &**name == key.as_str())?.1, rest, tag)
        }
        (Value::Map(entries), []) => {
            let new = Value::Text(tag.into());
            match entries.iter_mut().find(|(name, _)| &**name == "tags") {
                Some((_, Value::List(tags))) => tags.insert(0, new),
                Some((_, tags @ Value::Null)) => *tags = Value::List(vec![new]),
                Some(_) => return None,
                None => entries.insert(0, ("tags".into(), Value::List(vec![new]))),
            }
            Some(())
        }
        _ => None,
    }
}

/// Whether two values say the same, wherever the keys of a mapping stand.
fn same(one: &Value, other: &Value) -> bool {
    match (one, other) {
        (Value::Map(one), Value::Map(other)) => {
            one.len() == other.len()
                && one.iter().all(|(key, value)| {
                    other.iter().find(|(name, _)| name == key).is_some_and(|(_, there)| same(value, there))
                })
        }
        (Value::List(one), Value::List(other)) => {
            one.len() == other.len() && one.iter().zip(other).all(|(one, other)| same(one, other))
        }
        _ => one == other,
    }
}

fn inserted(text: &str, node: &Node, tag: &str) -> Option<String> {
    let Kind::Map(entries) = &node.kind else { return None };
    let (place, written) = match entries.iter().find(|(key, _)| key.text == "tags").map(|(_, value)| value) {
        Some(Node { place, kind: Kind::List(tags) }) => match (letter(text, place)?, tags.is_empty()) {
            ('[', true) => (after(place)?, format!("\"{tag}\"")),
            ('[', false) => (after(place)?, format!("\"{tag}\", ")),
            _ => {
                let dash = dash(text, &tags.first()?.place)?;
                let written = format!("- \"{tag}\"\n{}", indent(&dash)?);
                (dash, written)
            }
        },
        Some(_) => return None,
        None if letter(text, &node.place)? == '{' => {
            let more = if entries.is_empty() { "" } else { "," };
            (after(&node.place)?, format!("\"tags\": [\"{tag}\"]{more} "))
        }
        None => (node.place.clone(), format!("tags: [\"{tag}\"]\n{}", indent(&node.place)?)),
    };
    let offset = offset(text, &place)?;
    let (before, behind) = (text.get(..offset)?, text.get(offset..)?);
    Some(format!("{before}{written}{behind}"))
}

/// Where the dash of an item stands that is the first thing in its line.
fn dash(text: &str, item: &Place) -> Option<Place> {
    let line = text.lines().nth(usize::try_from(item.line.checked_sub(1)?).ok()?)?;
    let behind = line.trim_start_matches(' ');
    let column = u32::try_from(line.len() - behind.len()).ok()?.checked_add(1)?;
    behind.starts_with("- ").then(|| Place { column, ..item.clone() })
}

fn after(place: &Place) -> Option<Place> {
    Some(Place { column: place.column.checked_add(1)?, ..place.clone() })
}

/// The spaces before a place in its line, whatever stands there.
fn indent(place: &Place) -> Option<String> {
    Some(" ".repeat(usize::try_from(place.column.checked_sub(1)?).ok()?))
}

fn letter(text: &str, place: &Place) -> Option<char> {
    text.get(offset(text, place)?..)?.chars().next()
}

/// Where a place is in a text, in bytes.
fn offset(text: &str, place: &Place) -> Option<usize> {
    let before = usize::try_from(place.line.checked_sub(1)?).ok()?;
    let start: usize = text.split_inclusive('\n').take(before).map(str::len).sum();
    let line = text.get(start..)?;
    let column = usize::try_from(place.column.checked_sub(1)?).ok()?;
    let inside = line.char_indices().map(|(at, _)| at).chain([line.len()]).nth(column)?;
    Some(start + inside)
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "tests")]
mod tests {
    use super::*;

    /// Adds `pii` to the mapping that has `name: x` in it.
    fn check(text: &str, expect: &str) {
        let root = Node::parse(&File::new("a.yaml", text), &mut Report::default()).unwrap();
        fn find(node: &Node) -> Option<&Node> {
            match &node.kind {
                Kind::List(items) => items.iter().find_map(find),
                Kind::Map(entries) => {
                    let is_it = |node: &Node| matches!(&node.kind, Kind::Scalar { text, .. } if text == "x");
                    if entries.iter().any(|(key, value)| key.text == "name" && is_it(value)) {
                        return Some(node);
                    }
                    entries.iter().find_map(|(_, value)| find(value))
                }
                Kind::Scalar { .. } => None,
            }
        }
        let place = find(&root).unwrap().place.clone();
        assert_eq!(with_tag("a.yaml", text, &place, "pii").as_deref(), Some(expect), "{text}");
    }

    #[test]
    fn only_the_tag_is_new() {
        check("a: # why\n  - name:  x # é\n    t: 1\n", "a: # why\n  - tags: [\"pii\"]\n    name:  x # é\n    t: 1\n");
        check("a: [{ name: x }, {name: y}]\n", "a: [{\"tags\": [\"pii\"],  name: x }, {name: y}]\n");
        check("a:\n - {t: é, name: x, tags: [b]}\n", "a:\n - {t: é, name: x, tags: [\"pii\", b]}\n");
        check("a:\n - name: x\n   tags: []\n", "a:\n - name: x\n   tags: [\"pii\"]\n");
        check(
            "- name: x\n  tags:\n    - b # one\n    - c\n",
            "- name: x\n  tags:\n    - \"pii\"\n    - b # one\n    - c\n",
        );
        check("- name: x\n  tags:\n  - b\n", "- name: x\n  tags:\n  - \"pii\"\n  - b\n");
        check("[{\"name\": \"x\"}]", "[{\"tags\": [\"pii\"], \"name\": \"x\"}]");
    }

    #[test]
    fn what_cannot_be_edited_stays_as_it_is() {
        let place = Place { file: "a.yaml".into(), line: 1, column: 1 };
        assert_eq!(with_tag("a.yaml", "tags: { a: 1 }\n", &place, "pii"), None);
        assert_eq!(with_tag("a.yaml", "tags: b\n", &place, "pii"), None);
        assert_eq!(with_tag("a.yaml", "- 1\n", &place, "pii"), None);
        assert_eq!(with_tag("a.yaml", "a: [\n", &place, "pii"), None);
    }
}
