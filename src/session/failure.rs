//! What DataFusion says of a failure becomes an error of ours: the right class, and no more words than the principal
//! may read.
//!
//! An error of execution can quote a value (`cannot cast string 'C00000017'`), and one of a file its path, which can
//! hold the value of a partition. So where anything in the query is guarded an error has its class and the names of the
//! products, and no text of another's, in answers and in logs alike.

use std::collections::BTreeSet;
use std::time::Duration;

use datafusion::arrow::error::ArrowError;
use datafusion::common::SchemaError;
use datafusion::error::DataFusionError;
use polder_catalog::document::nearest;

use super::life::Timeout;
use super::parameters::by_value;
use crate::error::{Class, Error};
use crate::lake;
use crate::resolve::Table;
use crate::scan::cause;

/// The products that a statement reads, where anything of them is kept from the principal.
#[derive(Debug, Clone)]
pub(super) struct Guarded(pub(super) String);

impl Guarded {
    /// What is guarded in a statement on these tables, if anything is.
    pub(super) fn of<'a>(tables: impl IntoIterator<Item = &'a Table, IntoIter: Clone>) -> Option<Self> {
        let tables = tables.into_iter();
        let told = tables.clone().filter(|table| !table.rights.is_kept());
        let names: BTreeSet<String> = told.map(|table| format!("`{}`", table.name)).collect();
        let names: Vec<String> = names.into_iter().collect();
        let mut restricted = tables.map(|table| table.restricted);
        restricted.any(|restricted| restricted).then(|| Self(names.join(", ")))
    }

    /// An error of a scan or a lake without its words.
    fn wordless(&self, class: Class) -> Error {
        let Self(names) = self;
        match class {
            Class::Storage => Error::new(class, format!("what is stored of {names} could not be read")),
            Class::Drift => Error::new(class, format!("what is stored of {names} does not fit its contract")),
            Class::Limit => memory(),
            Class::Cancelled => Error::new(class, "the statement was cancelled"),
            class => Error::new(class, format!("the statement on {names} failed")),
        }
    }
}

/// What a statement is told that the memory for all of them is not enough for.
pub(super) const MEMORY: &str = "the statement needs more memory than it may have";

/// The same of what it spills.
pub(super) const SPILLED: &str = "the statement needs more space to spill to than it may have";

/// The error for a statement that ran out of time.
pub(super) fn timeout(timeout: &Timeout) -> Error {
    let whose = match &timeout.group {
        Some(group) => format!(", which is what one of the resource group `{group}` may take"),
        None => String::new(),
    };
    Error::new(Class::Limit, format!("the statement took longer than {} s{whose}", timeout.after.as_secs_f64()))
        .help("ask for less at once, or ask the platform team for a longer timeout")
}

/// The error for a statement whose rows nobody took.
pub(super) fn stalled(after: Duration) -> Error {
    Error::new(
        Class::Limit,
        format!("the rows were not read for {} s, and the statement was ended", after.as_secs_f64()),
    )
    .help("read rows as they come, and ask for fewer when you want to look at them slowly")
}

/// The error for a statement that the mesh of now would not allow as it was planned.
pub(super) fn revoked() -> Error {
    Error::new(Class::Cancelled, "the policies changed while the statement ran, and it is no longer allowed as it was")
        .help("run it again, for what you may see now")
}

/// The error for a statement that its principal has ended.
pub(super) fn stopped() -> Error {
    Error::new(Class::Cancelled, "the statement was cancelled")
}

/// An error of a statement with values in the places of its parameters, which its words could show. What a store or a
/// limit says has none.
pub(super) fn valued(error: Error) -> Error {
    match error.class {
        Class::BadRequest | Class::Bug => Error { class: error.class, ..by_value() },
        _ => error,
    }
}

/// The error for a task of the engine that did not finish by itself.
pub(super) fn ended(error: &tokio::task::JoinError) -> Error {
    if error.is_cancelled() {
        return stopped();
    }
    tracing::error!("a query panicked");
    Error::new(Class::Bug, "the engine failed on this statement").help("please report it to the platform team")
}

