//! What the agent's reverse proxy adds to a request, beside nginx as a proxy before the same program in the same run.
//!
//! The program is an nginx that answers from memory, the load is wrk with one thread, HTTP/1.1 with kept connections on
//! loopback. Everything has one worker. The three are asked in turns, so that whatever else the machine does hits all
//! alike, and the median of the rounds counts.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use outrigger_tests::Running;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::process::Command;
use tokio::time::{MissedTickBehavior, interval, sleep, timeout};

use crate::figure::{Figure, Reference};
use crate::peers::free_port;
use crate::process::{quiet, usage};
use crate::programs::Programs;
use crate::sandbox::{JOIN_TOKEN, Sandbox};
use crate::statistics::Measurements;

const NGINX: &str = "/usr/sbin/nginx";
const WRK: &str = "/usr/bin/wrk";
const PROGRAM: [&str; 2] = ["sleep", "600"];

const ROUNDS: usize = 7;
const SECONDS: u64 = 2;
/// Connections at a time: one to see what a request takes, many to see how many there can be.
const ONE: usize = 1;
const MANY: usize = 32;
const PATIENCE: Duration = Duration::from_secs(30);

/// For the figure of memory: so many a second, over so many connections, for so long.
const STEADY_RATE: u32 = 1_000;
const STEADY_CONNECTIONS: u32 = 10;
const STEADY_WINDOW: Duration = Duration::from_secs(10);

const GOAL_ADDED_US: f64 = 60.0;
/// Of nginx's requests per second.
const GOAL_SHARE: f64 = 0.7;
const GOAL_RSS_MIB: f64 = 6.0;

/// # Errors
/// nginx or wrk is not installed, or something does not start or ends before it should.
pub async fn measure(programs: &Programs, directory: &Path) -> Result<Vec<Figure>> {
    for (program, package) in [(NGINX, "nginx-light"), (WRK, "wrk")] {
        ensure!(Path::new(program).is_file(), "{package} is not installed: apt-get install {package}");
    }
    let [upstream, nginx, ours] = [loopback()?, loopback()?, loopback()?];
    let _upstream = start_nginx(&directory.join("proxy-upstream"), &upstream_config(upstream))?;
    let _nginx = start_nginx(&directory.join("proxy-nginx"), &proxy_config(nginx, upstream))?;
    let sandbox = Sandbox::new(programs, &directory.join("proxy")).await?;
    let mut command = sandbox.agent(programs, &directory.join("proxy-agent"));
    command
        .args(["--sample-interval", "1s", "--proxy", &format!("{ours}={upstream}"), "--"])
        .args(PROGRAM)
        .env(JOIN_TOKEN, sandbox.join_token().await?);
    let agent = Running::start_apart(command)?;
    for address in [upstream, nginx, ours] {
        answers(address).await?;
    }

    let mut results = [const { Vec::new() }; 3];
    for round in 0..=ROUNDS {
        for (at, address) in [upstream, nginx, ours].into_iter().enumerate() {
            let both = (load(address, ONE).await?, load(address, MANY).await?);
            // The first is for warming up.
            if round > 0 {
                results[at].push(both);
            }
        }
    }
    let rss = steady_memory(&agent, ours).await?;
    agent.stop().await?;
    let [upstream, nginx, ours] = results.map(|rounds| Rounds::of(&rounds));
    Ok(figures(&upstream?, &nginx?, &ours?, rss))
}

/// One run of wrk.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Load {
    p50_us: f64,
    p99_us: f64,
    per_second: f64,
}

/// Medians over the rounds.
#[derive(Debug, Clone, Copy)]
struct Rounds {
    one: Load,
    many: Load,
}

impl Rounds {
    fn of(rounds: &[(Load, Load)]) -> Result<Self> {
        let median = |value: &dyn Fn(&(Load, Load)) -> f64| -> Result<f64> {
            Measurements::new(rounds.iter().map(value)).map(|all| all.median()).context("nothing was run")
        };
        let load = |of: fn(&(Load, Load)) -> Load| {
            Ok::<_, anyhow::Error>(Load {
                p50_us: median(&|round| of(round).p50_us)?,
                p99_us: median(&|round| of(round).p99_us)?,
                per_second: median(&|round| of(round).per_second)?,
            })
        };
        Ok(Self { one: load(|round| round.0)?, many: load(|round| round.1)? })
    }
}

