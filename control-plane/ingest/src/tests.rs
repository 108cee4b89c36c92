//! The server over real sockets, with the real client, on a real database in a directory that goes away.

mod absence;
mod delivery;
mod enrolment;
mod fetching;
mod fleet;
mod hostile;
mod probes;
mod samples;
mod sessions;
mod world;
