//! Errors on the wire: one exhaustive match from class to gRPC code, and the way back for our own client.

use tonic::{Code, Status};

use crate::error::{Class, Error, cut};

/// Between the message and the help in a status text.
const HELP: &str = "\nhelp: ";

fn code(class: Class) -> Code {
    match class {
        Class::BadRequest => Code::InvalidArgument,
        Class::UnknownName => Code::NotFound,
        Class::Denied => Code::PermissionDenied,
        Class::Unauthenticated => Code::Unauthenticated,
        Class::Limit => Code::ResourceExhausted,
        Class::Storage => Code::Unavailable,
        Class::Drift => Code::FailedPrecondition,
        Class::Cancelled => Code::Cancelled,
        Class::Bug => Code::Internal,
    }
}

fn class(code: Code) -> Class {
    match code {
        Code::InvalidArgument | Code::Unimplemented | Code::OutOfRange | Code::AlreadyExists => Class::BadRequest,
        Code::NotFound => Class::UnknownName,
        Code::PermissionDenied => Class::Denied,
        Code::Unauthenticated => Class::Unauthenticated,
        Code::ResourceExhausted | Code::DeadlineExceeded => Class::Limit,
        Code::Unavailable => Class::Storage,
        Code::FailedPrecondition => Class::Drift,
        Code::Cancelled | Code::Aborted => Class::Cancelled,
        Code::Ok | Code::Unknown | Code::Internal | Code::DataLoss => Class::Bug,
    }
}

/// The status of an error: its class as code, its message and help as text.
pub(super) fn to_status(error: &Error) -> Status {
    let mut text = error.message.clone();
    if let Some(help) = &error.help {
        text.push_str(HELP);
        text.push_str(help);
    }
    Status::new(code(error.class), cut(text))
}

/// The error of a status.
pub(super) fn to_error(status: &Status) -> Error {
    let (message, help) = match status.message().split_once(HELP) {
        Some((message, help)) => (message, Some(help.to_owned())),
        None => (status.message(), None),
    };
    Error { class: class(status.code()), message: message.to_owned(), help }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_error_survives_the_wire() {
        for class in Class::ALL {
            for help in [None, Some("ask the owner\nof it")] {
                let sent = Error { class, message: "no column `email`".into(), help: help.map(Into::into) };
                let got = to_error(&to_status(&sent));
                assert_eq!((got.class, got.message, got.help), (sent.class, sent.message, sent.help));
            }
        }
    }

    #[test]
    fn the_text_is_message_and_help() {
        let status = to_status(&Error::new(Class::Denied, "no").help("ask"));
        assert_eq!((status.code(), status.message()), (Code::PermissionDenied, "no\nhelp: ask"));
    }

    #[test]
    fn a_long_text_is_cut_between_characters() {
        let status = to_status(&Error::new(Class::BadRequest, "é".repeat(5_000)));
        assert!(status.message().len() <= crate::error::LONGEST + '…'.len_utf8());
        assert!(status.message().ends_with("é…"));
    }
}
