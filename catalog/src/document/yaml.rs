//! YAML as a tree in which every key and value knows its place.
//!
//! The tree is built event by event on a stack of its own, so that neither deep nesting nor aliases of aliases can
//! exhaust the thread's stack or the memory: what is too deep or too large is a finding.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use saphyr_parser::{Event, Marker, Parser, ScalarStyle};

use super::file::{File, count};
use super::{Place, Report, quote};

const MAX_DEPTH: usize = 64;
const MAX_NODES: usize = 500_000;

/// A value in a document.
#[derive(Debug, Clone)]
pub(crate) struct Node {
    /// Where it begins.
    pub place: Place,
    /// What it is.
    pub kind: Kind,
}

/// What a value is.
#[derive(Debug, Clone)]
pub(crate) enum Kind {
    /// A text, a number, a truth value or nothing: which one, only a plain scalar's reader decides.
    Scalar {
        /// As written, without quotes.
        text: String,
        /// Written without quotes.
        plain: bool,
    },
    /// A sequence.
    List(Vec<Node>),
    /// A mapping, in the order of the document, no key twice.
    Map(Vec<(Key, Node)>),
}

/// A key of a mapping.
#[derive(Debug, Clone)]
pub(crate) struct Key {
    /// The key.
    pub text: String,
    /// Where it stands.
    pub place: Place,
}

impl Node {
    /// Reads the one document of `file`; an empty file is an empty mapping.
    pub fn parse(file: &File, report: &mut Report) -> Option<Self> {
        match Builder::new(file.name.clone()).build(&file.text) {
            Ok(node) => Some(node),
            Err((code, place, message)) => {
                let noted = report.error(code, &place, message);
                if let Some(help) = instead(code) {
                    noted.help(help);
                }
                None
            }
        }
    }

    /// Whether nothing is written there.
    pub fn is_null(&self) -> bool {
        matches!(&self.kind, Kind::Scalar { text, plain: true } if matches!(text.as_str(), "" | "~" | "null" | "Null" | "NULL"))
    }

    /// What it is, in the words of a message.
    pub fn what(&self) -> &'static str {
        match &self.kind {
            Kind::List(_) => "a list",
            Kind::Map(_) => "a mapping",
            Kind::Scalar { .. } if self.is_null() => "nothing",
            Kind::Scalar { text, plain: true } if truth(text).is_some() => "a truth value",
            Kind::Scalar { text, plain: true } if is_number(text) => "a number",
            Kind::Scalar { .. } => "a text",
        }
    }

    fn size(&self) -> usize {
        match &self.kind {
            Kind::Scalar { .. } => 1,
            Kind::List(items) => 1 + items.iter().map(Node::size).sum::<usize>(),
            Kind::Map(entries) => 1 + entries.iter().map(|(_, node)| 1 + node.size()).sum::<usize>(),
        }
    }

    fn depth(&self) -> usize {
        match &self.kind {
            Kind::Scalar { .. } => 0,
            Kind::List(items) => 1 + items.iter().map(Node::depth).max().unwrap_or(0),
            Kind::Map(entries) => 1 + entries.iter().map(|(_, node)| node.depth()).max().unwrap_or(0),
        }
    }
}

/// The truth value that a plain scalar means in YAML 1.2.
pub(crate) fn truth(text: &str) -> Option<bool> {
    match text {
        "true" | "True" | "TRUE" => Some(true),
        "false" | "False" | "FALSE" => Some(false),
        _ => None,
    }
}

/// Whether a plain scalar means a number in YAML 1.2.
pub(crate) fn is_number(text: &str) -> bool {
    let digits = text.strip_prefix(['-', '+']).unwrap_or(text);
    let based = |prefix, radix| {
        text.strip_prefix(prefix).is_some_and(|d| !d.is_empty() && d.chars().all(|c| c.is_digit(radix)))
    };
    matches!(digits, ".inf" | ".Inf" | ".INF")
        || matches!(text, ".nan" | ".NaN" | ".NAN")
        || based("0x", 16)
        || based("0o", 8)
        || (digits.starts_with(|c: char| c.is_ascii_digit() || c == '.')
            && digits.chars().any(|c| c.is_ascii_digit())
            && digits.chars().all(|c| c.is_ascii_digit() || ".eE+-".contains(c))
            && digits.parse::<f64>().is_ok())
}

