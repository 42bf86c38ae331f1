//! The responses of the layer itself, as problem details (RFC 9457).

use bytes::Bytes;
use cache_core::Error;
use http::{
    HeaderValue, Response, StatusCode,
    header::{CONTENT_TYPE, RETRY_AFTER},
};

/// Why the layer answers without the service.
#[derive(Debug)]
pub(super) enum Problem {
    KeyMissing,
    KeyInvalid,
    PayloadDiffers,
    Outstanding,
    RequestTooLarge,
    RequestUnreadable,
    ResponseNotKept,
    ResponseFailed,
    NoPrincipal,
    /// The store failed.
    Unavailable(Error),
    /// A mistake in the program or its settings.
    Mistake(Error),
}

impl Problem {
    pub(super) fn response(self) -> Response<Bytes> {
        let (status, title, detail) = self.texts();
        let body = serde_json::json!({
            "title": title,
            "status": status.as_u16(),
            "detail": detail,
        });
        let mut response = Response::new(Bytes::from(body.to_string()));
        *response.status_mut() = status;
        let json = HeaderValue::from_static("application/problem+json");
        response.headers_mut().insert(CONTENT_TYPE, json);
        if status == StatusCode::CONFLICT || status == StatusCode::SERVICE_UNAVAILABLE {
            response.headers_mut().insert(RETRY_AFTER, HeaderValue::from_static("1"));
        }
        if let Self::Unavailable(error) | Self::Mistake(error) = self {
            response.extensions_mut().insert(error);
        }
        response
    }

    fn texts(&self) -> (StatusCode, &'static str, &'static str) {
        match self {
            Self::KeyMissing => (
                StatusCode::BAD_REQUEST,
                "Idempotency-Key is missing",
                "This operation requires the header Idempotency-Key with a value that is unique \
                 for each operation and equal in its repetitions.",
            ),
            Self::KeyInvalid => (
                StatusCode::BAD_REQUEST,
                "Idempotency-Key is invalid",
                "The value is one string in double quotes, which is not empty: \
                 Idempotency-Key: \"8e03978e-40d5-43e8-bc93-6894a57f9324\".",
            ),
            Self::PayloadDiffers => (
                StatusCode::UNPROCESSABLE_ENTITY,
                "Idempotency-Key is already used",
                "A request with this key and another method, path, query or body was received \
                 before. Use a new key for a new operation.",
            ),
            Self::Outstanding => (
                StatusCode::CONFLICT,
                "A request is outstanding for this Idempotency-Key",
                "A request with this key is being processed. Repeat the request later.",
            ),
            Self::RequestTooLarge => (
                StatusCode::PAYLOAD_TOO_LARGE,
                "The request is too large",
                "The body of a request with an Idempotency-Key is larger than this service reads.",
            ),
            Self::RequestUnreadable => (
                StatusCode::BAD_REQUEST,
                "The request ended early",
                "The body could not be read to its end. The request was not executed.",
            ),
            Self::ResponseNotKept => (
                StatusCode::INTERNAL_SERVER_ERROR,
                "The response was not kept",
                "The request with this key was executed. Its response was too large to be kept \
                 for a repetition.",
            ),
            Self::ResponseFailed => (
                StatusCode::INTERNAL_SERVER_ERROR,
                "The response ended early",
                "The request with this key was executed, and its response failed.",
            ),
            Self::NoPrincipal => (
                StatusCode::INTERNAL_SERVER_ERROR,
                "The sender of the request is not known",
                "The service could not tell whose Idempotency-Key this is. The request was not \
                 executed.",
            ),
            Self::Unavailable(_) => (
                StatusCode::SERVICE_UNAVAILABLE,
                "The store of Idempotency-Keys is not available",
                "It cannot be decided whether the request was executed before. It was not \
                 executed now.",
            ),
            Self::Mistake(_) => (
                StatusCode::INTERNAL_SERVER_ERROR,
                "Idempotency-Key cannot be used",
                "The request was not executed.",
            ),
        }
    }
}

impl From<Error> for Problem {
    fn from(error: Error) -> Self {
        if error.kind().fails_open() { Self::Unavailable(error) } else { Self::Mistake(error) }
    }
}
