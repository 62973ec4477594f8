//! Policy files, cut into policies whose places are known.
//!
//! Cedar numbers the policies of a text and forgets where they stood, so they are cut apart here: outside of strings
//! and comments a `;` ends a policy and stands nowhere else.

use crate::document::file::File;
use crate::document::{Place, Report};

/// Cedar walks a policy recursively; no honest one is longer or deeper, and these fit any thread's stack.
const MAX_BYTES: usize = 16 << 10;
const MAX_DEPTH: usize = 64;

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
    let (mut depth, mut deepest) = (0_usize, 0_usize);
    let mut chars = text.char_indices().peekable();
    while let Some((at, c)) = chars.next() {
        if c == '/' && chars.peek().is_some_and(|(_, next)| *next == '/') {
            while chars.next_if(|(_, c)| *c != '\n' && *c != '\r').is_some() {}
            continue;
        }
        if !c.is_whitespace() {
            start.get_or_insert(at);
        }
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
            '(' | '[' | '{' => {
                depth += 1;
                deepest = deepest.max(depth);
            }
            ')' | ']' | '}' => depth = depth.saturating_sub(1),
            ';' => {
                if let Some(offset) = start.take() {
                    push(file, offset, at + 1, deepest, &mut statements, report);
                }
                (depth, deepest) = (0, 0);
            }
            _ => {}
        }
    }
    if let Some(offset) = start {
        push(file, offset, text.len(), deepest, &mut statements, report);
    }
    statements
}

fn push<'a>(
    file: &'a File,
    offset: usize,
    end: usize,
    deepest: usize,
    statements: &mut Vec<Statement<'a>>,
    report: &mut Report,
) {
    if end - offset > MAX_BYTES || deepest > MAX_DEPTH {
        let place: Place = file.place(offset);
        let message = format!("a policy longer than {} KiB or nested deeper than {MAX_DEPTH} levels", MAX_BYTES >> 10);
        report.error("policy/too-large", &place, message).help("split it into several policies");
    } else if let Some(text) = file.text.get(offset..end) {
        statements.push(Statement { text, offset });
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "tests")]
mod tests {
    use super::*;

    fn cut(text: &str) -> Vec<(String, u32, u32)> {
        let file = File { name: "a.cedar".into(), text: text.into() };
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
    fn an_unfinished_policy_is_kept_for_its_error() {
        assert_eq!(cut("permit (a); permit (b)")[1].0, "permit (b)");
        assert_eq!(cut("permit (\"a")[0].0, "permit (\"a");
        assert!(cut(" // nothing\n").is_empty());
    }

    #[test]
    fn what_is_too_deep_or_too_long_is_a_finding() {
        for text in ["(".repeat(1000), "x".repeat(100_000)] {
            let file = File { name: "a.cedar".into(), text };
            let mut report = Report::default();
            assert!(statements(&file, &mut report).is_empty());
            assert_eq!(report.into_findings()[0].code, "policy/too-large");
        }
    }
}
