//! From a component to machine code.
//!
//! A compiler fed by strangers can take seconds, hundreds of megabytes, or panic. [`Compiler::Command`] runs it in a
//! child that has nothing to lose: no environment, no descriptors but three pipes, a limit on address space and CPU
//! time, and a parent that kills it when its time is over. The child is this same program, in [`compile_worker`].

use std::io::{self, Read, Write};
use std::panic::AssertUnwindSafe;
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Resource, Rlimit};
use wasmtime::Engine;

use crate::engine;
use crate::judge::cut;
use crate::limits::{COMPILED_BYTES, COMPONENT_BYTES, TEXT_BYTES};

/// Who compiles.
#[derive(Debug, Clone)]
pub enum Compiler {
    /// This process, without any limit: for tests, and for components that were built with the program.
    InProcess,
    /// A child process that calls [`compile_worker`].
    Command { program: PathBuf, arguments: Vec<String>, limits: CompileLimits },
}

/// What the compiling child may use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CompileLimits {
    pub timeout: Duration,
    /// `RLIMIT_AS` (setrlimit(2)). A Python guest of 18 MB takes 400 MB.
    pub address_space_bytes: u64,
}

impl Default for CompileLimits {
    fn default() -> Self {
        Self { timeout: Duration::from_secs(60), address_space_bytes: 4 * 1024 * 1024 * 1024 }
    }
}

