//! How often samples come, and that it changes without a restart and without a loss.

use std::time::Duration;

use outrigger_protocol::message::{AgentSettings, ServerMessage};

use crate::plane::{Plane, plain, restart_at_once, settings};
use crate::sandbox::Sandbox;

fn paced(interval: Duration) -> AgentSettings {
    AgentSettings { sample_interval: interval, ..settings(restart_at_once()) }
}

/// Waits until so many samples have come that are `interval` apart, each from the one before.
fn wait_for_pace(plane: &Plane, interval: Duration, count: usize) {
    let interval = u64::try_from(interval.as_millis()).unwrap();
    let is_paced = |gap: u64| gap >= interval * 9 / 10 && gap <= interval * 13 / 10;
    plane.wait(&format!("{count} samples {interval} ms apart"), |seen| {
        let gaps = seen.samples.windows(2).map(|pair| pair[1].at.as_millis().saturating_sub(pair[0].at.as_millis()));
        (gaps.filter(|gap| is_paced(*gap)).count() >= count).then_some(())
    });
}

#[test]
fn the_pace_changes_while_the_program_runs_and_every_sample_arrives_once_and_in_order() {
    let plane = Plane::offering(vec![plain("A", "1")]);
    plane.allow(paced(Duration::from_secs(60)));
    let sandbox = Sandbox::new(&plane);
    let agent = sandbox.start(&[], "echo started; exec sleep 60");
    agent.expect_line("started");

    // From a minute at once, to a longer one after the sample that is due anyway, and below the least there is.
    for (asked, paced_at) in [(100, 100), (300, 300), (200, 200), (1, 100)] {
        plane.say(&ServerMessage::Settings(paced(Duration::from_millis(asked))));
        wait_for_pace(&plane, Duration::from_millis(paced_at), 3);
    }

    let (ids, times) = {
        let seen = plane.seen();
        let times: Vec<_> = seen.samples.iter().map(|sample| sample.at.as_millis()).collect();
        (seen.batches.clone(), times)
    };
    let numbers: Vec<_> = ids.iter().map(|id| id.seq).collect();
    assert_eq!(numbers, (1..=numbers.len() as u64).collect::<Vec<_>>(), "no batch is missing");
    assert!(times.is_sorted(), "{times:?}");
    let status = String::from_utf8(sandbox.status("json").stdout).unwrap();
    let status: serde_json::Value = serde_json::from_str(&status).unwrap();
    assert_eq!(status["spool"]["samplesDropped"], 0, "{status}");
    let rest = agent.stop();
    assert_eq!(rest.stdout, b"", "the program was started once");
}
