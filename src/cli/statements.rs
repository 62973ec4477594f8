//! A script is cut into statements at the semicolons that stand outside quotes and comments.

/// The complete statements of `script`, and the rest behind the last semicolon.
pub fn split(script: &str) -> (Vec<String>, String) {
    let mut done = Vec::new();
    let mut current = String::new();
    let mut letters = script.chars().peekable();
    while let Some(letter) = letters.next() {
        match letter {
            ';' => {
                done.push(std::mem::take(&mut current));
                continue;
            }
            '\'' | '"' => {
                current.push(letter);
                // A doubled quote ends one stretch and begins the next, which comes to the same.
                for inside in letters.by_ref() {
                    current.push(inside);
                    if inside == letter {
                        break;
                    }
                }
                continue;
            }
            '-' if letters.peek() == Some(&'-') => {
                let comment: String = std::iter::from_fn(|| letters.next_if(|c| *c != '\n')).collect();
                current.push('-');
                current.push_str(&comment);
                continue;
            }
            '/' if letters.peek() == Some(&'*') => {
                current.push('/');
                let mut before = ' ';
                for inside in letters.by_ref() {
                    current.push(inside);
                    if before == '*' && inside == '/' {
                        break;
                    }
                    before = inside;
                }
                continue;
            }
            _ => {}
        }
        current.push(letter);
    }
    done.retain(|statement| !is_blank(statement));
    (done, current)
}

/// Whether a piece holds nothing but white space and comments.
pub fn is_blank(piece: &str) -> bool {
    let mut rest = piece.trim_start();
    loop {
        let behind = match (rest.strip_prefix("--"), rest.strip_prefix("/*")) {
            (Some(comment), _) => comment.split_once('\n').map_or("", |(_, behind)| behind),
            (_, Some(comment)) => comment.split_once("*/").map_or("", |(_, behind)| behind),
            _ => return rest.is_empty(),
        };
        rest = behind.trim_start();
    }
}

#[cfg(test)]
mod tests {
    use super::split;

    fn check(script: &str, expect: &[&str], rest: &str) {
        let (done, left) = split(script);
        let done: Vec<&str> = done.iter().map(|s| s.trim()).collect();
        assert_eq!((done.as_slice(), left.trim()), (expect, rest));
    }

    #[test]
    fn semicolons_inside_quotes_and_comments_end_nothing() {
        check("SELECT 1; SELECT 2", &["SELECT 1"], "SELECT 2");
        check("SELECT ';', \";\"; ;", &["SELECT ';', \";\""], "");
        check("SELECT 'it''s;' -- no; end\n;", &["SELECT 'it''s;' -- no; end"], "");
        check("SELECT /* ; */ 1;", &["SELECT /* ; */ 1"], "");
        check("SELECT 'open;", &[], "SELECT 'open;");
        check("-- nothing\n; /* at */ all;\n-- end", &["/* at */ all"], "-- end");
        assert!(super::is_blank(" -- end\n /* of */ ") && !super::is_blank("-- a\nSELECT 1"));
    }
}
