//! The book on a real store: what goes in comes out, after a restart as well, and never more than is to be kept.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a failed expectation is what ends a test")]

mod desk;
mod following;
mod keeping;
mod queries;
