//! With real processes: a shell script stands in for the agent and runs the command after `--`.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::time::Instant;

use tempfile::TempDir;

use super::test_support::spec;
use super::*;
use crate::{FailureKind, Limits, Observation, Scrape};

/// Writes its arguments down, then runs the command, as a child as the agent does.
const AGENT: &str = r#"#!/bin/sh
echo "$@" > arguments
env > environment
while [ "$1" != "--" ]; do shift; done
shift
trap 'kill $child 2>/dev/null; exit 0' TERM
"$@" &
child=$!
wait $child
"#;

/// Ignores TERM, and leaves a grandchild in another session behind.
const STUBBORN: &str = r#"
trap "" TERM
setsid sh -c 'trap "" TERM; echo $$ > orphan; while :; do sleep 0.05; done' &
echo $$ > child
while :; do sleep 0.05; done
"#;

/// Writes fifty lines, and one more once it is told to.
const TALKATIVE: &str = r"
i=0
while [ $i -lt 50 ]; do echo line $i; i=$((i+1)); done
echo > ready
while [ ! -e go ]; do sleep 0.01; done
echo more
echo > done
sleep 600
";

struct Place {
    directory: TempDir,
}

impl Place {
    fn new() -> Self {
        let directory = TempDir::new().unwrap();
        let agent = directory.path().join("agent");
        fs::write(&agent, AGENT).unwrap();
        fs::set_permissions(&agent, fs::Permissions::from_mode(0o755)).unwrap();
        Self { directory }
    }

    fn config(&self) -> ProcessConfig {
        let settle = Duration::from_millis(50);
        let path = self.directory.path();
        ProcessConfig { settle, ..ProcessConfig::new(path.join("agent"), path.join("instances")) }
    }

    fn driver(&self) -> ProcessDriver {
        ProcessDriver::new(self.config()).unwrap()
    }

    fn home(&self, instance: InstanceId) -> Home {
        Home::of(&self.directory.path().join("instances"), instance)
    }

    /// What the program or the agent wrote into its working directory, once it is there.
    fn written(&self, instance: InstanceId, name: &str) -> String {
        let path = self.home(instance).work().join(name);
        let mut text = String::new();
        wait_for(name, || {
            text = fs::read_to_string(&path).unwrap_or_default();
            text.ends_with('\n')
        });
        text
    }
}

/// A test that fails leaves nothing running either.
impl Drop for Place {
    fn drop(&mut self) {
        for home in Home::all(&self.directory.path().join("instances")).unwrap_or_default() {
            let groups = home.last_agent().map(|last| last.record.groups).unwrap_or_default();
            if let Some(agent) = home.holder() {
                tree::kill(&agent, &groups, KILL_PATIENCE);
            }
            cgroup::remove(&groups);
        }
    }
}

#[track_caller]
fn wait_for(what: &str, mut is_so: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(20);
    while !is_so() {
        assert!(Instant::now() < deadline, "waited in vain for {what}");
        std::thread::yield_now();
    }
}

