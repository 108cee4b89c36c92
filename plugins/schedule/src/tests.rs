use outrigger_policy_sdk::testing::input;
use outrigger_policy_sdk::{Input, LocalTime, Policy, Problems, Proposal, configuration};

use super::Schedule;

const OFFICE: &str = r#"{ "windows": [{ "name": "office", "start": "0 8 * * 1-5", "end": "30 18 * * 1-5", "replicas": 6 }],
                          "otherwise": 2 }"#;

fn decide(config: &str, input: &Input) -> Proposal {
    let config = configuration::<Schedule>(config).expect("the configuration parses");
    Schedule::decide(&config, input).expect("the policy decides")
}

/// A moment of November 2026; the 21st is a Saturday.
fn at(day: u8, hour: u8, minute: u8) -> Input {
    let weekday = if day % 7 == 1 { 7 } else { (day + 6) % 7 };
    let local = LocalTime { year: 2026, month: 11, day, weekday, hour, minute, second: 30, utc_offset_seconds: 0 };
    Input { local, ..input(3) }
}

#[test]
fn a_window_asks_while_it_is_open() {
    for (day, hour, minute, replicas) in
        [(20, 7, 59, 2), (20, 8, 0, 6), (20, 18, 29, 6), (20, 18, 30, 2), (21, 12, 0, 2), (23, 7, 59, 2), (23, 8, 0, 6)]
    {
        let proposal = decide(OFFICE, &at(day, hour, minute));
        assert_eq!(proposal.replicas, replicas, "{day} {hour}:{minute}: {}", proposal.reason);
    }
    let open = decide(OFFICE, &at(20, 12, 0));
    assert_eq!((open.reason.as_str(), open.confidence), ("`office` asks for 6", 1.0));
    assert_eq!(open.signals, [("windows.open".to_owned(), 1.0)]);
    assert_eq!(decide(OFFICE, &at(21, 12, 0)).reason, "no window is open, which asks for 2");
}

#[test]
fn a_window_may_last_over_midnight_and_over_days() {
    let night = OFFICE.replace("0 8 * * 1-5", "0 22 * * *").replace("30 18 * * 1-5", "0 6 * * *");
    assert_eq!(
        [(20, 21), (20, 22), (21, 5), (21, 6)].map(|(day, hour)| decide(&night, &at(day, hour, 0)).replicas),
        [2, 6, 6, 2]
    );
    let weekend = OFFICE.replace("0 8 * * 1-5", "0 18 * * fri").replace("30 18 * * 1-5", "0 6 * * mon");
    assert_eq!(
        [(20, 17), (20, 18), (22, 12), (23, 6)].map(|(day, hour)| decide(&weekend, &at(day, hour, 0)).replicas),
        [2, 6, 6, 2]
    );
}

#[test]
fn of_several_the_one_that_asks_for_most_counts() {
    let config = r#"{ "windows": [
        { "name": "day", "start": "0 6 * * *", "end": "0 22 * * *", "replicas": 4 },
        { "name": "lunch", "start": "0 11 * * *", "end": "0 13 * * *", "replicas": 9 }] }"#;
    assert_eq!([5, 6, 12, 13, 22].map(|hour| decide(config, &at(20, hour, 0)).replicas), [0, 4, 9, 4, 0]);
    assert_eq!(decide(config, &at(20, 12, 0)).reason, "`lunch` asks for 9, more than `day` for 4");
}

#[test]
fn the_hour_that_is_repeated_when_the_clocks_are_put_back_repeats_nothing() {
    let early = OFFICE.replace("0 8 * * 1-5", "30 2 * * *").replace("30 18 * * 1-5", "0 9 * * *");
    let before = decide(&early, &at(20, 2, 59));
    assert_eq!(before.replicas, 6);
    let again = decide(&early, &at(20, 2, 0).with_state(&before.state));
    assert_eq!(again.replicas, 6, "it has begun already");
    assert_eq!(again.state, before.state);
    assert_eq!(decide(&early, &at(20, 9, 0).with_state(&again.state)).replicas, 2);
    assert_eq!(decide(&early, &at(19, 2, 0).with_state(&before.state)).replicas, 2, "a day is no summer time");
}

#[test]
fn a_state_of_somebody_else_is_forgotten() {
    let no_minute = [2026_i32.to_le_bytes().as_slice(), &[11, 20, 255, 255, 5]].concat();
    for state in [b"\xffnonsense".as_slice(), b"{}", b"\0\0\0\0\0\0\0\0\0", &no_minute] {
        assert_eq!(decide(OFFICE, &at(20, 12, 0).with_state(state)).replicas, 6);
    }
}

#[test]
fn a_local_time_out_of_range_does_not_make_it_fail() {
    let local = LocalTime {
        year: i32::MIN,
        month: 0,
        day: 0,
        weekday: 0,
        hour: 255,
        minute: 255,
        second: 0,
        utc_offset_seconds: 0,
    };
    assert!(decide(OFFICE, &Input { local, ..input(3) }).replicas <= 6);
}

#[test]
fn every_problem_of_a_configuration_is_named() {
    let paths = |config: &str| -> Vec<String> {
        let config = configuration::<Schedule>(config).expect("the configuration parses");
        let mut problems = Problems::default();
        Schedule::check(&config, &mut problems);
        problems.into_result().err().unwrap_or_default().into_iter().map(|one| one.path).collect()
    };
    assert_eq!(paths(OFFICE), [""; 0]);
    assert_eq!(paths(r#"{ "windows": [] }"#), ["/windows"]);
    let bad = r#"{ "windows": [{ "name": "a", "start": "0 8 * * *", "end": "0 08 * * *", "replicas": 4000000000 },
                               { "name": "a", "start": "0 8 * * *", "end": "0 9 * * *", "replicas": 1 }],
                   "otherwise": 2000000 }"#;
    assert_eq!(paths(bad), ["/otherwise", "/windows/0/replicas", "/windows/0/end", "/windows/1/name"]);
    let error = configuration::<Schedule>(&OFFICE.replace("0 8", "0 25")).expect_err("there is no such hour");
    assert!(
        error.contains("`0 25 * * 1-5` is no cron expression: `25` is no hour: expected a number from 0 to 23"),
        "{error}"
    );
}
