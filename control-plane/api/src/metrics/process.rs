//! The process of the control plane itself, under the names that every Prometheus client library gives them.

use std::fs;

use outrigger_protocol::time::UnixMillis;
use rustix::process::{Resource, getrlimit};

use super::exposition::Page;

/// What the kernel says of this process in `/proc/self/stat`.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Stat {
    cpu_seconds: f64,
    threads: u64,
    virtual_bytes: u64,
    resident_bytes: u64,
}

/// Writes what can be found out; what cannot is left out.
pub(super) fn write(page: &mut Page, started: UnixMillis) {
    let (ticks, page_bytes) = (rustix::param::clock_ticks_per_second(), rustix::param::page_size() as u64);
    let stat = fs::read_to_string("/proc/self/stat").ok();
    if let Some(stat) = stat.and_then(|text| parse(&text, ticks, page_bytes)) {
        page.counter("process_cpu_seconds", "Processor time of this process, user and system.", stat.cpu_seconds);
        page.gauge("process_resident_memory_bytes", "Memory that is resident.", stat.resident_bytes);
        page.gauge("process_virtual_memory_bytes", "Address space that is taken.", stat.virtual_bytes);
        page.gauge("process_threads", "Threads of this process.", stat.threads);
    }
    if let Ok(entries) = fs::read_dir("/proc/self/fd") {
        // One of them is that of reading the directory.
        page.gauge("process_open_fds", "Open file descriptors.", entries.count().saturating_sub(1));
    }
    if let Some(most) = getrlimit(Resource::Nofile).current {
        page.gauge("process_max_fds", "File descriptors that may be open.", most);
    }
    let help = "When the control plane was started, Unix time.";
    page.gauge("process_start_time_seconds", help, seconds(started));
}

/// Unix time in seconds.
pub(super) fn seconds(time: UnixMillis) -> f64 {
    time.as_millis() as f64 / 1e3
}

/// proc_pid_stat(5). The name of the program, the second field, may hold anything: what follows is counted from its end.
fn parse(text: &str, ticks: u64, page_bytes: u64) -> Option<Stat> {
    let fields: Vec<&str> = text.get(text.rfind(')')? + 1..)?.split_ascii_whitespace().collect();
    // The first of them is the third field.
    let field = |number: usize| fields.get(number - 3)?.parse::<u64>().ok();
    let (user, system) = (field(14)?, field(15)?);
    Some(Stat {
        cpu_seconds: user.checked_add(system)? as f64 / ticks.max(1) as f64,
        threads: field(20)?,
        virtual_bytes: field(23)?,
        resident_bytes: field(24)?.checked_mul(page_bytes)?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metrics::exposition::Format;

    #[test]
    fn a_stat_line_is_read_whatever_the_program_is_called() {
        let line = "7 (a ) (b) S 1 7 7 0 -1 4194560 900 0 0 0 250 50 0 0 20 0 9 0 1234 104857600 2560 184467 1 1 0 0\n";
        let expected = Stat { cpu_seconds: 3.0, threads: 9, virtual_bytes: 104_857_600, resident_bytes: 2_560 * 4_096 };
        assert_eq!(parse(line, 100, 4_096), Some(expected));
        for broken in ["", "7 (a", "7 (a) S 1", "7 (a) S 1 7 7 0 -1 4194560 900 0 0 0 x 50 0 0 20 0 9 0 1234 1 2"] {
            assert_eq!(parse(broken, 100, 4_096), None, "{broken}");
        }
    }

    #[test]
    fn this_process_has_all_of_it() {
        let mut page = Page::new(Format::Text, 0);
        write(&mut page, UnixMillis::from_millis(1_500));
        let text = page.finish();
        for name in ["cpu_seconds_total", "resident_memory_bytes", "threads", "open_fds", "max_fds"] {
            assert!(text.contains(&format!("\nprocess_{name} ")), "{name} is not in\n{text}");
        }
        assert!(text.contains("process_start_time_seconds 1.5\n"), "{text}");
    }
}
