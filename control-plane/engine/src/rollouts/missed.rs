//! What a worker was not told, and finds out by looking.

use std::collections::HashMap;

use outrigger_ingest::LiveInstance;
use outrigger_protocol::id::InstanceId;
use outrigger_protocol::message::{ApplyState, ConfigRef, ConfigStatus};
use outrigger_rollout::{Action, Arrival, Departure, Event, Member, Rollout};

/// When to look, after something was not told.
///
/// What waits in the inbox is older than what would be found, and would be taken for news. So it is taken in first; but
/// no more than that, because in a large fleet there is always something new.
#[derive(Debug, Default)]
pub(super) struct Arrears(Option<usize>);

impl Arrears {
    /// After a turn that took `taken` messages and left `waiting` behind: whether it is time to look.
    pub(super) fn is_due(&mut self, taken: usize, waiting: usize, missed: impl FnOnce() -> bool) -> bool {
        let left = match self.0 {
            Some(left) => Some(left.saturating_sub(taken)),
            None => missed().then_some(waiting),
        };
        self.0 = left.filter(|left| *left > 0);
        left == Some(0)
    }
}

/// What brings a machine up to who is here now.
///
/// Somebody whom the machine knows as connected has not come again only because they are looked at: whoever comes again
/// is not waited for, and nobody would wait for anybody any more. So they only say how they are, unless they know less
/// than before: then another process of the agent has come, and nobody has told. Who was silent is not waited for
/// anyhow, and may have come again; so it is asked again.
pub(super) fn caught_up(machine: &Rollout, live: Vec<LiveInstance>) -> Vec<Event> {
    let known: HashMap<InstanceId, &Member> = machine.members().collect();
    let live: HashMap<_, _> = live.into_iter().filter(|one| one.connected).map(|one| (one.instance, one)).collect();
    let gone = known.keys().filter(|instance| !live.contains_key(instance));
    let mut events: Vec<Event> =
        gone.map(|instance| Event::Left { instance: *instance, departure: Departure::Lost }).collect();
    for (instance, one) in live {
        let LiveInstance { config: status, program, apply, health, restarts, .. } = one;
        let stays = known.get(&instance).is_some_and(|member| {
            let is_older = generation(status.last_received) < generation(member.received);
            member.lost_at.is_none() && member.silent.get().is_none() && !is_older && restarts >= member.health.restarts
        });
        if stays {
            let state = apply.unwrap_or_else(|| implied(&status));
            events.push(Event::Report { instance, state, status });
            events.push(Event::Program { instance, state: program });
        } else {
            events.push(Event::Joined(Arrival { instance, status: status.clone(), program }));
            events.extend(apply.map(|state| Event::Report { instance, state, status }));
        }
        events.extend(health.map(|health| Event::Probes { instance, probes: health.probes.clone() }));
    }
    events
}

/// The offers that may have gone down with a connection of whose end nobody has told.
pub(super) fn repeated(machine: &Rollout) -> impl Iterator<Item = Action> {
    machine.members().filter(|(_, member)| member.lost_at.is_none()).filter_map(|(instance, member)| {
        let config = member.offered()?;
        (member.received != Some(config)).then_some(Action::Offer { instance, config })
    })
}

fn generation(config: Option<ConfigRef>) -> u64 {
    config.map_or(0, |config| config.generation)
}

