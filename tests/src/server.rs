use std::path::{Path, PathBuf};
use std::process::Stdio;

use anyhow::{Context as _, Result, bail};
use rustix::process::{Pid, Signal, kill_process};
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::process::{Child, ChildStdout, Command};

use crate::api::Api;
use crate::process::binary;

/// How a control plane is started, beside its data directory.
#[derive(Debug, Clone, Default)]
pub struct ServerOptions {
    /// Port of the admin API and of the agents' endpoint; 0 takes a free one.
    pub http_port: u16,
    pub agents_port: u16,
    /// What the process driver's instances connect to instead, such as a proxy in between.
    pub advertise: Option<String>,
    pub arguments: Vec<String>,
}

/// A running control plane. Dropping it kills it, but not the instances it made.
#[derive(Debug)]
pub struct Server {
    child: Child,
    data: PathBuf,
    api: Api,
    http_port: u16,
    agents_port: u16,
}

impl Server {
    /// # Errors
    /// When it does not come up.
    pub async fn start(data: &Path, options: &ServerOptions) -> Result<Self> {
        let log = std::fs::File::options().create(true).append(true).open(log_path(data))?;
        let mut command = Command::new(binary("outrigger"));
        command
            .arg("server")
            .arg("--data-dir")
            .arg(data)
            .arg("--http-listen")
            .arg(format!("127.0.0.1:{}", options.http_port))
            .arg("--agents-listen")
            .arg(format!("127.0.0.1:{}", options.agents_port))
            .arg("--process-agent-binary")
            .arg(binary("outrigger-agent"))
            .args(&options.arguments)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(log)
            .kill_on_drop(true);
        if let Some(advertise) = &options.advertise {
            command.arg("--agents-advertise").arg(advertise);
        }
        let mut child = command.spawn().context("cannot start the control plane")?;
        let stdout = child.stdout.take().context("standard output is piped")?;
        let started = tokio::time::timeout(crate::PATIENCE, addresses(stdout)).await.context("no addresses in time")?;
        let (http, agents) = started.with_context(|| log_of(data))?;
        let token = std::fs::read_to_string(data.join("operator-token")).context("no operator token")?;
        let api = Api::new(format!("http://{http}"), Some(token.trim().to_owned()));
        Ok(Self { child, data: data.to_owned(), api, http_port: port(&http)?, agents_port: port(&agents)? })
    }

    /// The same control plane again, on the same ports and data.
    ///
    /// # Errors
    /// When it does not come up.
    pub async fn restart(self) -> Result<Self> {
        let options = ServerOptions { http_port: self.http_port, agents_port: self.agents_port, ..Default::default() };
        let data = self.data.clone();
        drop(self);
        Self::start(&data, &options).await
    }

    #[must_use]
    pub fn api(&self) -> &Api {
        &self.api
    }

    /// Where agents connect to.
    #[must_use]
    pub fn agents_address(&self) -> String {
        format!("127.0.0.1:{}", self.agents_port)
    }

    /// Everything it logged so far, over all its lives.
    #[must_use]
    pub fn log(&self) -> String {
        log_of(&self.data)
    }

    /// Ends it at once, as a power cut would.
    ///
    /// # Errors
    /// When it had ended before.
    pub async fn kill(&mut self) -> Result<()> {
        self.child.kill().await.context("the control plane had ended before it was killed")
    }

    /// Asks it to end, and waits.
    ///
    /// # Errors
    /// When it does not end in time, or ends with a failure.
    pub async fn terminate(mut self) -> Result<()> {
        let pid = self.child.id().and_then(|pid| i32::try_from(pid).ok()).and_then(Pid::from_raw);
        kill_process(pid.context("the control plane has ended")?, Signal::TERM)?;
        let status = tokio::time::timeout(crate::PATIENCE, self.child.wait()).await.context("it does not end")??;
        if !status.success() {
            bail!("the control plane ended with {status}\n{}", self.log());
        }
        Ok(())
    }
}

fn log_path(data: &Path) -> PathBuf {
    data.with_extension("log")
}

fn log_of(data: &Path) -> String {
    std::fs::read_to_string(log_path(data)).unwrap_or_default()
}

fn port(address: &str) -> Result<u16> {
    let (_, port) = address.rsplit_once(':').context("an address has a port")?;
    Ok(port.parse()?)
}

/// Reads `api http://ADDRESS` and `agents ADDRESS` off standard output.
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
            return Ok((http.clone(), agents.clone()));
        }
    }
    bail!("the control plane ended before it listened")
}
