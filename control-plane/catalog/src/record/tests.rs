mod rollout;

use std::time::Duration;

use outrigger_protocol::environment::VariableKind;
use outrigger_protocol::id::{
    DecisionId, DeploymentId, EnvironmentId, EventId, InstanceId, KeyId, OrganizationId, PolicyId, ProjectId,
};
use outrigger_protocol::message::ApplyStrategy;
use outrigger_protocol::probe::{HttpTarget, Port, Probe, ProbeKind, ProbeLevel, ProbeTarget};
use outrigger_protocol::time::UnixMillis;
use outrigger_scaling::{Combine, GuardConfig, GuardOutcome, GuardReport, Verdict, guard};
use proptest::prelude::*;

use super::*;
use crate::model::{
    Decision, Deployment, DeploymentSpec, DeploymentStatus, Environment, Event, EventKind, Observation, PolicyBinding,
    PolicyMode, ProposalRecord, ProposalSummary, Resources, Scrape, SealedValue,
};

fn time() -> impl Strategy<Value = UnixMillis> {
    any::<u64>().prop_map(UnixMillis::from_millis)
}

fn span() -> impl Strategy<Value = Duration> {
    any::<u64>().prop_map(Duration::from_nanos)
}

fn number() -> impl Strategy<Value = f64> {
    any::<f64>().prop_filter("finite", |number| number.is_finite())
}

macro_rules! id {
    ($kind:ty) => {
        any::<[u8; 16]>().prop_map(<$kind>::from_bytes)
    };
}

prop_compose! {
    fn guards()(
        freshness in span(),
        cooldown_up in span(),
        cooldown_down in span(),
        max_step_up: Option<u32>,
        max_step_down: Option<u32>,
    ) -> GuardConfig {
        GuardConfig { freshness, cooldown_up, cooldown_down, max_step_up, max_step_down }
    }
}

fn apply() -> impl Strategy<Value = ApplyStrategy> {
    prop_oneof![
        span().prop_map(|jitter| ApplyStrategy::Restart { jitter }),
        any::<i32>().prop_map(|signal| ApplyStrategy::Signal { signal }),
        Just(ApplyStrategy::File),
        Just(ApplyStrategy::None),
    ]
}

prop_compose! {
    fn binding()(
        name: String,
        policy in id!(PolicyId),
        config: String,
        mode in prop_oneof![Just(PolicyMode::Active), Just(PolicyMode::Shadow), Just(PolicyMode::Disabled)],
    ) -> PolicyBinding {
        PolicyBinding { name, policy, config, mode }
    }
}

fn port() -> impl Strategy<Value = Port> {
    prop_oneof![any::<u16>().prop_map(Port::Number), any::<String>().prop_map(Port::Variable)]
}

fn target() -> impl Strategy<Value = ProbeTarget> {
    let headers = proptest::collection::vec(any::<(String, String)>(), 0..3);
    let http = (any::<String>(), port(), any::<String>(), headers, any::<(u16, u16)>()).prop_map(
        |(host, port, path, headers, (first, last))| {
            ProbeTarget::Http(HttpTarget { host, port, path, headers, expected: first..=last })
        },
    );
    prop_oneof![
        http,
        (any::<String>(), port()).prop_map(|(host, port)| ProbeTarget::Tcp { host, port }),
        any::<Vec<String>>().prop_map(ProbeTarget::Command),
    ]
}

prop_compose! {
    fn probe()(
        name: String,
        kind in proptest::sample::select(ProbeKind::ALL),
        level in proptest::sample::select(ProbeLevel::ALL),
        target in target(),
        (initial_delay, period, timeout) in (span(), span(), span()),
        (success_threshold, failure_threshold) in any::<(u32, u32)>(),
    ) -> Probe {
        Probe { name, kind, level, target, initial_delay, period, timeout, success_threshold, failure_threshold }
    }
}

prop_compose! {
    fn observation()(
        scrape in proptest::option::of(any::<(Option<u16>, String)>()),
        interval in proptest::option::of(span()),
        (statsd, metrics) in any::<(bool, Vec<String>)>(),
    ) -> Observation {
        let scrape = scrape.map(|(port, path)| Scrape { port, path, interval });
        Observation { scrape, statsd, metrics }
    }
}

