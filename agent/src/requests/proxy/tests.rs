//! The proxy between real sockets, by subject.

mod clients;
mod ends;
mod faults;
mod fixture;
mod http2;
mod kept;
mod passing;
mod refusals;
mod tunnels;
