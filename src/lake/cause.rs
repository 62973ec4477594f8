//! Why something failed, as a log is told it: the kinds of the failures and the status of an answer, and no words.
//!
//! The words of a client can hold what a server answered, and with it a session's token or the value of a row; or an
//! address, a path, the name of a user.

use std::error::Error;
use std::io;

use object_store::client::{HttpError, HttpErrorKind};

use super::metadata::Undecoded;

/// The kinds of the failures behind `error`, itself included, the outermost first.
pub fn cause(error: &(dyn Error + 'static)) -> String {
    let (mut kinds, mut next) = (Vec::new(), Some(error));
    while let Some(error) = next {
        kinds.extend(kind(error));
        next = error.source();
    }
    kinds.dedup();
    if kinds.is_empty() { "unknown".to_owned() } else { kinds.join(", ") }
}

fn kind(error: &(dyn Error + 'static)) -> Option<String> {
    let known = of::<object_store::Error>(error).map(of_store);
    let known = known.or_else(|| of::<HttpError>(error).map(|error| of_request(error.kind()).to_owned()));
    let known = known.or_else(|| of::<reqwest::Error>(error).map(of_http));
    let known = known.or_else(|| of::<sqlx::Error>(error).map(of_database));
    let known = known.or_else(|| of::<iceberg::Error>(error).map(|error| format!("iceberg: {}", error.kind())));
    let known = known.or_else(|| of::<parquet::errors::ParquetError>(error).map(|_| "parquet".to_owned()));
    let known = known.or_else(|| of::<Undecoded>(error).map(Undecoded::to_string));
    let known = known.or_else(|| of::<serde_json::Error>(error).map(of_json));
    known.or_else(|| of::<io::Error>(error).map(|error| error.kind().to_string()))
}

/// An error as what it is, in a box or not.
fn of<'e, E: Error + 'static>(error: &'e (dyn Error + 'static)) -> Option<&'e E> {
    error.downcast_ref::<E>().or_else(|| error.downcast_ref::<Box<E>>().map(AsRef::as_ref))
}

/// The words of this one quote what was read.
fn of_json(error: &serde_json::Error) -> String {
    format!("JSON at line {}, column {}", error.line(), error.column())
}

fn of_store(error: &object_store::Error) -> String {
    use object_store::Error as E;
    let kind = match error {
        E::NotFound { .. } => "not found",
        E::InvalidPath { .. } => "no path",
        E::NotSupported { .. } | E::NotImplemented { .. } => "not supported",
        E::AlreadyExists { .. } => "already there",
        E::Precondition { .. } | E::NotModified { .. } => "changed",
        E::PermissionDenied { .. } => "permission denied",
        E::Unauthenticated { .. } => "unauthenticated",
        _ => "object store",
    };
    // The type that holds the status is not public. Of its words nothing but the number is taken.
    let text = error.to_string();
    let status = text.split_once("status code: ").and_then(|(_, rest)| rest.get(..3));
    match status.filter(|status| status.bytes().all(|byte| byte.is_ascii_digit())) {
        Some(status) => format!("{kind}: status {status}"),
        None => kind.to_owned(),
    }
}

fn of_request(kind: HttpErrorKind) -> &'static str {
    match kind {
        HttpErrorKind::Connect => "no connection",
        HttpErrorKind::Request => "no request",
        HttpErrorKind::Timeout => "timeout",
        HttpErrorKind::Interrupted => "interrupted",
        HttpErrorKind::Decode => "not decoded",
        _ => "http",
    }
}

fn of_http(error: &reqwest::Error) -> String {
    if let Some(status) = error.status() {
        return format!("status {}", status.as_u16());
    }
    let kinds = [
        (error.is_timeout(), "timeout"),
        (error.is_connect(), "no connection"),
        (error.is_body(), "body"),
        (error.is_decode(), "not decoded"),
        (error.is_request(), "request"),
    ];
    kinds.into_iter().find(|(is, _)| *is).map_or("http", |(_, kind)| kind).to_owned()
}

fn of_database(error: &sqlx::Error) -> String {
    match error {
        sqlx::Error::Database(error) => match error.code() {
            Some(code) => format!("database: code {code}"),
            None => "database".to_owned(),
        },
        sqlx::Error::Configuration(_) => "configuration".to_owned(),
        sqlx::Error::Tls(_) => "tls".to_owned(),
        sqlx::Error::PoolTimedOut => "timeout".to_owned(),
        _ => "database client".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_server_answered_is_not_told_and_its_status_is() {
        let words = "Server returned non-2xx status code: 403 Forbidden: <Error><Token>hunter2</Token></Error>";
        let error = object_store::Error::PermissionDenied { path: "region=EU/x".to_owned(), source: words.into() };
        assert_eq!(cause(&error), "permission denied: status 403");
        let error = object_store::Error::Generic { store: "S3", source: "status code: h2".into() };
        assert_eq!(cause(&error), "object store");
    }

    #[test]
    fn kinds_are_told_through_all_that_wraps_them() {
        let inner = object_store::Error::NotFound { path: "secret/x".to_owned(), source: "gone".into() };
        let outer = parquet::errors::ParquetError::External(Box::new(inner));
        assert_eq!(cause(&outer), "parquet, not found");
        assert_eq!(cause(&io::Error::from(io::ErrorKind::ConnectionRefused)), "connection refused");
        assert_eq!(cause(&std::fmt::Error), "unknown");
    }
}
