use std::path::{Path, PathBuf};
use std::process::Stdio;

use anyhow::{Context as _, Result, bail};
use rustix::process::Signal;
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::process::{ChildStdout, Command};

use crate::api::Api;
use crate::process::binary;
use crate::running::Running;
use crate::workplace::Workplace;

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

/// A running control plane. Dropping it ends it, but not the instances it made: those end with its workplace.
#[derive(Debug)]
pub struct Server {
    process: Running,
    api: Api,
    http_port: u16,
    agents_port: u16,
    /// Last, because what it ends on being dropped would be replaced by a control plane that still runs.
    workplace: Workplace,
}

impl Server {
    /// # Errors
    /// When it does not come up.
    pub async fn start(workplace: &Workplace, options: &ServerOptions) -> Result<Self> {
        let data = workplace.data();
        let log = std::fs::File::options().create(true).append(true).open(log_path(&data))?;
        let mut command = Command::new(binary("outrigger"));
        command
            .arg("server")
            .arg("--data-dir")
            .arg(&data)
            .arg("--http-listen")
            .arg(format!("127.0.0.1:{}", options.http_port))
            .arg("--agents-listen")
            .arg(format!("127.0.0.1:{}", options.agents_port))
            .arg("--process-agent-binary")
            .arg(binary("outrigger-agent"))
            .args(&options.arguments)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(log);
        if let Some(advertise) = &options.advertise {
            command.arg("--agents-advertise").arg(advertise);
        }
        let mut process = Running::start(command)?;
        let stdout = process.stdout().context("standard output is piped")?;
        let addresses = tokio::time::timeout(crate::PATIENCE, Addresses::read(stdout)).await;
        let Addresses { http, agents } =
            addresses.context("no addresses in time").flatten().with_context(|| log_of(&data))?;
        let api = Api::of_operator(&http, &data)?;
        let (http_port, agents_port) = (port(&http)?, port(&agents)?);
        Ok(Self { process, api, http_port, agents_port, workplace: workplace.clone() })
    }

    /// The same control plane again, on the same ports and data.
    ///
    /// # Errors
    /// When it does not come up.
    pub async fn restart(self) -> Result<Self> {
        let options = ServerOptions { http_port: self.http_port, agents_port: self.agents_port, ..Default::default() };
        let workplace = self.workplace.clone();
        drop(self);
        Self::start(&workplace, &options).await
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
        log_of(&self.workplace.data())
    }

    /// Ends it at once, as a power cut would.
    ///
    /// # Errors
    /// The operating system does not let go of it.
    pub async fn kill(&mut self) -> Result<()> {
        self.process.kill().await
    }

    /// Asks it to end, and waits.
    ///
    /// # Errors
    /// When it does not end in time, or ends with a failure.
    pub async fn terminate(mut self) -> Result<()> {
        self.process.signal(Signal::TERM)?;
        let status = tokio::time::timeout(crate::PATIENCE, self.process.ended()).await.context("it does not end")??;
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

/// Where a control plane listens, as it says itself.
#[derive(Debug)]
pub struct Addresses {
    /// Of the admin API.
    pub http: String,
    /// Where agents connect to.
    pub agents: String,
}

impl Addresses {
    /// Reads `api http://ADDRESS` and `agents ADDRESS` off the standard output of `outrigger server`, and goes on to read
    /// what follows, so that the pipe never fills up.
    ///
    /// # Errors
    /// It ended before it listened.
    pub async fn read(stdout: ChildStdout) -> Result<Self> {
        let mut lines = BufReader::new(stdout).lines();
        let (mut api, mut agents) = (None, None);
        while let Some(line) = lines.next_line().await? {
            if let Some(address) = line.strip_prefix("api http://") {
                api = Some(address.to_owned());
            } else if let Some(address) = line.strip_prefix("agents ") {
                agents = Some(address.to_owned());
            }
            if let (Some(http), Some(agents)) = (&api, &agents) {
                let found = Self { http: http.clone(), agents: agents.clone() };
                tokio::spawn(async move { while let Ok(Some(_)) = lines.next_line().await {} });
                return Ok(found);
            }
        }
        bail!("the control plane ended before it listened")
    }
}