/// Neither running nor a zombie.
fn is_gone(pid: &str) -> bool {
    !Path::new("/proc").join(pid.trim()).exists()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_instance_is_created_once_and_destroyed_without_a_trace() {
    let place = Place::new();
    let driver = place.driver();
    let spec = spec(&["sleep", "600"]);
    driver.create(&spec).await.unwrap();
    let agent = place.home(spec.instance).holder().unwrap().pid();
    driver.create(&spec).await.unwrap();
    assert_eq!(place.home(spec.instance).holder().unwrap().pid(), agent, "no second agent");
    assert_eq!(driver.list().await.unwrap(), [Observed { instance: spec.instance, running: true }]);

    driver.destroy(spec.instance, Duration::from_secs(10)).await.unwrap();
    assert!(driver.list().await.unwrap().is_empty());
    wait_for("the agent to be reaped", || is_gone(&agent.as_raw_nonzero().to_string()));
    driver.destroy(spec.instance, Duration::ZERO).await.unwrap();
    driver.destroy(InstanceId::generate(), Duration::ZERO).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn concurrent_creates_of_one_instance_make_one_agent() {
    let place = Place::new();
    // Two drivers: nothing but the lock is between them.
    let (one, other) = (place.driver(), place.driver());
    let spec = InstanceSpec { http: true, ..spec(&["sleep", "600"]) };
    let (first, second) = tokio::join!(one.create(&spec), other.create(&spec));
    assert_eq!(first.unwrap(), second.unwrap(), "both answer with the endpoint of the one agent");
    let session = place.home(spec.instance).holder().unwrap().pid().as_raw_nonzero().to_string();
    let agents = fs::read_dir("/proc").unwrap().flatten().filter(|entry| {
        let command = fs::read_to_string(entry.path().join("cmdline")).unwrap_or_default();
        command.contains(&spec.instance.to_string()) && command.contains("run\0")
    });
    let pids: Vec<String> = agents.map(|entry| entry.file_name().into_string().unwrap()).collect();
    assert_eq!(pids, [session]);
    one.destroy(spec.instance, Duration::from_secs(10)).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_new_driver_finds_what_the_old_one_made() {
    let place = Place::new();
    let spec = InstanceSpec { http: true, ..spec(&["sleep", "600"]) };
    let created = place.driver().create(&spec).await.unwrap();
    let again = place.driver();
    assert_eq!(again.list().await.unwrap(), [Observed { instance: spec.instance, running: true }]);
    assert_eq!(again.create(&spec).await.unwrap(), created, "the same endpoint");
    let other = InstanceSpec { http: true, ..super::test_support::spec(&["sleep", "600"]) };
    assert_ne!(again.create(&other).await.unwrap(), created);
    for instance in [spec.instance, other.instance] {
        again.destroy(instance, Duration::from_secs(10)).await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_agent_is_told_what_it_needs_and_nothing_more() {
    let place = Place::new();
    let driver = place.driver();
    let spec = InstanceSpec { http: true, ..spec(&["sleep", "600"]) };
    let endpoint = driver.create(&spec).await.unwrap().endpoint.unwrap();
    let arguments = place.written(spec.instance, "arguments");
    let upstream = arguments.split("PORT=").nth(1).and_then(|rest| rest.split(' ').next()).unwrap();
    assert!(arguments.contains(&format!("--proxy {endpoint}=127.0.0.1:{upstream}")), "{arguments}");
    assert!(arguments.contains("--control-plane 127.0.0.1:7701 --server-name outrigger"), "{arguments}");
    assert!(arguments.contains("--stop-grace 1000ms") && arguments.trim_end().ends_with("-- sleep 600"), "{arguments}");
    assert!(!arguments.contains("canary-token"), "the token is no argument");
    assert_eq!(fs::read_to_string(place.home(spec.instance).join_token()).unwrap(), "canary-token");
    // Cargo sets some for this test: a variable of the control plane stays with it.
    assert!(!place.written(spec.instance, "environment").contains("CARGO"));
    driver.destroy(spec.instance, Duration::from_secs(10)).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_agent_observes_its_own_program_and_no_other_instances() {
    let place = Place::new();
    let driver = place.driver();
    let scrape = Scrape { port: None, path: "/stats".to_owned(), interval: Some(Duration::from_secs(2)) };
    let observe = Observation { scrape: Some(scrape), statsd: true, metrics: vec!["a=b{c=\"d\"}".to_owned()] };
    let mut urls = Vec::new();
    for (http, command) in [(false, "600"), (true, "601")] {
        let spec = InstanceSpec { http, observe: observe.clone(), ..spec(&["sleep", command]) };
        let created = driver.create(&spec).await.unwrap();
        assert_eq!(created.endpoint.is_some(), http, "a port for metrics alone is no endpoint");
        assert_eq!(place.driver().create(&spec).await.unwrap(), created, "nor for another driver");
        let arguments = place.written(spec.instance, "arguments");
        let port = arguments.split("PORT=").nth(1).and_then(|rest| rest.split(' ').next()).unwrap();
        let url = format!("--scrape http://127.0.0.1:{port}/stats --scrape-interval 2000ms --statsd 127.0.0.1:0");
        let socket = place.home(spec.instance).statsd().unwrap();
        let all = format!("{url} --statsd unix:{socket} --metric=a=b{{c=\"d\"}} -- sleep");
        assert!(arguments.contains(&all), "{arguments}");
        assert_eq!(arguments.contains("--proxy"), http, "{arguments}");
        urls.push((url, spec.instance));
    }
    assert_ne!(urls[0].0, urls[1].0);
    for (_, instance) in urls {
        driver.destroy(instance, Duration::from_secs(10)).await.unwrap();
    }
}

#[test]
fn a_path_that_is_too_long_for_a_socket_is_not_offered() {
    let instance = InstanceId::generate();
    assert!(Home::of(Path::new("/srv/outrigger"), instance).statsd().is_some());
    assert!(Home::of(&Path::new("/srv").join("x".repeat(100)), instance).statsd().is_none());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_tree_that_ignores_term_is_killed_to_the_last_process() {
    for cgroups in [CgroupRoot::Auto, CgroupRoot::Off] {
        let place = Place::new();
        let driver = ProcessDriver::new(ProcessConfig { cgroups, ..place.config() }).unwrap();
        let mut spec = spec(&["sh", "-c", STUBBORN]);
        spec.limits = Limits { cpu_cores: Some(0.5), memory_bytes: Some(64 << 20) };
        driver.create(&spec).await.unwrap();
        let (child, orphan) = (place.written(spec.instance, "child"), place.written(spec.instance, "orphan"));
        let agent = place.home(spec.instance).holder().unwrap();
        // An agent that does not react is a tree that ignores TERM as a whole.
        agent.signal(rustix::process::Signal::STOP);
        driver.destroy(spec.instance, Duration::from_millis(100)).await.unwrap();
        for pid in [child, orphan] {
            wait_for("a process to be gone", || is_gone(&pid));
        }
        assert!(driver.list().await.unwrap().is_empty());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_agent_that_was_killed_is_seen_and_its_program_goes_with_the_instance() {
    for cgroups in [CgroupRoot::Auto, CgroupRoot::Off] {
        let place = Place::new();
        let driver = ProcessDriver::new(ProcessConfig { cgroups, ..place.config() }).unwrap();
        let spec = spec(&["sh", "-c", "echo $$ > child; while :; do sleep 0.05; done"]);
        driver.create(&spec).await.unwrap();
        let child = place.written(spec.instance, "child");
        place.home(spec.instance).holder().unwrap().signal(rustix::process::Signal::KILL);
        wait_for("the lock to be free", || place.home(spec.instance).holder().is_none());
        assert_eq!(driver.list().await.unwrap(), [Observed { instance: spec.instance, running: false }]);
        assert!(!is_gone(&child), "the program is still there");
        driver.destroy(spec.instance, Duration::from_secs(1)).await.unwrap();
        wait_for("the program to be gone", || is_gone(&child));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn limits_and_membership_are_the_kernels_where_it_lets_us() {
    let place = Place::new();
    let driver = place.driver();
    let mut spec = spec(&["sleep", "600"]);
    spec.limits = Limits { cpu_cores: Some(0.25), memory_bytes: Some(32 << 20) };
    driver.create(&spec).await.unwrap();
    let home = place.home(spec.instance);
    let groups = home.last_agent().unwrap().record.groups;
    let read = |name: &str| groups.iter().find_map(|group| fs::read_to_string(group.join(name)).ok());
    if let Some(quota) = read("cpu.max").or_else(|| read("cpu.cfs_quota_us")) {
        assert!(quota.starts_with("25000"), "{quota}");
    }
    if let Some(limit) = read("memory.max").or_else(|| read("memory.limit_in_bytes")) {
        assert_eq!(limit.trim(), (32 << 20).to_string());
    }
    let agent = home.holder().unwrap().pid().as_raw_nonzero().get();
    for group in &groups {
        assert!(cgroup::members(std::slice::from_ref(group)).contains(&agent), "{}", group.display());
    }
    driver.destroy(spec.instance, Duration::from_secs(10)).await.unwrap();
    assert!(groups.iter().all(|group| !group.exists()));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_agent_that_ends_at_once_is_an_error_that_names_the_log() {
    let place = Place::new();
    fs::write(place.directory.path().join("agent"), "#!/bin/sh\necho no >&2\nexit 3\n").unwrap();
    let driver = ProcessDriver::new(ProcessConfig { settle: Duration::from_secs(10), ..place.config() }).unwrap();
    let spec = spec(&["true"]);
    let error = driver.create(&spec).await.unwrap_err();
    assert_eq!(error.kind, FailureKind::Transient);
    let log = place.home(spec.instance).log();
    assert!(error.to_string().contains("exit status: 3") && error.to_string().contains(&log.display().to_string()));
    assert_eq!(fs::read_to_string(log).unwrap(), "no\n".repeat(3));
    assert_eq!(driver.list().await.unwrap(), [Observed { instance: spec.instance, running: false }]);
    driver.destroy(spec.instance, Duration::ZERO).await.unwrap();
}

#[test]
fn a_missing_agent_is_said_at_the_start() {
    let place = Place::new();
    let config = ProcessConfig { agent_binary: place.directory.path().join("nowhere"), ..place.config() };
    let error = ProcessDriver::new(config).unwrap_err();
    assert_eq!(error.kind, FailureKind::Permanent);
    assert!(error.to_string().contains("nowhere"), "{error}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_long_log_is_cut_while_the_agent_writes_on() {
    let place = Place::new();
    let driver = ProcessDriver::new(ProcessConfig { log_bytes: 100, ..place.config() }).unwrap();
    let spec = spec(&["sh", "-c", TALKATIVE]);
    driver.create(&spec).await.unwrap();
    place.written(spec.instance, "ready");
    driver.list().await.unwrap();
    let home = place.home(spec.instance);
    assert_eq!(fs::read_to_string(home.log()).unwrap(), "");
    assert!(fs::read_to_string(home.log().with_extension("log.1")).unwrap().ends_with("line 49\n"));
    fs::write(home.work().join("go"), "").unwrap();
    place.written(spec.instance, "done");
    assert_eq!(fs::read_to_string(home.log()).unwrap(), "more\n");
    driver.destroy(spec.instance, Duration::from_secs(10)).await.unwrap();
}
