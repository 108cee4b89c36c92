//! The `export` section of the settings: from what was written to [`Destination`]s that are checked.
//!
//! No error repeats a value that may be a secret put at the wrong place: addresses and headers are named by their path
//! alone.

mod written;

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::time::Duration;

use outrigger_protocol::time::parse_duration;
use outrigger_secrets::SecretString;
use reqwest::Url;
use reqwest::header::HeaderName;
use serde_json::Value;

use crate::backoff::Pace;
use crate::credentials::Credentials;
use crate::lane::Persistence;
use crate::otlp::Compression;
use crate::queue::BatchLimits;
use crate::receiver::{Access, Address};
use crate::remote_write::OWN_LABELS;
use crate::stats::Signal;

use written::{Protocol as WrittenProtocol, Written};

const MOST_DESTINATIONS: usize = 16;
const MOST_LABELS: usize = 32;
const MOST_HEADERS: usize = 16;
const MOST_TEXT: usize = 1024;
/// Bytes of a batch before compression: below what receivers take by default.
const BATCH_BYTES: usize = 4 * 1024 * 1024;
const SMALLEST_QUEUE: usize = 64 * 1024;
const LARGEST_QUEUE: usize = 4 * 1024 * 1024 * 1024;
const LARGEST_BATCH: usize = 100_000;
const SHORTEST: Duration = Duration::from_millis(10);
const DAY: Duration = Duration::from_secs(24 * 3600);

/// A receiver that restarts is away for seconds; one that is away for longer is asked twice a minute.
const PACE: Pace = Pace { first: Duration::from_millis(500), longest: Duration::from_secs(30) };

mod default {
    use std::time::Duration;

    pub(super) const BATCH: usize = 5_000;
    pub(super) const QUEUE: usize = 32 * 1024 * 1024;
    pub(super) const FLUSH_INTERVAL: Duration = Duration::from_secs(5);
    pub(super) const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
    pub(super) const TIMEOUT: Duration = Duration::from_secs(30);
    pub(super) const RETRY_FOR: Duration = Duration::from_secs(3600);
}

/// What is wrong, and where: `export[0].url`.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{path}` {problem}")]
pub struct SettingsError {
    pub path: String,
    /// Completes a sentence that begins with the path.
    pub problem: String,
}

/// What goes where.
#[derive(Debug, Clone)]
pub(crate) enum Protocol {
    RemoteWrite {
        url: Address,
    },
    /// Per signal its own address; at least one.
    Otlp {
        signals: Vec<(Signal, Address)>,
        compression: Compression,
    },
}

impl Protocol {
    pub(crate) const fn name(&self) -> &'static str {
        match self {
            Self::RemoteWrite { .. } => "remote_write",
            Self::Otlp { .. } => "otlp",
        }
    }
}

/// A checked destination.
#[derive(Debug, Clone)]
pub struct Destination {
    pub(crate) name: String,
    pub(crate) protocol: Protocol,
    pub(crate) labels: Vec<(String, String)>,
    pub(crate) access: Access,
    pub(crate) limits: BatchLimits,
    pub(crate) queue_bytes: usize,
    pub(crate) persistence: Persistence,
}

impl Destination {
    /// The destinations that are written in `export`, in the same order.
    ///
    /// # Errors
    /// The first thing that is wrong, with its path.
    pub fn from_settings(export: &Value) -> Result<Vec<Self>, SettingsError> {
        let Value::Array(list) = export else {
            return Err(problem("export", "is not a list of destinations"));
        };
        if list.len() > MOST_DESTINATIONS {
            return Err(problem("export", format!("has {} destinations, more than {MOST_DESTINATIONS}", list.len())));
        }
        let mut names = BTreeSet::new();
        list.iter()
            .enumerate()
            .map(|(at, one)| {
                let path = format!("export[{at}]");
                let destination = Self::checked(Written::read(one, &path)?, &path)?;
                if names.insert(destination.name.clone()) {
                    Ok(destination)
                } else {
                    Err(problem(
                        &format!("{path}.name"),
                        format!("is `{}`, as another one already is", destination.name),
                    ))
                }
            })
            .collect()
    }

