//! What the variables of an environment come to: inheritance, references, differences, and the files they are kept in.

pub mod diff;
pub mod format;
pub mod resolve;
