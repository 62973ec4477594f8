//! Where statements go: an engine in this process, or a server. Both answer alike.

use std::sync::Arc;

use datafusion::arrow::array::{Array, AsArray, RecordBatch};
use datafusion::arrow::compute::cast;
use datafusion::arrow::datatypes::{DataType, SchemaRef};
use futures::StreamExt;
use futures::stream::BoxStream;
use polder_catalog::principal::Principal;

use crate::error::Error;
use crate::flight::client::Remote;
use crate::session::{Engine, Pins, Session, declared};

/// Where statements go.
pub enum Target {
    /// To an engine in this process.
    Embedded { engine: Arc<Engine>, session: Session },
    /// To a server.
    Remote(Box<Remote>),
}

/// A running statement. Dropping its rows cancels it.
pub struct Answer {
    pub schema: SchemaRef,
    pub rows: BoxStream<'static, Result<RecordBatch, Error>>,
    pub notices: Vec<String>,
}

impl Target {
    /// An engine in this process, asked as `principal`.
    pub fn embedded(engine: Arc<Engine>, principal: Principal) -> Self {
        let session = Session::new(Arc::clone(&engine), principal);
        Self::Embedded { engine, session }
    }

    /// Starts a statement.
    ///
    /// # Errors
    /// Every class that a statement can fail with before its first row.
    pub async fn ask(&mut self, sql: &str) -> Result<Answer, Error> {
        match self {
            Self::Embedded { session, .. } => {
                let planned = session.plan(sql, &Pins::new()).await?;
                let notices = planned.notices().to_vec();
                let rows = planned.run()?;
                Ok(Answer { schema: rows.schema(), rows: rows.boxed(), notices })
            }
            Self::Remote(remote) => {
                let (schema, rows, notices) = match declared(sql) {
                    // The purpose goes with each call from here, so that no session is needed.
                    Some(purpose) => remote.declare(purpose.as_deref()).await?,
                    None => remote.query(sql).await?,
                };
                Ok(Answer { schema, rows, notices })
            }
        }
    }

    /// The rows of a statement as texts, for the shell's own questions.
    ///
    /// # Errors
    /// Those of the statement.
    pub async fn texts(&mut self, sql: &str) -> Result<Vec<Vec<Option<String>>>, Error> {
        let mut answer = self.ask(sql).await?;
        let mut rows = Vec::new();
        while let Some(batch) = answer.rows.next().await.transpose()? {
            rows.extend(texts(&batch));
        }
        Ok(rows)
    }

    /// The same place asked by the same user for the same purpose, beside this one.
    pub fn beside(&self) -> Self {
        match self {
            Self::Embedded { engine, session } => Self::embedded(Arc::clone(engine), session.principal().clone()),
            Self::Remote(remote) => Self::Remote(remote.clone()),
        }
    }

    /// The purpose that the next statements are for.
    pub fn purpose(&self) -> Option<&str> {
        match self {
            Self::Embedded { session, .. } => session.principal().purpose.as_deref(),
            Self::Remote(remote) => remote.purpose(),
        }
    }

    /// Where that is and who asks, for people.
    pub fn title(&self) -> String {
        match self {
            Self::Embedded { engine, session } => format!("{} as {}", engine.mesh().name(), session.principal().id),
            Self::Remote(remote) => remote.to_string(),
        }
    }
}

fn texts(batch: &RecordBatch) -> Vec<Vec<Option<String>>> {
    let columns: Vec<_> = batch.columns().iter().map(|column| cast(column, &DataType::Utf8).ok()).collect();
    let text = |column: &Option<Arc<dyn Array>>, row: usize| {
        let texts = column.as_ref()?.as_string_opt::<i32>()?;
        texts.is_valid(row).then(|| texts.value(row).to_owned())
    };
    (0..batch.num_rows()).map(|row| columns.iter().map(|column| text(column, row)).collect()).collect()
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use datafusion::arrow::array::{ArrayRef, Int64Array, StringArray};

    use super::*;

    #[test]
    fn rows_are_read_as_texts() {
        let names: ArrayRef = Arc::new(StringArray::from(vec![Some("x"), None]));
        let counts: ArrayRef = Arc::new(Int64Array::from(vec![1, 2]));
        let batch = RecordBatch::try_from_iter_with_nullable([("a", names, true), ("b", counts, true)]).unwrap();
        assert_eq!(texts(&batch), [[Some("x".to_owned()), Some("1".to_owned())], [None, Some("2".to_owned())]]);
    }
}
