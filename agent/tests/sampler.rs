//! What the sampler makes of whole trees of files: Docker on control groups of both versions, a pod, a systemd service,
//! a plain host, a hybrid, and trees in which things are missing.
//!
//! Each `sampler/NAME.tree` is one machine as its sandbox sees it:
//!
//! ```text
//! What this is. Where the program is another process than the default: `program: PID`.
//! -- proc/self --
//! -> 1                                  a symbolic link
//! -- proc/10/cgroup --
//! 0::/                                  a file
//! -- later: proc/10/stat --             the file one second later
//! -- expected --
//! cpu 50                                every value of the second sample, and no other
//! ```
//!
//! Expected values are numbers, `N pages` of memory, or `host`: what this machine has. Values about the host itself are
//! not looked at.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

use std::collections::BTreeMap;
use std::path::Path;
use std::time::{Duration, Instant};

use outrigger_agent::sampler::{ProgramPid, Sampler, SamplerConfig};
use outrigger_protocol::metric::Metric;
use outrigger_protocol::sample::Sample;
use outrigger_protocol::time::UnixMillis;

const DEFAULT_PROGRAM: u32 = 10;

struct Tree<'a> {
    program: u32,
    before: Vec<(&'a str, &'a str)>,
    later: Vec<(&'a str, &'a str)>,
    expected: BTreeMap<Metric, &'a str>,
}

impl<'a> Tree<'a> {
    fn parse(text: &'a str) -> Self {
        let mut sections = text.split("\n-- ");
        let head = sections.next().unwrap();
        let program = head.lines().find_map(|line| line.strip_prefix("program: "));
        let mut tree = Self {
            program: program.map_or(DEFAULT_PROGRAM, |program| program.parse().unwrap()),
            before: Vec::new(),
            later: Vec::new(),
            expected: BTreeMap::new(),
        };
        for section in sections {
            let (name, content) = section.split_once(" --").unwrap();
            let content = content.strip_prefix('\n').unwrap_or(content);
            match (name, name.strip_prefix("later: ")) {
                ("expected", _) => tree.expected = content.lines().map(expected).collect(),
                (_, Some(name)) => tree.later.push((name, content)),
                (name, None) => tree.before.push((name, content)),
            }
        }
        tree
    }

    /// The sample one second after the first.
    fn second_sample(&self) -> Sample {
        let root = tempfile::tempdir().unwrap();
        let program = ProgramPid::default();
        program.set(Some(self.program));
        self.before.iter().for_each(|file| write(root.path(), file));
        let mut sampler = Sampler::new(SamplerConfig { root: root.path().to_owned(), ..SamplerConfig::new(program) });
        let start = Instant::now();
        sampler.sample(UnixMillis::EPOCH, start);
        self.later.iter().for_each(|file| write(root.path(), file));
        sampler.sample(UnixMillis::EPOCH, start + Duration::from_secs(1))
    }
}

fn expected(line: &str) -> (Metric, &str) {
    let (name, value) = line.split_once(' ').unwrap();
    (name.parse().unwrap(), value)
}

/// Files of the kernel end with a newline, which the format leaves to the next section.
fn write(root: &Path, (name, content): &(&str, &str)) {
    let path = root.join(name);
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    match content.strip_prefix("-> ") {
        Some(target) => std::os::unix::fs::symlink(target.trim(), path).unwrap(),
        None if content.is_empty() => std::fs::write(path, "").unwrap(),
        None => std::fs::write(path, format!("{}\n", content.trim_end_matches('\n'))).unwrap(),
    }
}

fn check(name: &str, text: &str) {
    let tree = Tree::parse(text);
    let sample = tree.second_sample();
    let is_of_host = |metric: Metric| matches!(metric, Metric::HostCpu | Metric::HostMemory | Metric::HostLoad1);
    let seen: BTreeMap<Metric, f64> =
        sample.values.iter().copied().filter(|(metric, _)| !is_of_host(*metric)).collect();
    let agrees = |metric: &Metric, value: &str| match (seen.get(metric), value) {
        (None, _) => false,
        (Some(seen), "host") => *seen > 0.0,
        (Some(seen), value) => {
            let (number, unit) = value.split_once(' ').unwrap_or((value, ""));
            let scale = if unit == "pages" { rustix::param::page_size() as f64 } else { 1.0 };
            (seen - number.parse::<f64>().unwrap() * scale).abs() <= seen.abs() * 1e-6
        }
    };
    let wrong: Vec<_> = tree.expected.iter().filter(|(metric, value)| !agrees(metric, value)).collect();
    let surplus: Vec<_> = seen.keys().filter(|metric| !tree.expected.contains_key(metric)).collect();
    let all: String = seen.iter().map(|(metric, value)| format!("{metric} {value}\n")).collect();
    assert!(wrong.is_empty() && surplus.is_empty(), "{name}: not as expected {wrong:?}, unexpected {surplus:?}\n{all}");
}

macro_rules! trees {
    ($($test:ident: $file:literal;)+) => {
        $(#[test] fn $test() { check($file, include_str!(concat!("sampler/", $file, ".tree"))); })+
    };
}

trees! {
    docker_on_version_1: "docker-v1";
    docker_on_version_1_in_a_namespace_of_its_own: "docker-v1-namespace";
    docker_on_version_2: "docker-v2";
    a_pod_of_kubernetes_whose_slices_have_limits: "kubernetes-v2";
    a_container_that_sees_its_hosts_tree: "kubernetes-v2-host-tree";
    a_service_of_systemd_without_the_io_controller: "systemd-service-v2";
    a_plain_host_with_version_2: "host-v2";
    a_hybrid_of_both_versions: "hybrid";
    a_kernel_without_pressure_and_files_that_are_missing: "missing";
    files_of_nonsense: "nonsense";
}
