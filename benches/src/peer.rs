//! An arm in a process of its own, for engines that cannot be in this one.
//!
//! ```text
//! peer's first line: its name. Then for each {"sql": ...} one {"seconds", "cpu", "rows"} or {"error"}; where "answer" was
//! asked for, a peer that can tells its rows as well: lists of numbers, texts and nulls.
//! ```

use std::io::{BufRead, BufReader, Lines, Write};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use serde_json::{Value, json};

use crate::Result;
use crate::answer::Answer;
use crate::measure::Cost;

/// A running peer; it ends with this.
pub(crate) struct Peer {
    pub(crate) name: String,
    asked: ChildStdin,
    answers: Lines<BufReader<ChildStdout>>,
    process: Child,
}

impl Peer {
    /// Starts a command: a program and its arguments, with spaces between them.
    pub(crate) fn start(command: &str) -> Result<Self> {
        let mut words = command.split_whitespace();
        let program = words.next().ok_or("a peer is a command")?;
        let mut process = Command::new(program)
            .args(words)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .map_err(|error| format!("{program}: {error}"))?;
        let asked = process.stdin.take().ok_or("a peer without an input")?;
        let mut answers = BufReader::new(process.stdout.take().ok_or("a peer without an output")?).lines();
        let name = answers.next().transpose()?.ok_or("a peer that ended at once")?;
        let name = name.split_whitespace().next().unwrap_or("peer").to_owned();
        Ok(Self { name, asked, answers, process })
    }

    /// What a query took by the peer's own clock.
    pub(crate) fn ask(&mut self, sql: &str) -> Result<Cost> {
        cost(&self.answer(&json!({ "sql": sql }))?)
    }

    /// How many rows a query gives, and which, if the peer tells them.
    pub(crate) fn rows(&mut self, sql: &str) -> Result<(usize, Option<Answer>)> {
        let answer = self.answer(&json!({ "sql": sql, "answer": true }))?;
        let rows = answer.get("rows").and_then(Value::as_u64).ok_or("a peer without rows")?;
        Ok((usize::try_from(rows)?, answer.get("answer").and_then(Answer::of_json)))
    }

    fn answer(&mut self, asked: &Value) -> Result<Value> {
        self.asked.write_all(format!("{asked}\n").as_bytes())?;
        self.asked.flush()?;
        let line = self.answers.next().transpose()?.ok_or_else(|| format!("{} ended", self.name))?;
        let answer: Value = serde_json::from_str(&line)?;
        if let Some(error) = answer.get("error") {
            return Err(format!("{}: {error}", self.name).into());
        }
        Ok(answer)
    }
}

fn cost(answer: &Value) -> Result<Cost> {
    let number = |key: &str| answer.get(key).and_then(Value::as_f64).ok_or("a peer without numbers");
    Ok(Cost { wall: number("seconds")?, cpu: number("cpu")? })
}

impl Drop for Peer {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
