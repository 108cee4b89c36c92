//! Any bytes are a row of history or are refused.

#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| outrigger_history_fuzz::read(bytes));
