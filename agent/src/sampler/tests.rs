use super::*;
use std::fs;

const AGENT: u32 = 2;
const PROGRAM: u32 = 10;

/// A sandbox's `/proc` and `/sys/fs/cgroup` as files.
struct Fixture {
    root: tempfile::TempDir,
    program: ProgramPid,
    start: Instant,
}

impl Fixture {
    fn new(cgroup: &str, mountinfo: &str) -> Self {
        let fixture =
            Self { root: tempfile::tempdir().unwrap(), program: ProgramPid::default(), start: Instant::now() };
        fixture.program.set(Some(PROGRAM));
        for pid in [AGENT, PROGRAM] {
            fixture.write(&format!("proc/{pid}/cgroup"), cgroup);
            fixture.write(&format!("proc/{pid}/mountinfo"), mountinfo);
            fixture.write(&format!("proc/{pid}/status"), "Cpus_allowed:\tffff\n");
        }
        std::os::unix::fs::symlink(AGENT.to_string(), fixture.root.path().join("proc/self")).unwrap();
        fixture.write("proc/2/stat", "2 (agent) S 1 1 1 0 -1 0 0 0 0 0 0 0 0 0 20 0 1 0 5 0 100 0\n");
        fixture.write("proc/2/task/2/children", "10 ");
        fixture.write("proc/10/task/10/children", "");
        fixture.program_used(0);
        fixture
    }

    /// On a cgroup of version 2 with one group below the top, in which the agent and the program are.
    fn version_2() -> Self {
        let fixture = Self::new("0::/own\n", "1 1 0:1 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw\n");
        let own = "sys/fs/cgroup/own";
        fixture.write(&format!("{own}/cgroup.events"), "populated 1\n");
        fixture.write(&format!("{own}/cgroup.procs"), "2\n10\n");
        fixture.write(&format!("{own}/cpu.max"), "50000 100000\n");
        fixture.write(&format!("{own}/memory.max"), "2000000\n");
        fixture.write(&format!("{own}/io.stat"), "8:0 rbytes=0 wbytes=0\n");
        fixture.usage_2(0, 0, 0, 0);
        fixture
    }

    fn usage_2(&self, usage_us: u64, periods: u64, throttled: u64, oom_kills: u64) {
        let own = "sys/fs/cgroup/own";
        let cpu = format!("usage_usec {usage_us}\nnr_periods {periods}\nnr_throttled {throttled}\n");
        self.write(&format!("{own}/cpu.stat"), &cpu);
        self.write(&format!("{own}/memory.current"), "1500000\n");
        self.write(&format!("{own}/memory.stat"), "anon 700000\ninactive_file 500000\n");
        self.write(&format!("{own}/memory.events"), &format!("oom 0\noom_kill {oom_kills}\n"));
    }

    fn program_used(&self, ticks: u64) {
        let stat = format!("10 (p) S 2 1 1 0 -1 0 0 0 0 0 {ticks} 0 0 0 20 0 3 0 7 0 100 0\n");
        self.write("proc/10/stat", &stat);
        self.write("proc/10/statm", "500 100 60 1 0 50 0\n");
        self.write("proc/10/fd/0", "");
    }

    fn write(&self, path: &str, content: &str) {
        let path = self.root.path().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, content).unwrap();
    }

    fn sampler(&self) -> Sampler {
        Sampler::new(SamplerConfig { root: self.root.path().to_owned(), ..SamplerConfig::new(self.program.clone()) })
    }

    fn at(&self, sampler: &mut Sampler, seconds: u64) -> Sample {
        let sample = sampler.sample(UnixMillis::EPOCH, self.start + Duration::from_secs(seconds));
        let mut metrics: Vec<_> = sample.values.iter().map(|(metric, _)| *metric).collect();
        metrics.sort_unstable();
        metrics.dedup();
        assert_eq!(metrics.len(), sample.values.len(), "at most one value per metric");
        sample
    }
}

