//! The queries of a workload, warm or cold, with answers that must agree: the 22 of TPC-H, or the 99 of TPC-DS.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use clap::Args;
use datafusion::arrow::util::pretty::pretty_format_batches;

use crate::Result;
use crate::answer::Answer;
use crate::arms::{Arm, Ready};
use crate::measure::{memory, once};
use crate::peer::Peer;
use crate::report::Turns;
use crate::tables::Setting;

#[derive(Debug, Args)]
pub(crate) struct Options {
    /// The arms; the last is what the others are held against
    #[arg(long, value_delimiter = ',', default_value = "session,scan,plain")]
    arms: Vec<Arm>,
    /// Numbers of queries; all that are there by default
    #[arg(long, value_delimiter = ',')]
    queries: Vec<usize>,
    /// Where the queries are: benches/queries/tpch, or what prepare.py left
    #[arg(long)]
    texts: Option<PathBuf>,
    /// A new engine for every turn: no footer, no file list and no index is cached. The pages of the files stay in the
    /// system's memory.
    #[arg(long)]
    cold: bool,
    /// A command that is an arm of its own, as `peers/` has them; it becomes what the others are held against
    #[arg(long)]
    peer: Option<String>,
}

/// What is asked.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Workload {
    TpcH,
    TpcDs,
}

impl Workload {
    fn suite(self) -> &'static str {
        match self {
            Self::TpcH => "tpch",
            Self::TpcDs => "tpcds",
        }
    }

    fn title(self) -> &'static str {
        match self {
            Self::TpcH => "TPC-H",
            Self::TpcDs => "TPC-DS",
        }
    }

    fn texts(self, setting: &Setting) -> PathBuf {
        match self {
            Self::TpcH => "benches/queries/tpch".into(),
            Self::TpcDs => setting.data.join("queries"),
        }
    }
}

/// The queries of a directory, by their numbers.
fn numbered(texts: &Path) -> Result<BTreeMap<usize, PathBuf>> {
    let files = std::fs::read_dir(texts).map_err(|error| format!("{}: {error}", texts.display()))?;
    let number = |path: &PathBuf| path.file_stem()?.to_str()?.strip_prefix('q')?.parse().ok();
    let files = files.map(|file| file.map(|file| file.path())).collect::<std::io::Result<Vec<_>>>()?;
    Ok(files.into_iter().filter_map(|path| Some((number(&path)?, path))).collect())
}

/// Every query in turn, and every arm in turn at each: first once unmeasured, whose answers are compared.
pub(crate) async fn run(setting: &Setting, workload: Workload, options: &Options) -> Result<String> {
    let mut peer = match &options.peer {
        Some(command) => Some(Peer::start(command)?),
        None => None,
    };
    let arms = options.arms.iter().map(ToString::to_string).chain(peer.iter().map(|peer| peer.name.clone()));
    let mut turns = Turns::new(workload.suite(), arms.collect());
    let mut ready = Vec::new();
    for arm in &options.arms {
        ready.push((*arm, Ready::start(*arm, setting).await?));
    }
    let mut queries = numbered(&options.texts.clone().unwrap_or_else(|| workload.texts(setting)))?;
    if !options.queries.is_empty() {
        queries.retain(|number, _| options.queries.contains(number));
    }
    for (number, path) in queries {
        let name = format!("q{number:02}");
        let sql = text(&path)?;
        let ours = compare(&name, &sql, &ready).await?;
        if let Some((peer, ours)) = peer.as_mut().zip(ours) {
            let (rows, theirs) = peer.rows(&sql)?;
            if ours.rows() != rows || theirs.is_some_and(|theirs| !ours.agrees_abroad(&theirs)) {
                let mine = ours.rows();
                return Err(format!("{name}: {} ({rows} rows) and ours ({mine} rows) do not agree", peer.name).into());
            }
        }
        for round in 0..setting.rounds {
            for at in 0..ready.len() {
                // Whoever follows the same arm each time would find the caches of the processor in the same state.
                let Some((arm, warm)) = ready.get((at + round) % ready.len()) else { continue };
                let cost = if options.cold {
                    let (done, cost) = once(async { Ready::start(*arm, setting).await?.ask(&sql).await }).await;
                    done.map(|_| cost)?
                } else {
                    let (done, cost) = once(warm.ask(&sql)).await;
                    done.map(|_| cost)?
                };
                turns.add(&name, &arm.to_string(), cost);
            }
            if let Some(peer) = &mut peer {
                let cost = peer.ask(&sql)?;
                turns.add(&name, &peer.name, cost);
            }
        }
    }
    let state = if options.cold { "cold" } else { "warm" };
    let table = turns.table(&format!("{}, {state}, {} rounds", workload.title(), setting.rounds));
    Ok(format!(
        "{table}\nThis process held {:.0} MiB at most, all arms together.\n",
        memory().1 as f64 / f64::from(1 << 20)
    ))
}

/// Asks every arm, and gives what they agree on.
async fn compare(name: &str, sql: &str, ready: &[(Arm, Ready)]) -> Result<Option<Answer>> {
    let mut first: Option<(Arm, Answer)> = None;
    for (arm, ready) in ready {
        let batches = ready.ask(sql).await.map_err(|error| format!("{name} by {arm}: {error}"))?;
        let answer = Answer::of(&batches)?;
        match &first {
            None => first = Some((*arm, answer)),
            Some((other, known)) if !answer.agrees(known) => {
                let (rows, others) = (answer.rows(), known.rows());
                return Err(format!("{name}: {arm} ({rows} rows) and {other} ({others} rows) do not agree").into());
            }
            Some(_) => {}
        }
    }
    Ok(first.map(|(_, answer)| answer))
}

fn text(path: &Path) -> Result<String> {
    Ok(std::fs::read_to_string(path).map_err(|error| format!("{}: {error}", path.display()))?)
}

/// The plan of one query, and with `analyze` what it did.
pub(crate) async fn explain(setting: &Setting, arm: Arm, query: &Path, analyze: bool) -> Result<String> {
    let sql = text(query)?;
    let ready = Ready::start(arm, setting).await?;
    if analyze {
        ready.ask(&sql).await?;
    }
    let explain = if analyze { "EXPLAIN ANALYZE" } else { "EXPLAIN" };
    Ok(pretty_format_batches(&ready.run(&format!("{explain} {}", ready.text(&sql)?)).await?)?.to_string())
}
