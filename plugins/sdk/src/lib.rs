//! Write a scaling policy for Outrigger in a page of Rust.
//!
//! A policy is a type that implements [`Policy`]: a configuration that serde reads, a check of what the schema cannot
//! say, and a decision. [`export_policy!`] makes a component of it.
//!
//! ```
//! use outrigger_policy_sdk::{Decision, Input, Needs, Policy, Problems, Proposal, Span, export_policy};
//!
//! pub struct Steady;
//!
//! #[derive(serde::Deserialize)]
//! #[serde(deny_unknown_fields)]
//! pub struct Config {
//!     replicas: u32,
//! }
//!
//! impl Policy for Steady {
//!     const NAME: &'static str = "steady";
//!     const VERSION: &'static str = "1.0.0";
//!     const SUMMARY: &'static str = "Always asks for the same number.";
//!     const CONFIG_SCHEMA: &'static str = r#"{
//!         "type": "object", "required": ["replicas"], "additionalProperties": false,
//!         "properties": { "replicas": { "type": "integer", "minimum": 0 } }
//!     }"#;
//!     type Config = Config;
//!
//!     fn check(_: &Config, _: &mut Problems) -> Needs {
//!         Needs::nothing()
//!     }
//!
//!     fn decide(config: &Config, _: &Input) -> Decision {
//!         Ok(Proposal::of(config.replicas, "that is what was asked for"))
//!     }
//! }
//!
//! export_policy!(Steady);
//! ```
//!
//! What must never be true: that a policy takes a missing number for a small one. Every helper here answers `None`
//! where nothing is known; a policy that then wants to be safe answers [`Proposal::hold`].
//!
//! Everything runs natively too: `cargo test` calls [`Policy::decide`] with an [`Input`] made by [`testing`].

#[doc(hidden)]
pub mod bindings;
#[doc(hidden)]
pub mod glue;
mod log;
mod needs;
mod proposal;
mod series;
mod span;
mod step;
pub mod testing;

pub use bindings::outrigger::policy::types::{
    Column, Deployment, Failure, Input, Instances, LocalTime, Problem, Series,
};
pub use glue::configuration;
pub use log::{Level, log};
pub use needs::{Needs, Problems};
pub use proposal::{Proposal, rounded};
pub use series::{Summary, Window};
pub use span::Span;
pub use step::Step;

/// What [`Policy::decide`] answers.
pub type Decision = Result<Proposal, Failure>;

/// A scaling policy: a pure function from an input to a proposal.
pub trait Policy {
    /// Lower-case letters, digits and hyphens; at most 64 bytes.
    const NAME: &'static str;
    /// As in Semantic Versioning; `env!("CARGO_PKG_VERSION")` as a rule.
    const VERSION: &'static str;
    /// One sentence.
    const SUMMARY: &'static str;
    /// The JSON Schema of [`Config`](Self::Config), which the host checks before the policy sees a configuration.
    const CONFIG_SCHEMA: &'static str;

    /// What serde makes of the configuration. It should refuse unknown fields.
    type Config: serde::de::DeserializeOwned;

    /// Adds to `problems` what is wrong with the configuration beyond the schema, and tells what the policy needs
    /// to see when it is configured like this.
    fn check(config: &Self::Config, problems: &mut Problems) -> Needs;

    /// The decision. Everything it may depend on is in the arguments. The configuration has passed
    /// [`check`](Self::check).
    ///
    /// # Errors
    /// A [`Failure`], which leaves the deployment as it is. Missing metrics are no failure: answer
    /// [`Proposal::hold`].
    fn decide(config: &Self::Config, input: &Input) -> Decision;
}

/// Makes a component of a [`Policy`]. Once per crate, of crate type `cdylib`; on other targets than WebAssembly it
/// does nothing, so that the crate can be tested natively.
#[macro_export]
#[rustfmt::skip] // It would pull the inner macro to the margin.
macro_rules! export_policy {
    ($policy:ty) => {
        #[cfg(target_arch = "wasm32")]
        const _: () = {
            use $crate::bindings::exports::outrigger::policy::evaluator;

            struct Component;

            impl evaluator::Guest for Component {
                fn describe() -> evaluator::Description {
                    $crate::glue::describe::<$policy>()
                }

                fn validate(config: String) -> Result<evaluator::Needs, Vec<evaluator::Problem>> {
                    $crate::glue::validate::<$policy>(&config)
                }

                fn evaluate(input: evaluator::Input) -> Result<evaluator::Proposal, evaluator::Failure> {
                    $crate::glue::evaluate::<$policy>(&input)
                }
            }

            $crate::bindings::export!(Component with_types_in $crate::bindings);
        };
    };
}
