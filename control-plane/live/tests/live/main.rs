//! Live streams over HTTP polling, without a network: the service is called directly, and its clients are written here,
//! so that each packet is seen. The client that people have is driven by the end-to-end tests.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a failed expectation is what ends a test")]

mod client;
mod limits;
mod subscriptions;
mod tokens;
mod world;
