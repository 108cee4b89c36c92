//! YAML (1.2.2, core schema): the text into trees, and variables into text. What a tree means is
//! [`document`](super::document)'s or [`kubernetes`](super::kubernetes)'s.
//!
//! The events of the parser are read rather than its typed values: only they tell a quoted scalar from a plain one, and
//! where each key is.

mod read;
mod scalar;
mod write;

pub(super) use read::{read_all, read_one};
pub(super) use write::{KeyName, ScalarAt, write};
