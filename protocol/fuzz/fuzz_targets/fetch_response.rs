//! Any bytes are a fetch response or an error, and what they decode to survives its own round trip.

#![no_main]

use libfuzzer_sys::fuzz_target;
use outrigger_protocol::codec::{PREFIX_BYTES, decode, encode};
use outrigger_protocol::fetch::FetchResponse;

fuzz_target!(|bytes: &[u8]| {
    let Ok(value) = decode::<FetchResponse>(bytes) else { return };
    let mut again = Vec::new();
    encode(&value, &mut again).expect("what was decoded is within the limits");
    assert!(decode::<FetchResponse>(&again[PREFIX_BYTES..]).expect("what was encoded") == value);
});
