use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use outrigger_drivers::{Driver as _, ProcessConfig, ProcessDriver};
use tempfile::TempDir;

use crate::process::binary;

/// A directory of a test's own, with the data of its control plane in it.
///
/// Instances outlive their control plane on purpose, so a test that fails before it has stopped its deployments would
/// leave them running for ever. When the last clone of a workplace is dropped, be it by a panic, whatever the process
/// driver has written down below it is ended, and the directory is removed. A [`Server`](crate::Server) holds a clone: a
/// control plane that still runs would replace what is ended.
#[derive(Debug, Clone)]
pub struct Workplace(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    directory: TempDir,
    /// What the driver would start, were it asked to; looked for early, because a drop must not fail.
    agent: PathBuf,
}

impl Workplace {
    /// # Errors
    /// There is no room for temporary files.
    pub fn new() -> Result<Self> {
        let directory = tempfile::tempdir().context("cannot make a directory")?;
        Ok(Self(Arc::new(Inner { directory, agent: binary("outrigger-agent") })))
    }

    #[must_use]
    pub fn path(&self) -> &Path {
        self.0.directory.path()
    }

    /// The data directory of the control plane, which makes it.
    #[must_use]
    pub fn data(&self) -> PathBuf {
        self.0.data()
    }
}

impl Inner {
    fn data(&self) -> PathBuf {
        self.directory.path().join("data")
    }

    /// Ends every instance, by the driver itself: it alone can tell the agent that it started from another process of the
    /// same number, and finds the agent's whole tree.
    fn end_instances(&self) -> Result<()> {
        let root = self.data().join("instances");
        if !root.is_dir() {
            return Ok(());
        }
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        runtime.block_on(async {
            let driver = ProcessDriver::new(ProcessConfig::new(self.agent.clone(), root))?;
            for left in driver.list().await? {
                driver.destroy(left.instance, Duration::ZERO).await?;
            }
            Ok(())
        })
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        // On a thread of its own: a drop may happen inside of a runtime, which another one must not block.
        let ended = thread::scope(|scope| scope.spawn(|| self.end_instances()).join());
        let ended = ended.unwrap_or_else(|_| bail!("the process driver panicked"));
        if let Err(error) = ended {
            complain(&format!("instances below {} may still run: {error:#}", self.data().display()));
        }
    }
}

/// Fails the test, unless it has failed already: a second panic would end all tests of this process.
#[allow(clippy::print_stderr, reason = "beside the message of the panic under way")]
#[allow(clippy::panic, reason = "this is how a test fails")]
fn complain(complaint: &str) {
    if thread::panicking() {
        eprintln!("{complaint}");
    } else {
        panic!("{complaint}");
    }
}
