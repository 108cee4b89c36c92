//! The book's rows in the store. All keys begin with `logs`.
//!
//! | key | value |
//! |---|---|
//! | `run` | the newest run, 8 bytes, big endian |
//! | `head`, deployment, last number | a segment's [header](crate::segment::Header) |
//! | `body`, deployment, last number | its lines, compressed |
//!
//! A segment's two rows are written and deleted together.

use bytes::Bytes;
use outrigger_protocol::id::DeploymentId;
use outrigger_store::{Entry, Key, KeyRange};

use crate::segment::Header;

const PREFIX: &str = "logs";

fn table(name: &str) -> Key {
    Key::builder().text(PREFIX).text(name).build()
}

pub(crate) fn run_key() -> Key {
    table("run")
}

pub(crate) fn run_row(run: u64) -> (Key, Bytes) {
    (run_key(), Bytes::copy_from_slice(&run.to_be_bytes()))
}

pub(crate) fn read_run(value: &[u8]) -> Option<u64> {
    value.try_into().ok().map(u64::from_be_bytes)
}

pub(crate) fn header_key(deployment: DeploymentId, last: u64) -> Key {
    table("head").extend().array(&deployment.to_bytes()).u64(last).build()
}

pub(crate) fn body_key(deployment: DeploymentId, last: u64) -> Key {
    table("body").extend().array(&deployment.to_bytes()).u64(last).build()
}

/// The headers of all deployments, deployment by deployment.
pub(crate) fn all_headers() -> KeyRange {
    KeyRange::prefix(&table("head"))
}

/// The headers of one deployment, oldest first.
pub(crate) fn headers(deployment: DeploymentId) -> KeyRange {
    KeyRange::prefix(&table("head").extend().array(&deployment.to_bytes()).build())
}

/// Those of segments that have something after `number`.
pub(crate) fn headers_after(deployment: DeploymentId, number: u64) -> KeyRange {
    headers(deployment).after(&header_key(deployment, number))
}

/// Those of segments that lie before `number`.
pub(crate) fn headers_before(deployment: DeploymentId, number: u64) -> KeyRange {
    headers(deployment).before(&header_key(deployment, number))
}

/// Whose segment it is, and its last number.
pub(crate) fn read_header_key(key: &Key) -> Option<(DeploymentId, u64)> {
    let mut reader = key.reader_after(&table("head"))?;
    let deployment = DeploymentId::from_bytes(reader.array().ok()?);
    let last = reader.u64().ok()?;
    reader.finish().ok()?;
    Some((deployment, last))
}

/// A header, or `None` for a row that this program did not write.
pub(crate) fn read_header(entry: &Entry) -> Option<Header> {
    let (_, last) = read_header_key(&entry.key)?;
    Header::decode(last, &entry.value)
}
