//! Any bytes are an environment or an error; its canonical form is stable, and its rules judge it without a panic.

#![no_main]

use libfuzzer_sys::fuzz_target;
use outrigger_protocol::environment::Environment;

fuzz_target!(|bytes: &[u8]| {
    let Ok(environment) = Environment::decode(bytes) else { return };
    let canonical = environment.encode().expect("what was decoded is within the limits");
    assert!(Environment::decode(&canonical).expect("what was encoded") == environment);
    for problem in environment.validate(&[]).err().unwrap_or_default() {
        assert!(problem.to_string().len() < 1024, "a problem is a sentence");
    }
});
