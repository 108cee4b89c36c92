//! The agent in a real container: what the control plane sees is what Docker was told and what Docker itself measures.
//!
//! Needs Docker's engine and its client (`apt-get install --no-install-recommends docker.io`), and root. The test starts
//! an engine of its own, with its own data and socket, so none has to run and nothing of one that runs is touched. The
//! image is made from scratch: nothing is pulled.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::{Output, Stdio};

use anyhow::{Context as _, Result, bail, ensure};
use outrigger_tests::{Api, Running, Server, ServerOptions, Workplace, binary, eventually};
use serde_json::json;
use tokio::process::Command;

const IMAGE: &str = "outrigger-test";
const CONTAINER: &str = "sandbox";
const CPUS: f64 = 0.5;
const MEMORY_BYTES: u64 = 96 << 20;
const PIDS: u64 = 64;
/// What the program holds on request, well below the limit.
const HELD_MIB: u64 = 40;

/// An engine of this test's own. Dropping it ends it with its containers.
struct Docker {
    place: PathBuf,
    socket: String,
    _engine: Running,
}

impl Docker {
    async fn start(place: &Path) -> Result<Self> {
        ensure!(rustix::process::geteuid().is_root(), "this test runs containers, which needs root: run it as root");
        for program in ["dockerd", "containerd", "runc", "docker"] {
            ensure!(
                is_installed(program),
                "this test runs containers and `{program}` is not installed: apt-get install --no-install-recommends docker.io"
            );
        }
        let log_path = place.join("dockerd.log");
        let log = std::fs::File::create(&log_path)?;
        let socket = format!("unix://{}", place.join("docker.sock").display());
        let mut command = Command::new("dockerd");
        command.arg("--data-root").arg(place.join("data")).arg("--exec-root").arg(place.join("exec"));
        command.arg("--pidfile").arg(place.join("pid")).args(["--host", &socket, "--storage-driver", "vfs"]);
        // Containers are on the host's network: nothing of it is touched.
        command.args(["--bridge=none", "--iptables=false", "--ip6tables=false", "--ip-masq=false"]);
        command.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log);
        let docker = Self { place: place.to_owned(), socket, _engine: Running::start(command)? };
        let started = eventually("Docker's engine answers", || async {
            Ok(docker.command(["version"]).output().await?.status.success().then_some(()))
        });
        started.await.with_context(|| std::fs::read_to_string(&log_path).unwrap_or_default())?;
        Ok(docker)
    }

    fn command<S: AsRef<OsStr>>(&self, arguments: impl IntoIterator<Item = S>) -> Command {
        let mut command = Command::new("docker");
        command.args(["--host", &self.socket]).args(arguments).stdin(Stdio::null()).kill_on_drop(true);
        command
    }

    async fn run<S: AsRef<OsStr>>(&self, arguments: impl IntoIterator<Item = S>) -> Result<String> {
        succeeded(self.command(arguments).output().await?)
    }

    /// Makes an image of one layer out of a directory.
    async fn import(&self, root: &Path) -> Result<()> {
        let archive = root.with_extension("tar");
        let mut tar = Command::new("tar");
        tar.arg("--create").arg("--file").arg(&archive).arg("--directory").arg(root).arg(".");
        succeeded(tar.output().await?)?;
        self.run([OsStr::new("import"), archive.as_os_str(), OsStr::new(IMAGE)]).await?;
        Ok(())
    }

    /// Percent of one processor, and bytes in use without inactive file pages.
    async fn stats(&self) -> Result<(f64, f64)> {
        let line = self.run(["stats", "--no-stream", "--format", "{{.CPUPerc}}|{{.MemUsage}}", CONTAINER]).await?;
        let (cpu, memory) = line.trim().split_once('|').with_context(|| format!("no stats in `{line}`"))?;
        let used = memory.split(" / ").next().unwrap_or_default();
        Ok((cpu.trim_end_matches('%').parse()?, bytes(used)?))
    }
}

impl Drop for Docker {
    fn drop(&mut self) {
        // What keeps a container running does not end with the engine.
        let mut command = std::process::Command::new("docker");
        command.args(["--host", &self.socket, "rm", "--force", CONTAINER]);
        let _ = command.stdout(Stdio::null()).stderr(Stdio::null()).status();
        // It leaves the network namespace of the host mounted, which keeps the directory from being removed.
        let mut command = std::process::Command::new("umount");
        command.arg("--lazy").arg(self.place.join("exec/netns/default"));
        let _ = command.stdout(Stdio::null()).stderr(Stdio::null()).status();
    }
}

