//! What is kept of a rollout, in words and numbers, and what people are told of it.

use outrigger_catalog::model::{self, Deployment, EventKind, RolloutState};
use outrigger_protocol::id::RolloutId;
use outrigger_protocol::time::UnixMillis;
use outrigger_rollout::{Action, Finding, Outcome, Phase, Progress, Rollout, Strategy, Tally, What};

/// Failures of one rollout that become events; the timeline and the instances themselves tell of more.
const FAILURES_TOLD: u32 = 10;

/// What is kept of one rollout while it is under way.
#[derive(Debug, Clone)]
pub(super) struct Ledger {
    pub(super) rollout: model::Rollout,
    /// That everybody runs it was told.
    told: bool,
    failures_told: u32,
}

/// Something that people are told.
pub(super) type Told = (EventKind, String);

impl Ledger {
    /// A rollout that begins.
    pub(super) fn open(id: RolloutId, deployment: &Deployment, machine: &Rollout, now: UnixMillis) -> Self {
        let progress = machine.progress();
        let mut ledger = Self::of(model::Rollout {
            id,
            organization: deployment.organization,
            project: deployment.spec.project,
            deployment: deployment.id,
            environment: deployment.spec.environment,
            generation: progress.target.generation,
            from: progress.stable.map(|stable| stable.generation),
            strategy: strategy(&deployment.spec.rollout.strategy).to_owned(),
            state: RolloutState::Progressing,
            reason: None,
            step: 0,
            steps: 0,
            share: 0.0,
            tally: Tally::default(),
            restored_as: None,
            overridden_by: None,
            paused_by: None,
            started_at: now,
            ended_at: None,
            timeline: Vec::new(),
        });
        ledger.measure(&progress);
        ledger
    }

    const fn of(rollout: model::Rollout) -> Self {
        Self { rollout, told: false, failures_told: 0 }
    }

    /// One that was written down.
    pub(super) fn resume(rollout: model::Rollout, machine: &Rollout) -> Self {
        let progress = machine.progress();
        // Is told when the last step begins to bake.
        let told = progress.step == progress.steps && progress.baked.is_some();
        Self { told, ..Self::of(rollout) }
    }

    /// Notes what the machine has done, and returns what people are told of it.
    pub(super) fn note(&mut self, machine: &Rollout, actions: &[Action]) -> Vec<Told> {
        let progress = machine.progress();
        let mut told = Vec::new();
        for action in actions {
            let Action::Record(entry) = action else { continue };
            self.rollout.note(entry.at, entry.to_string());
            self.tell(&progress, &entry.what, &mut told);
            if let What::Ended { outcome, .. } = &entry.what {
                self.rollout.ended_at = Some(entry.at);
                self.rollout.reason = reason_of(outcome).or(self.rollout.reason.take());
            }
        }
        self.measure(&progress);
        told
    }

    /// Something keeps it from going on. Returns whether that is news.
    pub(super) fn stuck(&mut self, problem: String, now: UnixMillis) -> bool {
        let is_news = self.rollout.timeline.last().is_none_or(|last| last.message != problem);
        if is_news {
            self.rollout.note(now, problem);
        }
        is_news
    }

    /// A newer generation, or the end of the deployment, has taken its place.
    pub(super) fn close(&mut self, state: RolloutState, reason: String, now: UnixMillis) {
        self.rollout.state = state;
        self.rollout.note(now, reason.clone());
        self.rollout.reason = Some(reason);
        self.rollout.ended_at = Some(now);
    }