#[test]
fn a_group_of_its_own_gives_usage_limit_and_share() {
    let fixture = Fixture::version_2();
    let mut sampler = fixture.sampler();
    let first = fixture.at(&mut sampler, 0);
    assert_eq!(first.value(Metric::Cpu), None, "a rate needs two readings");
    assert_eq!(first.value(Metric::CpuLimit), Some(0.5));
    assert_eq!(first.value(Metric::MemoryWorkingSet), Some(1_000_000.0));
    assert_eq!(first.value(Metric::Memory), Some(50.0));
    assert_eq!(first.value(Metric::MemoryRss), Some(700_000.0));

    fixture.usage_2(250_000, 10, 4, 1);
    fixture.write("sys/fs/cgroup/own/io.stat", "8:0 rbytes=100 wbytes=200\n");
    let second = fixture.at(&mut sampler, 1);
    assert_eq!(second.value(Metric::CpuUsage), Some(0.25));
    assert_eq!(second.value(Metric::Cpu), Some(50.0));
    assert_eq!(second.value(Metric::CpuThrottled), Some(40.0));
    assert_eq!(second.value(Metric::OomKills), Some(1.0));
    assert_eq!(second.value(Metric::DiskWrite), Some(200.0));
    assert_eq!(second.value(Metric::Threads), Some(3.0));

    let idle = fixture.at(&mut sampler, 2);
    assert_eq!(idle.value(Metric::CpuThrottled), Some(0.0));
    assert_eq!(idle.value(Metric::OomKills), Some(0.0));
}

#[test]
fn version_1_controllers_in_different_groups_are_each_judged_by_their_own() {
    // The processor's group is the top of its hierarchy, the memory's is the sandbox's own.
    let fixture = Fixture::new(
        "4:memory:/box\n2:cpuacct:/\n1:cpu:/\n",
        "1 1 0:1 / /cg/cpu rw - cgroup cgroup rw,cpu\n\
         2 1 0:2 / /cg/cpuacct rw - cgroup cgroup rw,cpuacct\n\
         3 1 0:3 / /cg/memory rw - cgroup cgroup rw,memory\n",
    );
    fixture.write("cg/cpuacct/release_agent", "");
    fixture.write("cg/cpuacct/cpuacct.usage", "0\n");
    fixture.write("cg/memory/box/cgroup.procs", "2\n10\n");
    fixture.write("cg/memory/box/memory.usage_in_bytes", "300000\n");
    fixture.write("cg/memory/box/memory.stat", "total_rss 100000\ntotal_inactive_file 100000\n");
    fixture.write("cg/memory/box/memory.limit_in_bytes", "9223372036854771712\n");
    fixture.write("cg/memory/memory.limit_in_bytes", "400000\n");
    let mut sampler = fixture.sampler();
    fixture.at(&mut sampler, 0);
    fixture.write("cg/cpuacct/cpuacct.usage", "9000000000\n");
    fixture.program_used(25);
    let sample = fixture.at(&mut sampler, 1);
    assert_eq!(sample.value(Metric::CpuUsage), Some(0.25), "the program's, not the host's nine seconds");
    assert_eq!(sample.value(Metric::MemoryWorkingSet), Some(200_000.0));
    assert_eq!(sample.value(Metric::Memory), Some(50.0));
    assert_eq!(sample.value(Metric::OomKills), None, "no file");
}

#[test]
fn in_a_shared_group_usage_is_the_programs_own() {
    let fixture = Fixture::version_2();
    fixture.write("sys/fs/cgroup/own/cgroup.procs", "2\n10\n77\n");
    fixture.write("proc/77/stat", "77 (neighbour) S 1 1 1 0 -1 0 0 0 0 0 0 0 0 0 20 0 1 0 5 0 100 0\n");
    let mut sampler = fixture.sampler();
    fixture.at(&mut sampler, 0);
    fixture.usage_2(900_000, 10, 10, 3);
    fixture.program_used(25);
    let sample = fixture.at(&mut sampler, 1);
    assert_eq!(sample.value(Metric::CpuUsage), Some(0.25));
    assert_eq!(sample.value(Metric::Cpu), Some(50.0), "of the group's limit all the same");
    assert_eq!(sample.value(Metric::OomKills), None);
    assert_eq!(sample.value(Metric::CpuThrottled), Some(100.0));
    let page = rustix::param::page_size() as f64;
    assert_eq!(sample.value(Metric::MemoryWorkingSet), Some(100.0 * page));
}

