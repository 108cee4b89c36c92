//! A real control plane: the release binary as a process of its own, on loopback.

use std::fs::File;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use outrigger_tests::Api;
use reqwest::Method;
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::process::{ChildStdout, Command};

use crate::process::Running;
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
        let mut process = Running::start(command)?;
        let stdout = process.stdout().context("standard output is piped")?;
        let log = || std::fs::read_to_string(&log_path).unwrap_or_default();
        let (http, agents) = tokio::time::timeout(START_LIMIT, addresses(stdout))
            .await
            .context("the control plane says no addresses")
            .flatten()
            .with_context(log)?;
        let token = std::fs::read_to_string(data.join("operator-token")).context("no operator token")?;
        let api = Api::new(format!("http://{http}"), Some(token.trim().to_owned()));
        Ok(Self { process, api, agents: agents.parse().context("not an address")?, data: data.to_owned() })
    }
}

/// Reads `api http://ADDRESS` and `agents ADDRESS` off standard output, and then keeps the pipe from filling up.
async fn addresses(stdout: ChildStdout) -> Result<(String, String)> {
    let mut lines = BufReader::new(stdout).lines();
    let (mut http, mut agents) = (None, None);
    while let Some(line) = lines.next_line().await? {
        if let Some(address) = line.strip_prefix("api http://") {
            http = Some(address.to_owned());
        } else if let Some(address) = line.strip_prefix("agents ") {
            agents = Some(address.to_owned());
        }
        if let (Some(http), Some(agents)) = (&http, &agents) {
            let found = (http.clone(), agents.clone());
            tokio::spawn(async move { while let Ok(Some(_)) = lines.next_line().await {} });
            return Ok(found);
        }
    }
    bail!("the control plane ended before it listened")
}
