//! The log: records go to a thread of its own, which writes those that wait together.
//!
//! ```text
//! promise --\                       /-- write, to the system     -> those who wait may go on
//! tell    ----> queue -> one batch ----- sync, each or in a while -> the records outlive the machine
//! ```
//!
//! A record is promised when the system has it: from then on it outlives the process, however that ends. When it must
//! outlive the machine too, [`Synced::Each`] waits for the disk, once for all that wait; otherwise the disk has it within a
//! second or so. Waiting for the disk each time would cost more than a small query itself.
//!
//! When a write fails, nothing is promised any more until one succeeds, which is tried every second. The ends of
//! statements that ran before are kept meanwhile; what does not fit is counted, and the first record afterwards says how
//! many there were.

use std::collections::VecDeque;
use std::io;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, TrySendError, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use serde::Serialize;
use tokio::sync::oneshot;

use super::chain::Link;
use super::clock;
use super::files::Files;
pub use super::files::Unopened;
use super::logins::{Failed, Logins};
use super::record::body;
use super::unwritable;
use crate::error::Error;

/// How often it is looked after what nobody waits for.
const TICK: Duration = Duration::from_secs(1);
/// How long a statement waits for its record. A disk that takes longer hangs.
const PATIENCE: Duration = Duration::from_secs(10);
/// How long the last records may take when the process stops.
const CLOSING: Duration = Duration::from_secs(5);
/// The most records that are written at once.
const BATCH: usize = 512;
/// The most records that wait to be written.
const QUEUE: usize = 16_384;
/// The most ends of statements that are kept while nothing can be written.
const OWED: usize = 10_000;

/// When records are made to outlive the machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Synced {
    /// Before a statement goes on.
    Each,
    /// Within a second or so.
    #[default]
    Background,
}

/// Where a log is, and how it is kept.
#[derive(Debug, Clone)]
pub struct Settings {
    /// The directory of its files.
    pub dir: PathBuf,
    /// When a file is full, in bytes.
    pub file_size: u64,
    /// When records are made to outlive the machine.
    pub sync: Synced,
}

impl Settings {
    /// Those that hold unless somebody says otherwise.
    pub fn of(dir: impl AsRef<Path>) -> Self {
        Self { dir: dir.as_ref().to_owned(), file_size: 64 << 20, sync: Synced::default() }
    }
}

/// A log that is open.
#[derive(Debug)]
pub struct Log {
    queue: SyncSender<Message>,
    shared: Arc<Shared>,
    writer: Mutex<Option<JoinHandle<()>>>,
}

#[derive(Debug, Default)]
struct Shared {
    /// Whether nothing can be written.
    broken: AtomicBool,
    /// Statements that did not run since their records could not be written.
    refused: AtomicU64,
    records: AtomicU64,
    logins: Logins,
}

enum Message {
    Record(Record),
    Close(SyncSender<()>),
}

struct Record {
    body: String,
    /// Who waits for it.
    done: Option<oneshot::Sender<bool>>,
    /// Of which statement it is.
    of: Option<Beginning>,
}

impl Record {
    /// One that nobody waits for.
    fn told(body: String) -> Self {
        Self { body, done: None, of: None }
    }

    /// Whether it ends what never began.
    fn is_void(&self) -> bool {
        self.done.is_none() && self.of.as_ref().is_some_and(|Beginning(lost)| lost.load(Ordering::Relaxed))
    }
}

/// The first record of a statement, as its last one knows it: when the first could not be written, the last is not.
#[derive(Debug, Clone, Default)]
pub(super) struct Beginning(Arc<AtomicBool>);

/// The promise of a record.
#[derive(Debug)]
#[must_use]
pub struct Commit(State);

#[derive(Debug)]
enum State {
    Done,
    Waiting(oneshot::Receiver<bool>),
    Failed,
}

impl Commit {
    pub(super) fn none() -> Self {
        Self(State::Done)
    }

    /// Waits until the record is written.
    ///
    /// # Errors
    /// `Storage`, when it cannot be, now and each further time.
    pub async fn done(&mut self) -> Result<(), Error> {
        if let State::Waiting(told) = &mut self.0 {
            let written = matches!(tokio::time::timeout(PATIENCE, told).await, Ok(Ok(true)));
            self.0 = if written { State::Done } else { State::Failed };
        }
        match self.0 {
            State::Done => Ok(()),
            State::Waiting(_) | State::Failed => Err(unwritable()),
        }
    }
}

