//! Rollouts over simulated fleets. Every action of every test passes the checks in [`fleet`].

#![allow(clippy::panic, reason = "this is how a test fails")]

mod canary;
mod commands;
mod fleet;
mod gates;
mod pace;
mod properties;
mod restart;
mod steps;
mod succession;