    fn checked(written: Written, path: &str) -> Result<Self, SettingsError> {
        let at = |key: &str| format!("{path}.{key}");
        let name_is_plain = |name: &str| {
            (1..=64).contains(&name.len())
                && name.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.'))
        };
        if !name_is_plain(&written.name) {
            return Err(problem(&at("name"), "is not 1 to 64 letters, digits, `-`, `_` or `.`"));
        }
        let batch = written.batch.unwrap_or(default::BATCH);
        if !(1..=LARGEST_BATCH).contains(&batch) {
            return Err(problem(&at("batch"), format!("is not a whole number from 1 to {LARGEST_BATCH}")));
        }
        let duration = |key: &str, text: Option<&String>, shortest: Duration, default: Duration| {
            let Some(text) = text else { return Ok(default) };
            let usable = parse_duration(text).filter(|found| (shortest..=DAY).contains(found));
            usable.ok_or_else(|| problem(&at(key), "is not a duration like 500ms, 5s or 1h, of a day at the most"))
        };
        let limits = BatchLimits {
            points: batch,
            bytes: BATCH_BYTES,
            linger: duration("flush_interval", written.flush_interval.as_ref(), SHORTEST, default::FLUSH_INTERVAL)?,
        };
        let timeout = duration("timeout", written.timeout.as_ref(), SHORTEST, default::TIMEOUT)?;
        let connect_timeout =
            duration("connect_timeout", written.connect_timeout.as_ref(), SHORTEST, default::CONNECT_TIMEOUT)?;
        let retry_for = duration("retry_for", written.retry_for.as_ref(), Duration::ZERO, default::RETRY_FOR)?;
        let queue_bytes = written
            .queue
            .as_deref()
            .map_or(Some(default::QUEUE), parse_size)
            .ok_or_else(|| problem(&at("queue"), "is not a size like 512KiB or 32MiB, from 64KiB to 4GiB"))?;
        let protocol = protocol(&written, &at)?;
        Ok(Self {
            labels: labels(&written.external_labels, &protocol, &at("external_labels"))?,
            protocol,
            access: Access {
                headers: headers(&written.headers, &at("headers"))?,
                credentials: credentials(written.bearer_token_file, written.basic_auth, path)?,
                ca_file: written.ca_file,
                connect_timeout: connect_timeout.min(timeout),
                timeout,
            },
            name: written.name,
            limits,
            queue_bytes,
            persistence: Persistence { pace: PACE, retry_for },
        })
    }
}

fn problem(path: &str, problem: impl Into<String>) -> SettingsError {
    SettingsError { path: path.to_owned(), problem: problem.into() }
}

fn protocol(written: &Written, at: &impl Fn(&str) -> String) -> Result<Protocol, SettingsError> {
    let url = parse_url(&written.url).map_err(|wrong| problem(&at("url"), wrong))?;
    match written.protocol {
        WrittenProtocol::RemoteWrite => {
            if written.signals.is_some() {
                return Err(problem(&at("signals"), "is for `otlp`: remote write carries metrics alone"));
            }
            if written.compression.is_some() {
                return Err(problem(&at("compression"), "is for `otlp`: remote write is always Snappy"));
            }
            Ok(Protocol::RemoteWrite { url: Address::new(url) })
        }
        WrittenProtocol::Otlp => {
            let signals = written.signals.clone().unwrap_or_else(|| vec![Signal::Metrics, Signal::Logs]);
            let signals: BTreeSet<Signal> = signals.into_iter().collect();
            if signals.is_empty() {
                return Err(problem(&at("signals"), "is empty; expected metrics, logs or both"));
            }
            let signals = signals.into_iter().map(|signal| (signal, below(&url, signal))).collect();
            Ok(Protocol::Otlp { signals, compression: written.compression.map_or(Compression::Gzip, Into::into) })
        }
    }
}

/// `/v1/metrics` and `/v1/logs` below the endpoint (OTLP exporter specification, "Endpoint URLs for OTLP/HTTP").
fn below(endpoint: &Url, signal: Signal) -> Address {
    let mut url = endpoint.clone();
    url.set_path(&format!("{}/v1/{}", endpoint.path().trim_end_matches('/'), signal.name()));
    Address::new(url)
}

