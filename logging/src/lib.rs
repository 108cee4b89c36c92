//! How the log lines of both programs look as JSON: one object a line, of one shape, whoever wrote it.
//!
//! ```json
//! {"timestamp":"2026-01-31T12:00:00.250Z","level":"info","target":"outrigger_engine::lifecycle","message":"started",
//!  "fields":{"deployment":"dep_…","replicas":3},"spans":[{"name":"request","id":1,"fields":{"request_id":"…"}}]}
//! ```
//!
//! `fields` and `spans` are left out when there are none; spans stand from the outermost to the innermost. What an event
//! calls its fields can hide nothing else, because they are in an object of their own. A text of any origin stays within
//! its line and within [`LONGEST`] bytes.
//!
//! What must never be true: a line that is no JSON, or that a logged text can end or forge.

mod event;
mod fields;
mod text;

pub use event::JsonLines;
pub use fields::JsonFields;
pub use text::LONGEST;
