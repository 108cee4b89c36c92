//! Standard output, as something that can fail.

use std::fmt::Arguments;
use std::io::{ErrorKind, Write as _, stdout};

#[derive(Debug, thiserror::Error)]
pub(crate) enum ConsoleError {
    /// The reader went away (`… | head`), which ends the program and is no failure.
    #[error("nobody reads standard output")]
    ReaderLeft,
    #[error("cannot write to standard output")]
    Write(#[source] std::io::Error),
}

/// Writes one line.
pub(crate) fn line(text: Arguments<'_>) -> Result<(), ConsoleError> {
    write(format_args!("{text}\n"))
}

/// Writes a text as it is.
pub(crate) fn text(text: &str) -> Result<(), ConsoleError> {
    write(format_args!("{text}"))
}

/// Writes bytes as they are.
pub(crate) fn bytes(bytes: &[u8]) -> Result<(), ConsoleError> {
    let mut out = stdout().lock();
    out.write_all(bytes).and_then(|()| out.flush()).map_err(failed)
}

fn write(text: Arguments<'_>) -> Result<(), ConsoleError> {
    let mut out = stdout().lock();
    out.write_fmt(text).and_then(|()| out.flush()).map_err(failed)
}

fn failed(error: std::io::Error) -> ConsoleError {
    if error.kind() == ErrorKind::BrokenPipe { ConsoleError::ReaderLeft } else { ConsoleError::Write(error) }
}
