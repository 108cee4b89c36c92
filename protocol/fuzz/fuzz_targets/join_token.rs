//! Any text is a join token or an error, and a token's text parses back to it.

#![no_main]

use libfuzzer_sys::fuzz_target;
use outrigger_protocol::join_token::JoinToken;

fuzz_target!(|text: &str| {
    let Ok(token) = text.parse::<JoinToken>() else { return };
    assert!(token.reveal().parse::<JoinToken>().expect("its own text") == token);
});
