//! Reading bodies, queries and paths as the clients send them: sometimes empty, sometimes without a content type, always bounded.
//!
//! A body is read after its sender has shown who it is: [`Json`] stands behind the credential in a handler's arguments, and
//! where the credential is looked for in the handler itself, that takes the body [`Unread`].

use std::convert::Infallible;
use std::fmt::Display;
use std::sync::LazyLock;

use axum::extract::{FromRequest, Request};
use axum::response::{IntoResponse, Response};
use berth_agb_api::Code;
use berth_guest_client::{BodyError, BodyMemory};
use bytes::Bytes;
use http::header::{CONTENT_LENGTH, CONTENT_TYPE};
use serde::Deserialize;
use serde::de::DeserializeOwned;

use crate::error::ApiError;

/// Largest body of an API call or a tool call. Clients cut file writes into pieces of 51,200 characters; code and
/// commands have no limit on their side.
pub(crate) const BODY_BYTES_MAX: usize = 64 << 20;

/// What bodies may hold together, until they are handled.
static BODIES: LazyLock<BodyMemory> = LazyLock::new(|| BodyMemory::new(1 << 30));

/// Longer answers go out in pieces instead of being copied into one.
const PIECES_FROM_BYTES: usize = 64 << 10;

/// A body that is still to come.
pub(crate) struct Unread(axum::body::Body);

impl<S: Send + Sync> FromRequest<S> for Unread {
    type Rejection = Infallible;

    async fn from_request(request: Request, _: &S) -> Result<Self, Infallible> {
        Ok(Self(request.into_body()))
    }
}

impl Unread {
    /// The whole body of at most `bytes_max` bytes, or the refusal that it is too large, or too slow.
    pub(crate) async fn read(self, bytes_max: usize) -> Result<Bytes, ApiError> {
        BODIES.read(self.0, bytes_max).await.map_err(|error| match error {
            BodyError::TooLong(_) => ApiError::new(
                Code::BodyTooLarge,
                format!("the body is too large; allowed: at most {} MiB", bytes_max >> 20),
            ),
            BodyError::Full => ApiError::new(
                Code::NoCapacity,
                "the server holds too many large requests at this moment; try again",
            ),
            error @ (BodyError::Slow | BodyError::Broken(_)) => ApiError::new(
                Code::MalformedBody,
                format!("the body could not be read: {error}"),
            ),
        })
    }
}

/// A guest's answer in its envelope: what stands before it, itself, what stands behind it.
pub(crate) fn enveloped(head: String, answer: Bytes, tail: &'static str) -> Response {
    let kind = (CONTENT_TYPE, "application/json");
    if answer.len() < PIECES_FROM_BYTES {
        return ([kind], [head.as_bytes(), &answer, tail.as_bytes()].concat()).into_response();
    }
    let length = head.len() + answer.len() + tail.len();
    let pieces = [head.into(), answer, Bytes::from_static(tail.as_bytes())];
    let pieces = futures_util::stream::iter(pieces.map(Ok::<_, Infallible>));
    let length = (CONTENT_LENGTH, length.to_string());
    ([kind], [length], axum::body::Body::from_stream(pieces)).into_response()
}

/// A JSON object in the body, whatever the content type says. No body counts as `{}`, and so does `null`.
pub(crate) struct Json<T>(pub(crate) T);

impl<S: Send + Sync, T: DeserializeOwned> FromRequest<S> for Json<T> {
    type Rejection = ApiError;

    async fn from_request(request: Request, _: &S) -> Result<Self, ApiError> {
        let bytes = Unread(request.into_body()).read(BODY_BYTES_MAX).await?;
        read_object(match bytes.trim_ascii() {
            b"" | b"null" => b"{}",
            text => text,
        })
        .map(Self)
    }
}

/// Reads a JSON object. An array is refused, which serde would take for the object's members in their order.
pub(crate) fn read_object<'a, T: Deserialize<'a>>(text: &'a [u8]) -> Result<T, ApiError> {
    if text.trim_ascii_start().first() == Some(&b'[') {
        return Err(malformed("an array, where an object is allowed"));
    }
    serde_json::from_slice(text).map_err(malformed)
}

/// The refusal of a body that is not the JSON it should be.
fn malformed(error: impl Display) -> ApiError {
    ApiError::new(
        Code::MalformedBody,
        format!("the body is not the JSON that this route takes: {error}"),
    )
}

/// Query parameters; a query that cannot be read is refused with the reason.
pub(crate) struct Query<T>(pub(crate) T);

impl<S: Send + Sync, T: DeserializeOwned> axum::extract::FromRequestParts<S> for Query<T> {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut http::request::Parts, state: &S) -> Result<Self, ApiError> {
        axum::extract::Query::from_request_parts(parts, state)
            .await
            .map(|axum::extract::Query(query)| Self(query))
            .map_err(|error| {
                ApiError::new(
                    Code::InvalidParameter,
                    format!("the query cannot be read: {error}"),
                )
            })
    }
}

/// The parameter in a path; one that is not UTF-8 is refused.
pub(crate) struct Path<T>(pub(crate) T);

impl<S: Send + Sync, T: DeserializeOwned + Send> axum::extract::FromRequestParts<S> for Path<T> {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut http::request::Parts, state: &S) -> Result<Self, ApiError> {
        axum::extract::Path::from_request_parts(parts, state)
            .await
            .map(|axum::extract::Path(parameter)| Self(parameter))
            .map_err(|error| {
                ApiError::new(
                    Code::InvalidParameter,
                    format!("the path cannot be read: {}", error.body_text()),
                )
            })
    }
}
