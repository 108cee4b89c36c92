//! What a rollout asks for and tells.

use std::fmt;
use std::time::Duration;

use outrigger_protocol::id::InstanceId;
use outrigger_protocol::message::ConfigRef;
use outrigger_protocol::time::UnixMillis;

use crate::event::Reach;
use crate::share::Percent;
use crate::signal::Finding;

/// What is to be done now, in order.
#[derive(Debug, Clone, PartialEq)]
pub enum Action {
    /// Offer this configuration to this instance. Offering twice does no harm.
    Offer { instance: InstanceId, config: ConfigRef },
    /// Publish a new generation with the content of `to`, unless something newer than `from` has been published
    /// meanwhile; then tell [`Rollout::rollback_published`](crate::Rollout::rollback_published). It is asked for again
    /// until that was told.
    PublishRollback { from: ConfigRef, to: ConfigRef, cause: Cause },
    /// For the timeline.
    Record(Entry),
    /// Every offer is answered or given up, and nothing will change any more, except that whoever joins gets what the
    /// others have.
    Ended(Outcome),
}

/// Why a rollout goes back.
#[derive(Debug, Clone, PartialEq)]
pub enum Cause {
    Gate(Finding),
    Aborted { actor: String },
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Gate(finding) => finding.fmt(f),
            Self::Aborted { actor } => write!(f, "aborted by {actor}"),
        }
    }
}

/// How a rollout ended.
#[derive(Debug, Clone, PartialEq)]
pub enum Outcome {
    Completed,
    /// Everybody is back to the content from before, as the generation `config`.
    RolledBack {
        cause: Cause,
        config: ConfigRef,
    },
    /// Stopped, with no generation before it to go back to.
    Failed {
        cause: Cause,
    },
}

/// How many instances stand where.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Tally {
    /// Take part; those that left are not counted.
    pub total: u32,
    /// Run the generation that is being rolled out, or back to.
    pub running: u32,
    /// Have it and will run it after their next start.
    pub deferred: u32,
    /// Have refused it, or gone back from it by themselves.
    pub refused: u32,
    /// Did not answer in time.
    pub silent: u32,
    /// Have been offered it and did not answer yet.
    pub pending: u32,
    /// Have not been offered it.
    pub waiting: u32,
    /// Of all: without service.
    pub unhealthy: u32,
    /// Of all, and of those that left: were ever offered the generation that was being rolled out.
    pub touched: u32,
}

/// Something for the timeline.
#[derive(Debug, Clone, PartialEq)]
pub struct Entry {
    pub at: UnixMillis,
    pub what: What,
}

impl fmt::Display for Entry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.what.fmt(f)
    }
}

#[derive(Debug, Clone, PartialEq)]
pub enum What {
    Started {
        target: ConfigRef,
        stable: Option<ConfigRef>,
        steps: u32,
        instances: u32,
    },
    /// A newer generation was published before this one had ended.
    Superseded {
        generation: u64,
        by: u64,
    },
    StepOpened {
        step: u32,
        of: u32,
        share: Percent,
        cohort: u32,
        instances: u32,
    },
    /// The cohort has answered; the gate is looked at for this long.
    Baking {
        step: u32,
        bake: Duration,
    },
    /// Everybody of the cohort has left: it is filled again.
    Refilled {
        step: u32,
    },
    StepPassed {
        step: u32,
        why: Passed,
    },
    FailureTolerated {
        finding: Finding,
        failures: u32,
        tolerated: u32,
    },
    /// Somebody has overridden the gates.
    FailureOverlooked {
        finding: Finding,
    },
    GateFailed {
        finding: Finding,
    },
    Held {
        finding: Finding,
    },
    Promoted {
        actor: String,
        reach: Reach,
    },
    Paused {
        actor: String,
    },
    Resumed {
        actor: String,
    },
    Overridden {
        actor: String,
    },
    Aborted {
        actor: String,
    },
    RollbackAsked {
        from: u64,
        to: u64,
        cause: Cause,
    },
    RollbackPublished {
        generation: u64,
    },
    /// The published content is that of the last promoted generation: there is nothing to try.
    Returning {
        generation: u64,
    },
    /// Somebody wants instances to be asked again that did not answer.
    AskedAgain {
        generation: u64,
        instances: u32,
    },
    Ended {
        outcome: Outcome,
        tally: Tally,
    },
}

