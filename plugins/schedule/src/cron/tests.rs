use proptest::prelude::*;

use super::{Cron, Moment, days_of};

fn cron(text: &str) -> Cron {
    text.parse().expect("it is a cron expression")
}

const fn at(year: i32, month: u8, day: u8, hour: u16, minute: u16) -> Moment {
    Moment { year, month, day, minute: hour * 60 + minute }
}

/// 21 November 2026, a Saturday.
const NOW: Moment = at(2026, 11, 21, 14, 30);
const SATURDAY: u8 = 6;

#[test]
fn the_last_occurrence_is_found() {
    for (text, expected) in [
        ("* * * * *", at(2026, 11, 21, 14, 30)),
        ("30 14 * * *", at(2026, 11, 21, 14, 30)),
        ("31 14 * * *", at(2026, 11, 20, 14, 31)),
        ("45 * * * *", at(2026, 11, 21, 13, 45)),
        ("*/20 * * * *", at(2026, 11, 21, 14, 20)),
        ("10/25 8-12/2 * * *", at(2026, 11, 21, 12, 35)),
        ("0 8 * * 1-5", at(2026, 11, 20, 8, 0)),
        ("0 8 * * mon-FRI", at(2026, 11, 20, 8, 0)),
        ("0 8 * * sat", at(2026, 11, 21, 8, 0)),
        ("0 18 * * 6", at(2026, 11, 14, 18, 0)),
        ("0 8 * * 0", at(2026, 11, 15, 8, 0)),
        ("0 8 * * 7", at(2026, 11, 15, 8, 0)),
        ("0 0 1 * *", at(2026, 11, 1, 0, 0)),
        ("0 0 31 * *", at(2026, 10, 31, 0, 0)),
        ("0 0 24 dec *", at(2025, 12, 24, 0, 0)),
        ("0 0 29 2 *", at(2024, 2, 29, 0, 0)),
        ("59 23 31 12 *", at(2025, 12, 31, 23, 59)),
        ("5,10,50 1,23 * * *", at(2026, 11, 21, 1, 50)),
    ] {
        assert_eq!(cron(text).last(NOW, SATURDAY), Some(expected), "{text}");
    }
}

#[test]
fn of_two_restricted_kinds_of_day_either_will_do() {
    assert_eq!(cron("0 0 13 * 5").last(NOW, SATURDAY), Some(at(2026, 11, 20, 0, 0)));
    assert_eq!(cron("0 0 18 * 2").last(NOW, SATURDAY), Some(at(2026, 11, 18, 0, 0)));
    assert_eq!(cron("0 0 */2 * 5").last(NOW, SATURDAY), Some(at(2026, 11, 13, 0, 0)), "a star does not restrict");
}

#[test]
fn a_leap_day_is_found_across_a_century_that_has_none() {
    assert_eq!(cron("0 0 29 2 *").last(at(2104, 2, 28, 12, 0), 4), Some(at(2096, 2, 29, 0, 0)));
    assert_eq!([days_of(2000, 2), days_of(2100, 2), days_of(2024, 2), days_of(2025, 2)], [29, 28, 29, 28]);
}

#[test]
fn what_is_no_cron_expression_is_refused_in_words() {
    for (text, words) in [
        ("", "expected five fields"),
        ("* * * *", "expected five fields"),
        ("0 0 8 * * *", "expected five fields"),
        ("60 * * * *", "`60` is no minute: expected a number from 0 to 59"),
        ("0 24 * * *", "no hour"),
        ("0 0 0 * *", "no day of the month: expected a number from 1 to 31"),
        ("0 0 1 13 *", "no month"),
        ("0 0 * * 8", "no day of the week"),
        ("0 0 * * monday", "no day of the week"),
        ("0 0 * * fri-mon", "the range ends before it begins"),
        ("*/0 * * * *", "the step must be a whole number from 1"),
        ("+5 * * * *", "no minute"),
        ("1,,2 * * * *", "no minute"),
        ("0 0 30 2 *", "no month of `2` has a day of `30`"),
        ("0 0 31 4,6 *", "no month of `4,6`"),
    ] {
        let error = text.parse::<Cron>().expect_err(text).to_string();
        assert!(error.contains(words), "{text}: {error}");
    }
}

#[test]
fn a_moment_is_within_reach_of_an_earlier_one_across_midnight() {
    assert!(at(2026, 1, 1, 0, 10).is_within(60, at(2025, 12, 31, 23, 20)));
    assert!(!at(2026, 1, 1, 0, 10).is_within(60, at(2025, 12, 31, 23, 0)));
    assert!(!NOW.is_within(60, at(2026, 11, 21, 14, 31)), "later is not earlier");
    assert!(!Moment { minute: u16::MAX, ..NOW }.is_within(u16::MAX, NOW), "there is no such minute");
}

proptest! {
    #[test]
    fn an_occurrence_is_never_later_than_now_and_repeats_itself(
        minute in 0..60_u8, hour in 0..24_u8, day in 1..=28_u8, now in 0..1440_u16, weekday in 1..=7_u8,
    ) {
        let cron = cron(&format!("{minute} {hour} {day} * *"));
        let now = Moment { minute: now, ..NOW };
        let last = cron.last(now, weekday).expect("each month has that day");
        prop_assert!(last <= now);
        prop_assert_eq!(cron.last(last, 1), Some(last));
    }

    #[test]
    fn no_text_makes_it_fail(text in "[0-9a-z*/,\\- ]{0,40}") {
        if let Ok(cron) = text.parse::<Cron>() {
            prop_assert!(cron.last(NOW, SATURDAY).is_none_or(|last| last <= NOW));
        }
    }
}
