//! A selector that is read says what it is in words that are read as the same one.

#![no_main]

use libfuzzer_sys::fuzz_target;
use outrigger_protocol::rule::Selector;

fuzz_target!(|input: (&str, &str)| {
    let (text, name) = input;
    let Ok(selector) = text.parse::<Selector>() else { return };
    let _ = selector.takes_name(name);
    let shown = selector.to_string();
    // The canonical form may be a little longer than what was written.
    if let Ok(again) = shown.parse::<Selector>() {
        assert!(again == selector, "{shown}");
    }
});
