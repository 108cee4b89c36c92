//! Whatever the files of a sandbox say, a sample comes of it that can travel.

#![no_main]

use std::path::Path;
use std::time::{Duration, Instant};

use libfuzzer_sys::fuzz_target;
use outrigger_agent::sampler::{ProgramPid, Sampler, SamplerConfig};
use outrigger_protocol::codec::encode;
use outrigger_protocol::metric::{Metric, Unit};
use outrigger_protocol::sample::{BatchId, MetricBatch};
use outrigger_protocol::time::UnixMillis;

/// The agent is process 2, its program 10; the control group is where [`GROUP`] says, unless the input says otherwise.
const FILES: [&str; 33] = [
    "proc/10/cgroup",
    "proc/10/mountinfo",
    "proc/10/status",
    "proc/10/stat",
    "proc/10/statm",
    "proc/10/io",
    "proc/10/net/dev",
    "proc/10/task/10/children",
    "proc/2/task/2/children",
    "proc/2/stat",
    "proc/loadavg",
    "proc/pressure/cpu",
    "proc/pressure/memory",
    "proc/pressure/io",
    "g/own/cgroup.procs",
    "g/own/cpu.stat",
    "g/own/cpu.max",
    "g/own/cpu.pressure",
    "g/own/memory.pressure",
    "g/own/io.pressure",
    "g/own/memory.current",
    "g/own/memory.max",
    "g/own/memory.high",
    "g/own/memory.stat",
    "g/own/memory.events",
    "g/own/memory.swap.current",
    "g/own/pids.max",
    "g/own/io.stat",
    "g/own/cpuacct.usage",
    "g/own/cpu.cfs_quota_us",
    "g/own/memory.usage_in_bytes",
    "g/own/memory.oom_control",
    "g/own/blkio.throttle.io_service_bytes",
];

/// Version 2 or version 1, so that the files of the group are looked at even when the input has no idea of mounts.
const GROUP: [(&str, &str); 2] = [
    ("0::/own\n", "1 1 0:1 / /g rw - cgroup2 cgroup2 rw\n"),
    ("1:cpu,cpuacct,memory,blkio,pids:/own\n", "1 1 0:1 / /g rw - cgroup cgroup rw,cpu,cpuacct,memory,blkio,pids\n"),
];

type Written = Vec<(u8, Vec<u8>)>;

fn write(root: &Path, files: &Written) {
    for (number, content) in files {
        let name = FILES[usize::from(*number) % FILES.len()];
        std::fs::write(root.join(name), content).expect("the directory is there");
    }
}

fuzz_target!(|input: (bool, Written, Written)| {
    let (is_version_1, before, after) = input;
    let root = tempfile::tempdir_in("/dev/shm").expect("room in memory");
    let root = root.path();
    for directory in ["proc/10/net", "proc/10/task/10", "proc/2/task/2", "proc/pressure", "g/own"] {
        std::fs::create_dir_all(root.join(directory)).expect("a directory can be made");
    }
    let (cgroup, mountinfo) = GROUP[usize::from(is_version_1)];
    let usual = [
        ("proc/10/cgroup", cgroup),
        ("proc/10/mountinfo", mountinfo),
        ("proc/10/stat", "10 (p) S 2 1 1 0 -1 0 0 0 0 0 0 0 0 0 20 0 3 0 7 0 100 0\n"),
        ("proc/2/stat", "2 (a) S 1 1 1 0 -1 0 0 0 0 0 0 0 0 0 20 0 1 0 5 0 100 0\n"),
        ("proc/2/task/2/children", "10 "),
        ("proc/10/task/10/children", ""),
        ("g/own/cgroup.procs", "2\n10\n"),
        ("g/own/cgroup.events", "populated 1\n"),
    ];
    for (name, content) in usual {
        std::fs::write(root.join(name), content).expect("the directory is there");
    }
    std::os::unix::fs::symlink("2", root.join("proc/self")).expect("a link can be made");
    write(root, &before);

    let program = ProgramPid::default();
    program.set(Some(10));
    let mut sampler = Sampler::new(SamplerConfig { root: root.to_owned(), ..SamplerConfig::new(program) });
    let start = Instant::now();
    sampler.sample(UnixMillis::EPOCH, start);
    write(root, &after);
    let sample = sampler.sample(UnixMillis::EPOCH, start + Duration::from_secs(1));

    let mut metrics: Vec<Metric> = sample.values.iter().map(|(metric, _)| *metric).collect();
    metrics.sort_unstable();
    metrics.dedup();
    assert_eq!(metrics.len(), sample.values.len(), "at most one value per metric");
    for (metric, value) in &sample.values {
        let is_share = metric.unit() == Unit::Percent && !matches!(metric, Metric::Cpu | Metric::Memory);
        assert!(value.is_finite() && *value >= 0.0 && (!is_share || *value <= 100.0), "{metric} is {value}");
    }
    let batch = MetricBatch { id: BatchId { epoch: 1, seq: 1 }, samples: vec![sample], dropped: 0 };
    encode(&batch, &mut Vec::new()).expect("within the limits of the wire");
});
