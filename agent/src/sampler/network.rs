//! Bytes received and sent by all interfaces of the program's network namespace except loopback, from
//! `/proc/PID/net/dev`.
//!
//! A sandbox with a network namespace of its own (every container) sees its own traffic here; one that shares the
//! host's sees the host's.
//!
//! Each interface is compared with itself: one that appears with a past, disappears, is made anew or wraps around (some
//! drivers count in 32 bits) changes nothing about the traffic of the others.

use std::path::Path;
use std::time::Instant;

use outrigger_protocol::metric::Metric;
use outrigger_protocol::sample::Sample;

use super::kept_file::{KeptFile, Scratch};
use super::text;

/// Interfaces that are followed. Only a host of containers, one pair for each, has more.
const MAX_INTERFACES: usize = 256;
/// `IFNAMSIZ` of the kernel, with its NUL.
const NAME_BYTES: usize = 16;

pub(super) struct Network {
    file: KeptFile,
    /// Device and inode of the namespace; `None` when the kernel does not let the agent look.
    namespace: Option<(u64, u64)>,
    /// In the order of the file.
    interfaces: Vec<Interface>,
    last_reading: Option<Instant>,
}

struct Interface {
    name: [u8; NAME_BYTES],
    received: u64,
    sent: u64,
    /// By the reading under way.
    is_seen: bool,
}

/// What the interfaces that can be compared received and sent since the previous reading.
#[derive(Debug, Default)]
struct Growth {
    received: u64,
    sent: u64,
    /// Interfaces other than loopback, and those of them that could be compared.
    interfaces: usize,
    compared: usize,
    is_any_line: bool,
}

impl Network {
    /// `process` is the directory in procfs of a process in the namespace.
    pub(super) fn open(process: &Path) -> Self {
        Self {
            file: KeptFile::open(process.join("net/dev")),
            namespace: namespace(process),
            interfaces: Vec::new(),
            last_reading: None,
        }
    }

    /// Follows another process, or the same one into another namespace. In the namespace of before, counting goes on.
    pub(super) fn follow(&mut self, process: &Path) {
        let namespace = namespace(process);
        if self.namespace == namespace && self.file.path().starts_with(process) {
            self.file.reopen();
            return;
        }
        // A descriptor would keep the former process's namespace alive.
        self.file = KeptFile::open(process.join("net/dev"));
        if self.namespace != namespace {
            self.namespace = namespace;
            self.interfaces.clear();
            self.last_reading = None;
        }
    }

    pub(super) fn record(&mut self, at: Instant, scratch: &mut Scratch, sample: &mut Sample) {
        let elapsed = self.last_reading.map(|last| at.saturating_duration_since(last));
        if elapsed.is_some_and(|elapsed| elapsed.is_zero()) {
            return;
        }
        let Some(growth) = self.read(scratch) else { return };
        self.last_reading = Some(at);
        // Without anything to compare nothing is known, except that nobody is there who could send.
        let is_known = growth.compared > 0 || growth.interfaces == 0;
        if let Some(seconds) = elapsed.map(|elapsed| elapsed.as_secs_f64()).filter(|_| is_known) {
            sample.set(Metric::NetworkReceive, growth.received as f64 / seconds);
            sample.set(Metric::NetworkTransmit, growth.sent as f64 / seconds);
        }
    }

    /// `None` when no line is an interface, as opposed to interfaces without traffic.
    fn read(&mut self, scratch: &mut Scratch) -> Option<Growth> {
        let (file, interfaces) = (&mut self.file, &mut self.interfaces);
        let mut growth = Growth::default();
        let mut next = 0;
        file.each_line(scratch, |line| {
            let Some((name, received, sent)) = interface(line) else { return };
            growth.is_any_line = true;
            if name.starts_with(b"lo\0") {
                return;
            }
            growth.interfaces += 1;
            let known = match interfaces.get(next) {
                Some(interface) if interface.name == name => Some(next),
                _ => interfaces.iter().position(|interface| interface.name == name),
            };
            let Some(place) = known else {
                if interfaces.len() < MAX_INTERFACES {
                    interfaces.push(Interface { name, received, sent, is_seen: true });
                }
                return;
            };
            next = place + 1;
            let before = &mut interfaces[place];
            if let (Some(more_in), Some(more_out)) =
                (received.checked_sub(before.received), sent.checked_sub(before.sent))
            {
                growth.compared += 1;
                growth.received = growth.received.saturating_add(more_in);
                growth.sent = growth.sent.saturating_add(more_out);
            }
            (before.received, before.sent, before.is_seen) = (received, sent, true);
        })?;
        interfaces.retain_mut(|interface| std::mem::take(&mut interface.is_seen));
        growth.is_any_line.then_some(growth)
    }
}

fn namespace(process: &Path) -> Option<(u64, u64)> {
    let stat = rustix::fs::stat(process.join("ns/net")).ok()?;
    Some((stat.st_dev, stat.st_ino))
}

/// Columns of `/proc/net/dev` after the interface's name: bytes received are the first, bytes sent the ninth (proc(5)).
const SENT_COLUMN: usize = 8;

/// Name, bytes received and bytes sent of a line; `None` for what is not an interface.
fn interface(line: &[u8]) -> Option<([u8; NAME_BYTES], u64, u64)> {
    // A name may hold colons (an alias of old); columns never do.
    let colon = line.iter().rposition(|byte| *byte == b':')?;
    let name = line[..colon].trim_ascii();
    let mut padded = [0; NAME_BYTES];
    padded.get_mut(..name.len()).filter(|_| (1..NAME_BYTES).contains(&name.len()))?.copy_from_slice(name);
    let mut columns = text::words(&line[colon + 1..]).map(text::number);
    Some((padded, columns.next()??, columns.nth(SENT_COLUMN - 1)??))
}