fn is_installed(program: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).any(|directory| directory.join(program).is_file())
}

fn succeeded(output: Output) -> Result<String> {
    if !output.status.success() {
        bail!("{}: {}", output.status, String::from_utf8_lossy(&output.stderr));
    }
    Ok(String::from_utf8(output.stdout)?)
}

/// `45.3MiB`
fn bytes(text: &str) -> Result<f64> {
    let digits = text.find(|c: char| c.is_ascii_alphabetic()).with_context(|| format!("no unit in `{text}`"))?;
    let factor = match &text[digits..] {
        "B" => 1.0,
        "KiB" => 1024.0,
        "MiB" => 1024.0 * 1024.0,
        "GiB" => 1024.0 * 1024.0 * 1024.0,
        unit => bail!("unknown unit `{unit}`"),
    };
    Ok(text[..digits].parse::<f64>()? * factor)
}

/// Puts programs into the root directory of an image, and the libraries that they are linked with where they look for them.
async fn fill(root: &Path, programs: &[PathBuf]) -> Result<()> {
    std::fs::create_dir_all(root)?;
    for program in programs {
        let name = program.file_name().context("a program has a name")?;
        std::fs::copy(program, root.join(name))?;
        // Of a static program it says that it is none of its business.
        let listed = Command::new("ldd").arg(program).output().await?;
        let listed = String::from_utf8(listed.stdout)?;
        for library in listed.split_whitespace().filter(|word| word.starts_with('/')) {
            let inside = root.join(library.trim_start_matches('/'));
            std::fs::create_dir_all(inside.parent().context("a library is in a directory")?)?;
            std::fs::copy(library, inside)?;
        }
    }
    Ok(())
}

struct Fixture {
    docker: Docker,
    server: Server,
    deployment: String,
    program: String,
}

impl Fixture {
    async fn start(workplace: &Workplace) -> Result<Self> {
        let docker = Docker::start(workplace.path()).await?;
        let root = workplace.path().join("root");
        fill(&root, &[binary("outrigger-agent"), binary("outrigger-test-program")]).await?;
        docker.import(&root).await?;

        let server = Server::start(workplace, &ServerOptions::default()).await?;
        let api = server.api();
        let (project, _) = api.project_with(json!([{ "key": "A", "value": "1" }])).await?;
        let external = json!({ "driver": "dry-run", "replicas": { "min": 0, "max": 1, "initial": 0 } });
        let deployment = api.deployment(&project, &["unused".to_owned()], external).await?;
        api.post(&format!("/api/deployments/{deployment}/start"), json!({})).await?;
        let token = api.post(&format!("/api/deployments/{deployment}/join-tokens"), json!({})).await?;
        let token = token["token"].as_str().context("no token")?.to_owned();

        let port = std::net::TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
        let limits = [
            format!("--cpus={CPUS}"),
            format!("--memory={MEMORY_BYTES}"),
            format!("--memory-swap={MEMORY_BYTES}"),
            format!("--pids-limit={PIDS}"),
        ];
        let agents = server.agents_address();
        let mut run = docker.command(["run", "--detach", "--name", CONTAINER, "--network", "host"]);
        run.args(&limits).args(["--env", "OUTRIGGER_JOIN_TOKEN", IMAGE]).env("OUTRIGGER_JOIN_TOKEN", token);
        run.args([
            "/outrigger-agent",
            "run",
            "--control-plane",
            &agents,
            "--state-dir",
            "/state",
            "--restart",
            "always",
        ]);
        run.args(["--env", &format!("PORT={port}"), "--", "/outrigger-test-program", "serve"]);
        succeeded(run.output().await?)?;
        Ok(Self { docker, server, deployment, program: format!("http://127.0.0.1:{port}") })
    }

    fn api(&self) -> &Api {
        self.server.api()
    }

    /// Asks the program for something. It may be killed over it.
    async fn ask(&self, path: &str) -> Result<()> {
        let url = format!("{}{path}", self.program);
        reqwest::get(url).await?.error_for_status()?;
        Ok(())
    }

