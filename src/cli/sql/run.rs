//! One statement, from its text to its last row: shown, counted, and cancelled when the person says so.

use std::time::Duration;

use futures::StreamExt;

use super::progress::{Progress, TICK};
use super::sink::Sink;
use super::target::Target;
use crate::cli::{Failure, Outcome, terminal};
use crate::error::{Class, Error};
use crate::format::{Format, Look, Printer};

/// What is said of a result beside its rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Counted {
    /// Nothing.
    Silent,
    /// How many rows it has.
    Rows,
    /// That, and how long it took.
    RowsAndTime,
}

/// How a result is shown.
#[derive(Debug, Clone, Copy)]
pub struct Show {
    pub format: Format,
    pub look: Look,
    pub counted: Counted,
}

/// Runs one statement and writes its rows to `sink`. Ctrl-C ends it, and with it its query, wherever it runs.
///
/// # Errors
/// Those of the statement; `Cancelled` after Ctrl-C; `Unwanted` when the reader of the rows has gone.
pub async fn run(target: &mut Target, sql: &str, show: Show, sink: Sink, progress: &Progress) -> Outcome {
    let mut notices = Vec::new();
    let ended = {
        let interrupted = tokio::signal::ctrl_c();
        let mut ticks = tokio::time::interval(TICK);
        // Boxed to be dropped with the block: what it has opened closes before anything more is said.
        let mut pouring = Box::pin(pour(target, sql, show, sink, progress, &mut notices));
        tokio::pin!(interrupted);
        loop {
            tokio::select! {
                biased;
                _ = &mut interrupted => break Err(Error::new(Class::Cancelled, "the statement was interrupted").into()),
                ended = &mut pouring => break ended,
                _ = ticks.tick() => progress.tick(),
            }
        }
    };
    let elapsed = progress.elapsed();
    progress.stop();
    if ended.is_ok() {
        match show.counted {
            Counted::Silent => {}
            Counted::Rows => terminal::say(&rows(progress.rows())),
            Counted::RowsAndTime => terminal::say(&format!("{} ({})", rows(progress.rows()), time(elapsed))),
        }
    }
    for notice in &notices {
        terminal::say(&format!("note: {notice}"));
    }
    ended
}

async fn pour(
    target: &mut Target,
    sql: &str,
    show: Show,
    sink: Sink,
    progress: &Progress,
    notices: &mut Vec<String>,
) -> Result<(), Failure> {
    let mut answer = target.ask(sql).await?;
    notices.append(&mut answer.notices);
    let mut printer = Printer::new(show.format, show.look, &answer.schema, sink)?;
    while let Some(batch) = answer.rows.next().await.transpose()? {
        progress.add(&batch);
        printer.write(batch)?;
    }
    progress.end();
    Ok(printer.finish()?.close()?)
}

fn rows(count: u64) -> String {
    format!("{count} {}", if count == 1 { "row" } else { "rows" })
}

fn time(elapsed: Duration) -> String {
    let seconds = elapsed.as_secs();
    match seconds {
        0..60 => format!("{:.3} s", elapsed.as_secs_f64()),
        _ => format!("{} min {} s", seconds / 60, seconds % 60),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_and_times_are_words() {
        assert_eq!((rows(0), rows(1), rows(2)), ("0 rows".into(), "1 row".into(), "2 rows".into()));
        assert_eq!(time(Duration::from_millis(1234)), "1.234 s");
        assert_eq!(time(Duration::from_secs(125)), "2 min 5 s");
    }
}
