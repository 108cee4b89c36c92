//! What a deployment says about its rollouts, unchecked; and the plan that it becomes once checked.

use std::ops::RangeInclusive;
use std::time::Duration;

use crate::share::{Amount, Limit, Percent};
use crate::strategy::{LONGEST, Step, Strategy};

/// How one deployment wants its generations rolled out. Anybody may have written it: [`compile`](Self::compile) checks
/// it, and nothing runs with what was not checked.
#[derive(Debug, Clone, PartialEq)]
pub struct Settings {
    pub strategy: Strategy,
    /// How long everything has to go well with all instances before the generation counts as good.
    pub final_bake: Duration,
    /// How many instances may be without service at once, by the rollout or otherwise; a share is rounded down, and
    /// one is always allowed. Further offers wait.
    pub max_unhealthy: Amount,
    /// How long an instance has to run other content without falling ill before it counts as in service again. An
    /// agent says that it has applied a configuration when the program has been started, not when it serves.
    pub min_ready: Duration,
    /// From an offer until its final answer, and from a lost connection until the instance is given up. It has to cover
    /// the apply strategy's jitter, and the program's stop and start.
    pub answer_timeout: Duration,
    /// For how long a step may go on without getting further: until the next instance has settled, and at the gate
    /// until the evidence is there.
    pub patience: Duration,
    pub on_silence: OnSilence,
    /// How many instances may fail before the gate does; none unless said otherwise. A share is rounded down.
    pub tolerated_failures: Amount,
    pub on_failure: OnFailure,
    pub on_inconclusive: OnInconclusive,
    pub gates: Gates,
}

/// What an instance is that does not answer an offer in time, or is lost with the new generation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OnSilence {
    /// It has failed.
    Fail,
    /// It is unhealthy, as far as [`Settings::max_unhealthy`] is concerned, and nothing else.
    Tolerate,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OnFailure {
    RollBack,
    /// Offer nothing more, and wait for a person to override or abort.
    Hold,
}

/// What happens when the gate could not tell in time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OnInconclusive {
    Promote,
    /// Wait for a person to promote or abort.
    Hold,
    RollBack,
}

/// What is held against an instance, or the cohort.
#[derive(Debug, Clone, PartialEq)]
pub struct Gates {
    /// Consecutive failures of one probe with which an instance has failed.
    pub probe_failures: u32,
    /// Restarts of the program after crashes with which an instance has failed.
    pub restarts: u32,
    /// Requests of an instance count from this long after it got its configuration: a start is not representative.
    pub warm_up: Duration,
    /// `None` does not compare.
    pub error_rate: Option<ErrorRateGate>,
    /// `None` does not compare.
    pub latency: Option<LatencyGate>,
}

/// The new cohort's share of failed requests against the old one's. It has become worse when the lower bound of the
/// difference, at `z` standard deviations, is above `floor`, and the rate is at least `ratio` times the old one.
#[derive(Debug, Clone, PartialEq)]
pub struct ErrorRateGate {
    /// Requests that each side needs before anything is concluded.
    pub min_requests: u64,
    /// A share of requests, 0 to 1: less of a difference does not matter.
    pub floor: f64,
    pub ratio: f64,
    pub z: f64,
}

/// A quantile of the new cohort's response times against the old one's. It has become worse when the lower bound of the
/// new one is above the upper bound of the old one by `floor` and by the factor `ratio`; bounds at `z` standard deviations.
#[derive(Debug, Clone, PartialEq)]
pub struct LatencyGate {
    /// 0.95 for the response time that 95 % of requests stay below.
    pub quantile: f64,
    pub min_requests: u64,
    /// Less of a difference does not matter.
    pub floor: Duration,
    pub ratio: f64,
    pub z: f64,
}

impl Settings {
    /// Defaults for a strategy. All at once is what it says, and tolerates silence: a laptop that sleeps is no reason to
    /// roll everybody else back. Everything else leaves three quarters in service, and takes silence for a failure, for
    /// who does not answer was chosen to be tried with.
    #[must_use]
    pub fn new(strategy: Strategy) -> Self {
        let (max_unhealthy, on_silence) = match strategy {
            Strategy::AllAtOnce => (Amount::Percent(100.0), OnSilence::Tolerate),
            _ => (Amount::Percent(25.0), OnSilence::Fail),
        };
        Self {
            strategy,
            final_bake: Duration::from_secs(120),
            max_unhealthy,
            min_ready: Duration::from_secs(10),
            answer_timeout: Duration::from_secs(60),
            patience: Duration::from_secs(600),
            on_silence,
            tolerated_failures: Amount::Count(0),
            on_failure: OnFailure::RollBack,
            on_inconclusive: OnInconclusive::Promote,
            gates: Gates::default(),
        }
    }