/// An error of planning a statement that names `tables`.
pub(super) fn planning<'a>(
    error: &DataFusionError,
    tables: impl IntoIterator<Item = &'a Table, IntoIter: Clone>,
) -> Error {
    let mut tables = tables.into_iter();
    let guarded = Guarded::of(tables.clone());
    let root = error.find_root();
    if let DataFusionError::SchemaError(schema, _) = root
        && let SchemaError::FieldNotFound { field, valid_fields } = schema.as_ref()
    {
        if let Some(denied) = tables.find_map(|table| table.denial(&field.name)) {
            return denied;
        }
        let error = Error::new(Class::UnknownName, format!("there is no column `{}`", field.flat_name()));
        return match nearest(&field.name, valid_fields.iter().map(|valid| valid.name.as_str())) {
            Some(near) => error.help(format!("did you mean `{near}`?")),
            None => error,
        };
    }
    if let Some(denied) = missing_field(root).and_then(|field| tables.find_map(|table| table.denied_field(field))) {
        return denied;
    }
    translated(root, guarded.as_ref())
}

/// The field that a statement names and no column has inside of it. DataFusion tells it in words alone.
fn missing_field(error: &DataFusionError) -> Option<&str> {
    let DataFusionError::Plan(text) = error else { return None };
    text.strip_prefix("Field ")?.split_once(" not found in struct").map(|(field, _)| field)
}

/// The error for a pattern that does not compile. DataFusion and Arrow tell it in words alone, of each kind of error, and
/// quote the pattern, which can come from a row.
fn pattern(error: &DataFusionError) -> Option<Error> {
    const WHERE: &str = "Regular expression did not compile: ";
    let text = match error {
        DataFusionError::External(cause) => cause.to_string(),
        DataFusionError::ArrowError(..) | DataFusionError::Internal(_) => error.to_string(),
        _ => return None,
    };
    let large = || Error::new(Class::Limit, "a regular expression of the statement needs more memory than it may have");
    let wrong = || Error::new(Class::BadRequest, "a regular expression of the statement cannot be read");
    match text.split_once(WHERE) {
        Some((_, told)) if told.starts_with("CompiledTooBig(") => Some(large()),
        Some((_, told)) if told.starts_with("Syntax(") => Some(wrong()),
        // One of DataFusion's own kinds has the pattern alone.
        Some(_) => Some(wrong().help("it is no regular expression, or too large a one")),
        None if text.starts_with("Compiled regex exceeds size limit") => Some(large()),
        None if text.starts_with("regex parse error") => Some(wrong()),
        None => None,
    }
}

/// The function whose arguments fit none of its signatures, which DataFusion tells as a defect of its own.
fn unfitting(text: &str) -> Option<&str> {
    let (_, named) = text.split_once("Internal error: Function '")?;
    named.split_once("' failed to match any signature").map(|(function, _)| function)
}

/// An error of a running query, of which `guarded` is kept from the principal.
pub(super) fn running(error: &DataFusionError, guarded: Option<&Guarded>) -> Error {
    translated(error.find_root(), guarded)
}

