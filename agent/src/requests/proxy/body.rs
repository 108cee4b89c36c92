//! Bodies on their way through.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Instant;

use bytes::Bytes;
use hyper::body::{Body, Frame, Incoming, SizeHint};

use super::super::InFlight;
use super::upstream::Lease;
use super::watch::{Activity, Phase};

/// What is sent to the program.
#[derive(Debug)]
pub(super) enum RequestBody {
    Empty,
    Client(Incoming),
}

impl Body for RequestBody {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        match self.get_mut() {
            Self::Empty => Poll::Ready(None),
            Self::Client(body) => Pin::new(body).poll_frame(cx),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Empty => true,
            Self::Client(body) => body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Empty => SizeHint::with_exact(0),
            Self::Client(body) => body.size_hint(),
        }
    }
}

/// A request under way, and the phase of its client's connection: idle again once this is dropped.
#[derive(Debug)]
pub(super) struct Flight {
    request: InFlight,
    activity: Arc<Activity>,
}

impl Flight {
    pub(super) fn new(request: InFlight, activity: Arc<Activity>) -> Self {
        activity.enter(Phase::Waiting);
        Self { request, activity }
    }

    pub(super) fn answered(&mut self) {
        self.request.answered(Instant::now());
    }

    pub(super) fn failed(&self) {
        self.request.failed();
    }
}

impl Drop for Flight {
    fn drop(&mut self) {
        self.activity.enter(Phase::Idle);
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
    pub(super) fn new(body: Incoming, flight: Flight, lease: Lease) -> Self {
        flight.activity.enter(Phase::Answering);
        Self { body, ending: Some(Ending { flight, lease }) }
    }

    fn complete(&mut self) {
        if let Some(mut ending) = self.ending.take() {
            ending.flight.answered();
            ending.lease.give_back();
        }
    }
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
            Some(Ok(_)) if !program.body.is_end_stream() => {}
            Some(Ok(_)) | None => program.complete(),
            Some(Err(_)) => {
                // The answer broke off; the lease is dropped with its connection.
                if let Some(ending) = program.ending.take() {
                    ending.flight.failed();
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
