//! Any numbers return bit for bit.

#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| outrigger_history_fuzz::round_trip(bytes));
