//! Every `tests/slt/*.slt`, run through the real Flight endpoint by the users that it names.
//!
//! A script is blocks with blank lines between them:
//!
//! ```text
//! # a comment
//! connect as analyst-eu
//!
//! query
//! SELECT city, count(*) FROM storefront.customers GROUP BY city ORDER BY city
//! ----
//! Delft | 12
//!
//! error
//! SELECT tax_id FROM storefront.customers
//! ----
//! denied: column `tax_id` …
//! ```
//!
//! `connect as lotse at harbour` goes to the mesh of `harbour.rs` instead of Packly. `query sorted` compares the rows without their order, `query columns` the names of the result's columns instead of
//! its rows. `POLDER_BLESS=1` writes what was found into the scripts; read the difference before you keep it.

use std::fs;
use std::path::Path;

use futures::TryStreamExt;
use polder::error::Error;
use polder::flight::client::Remote;

use crate::harbour;
use crate::lines::cells;
use crate::packly::packly;

/// What a block asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Query,
    Sorted,
    Columns,
    Error,
}

impl Kind {
    fn parse(line: &str) -> Option<Self> {
        match line {
            "query" => Some(Self::Query),
            "query sorted" => Some(Self::Sorted),
            "query columns" => Some(Self::Columns),
            "error" => Some(Self::Error),
            _ => None,
        }
    }
}

pub async fn answer(remote: &mut Remote, kind: Kind, sql: &str) -> Result<Vec<String>, Error> {
    let (schema, rows, _) = remote.query(sql).await?;
    let batches: Vec<_> = rows.try_collect().await?;
    if kind == Kind::Columns {
        return Ok(schema.fields().iter().map(|field| format!("{} {}", field.name(), field.data_type())).collect());
    }
    let rows = cells(&batches).map(|row| row.join(" | "));
    let mut lines: Vec<_> = rows.flat_map(|row| row.lines().map(str::to_owned).collect::<Vec<_>>()).collect();
    if kind == Kind::Sorted {
        lines.sort();
    }
    Ok(lines)
}

async fn run(path: &Path) -> Vec<String> {
    let text = fs::read_to_string(path).unwrap();
    let mut remote = None;
    let mut wrong = Vec::new();
    let mut blessed = Vec::new();
    for block in text.trim_end().split("\n\n") {
        let (comments, body): (Vec<&str>, Vec<&str>) = block.lines().partition(|line| line.starts_with('#'));
        let Some((head, rest)) = body.split_first() else {
            blessed.push(block.to_owned());
            continue;
        };
        if let Some(user) = head.strip_prefix("connect as ") {
            remote = Some(match user.strip_suffix(" at harbour") {
                Some(user) => harbour::connect(user).await,
                None => packly().connect(user).await,
            });
            blessed.push(block.to_owned());
            continue;
        }
        let kind = Kind::parse(head).unwrap_or_else(|| panic!("{}: `{head}` is no kind of block", path.display()));
        let remote = remote.as_mut().unwrap_or_else(|| panic!("{}: nobody is connected", path.display()));
        let mut parts = rest.splitn(2, |line| *line == "----");
        let sql = parts.next().unwrap().join("\n");
        let expected: Vec<String> = parts.next().unwrap_or_default().iter().map(|line| (*line).to_owned()).collect();
        let found = match (answer(remote, kind, &sql).await, kind) {
            (Ok(lines), Kind::Error) => {
                wrong.push(format!("{}: no error, but {} rows: {sql}", path.display(), lines.len()));
                continue;
            }
            (Ok(lines), _) => lines,
            (Err(error), Kind::Error) => error.to_string().lines().map(str::to_owned).collect(),
            (Err(error), _) => {
                wrong.push(format!("{}: {sql}\nfailed: {error}", path.display()));
                continue;
            }
        };
        // By the plan that was kept, if it was one that can be.
        let changes = ["mesh.", "now()", "random()", "uuid()", "current_"].iter().any(|part| sql.contains(part));
        if matches!(kind, Kind::Query | Kind::Sorted) && !changes {
            match answer(remote, kind, &sql).await {
                Ok(again) if again == found => {}
                again => {
                    wrong.push(format!("{}: {sql}\nfirst:\n{}\nthen: {again:?}", path.display(), found.join("\n")))
                }
            }
        }
        if found != expected {
            wrong.push(format!(
                "{}: {sql}\nexpected:\n{}\nfound:\n{}",
                path.display(),
                expected.join("\n"),
                found.join("\n")
            ));
        }
        let mut lines: Vec<String> = comments.iter().map(|line| (*line).to_owned()).collect();
        lines.extend([(*head).to_owned(), sql, "----".to_owned()]);
        lines.extend(found);
        blessed.push(lines.join("\n"));
    }
    if std::env::var_os("POLDER_BLESS").is_some() {
        fs::write(path, blessed.join("\n\n") + "\n").unwrap();
    }
    wrong
}

#[test]
fn scripts_give_what_they_say() {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/slt");
    let mut paths: Vec<_> = fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.retain(|path| path.extension().is_some_and(|extension| extension == "slt"));
    paths.sort();
    assert!(paths.len() >= 5, "the scripts are there");
    let mut wrong = Vec::new();
    for path in paths {
        wrong.extend(packly().block_on(run(&path)));
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n\n"));
}
