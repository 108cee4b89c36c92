//! A policy asked about a minute of four metrics, in a fresh instance each time.

use std::hint::black_box;

use criterion::{Criterion, criterion_group, criterion_main};
use outrigger_bench::workload::{THRESHOLD, policy_input};
use outrigger_builtin_policies::builtin;
use outrigger_policy_host::{HostConfig, PolicyHost};

const WEIGHTED: &str = r#"{"preset":"web-api"}"#;

fn evaluate(criterion: &mut Criterion) {
    let host = PolicyHost::new(HostConfig::in_process()).expect("the host starts");
    let mut group = criterion.benchmark_group("policy/evaluate");
    for (name, config) in [("threshold", THRESHOLD), ("weighted", WEIGHTED)] {
        let policy = builtin().iter().find(|policy| policy.name == name).expect("it is built in");
        let policy = host.load(policy.component).expect("a built-in policy loads");
        let input = policy_input(config);
        host.evaluate(&policy, &input).outcome.expect("it answers");
        group.bench_function(name, |bencher| bencher.iter(|| host.evaluate(black_box(&policy), black_box(&input))));
    }
    group.finish();
}

criterion_group!(benches, evaluate);
criterion_main!(benches);
