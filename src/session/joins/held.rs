//! The side of a join that is small beside the other one is held whole, and the other stays where it is read.
//!
//! ```text
//! partitioned     both sides are handed around by their keys, so that every row of both is copied once
//! held whole      one thread gathers the left side, and no row of the right one is handed around
//! ```
//!
//! DataFusion looks at the left side alone: up to 128 Ki rows of it are held whole, whatever is on the right. In q09 of TPC-H
//! 6 million rows of 70 bytes went around for 43 thousand, and the filter by those keys was of no use where they are read.
//!
//! That is so where the other side comes as it is read; what is grouped by its key was handed around already.
//!
//! While one thread gathers the left side the others wait, so that it is held where it has no more rows than each of them has on
//! the right. At scale 1, over two threads, that took 8 % of the processor time of eleven queries of TPC-H with joins (q09 and q05 16 %,
//! q03 14 %); where the right side must be four times as large as that, 1.5 %.

use std::sync::Arc;

use datafusion::common::Result;
use datafusion::common::config::ConfigOptions;
use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::physical_optimizer::PhysicalOptimizerRule;
use datafusion::physical_plan::joins::{HashJoinExec, PartitionMode};
use datafusion::physical_plan::{Distribution, ExecutionPlan};

/// The most rows that one thread gathers.
const MOST: usize = 1 << 20;

/// The pass, which comes when sides were chosen.
#[derive(Debug)]
pub(in crate::session) struct Held;

impl PhysicalOptimizerRule for Held {
    fn optimize(&self, plan: Arc<dyn ExecutionPlan>, config: &ConfigOptions) -> Result<Arc<dyn ExecutionPlan>> {
        let threads = config.execution.target_partitions;
        let rows = |side: &Arc<dyn ExecutionPlan>| -> Result<Option<usize>> {
            Ok(side.partition_statistics(None)?.num_rows.get_value().copied())
        };
        let held = plan.transform_up(|node| {
            let join = node.downcast_ref::<HashJoinExec>();
            let Some(join) = join.filter(|join| *join.partition_mode() == PartitionMode::Partitioned) else {
                return Ok(Transformed::no(node));
            };
            let (Some(left), Some(right)) = (rows(join.left())?, rows(join.right())?) else {
                return Ok(Transformed::no(node));
            };
            if left > MOST || left.saturating_mul(threads) > right || !stays(join.right()) {
                return Ok(Transformed::no(node));
            }
            let whole = join.builder().with_partition_mode(PartitionMode::CollectLeft).build()?;
            Ok(Transformed::yes(Arc::new(whole) as _))
        })?;
        Ok(held.data)
    }

    fn name(&self) -> &str {
        "hold_small_sides"
    }

    fn schema_check(&self) -> bool {
        true
    }
}

/// Whether rows come as they are read. Where something below has them handed around, nothing is spared; and a join above that
/// they already suit would ask for some of the partitions alone, while a held side waits for all to ask
/// (apache/datafusion#21625).
fn stays(side: &Arc<dyn ExecutionPlan>) -> bool {
    if let Some(join) = side.downcast_ref::<HashJoinExec>() {
        return *join.partition_mode() == PartitionMode::CollectLeft && stays(join.right());
    }
    match side.children().as_slice() {
        [] => true,
        [input] => {
            let asked = side.required_input_distribution();
            asked.iter().all(|of| matches!(of, Distribution::UnspecifiedDistribution)) && stays(input)
        }
        _ => false,
    }
}
