//! What callers may ask for. Every check reports into one list, so that all problems are told at once, and no problem
//! ever quotes the value: it may be a secret in the wrong field.

mod observation;

use std::collections::HashMap;
use std::ops::RangeInclusive;
use std::time::Duration;

use outrigger_protocol::limits::START_ONLY_NAMES;
use outrigger_protocol::message::ApplyStrategy;
use outrigger_protocol::metric::SAMPLE_INTERVALS;
use outrigger_protocol::probe;
use outrigger_rollout::{InvalidSettings, Problem, Settings};
use serde::de::IgnoredAny;

use crate::error::{CatalogError, FieldProblem};
use crate::model::{DeploymentSpec, PolicyBinding};

/// Names of projects, environments, deployments, bindings; in characters.
pub(crate) const NAME_CHARS: usize = 100;
pub(crate) const DESCRIPTION_BYTES: usize = 2048;
/// RFC 5321, 4.5.3.1.3: a path is at most 256 octets, with its angle brackets.
const EMAIL_BYTES: usize = 254;
/// RFC 5321, 4.5.3.1.1.
const EMAIL_LOCAL_BYTES: usize = 64;
/// NIST SP 800-63B, 5.1.1.2: at least 8 characters, and at least 64 must be possible.
const PASSWORD_CHARS: usize = 8;
/// Bounds what a caller makes us hash.
const PASSWORD_BYTES: usize = 256;
/// Names of variables; the rest of an environment's limits is the kernel's (see `outrigger_protocol::limits`).
pub(crate) const VARIABLE_NAME_BYTES: usize = 128;
/// Texts of generations.
pub(crate) const MESSAGE_BYTES: usize = 1024;
/// Most replicas of a deployment: as many as one scaling transaction can create or destroy.
pub const MAX_REPLICAS: u32 = 1_000;
const COMMAND_BYTES: usize = 64 * 1024;
const COMMAND_ARGUMENTS: usize = 1024;
const DRIVER_BYTES: usize = 64;
const ALLOWED_NAMES: usize = 64;
const POLICIES: usize = 16;
const POLICY_CONFIG_BYTES: usize = 64 * 1024;
/// As the agent's `--scrape-interval`.
const SCRAPE_INTERVALS: RangeInclusive<Duration> = Duration::from_millis(100)..=Duration::from_secs(60 * 60);
/// As often as samples may come.
const MIN_FRESHNESS: Duration = Duration::from_millis(100);
const MAX_SPAN: Duration = Duration::from_secs(7 * 24 * 60 * 60);
const MAX_JITTER: Duration = Duration::from_secs(60 * 60);
const MAX_BAKE_TIME: Duration = Duration::from_secs(60 * 60);
/// A thousand cores and a pebibyte: beyond them, a unit was mistaken.
const MAX_CPU_CORES: f64 = 1024.0;
const MIN_MEMORY_BYTES: u64 = 1024 * 1024;
const MAX_MEMORY_BYTES: u64 = 1 << 50;
/// signal(7), with the real-time signals.
const SIGNALS: std::ops::RangeInclusive<i32> = 1..=64;

/// Collects what is wrong.
#[derive(Debug, Default)]
pub(crate) struct Problems(Vec<FieldProblem>);

impl Problems {
    pub(crate) fn add(&mut self, field: impl Into<String>, problem: impl Into<String>) {
        self.0.push(FieldProblem { field: field.into(), problem: problem.into() });
    }

    pub(crate) fn require(&mut self, holds: bool, field: &str, problem: impl FnOnce() -> String) {
        if !holds {
            self.add(field, problem());
        }
    }

    pub(crate) fn into_result(self) -> Result<(), CatalogError> {
        if self.0.is_empty() { Ok(()) } else { Err(CatalogError::Validation(self.0)) }
    }

    /// A name that people give: not blank, on one line.
    pub(crate) fn name(&mut self, field: &str, name: &str) {
        if name.trim().is_empty() {
            self.add(field, "is required");
        } else if name.chars().count() > NAME_CHARS {
            self.add(field, format!("must have at most {NAME_CHARS} characters"));
        }
        self.require(!name.chars().any(char::is_control), field, || "must not contain control characters".to_owned());
    }

    pub(crate) fn text(&mut self, field: &str, text: &str, most: usize) {
        self.require(text.len() <= most, field, || format!("must have at most {most} bytes, not {}", text.len()));
        self.require(!text.contains('\0'), field, || "must not contain a NUL byte".to_owned());
    }

