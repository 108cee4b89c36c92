//! A real control plane: the release binary as a process of its own, on loopback.

use std::fs::File;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context as _, Result};
use outrigger_tests::{Addresses, Api, Running};
use reqwest::Method;
use tokio::process::Command;

use crate::programs::Programs;

/// The name in its certificate, which agents verify: the server's default.
pub const SERVER_NAME: &str = "outrigger";

const START_LIMIT: Duration = Duration::from_secs(60);

#[derive(Debug)]
pub struct ControlPlane {
    pub process: Running,
    pub api: Api,
    /// Where agents connect to.
    pub agents: SocketAddr,
    data: PathBuf,
}

impl ControlPlane {
    /// Starts one on the data in `data`, which is made when it is not there.
    ///
    /// # Errors
    /// It does not come up; its last words are in the error.
    pub async fn start(programs: &Programs, data: &Path) -> Result<Self> {
        Self::start_on(programs, data, SocketAddr::from(([127, 0, 0, 1], 0))).await
    }

    /// The same one again, on its data and where its agents know it to be.
    ///
    /// # Errors
    /// It does not go down or come up.
    pub async fn restart(self, programs: &Programs) -> Result<Self> {
        let Self { process, agents, data, .. } = self;
        process.stop().await?;
        Self::start_on(programs, &data, agents).await
    }

    /// Where the operator's token is.
    #[must_use]
    pub fn operator_token(&self) -> PathBuf {
        self.data.join("operator-token")
    }

    /// What it says about itself, in Prometheus' text format.
    ///
    /// # Errors
    /// It does not answer.
    pub async fn metrics(&self) -> Result<String> {
        let answer = self.api.request(Method::GET, "/metrics").send().await.context("no answer from /metrics")?;
        Ok(answer.error_for_status()?.text().await?)
    }

    async fn start_on(programs: &Programs, data: &Path, agents: SocketAddr) -> Result<Self> {
        let log_path = data.with_extension("log");
        let log = File::options().create(true).append(true).open(&log_path).context("cannot write the server's log")?;
        let mut command = Command::new(&programs.server);
        command
            .arg("server")
            .arg("--data-dir")
            .arg(data)
            .args(["--http-listen", "127.0.0.1:0", "--agents-listen", &agents.to_string(), "--log-level", "warn"])
            .arg("--process-agent-binary")
            .arg(&programs.agent)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(log);
        let mut process = Running::start_apart(command)?;
        let stdout = process.stdout().context("standard output is piped")?;
        let log = || std::fs::read_to_string(&log_path).unwrap_or_default();
        let addresses = tokio::time::timeout(START_LIMIT, Addresses::read(stdout)).await;
        let Addresses { http, agents } =
            addresses.context("the control plane says no addresses").flatten().with_context(log)?;
        let api = Api::of_operator(&http, data)?;
        Ok(Self { process, api, agents: agents.parse().context("not an address")?, data: data.to_owned() })
    }
}
