//! The host: loads policies, and calls each of their functions in a fresh instance under limits.

mod call;
mod lower;

use std::fmt;
use std::io;
use std::sync::Arc;
use std::time::Instant;

use wasmtime::Engine;
use wasmtime::component::{Component, HasSelf, Linker};

use crate::bindings::{Policy as Bindings, PolicyPre};
use crate::cache::{Cache, CacheConfig, CacheError};
use crate::compile::{CompileError, Compiler};
use crate::context::Context;
use crate::description::{self, Description, Needs};
use crate::digest::{Digest, DigestHasher};
use crate::engine;
use crate::fault::Fault;
use crate::input::Input;
use crate::judge;
use crate::limits::{COMPONENT_BYTES, CONFIG_BYTES, Limits, MAX_MEMORY_BYTES, PROBLEMS};
use crate::policy::Policy;
use crate::proposal::Evaluation;
use crate::schema::{ConfigSchema, Problem, SchemaError};
use crate::stats::Counters;
use crate::ticker::Ticker;

/// How a host is set up.
#[derive(Debug, Clone)]
pub struct HostConfig {
    pub limits: Limits,
    pub compiler: Compiler,
    /// Without it, every start compiles every policy again.
    pub cache: Option<CacheConfig>,
}

impl HostConfig {
    /// Default limits, compiling in this process, no cache.
    #[must_use]
    pub fn in_process() -> Self {
        Self { limits: Limits::default(), compiler: Compiler::InProcess, cache: None }
    }
}

