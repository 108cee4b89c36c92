//! Bodies on their way through.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, AtomicU32, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Instant;

use bytes::Bytes;
use http::HeaderMap;
use hyper::body::{Body, Frame, Incoming, SizeHint};

use super::super::{InFlight, Outcome};
use super::activity::Activity;
use super::upstream::Lease;

/// Why a request's body does not reach the program.
#[derive(Debug, thiserror::Error)]
pub(super) enum BodyError {
    #[error("the request's body broke off")]
    Broken(#[source] hyper::Error),
    #[error("the request's body is larger than the limit")]
    TooLarge,
}

/// How far a request's body has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum UploadState {
    /// The program takes it.
    Flowing,
    /// The client has more to send.
    Awaited,
    Complete,
    Broken,
    TooLarge,
}

/// A request's body, as others see it who wait for its end.
#[derive(Debug)]
pub(super) struct Upload {
    /// Pieces that have passed; wraps.
    progress: AtomicU32,
    state: AtomicU8,
}

impl Upload {
    pub(super) fn progress(&self) -> u32 {
        self.progress.load(Ordering::Relaxed)
    }

    pub(super) fn state(&self) -> UploadState {
        match self.state.load(Ordering::Relaxed) {
            1 => UploadState::Awaited,
            2 => UploadState::Complete,
            3 => UploadState::Broken,
            4 => UploadState::TooLarge,
            _ => UploadState::Flowing,
        }
    }

    fn enter(&self, state: UploadState) {
        self.state.store(state as u8, Ordering::Relaxed);
    }
}

/// What is sent to the program.
#[derive(Debug)]
pub(super) enum RequestBody {
    Empty,
    Client(ClientBody),
}

#[derive(Debug)]
pub(super) struct ClientBody {
    body: Incoming,
    activity: Arc<Activity>,
    upload: Arc<Upload>,
    /// Bytes that may still come.
    allowance: u64,
}

impl RequestBody {
    /// The body of a client, of which at most `limit` bytes pass.
    pub(super) fn new(body: Incoming, activity: &Arc<Activity>, limit: u64) -> Self {
        if body.is_end_stream() {
            return Self::Empty;
        }
        let upload = Upload { progress: AtomicU32::new(0), state: AtomicU8::new(UploadState::Flowing as u8) };
        let activity = Arc::clone(activity);
        Self::Client(ClientBody { body, activity, upload: Arc::new(upload), allowance: limit })
    }

    pub(super) fn upload(&self) -> Option<Arc<Upload>> {
        match self {
            Self::Empty => None,
            Self::Client(client) => Some(Arc::clone(&client.upload)),
        }
    }
}

impl ClientBody {
    fn poll_frame(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let frame = match Pin::new(&mut self.body).poll_frame(cx) {
            Poll::Pending => {
                self.upload.enter(UploadState::Awaited);
                return Poll::Pending;
            }
            Poll::Ready(frame) => frame,
        };
        let frame = match frame {
            Some(Ok(frame)) => frame,
            Some(Err(error)) => {
                self.upload.enter(UploadState::Broken);
                return Poll::Ready(Some(Err(BodyError::Broken(error))));
            }
            None => {
                self.upload.enter(UploadState::Complete);
                return Poll::Ready(None);
            }
        };
        self.activity.moved();
        self.upload.progress.fetch_add(1, Ordering::Relaxed);
        self.upload.enter(UploadState::Flowing);
        if let Some(data) = frame.data_ref() {
            let Some(allowance) = self.allowance.checked_sub(data.len() as u64) else {
                self.upload.enter(UploadState::TooLarge);
                return Poll::Ready(Some(Err(BodyError::TooLarge)));
            };
            self.allowance = allowance;
        }
        if self.body.is_end_stream() {
            self.upload.enter(UploadState::Complete);
        }
        Poll::Ready(Some(Ok(frame)))
    }
}

impl Body for RequestBody {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        match self.get_mut() {
            Self::Empty => Poll::Ready(None),
            Self::Client(client) => client.poll_frame(cx),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Empty => true,
            Self::Client(client) => client.body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Empty => SizeHint::with_exact(0),
            Self::Client(client) => client.body.size_hint(),
        }
    }
}

