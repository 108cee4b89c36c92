//! From a sample to a decision without the policy between: the window takes it, gives series, and the guards judge.

use std::hint::black_box;
use std::time::Duration;

use criterion::{BatchSize, Criterion, criterion_group, criterion_main};
use outrigger_bench::workload::{Noise, sample};
use outrigger_protocol::id::InstanceId;
use outrigger_protocol::sample::Sample;
use outrigger_protocol::time::UnixMillis;
use outrigger_scaling::window::DeploymentWindow;
use outrigger_scaling::{Combine, GuardConfig, PolicyOutcome, View, Wish, decide};

const INSTANCES: usize = 20;
const POINTS: usize = 60;
const SECOND: Duration = Duration::from_secs(1);
const BEGIN: UnixMillis = UnixMillis::from_millis(1_704_067_200_000);

/// A sample of a processor that is never quite as busy as before: one that does not change is kept in next to no bytes.
fn busy(now: UnixMillis, noise: &mut Noise) -> Sample {
    let cpu = 50.0 + 10.0 * noise.unit();
    sample(now, cpu, noise)
}

/// A minute of every instance.
fn filled(instances: &[InstanceId], noise: &mut Noise) -> (DeploymentWindow, UnixMillis) {
    let mut window = DeploymentWindow::default();
    let mut now = BEGIN;
    for _ in 0..POINTS {
        now = now.saturating_add(SECOND);
        for instance in instances {
            window.push(*instance, &busy(now, noise), now);
        }
    }
    (window, now)
}

fn windows(criterion: &mut Criterion) {
    let mut noise = Noise::new(1);
    let instances: Vec<InstanceId> = (0..INSTANCES).map(|_| InstanceId::generate()).collect();
    let (mut window, mut now) = filled(&instances, &mut noise);
    let mut group = criterion.benchmark_group("decision/window");
    group.bench_function("series of 20 instances, 60 points", |bencher| {
        bencher.iter(|| window.series(black_box("cpu"), now, SECOND, POINTS));
    });
    group.bench_function("push", |bencher| {
        // By reference: letting go of a sample is not a part of taking it.
        bencher.iter_batched_ref(
            || {
                now = now.saturating_add(SECOND);
                busy(now, &mut noise)
            },
            |sample| window.push(instances[0], black_box(sample), sample.at),
            BatchSize::SmallInput,
        );
    });
    group.finish();
}

fn judge(criterion: &mut Criterion) {
    let view = View {
        now: BEGIN,
        replicas: 3,
        ready: 3,
        min: 1,
        max: 20,
        last_scale_up: Some(BEGIN.saturating_sub(Duration::from_secs(600))),
        last_scale_down: None,
        paused: false,
        freshest: Some(BEGIN),
        fresh_instances: 3,
        expected_instances: 3,
    };
    let wish =
        |desired| Ok(Wish { desired, confidence: 0.9, reason: "cpu is 91.0, at or above 75; 1 more".to_owned() });
    let outcomes = [
        PolicyOutcome { name: "load".to_owned(), result: wish(4) },
        PolicyOutcome { name: "latency".to_owned(), result: wish(5) },
    ];
    let config = GuardConfig { max_step_up: Some(1), ..GuardConfig::default() };
    criterion.bench_function("decision/decide, two policies", |bencher| {
        bencher.iter(|| decide(black_box(&view), &config, Combine::Max, black_box(&outcomes)));
    });
}

criterion_group!(benches, windows, judge);
criterion_main!(benches);
