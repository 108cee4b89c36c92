use std::fmt;
use std::io;

/// Whether trying again can help.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum FailureKind {
    /// The same call may succeed later.
    Transient,
    /// The same call will fail in the same way until somebody changes something.
    Permanent,
}

impl fmt::Display for FailureKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Transient => "transient",
            Self::Permanent => "permanent",
        })
    }
}

/// A driver could not do what it was asked to. Holds no secret: it ends up in events and logs.
#[derive(Debug, thiserror::Error)]
#[error("cannot {operation}: {reason}")]
pub struct DriverError {
    pub kind: FailureKind,
    /// What was tried, as a verb with its object: `start the agent`.
    pub operation: &'static str,
    /// On what, or why not.
    pub reason: String,
    #[source]
    pub source: Option<io::Error>,
}

impl DriverError {
    #[must_use]
    pub fn permanent(operation: &'static str, reason: impl Into<String>) -> Self {
        Self { kind: FailureKind::Permanent, operation, reason: reason.into(), source: None }
    }

    #[must_use]
    pub fn transient(operation: &'static str, reason: impl Into<String>) -> Self {
        Self { kind: FailureKind::Transient, operation, reason: reason.into(), source: None }
    }

    /// What a failed system call means for the same call later: what is missing or forbidden stays so.
    #[must_use]
    pub fn system(operation: &'static str, on: impl Into<String>, source: io::Error) -> Self {
        use io::ErrorKind::{InvalidInput, NotFound, PermissionDenied, ReadOnlyFilesystem, Unsupported};
        let permanent =
            matches!(source.kind(), NotFound | PermissionDenied | ReadOnlyFilesystem | Unsupported | InvalidInput);
        let kind = if permanent { FailureKind::Permanent } else { FailureKind::Transient };
        Self { kind, operation, reason: on.into(), source: Some(source) }
    }
}
