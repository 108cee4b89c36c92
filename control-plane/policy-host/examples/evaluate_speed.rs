//! How long one evaluation takes in a fresh instance: 60 points of 4 metrics, the built-in policies.
//!
//! `cargo run --release -p outrigger-policy-host --example evaluate_speed`
#![allow(clippy::print_stdout)]

use std::time::{Duration, Instant};

use outrigger_builtin_policies::builtin;
use outrigger_policy_host::{Deployment, HostConfig, Input, LocalTime, PolicyHost, Series};

const ROUNDS: usize = 20_000;
/// A rule for each of the four metrics, over all of their points.
const THRESHOLD: &str = r#"{"rules":[
    {"metric":"cpu","above":75,"below":20,"upFor":"60s","downFor":"60s"},
    {"metric":"memory","above":85,"below":30,"upFor":"60s","downFor":"60s"},
    {"metric":"requests","above":100,"below":10,"upFor":"60s","downFor":"60s"},
    {"metric":"response_time_p95","above":250,"below":50,"upFor":"60s","downFor":"60s"}]}"#;
/// The same metrics, each with a target.
const TARGET: &str = r#"{"metrics":[
    {"metric":"cpu","averageUtilization":70},{"metric":"memory","averageUtilization":80},
    {"metric":"requests","averageValue":100},{"metric":"response_time_p95","value":250}]}"#;
/// One window, open on working days.
const SCHEDULE: &str = r#"{"windows":[{"name":"day","start":"0 8 * * 1-5","end":"0 18 * * 1-5","replicas":6}]}"#;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let host = PolicyHost::new(HostConfig::in_process())?;
    for builtin in builtin() {
        let started = Instant::now();
        let policy = host.load(builtin.component)?;
        let loaded = started.elapsed();
        let input = input(match builtin.name {
            "threshold" => THRESHOLD,
            "weighted" => r#"{"preset":"web-api"}"#,
            "target" => TARGET,
            "schedule" => SCHEDULE,
            // Every other has defaults for everything.
            _ => "{}",
        });
        let mut times = Vec::with_capacity(ROUNDS);
        let mut fuel = 0;
        for _ in 0..ROUNDS {
            let evaluation = host.evaluate(&policy, &input);
            evaluation.outcome?;
            fuel = evaluation.fuel;
            times.push(evaluation.elapsed);
        }
        times.sort_unstable();
        let micros = |time: Duration| time.as_secs_f64() * 1e6;
        println!(
            "{:<10} {:>7} bytes, loaded in {:>6.1} ms; evaluate p50 {:>5.1} us, p99 {:>5.1} us, {fuel} fuel",
            builtin.name,
            builtin.component.len(),
            loaded.as_secs_f64() * 1e3,
            micros(times[ROUNDS / 2]),
            micros(times[ROUNDS * 99 / 100]),
        );
    }
    Ok(())
}

fn input(config: &str) -> Input {
    let now = 1_704_067_200_000;
    let series = ["cpu", "memory", "requests", "response_time_p95"];
    Input {
        now,
        local: LocalTime::utc(now),
        step: 1000,
        deployment: Deployment { replicas: 3, ready_replicas: 3, min: 1, max: 10, ..Deployment::default() },
        series_start: now - 59_000,
        series: series.map(|name| Series { name: name.to_owned(), unit: None, points: vec![50.0; 60] }).to_vec(),
        config: config.to_owned(),
        ..Input::default()
    }
}
