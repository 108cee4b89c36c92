//! The master key from a program, such as the client of a key management service.
//!
//! It runs without a shell, in a process group of its own, without input, within a time and with bounded output. What
//! it writes to standard output is the key and appears nowhere; what it writes to standard error is shown when it fails.

use std::io;
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use outrigger_secrets::{MasterKey, MasterKeyError};
use rustix::process::{Pid, Signal, kill_process_group};
use tokio::io::{AsyncRead, AsyncReadExt as _};
use tokio::process::{Child, Command};
use zeroize::Zeroizing;

use crate::config::KeyCommand;

/// More than any form of a key.
const OUTPUT_BYTES: usize = 1024;
/// Of standard error, as much as an error message of one line can carry.
const TOLD_BYTES: usize = 2048;

#[derive(Debug, thiserror::Error)]
pub(super) enum CommandError {
    #[error("cannot run the master key command `{program}`")]
    Run { program: String, source: io::Error },
    #[error("the master key command `{program}` did not end within {limit:?}; it was killed")]
    Timeout { program: String, limit: Duration },
    #[error("the master key command `{program}` wrote more than {} bytes, so it is no master key", OUTPUT_BYTES)]
    TooMuch { program: String },
    #[error("the master key command `{program}` failed ({status}){told}")]
    Failed { program: String, status: ExitStatus, told: String },
    #[error("the output of the master key command `{program}` is unusable")]
    Output { program: String, source: MasterKeyError },
}

struct Ended {
    status: ExitStatus,
    output: Zeroizing<Vec<u8>>,
    told: Vec<u8>,
}

/// Runs the command and reads the key that it prints.
pub(super) async fn run(command: &KeyCommand) -> Result<MasterKey, CommandError> {
    let program = || command.program.clone();
    let failed = |source| CommandError::Run { program: program(), source };
    let mut child = Command::new(&command.program)
        .args(&command.arguments)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .process_group(0)
        .kill_on_drop(true)
        .spawn()
        .map_err(failed)?;
    let outcome = tokio::time::timeout(command.timeout, follow(&mut child)).await;
    // With whatever it started, when it has not ended by itself.
    end(&child);
    let ended = match outcome {
        Ok(ended) => ended.map_err(failed)?.ok_or_else(|| CommandError::TooMuch { program: program() })?,
        Err(_) => return Err(CommandError::Timeout { program: program(), limit: command.timeout }),
    };
    if !ended.status.success() {
        return Err(CommandError::Failed { program: program(), status: ended.status, told: told(&ended.told) });
    }
    std::str::from_utf8(&ended.output)
        .map_err(|_| MasterKeyError::Encoding)
        .and_then(MasterKey::parse)
        .map_err(|source| CommandError::Output { program: program(), source })
}

/// Reads both outputs to their ends and waits. Nothing when there is more output than a key can have.
async fn follow(child: &mut Child) -> io::Result<Option<Ended>> {
    let stdout = child.stdout.take().expect("standard output is piped");
    let stderr = child.stderr.take().expect("standard error is piped");
    let key = async {
        // Sized beforehand: a buffer that grows leaves copies behind that nobody wipes.
        let mut output = Zeroizing::new(Vec::with_capacity(1 + OUTPUT_BYTES));
        read_start(stdout, &mut output, 1 + OUTPUT_BYTES).await?;
        io::Result::Ok((output.len() <= OUTPUT_BYTES).then_some(output))
    };
    let messages = async {
        let mut told = Vec::new();
        let mut stderr = stderr;
        read_start(&mut stderr, &mut told, TOLD_BYTES).await?;
        // Somebody who is not read from does not end.
        tokio::io::copy(&mut stderr, &mut tokio::io::sink()).await?;
        io::Result::Ok(told)
    };
    tokio::pin!(key, messages);
    // Too much output is known before the program ends, and then nobody waits for it.
    let (output, told) = tokio::select! {
        output = &mut key => match output? {
            Some(output) => (output, messages.await?),
            None => return Ok(None),
        },
        told = &mut messages => match key.await? {
            Some(output) => (output, told?),
            None => return Ok(None),
        },
    };
    Ok(Some(Ended { status: child.wait().await?, output, told }))
}

async fn read_start(from: impl AsyncRead + Unpin, into: &mut Vec<u8>, limit: usize) -> io::Result<()> {
    from.take(limit as u64).read_to_end(into).await.map(drop)
}

/// Kills the group of a program that was not waited for to its end.
fn end(child: &Child) {
    let group = child.id().and_then(|id| i32::try_from(id).ok()).and_then(Pid::from_raw);
    if let Some(group) = group
        && let Err(error) = kill_process_group(group, Signal::KILL)
    {
        tracing::debug!(%error, "the master key command ended before it was killed");
    }
}

/// What a program said, as the end of a sentence on one line.
fn told(bytes: &[u8]) -> String {
    let text = String::from_utf8_lossy(bytes);
    let words: Vec<&str> =
        text.split(|c: char| c.is_whitespace() || c.is_control()).filter(|w| !w.is_empty()).collect();
    if words.is_empty() { String::new() } else { format!(": {}", words.join(" ")) }
}