#[test]
fn throttling_shows_where_a_group_above_has_the_quota() {
    let fixture = Fixture::new("0::/slice/own\n", "1 1 0:1 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw\n");
    let slice = "sys/fs/cgroup/slice";
    fixture.write(&format!("{slice}/own/cgroup.procs"), "2\n10\n");
    fixture.write(&format!("{slice}/own/cgroup.events"), "populated 1\n");
    fixture.write(&format!("{slice}/own/cpu.stat"), "usage_usec 0\nnr_periods 0\nnr_throttled 0\n");
    fixture.write(&format!("{slice}/cpu.max"), "25000 100000\n");
    fixture.write(&format!("{slice}/cpu.stat"), "usage_usec 0\nnr_periods 0\nnr_throttled 0\n");
    fixture.write(&format!("{slice}/pids.max"), "64\n");
    let mut sampler = fixture.sampler();
    fixture.at(&mut sampler, 0);
    fixture.write(&format!("{slice}/own/cpu.stat"), "usage_usec 100000\nnr_periods 0\nnr_throttled 0\n");
    fixture.write(&format!("{slice}/cpu.stat"), "usage_usec 250000\nnr_periods 10\nnr_throttled 9\n");
    let sample = fixture.at(&mut sampler, 1);
    assert_eq!(sample.value(Metric::CpuThrottled), Some(90.0));
    assert_eq!((sample.value(Metric::CpuUsage), sample.value(Metric::Cpu)), (Some(0.1), Some(40.0)));
    assert_eq!(sample.value(Metric::ThreadsLimit), Some(64.0));
}

#[test]
fn a_quota_that_comes_and_goes_takes_its_throttling_with_it() {
    let fixture = Fixture::version_2();
    let mut sampler = fixture.sampler();
    fixture.at(&mut sampler, 0);
    fixture.write("sys/fs/cgroup/own/cpu.max", "max 100000\n");
    fixture.usage_2(100_000, 10, 10, 0);
    assert_eq!(fixture.at(&mut sampler, 1).value(Metric::CpuThrottled), Some(100.0), "what was looked up");
    fixture.usage_2(15_100_000, 20, 20, 0);
    let unlimited = fixture.at(&mut sampler, 16);
    assert_eq!(unlimited.value(Metric::CpuThrottled), None);
    assert_eq!(unlimited.value(Metric::CpuUsage), Some(1.0), "usage is counted on");
    fixture.write("sys/fs/cgroup/own/cpu.max", "50000 100000\n");
    assert_eq!(fixture.at(&mut sampler, 31).value(Metric::CpuThrottled), None);
    fixture.usage_2(15_100_000, 24, 21, 0);
    assert_eq!(fixture.at(&mut sampler, 32).value(Metric::CpuThrottled), Some(25.0));
}

#[test]
fn a_program_that_is_moved_is_followed_and_its_new_groups_past_is_no_jump() {
    let fixture = Fixture::version_2();
    let other = "sys/fs/cgroup/other";
    fixture.write(&format!("{other}/cgroup.events"), "populated 1\n");
    fixture.write(&format!("{other}/cgroup.procs"), "10\n");
    fixture.write(&format!("{other}/cpu.stat"), "usage_usec 999000000\nnr_periods 0\nnr_throttled 0\n");
    fixture.write(&format!("{other}/memory.max"), "4000000\n");
    let mut sampler = fixture.sampler();
    fixture.at(&mut sampler, 0);
    fixture.write("proc/10/cgroup", "0::/other\n");
    let moved = fixture.at(&mut sampler, 15);
    assert_eq!((moved.value(Metric::CpuUsage), moved.value(Metric::MemoryLimit)), (None, Some(4_000_000.0)));
    fixture.write(&format!("{other}/cpu.stat"), "usage_usec 999500000\nnr_periods 0\nnr_throttled 0\n");
    assert_eq!(fixture.at(&mut sampler, 16).value(Metric::CpuUsage), Some(0.5));
}

