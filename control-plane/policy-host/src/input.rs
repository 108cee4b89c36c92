//! What a policy reads: the `input` record of `outrigger:policy/types`, as the rest of the control plane builds it.
//!
//! An input is checked by [`Input::check`] before it reaches a guest, because its parts come from agents, operators
//! and files. The units and meanings are those of `wit/policy.wit`, which is the contract.

use std::collections::HashSet;

use crate::limits::{CONFIG_BYTES, INPUT_BYTES, STATE_BYTES};

/// Everything a policy may know about one deployment at one moment.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Input {
    /// The moment of the decision, Unix milliseconds.
    pub now: u64,
    /// The same moment in the zone of the policy's binding.
    pub local: LocalTime,
    /// Milliseconds between two points of `series`; never 0.
    pub step: u64,
    pub deployment: Deployment,
    /// When the first point of every series was taken, Unix milliseconds.
    pub series_start: u64,
    /// Recent metrics at full resolution; all of one length.
    pub series: Vec<Series>,
    pub instances: Instances,
    /// When the first point of every history series was taken, Unix milliseconds.
    pub history_start: u64,
    /// Milliseconds between two points of `history`; never 0 when there is any.
    pub history_step: u64,
    /// Metrics further back and coarser; all of one length.
    pub history: Vec<Series>,
    /// Prices by name, such as `replica-hour`.
    pub prices: Vec<(String, f64)>,
    /// The policy's configuration, a JSON object.
    pub config: String,
    /// Labels of the deployment.
    pub labels: Vec<(String, String)>,
    /// What the previous proposal left; at most [`STATE_BYTES`].
    pub state: Vec<u8>,
}

/// A point in time as a clock on the wall shows it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct LocalTime {
    pub year: i32,
    /// 1 to 12.
    pub month: u8,
    /// 1 to 31.
    pub day: u8,
    /// 1 (Monday) to 7 (Sunday).
    pub weekday: u8,
    pub hour: u8,
    pub minute: u8,
    pub second: u8,
    /// Seconds east of UTC.
    pub utc_offset_seconds: i32,
}

impl LocalTime {
    /// What the clocks of `zone` show at `now` (Unix milliseconds). A moment past the year 9999 reads as its last.
    #[must_use]
    pub fn in_zone(now: u64, zone: &jiff::tz::TimeZone) -> Self {
        let timestamp = i64::try_from(now)
            .ok()
            .and_then(|ms| jiff::Timestamp::from_millisecond(ms).ok())
            .unwrap_or(jiff::Timestamp::MAX);
        let zoned = timestamp.to_zoned(zone.clone());
        Self {
            year: i32::from(zoned.year()),
            month: zoned.month().unsigned_abs(),
            day: zoned.day().unsigned_abs(),
            weekday: zoned.weekday().to_monday_one_offset().unsigned_abs(),
            hour: zoned.hour().unsigned_abs(),
            minute: zoned.minute().unsigned_abs(),
            second: zoned.second().unsigned_abs(),
            utc_offset_seconds: zoned.offset().seconds(),
        }
    }

    /// What clocks that show UTC say at `now` (Unix milliseconds).
    #[must_use]
    pub fn utc(now: u64) -> Self {
        Self::in_zone(now, &jiff::tz::TimeZone::UTC)
    }
}

/// The deployment whose size is in question.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Deployment {
    /// Replicas that are asked for now.
    pub replicas: u32,
    /// Of those, the ones that pass their readiness probe.
    pub ready_replicas: u32,
    pub min: u32,
    pub max: u32,
    /// Unix milliseconds.
    pub last_scale_up: Option<u64>,
    /// Unix milliseconds.
    pub last_scale_down: Option<u64>,
}

/// One metric over time. `name` is the mean over the ready instances; `name.max` and `name.sum` the largest and the
/// total.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Series {
    pub name: String,
    /// The unit's name in the registry of metrics (`percent`, `1/s`, …); absent where nobody declared one.
    pub unit: Option<String>,
    /// Oldest first, NaN where nothing is known. An infinity reaches the policy as NaN.
    pub points: Vec<f64>,
}