impl Log {
    /// Opens a log, and writes that it is open.
    ///
    /// # Errors
    /// When its directory cannot be written to, when another process does, or when it is not what was written.
    pub fn open(settings: &Settings) -> Result<Self, Unopened> {
        let (files, link) = Files::open(&settings.dir, settings.file_size.max(1))?;
        Self::over(files, link, settings.sync)
    }

    fn over(files: Files, link: Link, sync: Synced) -> Result<Self, Unopened> {
        let shared = Arc::<Shared>::default();
        let (owed, now) = (VecDeque::new(), Instant::now());
        let mut writer =
            Writer { files, link, sync, shared: Arc::clone(&shared), owed, missed: 0, unsynced: None, looked: now };
        let open = Record::told(body(clock::now(), "open", Opened { version: env!("CARGO_PKG_VERSION") }));
        writer.attempt(&[open], None).map_err(|failed| failed.cause)?;
        let (queue, waiting) = sync_channel(QUEUE);
        let writer = std::thread::Builder::new().name("polder-audit".to_owned()).spawn(move || writer.run(&waiting))?;
        Ok(Self { queue, shared, writer: Mutex::new(Some(writer)) })
    }

    /// Promises a record.
    ///
    /// # Errors
    /// `Storage`, while nothing can be written.
    pub(super) fn promise(&self, body: String, of: &Beginning) -> Result<Commit, Error> {
        let (done, told) = oneshot::channel();
        let record = Message::Record(Record { body, done: Some(done), of: Some(of.clone()) });
        if !self.is_writable() || self.queue.try_send(record).is_err() {
            self.shared.refused.fetch_add(1, Ordering::Relaxed);
            return Err(unwritable());
        }
        Ok(Commit(State::Waiting(told)))
    }

    /// Records the end of a statement, for which nobody waits.
    pub(super) fn tell(&self, body: String, of: Beginning) {
        let record = Message::Record(Record { body, done: None, of: Some(of) });
        if let Err(TrySendError::Full(_)) = self.queue.try_send(record) {
            tracing::error!("the end of a statement is not in the audit log: too many records wait to be written");
        }
    }

    /// Whether records are written, as far as is known: it is tried when there is one, and every second while it fails.
    pub(super) fn is_writable(&self) -> bool {
        !self.shared.broken.load(Ordering::Relaxed)
    }

    pub(super) fn login_failed(&self, user: Option<&str>, network: Option<IpAddr>) {
        self.shared.logins.failed(user, network);
    }

    /// Writes all that waits, and that it is closed.
    pub(super) fn close(&self) {
        let Some(writer) = self.writer.lock().unwrap_or_else(PoisonError::into_inner).take() else { return };
        let (done, closed) = sync_channel(1);
        let asked = self.queue.try_send(Message::Close(done)).is_ok();
        if asked && closed.recv_timeout(CLOSING).is_ok() {
            let _ = writer.join();
        } else {
            tracing::error!("the audit log could not be closed: its last records may be missing");
        }
    }

    pub(super) fn render(&self) -> String {
        let count = |count: &AtomicU64| count.load(Ordering::Relaxed);
        format!(
            "# HELP polder_audit_writable Whether the audit log can be written; no statement runs while it cannot.\n\
             # TYPE polder_audit_writable gauge\n\
             polder_audit_writable {}\n\
             # HELP polder_audit_records_total Records that were written to the audit log.\n\
             # TYPE polder_audit_records_total counter\n\
             polder_audit_records_total {}\n\
             # HELP polder_audit_refused_total Statements that did not run, since they could not be recorded.\n\
             # TYPE polder_audit_refused_total counter\n\
             polder_audit_refused_total {}\n",
            u8::from(self.is_writable()),
            count(&self.shared.records),
            count(&self.shared.refused),
        )
    }
}

impl Drop for Log {
    fn drop(&mut self) {
        self.close();
    }
}

#[derive(Serialize)]
struct Opened {
    version: &'static str,
}

/// What happened while nothing could be written.
#[derive(Serialize)]
struct Resumed {
    /// Statements that did not run, since the log was opened.
    refused: u64,
    /// Ends of statements that are not in the log.
    missed_ends: u64,
}

#[derive(Serialize)]
struct Closed {}

/// Why a batch was not promised.
struct Unwritten {
    cause: io::Error,
    /// Whether it was written all the same, and only may not outlive the machine.
    written: bool,
}

struct Writer {
    files: Files,
    link: Link,
    sync: Synced,
    shared: Arc<Shared>,
    /// What could not be written and must be.
    owed: VecDeque<String>,
    missed: u64,
    /// Since when something waits to be synced.
    unsynced: Option<Instant>,
    /// When failed logins were looked at.
    looked: Instant,
}

