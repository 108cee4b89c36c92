//! In which steps a new generation spreads.

use std::time::Duration;

use crate::settings::{Problems, bounded};
use crate::share::Percent;

/// Steps of a rollout. More would take days, or add less than an instance each.
const STEPS: usize = 100;
/// The longest bake time or interval.
pub(crate) const LONGEST: Duration = Duration::from_secs(7 * 24 * 60 * 60);

/// How a generation spreads. Every step ends with a gate; the last one has [`Settings::final_bake`] to pass it.
///
/// [`Settings::final_bake`]: crate::Settings::final_bake
#[derive(Debug, Clone, PartialEq)]
pub enum Strategy {
    AllAtOnce,
    /// The same share more at each step: with 20 %, five steps.
    Linear {
        percent: f64,
        interval: Duration,
    },
    /// `initial`, then `factor` times as much at each step. With 2 % and 2: 2, 4, 8, 16, 32, 64 and 100 %.
    Exponential {
        initial: f64,
        factor: f64,
        interval: Duration,
    },
    /// A small share for the bake time, then the rest.
    Canary {
        percent: f64,
        bake: Duration,
        rest: Rest,
    },
}

/// What follows a canary.
#[derive(Debug, Clone, PartialEq)]
pub enum Rest {
    AtOnce,
    /// `percent` of all instances more at each step.
    Linear {
        percent: f64,
        interval: Duration,
    },
    /// `factor` times the canary, then `factor` times that, and so on.
    Exponential {
        factor: f64,
        interval: Duration,
    },
}

/// One step: the share that runs the new generation, and how long that has to go well before the next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Step {
    pub share: Percent,
    pub bake: Duration,
}

impl Strategy {
    /// The steps, growing, the last one of 100 %; empty when something is wrong, which `problems` tells then.
    pub(crate) fn steps(&self, final_bake: Duration, problems: &mut Problems) -> Vec<Step> {
        let last = Step { share: Percent::ALL, bake: final_bake };
        let steps = match *self {
            Self::AllAtOnce => Some(vec![last]),
            Self::Linear { percent, interval } => {
                let percent = problems.percent("strategy.percent", percent);
                problems.duration("strategy.interval", interval, bounded(Duration::ZERO, LONGEST));
                percent.map(|percent| grow(percent, interval, last, |share| share.plus(percent)))
            }
            Self::Exponential { initial, factor, interval } => {
                let initial = problems.percent("strategy.initial", initial);
                let grows = problems.factor("strategy.factor", factor);
                problems.duration("strategy.interval", interval, bounded(Duration::ZERO, LONGEST));
                initial.filter(|_| grows).map(|initial| grow(initial, interval, last, |share| share.scaled(factor)))
            }
            Self::Canary { percent, bake, ref rest } => {
                let percent = problems.percent("strategy.percent", percent);
                problems.duration("strategy.bake", bake, bounded(Duration::ZERO, LONGEST));
                let rest = rest.steps(percent, last, problems);
                percent.zip(rest).map(|(share, rest)| {
                    let canary = Step { share, bake };
                    // A canary of everything is no canary: the last step does it.
                    std::iter::once(canary).filter(|canary| canary.share < Percent::ALL).chain(rest).collect()
                })
            }
        };
        match steps {
            Some(steps) if steps.len() > STEPS => {
                problems.add("strategy", format!("takes more than {STEPS} steps: let it grow faster"));
                Vec::new()
            }
            Some(steps) => steps,
            None => Vec::new(),
        }
    }
}

impl Rest {
    fn steps(&self, canary: Option<Percent>, last: Step, problems: &mut Problems) -> Option<Vec<Step>> {
        match *self {
            Self::AtOnce => Some(vec![last]),
            Self::Linear { percent, interval } => {
                let percent = problems.percent("strategy.rest.percent", percent);
                problems.duration("strategy.rest.interval", interval, bounded(Duration::ZERO, LONGEST));
                let (percent, canary) = percent.zip(canary)?;
                Some(grow(canary.plus(percent), interval, last, |share| share.plus(percent)))
            }
            Self::Exponential { factor, interval } => {
                let grows = problems.factor("strategy.rest.factor", factor);
                problems.duration("strategy.rest.interval", interval, bounded(Duration::ZERO, LONGEST));
                let canary = canary.filter(|_| grows)?;
                Some(grow(canary.scaled(factor), interval, last, |share| share.scaled(factor)))
            }
        }
    }
}