fn figures(upstream: &Rounds, nginx: &Rounds, ours: &Rounds, rss_mib: f64) -> Vec<Figure> {
    let added = |name: &str, value: fn(&Load) -> f64| {
        let bare = value(&upstream.one);
        Figure::new(format!("proxy: what it adds to a request, {name}"), "µs", value(&ours.one) - bare)
            .beside(Reference::new("nginx adds", value(&nginx.one) - bare))
            .beside(Reference::new("the program alone takes", bare))
    };
    let per_request = |load: &Load| 1e6 / load.per_second;
    vec![
        added("median", |load| load.p50_us).at_most(GOAL_ADDED_US),
        added("p99", |load| load.p99_us),
        Figure::new(format!("proxy: time per request, {MANY} connections"), "µs", per_request(&ours.many))
            .at_most(per_request(&nginx.many) / GOAL_SHARE)
            .beside(Reference::new("nginx", per_request(&nginx.many)))
            .beside(Reference::new("the program alone", per_request(&upstream.many))),
        Figure::new(format!("proxy: agent's resident memory at {STEADY_RATE} requests/s"), "MiB", rss_mib)
            .at_most(GOAL_RSS_MIB),
    ]
}

fn loopback() -> Result<SocketAddr> {
    Ok(SocketAddr::from(([127, 0, 0, 1], free_port()?)))
}

fn start_nginx(directory: &Path, servers: &str) -> Result<Running> {
    std::fs::create_dir_all(directory)?;
    let config = directory.join("nginx.conf");
    std::fs::write(&config, nginx_config(directory, servers))?;
    let mut command = quiet(NGINX);
    command.arg("-e").arg(error_log(directory)).arg("-p").arg(directory).arg("-c").arg(&config);
    Running::start_apart(command)
}

fn error_log(directory: &Path) -> PathBuf {
    directory.join("error.log")
}

/// One worker in the foreground, which writes nowhere else.
fn nginx_config(directory: &Path, servers: &str) -> String {
    let path = |name: &str| directory.join(name).display().to_string();
    let temporary: String = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
        .map(|kind| format!("  {kind}_temp_path {};\n", path(kind)))
        .concat();
    format!(
        "worker_processes 1;\ndaemon off;\npid {};\nevents {{ worker_connections 1024; }}\nhttp {{\n  access_log off;\n  \
         keepalive_requests 100000000;\n{temporary}{servers}}}\n",
        path("pid"),
    )
}

fn upstream_config(listen: SocketAddr) -> String {
    format!(
        "  server {{\n    listen {listen};\n    location / {{\n      default_type text/plain;\n      \
         return 200 \"a short answer of a program\\n\";\n    }}\n  }}\n"
    )
}

/// Adds the fields that ours adds, and keeps connections to the program.
fn proxy_config(listen: SocketAddr, upstream: SocketAddr) -> String {
    format!(
        "  upstream program {{ server {upstream}; keepalive 64; keepalive_requests 100000000; }}\n  server {{\n    \
         listen {listen};\n    location / {{\n      proxy_pass http://program;\n      proxy_http_version 1.1;\n      \
         proxy_set_header Connection \"\";\n      proxy_set_header Host $http_host;\n      \
         proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;\n      \
         proxy_set_header X-Forwarded-Proto $scheme;\n      proxy_set_header X-Forwarded-Host $http_host;\n      \
         proxy_set_header Via \"1.1 nginx\";\n    }}\n  }}\n"
    )
}

async fn answers(address: SocketAddr) -> Result<()> {
    let started = Instant::now();
    loop {
        match ask_once(address).await {
            Ok(()) => return Ok(()),
            Err(error) if started.elapsed() > PATIENCE => {
                return Err(error.context(format!("no answer from {address}")));
            }
            Err(_not_yet) => sleep(Duration::from_millis(100)).await,
        }
    }
}

async fn ask_once(address: SocketAddr) -> Result<()> {
    let mut stream = TcpStream::connect(address).await?;
    timeout(PATIENCE, ask(&mut stream)).await?
}

/// One request and its whole answer.
async fn ask(stream: &mut TcpStream) -> Result<()> {
    stream.write_all(b"GET / HTTP/1.1\r\nhost: program.test\r\n\r\n").await?;
    let mut answer = Vec::with_capacity(1024);
    while !answer.ends_with(b"program\n") {
        ensure!(stream.read_buf(&mut answer).await? > 0, "the connection ended");
        ensure!(answer.len() < 4096, "that is not the answer");
    }
    ensure!(answer.starts_with(b"HTTP/1.1 200"), "not a success: {}", String::from_utf8_lossy(&answer));
    Ok(())
}

