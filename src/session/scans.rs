//! When the scans of a statement worked, for its trace: DataFusion keeps that among their figures.

use std::sync::Arc;

use datafusion::datasource::source::DataSourceExec;
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::metrics::{MetricValue, MetricsSet, Timestamp};

use crate::guard::inside;
use crate::observe::Stretch;

/// The scans of a statement that is traced. Dropping it tells of them.
pub(super) struct Scans {
    plan: Arc<dyn ExecutionPlan>,
    told: Stretch,
}

impl Scans {
    /// Those of a plan, if anybody wants to know of them.
    pub(super) fn of(plan: &Arc<dyn ExecutionPlan>) -> Option<Self> {
        let told = Stretch::of("scan");
        told.is_wanted().then(|| Self { plan: Arc::clone(plan), told })
    }

    fn tell(&self, plan: &Arc<dyn ExecutionPlan>, of: Option<&str>) {
        if plan.is::<DataSourceExec>()
            && let Some((from, to)) = plan.metrics().and_then(|figures| worked(&figures))
        {
            self.told.told(from, to, of.map(str::to_owned));
        }
        if let Some((name, inner)) = inside(plan.as_ref()) {
            self.tell(inner, Some(&name));
        }
        plan.children().into_iter().for_each(|child| self.tell(child, of));
    }
}

impl Drop for Scans {
    fn drop(&mut self) {
        self.tell(&self.plan, None);
    }
}

/// From when to when, in nanoseconds since 1970; nothing of one that was never asked.
fn worked(figures: &MetricsSet) -> Option<(i64, Option<i64>)> {
    let nanos = |time: &Timestamp| time.value().and_then(|time| time.timestamp_nanos_opt());
    let (mut from, mut to) = (None, None);
    for figure in figures.iter() {
        match figure.value() {
            MetricValue::StartTimestamp(time) => from = nanos(time).into_iter().chain(from).min(),
            MetricValue::EndTimestamp(time) => to = nanos(time).max(to),
            _ => {}
        }
    }
    Some((from?, to))
}
