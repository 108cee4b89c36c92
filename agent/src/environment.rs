//! From a sealed offer to the strings that a program is started with.
//!
//! `ConfigOffer -> unseal -> hash -> decode -> validate -> Prepared`. Every step is refused as a whole: there is no
//! half-filled environment. A [`Prepared`] environment is checked against the kernel's limits before anything that
//! runs is stopped for it, holds plaintext in zeroised buffers, and lets go of it when it is dropped.
//!
//! What must never be true: a value in an error, in a `Debug` output, or in the agent's own environment.

mod file;
mod inherit;
mod size;

use std::collections::BTreeMap;
use std::ffi::{CStr, OsString};
use std::fmt;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::Path;

use outrigger_protocol::codec::CodecError;
use outrigger_protocol::environment::{Environment, Problem};
use outrigger_protocol::message::{ConfigOffer, ConfigRef};
use outrigger_protocol::seal::{SealContext, SealError, SealKeyPair};
use ring::digest;
use zeroize::Zeroizing;

pub use file::{EnvironmentFile, EnvironmentFileError};
pub use inherit::{Inherit, Inheritance};
pub use size::SizeError;

use crate::config::Assignment;
use crate::supervisor::Login;

/// How many problems go into one message; the rest is counted.
const PROBLEMS_SHOWN: usize = 20;

/// Why a configuration cannot be used. In words, without a value.
#[derive(Debug, thiserror::Error)]
pub enum EnvironmentError {
    #[error("the configuration cannot be opened")]
    Open(#[source] SealError),
    #[error("the configuration is not what its hash says")]
    Hash,
    #[error("the configuration cannot be read")]
    Decode(#[source] CodecError),
    #[error("{}", list(.0))]
    Invalid(Vec<Problem>),
    #[error("the environment is too large for the kernel")]
    Size(#[source] SizeError),
}

fn list(problems: &[Problem]) -> String {
    let mut words: Vec<String> = problems.iter().take(PROBLEMS_SHOWN).map(Problem::to_string).collect();
    if problems.len() > PROBLEMS_SHOWN {
        words.push(format!("and {} more", problems.len() - PROBLEMS_SHOWN));
    }
    words.join("; ")
}

/// Opens an offer and checks everything about it. `allowed_names` are dangerous names that the deployment allows.
///
/// # Errors
/// It was sealed to somebody else, is damaged, or breaks a rule; all broken rules are named.
pub fn open(
    offer: &ConfigOffer,
    key: &SealKeyPair,
    context: &SealContext,
    allowed_names: &[String],
) -> Result<Environment, EnvironmentError> {
    let plaintext = key.open(&offer.sealed, context).map_err(EnvironmentError::Open)?;
    read(&plaintext, &offer.config, allowed_names)
}

/// Checks everything about what was unsealed.
///
/// # Errors
/// It is not what its hash says, or breaks a rule; all broken rules are named.
pub fn read(plaintext: &[u8], config: &ConfigRef, allowed_names: &[String]) -> Result<Environment, EnvironmentError> {
    if digest::digest(&digest::SHA256, plaintext).as_ref() != config.hash {
        return Err(EnvironmentError::Hash);
    }
    let environment = Environment::decode(plaintext).map_err(EnvironmentError::Decode)?;
    environment.validate(allowed_names).map_err(EnvironmentError::Invalid)?;
    Ok(environment)
}

/// What of a program's environment does not come from the control plane.
#[derive(Debug)]
pub struct Surroundings<'a> {
    pub inheritance: &'a Inheritance,
    /// The user that the program runs as, when it is another one.
    pub login: Option<&'a Login>,
    pub assignments: &'a [Assignment],
    /// What the agent tells the program of itself, in `OUTRIGGER_…` variables.
    pub own: &'a [(&'static str, String)],
    /// Told to the program in `OUTRIGGER_ENV_FILE`.
    pub env_file: Option<&'a Path>,
    /// Given where nobody else said anything.
    pub hints: &'a [Hint],
    /// The program's arguments, which share the kernel's limit with its environment.
    pub command: &'a [OsString],
}

/// Variables that the program gets unless it has one of those that say the same.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hint {
    pub unless: &'static [&'static str],
    pub variables: Vec<(&'static str, String)>,
}

/// An environment that a program can be started with.
pub struct Prepared {
    config: ConfigRef,
    /// `NAME=VALUE` and a NUL, sorted by name.
    strings: Vec<Zeroizing<Vec<u8>>>,
    /// As the control plane sent it: what the environment file shows and what logs are masked with.
    source: Environment,
}

impl fmt::Debug for Prepared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Prepared")
            .field("generation", &self.config.generation)
            .field("variables", &self.strings.len())
            .finish_non_exhaustive()
    }
}