/// The latest value of one metric per instance, in the order of [`Instances::ids`].
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Column {
    pub name: String,
    /// NaN where the instance has not reported it.
    pub values: Vec<f64>,
}

/// The instances as columns, all of one length.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Instances {
    pub ids: Vec<String>,
    pub ready: Vec<bool>,
    /// Milliseconds since each was started.
    pub age_ms: Vec<u64>,
    pub latest: Vec<Column>,
}

/// An input that no policy should be asked about.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InputError {
    #[error("`{field}` must not be 0")]
    Zero { field: &'static str },
    #[error("`{field}` names `{name}` twice")]
    Duplicate { field: &'static str, name: String },
    #[error("`{field}` has {found} entries where {expected} are needed: columns of one table must be of one length")]
    Ragged { field: String, found: usize, expected: usize },
    #[error("`deployment.min` is {min} and above `deployment.max`, which is {max}")]
    Limits { min: u32, max: u32 },
    #[error("`{field}` is {found} bytes; at most {limit} are accepted")]
    TooLarge { field: &'static str, found: usize, limit: usize },
}

impl Input {
    /// Whether the parts fit together and stay within the limits of this host.
    ///
    /// # Errors
    /// Names the first field that does not.
    pub fn check(&self) -> Result<(), InputError> {
        if self.step == 0 {
            return Err(InputError::Zero { field: "step" });
        }
        if self.history_step == 0 && !self.history.is_empty() {
            return Err(InputError::Zero { field: "historyStep" });
        }
        if self.deployment.min > self.deployment.max {
            return Err(InputError::Limits { min: self.deployment.min, max: self.deployment.max });
        }
        check_series("series", &self.series)?;
        check_series("history", &self.history)?;
        self.instances.check()?;
        at_most("config", self.config.len(), CONFIG_BYTES)?;
        at_most("state", self.state.len(), STATE_BYTES)?;
        at_most("input", self.size(), INPUT_BYTES)
    }

    /// How many values a guest is handed in lists that grow with the metrics and the instances.
    pub(crate) fn values(&self) -> usize {
        let series = |list: &[Series]| list.iter().map(|one| one.points.len()).sum::<usize>();
        // Beside its metrics, an instance has an id, a readiness and an age.
        let instances = self.instances.ids.len().saturating_mul(3 + self.instances.latest.len());
        series(&self.series) + series(&self.history) + instances
    }

    /// Roughly the bytes this takes in a guest's memory.
    fn size(&self) -> usize {
        let series = |list: &[Series]| list.iter().map(|one| one.name.len() + 8 * one.points.len() + 32).sum::<usize>();
        let columns: usize = self.instances.latest.iter().map(|one| one.name.len() + 8 * one.values.len() + 16).sum();
        let rows: usize = self.instances.ids.iter().map(|id| id.len() + 8 + 1 + 8).sum();
        let labels: usize = self.labels.iter().map(|(name, value)| name.len() + value.len() + 16).sum();
        let prices: usize = self.prices.iter().map(|(name, _)| name.len() + 16).sum();
        series(&self.series)
            + series(&self.history)
            + columns
            + rows
            + labels
            + prices
            + self.config.len()
            + self.state.len()
    }
}

impl Instances {
    fn check(&self) -> Result<(), InputError> {
        let rows = self.ids.len();
        same_length("instances.ready", self.ready.len(), rows)?;
        same_length("instances.ageMs", self.age_ms.len(), rows)?;
        unique("instances.ids", self.ids.iter())?;
        unique("instances.latest", self.latest.iter().map(|column| &column.name))?;
        for column in &self.latest {
            if column.values.len() != rows {
                let field = format!("instances.latest[{}]", column.name);
                return Err(InputError::Ragged { field, found: column.values.len(), expected: rows });
            }
        }
        Ok(())
    }
}

fn check_series(field: &'static str, list: &[Series]) -> Result<(), InputError> {
    unique(field, list.iter().map(|one| &one.name))?;
    let expected = list.first().map_or(0, |one| one.points.len());
    match list.iter().find(|one| one.points.len() != expected) {
        Some(odd) => {
            Err(InputError::Ragged { field: format!("{field}[{}]", odd.name), found: odd.points.len(), expected })
        }
        None => Ok(()),
    }
}

fn same_length(field: &str, found: usize, expected: usize) -> Result<(), InputError> {
    if found == expected { Ok(()) } else { Err(InputError::Ragged { field: field.to_owned(), found, expected }) }
}

fn unique<'a>(field: &'static str, names: impl Iterator<Item = &'a String>) -> Result<(), InputError> {
    let mut seen = HashSet::new();
    for name in names {
        if !seen.insert(name) {
            return Err(InputError::Duplicate { field, name: name.clone() });
        }
    }
    Ok(())
}

fn at_most(field: &'static str, found: usize, limit: usize) -> Result<(), InputError> {
    if found <= limit { Ok(()) } else { Err(InputError::TooLarge { field, found, limit }) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn series(name: &str, points: usize) -> Series {
        Series { name: name.to_owned(), unit: None, points: vec![0.0; points] }
    }

    #[test]
    fn an_input_whose_parts_fit_is_accepted() {
        let input = Input { step: 1000, series: vec![series("cpu", 3), series("memory", 3)], ..Input::default() };
        assert_eq!(input.check(), Ok(()));
    }

    #[test]
    fn columns_of_different_length_are_refused_by_name() {
        let input = Input { step: 1000, series: vec![series("cpu", 3), series("memory", 2)], ..Input::default() };
        assert_eq!(
            input.check(),
            Err(InputError::Ragged { field: "series[memory]".to_owned(), found: 2, expected: 3 })
        );
        let instances = Instances { ids: vec!["a".to_owned()], ready: vec![true], ..Instances::default() };
        let input = Input { step: 1000, instances, ..Input::default() };
        assert_eq!(
            input.check(),
            Err(InputError::Ragged { field: "instances.ageMs".to_owned(), found: 0, expected: 1 })
        );
    }

    #[test]
    fn a_step_of_zero_a_repeated_name_and_crossed_limits_are_refused() {
        assert_eq!(Input::default().check(), Err(InputError::Zero { field: "step" }));
        let twice = Input { step: 1, series: vec![series("cpu", 1), series("cpu", 1)], ..Input::default() };
        assert_eq!(twice.check(), Err(InputError::Duplicate { field: "series", name: "cpu".to_owned() }));
        let deployment = Deployment { min: 3, max: 2, ..Deployment::default() };
        let crossed = Input { step: 1, deployment, ..Input::default() };
        assert_eq!(crossed.check(), Err(InputError::Limits { min: 3, max: 2 }));
    }

    #[test]
    fn an_input_beyond_the_limit_never_reaches_a_guest() {
        let input = Input { step: 1, state: vec![0; STATE_BYTES + 1], ..Input::default() };
        assert!(matches!(input.check(), Err(InputError::TooLarge { field: "state", .. })));
        let input = Input { step: 1, series: vec![series("cpu", INPUT_BYTES / 8)], ..Input::default() };
        assert!(matches!(input.check(), Err(InputError::TooLarge { field: "input", .. })));
    }

    #[test]
    fn local_time_is_what_the_wall_clock_of_the_zone_shows() {
        // 2024-02-29T23:30:00Z, a Thursday.
        let now = 1_709_249_400_000;
        let utc = LocalTime::utc(now);
        assert_eq!((utc.year, utc.month, utc.day, utc.weekday, utc.hour, utc.minute), (2024, 2, 29, 4, 23, 30));
        let east = LocalTime::in_zone(now, &jiff::tz::TimeZone::fixed(jiff::tz::offset(1)));
        assert_eq!((east.month, east.day, east.weekday, east.hour, east.utc_offset_seconds), (3, 1, 5, 0, 3600));
    }
}
