//! The engine with everything around it: store, ingest, policies; only the sandboxes are simulated.

mod adversity;
mod fickle;
mod fleet;
mod lifecycle;
mod outside;
mod policies;
mod recovery;
mod rollouts;
mod scaling;
mod world;