    /// An e-mail address as far as it matters: one `@` with something sensible on both sides. Whether it exists, only
    /// a message could tell.
    pub(crate) fn email(&mut self, address: &str) {
        if address.is_empty() {
            return self.add("email", "is required");
        }
        let sensible = |part: &str| {
            !part.is_empty()
                && !part.chars().any(|c| c.is_whitespace() || c.is_control() || matches!(c, '<' | '>' | ','))
        };
        let fits = address.len() <= EMAIL_BYTES
            && address.split_once('@').is_some_and(|(local, domain)| {
                sensible(local)
                    && local.len() <= EMAIL_LOCAL_BYTES
                    && sensible(domain)
                    && !domain.contains('@')
                    && !domain.starts_with('.')
                    && !domain.ends_with('.')
            });
        self.require(fits, "email", || "is not an e-mail address".to_owned());
    }

    pub(crate) fn password(&mut self, password: &str) {
        if password.is_empty() {
            return self.add("password", "is required");
        }
        self.require(password.chars().count() >= PASSWORD_CHARS, "password", || {
            format!("must have at least {PASSWORD_CHARS} characters")
        });
        self.require(password.len() <= PASSWORD_BYTES, "password", || {
            format!("must have at most {PASSWORD_BYTES} bytes")
        });
    }

    pub(crate) fn deployment(&mut self, spec: &DeploymentSpec) {
        self.name("name", &spec.name);
        self.driver(&spec.driver);
        self.command(&spec.command);
        self.resources(spec);
        self.replicas(spec);
        self.apply(spec.apply);
        self.trial(spec);
        self.rollout(&spec.rollout);
        probe::check(&spec.probes, |field, problem| self.add(field, problem));
        self.span("sampleInterval", spec.sample_interval, *SAMPLE_INTERVALS.start(), *SAMPLE_INTERVALS.end());
        self.observation(spec);
        self.guards(spec);
        self.variable_names("allowedNames", &spec.allowed_names, ALLOWED_NAMES);
        self.bindings(&spec.policies);
    }

    fn driver(&mut self, driver: &str) {
        let fits = !driver.is_empty()
            && driver.len() <= DRIVER_BYTES
            && driver.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-');
        self.require(fits, "driver", || "must be the name of a driver, such as `process`".to_owned());
    }

    fn command(&mut self, command: &[String]) {
        let named = command.first().is_some_and(|program| !program.is_empty());
        self.require(named, "command", || "must name a program".to_owned());
        self.require(command.len() <= COMMAND_ARGUMENTS, "command", || {
            format!("must have at most {COMMAND_ARGUMENTS} elements, not {}", command.len())
        });
        let bytes: usize = command.iter().map(|argument| argument.len() + 1).sum();
        self.require(bytes <= COMMAND_BYTES, "command", || {
            format!("must have at most {COMMAND_BYTES} bytes, not {bytes}")
        });
        self.require(!command.iter().any(|argument| argument.contains('\0')), "command", || {
            "must not contain a NUL byte".to_owned()
        });
    }

    fn resources(&mut self, spec: &DeploymentSpec) {
        if let Some(cores) = spec.resources.cpu_cores {
            // Also refuses NaN, which compares with nothing.
            let fits = cores > 0.0 && cores <= MAX_CPU_CORES;
            self.require(fits, "resources.cpu", || format!("must be more than 0 and at most {MAX_CPU_CORES} cores"));
        }
        if let Some(bytes) = spec.resources.memory_bytes {
            self.require((MIN_MEMORY_BYTES..=MAX_MEMORY_BYTES).contains(&bytes), "resources.memory", || {
                format!("must be {MIN_MEMORY_BYTES} to {MAX_MEMORY_BYTES} bytes, not {bytes}")
            });
        }
    }

    fn replicas(&mut self, spec: &DeploymentSpec) {
        let (min, max, initial) = (spec.min_replicas, spec.max_replicas, spec.initial_replicas);
        self.require((1..=MAX_REPLICAS).contains(&max), "replicas.max", || {
            format!("must be 1 to {MAX_REPLICAS}, not {max}")
        });
        self.require(min <= max, "replicas.min", || format!("is {min} and above replicas.max, which is {max}"));
        self.require((min..=max.max(min)).contains(&initial), "replicas.initial", || {
            format!("is {initial} and not within replicas.min and replicas.max, {min} to {max}")
        });
    }

