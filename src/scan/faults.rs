//! Faults of decoding a file get the names of table and file.
//!
//! ```text
//! bytes that are not what they should be  ->  error of Parquet, or panic  ->  File { table, file }
//! columns that are not the table's, NULL where none may be                ->  Misfit { table, file, column }
//! the query's own expressions, memory, cancellation                       ->  as they are
//! ```
//!
//! A decoder that panics on damaged bytes fails one file's query, and not the task that other work runs in. Nothing is
//! looked at or copied here but what is an error.

use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use datafusion::arrow::array::RecordBatch;
use datafusion::arrow::error::ArrowError;
use datafusion::common::{DataFusionError, Result};
use datafusion::datasource::listing::PartitionedFile;
use datafusion_datasource::morsel::{Morsel, MorselPlan, MorselPlanner, Morselizer};
use futures::stream::BoxStream;
use futures::{FutureExt, StreamExt};
use object_store::path::Path;
use parquet::errors::ParquetError;

use super::adapter::{Misfit, fail};
use super::error::ScanError;
use super::{cause, found_in};
use crate::error::Error;

/// How DataFusion begins what it says of a filter of the query that failed while Parquet's reader called it.
const FILTER: &str = "Error evaluating filter predicate";

/// Opens the files of a table.
#[derive(Debug)]
pub(super) struct Named {
    pub(super) inner: Box<dyn Morselizer>,
    pub(super) table: Arc<str>,
}

impl Morselizer for Named {
    fn plan_file(&self, file: PartitionedFile) -> Result<Box<dyn MorselPlanner>> {
        let place = Place { table: Arc::clone(&self.table), file: file.object_meta.location.clone() };
        let planner = place.run(|| self.inner.plan_file(file))?;
        Ok(Box::new(Planner { place, inner: planner }))
    }
}

/// A file of a table.
#[derive(Debug, Clone)]
struct Place {
    table: Arc<str>,
    file: Path,
}

impl Place {
    fn run<T>(&self, work: impl FnOnce() -> Result<T>) -> Result<T> {
        self.settle(catch_unwind(AssertUnwindSafe(work)))
    }

    /// The same, with the names of the file where it failed for what is in the file.
    fn settle<T>(&self, caught: std::thread::Result<Result<T>>) -> Result<T> {
        match caught {
            Ok(Ok(value)) => Ok(value),
            Ok(Err(error)) => Err(self.named(error)),
            Err(_) => Err(self.failed(panicked())),
        }
    }

    fn failed(&self, source: ParquetError) -> DataFusionError {
        fail(ScanError::File { table: self.table.to_string(), file: self.file.to_string(), source })
    }

    fn named(&self, error: DataFusionError) -> DataFusionError {
        if cause(&error).is_some() {
            return error;
        }
        if let Some(unfit) = unfit(&error, &self.table, &self.file) {
            return DataFusionError::External(Box::new(unfit));
        }
        match error {
            DataFusionError::ParquetError(source) if is_decoding(&source) => self.failed(*source),
            DataFusionError::ArrowError(source, _) if matches!(*source, ArrowError::ParquetError(_)) => {
                self.failed((*source).into())
            }
            other => other,
        }
    }
}

/// The error for a file whose columns are not the table's.
pub(super) fn unfit(error: &DataFusionError, table: &str, file: &Path) -> Option<Error> {
    let Misfit { column, what } = found_in(error).cloned().or_else(|| null(error))?;
    Some(ScanError::Misfit { table: table.to_owned(), file: file.to_string(), column, what }.into())
}

/// What arrow says of NULL in a column that is declared to have none.
fn null(error: &DataFusionError) -> Option<Misfit> {
    let ArrowError::InvalidArgumentError(text) = found_in(error)? else { return None };
    let column = text.strip_prefix("Column '")?;
    let column = column.strip_suffix("' is declared as non-nullable but contains null values")?;
    Some(Misfit { column: column.to_owned(), what: "it is required and NULL in a row".to_owned() })
}

/// What is said of a decoder that panicked.
pub(super) fn panicked() -> ParquetError {
    ParquetError::General("its decoder panicked".into())
}

/// Whether an error is about the bytes of a file. Parquet's reader gives those of the filters that it calls as its own.
fn is_decoding(error: &ParquetError) -> bool {
    let ParquetError::External(inner) = error else { return true };
    match inner.downcast_ref::<ArrowError>() {
        Some(ArrowError::ComputeError(text)) => !text.starts_with(FILTER),
        Some(ArrowError::ExternalError(_)) => false,
        Some(_) => true,
        None => !inner.is::<DataFusionError>(),
    }
}

