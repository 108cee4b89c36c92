//! The admin API over real HTTP: a whole control plane on loopback, and clients that know nothing but its address.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a failed expectation is what ends a test")]

mod accounts;
mod approval;
mod audit;
mod client;
mod deployments;
mod environments;
mod evaluation;
mod files;
mod health;
mod hostile;
mod idempotency;
mod inheritance;
mod instances;
mod keys;
mod lifecycle;
mod logs;
mod metrics;
mod openapi;
mod policies;
mod projects;
mod rollouts;
mod templates;
mod tenancy;
mod variables;
mod world;
