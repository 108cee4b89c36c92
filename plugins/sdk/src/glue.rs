//! Between the generated exports and a [`Policy`].

use crate::bindings::outrigger::policy::types;
use crate::{Failure, Input, Level, Needs, Policy, Problem, Problems};

/// Reads a configuration.
///
/// # Errors
/// In words, with line and column.
pub fn configuration<P: Policy>(text: &str) -> Result<P::Config, String> {
    serde_json::from_str(text).map_err(|error| error.to_string())
}

pub fn describe<P: Policy>() -> types::Description {
    log_panics();
    types::Description {
        name: P::NAME.to_owned(),
        version: P::VERSION.to_owned(),
        summary: P::SUMMARY.to_owned(),
        config_schema: P::CONFIG_SCHEMA.to_owned(),
        needs: Needs::nothing().into(),
    }
}

pub fn validate<P: Policy>(config: &str) -> Result<types::Needs, Vec<Problem>> {
    log_panics();
    let config = configuration::<P>(config).map_err(|message| vec![Problem { path: String::new(), message }])?;
    check::<P>(&config).map(types::Needs::from)
}

pub fn evaluate<P: Policy>(input: &Input) -> Result<types::Proposal, Failure> {
    log_panics();
    let config = configuration::<P>(&input.config).map_err(Failure::InvalidConfig)?;
    // Nobody has to have asked `validate` before. It costs next to nothing, and `decide` sees no unchecked value.
    check::<P>(&config).map_err(|problems| Failure::InvalidConfig(in_words(&problems)))?;
    P::decide(&config, input).map(types::Proposal::from)
}

fn check<P: Policy>(config: &P::Config) -> Result<Needs, Vec<Problem>> {
    let mut problems = Problems::default();
    let needs = P::check(config, &mut problems);
    problems.into_result().map(|()| needs)
}

fn in_words(problems: &[Problem]) -> String {
    problems.iter().map(|problem| format!("{} {}", problem.path, problem.message)).collect::<Vec<_>>().join("; ")
}

/// A panic ends the instance; what it had to say goes into the decision's record first.
fn log_panics() {
    std::panic::set_hook(Box::new(|panic| crate::log(Level::Error, &panic.to_string())));
}
