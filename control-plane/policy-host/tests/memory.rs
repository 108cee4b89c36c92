//! What evaluations leave behind, in a process of their own so that nothing else moves the numbers.

use outrigger_builtin_policies::resolve;
use outrigger_policy_host::limits::COMPONENT_BYTES;
use outrigger_policy_host::{Deployment, HostConfig, Input, LocalTime, PolicyHost, Series};

#[test]
fn ten_thousand_evaluations_leave_no_memory_behind() {
    let host = PolicyHost::new(HostConfig::in_process()).unwrap();
    let policy = host.load(&resolve("threshold", COMPONENT_BYTES).unwrap()).unwrap();
    let input = Input {
        now: 60_000,
        local: LocalTime::utc(60_000),
        step: 1000,
        deployment: Deployment { replicas: 3, max: 10, ..Deployment::default() },
        series: vec![Series { name: "cpu".to_owned(), unit: None, points: vec![90.0; 60] }],
        config: r#"{ "rules": [{ "metric": "cpu", "above": 70 }] }"#.to_owned(),
        ..Input::default()
    };
    let run = |times| (0..times).for_each(|_| assert_eq!(host.evaluate(&policy, &input).outcome.unwrap().replicas, 4));
    run(1000);
    let before = resident_bytes();
    run(10_000);
    let grown = resident_bytes().saturating_sub(before);
    // A leak of a quarter of a page a call would be 10 MB.
    assert!(grown < 8 * 1024 * 1024, "{grown} bytes more");
}

/// Resident memory as /proc/self/statm has it (proc_pid_statm(5)), in bytes.
fn resident_bytes() -> u64 {
    let statm = std::fs::read_to_string("/proc/self/statm").expect("this is Linux");
    let pages: u64 =
        statm.split(' ').nth(1).and_then(|pages| pages.parse().ok()).expect("the second field is a number");
    pages * rustix::param::page_size() as u64
}
