//! The proxy between real sockets, by subject.

mod clients;
mod ends;
mod faults;
mod fixture;
mod kept;
mod passing;
