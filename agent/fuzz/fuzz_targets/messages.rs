//! However the bytes of a connection arrive, the proxy believes the same of them.

#![no_main]

use libfuzzer_sys::fuzz_target;
use outrigger_agent::requests::proxy::follow;

fuzz_target!(|input: (u8, &[u8])| {
    let (piece, bytes) = input;
    let at_once = follow(bytes, bytes.len());
    let in_pieces = follow(bytes, usize::from(piece));
    // A piece may show less of a message that breaks off than the whole does, and never more.
    assert!(at_once <= bytes.len() && in_pieces <= bytes.len());
    if at_once == bytes.len() {
        assert_eq!(in_pieces, at_once);
    }
});
