//! The machine on which figures were taken. Without it they mean nothing.

use std::fmt;
use std::fs;
use std::thread;

use crate::procfs::kib;

/// From this load average on, something else runs.
const BUSY: f64 = 0.5;

#[derive(Debug, Clone, PartialEq)]
pub struct Machine {
    pub cores: usize,
    pub processor: String,
    pub kernel: String,
    pub memory_gib: f64,
    /// Load average over the minute before the run: what else was going on.
    pub load: f64,
}

impl Machine {
    #[must_use]
    pub fn describe() -> Self {
        let text = |path| fs::read_to_string(path).unwrap_or_default();
        let uname = rustix::system::uname();
        Self {
            cores: thread::available_parallelism().map_or(1, usize::from),
            processor: processor(&text("/proc/cpuinfo")).unwrap_or("unknown processor").to_owned(),
            kernel: format!("{} {}", uname.sysname().to_string_lossy(), uname.release().to_string_lossy()),
            memory_gib: kib(&text("/proc/meminfo"), "MemTotal:").unwrap_or(f64::NAN) / (1024.0 * 1024.0),
            load: text("/proc/loadavg")
                .split_whitespace()
                .next()
                .and_then(|load| load.parse().ok())
                .unwrap_or(f64::NAN),
        }
    }
}

impl fmt::Display for Machine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { cores, processor, kernel, memory_gib, load } = self;
        write!(f, "{cores} cores of {processor}, {memory_gib:.1} GiB, {kernel}, load average before the run {load:.2}")
    }
}

impl Machine {
    /// What makes the figures of this run worse than the product is, if anything does.
    #[must_use]
    pub fn caveats(&self) -> Vec<String> {
        let load = self.load;
        let busy = format!("The machine was busy with something else before the run (load average {load:.2}).");
        (load >= BUSY).then_some(busy).into_iter().collect()
    }
}

fn processor(cpuinfo: &str) -> Option<&str> {
    let line = cpuinfo.lines().find(|line| line.starts_with("model name"))?;
    line.split_once(':').map(|(_, name)| name.trim())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_processor_is_the_first_one_named() {
        assert_eq!(processor("processor\t: 0\nmodel name\t: Some CPU @ 2.0GHz\n"), Some("Some CPU @ 2.0GHz"));
        assert_eq!(processor("processor : 0\n"), None);
    }

    #[test]
    fn this_machine_can_be_described() {
        let machine = Machine::describe();
        assert!(machine.cores >= 1 && machine.memory_gib > 0.1 && machine.load >= 0.0, "{machine}");
        assert_eq!(Machine { load: 0.1, ..machine.clone() }.caveats(), [""; 0]);
        assert_eq!(Machine { load: 4.0, ..machine }.caveats().len(), 1);
    }
}
