//! The host's side of `wit/policy.wit`, generated. Nothing outside this crate sees these types.
#![allow(missing_debug_implementations, unreachable_pub)]

wasmtime::component::bindgen!({
    path: "../../wit",
    world: "policy",
    imports: { default: trappable },
});