impl Writer {
    fn run(mut self, queue: &Receiver<Message>) {
        loop {
            let mut batch = Vec::new();
            let mut closing = None;
            let mut next = match queue.recv_timeout(TICK) {
                Ok(message) => Some(message),
                Err(RecvTimeoutError::Timeout) => None,
                Err(RecvTimeoutError::Disconnected) => return self.finish(),
            };
            while let Some(message) = next {
                match message {
                    Message::Record(record) => batch.push(record),
                    Message::Close(done) => {
                        closing = Some(done);
                        break;
                    }
                }
                next = if batch.len() < BATCH { queue.try_recv().ok() } else { None };
            }
            self.write(batch);
            self.sync_in_a_while();
            if let Some(done) = closing {
                self.finish();
                let _ = done.send(());
                return;
            }
        }
    }

    fn finish(&mut self) {
        self.write(vec![Record::told(body(clock::now(), "close", Closed {}))]);
        if let Err(cause) = self.files.sync() {
            self.failed(&cause);
        }
    }

    fn is_broken(&self) -> bool {
        self.shared.broken.load(Ordering::Relaxed)
    }

    fn write(&mut self, mut batch: Vec<Record>) {
        batch.retain(|record| !record.is_void());
        let mut logins = None;
        if self.looked.elapsed() >= TICK {
            self.looked = Instant::now();
            logins = self.shared.logins.take();
        }
        if batch.is_empty() && logins.is_none() && !self.is_broken() {
            return;
        }
        let outcome = self.attempt(&batch, logins.as_ref());
        if let Err(unwritten) = &outcome {
            self.failed(&unwritten.cause);
            if !unwritten.written {
                logins.into_iter().for_each(|logins| self.shared.logins.restore(logins));
            }
        }
        let written = outcome.as_ref().err().is_none_or(|unwritten| unwritten.written);
        for record in batch {
            if let Record { done: Some(done), of, .. } = record {
                self.shared.refused.fetch_add(u64::from(outcome.is_err()), Ordering::Relaxed);
                of.into_iter().for_each(|Beginning(lost)| lost.store(!written, Ordering::Relaxed));
                // One who does not wait any more ends, and then says so.
                let _ = done.send(outcome.is_ok());
            } else if !written && !record.is_void() {
                self.owe(record.body);
            }
        }
    }

    /// Writes a batch behind what is owed, as a whole or not at all.
    fn attempt(&mut self, batch: &[Record], logins: Option<&Failed>) -> Result<(), Unwritten> {
        let unwritten = |cause| Unwritten { cause, written: false };
        let note = self.files.ready().map_err(unwritten)?;
        let (mut link, mut lines, before) = (self.link.clone(), Vec::new(), self.link.seq);
        let now = clock::now();
        if let Some(note) = note {
            link.extend(&body(now, note.kind(), &note), &mut lines);
        }
        if self.is_broken() {
            let resumed = Resumed { refused: self.shared.refused.load(Ordering::Relaxed), missed_ends: self.missed };
            link.extend(&body(now, "resumed", resumed), &mut lines);
        }
        if let Some(logins) = logins {
            link.extend(&body(now, "logins", logins), &mut lines);
        }
        let records = self.owed.iter().chain(batch.iter().map(|record| &record.body));
        records.for_each(|record| link.extend(record, &mut lines));
        self.files.append(&lines).map_err(unwritten)?;
        self.shared.records.fetch_add(link.seq.saturating_sub(before), Ordering::Relaxed);
        self.link = link;
        self.owed.clear();
        self.missed = 0;
        match self.sync {
            Synced::Each => self.files.sync().map_err(|cause| Unwritten { cause, written: true })?,
            Synced::Background => {
                self.unsynced.get_or_insert_with(Instant::now);
            }
        }
        if self.shared.broken.swap(false, Ordering::Relaxed) {
            tracing::warn!("the audit log can be written again");
        }
        Ok(())
    }

    fn sync_in_a_while(&mut self) {
        if self.unsynced.is_some_and(|since| since.elapsed() >= TICK) {
            self.unsynced = None;
            if let Err(cause) = self.files.sync() {
                self.failed(&cause);
            }
        }
    }

    fn failed(&self, cause: &io::Error) {
        if !self.shared.broken.swap(true, Ordering::Relaxed) {
            // Its words could name the directory.
            tracing::error!(kind = ?cause.kind(), "the audit log cannot be written, and no statement runs until it can");
        }
    }

    fn owe(&mut self, body: String) {
        if self.owed.len() < OWED {
            self.owed.push_back(body);
        } else {
            self.missed = self.missed.saturating_add(1);
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "tests")]
mod tests;