async fn load(address: SocketAddr, connections: usize) -> Result<Load> {
    let mut command = Command::new(WRK);
    command
        .args([
            "-t1",
            &format!("-c{connections}"),
            &format!("-d{SECONDS}s"),
            "--latency",
            &format!("http://{address}/"),
        ])
        .stdin(Stdio::null())
        .stderr(Stdio::null())
        .kill_on_drop(true);
    let output = timeout(PATIENCE, command.output()).await.context("wrk does not end")?.context("cannot run wrk")?;
    let text = String::from_utf8_lossy(&output.stdout);
    read_load(&text).with_context(|| format!("wrk says: {text}"))
}

/// What wrk printed. A run with errors is none.
fn read_load(text: &str) -> Option<Load> {
    let after = |label: &str| {
        let line = text.lines().find_map(|line| line.trim_start().strip_prefix(label))?;
        Some(line.trim())
    };
    if text.contains("Socket errors") || text.contains("Non-2xx") {
        return None;
    }
    Some(Load {
        p50_us: micros(after("50%")?)?,
        p99_us: micros(after("99%")?)?,
        per_second: after("Requests/sec:")?.parse().ok()?,
    })
}

fn micros(text: &str) -> Option<f64> {
    let at = text.find(|character: char| character.is_ascii_alphabetic())?;
    let (number, unit) = text.split_at(at);
    let factor = match unit {
        "us" => 1.0,
        "ms" => 1e3,
        "s" => 1e6,
        _ => return None,
    };
    number.parse::<f64>().ok().map(|number| number * factor)
}

/// The most resident memory in MiB that was seen while requests came at a steady rate, after the storm before.
async fn steady_memory(agent: &Running, address: SocketAddr) -> Result<f64> {
    let every = Duration::from_secs(1) * STEADY_CONNECTIONS / STEADY_RATE;
    let clients = (0..STEADY_CONNECTIONS).map(|_| async move {
        let mut stream = TcpStream::connect(address).await?;
        let mut ticks = interval(every);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Burst);
        let started = Instant::now();
        while started.elapsed() < STEADY_WINDOW {
            ticks.tick().await;
            ask(&mut stream).await?;
        }
        Ok::<_, anyhow::Error>(())
    });
    let looking = async {
        let mut most = 0.0_f64;
        let started = Instant::now();
        while started.elapsed() < STEADY_WINDOW {
            most = most.max(usage(agent)?.rss_kib);
            sleep(Duration::from_millis(500)).await;
        }
        Ok::<_, anyhow::Error>(most / 1024.0)
    };
    let (asked, most) = tokio::join!(futures_util::future::try_join_all(clients), looking);
    asked.context("a request failed")?;
    most
}

#[cfg(test)]
mod tests {
    use super::*;

    const SAID: &str = "Running 2s test @ http://127.0.0.1:1/\n  1 threads and 1 connections\n  Thread Stats   Avg\n\
        \x20   Latency    58.00us\n  Latency Distribution\n     50%   58.00us\n     75%   61.00us\n     90%   80.00us\n\
        \x20    99%    1.21ms\n  34000 requests in 2.00s, 6.00MB read\nRequests/sec:  17134.82\nTransfer/sec:      3.31MB\n";

    #[test]
    fn what_wrk_prints_is_read_and_errors_are_no_figure() {
        assert_eq!(read_load(SAID), Some(Load { p50_us: 58.0, p99_us: 1210.0, per_second: 17_134.82 }));
        assert_eq!(read_load(&format!("{SAID}  Non-2xx or 3xx responses: 4\n")), None);
        assert_eq!(read_load("unable to connect"), None);
        assert_eq!((micros("1.50s"), micros("3"), micros("2.00m")), (Some(1.5e6), None, None));
    }

    #[test]
    fn figures_are_differences_to_the_program_alone_and_held_to_nginx() {
        let rounds = |us: f64, per_second: f64| {
            let load = Load { p50_us: us, p99_us: 2.0 * us, per_second };
            Rounds { one: load, many: load }
        };
        let figures = figures(&rounds(60.0, 100_000.0), &rounds(90.0, 50_000.0), &rounds(100.0, 40_000.0), 5.0);
        assert_eq!((figures[0].measured.clone(), figures[0].references[0].value.clone()), (Ok(40.0), Ok(30.0)));
        assert_eq!(figures[1].measured, Ok(80.0));
        assert_eq!(figures[2].measured, Ok(25.0));
        assert!((figures[2].goal.unwrap() - 20.0 / 0.7).abs() < 1e-9);
    }
}
