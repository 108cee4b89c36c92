//! The policies that ship with Outrigger, as components, embedded in the program.
//!
//! They are ordinary policies: the host gives them no privilege, loads them as it loads an upload, and finds them by
//! name only because they are here. Their sources are in `plugins/`; the build script compiles and encodes them.
//!
//! What must never be true: that this crate runs one. It holds bytes.

mod resolve;
#[cfg(feature = "test-support")]
pub mod test_support;

pub use resolve::{ResolveError, resolve};

/// A policy that is always there.
#[derive(Debug, Clone, Copy)]
pub struct BuiltinPolicy {
    /// As the policy's own description says.
    pub name: &'static str,
    /// The version of this program, which it was built with.
    pub version: &'static str,
    /// The component.
    pub component: &'static [u8],
}

const BUILTIN: &[BuiltinPolicy] = &[
    BuiltinPolicy {
        name: "threshold",
        version: env!("CARGO_PKG_VERSION"),
        component: include_bytes!(concat!(env!("OUT_DIR"), "/threshold.component.wasm")),
    },
    BuiltinPolicy {
        name: "weighted",
        version: env!("CARGO_PKG_VERSION"),
        component: include_bytes!(concat!(env!("OUT_DIR"), "/weighted.component.wasm")),
    },
    BuiltinPolicy {
        name: "target",
        version: env!("CARGO_PKG_VERSION"),
        component: include_bytes!(concat!(env!("OUT_DIR"), "/target.component.wasm")),
    },
    BuiltinPolicy {
        name: "concurrency",
        version: env!("CARGO_PKG_VERSION"),
        component: include_bytes!(concat!(env!("OUT_DIR"), "/concurrency.component.wasm")),
    },
    BuiltinPolicy {
        name: "schedule",
        version: env!("CARGO_PKG_VERSION"),
        component: include_bytes!(concat!(env!("OUT_DIR"), "/schedule.component.wasm")),
    },
];

/// All of them, in the order in which they are listed to people.
#[must_use]
pub const fn builtin() -> &'static [BuiltinPolicy] {
    BUILTIN
}
