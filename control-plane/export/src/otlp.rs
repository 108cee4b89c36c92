//! OTLP over HTTP with binary Protocol Buffers (opentelemetry.io/docs/specs/otlp): metrics and logs.
//!
//! An instance is a resource: `service.name` is its deployment, `service.namespace` the project, `service.instance.id`
//! the instance. Totals are cumulative, with the time from which on they count.

mod logs;
mod metrics;

use std::io::Write as _;

use flate2::Compression as Level;
use flate2::write::GzEncoder;
use outrigger_ingest::Source;
use outrigger_protocol::time::UnixMillis;
use reqwest::StatusCode;

use crate::encoding::{Reader, Value, Writer};
use crate::lane::{EncodeError, Verdict};
use crate::naming::Naming;

pub(crate) use logs::OtlpLogs;
pub(crate) use metrics::OtlpMetrics;

const SCOPE: &str = "outrigger";

/// How bodies are packed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Compression {
    None,
    Gzip,
}

/// Fields that messages of both signals have.
mod field {
    pub(super) const REQUEST_RESOURCE: u32 = 1;
    pub(super) const OF_RESOURCE: u32 = 1;
    pub(super) const RESOURCE_SCOPE: u32 = 2;
    pub(super) const RESOURCE_ATTRIBUTE: u32 = 1;
    pub(super) const OF_SCOPE: u32 = 1;
    pub(super) const SCOPE_ITEM: u32 = 2;
    pub(super) const SCOPE_NAME: u32 = 1;
    pub(super) const SCOPE_VERSION: u32 = 2;
    pub(super) const KEY: u32 = 1;
    pub(super) const VALUE: u32 = 2;
    pub(super) const ANY_STRING: u32 = 1;
    pub(super) const ANY_BOOL: u32 = 2;
    pub(super) const ANY_INT: u32 = 3;
    pub(super) const ANSWER_PARTIAL: u64 = 1;
    pub(super) const PARTIAL_REJECTED: u64 = 1;
    pub(super) const PARTIAL_MESSAGE: u64 = 2;
    pub(super) const STATUS_MESSAGE: u64 = 2;
}

/// What both signals have in common.
#[derive(Debug)]
pub(crate) struct Envelope {
    compression: Compression,
    /// The operator's own, on every resource.
    attributes: Vec<(String, String)>,
}

impl Envelope {
    pub(crate) const fn new(compression: Compression, attributes: Vec<(String, String)>) -> Self {
        Self { compression, attributes }
    }

    /// One resource with one scope, whose items `content` writes into field 2.
    fn write_resource(&self, request: &mut Writer, source: Source, naming: &Naming, content: impl FnOnce(&mut Writer)) {
        let instance = source.instance.to_string();
        let own = [
            ("service.name", naming.deployment.as_str()),
            ("service.namespace", &naming.project),
            ("service.instance.id", &instance),
            ("outrigger.deployment.id", &naming.deployment_id),
            ("outrigger.organization.id", &naming.organization),
        ];
        request.message(field::REQUEST_RESOURCE, |of_resource| {
            of_resource.message(field::OF_RESOURCE, |resource| {
                let more = self.attributes.iter().map(|(name, value)| (name.as_str(), value.as_str()));
                for (name, value) in own.into_iter().chain(more) {
                    attribute(resource, field::RESOURCE_ATTRIBUTE, name, |any| any.string(field::ANY_STRING, value));
                }
            });
            of_resource.message(field::RESOURCE_SCOPE, |of_scope| {
                of_scope.message(field::OF_SCOPE, |scope| {
                    scope.string(field::SCOPE_NAME, SCOPE);
                    scope.string(field::SCOPE_VERSION, env!("CARGO_PKG_VERSION"));
                });
                content(of_scope);
            });
        });
    }

    const fn headers(&self) -> &'static [(&'static str, &'static str)] {
        match self.compression {
            Compression::None => &[("content-type", "application/x-protobuf")],
            Compression::Gzip => &[("content-type", "application/x-protobuf"), ("content-encoding", "gzip")],
        }
    }

    fn pack(&self, request: Vec<u8>) -> Result<Vec<u8>, EncodeError> {
        if self.compression == Compression::None {
            return Ok(request);
        }
        let mut packed = GzEncoder::new(Vec::with_capacity(request.len() / 4), Level::fast());
        packed.write_all(&request).and_then(|()| packed.finish()).map_err(|source| EncodeError::Gzip { source })
    }
}

fn attribute(writer: &mut Writer, field: u32, name: &str, value: impl FnOnce(&mut Writer)) {
    writer.message(field, |pair| {
        pair.string(field::KEY, name);
        pair.message(field::VALUE, value);
    });
}

fn nanos(at: UnixMillis) -> u64 {
    at.as_millis().saturating_mul(1_000_000)
}

/// "The client SHOULD retry" on these and on no other status.
fn is_retryable(status: StatusCode) -> bool {
    matches!(
        status,
        StatusCode::TOO_MANY_REQUESTS
            | StatusCode::BAD_GATEWAY
            | StatusCode::SERVICE_UNAVAILABLE
            | StatusCode::GATEWAY_TIMEOUT
    )
}

/// `partial_success` of an answer: both signals number its fields alike.
fn verdict(body: &[u8]) -> Verdict {
    let mut verdict = Verdict::default();
    let partial = Reader::new(body).filter_map(|field| match field {
        (field::ANSWER_PARTIAL, Value::Bytes(partial)) => Some(partial),
        _ => None,
    });
    for field in partial.flat_map(Reader::new) {
        match field {
            // An int64; a negative one is nonsense, and nothing is refused by it.
            (field::PARTIAL_REJECTED, Value::Varint(count)) => {
                verdict.rejected = usize::try_from(count.cast_signed()).unwrap_or(0);
            }
            (field::PARTIAL_MESSAGE, Value::Bytes(text)) => {
                verdict.message = Some(String::from_utf8_lossy(text).into_owned()).filter(|text| !text.is_empty());
            }
            _ => {}
        }
    }
    verdict
}

/// `google.rpc.Status`, which says in its message what is wrong; or what else stands there.
fn complaint(body: &[u8]) -> String {
    let message = Reader::new(body).find_map(|field| match field {
        (field::STATUS_MESSAGE, Value::Bytes(text)) => std::str::from_utf8(text).ok(),
        _ => None,
    });
    message.map_or_else(|| String::from_utf8_lossy(body).into_owned(), str::to_owned)
}

#[cfg(test)]
mod tests;
