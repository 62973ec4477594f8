//! Errors over HTTP: one exhaustive match from class to status, and a JSON object that says what went wrong.
//!
//! ```json
//! { "status": 404, "class": "unknown name", "message": "there is no product `storefront.orders`", "help": "…" }
//! ```

use axum::body::Body;
use axum::http::{HeaderValue, Response, StatusCode, header};
use serde_json::json;

use crate::error::{Class, Error, cut};

/// An error and the status that tells it.
#[derive(Debug)]
pub(super) struct Problem {
    pub(super) status: StatusCode,
    pub(super) error: Error,
}

fn status(class: Class) -> StatusCode {
    match class {
        Class::BadRequest => StatusCode::BAD_REQUEST,
        Class::UnknownName => StatusCode::NOT_FOUND,
        Class::Denied => StatusCode::FORBIDDEN,
        Class::Unauthenticated => StatusCode::UNAUTHORIZED,
        Class::Limit => StatusCode::TOO_MANY_REQUESTS,
        Class::Storage => StatusCode::BAD_GATEWAY,
        Class::Drift => StatusCode::CONFLICT,
        Class::Cancelled => StatusCode::SERVICE_UNAVAILABLE,
        Class::Bug => StatusCode::INTERNAL_SERVER_ERROR,
    }
}

impl From<Error> for Problem {
    fn from(error: Error) -> Self {
        Self { status: status(error.class), error }
    }
}

impl Problem {
    /// What HTTP has a status of its own for.
    pub(super) fn new(status: StatusCode, error: Error) -> Self {
        Self { status, error }
    }

    /// As an answer.
    pub(super) fn response(&self) -> Response<Body> {
        let Error { class, message, help } = &self.error;
        let mut text =
            json!({ "status": self.status.as_u16(), "class": class.as_str(), "message": cut(message.clone()) });
        if let (Some(help), Some(text)) = (help, text.as_object_mut()) {
            text.insert("help".to_owned(), cut(help.clone()).into());
        }
        let mut response = Response::new(Body::from(format!("{text}\n")));
        *response.status_mut() = self.status;
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
        if self.status == StatusCode::UNAUTHORIZED {
            headers.append(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer realm=\"polder\""));
            headers.append(
                header::WWW_AUTHENTICATE,
                HeaderValue::from_static("Basic realm=\"polder\", charset=\"UTF-8\""),
            );
        }
        response
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests")]
mod tests {
    use super::*;

    #[tokio::test]
    async fn every_class_is_told_in_words_and_as_a_failure() {
        for class in Class::ALL {
            let problem = Problem::from(Error::new(class, "no column `a\"b`").help("look"));
            let response = problem.response();
            assert!(response.status().is_client_error() || response.status().is_server_error(), "{class:?}");
            let body = axum::body::to_bytes(response.into_body(), 1_000).await.unwrap();
            let told: serde_json::Value = serde_json::from_slice(&body).unwrap();
            assert_eq!((told["class"].as_str(), told["help"].as_str()), (Some(class.as_str()), Some("look")));
            assert_eq!(told["message"], "no column `a\"b`");
        }
    }

    #[test]
    fn who_is_not_known_is_told_how_to_say_who_one_is() {
        let response = Problem::from(Error::new(Class::Unauthenticated, "who are you")).response();
        assert_eq!(response.headers().get_all(header::WWW_AUTHENTICATE).iter().count(), 2);
    }
}
