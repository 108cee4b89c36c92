//! The binaries that ship: found where cargo puts them, or built.

use std::env;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use anyhow::{Context as _, Result, ensure};
use outrigger_tests::Running;
use tokio::process::Command;

const AGENT_TARGET: &str = "x86_64-unknown-linux-musl";

/// Paths of what is measured.
#[derive(Debug, Clone)]
pub struct Programs {
    /// The control plane: the release build.
    pub server: PathBuf,
    /// The agent as it is put into sandboxes: static, built for size.
    pub agent: PathBuf,
    /// Cargo's target directory.
    pub target: PathBuf,
}

impl Programs {
    /// Under cargo, builds both, so that what is measured is what the sources say. Without it, takes the ones that
    /// were built last.
    ///
    /// # Errors
    /// They do not build, or are not there.
    pub async fn ready() -> Result<Self> {
        let own = env::current_exe().context("cannot find this program's own path")?;
        let target = own.ancestors().nth(2).context("this program is not in target/PROFILE")?.to_owned();
        let programs = Self {
            server: target.join("release/outrigger"),
            agent: target.join(AGENT_TARGET).join("agent/outrigger-agent"),
            target,
        };
        if let Some(cargo) = env::var_os("CARGO") {
            let cargo = Path::new(&cargo);
            let agent = ["--profile", "agent", "--target", AGENT_TARGET, "-p", "outrigger-agent"];
            programs.build(cargo, &["--release", "-p", "outrigger"]).await?;
            programs.build(cargo, &agent).await?;
        }
        for path in [&programs.server, &programs.agent] {
            ensure!(
                path.is_file(),
                "{} is missing: run this with `cargo run --release -p outrigger-bench`",
                path.display()
            );
        }
        Ok(programs)
    }

    async fn build(&self, cargo: &Path, arguments: &[&str]) -> Result<()> {
        let mut command = Command::new(cargo);
        command.args(["build", "--locked", "--quiet", "--target-dir"]).arg(&self.target).args(arguments);
        command.current_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/..")).stdin(Stdio::null());
        let status = Running::start_apart(command)?.ended().await?;
        ensure!(status.success(), "`cargo build {}` failed", arguments.join(" "));
        Ok(())
    }
}
