//! The archive over a store on a simulated disk, and in a process that is killed.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a failed test is a panic")]

mod bounds;
mod exactly_once;
mod faults;
mod forgetting;
mod kill;
mod rollups;
mod world;
