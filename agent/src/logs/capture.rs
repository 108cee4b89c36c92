//! Reading one of the program's pipes.

use std::sync::{Mutex, PoisonError};

use outrigger_protocol::log::LogStream;
use outrigger_protocol::time::UnixMillis;
use tokio::io::{AsyncRead, AsyncReadExt as _};
use tokio::sync::Notify;
use zeroize::Zeroizing;

use super::mirror::Mirror;
use super::pipeline::LogPipeline;

/// What one read takes: a quarter of a pipe.
const CHUNK_BYTES: usize = 16 * 1024;

/// Reads a stream of the program to its end: into the pipeline, and as it is to the `mirror`. `arrived` is notified
/// when there is something to drain.
///
/// A mirror whose reader is slow slows the program down, as it would have without the agent. One whose reader is gone
/// is given up, and the log goes on.
pub async fn capture(
    stream: LogStream,
    mut reader: impl AsyncRead + Unpin,
    mut mirror: Option<Mirror>,
    pipeline: &Mutex<LogPipeline>,
    arrived: &Notify,
    clock: impl Fn() -> UnixMillis,
) {
    let mut buffer = Zeroizing::new(vec![0; CHUNK_BYTES]);
    let feed = |chunk: Option<&[u8]>| {
        let mut pipeline = pipeline.lock().unwrap_or_else(PoisonError::into_inner);
        match chunk {
            Some(chunk) => pipeline.feed(stream, chunk, clock()),
            None => pipeline.finish(stream, clock()),
        }
        if !pipeline.is_empty() {
            arrived.notify_one();
        }
    };
    loop {
        let chunk = match reader.read(&mut buffer).await {
            Ok(0) => break,
            Ok(read) => &buffer[..read],
            Err(error) => {
                tracing::debug!(?stream, %error, "the program's output can no longer be read");
                break;
            }
        };
        feed(Some(chunk));
        if let Some(own) = &mut mirror
            && let Err(error) = own.write_all(chunk).await
        {
            tracing::debug!(?stream, %error, "the program's output is no longer passed on");
            mirror = None;
        }
    }
    feed(None);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::logs::{LogLimits, SecretSet};
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
        tokio::join!(printing, capture(LogStream::Stdout, pipe, Some(mirror), &pipeline, &arrived, clock));
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
        capture(LogStream::Stderr, output, Some(mirror), &pipeline, &Notify::new(), || UnixMillis::EPOCH).await;
        assert_eq!(pipeline.lock().unwrap().drain().records.len(), 2);
    }
}