    /// Checks everything.
    ///
    /// # Errors
    /// Every problem at once, each with the path of its field as the API names it.
    pub fn compile(self) -> Result<Plan, InvalidSettings> {
        let mut problems = Problems::default();
        let steps = self.strategy.steps(self.final_bake, &mut problems);
        problems.duration("finalBake", self.final_bake, bounded(Duration::ZERO, LONGEST));
        let max_unhealthy = problems.amount("maxUnhealthy", self.max_unhealthy, 1);
        let tolerated_failures = problems.amount("toleratedFailures", self.tolerated_failures, 0);
        // Whoever waits for longer than anybody is patient gets nowhere.
        problems.duration("minReady", self.min_ready, bounded(Duration::ZERO, self.patience.min(LONGEST) / 2));
        problems.duration("answerTimeout", self.answer_timeout, bounded(SHORTEST_WAIT, LONGEST_WAIT));
        problems.duration("patience", self.patience, bounded(SHORTEST_WAIT, LONGEST));
        self.gates.check(&mut problems);
        match (max_unhealthy, tolerated_failures) {
            (Some(max_unhealthy), Some(tolerated_failures)) if problems.0.is_empty() => {
                Ok(Plan { settings: self, steps, max_unhealthy, tolerated_failures })
            }
            _ => Err(InvalidSettings(problems.0)),
        }
    }
}

const SHORTEST_WAIT: Duration = Duration::from_secs(1);
/// An hour of jitter is the most that a deployment may have.
const LONGEST_WAIT: Duration = Duration::from_secs(2 * 60 * 60);
const LONGEST_WARM_UP: Duration = Duration::from_secs(60 * 60);

impl Default for Gates {
    fn default() -> Self {
        Self {
            probe_failures: 5,
            restarts: 3,
            warm_up: Duration::from_secs(10),
            error_rate: Some(ErrorRateGate { min_requests: 100, floor: 0.01, ratio: 1.5, z: 3.0 }),
            latency: Some(LatencyGate {
                quantile: 0.95,
                min_requests: 200,
                floor: Duration::from_millis(20),
                ratio: 1.25,
                z: 3.0,
            }),
        }
    }
}

impl Gates {
    fn check(&self, problems: &mut Problems) {
        problems.number("gates.probeFailures", u64::from(self.probe_failures), 1..=1_000);
        problems.number("gates.restarts", u64::from(self.restarts), 1..=1_000);
        problems.duration("gates.warmUp", self.warm_up, bounded(Duration::ZERO, LONGEST_WARM_UP));
        if let Some(gate) = &self.error_rate {
            problems.number("gates.errorRate.minRequests", gate.min_requests, 10..=MOST_REQUESTS);
            problems.fraction("gates.errorRate.floor", gate.floor, 0.0..=1.0);
            problems.fraction("gates.errorRate.ratio", gate.ratio, 1.0..=1_000.0);
            problems.fraction("gates.errorRate.z", gate.z, Z);
        }
        if let Some(gate) = &self.latency {
            problems.fraction("gates.latency.quantile", gate.quantile, 0.5..=0.999);
            problems.number("gates.latency.minRequests", gate.min_requests, 10..=MOST_REQUESTS);
            problems.duration("gates.latency.floor", gate.floor, bounded(Duration::ZERO, Duration::from_secs(3600)));
            problems.fraction("gates.latency.ratio", gate.ratio, 1.0..=1_000.0);
            problems.fraction("gates.latency.z", gate.z, Z);
        }
    }
}

const MOST_REQUESTS: u64 = 1_000_000_000;
/// From one chance in six to one in a billion that nothing but noise trips a single look.
const Z: RangeInclusive<f64> = 1.0..=6.0;

/// Settings that were checked.
#[derive(Debug, Clone, PartialEq)]
pub struct Plan {
    settings: Settings,
    steps: Vec<Step>,
    max_unhealthy: Limit,
    tolerated_failures: Limit,
}

impl Plan {
    #[must_use]
    pub const fn settings(&self) -> &Settings {
        &self.settings
    }

    /// At least one, the last of 100 %.
    #[must_use]
    pub fn steps(&self) -> &[Step] {
        &self.steps
    }

    /// How many of `n` instances may be without service.
    #[must_use]
    pub fn max_unhealthy(&self, n: usize) -> usize {
        self.max_unhealthy.of(n).max(1)
    }

    /// How many of `n` instances may fail.
    #[must_use]
    pub fn tolerated_failures(&self, n: usize) -> usize {
        self.tolerated_failures.of(n)
    }

    /// The same with the last step only: for a first generation, which has nothing that it could endanger.
    pub(crate) fn at_once(mut self) -> Self {
        self.steps.drain(..self.steps.len().saturating_sub(1));
        self
    }
}

/// One thing that is wrong with one field.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// `gates.latency.ratio`
    pub path: String,
    /// `must be from 1 to 1000`
    pub problem: String,
}

impl std::fmt::Display for Problem {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} {}", self.path, self.problem)
    }
}

