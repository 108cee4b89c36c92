//! One command with a person's environment, in the place of this process.
//!
//! `API token -> control plane (or what is kept) -> unseal -> check -> execve`. There is no identity, no supervisor and
//! nothing that keeps running: who waits for the command waits for the command itself.
//!
//! What must never be true: a value on a disk in clear; what is kept used after the control plane refused the token; a
//! command started with a half-filled environment; a second thread left when the command is executed.

mod cache;
mod fetch;

use std::path::Path;
use std::time::{Duration, Instant};

use outrigger_protocol::environment::Environment;
use outrigger_protocol::id::{EnvironmentId, ProjectId};
use outrigger_protocol::message::ConfigRef;
use outrigger_protocol::time::UnixMillis;
use zeroize::Zeroizing;

use crate::app::Ended;
use crate::config::ExecConfig;
use crate::environment::{self, EnvironmentError, Prepared, Surroundings};
use crate::session::text;
use crate::supervisor::replace_process;
use cache::{Cache, Place};
use fetch::FetchError;

/// How long a silent control plane is waited for before what is kept is used.
const SILENCE: Duration = Duration::from_secs(3);
const AGENT_FAILED: i32 = 1;

/// An environment as it came, unsealed and not checked yet.
struct Fetched {
    project: ProjectId,
    environment: EnvironmentId,
    config: ConfigRef,
    plaintext: Zeroizing<Vec<u8>>,
}

/// Becomes the command. Returns only when that failed.
#[must_use]
pub fn run(config: ExecConfig) -> Ended {
    let cache = config.cache_dir.as_deref().map(|directory| open_cache(directory, &config));
    let prepared = match obtain(&config, cache.as_ref())
        .and_then(|(fetched, content)| prepare(&config, &fetched, content).map_err(ExecError::Environment))
    {
        Ok(prepared) => prepared,
        Err(error) => return failed(AGENT_FAILED, &error),
    };
    let error = replace_process(&config.command, &prepared, config.core_limit);
    failed(error.exit_code(), &error)
}

fn failed(exit_code: i32, error: &dyn std::error::Error) -> Ended {
    Ended { exit_code, complaint: Some(text(error)) }
}

#[derive(Debug, thiserror::Error)]
enum ExecError {
    #[error(transparent)]
    Fetch(FetchError),
    #[error(transparent)]
    Environment(EnvironmentError),
}

fn open_cache(directory: &Path, config: &ExecConfig) -> Cache {
    let place = Place {
        control_plane: &config.control_plane,
        server_name: &config.server_name,
        project: config.project.as_deref(),
        environment: &config.environment,
    };
    Cache::new(directory, &place, config.token.reveal())
}

/// The environment, checked: what is kept while it is young enough, else what the control plane says, else what is kept.
fn obtain(config: &ExecConfig, cache: Option<&Cache>) -> Result<(Fetched, Environment), ExecError> {
    let kept = cache.filter(|_| !config.require_fresh).and_then(|cache| match cache.load() {
        Ok(kept) => kept,
        Err(error) => {
            tracing::warn!(error = %text(&error), "what is kept of the environment cannot be used");
            None
        }
    });
    let check = |fetched: Fetched| {
        let content = environment::read(&fetched.plaintext, &fetched.config, &config.inheritance.also);
        content.map(|content| (fetched, content)).map_err(ExecError::Environment)
    };
    let kept = match kept {
        Some(kept) if kept.is_younger_than(config.max_age, UnixMillis::now()) => return check(kept.fetched),
        kept => kept,
    };
    let patience = if kept.is_some() { SILENCE.min(config.start_timeout) } else { config.start_timeout };
    match fetch::ask(config, Instant::now() + patience, kept.is_some()) {
        Ok(fetched) => {
            let (fetched, content) = check(fetched)?;
            if let Some(cache) = cache
                && let Err(error) = cache.store(&fetched, UnixMillis::now())
            {
                tracing::warn!(error = %text(&error), "the environment is not kept");
            }
            Ok((fetched, content))
        }
        Err(error) => {
            if let Some(cache) = cache
                && let Some(scope) = error.forgets()
                && let Err(error) = cache.forget(scope)
            {
                tracing::error!(error = %text(&error), "what is kept of the environment is still there");
            }
            match kept.filter(|_| error.is_absence()) {
                Some(kept) => {
                    tracing::warn!(
                        error = %text(&error), generation = kept.fetched.config.generation,
                        age = ?kept.age(UnixMillis::now()), "the control plane is away: using what is kept"
                    );
                    check(kept.fetched)
                }
                None => Err(ExecError::Fetch(error)),
            }
        }
    }
}

fn prepare(config: &ExecConfig, fetched: &Fetched, content: Environment) -> Result<Prepared, EnvironmentError> {
    let own = [
        ("OUTRIGGER_PROJECT_ID", fetched.project.to_string()),
        ("OUTRIGGER_ENVIRONMENT_ID", fetched.environment.to_string()),
        ("OUTRIGGER_GENERATION", fetched.config.generation.to_string()),
    ];
    let around = Surroundings {
        inheritance: &config.inheritance,
        login: None,
        assignments: &config.assignments,
        own: &own,
        env_file: None,
        hints: &[],
        command: &config.command,
    };
    Prepared::new(fetched.config, content, std::env::vars_os(), &around)
}
