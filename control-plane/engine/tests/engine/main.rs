//! The engine with everything around it: store, ingest, policies; only the sandboxes are simulated.

mod fleet;
mod lifecycle;
mod outside;
mod policies;
mod pushing;
mod recovery;
mod scaling;
mod world;