/// What an agent that has not reported on its connection would say of the newest that it has received.
fn implied(status: &ConfigStatus) -> ApplyState {
    let failed = status.last_failed.as_ref().map(|failure| failure.config);
    if failed.is_some() && failed == status.last_received {
        ApplyState::Failed
    } else if status.running == status.last_received {
        ApplyState::Applied
    } else {
        ApplyState::Applying
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::Duration;

    use outrigger_protocol::id::AgentId;
    use outrigger_protocol::message::ProgramState;
    use outrigger_protocol::time::UnixMillis;
    use outrigger_rollout::{LOOK, Launch, Phase, Settings, Strategy};

    use super::*;

    const NOW: UnixMillis = UnixMillis::from_millis(1_800_000_000_000);

    const fn config(generation: u64) -> ConfigRef {
        ConfigRef { generation, hash: [if generation == 1 { 1 } else { 2 }; 32] }
    }

    fn status(received: u64, running: u64) -> ConfigStatus {
        ConfigStatus { last_received: Some(config(received)), running: Some(config(running)), last_failed: None }
    }

    fn live(instance: InstanceId, config: ConfigStatus) -> LiveInstance {
        LiveInstance {
            instance,
            agent: AgentId::generate(),
            connected: true,
            last_seen: NOW,
            program: ProgramState::Running { pid: 7, restarts: 0 },
            restarts: 0,
            health: None,
            config,
            apply: None,
            latest: None,
            agent_version: Arc::from("1"),
            ready: true,
        }
    }

    fn fleet() -> Vec<InstanceId> {
        (0..4).map(|_| InstanceId::generate()).collect()
    }

    /// Everybody was offered generation 2, and nobody has answered.
    fn offered(fleet: &[InstanceId]) -> Rollout {
        let plan = Settings::new(Strategy::AllAtOnce).compile().unwrap();
        let launch = Launch { target: config(2), plan, seed: 7, baseline: None };
        let program = ProgramState::Running { pid: 7, restarts: 0 };
        let arrivals = fleet.iter().map(|instance| Arrival { instance: *instance, status: status(1, 1), program });
        Rollout::start(launch, Some(config(1)), arrivals, NOW).unwrap().0
    }

    fn catch_up(machine: &mut Rollout, live: Vec<LiveInstance>) -> Vec<Action> {
        let events = caught_up(machine, live);
        machine.handle_all(events, NOW.saturating_add(Duration::from_secs(1)))
    }

    #[test]
    fn whoever_is_only_looked_at_is_still_waited_for() {
        let fleet = fleet();
        let mut machine = offered(&fleet);
        let now = fleet.iter().map(|instance| live(*instance, status(1, 1))).collect();
        catch_up(&mut machine, now);
        let progress = machine.progress();
        assert_eq!((progress.tally.pending, progress.baked), (4, None), "the step is not filled");
        assert_eq!(repeated(&machine).count(), 4, "nobody knows whether the offers have arrived");
    }

    #[test]
    fn answers_that_were_not_told_are_found() {
        let fleet = fleet();
        let mut machine = offered(&fleet);
        let now = fleet.iter().map(|instance| live(*instance, status(2, 2))).collect();
        catch_up(&mut machine, now);
        let progress = machine.progress();
        assert_eq!((progress.tally.running, repeated(&machine).count()), (4, 0));
        assert!(progress.baked.is_some());
    }

    #[test]
    fn who_has_gone_is_lost_and_who_knows_less_has_come_again() {
        let fleet = fleet();
        let mut machine = offered(&fleet);
        let mut now: Vec<_> = fleet.iter().map(|instance| live(*instance, status(2, 2))).collect();
        now[0].connected = false;
        now.pop();
        catch_up(&mut machine, now.clone());
        assert_eq!(machine.members().filter(|(_, member)| member.lost_at.is_some()).count(), 2);
        // The agent was started anew and has forgotten what it ran.
        now[1].config = ConfigStatus::default();
        now[1].program = ProgramState::Waiting;
        let actions = catch_up(&mut machine, now);
        let asked = Action::Offer { instance: fleet[1], config: config(2) };
        assert!(actions.contains(&asked), "{actions:?}");
        assert!(matches!(machine.progress().phase, Phase::Progressing));
    }

    #[test]
    fn who_was_silent_is_asked_again() {
        let fleet = fleet();
        let mut machine = offered(&fleet);
        let mut now = NOW;
        while machine.progress().tally.silent < 4 {
            now = machine.next_deadline().expect("an answer is waited for").max(now.saturating_add(LOOK));
            machine.handle(Event::Tick, now);
        }
        let events = caught_up(&machine, fleet.iter().map(|instance| live(*instance, status(1, 1))).collect());
        let actions = machine.handle_all(events, now);
        assert_eq!(actions.iter().filter(|action| matches!(action, Action::Offer { .. })).count(), 4, "{actions:?}");
    }

    #[test]
    fn it_is_looked_once_what_was_there_is_taken_in_and_not_only_when_nothing_is_left() {
        let mut arrears = Arrears::default();
        assert!(!arrears.is_due(5, 100, || false));
        assert!(!arrears.is_due(1_000, 1_500, || true), "1500 are older");
        assert!(!arrears.is_due(1_000, 1_400, || true), "something is always new");
        assert!(arrears.is_due(1_000, 1_300, || true));
        assert!(!arrears.is_due(1, 1_300, || false));
        assert!(arrears.is_due(1, 0, || true), "at once when nothing waits");
    }
}
