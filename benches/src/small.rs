//! Small statements in process: what the way to the first row costs when there is hardly a row to read.
//!
//! ```text
//! ad hoc        SELECT … FROM nation WHERE n_nationkey = 7 AND n_regionkey < 1042     another text each time
//! again         the same text each time
//! prepared      SELECT … WHERE n_nationkey = $1                                       another value each time
//! joined        a join over five products, planned and not run                        another text each time
//! joined-again  the same text each time
//! ```

use std::fmt::Write;
use std::sync::Arc;
use std::time::Instant;

use clap::ValueEnum;
use datafusion::arrow::array::{Int64Array, RecordBatch};
use futures::TryStreamExt;
use polder::session::{Engine, Request, Values};
use polder_catalog::principal::Principal;
use serde_json::json;

use crate::Result;
use crate::measure::{median, process_seconds};
use crate::tables::Setting;
use crate::wire::{engine, prepare};

/// Statements of a turn.
const STATEMENTS: usize = 400;

/// What is wanted of a core: statements a second, and milliseconds of a plan.
const WANTED: &str =
    "Wanted of each core: 500 ad hoc statements a second, 3000 prepared ones, and a plan over five tables in 5 ms.";

#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    /// The statements; all of them by default
    #[arg(long, value_delimiter = ',')]
    cases: Vec<Case>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Case {
    /// A text that was never asked before
    AdHoc,
    /// The same text each time
    Again,
    /// The same text with another value each time
    Prepared,
    /// A join of five tables that was never asked before, planned and not run
    Joined,
    /// The same join each time, planned and not run
    JoinedAgain,
}

impl Case {
    fn name(self) -> &'static str {
        match self {
            Self::AdHoc => "ad hoc",
            Self::Again => "again",
            Self::Prepared => "prepared",
            Self::Joined => "five tables, planned",
            Self::JoinedAgain => "five tables again, planned",
        }
    }

    /// The statement of this number, of all that a run asks.
    fn request(self, number: usize) -> Result<Request> {
        let nation = "SELECT n_name, n_regionkey FROM tpch.nation WHERE n_nationkey =";
        Ok(match self {
            Self::AdHoc => Request::new(format!("{nation} 7 AND n_regionkey < {}", 1_000 + number)),
            Self::Again => Request::new(format!("{nation} 7")),
            Self::Prepared => {
                let key = Arc::new(Int64Array::from(vec![i64::try_from(number % 25)?]));
                let values = Values::Row(RecordBatch::try_from_iter([("1", key as _)])?, 0);
                Request { values, ..Request::new(format!("{nation} $1")) }
            }
            Self::Joined | Self::JoinedAgain => Request::new(format!(
                "SELECT n_name, sum(l_extendedprice * (1 - l_discount)) AS revenue \
                 FROM tpch.customer, tpch.orders, tpch.lineitem, tpch.nation, tpch.region \
                 WHERE c_custkey = o_custkey AND l_orderkey = o_orderkey AND c_nationkey = n_nationkey \
                 AND n_regionkey = r_regionkey AND r_name = 'ASIA' AND o_totalprice > {} \
                 GROUP BY n_name ORDER BY revenue DESC",
                if self == Self::Joined { number } else { 0 }
            )),
        })
    }
}

pub(crate) async fn run(setting: &Setting, options: &Options) -> Result<String> {
    prepare(setting).await?;
    let (engine, principal) = engine(setting)?;
    let cases = if options.cases.is_empty() { Case::value_variants() } else { &options.cases };
    let mut turns: Vec<(Case, Vec<[f64; 2]>)> = cases.iter().map(|case| (*case, Vec::new())).collect();
    let mut asked = 0;
    // The first turn of each is not measured.
    for round in 0..=setting.rounds {
        for (case, turns) in &mut turns {
            let [took, cpu] = turn(&engine, &principal, *case, asked).await?;
            asked += STATEMENTS;
            if round > 0 {
                println!("{}", json!({ "suite": "small", "case": case.name(), "ms": took, "cpu": cpu }));
                turns.push([took, cpu]);
            }
        }
    }
    let mut text = String::from(
        "## Small statements, in process\n\n| statement | ms, at the median | CPU, ms | a second and core |\n|---|---|---|---|\n",
    );
    for (case, turns) in turns {
        let [took, cpu] = [0, 1].map(|part: usize| median(turns.iter().filter_map(|turn| turn.get(part).copied())));
        writeln!(text, "| {} | {took:.2} | {cpu:.2} | {:.0} |", case.name(), 1e3 / cpu)?;
    }
    writeln!(text, "\n{WANTED}")?;
    Ok(text)
}

/// Milliseconds of the median statement, and of CPU of each.
async fn turn(engine: &Arc<Engine>, principal: &Principal, case: Case, from: usize) -> Result<[f64; 2]> {
    let (before, mut took) = (process_seconds(), Vec::new());
    for number in from..from + STATEMENTS {
        let begin = Instant::now();
        let planned = engine.plan_request(principal, case.request(number)?).await?;
        if !matches!(case, Case::Joined | Case::JoinedAgain) {
            let rows = planned.run()?.try_collect::<Vec<_>>().await?;
            if rows.iter().map(RecordBatch::num_rows).sum::<usize>() != 1 {
                return Err("there is not one row".into());
            }
        }
        took.push(1e3 * begin.elapsed().as_secs_f64());
    }
    Ok([median(took), 1e3 * (process_seconds() - before) / STATEMENTS as f64])
}