#[test]
fn a_group_without_a_controller_leaves_usage_to_the_tree_and_limits_to_the_groups_above() {
    let fixture = Fixture::version_2();
    for file in ["memory.current", "memory.stat", "memory.events", "memory.max", "io.stat"] {
        fs::remove_file(fixture.root.path().join("sys/fs/cgroup/own").join(file)).unwrap();
    }
    fixture.write("sys/fs/cgroup/memory.max", "3000000\n");
    fixture.write("proc/10/io", "read_bytes: 0\nwrite_bytes: 0\n");
    let mut sampler = fixture.sampler();
    fixture.at(&mut sampler, 0);
    fixture.write("proc/10/io", "read_bytes: 100\nwrite_bytes: 200\n");
    let sample = fixture.at(&mut sampler, 1);
    let page = rustix::param::page_size() as f64;
    assert_eq!(sample.value(Metric::MemoryWorkingSet), Some(100.0 * page));
    assert_eq!(sample.value(Metric::MemoryLimit), Some(3_000_000.0));
    assert_eq!((sample.value(Metric::DiskRead), sample.value(Metric::DiskWrite)), (Some(100.0), Some(200.0)));
}

#[test]
fn what_may_not_be_read_of_the_program_is_read_of_the_agent() {
    let fixture = Fixture::version_2();
    for file in ["cgroup", "mountinfo", "status", "stat"] {
        fs::remove_file(fixture.root.path().join("proc/10").join(file)).unwrap();
    }
    let mut sampler = fixture.sampler();
    fixture.at(&mut sampler, 0);
    fixture.usage_2(250_000, 0, 0, 0);
    let sample = fixture.at(&mut sampler, 1);
    assert_eq!((sample.value(Metric::CpuLimit), sample.value(Metric::CpuUsage)), (Some(0.5), Some(0.25)));
    assert_eq!(sample.value(Metric::Processes), None);
}

#[test]
fn traffic_is_that_of_the_programs_namespace() {
    let fixture = Fixture::version_2();
    let traffic = |of_agent, of_program| {
        for (pid, bytes) in [(AGENT, of_agent), (PROGRAM, of_program)] {
            let line = format!("eth0: {bytes} 1 0 0 0 0 0 0 {bytes} 1 0 0 0 0 0 0\n");
            fixture.write(&format!("proc/{pid}/net/dev"), &line);
        }
    };
    traffic(0, 0);
    let mut sampler = fixture.sampler();
    fixture.at(&mut sampler, 0);
    traffic(5_000, 70);
    assert_eq!(fixture.at(&mut sampler, 1).value(Metric::NetworkReceive), Some(70.0));
}

#[test]
fn a_moment_that_lies_before_the_last_one_is_no_duration() {
    let fixture = Fixture::version_2();
    let mut sampler = fixture.sampler();
    fixture.at(&mut sampler, 5);
    fixture.usage_2(250_000, 0, 0, 0);
    let earlier = fixture.at(&mut sampler, 4);
    assert_eq!(earlier.value(Metric::CpuUsage), None);
    assert_eq!(fixture.at(&mut sampler, 6).value(Metric::CpuUsage), Some(0.25));
}

