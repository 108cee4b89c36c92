//! A client's end of a connection: the bytes that hyper may see.
//!
//! HTTP/1.1 is followed from head to head, so that each head was looked at ([`head`](super::head)) before hyper gets it, and
//! bodies pass without a copy. What is not believed never arrives: the connection ends after the answers that are under way,
//! with the reason as its last words. HTTP/2 and upgraded connections pass as they are.

use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::{Sleep, sleep};

use super::activity::Activity;
use super::chunks::{BadChunk, Chunks};
use super::head::{self, Framing, Look};
use super::refusal::Refusal;

/// How every connection of HTTP/2 begins (RFC 9113, 3.4).
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
/// What is read at once of a head that comes in pieces.
const PIECE: usize = 4 * 1024;
/// A client that still sends when it was refused is listened to for so long and so much, or the kernel would answer it with a
/// reset, which overtakes the reason.
const LINGER: Duration = Duration::from_secs(1);
const LINGER_BYTES: usize = 1 << 20;

/// What a connection speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Version {
    Http1,
    Http2,
}

/// What the next byte belongs to.
#[derive(Debug)]
enum Expected {
    Head,
    Length(u64),
    Chunks(Chunks),
    /// Nothing that could be understood.
    Broken(BadChunk),
}

/// Follows messages over bytes that arrive in any pieces.
#[derive(Debug)]
pub(super) struct Messages {
    expected: Expected,
    /// That passed; wraps.
    heads: u32,
    head_bytes: usize,
}

/// What may be done with some bytes.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// So many of them belong to the message at hand; never 0.
    Pass(usize),
    /// They are part of a head that has not ended.
    Wait,
    Refuse(Refusal),
    /// A body that cannot be followed.
    Broken(BadChunk),
}

impl Messages {
    pub(super) fn new(head_bytes: usize) -> Self {
        Self { expected: Expected::Head, heads: 0, head_bytes }
    }

    /// Looks at the next bytes, of which there is at least one.
    pub(super) fn judge(&mut self, bytes: &[u8]) -> Verdict {
        let mut at = 0;
        if matches!(self.expected, Expected::Head) {
            match head::look(bytes, self.head_bytes) {
                Look::Partial => return Verdict::Wait,
                Look::Refused(refusal) => return Verdict::Refuse(refusal),
                Look::Whole(length, framing) => {
                    at = length;
                    self.heads = self.heads.wrapping_add(1);
                    self.expected = match framing {
                        Framing::Nothing => return Verdict::Pass(length),
                        Framing::Length(length) => Expected::Length(length),
                        Framing::Chunked => Expected::Chunks(Chunks::default()),
                    };
                }
            }
        }
        match self.body(bytes.get(at..).unwrap_or_default()) {
            Ok(used) => Verdict::Pass(at + used),
            Err(error) if at == 0 => Verdict::Broken(error),
            Err(error) => {
                // The head stands for itself; whoever answers it learns of the body.
                self.expected = Expected::Broken(error);
                Verdict::Pass(at)
            }
        }
    }

    /// How many bytes belong to the body at hand.
    fn body(&mut self, bytes: &[u8]) -> Result<usize, BadChunk> {
        let (used, ended) = match &mut self.expected {
            Expected::Head => (0, false),
            Expected::Length(left) => {
                let step = (*left).min(bytes.len() as u64);
                *left -= step;
                (usize::try_from(step).unwrap_or(bytes.len()), *left == 0)
            }
            Expected::Chunks(chunks) => chunks.advance(bytes)?,
            Expected::Broken(error) => return Err(*error),
        };
        if ended {
            self.expected = Expected::Head;
        }
        Ok(used)
    }

    fn is_between(&self) -> bool {
        matches!(self.expected, Expected::Head)
    }
}

/// The end of a connection that is being refused.
#[derive(Debug)]
enum Closing {
    Telling { words: Vec<u8>, told: usize },
    Ending,
    Lingering { until: Pin<Box<Sleep>>, left: usize },
}

#[derive(Debug)]
pub(super) struct ClientStream {
    stream: TcpStream,
    activity: Arc<Activity>,
    messages: Messages,
    /// Read, and not passed on yet.
    ahead: Vec<u8>,
    /// So many of these may be.
    cleared: usize,
    /// Requests report what moves: with HTTP/2, bytes alone say nothing.
    silent: bool,
    closing: Option<Closing>,
}

impl ClientStream {
    pub(super) fn new(stream: TcpStream, activity: Arc<Activity>, head_bytes: usize) -> Self {
        let messages = Messages::new(head_bytes);
        Self { stream, activity, messages, ahead: Vec::new(), cleared: 0, silent: false, closing: None }
    }

