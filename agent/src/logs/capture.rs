//! Reading one of the program's pipes.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use outrigger_protocol::log::LogStream;
use outrigger_protocol::time::UnixMillis;
use tokio::io::{AsyncRead, AsyncReadExt as _};
use tokio::sync::Notify;
use zeroize::Zeroizing;

use super::passage::Passage;
use super::pipeline::LogPipeline;

/// What one read takes: a quarter of a pipe.
const CHUNK_BYTES: usize = 16 * 1024;

/// Chunks after which everybody else has a turn: a pipe that is filled as fast as it is read is always ready, and the one
/// thread has heartbeats to send.
const CHUNKS_AT_A_TIME: u32 = 4;

/// How long what may be the beginning of a secret is held back from the agent's own output when nothing follows it: not
/// felt by whoever waits for a prompt, and long for a program in the middle of a write.
const HOLD: Duration = Duration::from_millis(20);

/// Where the lines go.
#[derive(Debug)]
pub struct Tap<'a> {
    pub pipeline: &'a Mutex<LogPipeline>,
    /// Notified when there is something to drain.
    pub arrived: &'a Notify,
    /// Whether there are to be any.
    pub forward: bool,
}

impl Tap<'_> {
    fn pipeline(&self) -> MutexGuard<'_, LogPipeline> {
        self.pipeline.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn feed(&self, stream: LogStream, chunk: Option<&[u8]>, now: UnixMillis) {
        if !self.forward {
            return;
        }
        let mut pipeline = self.pipeline();
        match chunk {
            Some(chunk) => pipeline.feed(stream, chunk, now),
            None => pipeline.finish(stream, now),
        }
        if !pipeline.is_empty() {
            self.arrived.notify_one();
        }
    }
}

/// Reads a stream of the program to its end: into the pipeline, and along the `passage` to the agent's own output.
///
/// A passage whose reader is slow slows the program down, as it would have without the agent. One whose reader is gone
/// is given up, and the log goes on. Nothing else slows the program down, unless it writes faster than this can read.
pub async fn capture(
    stream: LogStream,
    mut reader: impl AsyncRead + Unpin,
    mut passage: Option<Passage>,
    tap: &Tap<'_>,
    clock: impl Fn() -> UnixMillis,
) {
    let mut buffer = Zeroizing::new(vec![0; CHUNK_BYTES]);
    let mut chunks = 0;
    loop {
        chunks = (chunks + 1) % CHUNKS_AT_A_TIME;
        if chunks == 0 {
            tokio::task::yield_now().await;
        }
        let patience = passage.as_ref().filter(|passage| passage.is_holding()).map(|_| HOLD);
        let passed = match within(patience, reader.read(&mut buffer)).await {
            Some(Ok(0)) => break,
            Some(Ok(read)) => {
                let chunk = &buffer[..read];
                tap.feed(stream, Some(chunk), clock());
                match &mut passage {
                    Some(passage) => passage.pass(chunk, || tap.pipeline().secrets()).await,
                    None => Ok(()),
                }
            }
            Some(Err(error)) => {
                tracing::debug!(?stream, %error, "the program's output can no longer be read");
                break;
            }
            None => match &mut passage {
                Some(passage) => passage.flush().await,
                None => Ok(()),
            },
        };
        if let Err(error) = passed {
            tracing::debug!(?stream, %error, "the program's output is no longer passed on");
            passage = None;
        }
    }
    tap.feed(stream, None, clock());
    if let Some(passage) = passage
        && let Err(error) = passage.end().await
    {
        tracing::debug!(?stream, %error, "the end of the program's output is not passed on");
    }
}

