//! Logs in directories of their own, on a disk that can be full.

use std::fs::{self, File};
use std::io::{self, Write as _};
use std::sync::atomic::AtomicUsize;

use serde_json::Value;
use tempfile::TempDir;

use super::super::files::Disk;
use super::super::{Asked, Observer, Origin, Outcome, Statement};
use super::*;
use crate::error::Class;
use crate::observe::{Broken, Unverified, verify};

const AT_ALL: usize = usize::MAX;

/// A disk that takes so many more bytes, and may refuse to sync.
#[derive(Debug, Clone)]
struct Full {
    room: Arc<AtomicUsize>,
    sync: Arc<AtomicBool>,
}

impl Full {
    fn not_yet() -> Self {
        Self { room: Arc::new(AtomicUsize::new(AT_ALL)), sync: Arc::new(AtomicBool::new(true)) }
    }

    fn takes(&self, bytes: usize) {
        self.room.store(bytes, Ordering::SeqCst);
    }
}

impl Disk for Full {
    fn write(&mut self, file: &mut File, bytes: &[u8]) -> io::Result<()> {
        let room = self.room.load(Ordering::SeqCst);
        file.write_all(&bytes[..bytes.len().min(room)])?;
        if room < bytes.len() { Err(io::ErrorKind::StorageFull.into()) } else { Ok(()) }
    }

    fn sync(&mut self, _file: &File) -> io::Result<()> {
        if self.sync.load(Ordering::SeqCst) { Ok(()) } else { Err(io::ErrorKind::Other.into()) }
    }
}

fn settings(dir: &Path) -> Settings {
    Settings::of(dir)
}

fn open(dir: &Path) -> Arc<Observer> {
    Arc::new(Observer::auditing(Log::open(&settings(dir)).unwrap()))
}

/// A log on a disk that can be full.
fn on(disk: &Full, dir: &Path, sync: Synced) -> Arc<Observer> {
    let (mut files, link) = Files::open(dir, settings(dir).file_size).unwrap();
    files.disk = Box::new(disk.clone());
    Arc::new(Observer::auditing(Log::over(files, link, sync).unwrap()))
}

fn asked(who: &str) -> Statement {
    let statement = Some("SELECT ?".to_owned());
    Statement { asked: Asked { who: who.to_owned(), statement, ..Asked::default() }, ..Statement::default() }
}

/// Runs a statement to its end.
async fn run(observer: &Arc<Observer>, who: &str) -> Result<(), Error> {
    let (entry, mut commit) = observer.begin(Arc::new(asked(who)), Origin::default(), None)?;
    commit.done().await?;
    entry.rows(3);
    entry.ended(Outcome::Whole);
    Ok(())
}

fn lines(dir: &Path) -> Vec<Value> {
    let mut names: Vec<PathBuf> = fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path()).collect();
    names.retain(|path| path.extension().is_some());
    names.sort();
    let text: String = names.iter().map(|path| fs::read_to_string(path).unwrap()).collect();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

fn kinds(dir: &Path) -> Vec<String> {
    lines(dir).iter().map(|line| line["kind"].as_str().unwrap().to_owned()).collect()
}

fn file(dir: &Path, number: u64) -> PathBuf {
    dir.join(format!("audit-{number:08}.jsonl"))
}