prop_compose! {
    fn spec()(
        (name, driver) in any::<(String, String)>(),
        project in any::<[u8; 16]>(),
        environment in any::<[u8; 16]>(),
        command: Vec<String>,
        cpu_cores in proptest::option::of(number()),
        memory_bytes: Option<u64>,
        (min_replicas, max_replicas, initial_replicas, http) in any::<(u32, u32, u32, bool)>(),
        apply in apply(),
        (start_only, bake_time, rollout) in
            (any::<Vec<String>>(), proptest::option::of(span()), rollout::settings()),
        probes in proptest::collection::vec(probe(), 0..3),
        allowed_names: Vec<String>,
        (observe, sample_interval) in (observation(), span()),
        guards in guards(),
        (combine, policies) in (
            prop_oneof![Just(Combine::Max), Just(Combine::Min), Just(Combine::Weighted)],
            proptest::collection::vec(binding(), 0..3),
        ),
    ) -> DeploymentSpec {
        DeploymentSpec {
            name,
            project: outrigger_protocol::id::ProjectId::from_bytes(project),
            environment: outrigger_protocol::id::EnvironmentId::from_bytes(environment),
            driver,
            command,
            resources: Resources { cpu_cores, memory_bytes },
            min_replicas,
            max_replicas,
            initial_replicas,
            apply,
            start_only,
            bake_time,
            rollout,
            probes,
            allowed_names,
            http,
            observe,
            sample_interval,
            guards,
            combine,
            policies,
        }
    }
}

fn status() -> impl Strategy<Value = DeploymentStatus> {
    use DeploymentStatus::{Building, Destroyed, Failed, Pending, Provisioning, Running, Stopped, Stopping};
    proptest::sample::select(vec![Pending, Provisioning, Building, Running, Stopping, Stopped, Failed, Destroyed])
}

prop_compose! {
    fn deployment()(
        id in id!(DeploymentId),
        organization in id!(OrganizationId),
        spec in spec(),
        status in status(),
        status_reason: Option<String>,
        desired_replicas: u32,
        paused: bool,
        last_scale_up in proptest::option::of(time()),
        last_scale_down in proptest::option::of(time()),
        (created_at, updated_at) in (time(), time()),
    ) -> Deployment {
        Deployment {
            id, organization, spec, status, status_reason, desired_replicas, paused, last_scale_up, last_scale_down,
            created_at, updated_at,
        }
    }
}

prop_compose! {
    fn proposal()(
        policy: String,
        digest: [u8; 32],
        shadow: bool,
        outcome in prop_oneof![
            (any::<u32>(), number(), any::<String>(), proptest::collection::vec((any::<String>(), number()), 0..4))
                .prop_map(|(desired, confidence, reason, signals)| {
                    Ok(ProposalSummary { desired, confidence, reason, signals })
                }),
            any::<String>().prop_map(Err),
        ],
        elapsed in span(),
        fuel: u64,
    ) -> ProposalRecord {
        ProposalRecord { policy, digest, shadow, outcome, elapsed, fuel }
    }
}

fn report() -> impl Strategy<Value = GuardReport> {
    let outcome = prop_oneof![
        Just(GuardOutcome::Passed),
        Just(GuardOutcome::Held),
        any::<(u32, u32)>().prop_map(|(from, to)| GuardOutcome::Clamped { from, to }),
    ];
    (proptest::sample::select(guard::NAMES.to_vec()), outcome, any::<String>())
        .prop_map(|(guard, outcome, reason)| GuardReport { guard, outcome, reason })
}

fn verdict() -> impl Strategy<Value = Verdict> {
    prop_oneof![
        any::<u32>().prop_map(|target| Verdict::Approve { target }),
        any::<(u32, u32)>().prop_map(|(asked, target)| Verdict::Clamp { asked, target }),
        Just(Verdict::Hold),
    ]
}

prop_compose! {
    fn decision()(
        (id, organization, deployment) in (id!(DecisionId), id!(OrganizationId), id!(DeploymentId)),
        at in time(),
        (from_replicas, to_replicas, repeats) in any::<(u32, u32, u64)>(),
        verdict in verdict(),
        (reason, input) in any::<(String, String)>(),
        proposals in proptest::collection::vec(proposal(), 0..3),
        guards in proptest::collection::vec(report(), 0..6),
        reaction in proptest::option::of(span()),
    ) -> Decision {
        Decision {
            id, organization, deployment, at, from_replicas, to_replicas, verdict, reason, proposals, guards, input,
            reaction, repeats,
        }
    }
}