/// Steps from `first` on, up to `last`. A share that does not grow any more, or too many steps, end it early: one more
/// than [`STEPS`] is enough to be refused.
fn grow(first: Percent, interval: Duration, last: Step, next: impl Fn(Percent) -> Percent) -> Vec<Step> {
    let shares = std::iter::successors(Some(first), |share| Some(next(*share)));
    let mut steps: Vec<Step> = shares
        .take_while(|share| *share < Percent::ALL)
        .take(STEPS)
        .map(|share| Step { share, bake: interval })
        .collect();
    steps.push(last);
    steps
}

#[cfg(test)]
mod tests {
    use super::*;

    const MINUTE: Duration = Duration::from_secs(60);

    fn shares(strategy: &Strategy) -> Result<Vec<f64>, Vec<String>> {
        let mut problems = Problems::default();
        let steps = strategy.steps(MINUTE, &mut problems);
        let paths: Vec<_> = problems.into_iter().map(|problem| problem.path).collect();
        if paths.is_empty() { Ok(steps.iter().map(|step| step.share.as_f64()).collect()) } else { Err(paths) }
    }

    #[test]
    fn steps_of_every_strategy() {
        assert_eq!(shares(&Strategy::AllAtOnce), Ok(vec![100.0]));
        let linear = Strategy::Linear { percent: 30.0, interval: MINUTE };
        assert_eq!(shares(&linear), Ok(vec![30.0, 60.0, 90.0, 100.0]));
        let exponential = Strategy::Exponential { initial: 2.0, factor: 2.0, interval: MINUTE };
        assert_eq!(shares(&exponential), Ok(vec![2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 100.0]));
        let canary = |rest| Strategy::Canary { percent: 10.0, bake: MINUTE, rest };
        assert_eq!(shares(&canary(Rest::AtOnce)), Ok(vec![10.0, 100.0]));
        let rest = Rest::Linear { percent: 45.0, interval: MINUTE };
        assert_eq!(shares(&canary(rest)), Ok(vec![10.0, 55.0, 100.0]));
        let rest = Rest::Exponential { factor: 3.0, interval: MINUTE };
        assert_eq!(shares(&canary(rest)), Ok(vec![10.0, 30.0, 90.0, 100.0]));
        let all = Strategy::Canary { percent: 100.0, bake: MINUTE, rest: Rest::AtOnce };
        assert_eq!(shares(&all), Ok(vec![100.0]));
    }

    #[test]
    fn only_the_last_step_has_the_final_bake_time() {
        let strategy = Strategy::Linear { percent: 50.0, interval: MINUTE };
        let steps = strategy.steps(5 * MINUTE, &mut Problems::default());
        assert_eq!(steps.iter().map(|step| step.bake).collect::<Vec<_>>(), [MINUTE, 5 * MINUTE]);
    }

    #[test]
    fn what_does_not_grow_is_refused() {
        let slow = Strategy::Exponential { initial: 0.01, factor: 1.1, interval: MINUTE };
        assert_eq!(shares(&slow), Err(vec!["strategy".to_owned()]));
        let slow = Strategy::Linear { percent: 0.5, interval: MINUTE };
        assert_eq!(shares(&slow), Err(vec!["strategy".to_owned()]));
        let wrong = Strategy::Canary {
            percent: 0.0,
            bake: LONGEST + MINUTE,
            rest: Rest::Exponential { factor: f64::NAN, interval: MINUTE },
        };
        assert_eq!(
            shares(&wrong),
            Err(["strategy.percent", "strategy.bake", "strategy.rest.factor"].map(str::to_owned).to_vec())
        );
    }
}
