//! Finds the agent that the demo's instances run.

use std::path::{Path, PathBuf};
use std::process::Stdio;

use anyhow::{Context as _, bail};

const NAME: &str = "outrigger-agent";

/// The agent beside this program or on `PATH`; under `cargo run`, cargo is asked to build it first.
pub(crate) async fn find_or_build() -> anyhow::Result<PathBuf> {
    // cargo sets CARGO for the programs it runs, and only a source tree has an agent to build.
    if let (Some(cargo), Some(package)) = (std::env::var_os("CARGO"), std::env::var_os("CARGO_MANIFEST_DIR")) {
        build(Path::new(&cargo), Path::new(&package)).await?;
    }
    match find() {
        Some(path) => Ok(path),
        None => bail!(
            "{NAME} is neither beside this program nor on PATH; build it (`cargo build --release -p {NAME}`) and put it \
             in one of the two places"
        ),
    }
}

/// The agent beside this program, else the first one on `PATH`.
pub(crate) fn find() -> Option<PathBuf> {
    let beside = std::env::current_exe().ok().and_then(|exe| exe.parent().map(|dir| dir.join(NAME)));
    let on_path = std::env::var_os("PATH")
        .into_iter()
        .flat_map(|path| std::env::split_paths(&path).map(|dir| dir.join(NAME)).collect::<Vec<_>>());
    beside.into_iter().chain(on_path).find(|candidate| candidate.is_file())
}

async fn build(cargo: &Path, package: &Path) -> anyhow::Result<()> {
    let mut command = tokio::process::Command::new(cargo);
    command.args(["build", "--package", NAME, "--bin", NAME]).current_dir(package).stdin(Stdio::null());
    if !cfg!(debug_assertions) {
        command.arg("--release");
    }
    let status = command.status().await.with_context(|| format!("cannot run {}", cargo.display()))?;
    if !status.success() {
        bail!("cargo could not build {NAME} ({status})");
    }
    Ok(())
}
