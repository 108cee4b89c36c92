//! The program that instances run in tests: small, without dependencies, and badly behaved on request.
//!
//! - `serve`: HTTP on `$PORT`; `/env/NAME` answers the variable's value, or 404; `/burn` spends some CPU first; `/spin`
//!   leaves behind a thread that never rests; `/hold/MIB` takes so much memory and never gives it back;
//!   `/health/NAME` answers 503 when `$FAILING` is that name, and from `/fail/NAME` until `/pass/NAME`;
//!   `/metrics` has `$JOBS` as a gauge. At the start, `$ORDERS` and `$CARTS` are sent as gauges by StatsD, over UDP and over
//!   a Unix socket
//! - `print NAME…`: prints `NAME=value` lines and ends
//! - `wait`: runs until it is signalled
//! - `exit CODE`: ends with that code
//! - `crash`: ends by a signal of its own
//! - `ignore-term`: says `ready`, and ends only by SIGKILL
//! - `orphans`: leaves a grandchild behind, prints its pid and ends

#![allow(clippy::print_stdout, reason = "a program that is watched through its output")]

use std::collections::BTreeSet;
use std::io::{self, BufRead as _, BufReader, Write as _};
use std::net::{Ipv4Addr, TcpListener, TcpStream, UdpSocket};
use std::os::unix::net::UnixDatagram;
use std::process::{Command, ExitCode, Stdio};
use std::sync::{Mutex, PoisonError};

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match words.as_slice() {
        ["serve"] => serve(),
        ["print", names @ ..] => {
            for name in names {
                println!("{name}={}", std::env::var(name).unwrap_or_else(|_| "(unset)".to_owned()));
            }
            ExitCode::SUCCESS
        }
        ["wait"] => shell("echo ready; while :; do sleep 1; done"),
        ["exit", code] => ExitCode::from(code.parse::<u8>().unwrap_or(1)),
        ["crash"] => std::process::abort(),
        ["ignore-term"] => shell("trap '' TERM; echo ready; while :; do sleep 1; done"),
        ["orphans"] => orphans(),
        _ => ExitCode::from(2),
    }
}

/// Becomes a shell script: signal dispositions are easiest to bend there.
fn shell(script: &str) -> ExitCode {
    use std::os::unix::process::CommandExt as _;
    let error = Command::new("/bin/sh").arg("-c").arg(script).exec();
    println!("cannot run a shell: {error}");
    ExitCode::FAILURE
}

fn orphans() -> ExitCode {
    let child =
        Command::new("/bin/sh").arg("-c").arg("sleep 600 >/dev/null 2>&1 & echo $!").stdin(Stdio::null()).output();
    match child {
        Ok(output) => {
            print!("{}", String::from_utf8_lossy(&output.stdout));
            ExitCode::SUCCESS
        }
        Err(_) => ExitCode::FAILURE,
    }
}

fn serve() -> ExitCode {
    let port = std::env::var("PORT").ok().and_then(|port| port.parse::<u16>().ok());
    let Some(Ok(listener)) = port.map(|port| TcpListener::bind((Ipv4Addr::LOCALHOST, port))) else {
        return ExitCode::from(3);
    };
    if let Err(error) = send_gauges() {
        println!("cannot send metrics: {error}");
        return ExitCode::from(4);
    }
    println!("serving");
    for stream in listener.incoming().flatten() {
        std::thread::spawn(move || while answer(&stream).is_some() {});
    }
    ExitCode::SUCCESS
}

/// To where the agent says that it listens.
fn send_gauges() -> io::Result<()> {
    let address = |name| std::env::var(name).map_err(io::Error::other);
    if let Ok(orders) = std::env::var("ORDERS") {
        let to = format!("{}:{}", address("STATSD_HOST")?, address("STATSD_PORT")?);
        UdpSocket::bind((Ipv4Addr::LOCALHOST, 0))?.send_to(format!("orders:{orders}|g").as_bytes(), to)?;
    }
    if let Ok(carts) = std::env::var("CARTS") {
        let url = address("DD_DOGSTATSD_URL")?;
        let path = url.strip_prefix("unix://").ok_or_else(|| io::Error::other("not a Unix socket"))?;
        UnixDatagram::unbound()?.send_to(format!("carts:{carts}|g").as_bytes(), path)?;
    }
    Ok(())
}

/// Answers one request of a connection; `None` ends it.
fn answer(mut stream: &TcpStream) -> Option<()> {
    let mut reader = BufReader::new(stream);
    let mut request = String::new();
    reader.read_line(&mut request).ok()?;
    let path = request.split(' ').nth(1)?.to_owned();
    let mut line = String::new();
    while reader.read_line(&mut line).ok()? > 2 {
        line.clear();
    }
    if path == "/burn" {
        std::hint::black_box((0..200_000u64).fold(0u64, |sum, n| std::hint::black_box(sum ^ n.wrapping_mul(n))));
    }
    if path == "/spin" {
        std::thread::spawn(|| {
            loop {
                std::hint::spin_loop();
            }
        });
    }
    if let Some(mebibytes) = path.strip_prefix("/hold/").and_then(|number| number.parse::<usize>().ok()) {
        // Not zeroes: those the kernel would not have to give.
        std::mem::forget(vec![1_u8; mebibytes << 20]);
    }
    let (status, body) = if let Some(name) = path.strip_prefix("/env/") {
        match std::env::var(name) {
            Ok(value) => ("200 OK", value),
            Err(_) => ("404 Not Found", String::new()),
        }
    } else if path == "/metrics" {
        ("200 OK", format!("jobs{{queue=\"mail\"}} {}\n", std::env::var("JOBS").unwrap_or_else(|_| "0".to_owned())))
    } else if fails(&path) {
        ("503 Service Unavailable", "not well".to_owned())
    } else {
        ("200 OK", "ok".to_owned())
    };
    write!(stream, "HTTP/1.1 {status}\r\nContent-Length: {}\r\n\r\n{body}", body.len()).ok()
}

/// Names that are not well, beside the one that the environment names.
static FAILING: Mutex<BTreeSet<String>> = Mutex::new(BTreeSet::new());

/// Whether this path asks about something that is not well. Others may make it so, and well again.
fn fails(path: &str) -> bool {
    let mut failing = FAILING.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(name) = path.strip_prefix("/fail/") {
        failing.insert(name.to_owned());
    } else if let Some(name) = path.strip_prefix("/pass/") {
        failing.remove(name);
    } else if let Some(name) = path.strip_prefix("/health/") {
        return failing.contains(name) || std::env::var("FAILING").is_ok_and(|failing| failing == name);
    }
    false
}
