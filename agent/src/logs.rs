//! What the program writes, on its way from a pipe to log records.
//!
//! Bytes flow through four small machines, each of which keeps state across chunk edges: `plain` strips terminal
//! sequences and control characters, [`Masker`] replaces secrets, `lines` cuts lines, `level` guesses how serious a
//! line is. A token bucket then decides whether the line is kept. All of that is [`LogPipeline`], which is pure: time
//! is an argument. [`capture`] is the one function that touches a pipe.
//!
//! The program's own stdout and stderr are passed on as they are, colours and all: whoever runs the agent sees what the
//! program printed. Masked is what is forwarded; and what is passed on too, when that is asked for ([`Passage`]).
//!
//! What must never be true: a secret in a record, a line or a queue without a bound, or a dropped line that nobody
//! counted.

mod capture;
mod level;
mod lines;
mod mask;
// Registering a descriptor with the runtime is unsafe in tokio.
#[allow(unsafe_code)]
mod mirror;
mod passage;
mod pipeline;
mod plain;
mod rate;

pub use self::capture::{Tap, capture};
pub use self::mask::{MIN_SECRET_BYTES, Masker, SecretSet};
pub use self::mirror::Mirror;
pub use self::passage::Passage;
pub use self::pipeline::{LogLimits, LogPipeline, LogRecords};