#[cfg(test)]
mod tests {
    use super::*;
    use outrigger_protocol::time::UnixMillis;
    use proptest::prelude::*;
    use std::time::Duration;

    const HEAD: &str = "Inter-|   Receive                                                |  Transmit
 face |bytes    packets errs drop fifo frame compressed multicast|bytes    packets errs drop fifo colls carrier compressed
";

    struct Fixture {
        process: tempfile::TempDir,
        network: Network,
        start: Instant,
    }

    impl Fixture {
        fn new(interfaces: &[(&str, u64, u64)]) -> Self {
            let process = tempfile::tempdir().unwrap();
            std::fs::create_dir(process.path().join("net")).unwrap();
            let network = Network::open(process.path());
            let mut fixture = Self { process, network, start: Instant::now() };
            fixture.write(interfaces);
            fixture.network.follow(fixture.process.path());
            fixture
        }

        fn write(&self, interfaces: &[(&str, u64, u64)]) {
            let lines = interfaces
                .iter()
                .map(|(name, received, sent)| format!("{name:>6}:{received} 9 0 0 0 0 0 0 {sent:8} 9 0 0 0 0 0 0\n"));
            std::fs::write(self.process.path().join("net/dev"), HEAD.to_owned() + &lines.collect::<String>()).unwrap();
        }

        fn rates(&mut self, second: u64) -> Option<(f64, f64)> {
            let mut sample = Sample::new(UnixMillis::EPOCH);
            self.network.record(self.start + Duration::from_secs(second), &mut Scratch::new(), &mut sample);
            sample.value(Metric::NetworkReceive).zip(sample.value(Metric::NetworkTransmit))
        }
    }

    #[test]
    fn interfaces_are_summed_without_loopback() {
        let mut fixture = Fixture::new(&[("lo", 5, 5), ("eth0", 100, 10), ("eth0:1", 1, 1)]);
        assert_eq!(fixture.rates(0), None, "a rate needs two readings");
        fixture.write(&[("lo", 9_000, 9_000), ("eth0", 300, 10), ("eth0:1", 3, 5)]);
        assert_eq!(fixture.rates(2), Some((101.0, 2.0)));
        assert_eq!(fixture.rates(2), None, "no time has passed");
    }

    #[test]
    fn a_namespace_with_loopback_alone_has_no_traffic_and_an_empty_file_has_no_value() {
        let mut fixture = Fixture::new(&[("lo", 5, 5)]);
        fixture.rates(0);
        assert_eq!(fixture.rates(1), Some((0.0, 0.0)));
        std::fs::write(fixture.process.path().join("net/dev"), HEAD).unwrap();
        assert_eq!(fixture.rates(2), None);
    }

    #[test]
    fn an_interface_that_appears_with_a_past_is_no_jump() {
        let mut fixture = Fixture::new(&[("eth0", 100, 100)]);
        fixture.rates(0);
        fixture.write(&[("wlan0", 1_000_000_000_000, 7), ("eth0", 150, 100)]);
        assert_eq!(fixture.rates(1), Some((50.0, 0.0)));
        fixture.write(&[("wlan0", 1_000_000_000_002, 7), ("eth0", 150, 100)]);
        assert_eq!(fixture.rates(2), Some((2.0, 0.0)));
    }

    #[test]
    fn an_interface_that_wraps_or_is_gone_takes_nothing_from_the_others() {
        let mut fixture = Fixture::new(&[("old0", u64::from(u32::MAX) - 5, 0), ("eth0", 100, 100)]);
        fixture.rates(0);
        fixture.write(&[("old0", 3, 0), ("eth0", 150, 120)]);
        assert_eq!(fixture.rates(1), Some((50.0, 20.0)));
        fixture.write(&[("eth0", 160, 120)]);
        assert_eq!(fixture.rates(2), Some((10.0, 0.0)));
        fixture.write(&[("eth0", 1, 1)]);
        assert_eq!(fixture.rates(3), None, "made anew");
        fixture.write(&[("eth0", 2, 1)]);
        assert_eq!(fixture.rates(4), Some((1.0, 0.0)));
    }

    #[test]
    fn more_interfaces_than_are_followed_are_left_out() {
        let names: Vec<String> = (0..2 * MAX_INTERFACES).map(|number| format!("veth{number}")).collect();
        let all = |bytes| names.iter().map(|name| (name.as_str(), bytes, 0)).collect::<Vec<_>>();
        let mut fixture = Fixture::new(&all(0));
        fixture.rates(0);
        fixture.write(&all(1));
        assert_eq!(fixture.rates(1), Some((MAX_INTERFACES as f64, 0.0)));
        assert_eq!(fixture.network.interfaces.len(), MAX_INTERFACES);
    }

    #[test]
    fn a_restarted_program_in_the_same_namespace_is_counted_on() {
        let mut fixture = Fixture::new(&[("eth0", 100, 100)]);
        fixture.rates(0);
        let next = tempfile::tempdir().unwrap();
        std::fs::create_dir(next.path().join("net")).unwrap();
        fixture.process = next;
        fixture.write(&[("eth0", 130, 100)]);
        fixture.network.follow(fixture.process.path());
        assert_eq!(fixture.rates(1), Some((30.0, 0.0)));
    }

    #[test]
    fn the_namespace_of_a_real_process_is_known() {
        assert!(Network::open(Path::new("/proc/self")).namespace.is_some());
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_without_harm(bytes: Vec<u8>) {
            let _ = interface(&bytes);
        }
    }
}