/// A host that cannot be set up.
#[derive(Debug, thiserror::Error)]
pub enum HostError {
    #[error("cannot set up the policy engine")]
    Engine(#[source] Box<dyn std::error::Error + Send + Sync>),
    #[error("cannot start the policy clock")]
    Ticker(#[source] io::Error),
    #[error("a policy may not have {asked} bytes of memory: the most is {MAX_MEMORY_BYTES}")]
    MemoryLimit { asked: usize },
    #[error(transparent)]
    Cache(CacheError),
}

/// A component that is not, or not yet, a policy.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    #[error("the component has {found} bytes; at most {limit} are accepted")]
    TooLarge { found: usize, limit: usize },
    #[error("this is not WebAssembly")]
    NotWasm,
    #[error("this is a core WebAssembly module, not a component: encode it with `wasm-tools component new`")]
    CoreModule,
    #[error("cannot compile the component")]
    Compile(#[source] CompileError),
    #[error("the component imports WASI, which policies do not have: {}", imports.join(", "))]
    ImportsWasi { imports: Vec<String> },
    #[error("the component is not a policy: it imports {}, and a policy imports `{HOST}` alone", imports.join(", "))]
    UnknownImports { imports: Vec<String> },
    #[error("the component is not a policy: it does not export `{EVALUATOR}`{}", exports_instead(exports))]
    NoEvaluator { exports: Vec<String> },
    #[error("the component does not fit the policy contract: {problem}")]
    Mismatch { problem: String },
    #[error("the policy could not describe itself")]
    Describe(#[source] Fault),
    #[error("the policy's description is not acceptable: {problem}")]
    Description { problem: String },
    #[error("the schema of the policy's configuration is not acceptable")]
    Schema(#[source] SchemaError),
}

/// A configuration that a policy does not take.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    #[error("the configuration has {found} bytes; at most {CONFIG_BYTES} are accepted")]
    TooLarge { found: usize },
    #[error("the configuration is not JSON")]
    NotJson(#[source] serde_json::Error),
    #[error("the configuration is not a JSON object")]
    NotAnObject,
    #[error("the configuration does not fit: {}", listed(problems))]
    Invalid { problems: Vec<Problem> },
    #[error("the policy could not check the configuration")]
    Fault(#[source] Fault),
}

const EVALUATOR: &str = "outrigger:policy/evaluator@0.1.0";
const HOST: &str = "outrigger:policy/host@0.1.0";
/// What all names of our package begin with.
const PACKAGE: &str = "outrigger:policy/";

/// Loads policies and asks them. Share one; every method takes `&self` and any number of threads may call.
pub struct PolicyHost {
    engine: Engine,
    linker: Linker<Context>,
    limits: Limits,
    compiler: Compiler,
    cache: Option<Cache>,
    ticker: Ticker,
}

impl PolicyHost {
    /// Sets up the engine, its pool of instances, its clock thread and the cache.
    ///
    /// # Errors
    /// When the operating system lacks the address space or a thread, or the cache cannot be trusted.
    pub fn new(config: HostConfig) -> Result<Self, HostError> {
        if config.limits.memory_bytes > MAX_MEMORY_BYTES {
            return Err(HostError::MemoryLimit { asked: config.limits.memory_bytes });
        }
        let engine = engine::running().map_err(|error| HostError::Engine(error.into()))?;
        let mut linker = Linker::new(&engine);
        Bindings::add_to_linker::<_, HasSelf<_>>(&mut linker, |context: &mut Context| context)
            .map_err(|error| HostError::Engine(error.into()))?;
        let hash = DigestHasher::digest_of(&engine.precompile_compatibility_hash());
        let cache = config.cache.map(|cache| Cache::open(cache, hash)).transpose().map_err(HostError::Cache)?;
        let ticker = Ticker::start(&engine, config.limits.deadline).map_err(HostError::Ticker)?;
        Ok(Self { engine, linker, limits: config.limits, compiler: config.compiler, cache, ticker })
    }

    /// Makes a policy of a component: compiles it (or finds it in the cache), holds its imports and exports against
    /// the contract, and lets it describe itself. Takes milliseconds to seconds: not for a thread that serves others.
    ///
    /// # Errors
    /// Names what the component lacks or has too much of.
    pub fn load(&self, component: &[u8]) -> Result<Arc<Policy>, LoadError> {
        recognise(component)?;
        let digest = Digest::of(component);
        let compiled = self.compiled(&digest, component)?;
        self.check_world(&compiled)?;
        let pre =
            self.linker.instantiate_pre(&compiled).and_then(PolicyPre::new).map_err(|error| call::mismatch(&error))?;
        self.check_types(&pre)?;
        let description = self.describe(&pre)?;
        let schema = ConfigSchema::parse(&description.config_schema).map_err(LoadError::Schema)?;
        Ok(Arc::new(Policy { digest, description, pre, schema, counters: Counters::default() }))
    }

    /// Holds a configuration against the policy's schema and then asks the policy itself. Returns all it needs to see.
    ///
    /// # Errors
    /// [`ConfigError::Invalid`] names every problem that was found.
    pub fn validate(&self, policy: &Policy, config: &str) -> Result<Needs, ConfigError> {
        if config.len() > CONFIG_BYTES {
            return Err(ConfigError::TooLarge { found: config.len() });
        }
        let parsed: serde_json::Value = serde_json::from_str(config).map_err(ConfigError::NotJson)?;
        if !parsed.is_object() {
            return Err(ConfigError::NotAnObject);
        }
        let problems = policy.schema.problems(&parsed);
        if !problems.is_empty() {
            return Err(ConfigError::Invalid { problems });
        }
        let (answer, _) = self.call(&policy.pre, self.limits.fuel, |guest, store| {
            guest.outrigger_policy_evaluator().call_validate(store, config)
        });
        match answer.map_err(ConfigError::Fault)? {
            Ok(needs) => {
                let needs = description::needs(needs).map_err(|what| ConfigError::Fault(Fault::TooLarge { what }))?;
                Ok(needs.union(&policy.description.needs))
            }
            Err(problems) => Err(ConfigError::Invalid {
                problems: problems.into_iter().take(PROBLEMS).map(|one| Problem::new(one.path, one.message)).collect(),
            }),
        }
    }

    /// Asks the policy. The same policy and input give the same outcome, bit for bit, unless the host itself is at its
    /// limits. Takes microseconds as a rule and at most little more than [`Limits::deadline`].
    ///
    /// # Panics
    /// When the policy was loaded by another host: it is machine code for that host's engine.
    pub fn evaluate(&self, policy: &Policy, input: &Input) -> Evaluation {
        let evaluation = match input.check() {
            Ok(()) => self.evaluate_checked(policy, input),
            Err(error) => Evaluation::refused(Fault::InvalidInput(error)),
        };
        policy.counters.record(&evaluation);
        evaluation
    }

    fn evaluate_checked(&self, policy: &Policy, input: &Input) -> Evaluation {
        let started = Instant::now();
        let fuel = self.limits.fuel_for(input.values());
        let input = lower::input(input);
        let (answer, usage) = self
            .call(&policy.pre, fuel, |guest, store| guest.outrigger_policy_evaluator().call_evaluate(store, &input));
        let outcome = answer.and_then(|answer| answer.map_err(judge::failure).and_then(judge::proposal));
        Evaluation {
            outcome,
            log: usage.log,
            fuel: usage.fuel,
            elapsed: started.elapsed(),
            peak_memory: usage.peak_memory,
        }
    }

    fn describe(&self, pre: &PolicyPre<Context>) -> Result<Description, LoadError> {
        let (answer, _) =
            self.call(pre, self.limits.fuel, |guest, store| guest.outrigger_policy_evaluator().call_describe(store));
        let raw = answer.map_err(LoadError::Describe)?;
        description::description(raw).map_err(|problem| LoadError::Description { problem })
    }

    fn compiled(&self, digest: &Digest, component: &[u8]) -> Result<Component, LoadError> {
        if let Some(cached) = self.cache.as_ref().and_then(|cache| cache.read(digest)) {
            match adopt(&self.engine, &cached) {
                Ok(component) => return Ok(component),
                Err(error) => tracing::warn!(%digest, %error, "a cached policy does not load, compiling it again"),
            }
        }
        let code = self.compiler.compile(&self.engine, component).map_err(LoadError::Compile)?;
        if let Some(Err(error)) = self.cache.as_ref().map(|cache| cache.write(digest, &code)) {
            tracing::warn!(%digest, error = &error as &dyn std::error::Error, "cannot cache a compiled policy");
        }
        adopt(&self.engine, &code).map_err(|error| LoadError::Compile(CompileError::Engine(error.into())))
    }

    /// Whether the component's imports and exports are a policy's, in words a plugin author can act upon.
    fn check_world(&self, component: &Component) -> Result<(), LoadError> {
        let world = component.component_type();
        let quoted = |name: &str| format!("`{}`", judge::cut(name.to_owned(), 128));
        let imports: Vec<&str> = world.imports(&self.engine).map(|(name, _)| name).collect();
        let wasi: Vec<String> =
            imports.iter().filter(|name| name.starts_with("wasi:")).map(|name| quoted(name)).take(16).collect();
        if !wasi.is_empty() {
            return Err(LoadError::ImportsWasi { imports: wasi });
        }
        let foreign: Vec<String> =
            imports.iter().filter(|name| !name.starts_with(PACKAGE)).map(|name| quoted(name)).take(16).collect();
        if !foreign.is_empty() {
            return Err(LoadError::UnknownImports { imports: foreign });
        }
        let exports: Vec<&str> = world.exports(&self.engine).map(|(name, _)| name).collect();
        let evaluator = format!("{PACKAGE}evaluator@0.1.");
        if !exports.iter().any(|name| name.starts_with(&evaluator)) {
            let exports = exports.iter().map(|name| quoted(name)).take(16).collect();
            return Err(LoadError::NoEvaluator { exports });
        }
        Ok(())
    }
}

impl fmt::Debug for PolicyHost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PolicyHost")
            .field("limits", &self.limits)
            .field("compiler", &self.compiler)
            .field("cache", &self.cache)
            .finish_non_exhaustive()
    }
}

/// Whether the bytes may be a component at all, before anything expensive looks at them.
fn recognise(bytes: &[u8]) -> Result<(), LoadError> {
    if bytes.len() > COMPONENT_BYTES {
        return Err(LoadError::TooLarge { found: bytes.len(), limit: COMPONENT_BYTES });
    }
    // Magic, version, layer (component-model/design/mvp/Binary.md): a core module is layer 0.
    match bytes {
        [0, b'a', b's', b'm', _, _, 1, 0, ..] => Ok(()),
        [0, b'a', b's', b'm', 1, 0, 0, 0, ..] => Err(LoadError::CoreModule),
        _ => Err(LoadError::NotWasm),
    }
}

/// Machine code becomes a component that can be called.
#[allow(unsafe_code)]
fn adopt(engine: &Engine, code: &[u8]) -> wasmtime::Result<Component> {
    // SAFETY: `deserialize` trusts its bytes to be the output of wasmtime's own compiler. They come from two places:
    // from our own compiler, in this process or through the pipe of a child we started (`compile`); or from the
    // cache, where a seal that nobody without our key can make proves that we wrote them for this component and this
    // engine (`cache`). Wasmtime itself checks that its version and settings fit.
    unsafe { Component::deserialize(engine, code) }
}

fn exports_instead(exports: &[String]) -> String {
    if exports.is_empty() { String::new() } else { format!(" but {}", exports.join(", ")) }
}

fn listed(problems: &[Problem]) -> String {
    let one = |problem: &Problem| match problem.path.as_str() {
        "" => problem.message.clone(),
        path => format!("{path}: {}", problem.message),
    };
    problems.iter().map(one).collect::<Vec<_>>().join("; ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_cannot_be_a_component_is_told_apart() {
        assert!(matches!(recognise(b"\0asm\x0d\0\x01\0"), Ok(())));
        assert!(matches!(recognise(b"\0asm\x01\0\0\0"), Err(LoadError::CoreModule)));
        assert!(matches!(recognise(b"#!/bin/sh\n"), Err(LoadError::NotWasm)));
        assert!(matches!(recognise(b""), Err(LoadError::NotWasm)));
        assert!(matches!(recognise(&vec![0; COMPONENT_BYTES + 1]), Err(LoadError::TooLarge { .. })));
    }
}