    /// The values of the last minute that are known, the newest first.
    async fn recent(&self, metric: &str) -> Result<Vec<f64>> {
        let path = format!("/api/deployments/{}/metrics?metric={metric}&step=1s", self.deployment);
        let series = self.api().get(&path).await?;
        let points = series[0]["points"].as_array().cloned().unwrap_or_default();
        Ok(points.iter().rev().take(60).filter_map(|point| point[1].as_f64()).collect())
    }

    /// Waits until the control plane sees a value that `is_right`, in the newest of what it knows.
    async fn sees(&self, metric: &str, is_right: impl Fn(f64) -> bool) -> Result<f64> {
        let wait = format!("the right value of {metric}");
        let seen = eventually(&wait, || async {
            Ok(self.recent(metric).await?.first().copied().filter(|value| is_right(*value)))
        });
        seen.await.with_context(|| format!("the agent said {}", self.log()))
    }

    fn log(&self) -> String {
        let mut command = std::process::Command::new("docker");
        let logs = command.args(["--host", &self.docker.socket, "logs", CONTAINER]).output();
        logs.map(|logs| String::from_utf8_lossy(&logs.stderr).into_owned()).unwrap_or_default()
    }

    async fn restarts(&self) -> Result<u64> {
        let instances = self.api().get(&format!("/api/deployments/{}/instances", self.deployment)).await?;
        Ok(instances[0]["program"]["restarts"].as_u64().unwrap_or(0))
    }
}

fn near(expected: f64, share: f64) -> impl Fn(f64) -> bool {
    move |value| (value - expected).abs() <= expected * share
}

#[tokio::test]
async fn a_containers_limits_and_usage_are_seen_as_docker_gives_and_measures_them() -> Result<()> {
    let workplace = Workplace::new()?;
    let fixture = Fixture::start(&workplace).await?;

    // The limits, on a machine that has more.
    for (metric, value) in [
        ("cpu_limit_cores", CPUS),
        ("memory_limit_bytes", MEMORY_BYTES as f64),
        ("threads_limit", PIDS as f64),
        ("processes", 1.0),
        ("oom_kills", 0.0),
    ] {
        fixture.sees(metric, near(value, 0.0)).await?;
    }

    // A thread that never rests gets half a processor, all that there is for it, and waits for most of each period.
    fixture.ask("/spin").await?;
    fixture.sees("cpu_usage_cores", near(CPUS, 0.15)).await?;
    fixture.sees("cpu", near(100.0, 0.15)).await?;
    fixture.sees("cpu_throttled", |share| share > 50.0).await?;

    // Memory as the kubelet counts it, which is also what Docker shows.
    let before = fixture.recent("memory_working_set_bytes").await?[0];
    fixture.ask(&format!("/hold/{HELD_MIB}")).await?;
    let held = (HELD_MIB << 20) as f64;
    let used = fixture.sees("memory_working_set_bytes", near(before + held, 0.1)).await?;
    fixture.sees("memory", near(used / MEMORY_BYTES as f64 * 100.0, 0.1)).await?;
    let (cpu_of_docker, memory_of_docker) = fixture.docker.stats().await?;
    assert!(near(memory_of_docker, 0.1)(used), "{used} bytes, docker says {memory_of_docker}");
    let cores = fixture.recent("cpu_usage_cores").await?[0];
    assert!(near(cpu_of_docker / 100.0, 0.25)(cores), "{cores} cores, docker says {cpu_of_docker} %");

    // More than there is: the kernel kills the program, which is counted, and the agent starts it again.
    let _broken_off = fixture.ask(&format!("/hold/{}", MEMORY_BYTES >> 19)).await;
    eventually("the kill is counted", || async {
        Ok(fixture.recent("oom_kills").await?.iter().any(|kills| *kills >= 1.0).then_some(()))
    })
    .await?;
    eventually("the program runs again", || async { Ok((fixture.restarts().await? >= 1).then_some(())) }).await?;
    fixture.sees("cpu_usage_cores", |cores| cores < CPUS / 2.0).await?;
    fixture.sees("memory_working_set_bytes", |bytes| bytes < used - held / 2.0).await?;

    fixture.docker.run(["stop", "--time", "10", CONTAINER]).await?;
    drop(fixture.docker);
    fixture.server.terminate().await
}
