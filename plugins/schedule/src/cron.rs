//! Cron expressions of five fields, on the calendar of the local time that the input tells.

use std::fmt;
use std::str::FromStr;

use outrigger_policy_sdk::LocalTime;
use serde::{Deserialize, Deserializer};

/// How far back an occurrence is looked for: longer than from one 29 February to the next, the turn of a century included.
const DAYS_BACK: u32 = 8 * 366;

/// When something happens: minute, hour, day of the month, month, day of the week.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cron {
    minutes: Set,
    hours: Set,
    days: Set,
    months: Set,
    weekdays: Set,
    /// Whether both kinds of day are restricted; then either will do, as in every cron since Vixie's.
    either_day: bool,
}

/// A minute of the local calendar, to be compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Moment {
    year: i32,
    month: u8,
    day: u8,
    /// Of the day, 0 to 1439.
    minute: u16,
}

/// Numbers below 64.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Set(u64);

/// A field: its name, its least and largest number, and names for numbers from the least on.
struct Field {
    name: &'static str,
    least: u8,
    most: u8,
    names: &'static [&'static str],
}

const MINUTE: Field = Field { name: "minute", least: 0, most: 59, names: &[] };
const HOUR: Field = Field { name: "hour", least: 0, most: 23, names: &[] };
const DAY: Field = Field { name: "day of the month", least: 1, most: 31, names: &[] };
const MONTH: Field = Field {
    name: "month",
    least: 1,
    most: 12,
    names: &["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"],
};
/// Sunday is 0 and 7.
const WEEKDAY: Field =
    Field { name: "day of the week", least: 0, most: 7, names: &["sun", "mon", "tue", "wed", "thu", "fri", "sat"] };

/// A text that is not a cron expression, in words.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ParseCronError(String);

impl fmt::Display for ParseCronError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for ParseCronError {}

impl FromStr for Cron {
    type Err = ParseCronError;

    fn from_str(text: &str) -> Result<Self, ParseCronError> {
        let fields: Vec<&str> = text.split_ascii_whitespace().collect();
        let [minute, hour, day, month, weekday] = fields[..] else {
            let message = "expected five fields: minute, hour, day of the month, month, day of the week";
            return Err(ParseCronError(message.to_owned()));
        };
        let weekdays = WEEKDAY.parse(weekday)?;
        // Sunday by either of its numbers.
        let weekdays = if weekdays.has(7) { Set(weekdays.0 | 1) } else { weekdays };
        let cron = Self {
            minutes: MINUTE.parse(minute)?,
            hours: HOUR.parse(hour)?,
            days: DAY.parse(day)?,
            months: MONTH.parse(month)?,
            weekdays,
            either_day: !day.starts_with('*') && !weekday.starts_with('*'),
        };
        if !cron.either_day && !cron.has_a_date() {
            return Err(ParseCronError(format!("no month of `{month}` has a day of `{day}`")));
        }
        Ok(cron)
    }
}

impl<'de> Deserialize<'de> for Cron {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map_err(|error| serde::de::Error::custom(format_args!("`{text}` is no cron expression: {error}")))
    }
}

impl Cron {
    /// The last occurrence up to now; `None` if there was none in years.
    pub(crate) fn last(&self, now: Moment, weekday: u8) -> Option<Moment> {
        let mut day = Moment { minute: 0, ..now };
        // From 1 (Monday) to 7 (Sunday), as in the input.
        let mut weekday = weekday;
        for back in 0..DAYS_BACK {
            if self.is_on(day, weekday) {
                let latest = if back == 0 { now.minute } else { 24 * 60 - 1 };
                if let Some(minute) = self.last_minute(latest) {
                    return Some(Moment { minute, ..day });
                }
            }
            day = day.day_before();
            weekday = if weekday <= 1 { 7 } else { weekday - 1 };
        }
        None
    }

    fn is_on(&self, day: Moment, weekday: u8) -> bool {
        let (by_date, by_weekday) = (self.days.has(day.day), self.weekdays.has(weekday % 7));
        let is_day = if self.either_day { by_date || by_weekday } else { by_date && by_weekday };
        self.months.has(day.month) && is_day
    }

    /// The last minute of a day up to one of its minutes.
    fn last_minute(&self, latest: u16) -> Option<u16> {
        let [hour, minute] = [latest / 60, latest % 60];
        if let (true, Some(minute)) = (self.hours.has_number(hour), self.minutes.up_to(minute)) {
            return Some(hour * 60 + minute);
        }
        let hour = self.hours.up_to(hour.checked_sub(1)?)?;
        self.minutes.up_to(59).map(|minute| hour * 60 + minute)
    }