/// Why a step was passed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Passed {
    /// Reports, probes and programs are well, and requests compare well.
    Compared,
    /// Reports, probes and programs are well; there are no requests, or none are compared.
    WithoutTraffic,
    /// The comparison could not tell, and the settings say to go on.
    Inconclusive,
    /// Somebody promoted it.
    Promoted,
    /// Somebody has overridden the gates.
    Overridden,
}

impl fmt::Display for Passed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Compared => "reports, probes and the comparison of requests are good",
            Self::WithoutTraffic => "reports and probes are good, and there are no requests to compare",
            Self::Inconclusive => "reports and probes are good, and requests could not be compared",
            Self::Promoted => "promoted by hand",
            Self::Overridden => "the gates are overridden",
        })
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Completed => f.write_str("completed"),
            Self::RolledBack { cause, config } => write!(f, "rolled back as generation {}: {cause}", config.generation),
            Self::Failed { cause } => write!(f, "stopped, with nothing to go back to: {cause}"),
        }
    }
}

/// `1 step`, `2 steps`
fn counted(n: u32, what: &str) -> String {
    format!("{n} {what}{}", if n == 1 { "" } else { "s" })
}

impl fmt::Display for What {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Started { target, stable, steps, instances } => {
                let (instances, steps) = (counted(*instances, "instance"), counted(*steps, "step"));
                write!(f, "generation {} on its way to {instances} in {steps}", target.generation)?;
                stable.map_or(Ok(()), |stable| write!(f, ", from generation {}", stable.generation))
            }
            Self::Superseded { generation, by } => write!(f, "generation {generation} superseded by {by}"),
            Self::StepOpened { step, of, share, cohort, instances } => {
                write!(f, "step {step} of {of}: {share}, {cohort} of {instances} instances")
            }
            Self::Baking { step, bake } if bake.is_zero() => write!(f, "step {step} has answered"),
            Self::Baking { step, bake } => write!(f, "step {step} has answered and bakes for {bake:?}"),
            Self::Refilled { step } => write!(f, "nobody of step {step} is left: others take their place"),
            Self::StepPassed { step, why } => write!(f, "step {step} passed: {why}"),
            Self::FailureTolerated { finding, failures, tolerated } => {
                write!(f, "failure {failures} of {tolerated} that are tolerated: {finding}")
            }
            Self::FailureOverlooked { finding } => write!(f, "overlooked, the gates are overridden: {finding}"),
            Self::GateFailed { finding } => write!(f, "the gate failed: {finding}"),
            Self::Held { finding } => write!(f, "held until somebody decides: {finding}"),
            Self::Promoted { actor, reach: Reach::Step } => write!(f, "promoted to the next step by {actor}"),
            Self::Promoted { actor, reach: Reach::All } => write!(f, "promoted to the last step by {actor}"),
            Self::Paused { actor } => write!(f, "paused by {actor}"),
            Self::Resumed { actor } => write!(f, "resumed by {actor}"),
            Self::Overridden { actor } => write!(f, "gates overridden by {actor}"),
            Self::Aborted { actor } => write!(f, "aborted by {actor}"),
            Self::RollbackAsked { from, to, cause } => {
                write!(f, "generation {from} is rolled back to the content of {to}: {cause}")
            }
            Self::RollbackPublished { generation } => write!(f, "the rollback is generation {generation}"),
            Self::Returning { generation } => {
                write!(f, "generation {generation} has the content of the last promoted one")
            }
            Self::AskedAgain { generation, instances } => {
                write!(f, "{instances} instances that did not answer generation {generation} are asked again")
            }
            Self::Ended { outcome, tally } => {
                write!(f, "{outcome}; {} of {} instances run it", tally.running, tally.total)
            }
        }
    }
}

/// Actions in the making.
#[derive(Debug)]
pub(crate) struct Actions {
    now: UnixMillis,
    actions: Vec<Action>,
}

impl Actions {
    pub(crate) const fn new(now: UnixMillis) -> Self {
        Self { now, actions: Vec::new() }
    }

    pub(crate) const fn now(&self) -> UnixMillis {
        self.now
    }

    pub(crate) fn push(&mut self, action: Action) {
        self.actions.push(action);
    }

    pub(crate) fn record(&mut self, what: What) {
        self.actions.push(Action::Record(Entry { at: self.now, what }));
    }

    pub(crate) fn into_vec(self) -> Vec<Action> {
        self.actions
    }
}
