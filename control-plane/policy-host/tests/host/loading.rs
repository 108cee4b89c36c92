//! What becomes a policy, and what is refused in which words.

use std::fs;
use std::path::Path;

use crate::support::{host, input, threshold, weighted};
use outrigger_builtin_policies::test_support::{CORE_MODULE, FOREIGN, HOSTILE, replaced};
use outrigger_builtin_policies::{builtin, resolve};
use outrigger_policy_host::{
    CacheConfig, CacheKey, CompileError, Compiler, ConfigError, HostConfig, LoadError, PolicyHost,
};

fn refused(component: &[u8]) -> String {
    let error = host().load(component).expect_err("the component is to be refused");
    std::iter::successors(std::error::Error::source(&error), |error| error.source())
        .fold(error.to_string(), |text, source| format!("{text}: {source}"))
}

#[test]
fn the_built_in_policies_are_who_they_are_listed_as() {
    for policy in builtin() {
        let loaded = host().load(policy.component).unwrap();
        let description = loaded.description();
        assert_eq!((description.name.as_str(), description.version.as_str()), (policy.name, policy.version));
        assert!(policy.component.len() < 150 * 1024, "{} has {} bytes", policy.name, policy.component.len());
    }
}

#[test]
fn what_is_not_a_component_is_refused_in_words() {
    assert_eq!(refused(b"#!/bin/sh\nexec rm -rf /\n"), "this is not WebAssembly");
    assert!(refused(CORE_MODULE).contains("core WebAssembly module, not a component"));
    let torn = &HOSTILE[..HOSTILE.len() / 2];
    assert!(refused(torn).starts_with("cannot compile the component: "), "{}", refused(torn));
    let mut garbled = HOSTILE.to_vec();
    garbled[200..4000].fill(0xaa);
    assert!(refused(&garbled).starts_with("cannot compile the component: "));
}

#[test]
fn a_component_of_another_world_is_refused_by_what_it_imports_or_lacks() {
    let wasi = refused(FOREIGN);
    assert_eq!(wasi, "the component imports WASI, which policies do not have: `wasi:clocks/monotonic-clock@0.2.0`");
    let unknown = refused(&replaced(FOREIGN, "wasi:clocks", "acme:clocks"));
    assert!(unknown.contains("it imports `acme:clocks/monotonic-clock@0.2.0`"), "{unknown}");
    let empty = refused(b"\0asm\x0d\0\x01\0");
    assert_eq!(empty, "the component is not a policy: it does not export `outrigger:policy/evaluator@0.1.0`");
    let newer = refused(&replaced(HOSTILE, "outrigger:policy/evaluator@0.1.0", "outrigger:policy/evaluator@0.2.0"));
    assert!(newer.ends_with("but `outrigger:policy/evaluator@0.2.0`"), "{newer}");
    let edited = refused(&replaced(HOSTILE, "next-look-ms", "last-look-ms"));
    assert!(edited.starts_with("the component does not fit the policy contract: "), "{edited}");
}

#[test]
fn a_configuration_is_held_against_the_schema_and_then_the_policy() {
    let problems = |policy, config: &str| match host().validate(policy, config) {
        Err(ConfigError::Invalid { problems }) => problems.into_iter().map(|one| one.path).collect::<Vec<_>>(),
        other => panic!("{config}: {other:?}"),
    };
    let typed =
        r#"{ "rules": [{ "metric": "cpu", "above": "high" }, { "metric": "cpu", "above": 1, "upFor": "soon" }] }"#;
    assert_eq!(problems(threshold(), typed), ["/rules/0/above", "/rules/1/upFor"]);
    assert_eq!(problems(threshold(), r#"{ "rules": [], "rulez": 1 }"#).len(), 2);
    let crossed =
        r#"{ "rules": [{ "metric": "cpu", "above": 1, "below": 2 }, { "metric": "cpu", "above": 3, "below": 3 }] }"#;
    assert_eq!(problems(threshold(), crossed), ["/rules/0/below", "/rules/1/below"], "the policy's own check");
    assert_eq!(problems(weighted(), "{}"), [""]);
    assert!(matches!(host().validate(threshold(), "{"), Err(ConfigError::NotJson(_))));
    assert!(matches!(host().validate(threshold(), "[]"), Err(ConfigError::NotAnObject)));
    let large = format!("{{\"a\":\"{}\"}}", "x".repeat(100_000));
    assert!(matches!(host().validate(threshold(), &large), Err(ConfigError::TooLarge { .. })));
}

#[test]
fn a_valid_configuration_tells_what_it_needs_to_see() {
    let config = r#"{ "rules": [{ "metric": "cpu", "above": 70, "upFor": "30s", "downFor": "5m" }, { "metric": "memory", "above": 90 }] }"#;
    let needs = host().validate(threshold(), config).unwrap();
    let needs: Vec<(&str, u64)> = needs.series.iter().map(|one| (one.metric.as_str(), one.window.as_secs())).collect();
    assert_eq!(needs, [("cpu", 300), ("memory", 60)]);
    let needs = host().validate(weighted(), r#"{ "preset": "batch-job", "aggregate": "max" }"#).unwrap();
    let needs: Vec<(&str, u64)> = needs.series.iter().map(|one| (one.metric.as_str(), one.window.as_secs())).collect();
    assert_eq!(needs, [("cpu.max", 60), ("memory.max", 60), ("queue_depth.max", 60)]);
}

fn cached(directory: &Path) -> PolicyHost {
    let cache = CacheConfig { directory: directory.join("cache"), key: CacheKey::new(&[7; 32]), max_bytes: 1 << 30 };
    // A compiler that cannot be started: what loads came from the cache.
    let compiler = Compiler::Command {
        program: directory.join("no-such-compiler"),
        arguments: Vec::new(),
        limits: outrigger_policy_host::CompileLimits::default(),
    };
    PolicyHost::new(HostConfig { cache: Some(cache), compiler, ..HostConfig::in_process() }).unwrap()
}

fn filled(directory: &Path) -> std::path::PathBuf {
    let cache = CacheConfig { directory: directory.join("cache"), key: CacheKey::new(&[7; 32]), max_bytes: 1 << 30 };
    let host = PolicyHost::new(HostConfig { cache: Some(cache), ..HostConfig::in_process() }).unwrap();
    host.load(HOSTILE).unwrap();
    fs::read_dir(directory.join("cache")).unwrap().next().unwrap().unwrap().path()
}

#[test]
fn a_compiled_policy_is_found_in_the_cache() {
    let directory = tempfile::tempdir().unwrap();
    filled(directory.path());
    let host = cached(directory.path());
    let policy = host.load(HOSTILE).unwrap();
    assert!(host.evaluate(&policy, &input(1)).outcome.is_ok());
}

#[test]
fn a_tampered_cache_entry_is_never_run_and_is_replaced() {
    let directory = tempfile::tempdir().unwrap();
    let entry = filled(directory.path());
    let mut bytes = fs::read(&entry).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs::write(&entry, &bytes).unwrap();
    let error = cached(directory.path()).load(HOSTILE).expect_err("there is no compiler");
    assert!(matches!(error, LoadError::Compile(CompileError::Spawn { .. })), "{error}");
    assert_eq!(filled(directory.path()), entry);
    assert!(cached(directory.path()).load(HOSTILE).is_ok(), "it was written anew");
}

#[test]
fn a_built_in_policy_can_be_resolved_and_loaded() {
    let component = resolve("weighted", outrigger_policy_host::limits::COMPONENT_BYTES).unwrap();
    assert_eq!(host().load(&component).unwrap().digest(), weighted().digest());
}
