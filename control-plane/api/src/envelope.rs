//! The envelope of every answer.

use axum::Json;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use jiff::Timestamp;
use serde::Serialize;
use utoipa::ToSchema;

/// A success: `data` is what was asked for.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Envelope<T> {
    /// Always true.
    success: bool,
    data: T,
    #[serde(skip_serializing_if = "Option::is_none")]
    page: Option<PageInfo>,
    /// When the answer was made.
    #[schema(value_type = String, format = DateTime)]
    timestamp: Timestamp,
}

#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct PageInfo {
    /// Hand it back as `cursor` for the next page; null at the end.
    next: Option<String>,
    /// Of a search that is not at its end: the time that it got to.
    #[schema(value_type = Option<String>, format = DateTime)]
    #[serde(skip_serializing_if = "Option::is_none")]
    searched_to: Option<Timestamp>,
}

/// Nothing to tell but that it was done.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Done {}

/// An answer in the making.
#[derive(Debug)]
pub(crate) struct Answer<T> {
    status: StatusCode,
    data: T,
    page: Option<PageInfo>,
    generation: Option<u64>,
}

pub(crate) fn ok<T>(data: T) -> Answer<T> {
    Answer { status: StatusCode::OK, data, page: None, generation: None }
}

pub(crate) fn created<T>(data: T) -> Answer<T> {
    Answer { status: StatusCode::CREATED, ..ok(data) }
}

/// It was understood, and is not done yet.
pub(crate) fn accepted<T>(data: T) -> Answer<T> {
    Answer { status: StatusCode::ACCEPTED, ..ok(data) }
}

pub(crate) fn paged<T>(items: Vec<T>, next: Option<String>) -> Answer<Vec<T>> {
    Answer { page: Some(PageInfo { next, searched_to: None }), ..ok(items) }
}

impl<T> Answer<T> {
    /// Says how far a search got that fills a page.
    pub(crate) fn searched_to(mut self, time: Option<Timestamp>) -> Self {
        if let Some(page) = &mut self.page {
            page.searched_to = time;
        }
        self
    }

    /// Names the generation, or of other things the revision, that was read: for a later `If-Match`.
    pub(crate) fn at_generation(mut self, generation: u64) -> Self {
        self.generation = Some(generation);
        self
    }
}

impl<T: Serialize> IntoResponse for Answer<T> {
    fn into_response(self) -> Response {
        let envelope = Envelope { success: true, data: self.data, page: self.page, timestamp: now() };
        let mut response = (self.status, Json(envelope)).into_response();
        if let Some(generation) = self.generation {
            let tag = HeaderValue::from_str(&format!("\"{generation}\"")).expect("digits are a header value");
            response.headers_mut().insert(header::ETAG, tag);
        }
        response
    }
}

/// The moment of an answer, to the millisecond as the contract has it.
pub(crate) fn now() -> Timestamp {
    let now = Timestamp::now();
    Timestamp::from_millisecond(now.as_millisecond()).unwrap_or(now)
}
