//! Texts that take hold of no terminal.

use std::borrow::Cow;

/// The text with what would move a cursor, ring a bell, begin an escape sequence or turn the order of letters written out,
/// but for what is kept.
pub fn harmless(text: &str, keep: impl Fn(char) -> bool) -> Cow<'_, str> {
    let turns = |c| matches!(c, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    let harms = |c: char| (c.is_control() || turns(c)) && !keep(c);
    if !text.contains(harms) {
        return Cow::Borrowed(text);
    }
    let mut safe = String::with_capacity(text.len());
    for letter in text.chars() {
        if harms(letter) { safe.extend(letter.escape_default()) } else { safe.push(letter) }
    }
    Cow::Owned(safe)
}

#[cfg(test)]
mod tests {
    use super::harmless;

    #[test]
    fn no_text_takes_hold_of_the_terminal() {
        assert_eq!(harmless("a\nb\u{1b}[2J\u{202e}é", |_| false), "a\\nb\\u{1b}[2J\\u{202e}é");
        assert_eq!(harmless("a\nb\r", |c| c == '\n'), "a\nb\\r");
    }
}
