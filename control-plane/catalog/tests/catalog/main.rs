//! The catalog against the real embedded store.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a failed expectation is what ends a test")]

mod accounts;
mod audit;
mod changes;
mod concurrency;
mod deployments;
mod enrolment;
mod generations;
mod idempotency;
mod paging;
mod policies;
mod retention;
mod roles;
mod scaling;
mod secrecy;
mod tenancy;
mod variables;
mod world;
