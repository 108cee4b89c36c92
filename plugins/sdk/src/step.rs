//! How far to go at once: `2` replicas, or `"50%"` of those there are.

use std::fmt;

use serde::de::{Error, Visitor};
use serde::{Deserialize, Deserializer};

/// A number of replicas, or a share of them. In a JSON Schema:
/// `{ "oneOf": [{ "type": "integer", "minimum": 1 }, { "type": "string", "pattern": "^[1-9][0-9]{0,3}%$" }] }`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    Count(u32),
    Percent(u32),
}

impl Step {
    /// The replicas that this adds to `replicas`: a share is rounded up, and is at least 1.
    pub fn up(self, replicas: u32) -> u32 {
        match self {
            Self::Count(count) => count,
            Self::Percent(percent) => share(replicas, percent, 99).max(1),
        }
    }

    /// The replicas that this takes from `replicas`, never more than there are: a share is rounded down, and is at
    /// least 1.
    pub fn down(self, replicas: u32) -> u32 {
        let step = match self {
            Self::Count(count) => count,
            Self::Percent(percent) => share(replicas, percent, 0).max(1),
        };
        step.min(replicas)
    }
}

/// `(replicas * percent + carry) / 100`, at most what fits.
fn share(replicas: u32, percent: u32, carry: u64) -> u32 {
    let share = (u64::from(replicas) * u64::from(percent)).saturating_add(carry) / 100;
    u32::try_from(share).unwrap_or(u32::MAX)
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Count(count) => write!(f, "{count}"),
            Self::Percent(percent) => write!(f, "{percent}%"),
        }
    }
}

impl<'de> Deserialize<'de> for Step {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct StepVisitor;

        impl Visitor<'_> for StepVisitor {
            type Value = Step;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a number of replicas from 1, or a share such as \"50%\"")
            }

            fn visit_u64<E: Error>(self, count: u64) -> Result<Step, E> {
                match u32::try_from(count) {
                    Ok(count) if count > 0 => Ok(Step::Count(count)),
                    _ => Err(E::custom(format_args!("a step of {count} is not possible: it starts at 1"))),
                }
            }

            fn visit_str<E: Error>(self, text: &str) -> Result<Step, E> {
                match text.strip_suffix('%').and_then(|number| number.parse().ok()) {
                    Some(percent) if percent > 0 => Ok(Step::Percent(percent)),
                    _ => Err(E::custom(format_args!("`{text}` is not a step: write 2, or \"50%\""))),
                }
            }
        }

        deserializer.deserialize_any(StepVisitor)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_share_is_at_least_one_replica_and_rounds_towards_more_of_them() {
        assert_eq!([1, 3, 10].map(|replicas| Step::Percent(50).up(replicas)), [1, 2, 5]);
        assert_eq!([1, 3, 10].map(|replicas| Step::Percent(50).down(replicas)), [1, 1, 5]);
        assert_eq!(Step::Percent(10).down(0), 0);
        assert_eq!(Step::Count(4).down(3), 3);
        assert_eq!(Step::Percent(9999).up(u32::MAX), u32::MAX);
    }

    #[test]
    fn a_step_is_a_count_or_a_share() {
        assert_eq!(serde_json::from_str::<Step>("2").unwrap(), Step::Count(2));
        assert_eq!(serde_json::from_str::<Step>("\"50%\"").unwrap(), Step::Percent(50));
        for text in ["0", "-1", "1.5", "\"0%\"", "\"50\"", "\"half\"", "5000000000"] {
            assert!(serde_json::from_str::<Step>(text).is_err(), "{text}");
        }
    }
}
