//! What holds for everything that goes through this crate, from outside it.

mod golden;
mod hostile;
mod queries;
mod ring;
mod rollups;
mod round_trip;
mod samples;