#[derive(Debug)]
struct Planner {
    place: Place,
    inner: Box<dyn MorselPlanner>,
}

impl MorselPlanner for Planner {
    fn plan(self: Box<Self>) -> Result<Option<MorselPlan>> {
        let Self { place, inner } = *self;
        let Some(mut plan) = place.run(|| inner.plan())? else { return Ok(None) };
        let morsel = |inner| Box::new(Decoding { place: place.clone(), inner }) as Box<dyn Morsel>;
        let planner = |inner| Box::new(Self { place: place.clone(), inner }) as Box<dyn MorselPlanner>;
        let morsels = plan.take_morsels().into_iter().map(morsel).collect();
        let planners = plan.take_ready_planners().into_iter().map(planner).collect();
        let pending = plan.take_pending_planner();
        let mut plan = plan.with_morsels(morsels).with_planners(planners);
        if let Some(pending) = pending {
            plan.set_pending_planner(async move {
                let inner = place.settle(AssertUnwindSafe(pending).catch_unwind().await)?;
                Ok(Box::new(Self { place, inner }) as Box<dyn MorselPlanner>)
            });
        }
        Ok(Some(plan))
    }
}

struct Decoding {
    place: Place,
    inner: Box<dyn Morsel>,
}

impl fmt::Debug for Decoding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Decoding").field(&self.inner).finish()
    }
}

impl Morsel for Decoding {
    fn into_stream(self: Box<Self>) -> BoxStream<'static, Result<RecordBatch>> {
        let Self { place, inner } = *self;
        AssertUnwindSafe(inner.into_stream()).catch_unwind().map(move |batch| place.settle(batch)).boxed()
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::panic, reason = "tests")]
mod tests {
    use datafusion::arrow::datatypes::Schema;
    use futures::stream;

    use super::*;
    use crate::error::Class;

    type Step = fn() -> Result<RecordBatch>;

    #[derive(Debug)]
    struct Scripted(Vec<Step>);

    impl Morsel for Scripted {
        fn into_stream(self: Box<Self>) -> BoxStream<'static, Result<RecordBatch>> {
            stream::iter(self.0).map(|step| step()).boxed()
        }
    }

    fn place() -> Place {
        Place { table: "`ns.t` in domain `shop`".into(), file: Path::from("data/f.parquet") }
    }

    async fn all(steps: Vec<Step>) -> Vec<Result<RecordBatch>> {
        Box::new(Decoding { place: place(), inner: Box::new(Scripted(steps)) }).into_stream().collect().await
    }

    fn batch() -> Result<RecordBatch> {
        Ok(RecordBatch::new_empty(Arc::new(Schema::empty())))
    }

    #[tokio::test]
    async fn a_panic_is_an_error_of_its_file_and_the_end_of_it() {
        let got = all(vec![batch, || panic!("of a decoder"), batch]).await;
        assert!(matches!(got.as_slice(), [Ok(_), Err(_)]));
        let error = cause(got.get(1).unwrap().as_ref().unwrap_err()).unwrap().clone();
        assert_eq!(error.class, Class::Storage);
        assert_eq!(error.message, "file `data/f.parquet` of table `ns.t` in domain `shop` cannot be read");
    }

    #[test]
    fn what_is_not_about_the_bytes_passes_as_it_is() {
        let filter = || ArrowError::ComputeError(format!("{FILTER}: cannot cast"));
        for error in [
            DataFusionError::ResourcesExhausted("pool".into()),
            DataFusionError::Execution("of an expression".into()),
            ArrowError::CastError("of an expression".into()).into(),
            ParquetError::from(filter()).into(),
            DataFusionError::External(Box::new(Error::new(Class::Cancelled, "the statement was cancelled"))),
            ParquetError::External(Box::new(DataFusionError::ResourcesExhausted("pool".into()))).into(),
        ] {
            let before = error.to_string();
            assert_eq!(place().named(error).to_string(), before);
        }
        for error in [
            DataFusionError::from(ParquetError::EOF("short".into())),
            ParquetError::from(ArrowError::ParquetError("of a page".into())).into(),
            ArrowError::ParquetError("of a page".into()).into(),
        ] {
            assert!(cause(&place().named(error)).unwrap().message.contains("`data/f.parquet`"));
        }
    }
}
