//! What the tests of the host share: one host, its policies, and an input.

use std::sync::{Arc, LazyLock};

use outrigger_builtin_policies::{builtin, test_support};
use outrigger_policy_host::{Deployment, HostConfig, Input, LocalTime, Policy, PolicyHost, Series};

/// 2024-01-01T00:00:00Z.
pub(crate) const NOW: u64 = 1_704_067_200_000;

pub(crate) fn host() -> &'static Arc<PolicyHost> {
    static HOST: LazyLock<Arc<PolicyHost>> =
        LazyLock::new(|| Arc::new(PolicyHost::new(HostConfig::in_process()).expect("the host starts")));
    &HOST
}

pub(crate) fn hostile() -> &'static Arc<Policy> {
    static POLICY: LazyLock<Arc<Policy>> =
        LazyLock::new(|| host().load(test_support::HOSTILE).expect("the hostile policy loads"));
    &POLICY
}

pub(crate) fn threshold() -> &'static Arc<Policy> {
    static POLICY: LazyLock<Arc<Policy>> = LazyLock::new(|| load("threshold"));
    &POLICY
}

pub(crate) fn weighted() -> &'static Arc<Policy> {
    static POLICY: LazyLock<Arc<Policy>> = LazyLock::new(|| load("weighted"));
    &POLICY
}

pub(crate) fn target() -> &'static Arc<Policy> {
    static POLICY: LazyLock<Arc<Policy>> = LazyLock::new(|| load("target"));
    &POLICY
}

pub(crate) fn concurrency() -> &'static Arc<Policy> {
    static POLICY: LazyLock<Arc<Policy>> = LazyLock::new(|| load("concurrency"));
    &POLICY
}

pub(crate) fn schedule() -> &'static Arc<Policy> {
    static POLICY: LazyLock<Arc<Policy>> = LazyLock::new(|| load("schedule"));
    &POLICY
}

fn load(name: &str) -> Arc<Policy> {
    let policy = builtin().iter().find(|policy| policy.name == name).expect("it is built in");
    host().load(policy.component).expect("a built-in policy loads")
}

/// `replicas` of a deployment without any metric.
pub(crate) fn input(replicas: u32) -> Input {
    let deployment =
        Deployment { replicas, ready_replicas: replicas, min: 1, max: 100, last_scale_up: None, last_scale_down: None };
    Input {
        now: NOW,
        local: LocalTime::utc(NOW),
        step: 1000,
        deployment,
        series_start: NOW,
        config: "{}".to_owned(),
        ..Input::default()
    }
}

/// With series of 60 points, the last of them now.
pub(crate) fn with_series(mut input: Input, metrics: &[(&str, f64)]) -> Input {
    input.series_start = NOW - 59_000;
    input.series = metrics
        .iter()
        .map(|(name, value)| Series { name: (*name).to_owned(), unit: None, points: vec![*value; 60] })
        .collect();
    input
}