    /// Takes over where the machine stands.
    pub(super) fn measure(&mut self, progress: &Progress) {
        let rollout = &mut self.rollout;
        rollout.step = progress.step;
        rollout.steps = progress.steps;
        rollout.share = progress.share.as_f64();
        rollout.tally = progress.tally;
        rollout.paused_by.clone_from(&progress.paused);
        rollout.overridden_by.clone_from(&progress.overridden);
        rollout.state = match &progress.phase {
            Phase::Progressing if progress.paused.is_some() => RolloutState::Paused,
            Phase::Progressing => RolloutState::Progressing,
            Phase::Held { .. } => RolloutState::Held,
            Phase::RollingBack { .. } => RolloutState::RollingBack,
            Phase::Restoring { .. } => RolloutState::Restoring,
            Phase::Closing(_) => RolloutState::Closing,
            Phase::Ended(Outcome::Completed) => RolloutState::Completed,
            Phase::Ended(Outcome::RolledBack { .. }) => RolloutState::RolledBack,
            Phase::Ended(Outcome::Failed { .. }) => RolloutState::Failed,
        };
        match &progress.phase {
            Phase::Progressing => rollout.reason = None,
            Phase::Held { finding, .. } => rollout.reason = Some(finding.to_string()),
            Phase::RollingBack { cause, .. } => rollout.reason = Some(cause.to_string()),
            Phase::Restoring { config, cause: Some(cause), .. } => {
                rollout.reason = Some(cause.to_string());
                rollout.restored_as = Some(config.generation);
            }
            Phase::Closing(outcome) | Phase::Ended(outcome) => {
                rollout.reason = reason_of(outcome);
                // When nobody is there to restore anything to, this is the first that is heard of it.
                if let Outcome::RolledBack { config, .. } = outcome {
                    rollout.restored_as = Some(config.generation);
                }
            }
            Phase::Restoring { cause: None, .. } => {}
        }
    }

    fn tell(&mut self, progress: &Progress, what: &What, told: &mut Vec<Told>) {
        let generation = progress.target.generation;
        match what {
            What::Started { instances, .. } if *instances > 0 => {
                let message = format!("config generation {generation} pushed to {instances}");
                told.push((EventKind::ConfigPushed { generation }, message));
            }
            What::GateFailed { finding }
            | What::Held { finding }
            | What::FailureTolerated { finding, .. }
            | What::FailureOverlooked { finding } => self.tell_failure(generation, finding, told),
            What::RollbackPublished { generation: restored } => {
                let why = self.rollout.reason.as_deref().unwrap_or("somebody asked for it");
                let message = format!("config generation {generation} rolled back as generation {restored}: {why}");
                told.push((EventKind::ConfigRolledBack { generation, restored: *restored }, message));
            }
            What::Baking { step, .. } if *step == progress.steps && !self.told => {
                self.tell_running(generation, progress.tally, told);
            }
            What::Ended { outcome: Outcome::RolledBack { config, .. }, tally } => {
                self.tell_running(config.generation, *tally, told);
            }
            What::Ended { outcome: Outcome::Completed, tally } if !self.told => {
                self.tell_running(generation, *tally, told);
            }
            _ => {}
        }
    }

    fn tell_running(&mut self, generation: u64, tally: Tally, told: &mut Vec<Told>) {
        self.told = true;
        if tally.total > 0 {
            let message = format!("config generation {generation} running on {} of {}", tally.running, tally.total);
            told.push((EventKind::ConfigRunning { generation, instances: tally.running }, message));
        }
    }

    fn tell_failure(&mut self, generation: u64, finding: &Finding, told: &mut Vec<Told>) {
        // What nobody in particular did is in the rollback's reason.
        let Some(instance) = finding.instance.filter(|_| self.failures_told < FAILURES_TOLD) else { return };
        self.failures_told += 1;
        let message = format!("config generation {generation} failed on {instance}: {}", finding.signal);
        told.push((EventKind::ConfigFailed { generation, instance }, message));
    }
}

fn reason_of(outcome: &Outcome) -> Option<String> {
    match outcome {
        Outcome::Completed => None,
        Outcome::RolledBack { cause, .. } | Outcome::Failed { cause } => Some(cause.to_string()),
    }
}

const fn strategy(strategy: &Strategy) -> &'static str {
    match strategy {
        Strategy::AllAtOnce => "all-at-once",
        Strategy::Linear { .. } => "linear",
        Strategy::Exponential { .. } => "exponential",
        Strategy::Canary { .. } => "canary",
    }
}