type Fault = (&'static str, Place, String);

/// What to write instead of what is no YAML here.
fn instead(code: &str) -> Option<&'static str> {
    Some(match code {
        "yaml/duplicate-key" => "keep one of the two; what is several stands in a list under one key",
        "yaml/documents" => "keep what stands before `---`, and write the rest into a file of its own",
        "yaml/alias" => "write the value out",
        "yaml/merge-key" => "write the keys out that it would merge",
        "yaml/key" => "write a text before the colon, in quotes if it needs them",
        "yaml/tag" => "leave what begins with `!` away",
        "yaml/too-deep" => "bring what lies inside further out",
        "yaml/too-large" => "share it between several files",
        _ => return None,
    })
}

/// A collection whose end has not been read yet.
struct Open {
    node: Node,
    key: Option<Key>,
    seen: HashSet<String>,
    anchor: usize,
}

struct Builder {
    file: Arc<str>,
    open: Vec<Open>,
    anchors: HashMap<usize, (Node, usize)>,
    nodes: usize,
    root: Option<Node>,
}

impl Builder {
    fn new(file: Arc<str>) -> Self {
        Self { file, open: Vec::new(), anchors: HashMap::new(), nodes: 0, root: None }
    }

    fn place(&self, mark: Marker) -> Place {
        Place { file: self.file.clone(), line: count(mark.line()).max(1), column: count(mark.col() + 1) }
    }

    fn build(mut self, text: &str) -> Result<Node, Fault> {
        let mut parser = Parser::new_from_str(text);
        while let Some(event) = parser.next_event() {
            let (event, span) = event.map_err(|error| {
                let place = self.place(*error.marker());
                // The scanner looks ahead and gives up on its own at 255 brackets.
                if error.info() == "recursion limit exceeded" {
                    return too_deep(place);
                }
                ("yaml/syntax", place, format!("this is not YAML: {}", error.info()))
            })?;
            let place = self.place(span.start);
            self.take(event, place)?;
        }
        let empty = Place { file: self.file, line: 1, column: 1 };
        Ok(self.root.unwrap_or(Node { place: empty, kind: Kind::Map(Vec::new()) }))
    }

    fn take(&mut self, event: Event<'_>, place: Place) -> Result<(), Fault> {
        match event {
            Event::Nothing | Event::StreamStart | Event::StreamEnd | Event::DocumentEnd => Ok(()),
            Event::DocumentStart(_) if self.root.is_some() => {
                Err(("yaml/documents", place, "a second document in one file".into()))
            }
            Event::DocumentStart(_) => Ok(()),
            Event::Scalar(text, style, anchor, tag) => {
                let mut plain = style == ScalarStyle::Plain;
                if let Some(tag) = tag {
                    plain &= tag_is_known(&tag, &place)?;
                }
                let node = Node { place, kind: Kind::Scalar { text: text.into_owned(), plain } };
                self.add(node, 1, anchor)
            }
            Event::Alias(anchor) => match self.anchors.get(&anchor) {
                Some((node, size)) => {
                    let (node, size) = (node.clone(), *size);
                    if self.open.len() + node.depth() > MAX_DEPTH {
                        return Err(too_deep(place));
                    }
                    self.add(node, size, 0)
                }
                None => Err(("yaml/alias", place, "an alias of the value that it stands in".into())),
            },
            Event::SequenceStart(anchor, tag) => self.start(Kind::List(Vec::new()), anchor, tag.as_deref(), place),
            Event::MappingStart(anchor, tag) => self.start(Kind::Map(Vec::new()), anchor, tag.as_deref(), place),
            Event::SequenceEnd | Event::MappingEnd => match self.open.pop() {
                Some(Open { node, anchor, .. }) => self.add(node, 0, anchor),
                None => Ok(()),
            },
        }
    }

