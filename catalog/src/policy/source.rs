//! Policy files, cut into policies whose places are known.
//!
//! Cedar numbers the policies of a text and forgets where they stood, so they are cut apart here: outside of strings
//! and comments a `;` ends a policy and stands nowhere else.

use crate::document::file::File;
use crate::document::{Place, Report};

/// Cedar walks a policy recursively, and a chain of operators is as deep as brackets are. No honest policy is larger, and
/// these fit any thread's stack.
const MAX_BYTES: usize = 64 << 10;
const MAX_DEPTH: usize = 32;
const MAX_TOKENS: usize = 1000;

/// How large a policy is, while it is being cut out.
#[derive(Default)]
struct Size {
    depth: usize,
    deepest: usize,
    tokens: usize,
    in_word: bool,
}

impl Size {
    fn count(&mut self, c: char) {
        let in_word = c.is_alphanumeric() || c == '_';
        // Names and lists of them are flat: neither `::` nor `,` counts.
        let goes_on = in_word && self.in_word;
        if !(c.is_whitespace() || goes_on || ",:;".contains(c)) {
            self.tokens += 1;
        }
        self.in_word = in_word;
        match c {
            '(' | '[' | '{' => {
                self.depth += 1;
                self.deepest = self.deepest.max(self.depth);
            }
            ')' | ']' | '}' => self.depth = self.depth.saturating_sub(1),
            _ => {}
        }
    }

    fn is_too_large(&self) -> bool {
        self.deepest > MAX_DEPTH || self.tokens > MAX_TOKENS
    }
}

/// One policy's text.
#[derive(Debug)]
pub(crate) struct Statement<'a> {
    /// The text with its `;`.
    pub text: &'a str,
    /// Where the text begins in the file, in bytes.
    pub offset: usize,
}

/// Cuts `file` into its policies.
pub(crate) fn statements<'a>(file: &'a File, report: &mut Report) -> Vec<Statement<'a>> {
    let text = file.text.as_str();
    let mut statements = Vec::new();
    let mut start = None;
    let mut size = Size::default();
    let mut chars = text.char_indices().peekable();
    while let Some((at, c)) = chars.next() {
        if c == '/' && chars.peek().is_some_and(|(_, next)| *next == '/') {
            while chars.next_if(|(_, c)| *c != '\n' && *c != '\r').is_some() {}
            continue;
        }
        if !c.is_whitespace() {
            start.get_or_insert(at);
        }
        size.count(c);
        match c {
            '"' => {
                while let Some((_, c)) = chars.next() {
                    match c {
                        '\\' => {
                            chars.next();
                        }
                        '"' => break,
                        _ => {}
                    }
                }
            }
            ';' => {
                if let Some(offset) = start.take() {
                    push(file, offset, at + 1, &size, &mut statements, report);
                }
                size = Size::default();
            }
            _ => {}
        }
    }
    if let Some(offset) = start {
        push(file, offset, text.len(), &size, &mut statements, report);
    }
    statements
}

fn push<'a>(
    file: &'a File,
    offset: usize,
    end: usize,
    size: &Size,
    statements: &mut Vec<Statement<'a>>,
    report: &mut Report,
) {
    if end - offset > MAX_BYTES || size.is_too_large() {
        let place: Place = file.place(offset);
        let message =
            format!("the policy has more than {MAX_TOKENS} words and signs, or is nested deeper than {MAX_DEPTH}");
        report.error("policy/too-large", &place, message).help("split it into several policies");
    } else if let Some(text) = file.text.get(offset..end) {
        statements.push(Statement { text, offset });
    }
}

/// Where the scope of `text`, a policy, ends and its conditions begin, if both can be told.
pub(crate) fn conditions(text: &str) -> Option<&str> {
    let mut rest = text.trim_start();
    // Annotations, each with a value in quotes.
    while let Some(after) = rest.strip_prefix('@') {
        let open = after.find('"')? + 1;
        let value = after.get(open..)?;
        let mut escaped = false;
        let close = value.find(|c| {
            let ends = c == '"' && !escaped;
            escaped = c == '\\' && !escaped;
            ends
        })?;
        rest = value.get(close + 1..)?.trim_start().strip_prefix(')')?.trim_start();
    }
    let scope = rest.strip_prefix("permit").or_else(|| rest.strip_prefix("forbid"))?.trim_start();
    let end = scope.strip_prefix('(')?.find([')', '(', '"', '/'])?;
    let mut rest = scope.get(1..)?;
    let mut at = end;
    // In a scope stand names in quotes, and no brackets of this kind.
    while rest.get(at..)?.starts_with('"') {
        let name = rest.get(at + 1..)?;
        let close = name.find(['"', '\\'])?;
        rest = name.get(close..)?.strip_prefix('"')?;
        at = rest.find([')', '(', '"', '/'])?;
    }
    rest.get(at..)?.strip_prefix(')')
}

