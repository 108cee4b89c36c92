//! A component of another world, for the tests of the host: it imports a clock and exports no evaluator.

mod bindings {
    #![allow(missing_docs, unreachable_pub, clippy::all)]

    wit_bindgen::generate!({
        path: "wit",
        world: "foreign",
        generate_all,
    });
}

struct Foreign;

impl bindings::Guest for Foreign {
    fn run() -> u64 {
        bindings::wasi::clocks::monotonic_clock::now()
    }
}

bindings::export!(Foreign with_types_in bindings);
