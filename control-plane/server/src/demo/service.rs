//! The small HTTP service that the demo deploys: it burns a little CPU for each request and answers with what its
//! environment says, so that load and configuration can be seen to arrive.

use std::net::{Ipv4Addr, SocketAddr};

use anyhow::Context as _;
use axum::Router;
use axum::extract::State;
use axum::routing::get;
use ring::digest::{SHA256, digest};

/// CPU that a request costs: rounds of SHA-256 over 4 KiB, about a millisecond in a release build.
const ROUNDS: usize = 256;

#[derive(Clone)]
struct Service {
    greeting: String,
    /// The first bytes of the secret's hash: enough to see that it changed, useless for anything else.
    fingerprint: String,
}

/// Serves until TERM or ctrl-c on the port that `$PORT` names.
pub(crate) async fn run() -> anyhow::Result<()> {
    let port: u16 = std::env::var("PORT").context("PORT is not set")?.parse().context("PORT is not a port")?;
    let greeting = std::env::var("GREETING").context("GREETING is not set")?;
    let key = std::env::var("API_KEY").context("API_KEY is not set")?;
    let service = Service { greeting, fingerprint: fingerprint(&key) };
    let listener = tokio::net::TcpListener::bind(SocketAddr::from((Ipv4Addr::LOCALHOST, port)))
        .await
        .with_context(|| format!("cannot listen on port {port}"))?;
    let app = Router::new().route("/", get(answer)).with_state(service);
    axum::serve(listener, app).with_graceful_shutdown(crate::signals::terminated()).await.context("serving failed")
}

async fn answer(State(service): State<Service>) -> String {
    let block = [0u8; 4096];
    let work = (0..ROUNDS).fold(0u8, |sum, _| sum ^ digest(&SHA256, std::hint::black_box(&block)).as_ref()[0]);
    std::hint::black_box(work);
    format!("{} (API key {})\n", service.greeting, service.fingerprint)
}

/// `sha256:` and eight hexadecimal digits.
pub(crate) fn fingerprint(secret: &str) -> String {
    let hash = digest(&SHA256, secret.as_bytes());
    let digits: String = hash.as_ref().iter().take(4).map(|byte| format!("{byte:02x}")).collect();
    format!("sha256:{digits}…")
}