fn event_kind() -> impl Strategy<Value = EventKind> {
    prop_oneof![
        any::<(String, String)>().prop_map(|(from, to)| EventKind::StatusChanged { from, to }),
        any::<(u32, u32)>().prop_map(|(from, to)| EventKind::ScaledUp { from, to }),
        any::<(u32, u32)>().prop_map(|(from, to)| EventKind::ScaledDown { from, to }),
        id!(InstanceId).prop_map(|instance| EventKind::InstanceCreated { instance }),
        id!(InstanceId).prop_map(|instance| EventKind::InstanceDestroyed { instance }),
        id!(InstanceId).prop_map(|instance| EventKind::InstanceLost { instance }),
        (id!(InstanceId), any::<String>())
            .prop_map(|(instance, operation)| EventKind::DriverFailed { instance, operation }),
        any::<u64>().prop_map(|generation| EventKind::ConfigPushed { generation }),
        any::<(u64, u32)>().prop_map(|(generation, instances)| EventKind::ConfigRunning { generation, instances }),
        (any::<u64>(), id!(InstanceId))
            .prop_map(|(generation, instance)| EventKind::ConfigFailed { generation, instance }),
        any::<String>().prop_map(|policy| EventKind::PolicyFaulted { policy }),
        Just(EventKind::TokenMisused),
    ]
}

prop_compose! {
    fn event()(
        (id, organization, deployment) in (id!(EventId), id!(OrganizationId), id!(DeploymentId)),
        at in time(),
        kind in event_kind(),
        message: String,
        decision in proptest::option::of(id!(DecisionId)),
    ) -> Event {
        Event { id, organization, deployment, at, kind, message, decision }
    }
}

prop_compose! {
    fn variable()(
        (generation, changed_in, is_secret, is_required, expand) in any::<(u64, u64, bool, bool, bool)>(),
        content in prop_oneof![
            Just(Content::Unset),
            any::<String>().prop_map(Content::Plain),
            (id!(KeyId), any::<u64>(), any::<Vec<u8>>()).prop_map(|(key, generation, ciphertext)| {
                Content::Sealed(SealedValue { key, generation, ciphertext })
            }),
        ],
        kind in proptest::sample::select(VariableKind::ALL.to_vec()),
        description: String,
    ) -> VariableRow {
        VariableRow { generation, changed_in, content, is_secret, is_required, kind, description, expand }
    }
}

fn round_trips<R: Record + PartialEq + std::fmt::Debug>(record: &R) -> Result<(), TestCaseError> {
    let read: R = decode(&encode(record)).map_err(|error| TestCaseError::fail(error.to_string()))?;
    prop_assert_eq!(&read, record);
    Ok(())
}

proptest! {
    #[test]
    fn deployments_read_back_as_written(deployment in deployment()) {
        round_trips(&deployment)?;
    }

    #[test]
    fn decisions_read_back_as_written_to_the_last_bit(decision in decision()) {
        round_trips(&decision)?;
    }

    #[test]
    fn events_read_back_as_written(event in event()) {
        round_trips(&event)?;
    }

    #[test]
    fn variables_read_back_as_written(variable in variable()) {
        round_trips(&variable)?;
    }

    #[test]
    fn any_bytes_read_as_a_record_or_an_error(bytes: Vec<u8>) {
        let _ = decode::<Deployment>(&bytes);
        let _ = decode::<VariableRow>(&[&[VERSION][..], &bytes].concat());
    }
}