    fn apply(&mut self, apply: ApplyStrategy) {
        match apply {
            ApplyStrategy::Restart { jitter } => {
                self.span("applyStrategy.jitter", jitter, Duration::ZERO, MAX_JITTER);
            }
            ApplyStrategy::Signal { signal } => {
                self.require(SIGNALS.contains(&signal), "applyStrategy.signal", || {
                    format!("must be a signal's number, {} to {}", SIGNALS.start(), SIGNALS.end())
                });
            }
            ApplyStrategy::File | ApplyStrategy::None => {}
        }
    }

    fn guards(&mut self, spec: &DeploymentSpec) {
        let guards = &spec.guards;
        self.span("scaling.freshness", guards.freshness, MIN_FRESHNESS, MAX_SPAN);
        self.span("scaling.cooldownUp", guards.cooldown_up, Duration::ZERO, MAX_SPAN);
        self.span("scaling.cooldownDown", guards.cooldown_down, Duration::ZERO, MAX_SPAN);
        let steps = [("scaling.maxStepUp", guards.max_step_up), ("scaling.maxStepDown", guards.max_step_down)];
        for (field, step) in steps {
            self.require(step != Some(0), field, || "must be at least 1: pausing is another setting".to_owned());
        }
    }

    fn span(&mut self, field: &str, span: Duration, least: Duration, most: Duration) {
        self.require((least..=most).contains(&span), field, || {
            format!("must be {} to {} ms, not {}", least.as_millis(), most.as_millis(), span.as_millis())
        });
    }

    fn trial(&mut self, spec: &DeploymentSpec) {
        if let Some(bake_time) = spec.bake_time {
            self.span("applyStrategy.bakeTime", bake_time, Duration::ZERO, MAX_BAKE_TIME);
        }
        self.variable_names("applyStrategy.needsRestart", &spec.start_only, START_ONLY_NAMES);
    }

    fn rollout(&mut self, settings: &Settings) {
        if let Err(InvalidSettings(problems)) = settings.clone().compile() {
            for Problem { path, problem } in problems {
                self.add(format!("rollout.{path}"), problem);
            }
        }
    }

    fn variable_names(&mut self, field: &str, names: &[String], most: usize) {
        self.require(names.len() <= most, field, || format!("must have at most {most} elements, not {}", names.len()));
        let fits = |name: &String| !name.is_empty() && name.len() <= VARIABLE_NAME_BYTES && !name.contains(['\0', '=']);
        self.require(names.iter().all(fits), field, || "must be names of variables".to_owned());
    }

    fn bindings(&mut self, bindings: &[PolicyBinding]) {
        self.require(bindings.len() <= POLICIES, "policies", || {
            format!("must have at most {POLICIES} elements, not {}", bindings.len())
        });
        let mut places = HashMap::new();
        for (at, binding) in bindings.iter().enumerate() {
            self.binding(&format!("policies[{at}]."), binding);
            if let Some(before) = places.insert(&binding.name, at) {
                self.add(format!("policies[{at}].name"), format!("is also the name of policies[{before}]"));
            }
        }
    }

    /// Whether the configuration fits the policy's schema is for the policy host to say; here it is any JSON. `path`
    /// comes before the names of the binding's fields: empty where the request is the binding itself.
    pub(crate) fn binding(&mut self, path: &str, binding: &PolicyBinding) {
        let config = format!("{path}config");
        self.name(&format!("{path}name"), &binding.name);
        self.text(&config, &binding.config, POLICY_CONFIG_BYTES);
        if let Err(error) = serde_json::from_str::<IgnoredAny>(&binding.config) {
            self.add(config, format!("is not JSON (line {}, column {})", error.line(), error.column()));
        }
    }
}

/// Names in one message; the rest is counted.
const NAMES_SHOWN: usize = 10;

/// Names for people, in alphabetical order.
pub(crate) fn listed<N: AsRef<str>>(names: impl IntoIterator<Item = N>) -> String {
    let names: Vec<N> = names.into_iter().collect();
    let mut names: Vec<&str> = names.iter().map(AsRef::as_ref).collect();
    names.sort_unstable();
    let more = names.len().saturating_sub(NAMES_SHOWN);
    names.truncate(NAMES_SHOWN);
    let more = if more == 0 { String::new() } else { format!(" and {more} more") };
    format!("{}{more}", names.join(", "))
}

/// `text` cut to at most `most` bytes, at the end of a character.
pub(crate) fn clip(text: &str, most: usize) -> String {
    text[..text.floor_char_boundary(most)].to_owned()
}

/// An e-mail address as it is looked up: two that differ only in case are one.
pub(crate) fn normalize_email(address: &str) -> String {
    address.trim().to_lowercase()
}
