//! A script is cut into statements at the semicolons that stand outside quotes and comments.

use super::words::pieces;

/// The complete statements of `script`, and the rest behind the last semicolon.
pub fn split(script: &str) -> (Vec<String>, String) {
    let mut done = Vec::new();
    let mut current = String::new();
    for piece in pieces(script) {
        if piece.is(";") {
            done.push(std::mem::take(&mut current));
        } else {
            current.push_str(piece.text);
        }
    }
    done.retain(|statement| !is_blank(statement));
    (done, current)
}

/// Whether a text holds nothing but white space and comments.
pub fn is_blank(text: &str) -> bool {
    pieces(text).all(|piece| piece.is_blank())
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
        check("SELECT /* ; /* ; */ ; */ 1;", &["SELECT /* ; /* ; */ ; */ 1"], "");
        check("SELECT 'open;", &[], "SELECT 'open;");
        check("-- nothing\n; /* at */ all;\n-- end", &["/* at */ all"], "-- end");
        assert!(super::is_blank(" -- end\n /* of */ ") && !super::is_blank("-- a\nSELECT 1"));
    }
}