    /// What the client speaks, from its first bytes. `None` when it said nothing.
    ///
    /// # Errors
    /// The connection broke.
    pub(super) async fn version(&mut self) -> io::Result<Option<Version>> {
        loop {
            let compared = self.ahead.len().min(PREFACE.len());
            if self.ahead[..compared] != PREFACE[..compared] {
                return Ok(Some(Version::Http1));
            }
            if compared == PREFACE.len() {
                self.silent = true;
                self.activity.enter_raw();
                return Ok(Some(Version::Http2));
            }
            if poll_fn(|cx| self.poll_ahead(cx)).await? == 0 {
                return Ok((!self.ahead.is_empty()).then_some(Version::Http1));
            }
        }
    }

    /// Reads another piece into `ahead`; 0 bytes at the end.
    fn poll_ahead(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        let before = self.ahead.len();
        self.ahead.resize(before + PIECE, 0);
        let mut piece = ReadBuf::new(&mut self.ahead[before..]);
        let polled = Pin::new(&mut self.stream).poll_read(cx, &mut piece);
        let read = piece.filled().len();
        self.ahead.truncate(before + read);
        if read > 0 {
            self.note_read();
        }
        polled.map_ok(|()| read)
    }

    fn note_read(&self) {
        self.activity.moved();
        if !self.activity.is_raw() {
            self.activity.head_begun();
        }
    }

    fn note_write(&self) {
        if !self.silent {
            self.activity.moved();
        }
    }

    /// Hands over what was cleared.
    fn hand_over(&mut self, buf: &mut ReadBuf<'_>) {
        let length = self.cleared.min(buf.remaining());
        buf.put_slice(&self.ahead[..length]);
        self.cleared -= length;
        if length == self.ahead.len() {
            self.ahead = Vec::new();
        } else {
            self.ahead.drain(..length);
        }
    }

    fn poll_raw(&mut self, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        if !self.ahead.is_empty() {
            self.cleared = self.ahead.len();
            self.hand_over(buf);
            return Poll::Ready(Ok(()));
        }
        let before = buf.filled().len();
        ready!(Pin::new(&mut self.stream).poll_read(cx, buf))?;
        if !self.silent && buf.filled().len() > before {
            self.activity.moved();
        }
        Poll::Ready(Ok(()))
    }

    fn poll_messages(&mut self, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        loop {
            if self.cleared > 0 {
                self.hand_over(buf);
                return Poll::Ready(Ok(()));
            }
            if self.activity.is_refused() {
                // To hyper this is the end, at which it gives up what is under way: so not before all of that is answered.
                let ended = self.activity.poll_ended(cx);
                return if ended == self.messages.heads { Poll::Ready(Ok(())) } else { Poll::Pending };
            }
            if self.ahead.is_empty() {
                if ready!(self.poll_in_place(cx, buf)?) {
                    return Poll::Ready(Ok(()));
                }
                continue;
            }
            match self.messages.judge(&self.ahead) {
                Verdict::Pass(length) => self.cleared = length,
                Verdict::Refuse(refusal) => self.activity.refuse(refusal),
                Verdict::Broken(error) => return Poll::Ready(Err(broken(error))),
                Verdict::Wait => {
                    self.activity.head_begun();
                    loop {
                        let before = self.ahead.len();
                        if ready!(self.poll_ahead(cx)?) == 0 {
                            return Poll::Ready(Ok(()));
                        }
                        // A head can only end where a line does.
                        let limit = self.messages.head_bytes;
                        if self.ahead[before..].contains(&b'\n') || self.ahead.len() >= limit {
                            break;
                        }
                    }
                }
            }
        }
    }