    fn start(
        &mut self,
        kind: Kind,
        anchor: usize,
        tag: Option<&saphyr_parser::Tag>,
        place: Place,
    ) -> Result<(), Fault> {
        if let Some(tag) = tag {
            tag_is_known(tag, &place)?;
        }
        if self.open.len() >= MAX_DEPTH {
            return Err(too_deep(place));
        }
        self.nodes += 1;
        self.open.push(Open { node: Node { place, kind }, key: None, seen: HashSet::new(), anchor });
        Ok(())
    }

    /// Puts a whole value where it belongs; `size` is what it adds to the tree.
    fn add(&mut self, node: Node, size: usize, anchor: usize) -> Result<(), Fault> {
        self.nodes = self.nodes.saturating_add(size);
        if self.nodes > MAX_NODES {
            return Err(("yaml/too-large", node.place, format!("more than {MAX_NODES} values in one file")));
        }
        if anchor > 0 {
            let size = node.size();
            self.anchors.insert(anchor, (node.clone(), size));
            // The copy for the anchor is memory as well.
            self.nodes = self.nodes.saturating_add(size);
        }
        let Some(open) = self.open.last_mut() else {
            self.root = Some(node);
            return Ok(());
        };
        match &mut open.node.kind {
            Kind::List(items) => items.push(node),
            Kind::Map(entries) => match open.key.take() {
                Some(key) => entries.push((key, node)),
                None => {
                    let key = key(node)?;
                    if !open.seen.insert(key.text.clone()) {
                        let message = format!("the key {} stands here twice", quote(&key.text));
                        return Err(("yaml/duplicate-key", key.place, message));
                    }
                    open.key = Some(key);
                }
            },
            Kind::Scalar { .. } => {}
        }
        Ok(())
    }
}

fn too_deep(place: Place) -> Fault {
    ("yaml/too-deep", place, format!("nested deeper than {MAX_DEPTH} levels"))
}

fn key(node: Node) -> Result<Key, Fault> {
    match node.kind {
        Kind::Scalar { plain: true, text } if text == "<<" => {
            Err(("yaml/merge-key", node.place, "the merge key `<<` is not part of YAML 1.2".into()))
        }
        Kind::Scalar { text, .. } => Ok(Key { text, place: node.place }),
        _ => Err(("yaml/key", node.place, "a key is a plain text".into())),
    }
}

