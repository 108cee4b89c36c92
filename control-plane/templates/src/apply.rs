//! From a template, and what a caller says about it, to variables to be written.

mod problem;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use outrigger_protocol::environment::VariableKind;
use zeroize::Zeroizing;

pub use problem::{ApplyError, ApplyProblem, Refusal};

use crate::generate::Generator;
use crate::limits;
use crate::nearest::nearest;
use crate::template::{Stage, Template, Variable};

/// What a caller says.
#[derive(Clone, Copy)]
pub struct Application<'a> {
    pub stage: Stage,
    /// Values by name. A value may be a reference (`${…}`).
    pub overrides: &'a BTreeMap<String, Zeroizing<String>>,
    /// The variables of the environment that have a value already.
    pub existing: &'a BTreeSet<String>,
    /// Whether what the template and the overrides say replaces existing values, generated ones included. Otherwise
    /// those are kept, and an override of one is refused.
    pub replace: bool,
    /// Whether random secrets are made where the template wants them. Otherwise they are to be passed in like others.
    pub generate: bool,
}

impl fmt::Debug for Application<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Application")
            .field("stage", &self.stage)
            .field("overrides", &self.overrides.keys())
            .field("existing", &self.existing)
            .field("replace", &self.replace)
            .field("generate", &self.generate)
            .finish()
    }
}

/// What an application comes to. Every variable of the template is in exactly one of the lists.
#[derive(Debug, PartialEq, Eq)]
pub struct Applied {
    /// To be written, in the template's order.
    pub variables: Vec<AppliedVariable>,
    /// Had a value, and keep it.
    pub kept: Vec<String>,
    /// Optional, and nobody says what they should be: not written.
    pub unset: Vec<String>,
}

/// A variable to be written.
#[derive(Clone, PartialEq, Eq)]
pub struct AppliedVariable {
    pub key: String,
    /// As it is to be stored: references are not resolved.
    pub value: Zeroizing<String>,
    pub kind: VariableKind,
    pub secret: bool,
    pub required: bool,
    pub description: String,
    pub origin: Origin,
}

/// Where a value comes from. Never from an example.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Origin {
    Override,
    Default,
    /// Random. A value of this origin never contains a reference.
    Generated,
}

impl Origin {
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Override => "override",
            Self::Default => "default",
            Self::Generated => "generated",
        }
    }
}

/// A value is never formatted, not even one that is not secret.
impl fmt::Debug for AppliedVariable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AppliedVariable")
            .field("key", &self.key)
            .field("kind", &self.kind)
            .field("secret", &self.secret)
            .field("required", &self.required)
            .field("origin", &self.origin)
            .finish_non_exhaustive()
    }
}

/// The variables that `template` comes to. `fill` fills a buffer with random bytes; it is called only once nothing can
/// be refused any more.
///
/// A value is the override, or else the existing value, or else the stage's default, or else it is generated. With
/// [`replace`](Application::replace) the existing value comes last.
///
/// # Errors
/// Every reason at once: required variables that have no value, overrides that the template does not know, that do not
/// fit, or that would replace a value. Or `fill` is no source of randomness.
pub fn apply(
    template: &Template,
    application: &Application<'_>,
    fill: &mut dyn FnMut(&mut [u8]),
) -> Result<Applied, ApplyError> {
    let mut problems = unknown_overrides(template, application.overrides);
    let mut plans = Vec::with_capacity(template.variables().len());
    for variable in template.variables() {
        match plan(variable, application) {
            Ok(plan) => plans.push((variable, plan)),
            Err(refusals) => problems.extend(refusals.into_iter().map(|kind| ApplyProblem::new(variable.key(), kind))),
        }
    }
    if !problems.is_empty() {
        return Err(ApplyError::Refused { problems });
    }
    carry_out(&plans, fill)
}

/// What becomes of one variable.
enum Plan<'a> {
    Write(Origin, &'a str),
    Generate(&'a Generator),
    Keep,
    LeaveUnset,
}

fn plan<'a>(variable: &'a Variable, application: &Application<'a>) -> Result<Plan<'a>, Vec<Refusal>> {
    let exists = application.existing.contains(variable.key());
    let stays = exists && !application.replace;
    if let Some(value) = application.overrides.get(variable.key()) {
        let mut refusals: Vec<Refusal> = variable.unfit(value).into_iter().map(Refusal::Unfit).collect();
        if stays {
            refusals.push(Refusal::AlreadySet);
        }
        return if refusals.is_empty() { Ok(Plan::Write(Origin::Override, value)) } else { Err(refusals) };
    }
    if stays {
        return Ok(Plan::Keep);
    }
    if let Some(value) = variable.default().at(application.stage) {
        return Ok(Plan::Write(Origin::Default, value));
    }
    match variable.generate() {
        Some(generator) if application.generate => Ok(Plan::Generate(generator)),
        _ if exists => Ok(Plan::Keep),
        generator if variable.is_required() => {
            let example = variable.example().map(str::to_owned);
            Err(vec![Refusal::Missing { example, can_be_generated: generator.is_some() }])
        }
        _ => Ok(Plan::LeaveUnset),
    }
}

fn unknown_overrides(template: &Template, overrides: &BTreeMap<String, Zeroizing<String>>) -> Vec<ApplyProblem> {
    let (count, limit) = (overrides.len(), limits::VARIABLES);
    if count > limit {
        return vec![ApplyProblem::new("", Refusal::TooManyOverrides { count, limit })];
    }
    let unknown = overrides.keys().filter(|key| template.variable(key).is_none());
    let refusal = |key: &String| {
        // A name that is too long for a variable is nobody's slip, and would only cost time.
        let candidates = template.variables().iter().map(Variable::key);
        let nearest = (key.len() <= limits::KEY_BYTES).then(|| nearest(key, candidates)).flatten();
        ApplyProblem::new(key, Refusal::Unknown { nearest: nearest.map(str::to_owned) })
    };
    unknown.map(refusal).collect()
}

fn carry_out(plans: &[(&Variable, Plan<'_>)], fill: &mut dyn FnMut(&mut [u8])) -> Result<Applied, ApplyError> {
    let mut applied = Applied { variables: Vec::with_capacity(plans.len()), kept: Vec::new(), unset: Vec::new() };
    for (variable, plan) in plans {
        let key = variable.key().to_owned();
        let (origin, value) = match plan {
            Plan::Keep => {
                applied.kept.push(key);
                continue;
            }
            Plan::LeaveUnset => {
                applied.unset.push(key);
                continue;
            }
            Plan::Write(origin, value) => (*origin, Zeroizing::new((*value).to_owned())),
            Plan::Generate(generator) => {
                let secret = generator.generate(fill);
                (Origin::Generated, secret.map_err(|source| ApplyError::Randomness { key: key.clone(), source })?)
            }
        };
        applied.variables.push(AppliedVariable {
            key,
            value,
            kind: variable.kind(),
            secret: variable.is_secret(),
            required: variable.is_required(),
            description: variable.description().to_owned(),
            origin,
        });
    }
    Ok(applied)
}

#[cfg(test)]
mod tests;
