//! As much TOML as connection profiles use: tables, dotted keys, strings of all four kinds, numbers and booleans.
//! Everything else is refused with its line.

use std::str::Chars;

/// A value. Numbers and booleans are kept as they are written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Value {
    Text(String),
    Number(String),
    Boolean(bool),
}

/// What stands under a path of keys, the tables' first.
pub type Entry = (Vec<String>, Value);

/// What is wrong, and in which line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    pub line: usize,
    pub what: &'static str,
}

/// Every value of a text.
///
/// # Errors
/// For what is no TOML, and for what no profile has: arrays, inline tables and dates.
pub fn read(text: &str) -> Result<Vec<Entry>, Fault> {
    let mut reader = Reader { letters: text.trim_start_matches('\u{feff}').chars(), line: 1 };
    let mut table = Vec::new();
    let mut entries: Vec<Entry> = Vec::new();
    loop {
        reader.skip_blank();
        match reader.peek() {
            None => return Ok(entries),
            Some('[') => {
                reader.take();
                if reader.peek() == Some('[') {
                    return Err(reader.fault("arrays of tables are not supported"));
                }
                table = reader.path()?;
                reader.expect(']', "a `]` is missing")?;
            }
            Some(_) => {
                let mut path = table.clone();
                path.extend(reader.path()?);
                if entries.iter().any(|(other, _)| *other == path) {
                    return Err(reader.fault("this key stands here for the second time"));
                }
                reader.expect('=', "a `=` is missing behind the key")?;
                reader.skip_spaces();
                let value = reader.value()?;
                entries.push((path, value));
            }
        }
        reader.end_of_line()?;
    }
}

struct Reader<'t> {
    letters: Chars<'t>,
    line: usize,
}

