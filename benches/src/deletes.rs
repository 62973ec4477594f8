//! What deletes cost: the same query over the clean table and over its variants, by turns.

use polder::lake::Lake;

use crate::Result;
use crate::arms::{bare, register};
use crate::make::VARIANTS;
use crate::measure::once;
use crate::report::Turns;
use crate::tables::{Setting, open, pin};

/// What is asked: everything that a scan can cost, from a narrow one to a wide one.
const CASES: [(&str, &str); 3] = [
    ("one column", "SELECT sum(l_orderkey) FROM tpch.{table}"),
    ("narrow", "SELECT sum(l_quantity), max(l_shipdate) FROM tpch.{table} WHERE l_discount > 0.03"),
    (
        "wide",
        "SELECT max(l_orderkey), max(l_partkey), sum(l_extendedprice), max(l_tax), max(l_returnflag), max(l_shipdate), \
         max(l_shipinstruct), max(l_comment) FROM tpch.{table}",
    ),
];

pub(crate) async fn run(setting: &Setting) -> Result<String> {
    let lake = Lake::default();
    let context = bare(setting, Some(&lake))?;
    register(&context, "tpch", "clean", pin(open(setting, &lake, "pinned", "tpch.lineitem").await?).await?)?;
    let mut arms = Vec::new();
    let mut refused = String::new();
    for variant in VARIANTS {
        match pin(open(setting, &lake, "variants", &format!("tpch.{variant}")).await?).await {
            Ok(scan) => {
                register(&context, "tpch", variant, scan)?;
                arms.push(variant.to_owned());
            }
            Err(error) => refused += &format!("\n{variant}: {error}\n"),
        }
    }
    arms.push("clean".to_owned());
    let mut turns = Turns::new("deletes", arms.clone());
    for (case, query) in CASES {
        for round in 0..=setting.rounds {
            for arm in &arms {
                let sql = query.replace("{table}", arm);
                let (done, cost) = once(async { context.sql(&sql).await?.collect().await }).await;
                done.map_err(|error| format!("{case} over {arm}: {error}"))?;
                // The first round only warms.
                if round > 0 {
                    turns.add(case, arm, cost);
                }
            }
        }
    }
    Ok(turns.table(&format!("lineitem with deletes, {} rounds", setting.rounds)) + &refused)
}
