//! Any bytes name one agent or are refused.

#![no_main]

use libfuzzer_sys::fuzz_target;
use outrigger_protocol::identity::{PeerIdentity, validity};

fuzz_target!(|bytes: &[u8]| {
    let certificate = bytes.into();
    let _ = validity(&certificate);
    let _ = PeerIdentity::from_certificate(&certificate);
});