impl Prepared {
    /// Puts a program's environment together: inherited, then the agent's own few, then the control plane's, then the
    /// operator's `--env`; the later wins. Hints win over nothing.
    ///
    /// # Errors
    /// The result is more than the kernel takes.
    pub fn new(
        config: ConfigRef,
        source: Environment,
        own: impl IntoIterator<Item = (OsString, OsString)>,
        around: &Surroundings<'_>,
    ) -> Result<Self, EnvironmentError> {
        let mut variables: BTreeMap<Vec<u8>, Zeroizing<Vec<u8>>> = BTreeMap::new();
        let mut set = |name: &[u8], value: &[u8]| {
            variables.insert(name.to_vec(), entry(name, value));
        };
        for (name, value) in around.inheritance.select(own) {
            set(name.as_bytes(), value.as_bytes());
        }
        if let Some(login) = around.login {
            let login =
                [("USER", &login.name), ("LOGNAME", &login.name), ("HOME", &login.home), ("SHELL", &login.shell)];
            login.iter().for_each(|(name, value)| set(name.as_bytes(), value.as_bytes()));
        }
        around.own.iter().for_each(|(name, value)| set(name.as_bytes(), value.as_bytes()));
        if let Some(path) = around.env_file {
            set(b"OUTRIGGER_ENV_FILE", path.as_os_str().as_bytes());
        }
        for variable in &source.entries {
            if let Some(value) = &variable.value {
                set(variable.name.as_bytes(), value.as_bytes());
            }
        }
        for Assignment { name, value } in around.assignments {
            set(name.as_bytes(), value.as_bytes());
        }
        for hint in around.hints {
            if !hint.unless.iter().any(|name| variables.contains_key(name.as_bytes())) {
                let given = hint.variables.iter().map(|(name, value)| (name.as_bytes().to_vec(), value.as_bytes()));
                variables.extend(given.map(|(name, value)| (name.clone(), entry(&name, value))));
            }
        }
        let prepared = Self { config, strings: variables.into_values().collect(), source };
        prepared.check_size(around.command)?;
        Ok(prepared)
    }

    fn check_size(&self, command: &[OsString]) -> Result<(), EnvironmentError> {
        let arguments: Vec<Vec<u8>> = command
            .iter()
            .map(|argument| {
                let mut bytes = argument.clone().into_vec();
                bytes.push(0);
                bytes
            })
            .collect();
        let stack = rustix::process::getrlimit(rustix::process::Resource::Stack).current;
        size::check(arguments.iter().map(Vec::as_slice), self.strings.iter().map(|string| string.as_slice()), stack)
            .map_err(EnvironmentError::Size)
    }

    #[must_use]
    pub const fn config(&self) -> ConfigRef {
        self.config
    }

    /// The strings that execve(2) takes.
    pub fn strings(&self) -> impl Iterator<Item = &CStr> {
        // Built by `entry`, which ends every string with its only NUL.
        self.strings.iter().filter_map(|string| CStr::from_bytes_with_nul(string).ok())
    }

    /// The value of a variable of the program.
    #[must_use]
    pub fn value(&self, name: &[u8]) -> Option<&[u8]> {
        self.strings.iter().find_map(|string| string.strip_prefix(name)?.strip_prefix(b"=")?.strip_suffix(b"\0"))
    }

    /// What must never be seen in a log line.
    pub fn secrets(&self) -> impl Iterator<Item = &str> {
        self.source
            .entries
            .iter()
            .filter(|variable| variable.is_secret())
            .filter_map(|variable| variable.value.as_ref().map(|value| value.as_str()))
    }

    /// The names of secrets that are set and shorter than `bytes`.
    pub fn secrets_below(&self, bytes: usize) -> impl Iterator<Item = &str> {
        let is_short = move |value: &str| !value.is_empty() && value.len() < bytes;
        let secrets = self.source.entries.iter().filter(|variable| variable.is_secret());
        secrets
            .filter(move |variable| variable.value.as_ref().is_some_and(|value| is_short(value)))
            .map(|variable| variable.name.as_str())
    }

    /// The content of the environment file: what came from the control plane.
    #[must_use]
    pub fn file_content(&self) -> Zeroizing<Vec<u8>> {
        let mut variables: Vec<(&str, &str)> = self
            .source
            .entries
            .iter()
            .filter_map(|variable| variable.value.as_ref().map(|value| (variable.name.as_str(), value.as_str())))
            .collect();
        variables.sort_unstable_by_key(|(name, _)| *name);
        file::render(variables.iter().copied())
    }
}

/// `NAME=VALUE` and a NUL. A NUL inside would cut the string short: what follows one is left out, which can only happen
/// to what was inherited, and the kernel does not hand out such strings.
fn entry(name: &[u8], value: &[u8]) -> Zeroizing<Vec<u8>> {
    let value = value.split(|byte| *byte == 0).next().unwrap_or_default();
    let mut string = Zeroizing::new(Vec::with_capacity(name.len() + value.len() + 2));
    string.extend_from_slice(name);
    string.push(b'=');
    string.extend_from_slice(value);
    string.push(0);
    string
}

