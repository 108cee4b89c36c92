//! Compiling in a child process. This binary is both sides: with `compile-policy` as its argument it is the child,
//! which is how the server's binary does it too.

#![allow(clippy::unwrap_used, clippy::print_stdout)] // A test, though clippy sees no harness.

use std::io;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use outrigger_builtin_policies::{resolve, test_support};
use outrigger_policy_host::limits::COMPONENT_BYTES;
use outrigger_policy_host::{
    CompileError, CompileLimits, Compiler, HostConfig, Input, LoadError, LocalTime, PolicyHost, compile_worker,
};

fn main() -> ExitCode {
    if std::env::args().nth(1).as_deref() == Some("compile-policy") {
        return ExitCode::from(compile_worker(io::stdin().lock(), io::stdout().lock(), io::stderr().lock()));
    }
    a_policy_that_a_child_compiled_runs_here();
    a_component_at_fault_is_told_from_a_compiler_at_fault();
    a_child_without_memory_dies_alone();
    a_child_that_takes_too_long_is_killed();
    println!("compile_worker: 4 passed");
    ExitCode::SUCCESS
}

fn host(limits: CompileLimits) -> PolicyHost {
    let program = std::env::current_exe().unwrap();
    let compiler = Compiler::Command { program, arguments: vec!["compile-policy".to_owned()], limits };
    PolicyHost::new(HostConfig { compiler, ..HostConfig::in_process() }).unwrap()
}

fn a_policy_that_a_child_compiled_runs_here() {
    let host = host(CompileLimits::default());
    let policy = host.load(&resolve("weighted", COMPONENT_BYTES).unwrap()).unwrap();
    let config = r#"{ "preset": "web-api" }"#.to_owned();
    let input = Input { now: 1, local: LocalTime::utc(1), step: 1000, config, ..Input::default() };
    assert_eq!(host.evaluate(&policy, &input).outcome.unwrap().replicas, 0);
}

fn a_component_at_fault_is_told_from_a_compiler_at_fault() {
    let torn = &test_support::HOSTILE[..1000];
    let error = host(CompileLimits::default()).load(torn).unwrap_err();
    assert!(matches!(error, LoadError::Compile(CompileError::Refused(_))), "{error:?}");
}

fn a_child_without_memory_dies_alone() {
    let limits = CompileLimits { address_space_bytes: 1024 * 1024, ..CompileLimits::default() };
    let error = host(limits).load(test_support::HOSTILE).unwrap_err();
    assert!(matches!(error, LoadError::Compile(CompileError::Died { .. })), "{error:?}");
}

fn a_child_that_takes_too_long_is_killed() {
    let limits = CompileLimits { timeout: Duration::ZERO, ..CompileLimits::default() };
    let started = Instant::now();
    let error = host(limits).load(test_support::HOSTILE).unwrap_err();
    assert!(matches!(error, LoadError::Compile(CompileError::Timeout { .. })), "{error:?}");
    assert!(started.elapsed() < Duration::from_secs(20));
}
