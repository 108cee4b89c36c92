//! Guests for the tests of whoever runs policies.

/// A policy that does what its configuration says, `{"misbehave":"spin"}`; `plugins/hostile` lists what it can.
pub const HOSTILE: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/hostile.component.wasm"));

/// A component of another world, which imports and exports things that no policy does.
pub const FOREIGN: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/foreign.component.wasm"));

/// A core module: what a policy is before it is encoded as a component.
pub const CORE_MODULE: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/threshold.module.wasm"));

/// [`HOSTILE`] with another conduct when it is asked to describe itself: `spin`, `trap`, `name`, `schema` or `large`.
///
/// # Panics
/// When the guest does not carry its switch, which means that it was built from other sources.
#[must_use]
pub fn hostile_describing(conduct: &str) -> Vec<u8> {
    let switch = |conduct: &str| format!("{:<32}", format!("hostile-describe:{conduct}"));
    replaced(HOSTILE, &switch("well"), &switch(conduct))
}

/// A component with every occurrence of a text in it replaced by one of the same length: another name for an import,
/// another version of an export.
///
/// # Panics
/// When the texts differ in length or the first does not occur.
#[must_use]
pub fn replaced(component: &[u8], from: &str, to: &str) -> Vec<u8> {
    assert_eq!(from.len(), to.len(), "a longer text would move what follows");
    let mut patched = component.to_vec();
    let places: Vec<usize> = component
        .windows(from.len())
        .enumerate()
        .filter(|(_, text)| *text == from.as_bytes())
        .map(|(at, _)| at)
        .collect();
    assert!(!places.is_empty(), "the component does not contain `{from}`");
    for place in places {
        patched[place..place + to.len()].copy_from_slice(to.as_bytes());
    }
    patched
}
