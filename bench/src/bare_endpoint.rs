//! The limit for memory per agent: our QUIC endpoint, tuned as in the product, with connections and nothing else.
//!
//! It runs as a process of its own (this program with [`COMMAND`]), because memory can only be told apart by process.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context as _, Result};
use futures_util::stream::{self, StreamExt as _, TryStreamExt as _};
use outrigger_protocol::id::AgentId;
use outrigger_protocol::identity::{AgentKey, agent_uri};
use outrigger_protocol::transport::{
    Accepted, ClientEndpoint, ClientIdentity, ServerEndpoint, ServerLimits, ServerOptions, Trust,
};
use outrigger_tests::Running;
use rcgen::string::Ia5String;
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair, SanType};
use rustls_pki_types::{CertificateDer, PrivatePkcs8KeyDer};
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::process::Command;
use tokio::time::sleep;
use zeroize::Zeroizing;

use crate::process::usage;

/// The subcommand that runs the endpoint.
pub const COMMAND: &str = "bare-endpoint";

const SERVER_NAME: &str = "bare.outrigger.test";
const CA: &str = "ca.der";
const AGENT: &str = "agent.der";
const AGENT_KEY: &str = "agent.key";
const SOCKETS: usize = 32;
const CONCURRENCY: usize = 64;

/// Listens until it is killed. Says its address on the first line of standard output, and leaves a CA, one agent's
/// certificate and its key in `directory`; they are good for this endpoint alone.
///
/// # Errors
/// It cannot listen or write.
pub async fn serve(directory: &Path) -> Result<()> {
    let mut params = CertificateParams::default();
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    let key = KeyPair::generate()?;
    let ca = params.self_signed(&key)?.der().clone();
    let issuer = Issuer::new(params, key);
    let issue = |name, key: &KeyPair| -> Result<CertificateDer<'static>> {
        let mut params = CertificateParams::default();
        params.subject_alt_names = vec![name];
        Ok(params.signed_by(key, &issuer)?.der().clone())
    };
    let server_key = KeyPair::generate()?;
    let server = issue(SanType::DnsName(Ia5String::try_from(SERVER_NAME)?), &server_key)?;
    let agent_key = AgentKey::generate()?;
    let agent_pair = KeyPair::try_from(&PrivatePkcs8KeyDer::from(agent_key.pkcs8_der()))?;
    let agent = issue(SanType::URI(Ia5String::try_from(agent_uri(AgentId::generate()))?), &agent_pair)?;
    for (name, bytes) in [(CA, &ca[..]), (AGENT, &agent[..]), (AGENT_KEY, agent_key.pkcs8_der())] {
        std::fs::write(directory.join(name), bytes).with_context(|| format!("cannot write {name}"))?;
    }
    let endpoint = ServerEndpoint::bind(ServerOptions {
        listen: (Ipv4Addr::LOCALHOST, 0).into(),
        chain: vec![server, ca.clone()],
        key: PrivatePkcs8KeyDer::from(server_key.serialize_der()).into(),
        client_ca: ca,
        // Nothing outlives this process.
        reset_key: [0; 64],
        token_key: [0; 32],
        limits: ServerLimits::default(),
    })?;
    announce(endpoint.local_addr()?)?;
    while let Some(incoming) = endpoint.accept().await {
        tokio::spawn(async move {
            if let Ok(Accepted::Agent(connection)) = incoming.handshake().await {
                // Held until the agent leaves; it never opens a stream.
                let _gone = connection.closed().await;
            }
        });
    }
    Ok(())
}

fn announce(address: SocketAddr) -> Result<()> {
    use std::io::Write as _;
    let mut out = std::io::stdout().lock();
    writeln!(out, "{address}")?;
    out.flush().context("cannot say where it listens")
}

/// KiB of resident memory that one of `count` idle connections takes in the endpoint's process.
///
/// # Errors
/// The endpoint does not start, or a connection fails.
pub async fn kib_per_connection(directory: &Path, count: usize) -> Result<f64> {
    let mut command = Command::new(std::env::current_exe()?);
    command.arg(COMMAND).arg(directory).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null());
    let mut process = Running::start_apart(command)?;
    let stdout = process.stdout().context("standard output is piped")?;
    let line = BufReader::new(stdout).lines().next_line().await?.context("the bare endpoint ended")?;
    let address: SocketAddr = line.parse()?;
    let read = |name| std::fs::read(directory.join(name)).with_context(|| format!("cannot read {name}"));
    let trust = Trust::Ca(CertificateDer::from(read(CA)?));
    let key = AgentKey::from_pkcs8_der(Zeroizing::new(read(AGENT_KEY)?))?;
    let identity = ClientIdentity { chain: vec![CertificateDer::from(read(AGENT)?)], key: key.to_tls() };
    let endpoints = (0..SOCKETS).map(|_| ClientEndpoint::towards(address)).collect::<Result<Vec<_>, _>>()?;

    let before = usage(&process)?.rss_kib;
    let connecting = (0..count).map(|at| endpoints[at % SOCKETS].connect(address, SERVER_NAME, &trust, &identity));
    let connections: Vec<_> = stream::iter(connecting).buffer_unordered(CONCURRENCY).try_collect().await?;
    // For the last acknowledgements, as the control plane gets it too.
    sleep(Duration::from_secs(3)).await;
    let after = usage(&process)?.rss_kib;
    drop(connections);
    process.stop().await?;
    Ok((after - before) / count as f64)
}