    /// Reads into the buffer of the caller, where most of what arrives can stay: a whole head, a piece of a body. `false` when
    /// it could not, and there is something ahead.
    fn poll_in_place(&mut self, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<bool>> {
        let before = buf.filled().len();
        ready!(Pin::new(&mut self.stream).poll_read(cx, buf))?;
        let read = &buf.filled()[before..];
        if read.is_empty() {
            return Poll::Ready(Ok(true));
        }
        self.note_read();
        let pass = match self.messages.judge(read) {
            Verdict::Pass(length) => length,
            Verdict::Wait => 0,
            Verdict::Refuse(refusal) => {
                self.activity.refuse(refusal);
                0
            }
            Verdict::Broken(error) => return Poll::Ready(Err(broken(error))),
        };
        self.ahead.extend_from_slice(&read[pass..]);
        buf.set_filled(before + pass);
        Poll::Ready(Ok(pass > 0))
    }

    /// The last words, the end, and a moment for the client to hear them.
    fn poll_closing(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let closing = self.closing.get_or_insert_with(|| match self.activity.refusal() {
            Some(refusal) => Closing::Telling { words: refusal.to_bytes(), told: 0 },
            None => Closing::Ending,
        });
        loop {
            match closing {
                Closing::Telling { words, told } => {
                    // What does not fit into the socket's buffer is not waited for.
                    match Pin::new(&mut self.stream).poll_write(cx, &words[*told..]) {
                        Poll::Ready(Ok(written)) if written > 0 && *told + written < words.len() => *told += written,
                        Poll::Ready(_) | Poll::Pending => *closing = Closing::Ending,
                    }
                }
                Closing::Ending => {
                    ready!(Pin::new(&mut self.stream).poll_shutdown(cx))?;
                    if self.messages.is_between() && !self.activity.is_refused() {
                        return Poll::Ready(Ok(()));
                    }
                    *closing = Closing::Lingering { until: Box::pin(sleep(LINGER)), left: LINGER_BYTES };
                }
                Closing::Lingering { until, left } => {
                    if until.as_mut().poll(cx).is_ready() {
                        return Poll::Ready(Ok(()));
                    }
                    let mut ignored = [0; 8 * 1024];
                    let mut piece = ReadBuf::new(&mut ignored);
                    ready!(Pin::new(&mut self.stream).poll_read(cx, &mut piece))?;
                    let read = piece.filled().len();
                    if read == 0 || read >= *left {
                        return Poll::Ready(Ok(()));
                    }
                    *left -= read;
                }
            }
        }
    }
}

fn broken(error: BadChunk) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, error)
}

impl AsyncRead for ClientStream {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        if self.activity.is_raw() { self.poll_raw(cx, buf) } else { self.poll_messages(cx, buf) }
    }
}

impl AsyncWrite for ClientStream {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let written = ready!(Pin::new(&mut self.stream).poll_write(cx, buf))?;
        self.note_write();
        Poll::Ready(Ok(written))
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = ready!(Pin::new(&mut self.stream).poll_write_vectored(cx, bufs))?;
        self.note_write();
        Poll::Ready(Ok(written))
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        // Of an upgraded connection, this is the end of one direction.
        if self.activity.is_raw() { Pin::new(&mut self.stream).poll_shutdown(cx) } else { self.poll_closing(cx) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The messages that are found when the bytes come in pieces of `size`, one string each, and what ended it.
    fn followed(bytes: &[u8], size: usize) -> (Vec<String>, Option<Verdict>) {
        let mut messages = Messages::new(1024);
        let (mut found, mut message, mut unread) = (Vec::new(), Vec::new(), Vec::new());
        for piece in bytes.chunks(size) {
            unread.extend_from_slice(piece);
            while !unread.is_empty() {
                match messages.judge(&unread) {
                    Verdict::Pass(length) => message.extend(unread.drain(..length)),
                    Verdict::Wait => break,
                    verdict => return (found, Some(verdict)),
                }
                if messages.is_between() {
                    found.push(String::from_utf8(std::mem::take(&mut message)).unwrap());
                }
            }
        }
        (found, None)
    }

    #[test]
    fn messages_are_told_apart_however_they_arrive() {
        let messages = [
            "GET /1 HTTP/1.1\r\nhost: a\r\n\r\n",
            "POST /2 HTTP/1.1\r\nhost: a\r\ncontent-length: 3\r\n\r\nGET",
            "POST /3 HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n4\r\nGET \r\n0\r\n\r\n",
            "GET /4 HTTP/1.1\r\nhost: a\r\n\r\n",
        ];
        let stream = messages.concat();
        for size in 1..=stream.len() {
            assert_eq!(followed(stream.as_bytes(), size), (messages.map(str::to_owned).to_vec(), None), "{size}");
        }
    }

    #[test]
    fn nothing_is_found_behind_what_is_not_believed() {
        let stream = b"POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 4\r\ntransfer-encoding: chunked\r\n\r\n\
            0\r\n\r\nGET /admin HTTP/1.1\r\nhost: a\r\n\r\n";
        let (found, verdict) = followed(stream, 7);
        assert!(found.is_empty() && matches!(verdict, Some(Verdict::Refuse(_))), "{verdict:?}");
        let stream =
            b"POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n0;\n\r\nGET /admin HTTP/1.1\r\n\r\n";
        let (found, verdict) = followed(stream, 7);
        assert!(found.is_empty() && verdict == Some(Verdict::Broken(BadChunk::Size)), "{verdict:?}");
    }
}