/// Where in `text`, a policy, the byte at `offset` of an annotation's value stands. Cedar hands out values without
/// their escapes, so these are counted here.
pub(crate) fn in_annotation(text: &str, name: &str, offset: usize) -> Option<usize> {
    let start = text.find(&format!("@{name}"))?;
    let open = start + text.get(start..)?.find('"')? + 1;
    let mut chars = text.get(open..)?.char_indices();
    let mut value = 0;
    while let Some((at, c)) = chars.next() {
        if value >= offset || c == '"' {
            return Some(open + at);
        }
        value += match c {
            '\\' => match chars.next()?.1 {
                'u' => {
                    let digits: String = chars.by_ref().map(|(_, c)| c).skip(1).take_while(|c| *c != '}').collect();
                    u32::from_str_radix(&digits, 16).ok().and_then(char::from_u32).map_or(1, char::len_utf8)
                }
                'x' => {
                    chars.nth(1)?;
                    1
                }
                _ => 1,
            },
            c => c.len_utf8(),
        };
    }
    None
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "tests")]
mod tests {
    use super::*;

    fn cut(text: &str) -> Vec<(String, u32, u32)> {
        let file = File::new("a.cedar", text);
        let mut report = Report::default();
        let cut = statements(&file, &mut report)
            .into_iter()
            .map(|s| {
                let place = file.place(s.offset);
                (s.text.to_owned(), place.line, place.column)
            })
            .collect();
        assert!(!report.is_broken());
        cut
    }

    #[test]
    fn strings_and_comments_end_nothing() {
        let text = "// permit (a);\n  @id(\"a;\\\";//\") permit (b); // c;\n\nforbid (d // ;\n);";
        let found = cut(text);
        assert_eq!(found.len(), 2);
        assert_eq!((found[0].0.as_str(), found[0].1, found[0].2), ("@id(\"a;\\\";//\") permit (b);", 2, 3));
        assert_eq!((found[1].0.as_str(), found[1].1, found[1].2), ("forbid (d // ;\n);", 4, 1));
    }

    #[test]
    fn conditions_begin_behind_the_scope() {
        for (text, found) in [
            ("permit (principal, action, resource) when { true };", Some(" when { true };")),
            ("@id(\"a)\\\"(\") @x(\"\") forbid(principal in Group::\"a)(\", action, resource);", Some(";")),
            (
                "@id(\"a\") permit (principal in [], action in [A::\"b\", A::\"c\"], resource) unless { (a) };",
                Some(" unless { (a) };"),
            ),
            ("permit (principal, // )\n action, resource) when { true };", None),
            ("permit (principal == U::\"\\\")\", action, resource) when { true };", None),
            ("@id permit (principal, action, resource) when { \"x\" };", None),
            ("permit", None),
        ] {
            assert_eq!(conditions(text), found, "{text}");
        }
    }

    #[test]
    fn an_annotation_knows_its_places() {
        let text = r#"@id("x") @filter("a\"é\u{e9}\x41 = 1") permit (principal, action, resource);"#;
        let value = "a\"éé\u{41} = 1";
        let at = |part: &str| &text[in_annotation(text, "filter", value.find(part).unwrap()).unwrap()..];
        assert!(at("a").starts_with("a\\\""));
        assert!(at("é").starts_with("é\\u"));
        assert!(at("A").starts_with("\\x41"));
        assert!(at("= 1").starts_with("= 1\")"));
        assert_eq!(in_annotation(text, "mask", 0), None);
    }

    #[test]
    fn an_unfinished_policy_is_kept_for_its_error() {
        assert_eq!(cut("permit (a); permit (b)")[1].0, "permit (b)");
        assert_eq!(cut("permit (\"a")[0].0, "permit (\"a");
        assert!(cut(" // nothing\n").is_empty());
    }

    #[test]
    fn what_is_too_deep_or_too_long_is_a_finding() {
        for text in ["(".repeat(1000), "x".repeat(100_000)] {
            let file = File::new("a.cedar", text);
            let mut report = Report::default();
            assert!(statements(&file, &mut report).is_empty());
            assert_eq!(report.into_findings()[0].code, "policy/too-large");
        }
    }
}