#[cfg(test)]
mod tests {
    use super::*;
    use outrigger_protocol::environment::{Entry, VariableKind};
    use outrigger_protocol::id::{AgentId, DeploymentId};
    use outrigger_protocol::seal;
    use outrigger_protocol::time::UnixMillis;

    fn variable(name: &str, value: &str, secret: bool) -> Entry {
        Entry {
            name: name.to_owned(),
            value: Some(Zeroizing::new(value.to_owned())),
            kind: VariableKind::String,
            secret,
            required: false,
        }
    }

    fn config(environment: &Environment) -> ConfigRef {
        ConfigRef { generation: 4, hash: environment.hash() }
    }

    fn prepare(entries: Vec<Entry>, own: &[(&str, &str)], assignments: &[Assignment]) -> Prepared {
        let inheritance = Inheritance { mode: Inherit::Allowlist, also: Vec::new() };
        let around = Surroundings {
            inheritance: &inheritance,
            login: None,
            assignments,
            own: &[("OUTRIGGER_INSTANCE_ID", "ins_1".to_owned())],
            env_file: None,
            hints: &[
                Hint { unless: &["MODE"], variables: vec![("MODE", "hinted".to_owned())] },
                Hint { unless: &["HINT", "HINTED"], variables: vec![("HINT", "hinted".to_owned())] },
            ],
            command: &["true".into()],
        };
        let source = Environment { entries };
        let own = own.iter().map(|(name, value)| (OsString::from(name), OsString::from(value)));
        Prepared::new(config(&source), source, own, &around).expect("it fits")
    }

    fn text(prepared: &Prepared, name: &str) -> Option<String> {
        prepared.value(name.as_bytes()).map(|value| String::from_utf8_lossy(value).into_owned())
    }

    #[test]
    fn the_more_deliberate_source_wins() {
        let assigned = [Assignment { name: "MODE".into(), value: "operator".into() }];
        let prepared = prepare(
            vec![variable("MODE", "control plane", false), variable("PATH", "/opt/bin", false)],
            &[("PATH", "/bin"), ("HOME", "/root"), ("SECRET_OF_HOST", "x")],
            &assigned,
        );
        assert_eq!(text(&prepared, "MODE").as_deref(), Some("operator"));
        assert_eq!(text(&prepared, "PATH").as_deref(), Some("/opt/bin"));
        assert_eq!(text(&prepared, "HOME").as_deref(), Some("/root"));
        assert_eq!(text(&prepared, "SECRET_OF_HOST"), None);
        assert_eq!(text(&prepared, "HINT").as_deref(), Some("hinted"));
        assert!(text(&prepared, "OUTRIGGER_INSTANCE_ID").is_some_and(|id| id.starts_with("ins_")));
    }

    #[test]
    fn only_secrets_are_masked_and_nothing_is_shown() {
        let prepared = prepare(vec![variable("A", "open", false), variable("B", "canary", true)], &[], &[]);
        assert_eq!(prepared.secrets().collect::<Vec<_>>(), ["canary"]);
        assert_eq!(&**prepared.file_content(), b"A='open'\nB='canary'\n");
        let shown = format!("{prepared:?}");
        assert!(!shown.contains("canary") && !shown.contains("open"), "{shown}");
    }

    #[test]
    fn an_offer_opens_only_as_what_it_claims_to_be() {
        let now = UnixMillis::from_millis(1);
        let context = SealContext {
            agent: AgentId::new(now, [1; 10]),
            deployment: DeploymentId::new(now, [2; 10]),
            generation: 4,
        };
        let key = SealKeyPair::generate().expect("randomness");
        let source = Environment { entries: vec![variable("A", "1", true)] };
        let sealed = seal::seal(&key.public(), &source.encode().expect("small"), &context).expect("sealed");
        let mut offer = ConfigOffer { config: config(&source), nonce: [0; 16], sealed };
        assert_eq!(open(&offer, &key, &context, &[]).expect("opened"), source);
        offer.config.hash[0] ^= 1;
        assert!(matches!(open(&offer, &key, &context, &[]), Err(EnvironmentError::Hash)));
        let other = SealContext { generation: 5, ..context };
        assert!(matches!(open(&offer, &key, &other, &[]), Err(EnvironmentError::Open(_))));
    }

    #[test]
    fn every_broken_rule_is_named() {
        let mut missing = variable("NEEDED", "", false);
        (missing.value, missing.required) = (None, true);
        let mut wrong = variable("PORT", "many", false);
        wrong.kind = VariableKind::Number;
        let problems = Environment { entries: vec![missing, wrong] }.validate(&[]).expect_err("two problems");
        let words = EnvironmentError::Invalid(problems).to_string();
        assert!(words.contains("`NEEDED`") && words.contains("`PORT`") && !words.contains("many"), "{words}");
    }
}
