//! Any bytes are a dotenv file or are refused.

#![no_main]

use libfuzzer_sys::fuzz_target;
use outrigger_configuration::format::Format;
use outrigger_configuration_fuzz::round_trip;

fuzz_target!(|bytes: &[u8]| round_trip(Format::Dotenv, bytes));
