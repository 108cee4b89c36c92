//! The binaries that ship: found where cargo puts them, or built.

use std::env;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, bail, ensure};

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
    /// were built before.
    ///
    /// # Errors
    /// They do not build, or are not there.
    pub fn ready() -> Result<Self> {
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
            programs.build(cargo, &["--release", "-p", "outrigger"])?;
            programs.build(cargo, &agent)?;
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

    fn build(&self, cargo: &Path, arguments: &[&str]) -> Result<()> {
        let mut command = Command::new(cargo);
        command.args(["build", "--locked", "--quiet", "--target-dir"]).arg(&self.target).args(arguments);
        command.current_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/.."));
        let status = command.status().context("cannot start cargo")?;
        if !status.success() {
            bail!("`cargo build {}` failed", arguments.join(" "));
        }
        Ok(())
    }
}
