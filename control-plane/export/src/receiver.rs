//! Where requests go, and what becomes of one.

use std::fmt;
use std::path::PathBuf;
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use outrigger_secrets::SecretString;
use reqwest::header::{HeaderMap, HeaderName, HeaderValue, RETRY_AFTER};
use reqwest::{Certificate, Client, Response, Url};

use crate::backoff::retry_after;
use crate::credentials::{Credentials, CredentialsError, Presented};
use crate::lane::{Format, Verdict};
use crate::vocabulary::one_line;

const USER_AGENT: &str = concat!("outrigger/", env!("CARGO_PKG_VERSION"));
/// Of an answer; the rest is not read.
const ANSWER_BYTES: usize = 64 * 1024;
/// Of an answer's words, in a log and in the statistics.
const WORDS: usize = 300;

/// A URL whose query, which may hold a key, is not shown.
#[derive(Clone)]
pub(crate) struct Address(Url);

impl Address {
    pub(crate) const fn new(url: Url) -> Self {
        Self(url)
    }

    pub(crate) fn shown(&self) -> &str {
        self.0.as_str().split(['?', '#']).next().unwrap_or_default()
    }

    #[cfg(test)]
    pub(crate) fn as_str(&self) -> &str {
        self.0.as_str()
    }
}

impl fmt::Debug for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.shown())
    }
}

/// How a destination is reached.
#[derive(Debug, Clone)]
pub(crate) struct Access {
    pub(crate) credentials: Credentials,
    /// May hold a secret as well, such as a tenant's key.
    pub(crate) headers: Vec<(HeaderName, SecretString)>,
    /// Trusted instead of what the system trusts.
    pub(crate) ca_file: Option<PathBuf>,
    pub(crate) connect_timeout: Duration,
    /// Of a whole request.
    pub(crate) timeout: Duration,
}

#[derive(Debug)]
pub(crate) struct Receiver {
    client: Client,
    address: Address,
    credentials: Credentials,
    headers: Vec<SecretString>,
}

/// Why a receiver cannot be talked to at all.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ReceiverError {
    #[error("cannot read the certificates in {}", file.display())]
    ReadCertificates { file: PathBuf, source: std::io::Error },
    #[error("{} holds no certificates", file.display())]
    Certificates { file: PathBuf },
    #[error("the value of the header `{name}` cannot stand in a request")]
    Header { name: HeaderName },
    #[error(transparent)]
    Credentials(#[from] CredentialsError),
    #[error("cannot set up an HTTP client")]
    Client { source: reqwest::Error },
}

/// What became of a request.
#[derive(Debug)]
pub(crate) enum Outcome {
    Delivered(Verdict),
    /// The same again would do no better.
    Refused {
        why: String,
    },
    Unavailable {
        why: String,
        retry_after: Option<Duration>,
    },
}

impl Receiver {
    /// Makes sure that everything can be read that a request needs.
    pub(crate) async fn new(address: Address, access: &Access) -> Result<Self, ReceiverError> {
        access.credentials.read().await?;
        let mut headers = HeaderMap::new();
        for (name, value) in &access.headers {
            let mut value =
                HeaderValue::from_str(value.expose()).map_err(|_| ReceiverError::Header { name: name.clone() })?;
            value.set_sensitive(true);
            headers.insert(name, value);
        }
        let mut client = Client::builder()
            .user_agent(USER_AGENT)
            .default_headers(headers)
            // A redirect would carry credentials to wherever somebody else says.
            .redirect(reqwest::redirect::Policy::none())
            .no_proxy()
            .connect_timeout(access.connect_timeout)
            .timeout(access.timeout);
        if let Some(file) = &access.ca_file {
            client = client.tls_certs_only(certificates(file.clone()).await?);
        }
        Ok(Self {
            client: client.build().map_err(|source| ReceiverError::Client { source })?,
            address,
            credentials: access.credentials.clone(),
            headers: access.headers.iter().map(|(_, value)| value.clone()).collect(),
        })
    }

    pub(crate) const fn address(&self) -> &Address {
        &self.address
    }

    pub(crate) async fn post<F: Format>(&self, headers: &[(&'static str, &'static str)], body: Bytes) -> Outcome {
        let presented = match self.credentials.read().await {
            Ok(presented) => presented,
            Err(error) => return Outcome::Unavailable { why: in_words(&error), retry_after: None },
        };
        let mut request = self.client.post(self.address.0.clone()).body(body);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        request = match &presented {
            Presented::Nothing => request,
            Presented::Bearer(token) => request.bearer_auth(token.expose()),
            Presented::Basic(username, password) => request.basic_auth(username, Some(password.expose())),
        };
        match request.send().await {
            Ok(response) => self.outcome::<F>(response, &presented).await,
            // Says neither the address, which may hold a key, nor any header.
            Err(error) => Outcome::Unavailable { why: in_words(&error.without_url()), retry_after: None },
        }
    }

    async fn outcome<F: Format>(&self, mut response: Response, presented: &Presented) -> Outcome {
        let status = response.status();
        let wait = response.headers().get(RETRY_AFTER).and_then(|value| value.to_str().ok());
        let wait = wait.and_then(|value| retry_after(value, SystemTime::now()));
        let body = beginning_of(&mut response).await;
        if status.is_success() {
            let mut verdict = F::verdict(&body);
            verdict.message = verdict.message.map(|message| self.harmless(&message, presented));
            return Outcome::Delivered(verdict);
        }
        let complaint = self.harmless(&F::complaint(&body), presented);
        let why =
            if complaint.is_empty() { format!("answered {status}") } else { format!("answered {status}: {complaint}") };
        if F::is_retryable(status) { Outcome::Unavailable { why, retry_after: wait } } else { Outcome::Refused { why } }
    }

    /// A receiver's words, without what it may have repeated of ours.
    fn harmless(&self, words: &str, presented: &Presented) -> String {
        let mut words = words.to_owned();
        for secret in self.headers.iter().chain(presented.secret()).filter(|secret| !secret.is_empty()) {
            words = words.replace(secret.expose(), "(hidden)");
        }
        one_line(&words, WORDS).into_owned()
    }
}

/// What of an answer came before its bound, its end or an error.
async fn beginning_of(response: &mut Response) -> Vec<u8> {
    let mut body = Vec::new();
    while let Ok(Some(chunk)) = response.chunk().await {
        let room = ANSWER_BYTES - body.len();
        body.extend_from_slice(&chunk[..chunk.len().min(room)]);
        if body.len() == ANSWER_BYTES {
            break;
        }
    }
    body
}

async fn certificates(file: PathBuf) -> Result<Vec<Certificate>, ReceiverError> {
    let path = file.clone();
    let read = tokio::task::spawn_blocking(move || std::fs::read(path)).await.map_err(std::io::Error::other).flatten();
    let pem = read.map_err(|source| ReceiverError::ReadCertificates { file: file.clone(), source })?;
    let certificates = Certificate::from_pem_bundle(&pem).unwrap_or_default();
    if certificates.is_empty() { Err(ReceiverError::Certificates { file }) } else { Ok(certificates) }
}

/// An error and its causes.
fn in_words(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(Some(error), |error| error.source()).map(ToString::to_string);
    one_line(&causes.collect::<Vec<_>>().join(": "), WORDS).into_owned()
}
