//! Bytes received and sent by all interfaces of the network namespace except loopback, from `/proc/net/dev`.
//!
//! A sandbox with a network namespace of its own (every container) sees its own traffic here; one that shares the
//! host's sees the host's.

use std::path::Path;
use std::time::Instant;

use outrigger_protocol::metric::Metric;
use outrigger_protocol::sample::Sample;

use super::counter::Counter;
use super::kept_file::{KeptFile, Scratch};
use super::text;

pub(super) struct Network {
    file: KeptFile,
    received: Counter,
    sent: Counter,
}

impl Network {
    pub(super) fn open(proc: &Path) -> Self {
        Self { file: KeptFile::open(proc.join("net/dev")), received: Counter::default(), sent: Counter::default() }
    }

    pub(super) fn record(&mut self, at: Instant, scratch: &mut Scratch, sample: &mut Sample) {
        let Some((received, sent)) = self.file.read(scratch).and_then(totals) else { return };
        if let Some(rate) = self.received.per_second(Some(received), at) {
            sample.set(Metric::NetworkReceive, rate);
        }
        if let Some(rate) = self.sent.per_second(Some(sent), at) {
            sample.set(Metric::NetworkTransmit, rate);
        }
    }
}

/// Columns of `/proc/net/dev` after the interface's name: bytes received are the first, bytes sent the ninth (proc(5)).
const SENT_COLUMN: usize = 8;

/// `None` when no line is an interface, as opposed to interfaces without traffic.
fn totals(content: &[u8]) -> Option<(u64, u64)> {
    let mut sum = None;
    for line in text::lines(content) {
        let Some(colon) = line.iter().position(|byte| *byte == b':') else { continue };
        let (name, columns) = (line[..colon].trim_ascii(), &line[colon + 1..]);
        let mut columns = text::words(columns).map(text::number);
        let (Some(Some(received)), Some(Some(sent))) = (columns.next(), columns.nth(SENT_COLUMN - 1)) else {
            continue;
        };
        let (r, s) = sum.get_or_insert((0_u64, 0_u64));
        if name != b"lo" {
            *r = r.saturating_add(received);
            *s = s.saturating_add(sent);
        }
    }
    sum
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const DEV: &str = "Inter-|   Receive                                                |  Transmit
 face |bytes    packets errs drop fifo frame compressed multicast|bytes    packets errs drop fifo colls carrier compressed
    lo:    3193      29    0    0    0     0          0         0     3193      29    0    0    0     0       0          0
  eth0: 185285777    8466    0    0    0     0          0         0   410094    4679    0    0    0     0       0          0
  eth1:10 1 0 0 0 0 0 0 20 1 0 0 0 0 0 0
";

    #[test]
    fn interfaces_are_summed_without_loopback() {
        assert_eq!(totals(DEV.as_bytes()), Some((185_285_787, 410_114)));
    }

    #[test]
    fn a_namespace_with_loopback_alone_has_no_traffic_and_an_empty_file_has_no_value() {
        let lo = DEV.lines().take(3).collect::<Vec<_>>().join("\n");
        assert_eq!(totals(lo.as_bytes()), Some((0, 0)));
        assert_eq!(totals(b""), None);
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_without_harm(bytes: Vec<u8>) {
            let _ = totals(&bytes);
        }
    }
}