/// Whether a scalar with this tag may still mean something else than a text.
fn tag_is_known(tag: &saphyr_parser::Tag, place: &Place) -> Result<bool, Fault> {
    if tag.is_yaml_core_schema() {
        Ok(tag.suffix != "str")
    } else {
        let name = quote(&format!("{}{}", tag.handle, tag.suffix));
        Err(("yaml/tag", place.clone(), format!("the type {name} is unknown here")))
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "tests")]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<Node, (&'static str, u32, u32)> {
        let file = File::new("a.yaml", text);
        let mut report = Report::default();
        Node::parse(&file, &mut report).ok_or_else(|| {
            let finding = &report.into_findings()[0];
            (finding.code, finding.place.line, finding.place.column)
        })
    }

    #[test]
    fn keys_and_values_know_their_places() {
        let node = parse("a: 1\né: [x, \"y\"]\nb:\n  - c: d\n").unwrap();
        let Kind::Map(entries) = node.kind else { panic!() };
        let at = |place: &Place| (place.line, place.column);
        assert_eq!(at(&entries[1].0.place), (2, 1));
        let Kind::List(items) = &entries[1].1.kind else { panic!() };
        assert_eq!(at(&items[1].place), (2, 8));
        let Kind::List(items) = &entries[2].1.kind else { panic!() };
        let Kind::Map(inner) = &items[0].kind else { panic!() };
        assert_eq!(at(&inner[0].1.place), (4, 8));
    }

    #[test]
    fn faults_are_named_with_their_place() {
        for (text, code, line, column) in [
            ("a: 1\nb: 2\na: 3\n", "yaml/duplicate-key", 3, 1),
            ("a: {b: 1, b: 2}\n", "yaml/duplicate-key", 1, 11),
            ("a: 1\n---\nb: 2\n", "yaml/documents", 2, 1),
            ("a: &x [*x]\n", "yaml/alias", 1, 8),
            ("a: &x {k: 1}\nb:\n  <<: *x\n", "yaml/merge-key", 3, 3),
            ("[a]: 1\n", "yaml/key", 1, 1),
            ("a: !python/object x\n", "yaml/tag", 1, 4),
        ] {
            assert_eq!(parse(text).unwrap_err(), (code, line, column), "{text}");
        }
        assert_eq!(parse("a: [1, 2\n").unwrap_err().0, "yaml/syntax");
        assert_eq!(parse("a: \"b\n").unwrap_err().0, "yaml/syntax");
    }

    #[test]
    fn depth_is_bounded() {
        assert_eq!(parse(&"[".repeat(100_000)).unwrap_err().0, "yaml/too-deep");
        assert_eq!(parse(&"{a: ".repeat(100_000)).unwrap_err().0, "yaml/too-deep");
        assert_eq!(parse(&"- ".repeat(100_000)).unwrap_err().0, "yaml/too-deep");
        let nested: String = (0..100).map(|i| format!("{}a:\n", " ".repeat(i))).collect();
        assert_eq!(parse(&nested).unwrap_err().0, "yaml/too-deep");
        let anchored: String = (1..100).map(|i| format!("a{i}: &a{i} [*a{}]\n", i - 1)).collect::<String>();
        assert_eq!(parse(&format!("a0: &a0 [x]\n{anchored}")).unwrap_err().0, "yaml/too-deep");
    }

    #[test]
    fn aliases_of_aliases_are_bounded() {
        let mut text = String::from("a0: &a0 [x,x,x,x,x,x,x,x,x,x]\n");
        for i in 1..20 {
            let item = format!("*a{}", i - 1);
            text.push_str(&format!("a{i}: &a{i} [{}]\n", [item.as_str(); 10].join(",")));
        }
        assert_eq!(parse(&text).unwrap_err().0, "yaml/too-large");
    }

    #[test]
    fn an_empty_file_is_an_empty_mapping() {
        for text in ["", "# nothing\n", "---\n"] {
            let node = parse(text).unwrap();
            assert!(node.is_null() || matches!(&node.kind, Kind::Map(entries) if entries.is_empty()), "{text:?}");
        }
    }

    #[test]
    fn scalars_mean_what_yaml_says() {
        for (text, what) in [
            ("1", "a number"),
            ("-1.5e3", "a number"),
            ("0x1F", "a number"),
            (".inf", "a number"),
            ("1.0.0", "a text"),
            ("v1", "a text"),
            ("e", "a text"),
            ("inf", "a text"),
            ("true", "a truth value"),
            ("yes", "a text"),
            ("~", "nothing"),
            ("\"1\"", "a text"),
            ("!!str 1", "a text"),
        ] {
            assert_eq!(parse(text).unwrap().what(), what, "{text}");
        }
    }

    #[test]
    fn no_bytes_make_it_panic() {
        let alphabet: Vec<char> = "ab:-[]{},&*!|>'\"%@`#?~\n\n  \t0\\<é\u{feff}\r".chars().collect();
        let mut state = 0x9e37_79b9_7f4a_7c15_u64;
        let mut next = |below: usize| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            (state % below as u64) as usize
        };
        let mut parsed = 0;
        for _ in 0..20_000 {
            let length = next(40);
            let text: String = (0..length).map(|_| alphabet[next(alphabet.len())]).collect();
            parsed += usize::from(parse(&text).is_ok());
        }
        assert!(parsed > 100, "the alphabet makes documents too: {parsed}");
    }
}