/// A component that could not be compiled.
#[derive(Debug, thiserror::Error)]
pub enum CompileError {
    #[error("cannot set up the compiler")]
    Engine(#[source] Box<dyn std::error::Error + Send + Sync>),
    #[error("cannot start the compiler {}", program.display())]
    Spawn { program: PathBuf, source: io::Error },
    #[error("cannot limit the compiler's resources")]
    Confine(#[source] io::Error),
    #[error("cannot exchange data with the compiler")]
    Pipe(#[source] io::Error),
    #[error("compiling took longer than {} s", limit.as_secs())]
    Timeout { limit: Duration },
    #[error("the compiled code is larger than {COMPILED_BYTES} bytes")]
    TooLarge,
    #[error("the compiler gave up ({status}): {text}")]
    Died { status: String, text: String },
    /// The component is at fault.
    #[error("{0}")]
    Refused(String),
}

/// Exit code of a worker that found the component at fault; any other failure is the compiler's own.
const REFUSED: i32 = 3;
/// What is kept of a worker's standard error.
const STDERR_BYTES: u64 = 8 * 1024;

/// The whole life of the compiling child: reads a component from `input`, writes machine code to `output`. Returns
/// the code to exit with; what went wrong is written to `diagnostics` in one sentence.
pub fn compile_worker(input: impl Read, mut output: impl Write, mut diagnostics: impl Write) -> u8 {
    let compiled = read_component(input).and_then(|component| {
        let engine = engine::compiling().map_err(|error| CompileError::Engine(error.into()))?;
        in_process(&engine, &component)
    });
    let result = match compiled {
        Ok(code) => return u8::from(output.write_all(&code).and_then(|()| output.flush()).is_err()),
        Err(CompileError::Refused(text)) => (REFUSED, text),
        Err(error) => (1, describe(&error)),
    };
    // A parent that no longer listens has no use for it.
    let _ = write!(diagnostics, "{}", result.1);
    u8::try_from(result.0).unwrap_or(1)
}

impl Compiler {
    /// Compiles `component` for `engine`.
    pub(crate) fn compile(&self, engine: &Engine, component: &[u8]) -> Result<Vec<u8>, CompileError> {
        match self {
            Self::InProcess => in_process(engine, component),
            Self::Command { program, arguments, limits } => {
                let mut command = Command::new(program);
                command.args(arguments);
                in_child(command, limits, component)
            }
        }
    }
}

fn in_process(engine: &Engine, component: &[u8]) -> Result<Vec<u8>, CompileError> {
    let result = std::panic::catch_unwind(AssertUnwindSafe(|| engine.precompile_component(component)));
    match result {
        Ok(Ok(code)) if code.len() > COMPILED_BYTES => Err(CompileError::TooLarge),
        Ok(Ok(code)) => Ok(code),
        Ok(Err(error)) => Err(CompileError::Refused(cut(format!("{error:#}"), TEXT_BYTES))),
        Err(_) => Err(CompileError::Died { status: "panic".to_owned(), text: "the compiler panicked".to_owned() }),
    }
}

fn read_component(input: impl Read) -> Result<Vec<u8>, CompileError> {
    let mut component = Vec::new();
    input.take(COMPONENT_BYTES as u64 + 1).read_to_end(&mut component).map_err(CompileError::Pipe)?;
    if component.len() > COMPONENT_BYTES {
        return Err(CompileError::Refused(format!("the component is larger than {COMPONENT_BYTES} bytes")));
    }
    Ok(component)
}

fn in_child(mut command: Command, limits: &CompileLimits, component: &[u8]) -> Result<Vec<u8>, CompileError> {
    let program = PathBuf::from(command.get_program());
    let mut child = command
        .env_clear()
        .current_dir("/")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(|source| CompileError::Spawn { program, source })?;
    // Before it has seen a single byte.
    let result = confine(&child, limits).and_then(|()| converse(&mut child, limits.timeout, component));
    if result.is_err() {
        // It may have ended by itself; either way nothing of it is left after the wait.
        let _ = child.kill();
    }
    let status = child.wait().map_err(CompileError::Pipe)?;
    let (code, text) = result?;
    judge(status, code, &text)
}

fn confine(child: &Child, limits: &CompileLimits) -> Result<(), CompileError> {
    let pid = i32::try_from(child.id()).ok().and_then(Pid::from_raw);
    let set = |resource, value| {
        let limit = Rlimit { current: Some(value), maximum: Some(value) };
        rustix::process::prlimit(pid, resource, limit).map(drop).map_err(|errno| CompileError::Confine(errno.into()))
    };
    set(Resource::As, limits.address_space_bytes)?;
    set(Resource::Core, 0)?;
    // Threads compile in parallel, so CPU time may exceed the time-out; this is for a child that outlives its parent.
    set(Resource::Cpu, limits.timeout.as_secs().saturating_mul(8).max(1))
}

/// What a child wrote to its two outputs.
type Answer = (Vec<u8>, Vec<u8>);

/// Feeds the child and collects its answer until it closes its outputs, it says too much, or time is over.
fn converse(child: &mut Child, timeout: Duration, component: &[u8]) -> Result<Answer, CompileError> {
    let (Some(mut stdin), Some(stdout), Some(stderr)) = (child.stdin.take(), child.stdout.take(), child.stderr.take())
    else {
        return Err(CompileError::Pipe(io::ErrorKind::BrokenPipe.into()));
    };
    let deadline = Instant::now() + timeout;
    let (done, answers) = mpsc::channel();
    let (code_done, text_done) = (done.clone(), done);
    let pid = child.id();
    thread::scope(|scope| {
        // A child that dies early closes its end: the write fails, and its status tells the story.
        scope.spawn(move || stdin.write_all(component));
        scope.spawn(move || {
            let _ = code_done.send((Stream::Code, drain(stdout, COMPILED_BYTES as u64)));
        });
        scope.spawn(move || {
            let _ = text_done.send((Stream::Text, drain(stderr, STDERR_BYTES)));
        });
        let answer = collect(&answers, deadline, timeout);
        if answer.is_err() {
            // Closes the pipes, which ends the threads.
            kill(pid);
        }
        answer
    })
}

enum Stream {
    Code,
    Text,
}

fn collect(
    answers: &mpsc::Receiver<(Stream, io::Result<Vec<u8>>)>,
    deadline: Instant,
    timeout: Duration,
) -> Result<Answer, CompileError> {
    let (mut code, mut text) = (None, None);
    while code.is_none() || text.is_none() {
        match answers.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
            Ok((Stream::Code, bytes)) => code = Some(bytes.map_err(CompileError::Pipe)?),
            Ok((Stream::Text, bytes)) => text = Some(bytes.map_err(CompileError::Pipe)?),
            Err(RecvTimeoutError::Timeout) => return Err(CompileError::Timeout { limit: timeout }),
            Err(RecvTimeoutError::Disconnected) => return Err(CompileError::Pipe(io::ErrorKind::BrokenPipe.into())),
        }
        if code.as_ref().is_some_and(|code: &Vec<u8>| code.len() > COMPILED_BYTES) {
            return Err(CompileError::TooLarge);
        }
    }
    Ok((code.unwrap_or_default(), text.unwrap_or_default()))
}

/// Reads up to `limit` bytes and one more, which tells that there was more.
fn drain(stream: impl Read, limit: u64) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    stream.take(limit + 1).read_to_end(&mut bytes)?;
    Ok(bytes)
}

fn kill(pid: u32) {
    if let Some(pid) = i32::try_from(pid).ok().and_then(Pid::from_raw) {
        // Not waited for yet, so the number still means our child.
        let _ = rustix::process::kill_process(pid, rustix::process::Signal::KILL);
    }
}

fn judge(status: ExitStatus, code: Vec<u8>, text: &[u8]) -> Result<Vec<u8>, CompileError> {
    let text = cut(String::from_utf8_lossy(text).trim().to_owned(), TEXT_BYTES);
    match status.code() {
        Some(0) => Ok(code),
        Some(REFUSED) => Err(CompileError::Refused(text)),
        _ => Err(CompileError::Died { status: status.to_string(), text }),
    }
}

/// An error and its sources in one sentence.
fn describe(error: &dyn std::error::Error) -> String {
    std::iter::successors(error.source(), |error| error.source())
        .fold(error.to_string(), |text, source| format!("{text}: {source}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shell(script: &str, timeout: Duration) -> Result<Vec<u8>, CompileError> {
        let arguments = vec!["-c".to_owned(), script.to_owned()];
        let limits = CompileLimits { timeout, ..CompileLimits::default() };
        let compiler = Compiler::Command { program: PathBuf::from("/bin/sh"), arguments, limits };
        compiler.compile(&engine::compiling().unwrap(), &vec![b'x'; 1024 * 1024])
    }

    #[test]
    fn the_child_is_fed_and_its_answer_collected_although_both_exceed_a_pipe() {
        let code = shell("exec cat", Duration::from_secs(20)).unwrap();
        assert_eq!(code.len(), 1024 * 1024);
    }

    #[test]
    fn a_child_that_hangs_is_killed() {
        let started = Instant::now();
        let error = shell("exec sleep 1000", Duration::from_millis(100)).unwrap_err();
        assert!(matches!(error, CompileError::Timeout { .. }), "{error}");
        assert!(started.elapsed() < Duration::from_secs(10));
    }

    #[test]
    fn a_child_that_dies_or_refuses_tells_why() {
        let error = shell("echo boom >&2; exit 101", Duration::from_secs(20)).unwrap_err();
        assert!(matches!(&error, CompileError::Died { text, .. } if text == "boom"), "{error}");
        let error = shell("kill -9 $$", Duration::from_secs(20)).unwrap_err();
        assert!(error.to_string().contains("signal: 9"), "{error}");
        let error = shell("echo 'not a component' >&2; exit 3", Duration::from_secs(20)).unwrap_err();
        assert!(matches!(&error, CompileError::Refused(text) if text == "not a component"), "{error}");
    }

    #[test]
    fn a_child_sees_no_environment_and_lives_under_limits() {
        let seen = shell("cat >/dev/null; ulimit -v; ulimit -c; exec env", Duration::from_secs(20)).unwrap();
        let seen = String::from_utf8(seen).unwrap();
        assert!(seen.starts_with("4194304\n0\n"), "{seen}");
        assert!(!seen.contains("HOME="), "{seen}");
    }

    #[test]
    fn a_worker_says_in_words_what_it_refuses() {
        let (mut code, mut text) = (Vec::new(), Vec::new());
        assert_eq!(compile_worker(b"garbage".as_slice(), &mut code, &mut text), 3);
        assert!(code.is_empty() && !text.is_empty());
    }
}