#[test]
fn without_groups_the_configured_limit_applies_and_else_the_hosts() {
    let fixture = Fixture::new("", "");
    let mut sampler = fixture.sampler();
    let host = sampler.host.cores().unwrap();
    fixture.at(&mut sampler, 0);
    fixture.program_used(10);
    let sample = fixture.at(&mut sampler, 1);
    assert_eq!(sample.value(Metric::CpuLimit), Some(host.min(16.0)));
    assert_eq!(sample.value(Metric::CpuUsage), Some(0.1));
    assert_eq!(sample.value(Metric::CpuThrottled), None);

    let mut limited = Sampler::new(SamplerConfig {
        cpu_limit_cores: Some(0.25),
        memory_limit_bytes: Some(1 << 20),
        ..sampler.config.clone()
    });
    let sample = fixture.at(&mut limited, 0);
    assert_eq!(sample.value(Metric::CpuLimit), Some(0.25));
    assert_eq!(sample.value(Metric::MemoryLimit), Some(1_048_576.0));
}

#[test]
fn limits_are_read_again_after_their_interval() {
    let fixture = Fixture::version_2();
    let mut sampler = fixture.sampler();
    fixture.at(&mut sampler, 0);
    fixture.write("sys/fs/cgroup/own/cpu.max", "200000 100000\n");
    assert_eq!(fixture.at(&mut sampler, 14).value(Metric::CpuLimit), Some(0.5));
    let limit = fixture.at(&mut sampler, 15).value(Metric::CpuLimit);
    assert_eq!(limit, Some(2.0_f64.min(sampler.host.cores().unwrap())));
}

#[test]
fn a_counter_that_was_reset_is_absent_once() {
    let fixture = Fixture::version_2();
    let mut sampler = fixture.sampler();
    fixture.usage_2(5_000_000, 50, 50, 9);
    fixture.at(&mut sampler, 0);
    fixture.usage_2(100_000, 0, 0, 0);
    let reset = fixture.at(&mut sampler, 1);
    assert_eq!((reset.value(Metric::CpuUsage), reset.value(Metric::OomKills)), (None, None));
    fixture.usage_2(200_000, 1, 0, 0);
    assert_eq!(fixture.at(&mut sampler, 2).value(Metric::CpuUsage), Some(0.1));
}

#[test]
fn a_program_that_does_not_run_has_no_processes() {
    let fixture = Fixture::version_2();
    fixture.program.set(None);
    let sample = fixture.at(&mut fixture.sampler(), 0);
    assert_eq!(sample.value(Metric::Processes), None);
    assert!(sample.value(Metric::MemoryWorkingSet).is_some(), "the group is there all the same");
}

#[test]
fn nothing_readable_is_nothing_reported_about_the_sandbox() {
    let root = tempfile::tempdir().unwrap();
    let program = ProgramPid::default();
    program.set(Some(PROGRAM));
    let config = SamplerConfig { root: root.path().to_owned(), ..SamplerConfig::new(program) };
    let mut sampler = Sampler::new(config);
    sampler.sample(UnixMillis::EPOCH, Instant::now());
    let sample = sampler.sample(UnixMillis::EPOCH, Instant::now());
    let about_the_host = [Metric::HostCpu, Metric::HostMemory, Metric::CpuLimit, Metric::MemoryLimit];
    let unexpected: Vec<_> = sample.values.iter().filter(|(metric, _)| !about_the_host.contains(metric)).collect();
    assert!(unexpected.is_empty(), "{unexpected:?}");
}

#[test]
fn this_machine_is_sampled() {
    let program = ProgramPid::default();
    program.set(Some(std::process::id()));
    let mut sampler = Sampler::new(SamplerConfig::new(program));
    let start = Instant::now();
    sampler.sample(UnixMillis::now(), start);
    let sample = sampler.sample(UnixMillis::now(), start + Duration::from_secs(1));
    for metric in [Metric::CpuUsage, Metric::Cpu, Metric::MemoryWorkingSet, Metric::Memory, Metric::Processes] {
        assert!(sample.value(metric).is_some_and(|value| value >= 0.0), "{metric}: {:?}", sample.values);
    }
}
