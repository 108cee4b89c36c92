//! Version 1.

mod control;
mod enroll;
mod environment;
mod fetch;
mod probe;
mod telemetry;

pub(crate) use control::{AgentMessage, ServerMessage};
pub(crate) use enroll::{EnrollRequest, EnrollResponse};
pub(crate) use environment::Environment;
pub(crate) use fetch::{FetchRequest, FetchResponse};
pub(crate) use telemetry::{LogBatch, MetricBatch};

use super::bounded::{Blob, Seq};
use crate::codec::CodecError;
use crate::limits;

/// A certificate chain, DER, leaf first.
type Chain<'a> = Seq<Blob<'a>, { limits::CHAIN_CERTIFICATES }>;

fn chain_from(chain: &[Vec<u8>]) -> Result<Chain<'_>, CodecError> {
    let blobs: Vec<_> = chain.iter().map(|certificate| Blob(certificate)).collect();
    for blob in &blobs {
        blob.checked("certificate", limits::CERTIFICATE_BYTES)?;
    }
    Seq::new(blobs, "certificates of a chain")
}

fn chain_into(chain: Chain<'_>) -> Result<Vec<Vec<u8>>, CodecError> {
    let blobs = chain.into_items("certificates of a chain")?;
    if blobs.is_empty() {
        return Err(CodecError::Invalid { what: "an empty certificate chain" });
    }
    blobs.into_iter().map(|blob| Ok(blob.checked("certificate", limits::CERTIFICATE_BYTES)?.to_vec())).collect()
}