impl Reader<'_> {
    fn peek(&self) -> Option<char> {
        self.letters.clone().next()
    }

    fn take(&mut self) -> Option<char> {
        let letter = self.letters.next();
        if letter == Some('\n') {
            self.line = self.line.saturating_add(1);
        }
        letter
    }

    /// Takes `text` if it comes next.
    fn took(&mut self, text: &str) -> bool {
        let comes = self.letters.as_str().starts_with(text);
        if comes {
            for _ in text.chars() {
                self.take();
            }
        }
        comes
    }

    fn take_while(&mut self, wanted: impl Fn(char) -> bool) -> String {
        let mut text = String::new();
        while let Some(letter) = self.peek().filter(|letter| wanted(*letter)) {
            text.push(letter);
            self.take();
        }
        text
    }

    fn skip_spaces(&mut self) {
        self.take_while(|c| c == ' ' || c == '\t');
    }

    fn skip_comment(&mut self) {
        if self.peek() == Some('#') {
            self.take_while(|c| c != '\n');
        }
    }

    fn skip_blank(&mut self) {
        while self.peek().is_some_and(|c| c.is_whitespace() || c == '#') {
            self.take_while(char::is_whitespace);
            self.skip_comment();
        }
    }

    fn end_of_line(&mut self) -> Result<(), Fault> {
        self.skip_spaces();
        self.skip_comment();
        self.took("\r");
        match self.peek() {
            None | Some('\n') => Ok(()),
            Some(_) => Err(self.fault("nothing may follow here on this line")),
        }
    }

    fn expect(&mut self, sign: char, what: &'static str) -> Result<(), Fault> {
        self.skip_spaces();
        if self.peek() == Some(sign) {
            self.take();
            return Ok(());
        }
        Err(self.fault(what))
    }

    fn fault(&self, what: &'static str) -> Fault {
        Fault { line: self.line, what }
    }

    /// Keys with dots between them.
    fn path(&mut self) -> Result<Vec<String>, Fault> {
        let mut path = Vec::new();
        loop {
            self.skip_spaces();
            let key = match self.peek() {
                Some('"') => self.basic()?,
                Some('\'') => self.literal()?,
                _ => self.take_while(|c| c.is_ascii_alphanumeric() || c == '_' || c == '-'),
            };
            if key.is_empty() {
                return Err(self.fault("a key is missing"));
            }
            path.push(key);
            self.skip_spaces();
            if !self.took(".") {
                return Ok(path);
            }
        }
    }

    fn value(&mut self) -> Result<Value, Fault> {
        let text = match self.peek() {
            Some('"') if self.took("\"\"\"") => self.long("\"\"\"", true),
            Some('\'') if self.took("'''") => self.long("'''", false),
            Some('"') => self.basic(),
            Some('\'') => self.literal(),
            _ => {
                let bare = self.take_while(|c| c.is_ascii_alphanumeric() || matches!(c, '+' | '-' | '.' | '_'));
                return match bare.as_str() {
                    "true" => Ok(Value::Boolean(true)),
                    "false" => Ok(Value::Boolean(false)),
                    number if number.replace('_', "").parse::<f64>().is_ok() => {
                        Ok(Value::Number(number.replace('_', "")))
                    }
                    _ => Err(self.fault("the value is no string, number or boolean")),
                };
            }
        };
        text.map(Value::Text)
    }

    fn literal(&mut self) -> Result<String, Fault> {
        self.take();
        let text = self.take_while(|c| c != '\'' && c != '\n');
        if self.took("'") { Ok(text) } else { Err(self.fault("the string has no end")) }
    }

    fn basic(&mut self) -> Result<String, Fault> {
        self.take();
        let mut text = String::new();
        loop {
            match self.take() {
                Some('"') => return Ok(text),
                Some('\\') => text.push(self.escape()?),
                None | Some('\n') => return Err(self.fault("the string has no end")),
                Some(letter) => text.push(letter),
            }
        }
    }

    /// A string of several lines, behind its opening quotes.
    fn long(&mut self, quotes: &str, escapes: bool) -> Result<String, Fault> {
        let begun = self.line;
        if !self.took("\r\n") {
            self.took("\n");
        }
        let mut text = String::new();
        loop {
            if self.letters.as_str().starts_with(quotes) {
                // Up to two quotes may stand before the closing ones.
                let closing = format!("{quotes}{}", quotes.chars().next().unwrap_or('"'));
                if !self.letters.as_str().starts_with(&closing) {
                    self.took(quotes);
                    return Ok(text);
                }
            }
            match self.take() {
                None => return Err(Fault { line: begun, what: "the string has no end" }),
                Some('\\') if escapes => {
                    let line_ends = self.letters.as_str().trim_start_matches([' ', '\t', '\r']).starts_with('\n');
                    if line_ends {
                        self.take_while(char::is_whitespace);
                    } else {
                        text.push(self.escape()?);
                    }
                }
                Some(letter) => text.push(letter),
            }
        }
    }

    fn escape(&mut self) -> Result<char, Fault> {
        let digits = match self.take() {
            Some('b') => return Ok('\u{8}'),
            Some('t') => return Ok('\t'),
            Some('n') => return Ok('\n'),
            Some('f') => return Ok('\u{c}'),
            Some('r') => return Ok('\r'),
            Some('"') => return Ok('"'),
            Some('\\') => return Ok('\\'),
            Some('u') => 4,
            Some('U') => 8,
            _ => return Err(self.fault("this escape is not known")),
        };
        let code: String = (0..digits).filter_map(|_| self.take()).collect();
        let letter = u32::from_str_radix(&code, 16).ok().and_then(char::from_u32);
        letter.ok_or_else(|| self.fault("this escape is not known"))
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    fn check(text: &str, expect: &[(&str, Value)]) {
        let found: Vec<(String, Value)> =
            read(text).unwrap().into_iter().map(|(path, value)| (path.join("/"), value)).collect();
        let expect: Vec<(String, Value)> = expect.iter().map(|(path, v)| ((*path).to_owned(), v.clone())).collect();
        assert_eq!(found, expect);
    }

    fn text(text: &str) -> Value {
        Value::Text(text.to_owned())
    }

    #[test]
    fn tables_and_dotted_keys_make_paths() {
        check(
            "# a profile\r\nprofile_version = 1 # one\n\n[Options]\nuri = \"grpc://a:1\"\na.\"b.c\" = true\n[Options.x]\n'y' = 1_000.5",
            &[
                ("profile_version", Value::Number("1".into())),
                ("Options/uri", text("grpc://a:1")),
                ("Options/a/b.c", Value::Boolean(true)),
                ("Options/x/y", Value::Number("1000.5".into())),
            ],
        );
    }

    #[test]
    fn strings_of_all_four_kinds() {
        check(r#"a = "x\t\"\u00e9\\""#, &[("a", text("x\t\"é\\"))]);
        check(r"a = 'x\t'", &[("a", text(r"x\t"))]);
        check("a = \"\"\"\nx\ny\\\n   z\"\"\"\"", &[("a", text("x\nyz\""))]);
        check("a = '''\nx\\\n'''", &[("a", text("x\\\n"))]);
    }

    #[test]
    fn what_is_not_understood_is_refused_with_its_line() {
        for (text, line) in [
            ("a = 1\nb = [1]", 2),
            ("a = {}", 1),
            ("\n\na = 2026-01-01", 3),
            ("[[a]]", 1),
            ("a 1", 1),
            ("a = \"x", 1),
            ("a = \"x\ny\"", 2),
            ("a = 1 b", 1),
            ("a = 1\na = 2", 2),
            ("= 1", 1),
            ("[a", 1),
            (r#"a = "\q""#, 1),
            ("a = \"\"\"x\n\n", 1),
            ("a = maybe", 1),
        ] {
            assert_eq!(read(text).map_err(|fault| fault.line), Err(line), "{text:?}");
        }
    }
}
