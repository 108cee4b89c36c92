//! The admin API: HTTP and JSON over the handles of the control plane.
//!
//! A request flows through one set of layers ([`layers`]): an id, a bound on body and time, a span, and at the way out the
//! envelope for whatever went wrong. [`extract`] turns headers and body into a checked value and an `Actor`; a route
//! calls one method of a handle; [`shape`] turns the answer into JSON. Each resource has its file in [`routes`].
//! [`metrics`] counts the requests and writes the page for Prometheus.
//!
//! What must never be true: a route opens a table, decides who may see what (the catalog's keys do), answers without
//! the envelope, or puts a secret's value anywhere but into the answer of `reveal`.

#![allow(rustdoc::private_intra_doc_links, reason = "the head is a map of the crate for those who work in it")]

mod auth;
mod envelope;
mod error;
mod extract;
mod layers;
mod log_filter;
mod metrics;
mod repeat;
mod routes;
mod shape;
mod state;
mod text;

pub use log_filter::LogFilter;
pub use metrics::{
    Metrics, MetricsAccess, MetricsSources, MetricsToken, MetricsTokenError, Reader, Reading, ReadingKind,
};
pub use routes::{openapi, router};
pub use state::{ApiState, NextMasterKey, Readiness, StoreProbe};