fn parse_url(text: &str) -> Result<Url, &'static str> {
    let url = Url::parse(text).map_err(|_| "is not an address like http://127.0.0.1:9090/api/v1/write")?;
    if !matches!(url.scheme(), "http" | "https") || url.host_str().is_none_or(str::is_empty) {
        return Err("is not an address that begins with http:// or https:// and a host");
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err("holds credentials; put them into a file, and name it by bearer_token_file or basic_auth");
    }
    if url.fragment().is_some() {
        return Err("has a fragment (#), which is never sent");
    }
    Ok(url)
}

fn labels(
    written: &BTreeMap<String, String>,
    protocol: &Protocol,
    path: &str,
) -> Result<Vec<(String, String)>, SettingsError> {
    if written.len() > MOST_LABELS {
        return Err(problem(path, format!("has {} labels, more than {MOST_LABELS}", written.len())));
    }
    for (name, value) in written {
        let path = format!("{path}.{name}");
        match protocol {
            Protocol::RemoteWrite { .. } => {
                let mut bytes = name.bytes();
                let begins = bytes.next().is_some_and(|first| first.is_ascii_alphabetic() || first == b'_');
                if !begins || !bytes.all(|b| b.is_ascii_alphanumeric() || b == b'_') || name.starts_with("__") {
                    return Err(problem(&path, "is no label: letters, digits and `_`, not a digit first, nor `__`"));
                }
                if OWN_LABELS.contains(&name.as_str()) {
                    return Err(problem(&path, "is a label that every series has already"));
                }
            }
            Protocol::Otlp { .. } => {
                let is_own = name.starts_with("service.") || name.starts_with("outrigger.");
                if name.is_empty() || name.len() > MOST_TEXT || is_own {
                    return Err(problem(&path, "is no attribute of the operator's own"));
                }
            }
        }
        if value.is_empty() || value.len() > MOST_TEXT {
            return Err(problem(&path, format!("is not a text of 1 to {MOST_TEXT} bytes")));
        }
    }
    Ok(written.clone().into_iter().collect())
}

fn headers(
    written: &BTreeMap<String, SecretString>,
    path: &str,
) -> Result<Vec<(HeaderName, SecretString)>, SettingsError> {
    if written.len() > MOST_HEADERS {
        return Err(problem(path, format!("has {} headers, more than {MOST_HEADERS}", written.len())));
    }
    let header = |(name, value): (&String, &SecretString)| {
        let path = format!("{path}.{name}");
        let parsed: HeaderName = name.parse().map_err(|_| problem(&path, "is no name of a header"))?;
        match parsed.as_str() {
            "authorization" => return Err(problem(&path, "is set by bearer_token_file or basic_auth")),
            "content-type"
            | "content-encoding"
            | "content-length"
            | "host"
            | "user-agent"
            | "connection"
            | "transfer-encoding"
            | "x-prometheus-remote-write-version" => {
                return Err(problem(&path, "is set by the protocol"));
            }
            _ => {}
        }
        if reqwest::header::HeaderValue::from_str(value.expose()).is_err() || value.len() > MOST_TEXT {
            return Err(problem(&path, format!("is not visible text of at most {MOST_TEXT} bytes")));
        }
        Ok((parsed, value.clone()))
    };
    written.iter().map(header).collect()
}

fn credentials(
    bearer: Option<PathBuf>,
    basic: Option<written::BasicAuth>,
    path: &str,
) -> Result<Credentials, SettingsError> {
    match (bearer, basic) {
        (Some(_), Some(_)) => Err(problem(path, "has both bearer_token_file and basic_auth; one of them is enough")),
        (Some(file), None) => Ok(Credentials::Bearer { file }),
        (None, Some(basic)) if basic.username.is_empty() || basic.username.contains(':') => {
            Err(problem(&format!("{path}.basic_auth.username"), "is empty or has a colon, which ends a user's name"))
        }
        (None, Some(basic)) => Ok(Credentials::Basic { username: basic.username, password_file: basic.password_file }),
        (None, None) => Ok(Credentials::None),
    }
}

/// `512KiB`, `32MiB`, `1GiB`
fn parse_size(text: &str) -> Option<usize> {
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = text.split_at(digits);
    let unit = match unit {
        "KiB" => 1024,
        "MiB" => 1024 * 1024,
        "GiB" => 1024 * 1024 * 1024,
        _ => return None,
    };
    number.parse::<usize>().ok()?.checked_mul(unit).filter(|size| (SMALLEST_QUEUE..=LARGEST_QUEUE).contains(size))
}

#[cfg(test)]
mod tests;