/// Settings that cannot be used; at least one problem.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the rollout settings are wrong: {}", .0.iter().map(ToString::to_string).collect::<Vec<_>>().join("; "))]
pub struct InvalidSettings(pub Vec<Problem>);

/// Collects what is wrong.
#[derive(Debug, Default)]
pub(crate) struct Problems(Vec<Problem>);

impl IntoIterator for Problems {
    type Item = Problem;
    type IntoIter = std::vec::IntoIter<Problem>;

    fn into_iter(self) -> Self::IntoIter {
        self.0.into_iter()
    }
}

pub(crate) const fn bounded(least: Duration, most: Duration) -> RangeInclusive<Duration> {
    least..=most
}

impl Problems {
    pub(crate) fn add(&mut self, path: &str, problem: impl Into<String>) {
        self.0.push(Problem { path: path.to_owned(), problem: problem.into() });
    }

    pub(crate) fn percent(&mut self, path: &str, percent: f64) -> Option<Percent> {
        Percent::parse(percent).map_err(|problem| self.add(path, problem)).ok()
    }

    /// By how much an exponential step grows. Returns whether it is one.
    pub(crate) fn factor(&mut self, path: &str, factor: f64) -> bool {
        let grows = factor > 1.0 && factor <= 100.0;
        if !grows {
            self.add(path, "must be above 1 and at most 100");
        }
        grows
    }

    pub(crate) fn duration(&mut self, path: &str, duration: Duration, allowed: RangeInclusive<Duration>) {
        if !allowed.contains(&duration) {
            self.add(path, format!("must be from {:?} to {:?}", allowed.start(), allowed.end()));
        }
    }

    fn number(&mut self, path: &str, number: u64, allowed: RangeInclusive<u64>) {
        if !allowed.contains(&number) {
            self.add(path, format!("must be from {} to {}", allowed.start(), allowed.end()));
        }
    }

    fn fraction(&mut self, path: &str, number: f64, allowed: RangeInclusive<f64>) {
        if !allowed.contains(&number) {
            self.add(path, format!("must be from {} to {}", allowed.start(), allowed.end()));
        }
    }

    fn amount(&mut self, path: &str, amount: Amount, least: u32) -> Option<Limit> {
        match amount {
            Amount::Percent(percent) => self.percent(&format!("{path}.percent"), percent).map(Limit::Percent),
            Amount::Count(count) if count < least => {
                self.add(&format!("{path}.count"), format!("must be at least {least}"));
                None
            }
            Amount::Count(count) => Some(Limit::Count(usize::try_from(count).unwrap_or(usize::MAX))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_problem_is_named_by_its_path() {
        let settings = Settings {
            strategy: Strategy::Linear { percent: 120.0, interval: Duration::ZERO },
            final_bake: LONGEST * 2,
            max_unhealthy: Amount::Count(0),
            min_ready: Duration::from_secs(301),
            answer_timeout: Duration::ZERO,
            tolerated_failures: Amount::Percent(f64::NAN),
            gates: Gates {
                probe_failures: 0,
                error_rate: Some(ErrorRateGate { min_requests: 1, floor: -0.1, ratio: 0.5, z: f64::NAN }),
                latency: Some(LatencyGate {
                    quantile: 1.0,
                    min_requests: 0,
                    floor: Duration::MAX,
                    ratio: f64::INFINITY,
                    z: 0.0,
                }),
                ..Gates::default()
            },
            ..Settings::new(Strategy::AllAtOnce)
        };
        let InvalidSettings(problems) = settings.compile().expect_err("nearly everything is wrong");
        let paths: Vec<_> = problems.iter().map(|problem| problem.path.as_str()).collect();
        assert_eq!(
            paths,
            [
                "strategy.percent",
                "finalBake",
                "maxUnhealthy.count",
                "toleratedFailures.percent",
                "minReady",
                "answerTimeout",
                "gates.probeFailures",
                "gates.errorRate.minRequests",
                "gates.errorRate.floor",
                "gates.errorRate.ratio",
                "gates.errorRate.z",
                "gates.latency.quantile",
                "gates.latency.minRequests",
                "gates.latency.floor",
                "gates.latency.ratio",
                "gates.latency.z",
            ]
        );
    }

    #[test]
    fn defaults_are_valid_and_at_least_one_may_always_be_unhealthy() {
        let plan = Settings::new(Strategy::Linear { percent: 20.0, interval: Duration::ZERO }).compile();
        let plan = plan.expect("the defaults are valid");
        assert_eq!(plan.max_unhealthy(50), 12);
        assert_eq!(plan.max_unhealthy(2), 1);
        assert_eq!(plan.tolerated_failures(50), 0);
        let plan = Settings::new(Strategy::AllAtOnce).compile().expect("the defaults are valid");
        assert_eq!(plan.max_unhealthy(50), 50);
    }
}