/// What comes within this time; `None` when it is over.
async fn within<T>(patience: Option<Duration>, future: impl Future<Output = T>) -> Option<T> {
    match patience {
        Some(patience) => tokio::time::timeout(patience, future).await.ok(),
        None => Some(future.await),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::logs::{LogLimits, Mirror, SecretSet};
    use std::io::Read as _;
    use std::sync::Arc;
    use tokio::io::AsyncWriteExt as _;

    #[tokio::test]
    async fn output_is_forwarded_masked_and_passed_on_as_it_is() {
        let secrets = SecretSet::new([&b"hunter2hunter"[..]]);
        let pipeline = Mutex::new(LogPipeline::new(LogLimits::default(), Arc::new(secrets)));
        let (arrived, (mut program, pipe)) = (Notify::new(), tokio::io::duplex(64));
        let (mut reader, writer) = std::io::pipe().unwrap();
        let mirror = Mirror::new(writer.into()).unwrap();
        let printing = async {
            program.write_all(b"\x1b[1mhunter2hunter\x1b[0m\nlast").await.unwrap();
            drop(program);
        };
        let clock = || UnixMillis::from_millis(5);
        let tap = Tap { pipeline: &pipeline, arrived: &arrived, forward: true };
        let passage = Some(Passage::plain(mirror));
        tokio::join!(printing, capture(LogStream::Stdout, pipe, passage, &tap, clock));
        arrived.notified().await;
        let records = pipeline.lock().unwrap().drain().records;
        let messages: Vec<_> = records.iter().map(|record| (record.at.as_millis(), record.message.as_str())).collect();
        assert_eq!(messages, [(5, "***"), (5, "last")]);
        let mut seen = Vec::new();
        reader.read_to_end(&mut seen).unwrap();
        assert_eq!(seen, b"\x1b[1mhunter2hunter\x1b[0m\nlast");
    }

    #[tokio::test]
    async fn a_mirror_without_reader_does_not_end_the_log() {
        let pipeline = Mutex::new(LogPipeline::new(LogLimits::default(), Arc::new(SecretSet::empty())));
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        let mirror = Mirror::new(writer.into()).unwrap();
        let output = &b"one\ntwo\n"[..];
        let tap = Tap { pipeline: &pipeline, arrived: &Notify::new(), forward: true };
        capture(LogStream::Stderr, output, Some(Passage::plain(mirror)), &tap, || UnixMillis::EPOCH).await;
        assert_eq!(pipeline.lock().unwrap().drain().records.len(), 2);
    }

    #[tokio::test]
    async fn a_prompt_that_begins_like_a_secret_is_seen_while_the_program_waits_and_a_secret_is_not() {
        let secrets = SecretSet::new([&b"password-of-mine"[..]]);
        let pipeline = Mutex::new(LogPipeline::new(LogLimits::default(), Arc::new(secrets)));
        let (mut program, pipe) = tokio::io::duplex(64);
        let (reader, writer) = std::io::pipe().unwrap();
        let mut seen = tokio::net::unix::pipe::Receiver::from_owned_fd(reader.into()).unwrap();
        let talking = async {
            let mut buffer = [0; 64];
            program.write_all(b"Your pass").await.unwrap();
            let mut prompt = Vec::new();
            while prompt.len() < b"Your pass".len() {
                let read = seen.read(&mut buffer).await.unwrap();
                prompt.extend_from_slice(&buffer[..read]);
            }
            program.write_all(b"phrase: password-").await.unwrap();
            program.write_all(b"of-mine pass").await.unwrap();
            drop(program);
            let mut rest = Vec::new();
            seen.read_to_end(&mut rest).await.unwrap();
            [prompt, rest].concat()
        };
        let tap = Tap { pipeline: &pipeline, arrived: &Notify::new(), forward: false };
        let passage = Some(Passage::masked(Mirror::new(writer.into()).unwrap()));
        let capturing = capture(LogStream::Stdout, pipe, passage, &tap, || UnixMillis::EPOCH);
        let (shown, ()) = tokio::join!(talking, capturing);
        assert_eq!(String::from_utf8(shown).unwrap(), "Your passphrase: *** pass");
        assert!(pipeline.lock().unwrap().is_empty(), "nothing is to be forwarded");
    }
}
