//! How a new generation of configuration spreads over the instances of one deployment, and how it goes back.
//!
//! A [`Rollout`] is told what happens ([`Event`]s, [`Command`]s of people, what the time is) and says what to do
//! ([`Action`]s). It decides, and does nothing else: it never reads a clock, draws a random number, waits, or does I/O.
//! The same calls give the same answers, and a rollout that was [restored](Rollout::restore) from a [`Snapshot`] goes on
//! as if nothing had happened.
//!
//! ```text
//!              ┌────────────── Progressing ──────────────┐ gate failed, abort      told what was published
//!  launch ───▶ │ fill ─▶ bake ─▶ gate ─▶ next step, fill … │ ─────────────▶ RollingBack ─────────▶ Restoring
//!              └───────┬──────────────────────────┬────────┘                     ▲                    │
//!                      ▼ inconclusive, or failed  │ last gate passed             │ abort              │
//!                    Held ── promote, override ─▶ … ───────────────────────────────                   │
//!                                                 ▼                                                   │
//!                                              Closing ◀──────────────────────────────────────────────┘
//!                                                 ▼ no offer is unanswered
//!                                               Ended: whoever joins gets what the others have
//! ```
//!
//! # What it promises
//!
//! - **A generation never goes backwards.** A rollback is a new, higher generation with old content, which the rollout
//!   asks for ([`Action::PublishRollback`]) and offers once it is told its number. No instance is offered a lower
//!   generation than it was offered or has received.
//! - **Nobody is touched before their turn.** A step of p percent of n instances touches `⌈p·n/100⌉` at most, so at least
//!   one: 5 of 50 at 10 %. The bound holds for the instances that are there when one is offered the generation, and for
//!   all that have ever been there during the rollout. Which ones is a matter of rank, a hash of seed and instance id,
//!   and whoever was touched stays so: no instance flaps.
//! - **No offer takes an instance out of service when [`max_unhealthy`](Settings::max_unhealthy) are without.** Without
//!   service is who is not connected, runs nothing, has not answered, fails a probe, or whose program is down; who has
//!   been offered other content is too, until it has run it for [`min_ready`](Settings::min_ready). Further offers wait.
//!   On the way back, and after the end, only who is taken out of service for it counts: the sick must not hold up their
//!   own cure.
//! - **What fails goes back by itself**, with the signal, the instance and the numbers that say so ([`Finding`]).
//!   Instances that never had the new content are not restarted: they run the old content already, and only learn its new
//!   number.
//! - **Every offer is answered or given up** ([`Settings::answer_timeout`]) before the end is told. At the end, everybody
//!   who is there, has been offered the outcome and did not refuse it runs it, or will after its next start.
//! - **It ends**, given ticks, unless a person has paused it or it was set to wait for one. Instances that come and go
//!   all the time do not keep it from ending: a step waits for who was there when it was opened.
//! - **Time that nobody watched does not count** ([`Watched`]). A bake time is a time in which nothing bad was seen, not
//!   one in which the control plane was down or the clock was set forward.
//!
//! Who has refused a generation is not asked again: the agent would say the same. Who did not answer is not asked again
//! by itself: a person can have that done ([`Rollout::offer_again`]), and all of this holds then too.
//!
//! # Evidence
//!
//! Per instance: a refused configuration or a failed start, a rollback by the agent itself, silence, a lost connection,
//! consecutive probe failures, restarts after crashes, an end of the program. What was wrong with an instance before it
//! was offered the generation is not held against the generation. More than
//! [`tolerated_failures`](Settings::tolerated_failures) instances fail the gate at once.
//!
//! Per cohort: the error rate and a latency quantile of the instances that run the new generation against those that run
//! the old one, in the same time, with bounds and not with bare numbers. When no old cohort is left, or it is too
//! small, the baseline from before the rollout takes its place, and after that the old cohort of an earlier step. When
//! nobody has requests, reports and probes decide alone; when there are too few to tell, the gate waits for
//! [`patience`](Settings::patience) and then does what [`on_inconclusive`](Settings::on_inconclusive) says.
//!
//! # A newer generation in mid-rollout
//!
//! [`Rollout::supersede`]: the newer generation is rolled out in its own steps, from the first one on. What it goes back
//! to is the last generation that was fully promoted. Instances with the superseded generation keep it until the newer
//! one reaches them; with the same seed they are the first.

mod action;
mod cohort;
mod comparison;
mod event;
mod health;
mod member;
mod rollout;
mod settings;
mod share;
mod signal;
mod snapshot;
mod strategy;
mod traffic;
mod watched;

pub use action::{Action, Cause, Entry, Outcome, Passed, Tally, What};
pub use event::{Arrival, Command, Departure, Event, Reach};
pub use health::{Health, ProbeFailure, Program};
pub use member::{Departed, Member, Offered, Rare};
pub use rollout::{CommandError, Launch, MEMBERS, NotNewer, Progress, PublishedError, Rollout};
pub use settings::{
    ErrorRateGate, Gates, InvalidSettings, LatencyGate, OnFailure, OnInconclusive, OnSilence, Plan, Problem, Settings,
};
pub use share::{Amount, Percent};
pub use signal::{Finding, Reference, Signal};
pub use snapshot::{Hold, Phase, RestoreError, Snapshot, StepState};
pub use strategy::{Rest, Step, Strategy};
pub use traffic::{Evidence, Rate, Served, Span, Traffic};
pub use watched::{LONGEST_STEP, LOOK, Watched};