#[test]
fn a_signal_that_is_not_known_stays_so() {
    let summary = ProposalSummary {
        desired: 1,
        confidence: 1.0,
        reason: String::new(),
        signals: vec![("latency".to_owned(), f64::NAN)],
    };
    let record = ProposalRecord {
        policy: "p".to_owned(),
        digest: [0; 32],
        shadow: false,
        outcome: Ok(summary),
        elapsed: Duration::ZERO,
        fuel: 0,
    };
    let read = ProposalRecord::from(v1::ProposalRecord::from(&record));
    let json = serde_json::to_string(&v1::ProposalRecord::from(&record)).unwrap();
    assert!(json.contains(r#"["latency",null]"#), "{json}");
    assert!(read.outcome.unwrap().signals[0].1.is_nan());
}

#[test]
fn a_version_of_the_future_and_a_field_of_the_future_are_typed_errors() {
    let row = encode(&Uses(7));
    let newer = [&[2][..], &row[1..]].concat();
    assert!(matches!(decode::<Uses>(&newer), Err(RecordError::Version { found: 2, newest: 1 })));
    assert!(matches!(decode::<Uses>(b""), Err(RecordError::Empty)));
    let extended = br#"{"encryptions":7,"since":1}"#;
    assert!(matches!(decode::<Uses>(&[&[1][..], extended].concat()), Err(RecordError::Malformed { .. })));
}

#[test]
fn a_malformed_row_does_not_quote_itself() {
    let row = [&[1][..], br#"{"encryptions":"hunter2"}"#].concat();
    let error = decode::<Uses>(&row).unwrap_err();
    assert!(!format!("{error} {error:?}").contains("hunter2"));
}

#[test]
fn the_shape_of_a_row_of_version_1_is_what_it_was_when_it_shipped() {
    let row = encode(&VariableRow {
        generation: 3,
        changed_in: 2,
        content: Content::Plain("8080".to_owned()),
        is_secret: false,
        is_required: true,
        kind: VariableKind::Number,
        description: "listening port".to_owned(),
        expand: true,
    });
    let expected = concat!(
        "\u{1}",
        r#"{"generation":3,"changedIn":2,"content":{"plain":"ODA4MA"},"isSecret":false,"isRequired":true,"#,
        r#""kind":"number","description":"listening port","expand":true}"#
    );
    assert_eq!(std::str::from_utf8(&row).unwrap(), expected);
}

#[test]
fn rows_from_before_inheritance_are_read_and_their_values_stay_literal() {
    let variable = concat!(
        "\u{1}",
        r#"{"generation":3,"changedIn":2,"content":{"plain":"ODA4MA"},"isSecret":false,"isRequired":true,"#,
        r#""kind":"number","description":"listening port"}"#
    );
    assert!(!decode::<VariableRow>(variable.as_bytes()).unwrap().expand);

    let (environment, project) = (EnvironmentId::generate(), ProjectId::generate());
    let row = format!(
        concat!(
            "\u{1}",
            r#"{{"id":"{}","project":"{}","stage":"staging","name":"main","description":"","isActive":true,"#,
            r#""generation":1,"createdAt":1,"updatedAt":2}}"#
        ),
        environment, project
    );
    assert_eq!(decode::<Environment>(row.as_bytes()).unwrap().extends, None);
    let row = format!(
        concat!(
            "\u{1}",
            r#"{{"environment":"{}","number":1,"author":"a","message":"","createdAt":1,"contentHash":"{}","#,
            r#""variables":[["PORT",1]]}}"#
        ),
        environment,
        "A".repeat(43)
    );
    let row = decode::<GenerationRow>(row.as_bytes()).unwrap();
    assert_eq!((row.extends, row.inputs, row.names), (None, Vec::new(), Vec::new()));
}

#[test]
fn a_deployment_from_before_there_were_strategies_is_rolled_out_all_at_once() {
    let mut runner = proptest::test_runner::TestRunner::deterministic();
    let tree = deployment().new_tree(&mut runner).expect("any deployment");
    let deployment = proptest::strategy::ValueTree::current(&tree);
    let mut row = serde_json::to_value(deployment.to_stored()).unwrap();
    row["spec"].as_object_mut().unwrap().remove("rollout").expect("it is written");
    let read: Deployment = decode(&[&[VERSION][..], row.to_string().as_bytes()].concat()).unwrap();
    let default = outrigger_rollout::Settings::new(outrigger_rollout::Strategy::AllAtOnce);
    assert_eq!(read.spec.rollout, default);
    assert_eq!(DeploymentSpec { rollout: deployment.spec.rollout.clone(), ..read.spec }, deployment.spec);
}

#[test]
fn a_deployment_from_before_programs_were_observed_observes_nothing() {
    let mut runner = proptest::test_runner::TestRunner::deterministic();
    let observing =
        deployment().prop_filter("observes", |deployment| deployment.spec.observe != Observation::default());
    let deployment = proptest::strategy::ValueTree::current(&observing.new_tree(&mut runner).expect("a deployment"));
    let mut row = serde_json::to_value(deployment.to_stored()).unwrap();
    row["spec"].as_object_mut().unwrap().remove("observe").expect("it is written");
    let read: Deployment = decode(&[&[VERSION][..], row.to_string().as_bytes()].concat()).unwrap();
    assert_eq!(read.spec.observe, Observation::default());
}
