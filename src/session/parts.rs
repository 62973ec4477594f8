//! Queries whose rows can be read in parts, side by side.
//!
//! ```text
//! announced  plan over groups of files 0 1 2 3 4     cut in two: [0 2 4] and [1 3]
//! part 1     planned again, in the same moment and on the same snapshots -> cut alike? -> groups 1 and 3
//! ```
//!
//! A plan is cut between the groups of files that it reads where each row is made for itself: scans, filters, projections, and unions of
//! these. A part is planned apart from the others, perhaps by another process, so it says how the plan was cut, and is not
//! read from a plan that is cut otherwise. Of a restricted table nothing is cut: how many parts there are would tell of
//! rows that are hidden.

use std::sync::Arc;

use arrow::temporal_conversions::timestamp_ns_to_datetime;
use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::datasource::physical_plan::{FileGroup, FileScanConfig, FileScanConfigBuilder};
use datafusion::datasource::source::DataSourceExec;
use datafusion::error::DataFusionError;
use datafusion::execution::session_state::SessionState;
use datafusion::physical_plan::coop::CooperativeExec;
use datafusion::physical_plan::filter::FilterExec;
use datafusion::physical_plan::projection::ProjectionExec;
use datafusion::physical_plan::union::UnionExec;
use datafusion::physical_plan::{ExecutionPlan, ExecutionPlanProperties};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::Planned;
use crate::error::{Class, Error};

/// One part of the rows of a query.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Part {
    number: usize,
    of: usize,
    /// How the plan was cut.
    cut: String,
    /// What `now()` means in all parts, in nanoseconds since 1970.
    moment: i64,
}

impl Planned {
    /// The parts in which its rows can be read, at most so many; none for a query that has to be read whole.
    pub fn parts(&self, most: usize) -> Vec<Part> {
        // How many there are tells of what is kept from the principal.
        if self.guarded.is_some() {
            return Vec::new();
        }
        let (Some(cut), Some(moment)) = (cut(&self.plan), self.manner.moment) else { return Vec::new() };
        let of = self.plan.output_partitioning().partition_count().min(most);
        (0..of).map(|number| Part { number, of, cut: cut.clone(), moment }).collect()
    }

    /// That part of its rows alone.
    ///
    /// # Errors
    /// `Cancelled` when it would be cut otherwise now, so that parts could overlap.
    pub fn only(mut self, part: &Part) -> Result<Self, Error> {
        if cut(&self.plan).as_ref() != Some(&part.cut) {
            return Err(Error::new(Class::Cancelled, "the parts of the rows are no longer those that were announced")
                .help("run the statement again"));
        }
        self.plan = of_part(self.plan, part).map_err(|_| Error::new(Class::Bug, "a plan could not be cut"))?;
        Ok(self)
    }
}

impl Part {
    /// Makes `now()` mean the moment in which the parts were announced.
    pub(super) fn at_its_moment(&self, state: &mut SessionState) -> Result<(), Error> {
        let moment = timestamp_ns_to_datetime(self.moment)
            .ok_or_else(|| Error::new(Class::Bug, "the moment of a part is no time"))?;
        state.execution_props_mut().query_execution_start_time = Some(moment.and_utc());
        Ok(())
    }
}

/// How a plan reads its files, where each row is made for itself.
fn cut(plan: &Arc<dyn ExecutionPlan>) -> Option<String> {
    let mut digest = Sha256::new();
    let mut rest = vec![plan];
    while let Some(plan) = rest.pop() {
        if plan.fetch().is_some() {
            return None;
        }
        digest.update(plan.name());
        digest.update(plan.output_partitioning().partition_count().to_be_bytes());
        if let Some(scan) = plan.downcast_ref::<DataSourceExec>() {
            for group in &scan.data_source().downcast_ref::<FileScanConfig>()?.file_groups {
                digest.update(group.len().to_be_bytes());
                for file in group.iter() {
                    let path = file.object_meta.location.as_ref();
                    digest.update(path.len().to_be_bytes());
                    digest.update(path);
                    digest.update(file.range.as_ref().map_or(-1, |range| range.start).to_be_bytes());
                    digest.update(file.range.as_ref().map_or(-1, |range| range.end).to_be_bytes());
                }
            }
        } else if !(plan.is::<FilterExec>()
            || plan.is::<ProjectionExec>()
            || plan.is::<CooperativeExec>()
            || plan.is::<UnionExec>())
        {
            return None;
        }
        rest.extend(plan.children());
    }
    Some(digest.finalize().iter().map(|byte| format!("{byte:02x}")).collect())
}

/// A plan for a part of the rows. The files of other parts are taken out of it: partitions of one scan that run side by side
/// take files from each other, and one that runs alone would take them all.
fn of_part(plan: Arc<dyn ExecutionPlan>, part: &Part) -> Result<Arc<dyn ExecutionPlan>, DataFusionError> {
    let cut = plan.transform_up(|plan| {
        let scan = plan.downcast_ref::<DataSourceExec>().map(DataSourceExec::data_source);
        let Some(config) = scan.and_then(|source| source.downcast_ref::<FileScanConfig>()) else {
            return Ok(Transformed::no(plan));
        };
        let mine = config.file_groups.iter().skip(part.number).step_by(part.of.max(1)).cloned();
        let mut groups: Vec<FileGroup> = mine.collect();
        if groups.is_empty() {
            groups.push(FileGroup::default());
        }
        let config = FileScanConfigBuilder::from(config.clone()).with_file_groups(groups).build();
        Ok(Transformed::yes(DataSourceExec::from_data_source(config) as Arc<dyn ExecutionPlan>))
    })?;
    Ok(cut.data)
}
