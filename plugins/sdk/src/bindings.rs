//! The guest's side of `wit/policy.wit`, generated.
#![allow(missing_docs, unreachable_pub, clippy::all)]

wit_bindgen::generate!({
    path: "../../wit",
    world: "policy",
    pub_export_macro: true,
    default_bindings_module: "outrigger_policy_sdk::bindings",
    additional_derives: [PartialEq],
});
