//! The catalog against the real embedded store.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a failed expectation is what ends a test")]

mod accounts;
mod approval;
mod audit;
mod audit_chain;
mod changes;
mod concurrency;
mod deployments;
mod enrolment;
mod generations;
mod history;
mod idempotency;
mod inheritance;
mod paging;
mod policies;
mod removed;
mod retention;
mod reveal;
mod roles;
mod rollouts;
mod rotation;
mod scaling;
mod secrecy;
mod templates;
mod tenancy;
mod transfer;
mod variables;
mod world;