    /// Whether any month that is named has any day that is named, as 30 February has not.
    fn has_a_date(&self) -> bool {
        (1..=12).filter(|month| self.months.has(*month)).any(|month| {
            // A leap year, so that 29 February is a date.
            (1..=days_of(2024, month)).any(|day| self.days.has(day))
        })
    }
}

impl Moment {
    /// The minute that a local time lies in; what is out of range is brought into it.
    pub(crate) fn of(local: &LocalTime) -> Self {
        Self {
            year: local.year,
            month: local.month.clamp(1, 12),
            day: local.day.clamp(1, 31),
            minute: u16::from(local.hour.min(23)) * 60 + u16::from(local.minute.min(59)),
        }
    }

    /// As bytes, for the state.
    pub(crate) fn to_bytes(self) -> [u8; 8] {
        let ([a, b, c, d], [low, high]) = (self.year.to_le_bytes(), self.minute.to_le_bytes());
        [a, b, c, d, self.month, self.day, low, high]
    }

    /// The other way round. Whatever the bytes are, it is some moment.
    pub(crate) const fn from_bytes([a, b, c, d, month, day, low, high]: [u8; 8]) -> Self {
        Self { year: i32::from_le_bytes([a, b, c, d]), month, day, minute: u16::from_le_bytes([low, high]) }
    }

    /// Whether this is at most so many minutes after another.
    pub(crate) fn is_within(self, minutes: u16, earlier: Self) -> bool {
        let midnight = |moment: Self| Self { minute: 0, ..moment };
        let passed = if midnight(self) == midnight(earlier) {
            self.minute.checked_sub(earlier.minute)
        } else if midnight(self).day_before() == midnight(earlier) {
            self.minute.saturating_add(24 * 60).checked_sub(earlier.minute)
        } else {
            None
        };
        self.minute < 24 * 60 && passed.is_some_and(|passed| passed <= minutes)
    }

    fn day_before(self) -> Self {
        match (self.month, self.day) {
            (1, 0..=1) => Self { year: self.year.saturating_sub(1), month: 12, day: 31, ..self },
            (month, 0..=1) => Self { month: month - 1, day: days_of(self.year, month - 1), ..self },
            (_, day) => Self { day: day - 1, ..self },
        }
    }
}

const fn days_of(year: i32, month: u8) -> u8 {
    match month {
        4 | 6 | 9 | 11 => 30,
        2 if year % 4 == 0 && (year % 100 != 0 || year % 400 == 0) => 29,
        2 => 28,
        _ => 31,
    }
}

impl Set {
    const fn has(self, number: u8) -> bool {
        number < 64 && self.0 & (1 << number) != 0
    }

    fn has_number(self, number: u16) -> bool {
        u8::try_from(number).is_ok_and(|number| self.has(number))
    }

    /// Its largest number up to one, which is below 64.
    fn up_to(self, most: u16) -> Option<u16> {
        (0..=most).rev().find(|number| self.has_number(*number))
    }
}

impl Field {
    fn parse(&self, text: &str) -> Result<Set, ParseCronError> {
        text.split(',').try_fold(Set(0), |set, part| Ok(Set(set.0 | self.part(part)?.0)))
    }

    /// `*`, `5`, `1-5`, each with `/2` or without.
    fn part(&self, text: &str) -> Result<Set, ParseCronError> {
        let wrong = |what: &str| ParseCronError(format!("`{text}` is no {}: {what}", self.name));
        let (range, step) = match text.split_once('/') {
            Some((range, step)) => {
                let step = step.parse::<u8>().ok().filter(|step| *step > 0);
                (range, Some(step.ok_or_else(|| wrong("the step must be a whole number from 1 to 255"))?))
            }
            None => (text, None),
        };
        let number = |text: &str| {
            let span = format!("expected a number from {} to {}", self.least, self.most);
            self.number(text).ok_or_else(|| wrong(&span))
        };
        let (first, last) = match range.split_once('-') {
            _ if range == "*" => (self.least, self.most),
            Some((first, last)) => (number(first)?, number(last)?),
            None => {
                let first = number(range)?;
                // With a step, one number begins a range that is open.
                (first, if step.is_some() { self.most } else { first })
            }
        };
        if first > last {
            return Err(wrong("the range ends before it begins"));
        }
        let numbers = (first..=last).step_by(usize::from(step.unwrap_or(1)));
        Ok(Set(numbers.fold(0, |set, number| set | 1 << number)))
    }

    fn number(&self, text: &str) -> Option<u8> {
        let named = (self.least..).zip(self.names).find(|(_, name)| name.eq_ignore_ascii_case(text));
        let number = match named {
            Some((number, _)) => number,
            None if text.bytes().all(|byte| byte.is_ascii_digit()) => text.parse().ok()?,
            None => return None,
        };
        (self.least..=self.most).contains(&number).then_some(number)
    }
}

#[cfg(test)]
mod tests;