/// A request under way on its client's connection.
#[derive(Debug)]
pub(super) struct Flight {
    request: InFlight,
    activity: Arc<Activity>,
    answering: bool,
    complete: bool,
}

impl Flight {
    pub(super) fn new(request: InFlight, activity: Arc<Activity>) -> Self {
        activity.request_begun();
        Self { request, activity, answering: false, complete: false }
    }

    pub(super) fn answered(&mut self) {
        self.complete = true;
        self.request.answered(Instant::now());
    }

    pub(super) fn ended_as(&self, outcome: Outcome) {
        self.request.ended_as(outcome);
    }

    fn answer_begun(&mut self) {
        if !self.answering {
            self.answering = true;
            self.activity.answer_begun();
        }
    }
}

impl Drop for Flight {
    fn drop(&mut self) {
        self.answer_begun();
        self.activity.request_ended(self.complete);
    }
}

/// What is sent to the client.
#[derive(Debug)]
pub(super) enum AnswerBody {
    /// The proxy's own words; the request is under way until they are sent.
    Own {
        text: Option<Bytes>,
        _flight: Flight,
    },
    Program(ProgramBody),
}

impl AnswerBody {
    pub(super) fn own(text: Bytes, mut flight: Flight) -> Self {
        flight.answer_begun();
        Self::Own { text: Some(text), _flight: flight }
    }
}

/// The program's answer, and what ends with it.
#[derive(Debug)]
pub(super) struct ProgramBody {
    body: Incoming,
    /// `None` once the body has ended, well or not.
    ending: Option<Ending>,
}

#[derive(Debug)]
struct Ending {
    flight: Flight,
    lease: Lease,
}

impl ProgramBody {
    pub(super) fn new(body: Incoming, mut flight: Flight, lease: Lease) -> Self {
        flight.answer_begun();
        Self { body, ending: Some(Ending { flight, lease }) }
    }

    fn complete(&mut self) {
        if let Some(mut ending) = self.ending.take() {
            ending.flight.answered();
            ending.lease.give_back();
        }
    }

    fn moved(&mut self, frame: &Frame<Bytes>) {
        let Some(ending) = &self.ending else { return };
        ending.flight.activity.moved();
        if let Some(trailers) = frame.trailers_ref() {
            if is_grpc_failure(trailers) {
                ending.flight.ended_as(Outcome::ServerError);
            }
            self.complete();
        } else if self.body.is_end_stream() {
            self.complete();
        }
    }
}

/// Whether a gRPC call failed through no fault of its client: `UNKNOWN`, `DEADLINE_EXCEEDED`, `UNIMPLEMENTED`, `INTERNAL`,
/// `UNAVAILABLE`, `DATA_LOSS`, which over HTTP are of class 5xx. They come in the trailers of an answer of status 200.
pub(super) fn is_grpc_failure(fields: &HeaderMap) -> bool {
    let status = fields.get("grpc-status").map(http::HeaderValue::as_bytes);
    matches!(status, Some(b"2" | b"4" | b"12" | b"13" | b"14" | b"15"))
}

impl Drop for ProgramBody {
    fn drop(&mut self) {
        // A body without bytes is never polled.
        if self.body.is_end_stream() {
            self.complete();
        }
    }
}

impl Body for AnswerBody {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        let program = match self.get_mut() {
            Self::Own { text, .. } => return Poll::Ready(text.take().map(|text| Ok(Frame::data(text)))),
            Self::Program(program) => program,
        };
        let frame = ready!(Pin::new(&mut program.body).poll_frame(cx));
        match &frame {
            Some(Ok(frame)) => program.moved(frame),
            None => program.complete(),
            Some(Err(_)) => {
                // The answer broke off; the lease is dropped with its connection.
                if let Some(mut ending) = program.ending.take() {
                    // Not by its client.
                    ending.flight.complete = true;
                    ending.flight.ended_as(Outcome::Unanswered);
                }
            }
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Own { text, .. } => text.is_none(),
            Self::Program(program) => program.body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Own { text, .. } => SizeHint::with_exact(text.as_ref().map_or(0, |text| text.len() as u64)),
            Self::Program(program) => program.body.size_hint(),
        }
    }
}