fn broken(path: &Path) -> Broken {
    match verify(path) {
        Err(Unverified::Broken(broken)) => broken,
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_statement_is_recorded_when_it_starts_and_when_it_ends() {
    let dir = TempDir::new().unwrap();
    let observer = open(dir.path());
    let (entry, mut commit) = observer.begin(Arc::new(asked("ada")), Origin::default(), None).unwrap();
    commit.done().await.unwrap();
    assert_eq!(kinds(dir.path()), ["open", "begin"], "before anything leaves");
    entry.rows(3);
    entry.bytes(10);
    entry.ended(Outcome::Failed(Class::Storage));
    entry.ended(Outcome::Whole);
    drop(entry);
    observer.refused(asked("eve"), Origin::default(), Class::Denied, Duration::ZERO, None).await.unwrap();
    observer.close().await;
    assert_eq!(kinds(dir.path()), ["open", "begin", "end", "refused", "close"]);
    let lines = lines(dir.path());
    assert_eq!((&lines[2]["id"], &lines[2]["who"]), (&lines[1]["id"], &"ada".into()));
    assert_eq!(
        (&lines[2]["rows"], &lines[2]["bytes"], &lines[2]["outcome"]),
        (&3.into(), &10.into(), &"storage".into())
    );
    assert_eq!((&lines[3]["who"], &lines[3]["outcome"]), (&"eve".into(), &"denied".into()));
    let verified = verify(dir.path()).unwrap();
    assert_eq!((verified.records, verified.first, verified.last), (5, 1, 5));
    assert_eq!(lines[4]["hash"], verified.hash);
}

#[tokio::test]
async fn a_change_of_any_byte_is_found() {
    let dir = TempDir::new().unwrap();
    let observer = open(dir.path());
    run(&observer, "ada").await.unwrap();
    observer.close().await;
    let path = file(dir.path(), 1);
    let whole = fs::read(&path).unwrap();
    for at in 0..whole.len() {
        let mut changed = whole.clone();
        changed[at] ^= 1;
        fs::write(&path, &changed).unwrap();
        let line = 1 + whole[..at].iter().filter(|byte| **byte == b'\n').count() as u64;
        let found = broken(dir.path());
        // One that ends no more is one with the next.
        assert_eq!(found.line, line, "byte {at}: {found:?}");
    }
    for end in 1..whole.len() {
        fs::write(&path, &whole[..end]).unwrap();
        let cut_between_lines = whole[end - 1] == b'\n';
        assert_eq!(verify(dir.path()).is_ok(), cut_between_lines, "cut at {end}");
    }
    fs::write(&path, &whole).unwrap();
    assert!(verify(&path).is_ok());
}

#[tokio::test]
async fn full_files_are_followed_by_others_and_the_chain_goes_on() {
    let dir = TempDir::new().unwrap();
    let small = Settings { file_size: 1_000, ..settings(dir.path()) };
    let observer = Arc::new(Observer::auditing(Log::open(&small).unwrap()));
    for _ in 0..10 {
        run(&observer, "ada").await.unwrap();
    }
    observer.close().await;
    let verified = verify(dir.path()).unwrap();
    assert!(verified.files > 5 && verified.records == 22, "{verified:?}");
    assert!(verify(&file(dir.path(), 3)).unwrap().first > 1, "one file alone can be verified");

    let again = Arc::new(Observer::auditing(Log::open(&small).unwrap()));
    run(&again, "ada").await.unwrap();
    again.close().await;
    assert_eq!(verify(dir.path()).unwrap().records, 26);
    fs::remove_file(file(dir.path(), 1)).unwrap();
    assert!(verify(dir.path()).unwrap().first > 1, "old files may be kept elsewhere");
    fs::remove_file(file(dir.path(), 4)).unwrap();
    assert_eq!(broken(dir.path()).file, "audit-00000005.jsonl");
}

#[tokio::test]
async fn what_a_crash_left_unfinished_is_cut_off_and_noted() {
    for left in ["{\"seq\":9", "x", "{\"a\":1}", "\0\0\0\0"] {
        let dir = TempDir::new().unwrap();
        let observer = open(dir.path());
        run(&observer, "ada").await.unwrap();
        observer.close().await;
        let path = file(dir.path(), 1);
        let mut bytes = fs::read(&path).unwrap();
        bytes.extend_from_slice(left.as_bytes());
        fs::write(&path, &bytes).unwrap();
        assert_eq!(broken(dir.path()).line, 5);
        let observer = open(dir.path());
        run(&observer, "ada").await.unwrap();
        observer.close().await;
        assert_eq!(kinds(dir.path())[4..], ["cut", "open", "begin", "end", "close"]);
        assert_eq!(lines(dir.path())[4]["bytes"], left.len());
        assert_eq!(verify(dir.path()).unwrap().records, 9);
    }
}

#[tokio::test]
async fn a_crash_in_the_first_line_of_a_file_is_no_new_beginning() {
    let dir = TempDir::new().unwrap();
    let observer = open(dir.path());
    observer.close().await;
    for left in ["", "{\"seq\":"] {
        let before = verify(dir.path()).unwrap();
        let next = before.files as u64 + 1;
        fs::write(file(dir.path(), next), left).unwrap();
        open(dir.path()).close().await;
        let after = verify(dir.path()).unwrap();
        assert!(after.first == 1 && after.last >= before.last + 2, "{after:?}");
    }
}

#[tokio::test]
async fn what_was_changed_is_not_written_on() {
    let dir = TempDir::new().unwrap();
    let observer = open(dir.path());
    observer.close().await;
    let path = file(dir.path(), 1);
    let text = fs::read_to_string(&path).unwrap();
    fs::write(&path, text.replacen("open", "opem", 1)).unwrap();
    assert!(matches!(Log::open(&settings(dir.path())), Err(Unopened::Broken { line: 1, .. })));
}

#[tokio::test]
async fn one_process_writes_to_a_log_and_others_may_verify_it() {
    let dir = TempDir::new().unwrap();
    let observer = open(dir.path());
    assert!(matches!(Log::open(&settings(dir.path())), Err(Unopened::Locked)));
    // A line that is being written is none that was cut off.
    let mut growing = fs::OpenOptions::new().append(true).open(file(dir.path(), 1)).unwrap();
    growing.write_all(b"{\"seq\":2").unwrap();
    assert_eq!(verify(dir.path()).unwrap().records, 1);
    drop(observer);
    assert_eq!(broken(dir.path()).line, 2);
}

#[tokio::test]
async fn while_the_disk_is_full_nothing_runs_and_afterwards_all_is_told() {
    for room in [0, 5, 100] {
        let (dir, disk) = (TempDir::new().unwrap(), Full::not_yet());
        let observer = on(&disk, dir.path(), Synced::Background);
        let (running, mut commit) = observer.begin(Arc::new(asked("ada")), Origin::default(), None).unwrap();
        commit.done().await.unwrap();
        disk.takes(room);
        let error = run(&observer, "eve").await.unwrap_err();
        assert_eq!(error.class, Class::Storage);
        assert!(!error.to_string().contains(dir.path().to_str().unwrap()), "{error}");
        // What is refused is not told either.
        let refused = observer.refused(asked("eve"), Origin::default(), Class::Denied, Duration::ZERO, None).await;
        assert_eq!(refused.unwrap_err().class, Class::Storage);
        drop(running);
        assert!(observer.render().contains("\npolder_audit_writable 0\n"));
        disk.takes(AT_ALL);
        while run(&observer, "bob").await.is_err() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        observer.close().await;
        verify(dir.path()).unwrap();
        assert!(observer.render().contains("\npolder_audit_writable 1\n"));
        let lines = lines(dir.path());
        assert!(kinds(dir.path()).contains(&"resumed".to_owned()));
        let of = |who: &str, kind: &str| lines.iter().filter(|line| line["who"] == who && line["kind"] == kind).count();
        assert_eq!((of("ada", "begin"), of("ada", "end")), (1, 1), "the end is not lost");
        assert_eq!((of("eve", "begin"), of("eve", "end"), of("eve", "refused")), (0, 0, 0), "nothing of it happened");
        assert_eq!((of("bob", "begin"), of("bob", "end")), (1, 1));
    }
}

#[tokio::test]
async fn a_disk_that_does_not_keep_what_it_has_is_not_trusted() {
    let (dir, disk) = (TempDir::new().unwrap(), Full::not_yet());
    let observer = on(&disk, dir.path(), Synced::Each);
    // Its end is not recorded while the disk fails, or that would be the first to fail.
    let (running, mut commit) = observer.begin(Arc::new(asked("ada")), Origin::default(), None).unwrap();
    commit.done().await.unwrap();
    disk.sync.store(false, Ordering::SeqCst);
    assert_eq!(run(&observer, "eve").await.unwrap_err().class, Class::Storage);
    disk.sync.store(true, Ordering::SeqCst);
    while run(&observer, "bob").await.is_err() {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    drop(running);
    observer.close().await;
    let verified = verify(dir.path()).unwrap();
    assert!(verified.files > 1 && kinds(dir.path()).contains(&"unsynced".to_owned()));
    let lines = lines(dir.path());
    let end = lines.iter().find(|line| line["who"] == "eve" && line["kind"] == "end").unwrap();
    assert_eq!(end["rows"], 0, "it was recorded and did not run");
}

#[tokio::test]
async fn a_file_that_is_taken_away_or_changed_is_told_and_the_chain_shows_it() {
    type Harm = fn(&Path);
    let harms: [(&str, Harm); 3] = [
        ("taken away", |path| fs::remove_file(path).unwrap()),
        ("emptied", |path| fs::write(path, "").unwrap()),
        ("renamed", |path| fs::rename(path, path.with_extension("old")).unwrap()),
    ];
    for (how, harm) in harms {
        let dir = TempDir::new().unwrap();
        let observer = open(dir.path());
        run(&observer, "ada").await.unwrap();
        harm(&file(dir.path(), 1));
        run(&observer, "bob").await.unwrap();
        observer.close().await;
        let second = fs::read_to_string(file(dir.path(), 2)).unwrap();
        let note: Value = serde_json::from_str(second.lines().next().unwrap()).unwrap();
        assert_eq!((&note["kind"], &note["lost"]), (&"lost".into(), &"audit-00000001.jsonl".into()), "{how}");
        assert!(verify(dir.path()).map_or(true, |verified| verified.first > 1), "{how}: the first lines are missed");
    }
}

#[tokio::test]
async fn a_directory_that_is_gone_stops_statements_until_it_is_back() {
    let dir = TempDir::new().unwrap();
    let log = dir.path().join("audit");
    let observer = open(&log);
    run(&observer, "ada").await.unwrap();
    fs::rename(&log, dir.path().join("elsewhere")).unwrap();
    let error = run(&observer, "eve").await.unwrap_err();
    assert_eq!(error.class, Class::Storage);
    fs::create_dir(&log).unwrap();
    while run(&observer, "bob").await.is_err() {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    observer.close().await;
    assert!(verify(&log).unwrap().first > 1);
    assert!(verify(&dir.path().join("elsewhere")).is_ok());
}

#[tokio::test]
async fn failed_logins_become_one_record_a_second() {
    let dir = TempDir::new().unwrap();
    let observer = open(dir.path());
    (0..100).for_each(|_| observer.login_failed(Some("ada"), None));
    let begun = Instant::now();
    while !kinds(dir.path()).contains(&"logins".to_owned()) {
        assert!(begun.elapsed() < TICK * 20);
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    observer.close().await;
    let lines = lines(dir.path());
    let failed = &lines.iter().find(|line| line["kind"] == "logins").unwrap()["failed"];
    assert_eq!((&failed[0]["who"], &failed[0]["times"]), (&"ada".into(), &100.into()));
}

#[tokio::test]
async fn many_statements_at_once_are_all_recorded() {
    let dir = TempDir::new().unwrap();
    let observer = open(dir.path());
    let all = (0..1_000).map(|_| run(&observer, "ada"));
    futures::future::try_join_all(all).await.unwrap();
    observer.close().await;
    assert_eq!(verify(dir.path()).unwrap().records, 2_002);
}

#[test]
fn a_closed_log_promises_nothing() {
    let dir = TempDir::new().unwrap();
    let log = Log::open(&settings(dir.path())).unwrap();
    log.close();
    assert_eq!(log.promise("{}".to_owned(), &Beginning::default()).unwrap_err().class, Class::Storage);
}
