//! The agents of others, as Debian packages them, doing the same at the same time: one reading of the machine a second.

use std::io;
use std::net::{Ipv4Addr, TcpListener};
use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, Result};
use outrigger_tests::Running;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpStream, UdpSocket};
use tokio::task::JoinHandle;
use tokio::time::{MissedTickBehavior, interval};

use crate::process::{quiet, usage};
use crate::procfs::Usage;

const COLLECTD: &str = "/usr/sbin/collectd";
const COLLECTD_PLUGINS: &str = "/usr/lib/collectd";
const COLLECTD_TYPES: &str = "/usr/share/collectd/types.db";
/// What our agent reads of a machine, as far as collectd has it.
const COLLECTD_INPUTS: [&str; 11] =
    ["cpu", "memory", "load", "interface", "disk", "df", "processes", "swap", "vmem", "contextswitch", "uptime"];
const NODE_EXPORTER: &str = "/usr/bin/prometheus-node-exporter";

/// A running peer and what it talks to.
#[derive(Debug)]
pub struct Peer {
    process: Running,
    /// Reads what it sends, or asks it.
    other_end: JoinHandle<()>,
}

impl Peer {
    /// # Errors
    /// It has ended.
    pub fn usage(&self) -> Result<Usage> {
        usage(&self.process)
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        self.other_end.abort();
    }
}

/// A TCP port of loopback that is free now.
///
/// # Errors
/// There is none.
pub fn free_port() -> Result<u16> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).context("no free port")?;
    Ok(listener.local_addr()?.port())
}

/// collectd with eleven inputs at 1 s, sending over UDP to loopback as our agent does.
///
/// # Errors
/// In words for the table: it is not installed, or does not start.
pub async fn collectd(directory: &Path) -> Result<Peer, String> {
    if !Path::new(COLLECTD).is_file() {
        return Err("not installed: apt-get install collectd-core".to_owned());
    }
    start_collectd(directory).await.map_err(|error| format!("{error:#}"))
}

async fn start_collectd(directory: &Path) -> Result<Peer> {
    let base = directory.join("collectd");
    std::fs::create_dir_all(&base)?;
    let sink = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).await?;
    let config = base.join("collectd.conf");
    std::fs::write(&config, collectd_config(&base, sink.local_addr()?.port()))?;
    let mut command = quiet(COLLECTD);
    command.arg("-f").arg("-C").arg(&config);
    let process = Running::start_apart(command)?;
    let other_end = tokio::spawn(async move {
        let mut packet = [0; 2048];
        while sink.recv(&mut packet).await.is_ok() {}
    });
    Ok(Peer { process, other_end })
}

fn collectd_config(base: &Path, port: u16) -> String {
    let base = base.display();
    let inputs: String = COLLECTD_INPUTS.iter().map(|name| format!("LoadPlugin {name}\n")).collect();
    format!(
        "Hostname \"bench\"\nFQDNLookup false\nBaseDir \"{base}\"\nPIDFile \"{base}/pid\"\n\
         PluginDir \"{COLLECTD_PLUGINS}\"\nTypesDB \"{COLLECTD_TYPES}\"\nInterval 1\n{inputs}\
         LoadPlugin network\n<Plugin network>\n  Server \"127.0.0.1\" \"{port}\"\n</Plugin>\n"
    )
}

/// node_exporter with the collectors it has by default, scraped every second.
///
/// # Errors
/// In words for the table: it is not installed, or does not start.
pub async fn node_exporter() -> Result<Peer, String> {
    if !Path::new(NODE_EXPORTER).is_file() {
        return Err("not installed: apt-get install prometheus-node-exporter".to_owned());
    }
    start_node_exporter().map_err(|error| format!("{error:#}"))
}

fn start_node_exporter() -> Result<Peer> {
    let port = free_port()?;
    let mut command = quiet(NODE_EXPORTER);
    command.arg(format!("--web.listen-address=127.0.0.1:{port}"));
    let process = Running::start_apart(command)?;
    let other_end = tokio::spawn(async move {
        let mut ticks = interval(Duration::from_secs(1));
        ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
        loop {
            ticks.tick().await;
            // The first ones come before it listens.
            let _scraped = scrape(port).await;
        }
    });
    Ok(Peer { process, other_end })
}

async fn scrape(port: u16) -> io::Result<usize> {
    let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).await?;
    stream.write_all(b"GET /metrics HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n").await?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn collectd_is_told_to_sample_every_second_and_to_send_to_loopback() {
        let config = collectd_config(Path::new("/tmp/x"), 4242);
        assert!(config.contains("\nInterval 1\n") && config.contains("Server \"127.0.0.1\" \"4242\""), "{config}");
        assert_eq!(config.matches("LoadPlugin ").count(), COLLECTD_INPUTS.len() + 1);
    }
}