fn translated(root: &DataFusionError, guarded: Option<&Guarded>) -> Error {
    if let DataFusionError::ArrowError(error, _) = root
        && let ArrowError::IoError(_, cause) = error.as_ref()
    {
        return unspilled(cause);
    }
    if let Some(grown) = super::growth::grown(root) {
        return grown;
    }
    if let Some(pattern) = pattern(root) {
        return pattern;
    }
    // What a scan or a lake found wrong keeps its own class and words.
    if let Some(error) = cause(root) {
        return match guarded {
            Some(guarded) => guarded.wordless(error.class),
            None => error.clone(),
        };
    }
    match root {
        DataFusionError::Plan(text) | DataFusionError::NotImplemented(text) => match unfitting(text) {
            Some(function) => {
                Error::new(Class::BadRequest, format!("`{function}` is not defined for arguments of these types"))
                    .help("cast them, as in `CAST(x AS VARCHAR)`")
            }
            None => Error::new(Class::BadRequest, sentence(text)),
        },
        DataFusionError::SchemaError(error, _) => Error::new(Class::BadRequest, sentence(&error.to_string())),
        DataFusionError::SQL(error, _) => Error::new(Class::BadRequest, sentence(&error.to_string())),
        DataFusionError::Configuration(text) => Error::new(Class::BadRequest, sentence(text)),
        DataFusionError::Diagnostic(_, inner) | DataFusionError::Context(_, inner) => translated(inner, guarded),
        DataFusionError::Shared(inner) => translated(inner, guarded),
        DataFusionError::Collection(errors) => match errors.first() {
            Some(first) => translated(first, guarded),
            None => bug(root),
        },
        DataFusionError::ResourcesExhausted(text) if text.starts_with("The used disk space") => {
            Error::new(Class::Limit, SPILLED).help("ask for fewer rows or columns, or group on fewer values")
        }
        DataFusionError::ResourcesExhausted(text) => {
            tracing::warn!(operator = operator(text), "a statement was out of memory");
            memory()
        }
        // Data files are read through stores, so that a plain error of a disk is one of spilling.
        DataFusionError::IoError(cause) => unspilled(cause),
        DataFusionError::ArrowError(..) | DataFusionError::Execution(_) => {
            let error = Error::new(Class::BadRequest, "an expression of the statement failed on a value");
            if guarded.is_some() {
                error.help("which value is not told, since something of what the statement reads is kept from you")
            } else {
                Error::new(Class::BadRequest, sentence(&root.strip_backtrace()))
            }
        }
        DataFusionError::ObjectStore(_) | DataFusionError::ParquetError(_) => {
            if let Some(guarded) = guarded {
                tracing::warn!(products = %guarded.0, cause = lake::cause(root), "a data file could not be read");
                return guarded.wordless(Class::Storage);
            }
            tracing::warn!(cause = lake::cause(root), "a data file could not be read");
            Error::new(Class::Storage, "a data file could not be read")
        }
        _ => bug(root),
    }
}

fn unspilled(cause: &std::io::Error) -> Error {
    tracing::warn!(kind = %cause.kind(), "the spill directory cannot be used");
    Error::new(Class::Storage, "the statement had to spill to a disk that cannot be used")
        .help("try again in a moment, or ask for fewer rows or columns")
}

/// The kind of the operator that was out of memory. What stands behind it quotes the expressions of the statement.
fn operator(text: &str) -> Option<&str> {
    let named = text.strip_prefix("Additional allocation failed for ")?;
    named.split(|c: char| !c.is_ascii_alphanumeric()).next()
}

fn memory() -> Error {
    Error::new(Class::Limit, MEMORY).help("ask for fewer rows or columns, or group on fewer values")
}

fn bug(root: &DataFusionError) -> Error {
    tracing::error!(error = %kind(root), "the engine failed on a statement");
    Error::new(Class::Bug, "the engine failed on this statement").help("please report it to the platform team")
}

/// The kind of an error without its text, which could quote a value.
fn kind(error: &DataFusionError) -> &'static str {
    match error {
        DataFusionError::Internal(_) => "internal",
        DataFusionError::ExecutionJoin(_) => "a task ended",
        DataFusionError::External(_) => "external",
        _ => "other",
    }
}

/// DataFusion's text as a sentence of ours: first line only, lowercase, no trailing stop.
fn sentence(text: &str) -> String {
    let line = text.lines().find(|line| !line.trim().is_empty()).unwrap_or_default().trim().trim_end_matches('.');
    let line = line.trim_start_matches("Arrow error: ").trim_start_matches("Execution error: ");
    let mut letters = line.chars();
    let Some(first) = letters.next() else { return "the statement is not valid".to_owned() };
    let rest = letters.as_str();
    // A word in capitals is a keyword or a name, not the start of a sentence.
    if rest.starts_with(|c: char| c.is_uppercase()) {
        line.to_owned()
    } else {
        first.to_lowercase().chain(rest.chars()).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::operator;

    #[test]
    fn the_log_has_nothing_of_a_statement_that_was_out_of_memory() {
        let text =
            "Additional allocation failed for GroupedHashAggregateStream[1] (max(email = Utf8(\"tulip\"))) with top";
        assert_eq!(operator(text), Some("GroupedHashAggregateStream"));
        assert_eq!(operator("the statement's memory is exhausted"), None);
    }
}
