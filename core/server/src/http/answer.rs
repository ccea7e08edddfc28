//! Answers that are not the one hoped for, in the first generation's JSON shapes.

use crate::contract::fields::FieldError;
use axum::Json;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};
use std::time::Duration;

/// An error answer: `{"detail": …}`, and `reason` where the contract's sentence does not say why.
#[derive(Clone, Debug)]
pub struct Fail {
    status: StatusCode,
    detail: Value,
    reason: Option<String>,
    retry_after: Option<Duration>,
}

impl Fail {
    /// With a sentence for a person.
    pub fn new(status: StatusCode, detail: impl Into<String>) -> Fail {
        Fail { status, detail: Value::String(detail.into()), reason: None, retry_after: None }
    }

    /// 404.
    pub fn not_found(detail: &str) -> Fail {
        Fail::new(StatusCode::NOT_FOUND, detail)
    }

    /// 400.
    pub fn bad_request(detail: impl Into<String>) -> Fail {
        Fail::new(StatusCode::BAD_REQUEST, detail)
    }

    /// 422 with every mistake.
    pub fn fields(errors: &[FieldError]) -> Fail {
        let detail = errors.iter().map(FieldError::to_json).collect();
        Fail { status: StatusCode::UNPROCESSABLE_ENTITY, detail, reason: None, retry_after: None }
    }

    /// Says why, beside the contract's sentence.
    pub fn because(mut self, reason: impl Into<String>) -> Fail {
        self.reason = Some(reason.into());
        self
    }

    /// Tells the client when to come back.
    pub fn retry_after(mut self, wait: Duration) -> Fail {
        self.retry_after = Some(wait);
        self
    }
}

impl IntoResponse for Fail {
    fn into_response(self) -> Response {
        let mut body = json!({ "detail": self.detail });
        if let Some(reason) = self.reason {
            body["reason"] = reason.into();
        }
        let mut response = (self.status, Json(body)).into_response();
        if let Some(wait) = self.retry_after {
            // Never 0, which would mean at once.
            let seconds = wait.as_secs_f64().ceil().max(1.0) as u64;
            response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        }
        response
    }
}

/// What a handler answers.
pub type Answer<T> = Result<T, Fail>;
