//! What the policy remembers: whether it panics, since when it has had no new reason to, and how far it has gone.

use outrigger_policy_sdk::Input;
use serde::{Deserialize, Serialize};

use crate::{Config, MOST, Wanted};

/// Calm, or in panic.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Panic {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    on: Option<On>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct On {
    /// When the panic window was last over the threshold, in milliseconds as `input.now`.
    last: u64,
    /// The most that was asked for since it began; what it keeps to.
    most: u32,
}

impl Panic {
    /// What the last proposal left. Where nothing is left, as after a restart, there may have been a surge that is no
    /// longer in the windows: a deployment of more than one begins in panic and keeps what it has.
    pub(crate) fn remembered(input: &Input) -> Self {
        let replicas = input.deployment.replicas;
        let anew = Self { on: (replicas > 1).then_some(On { last: input.now, most: replicas }) };
        let Some(Self { on }) = input.remembered::<Self>() else {
            return anew;
        };
        // A clock that was set back must not make a panic last for as long as it was ahead.
        Self { on: on.map(|on| On { last: on.last.min(input.now), most: on.most.min(MOST) }) }
    }

    /// What becomes of it, given what is wanted now.
    pub(crate) fn after(self, wanted: &Wanted, config: &Config, input: &Input) -> Self {
        let replicas = input.deployment.replicas;
        let is_over = |on: &On| input.now.saturating_sub(on.last) > config.stable_window.as_millis();
        let on = match self.on {
            _ if wanted.is_over_threshold => Some(On { last: input.now, most: self.on.map_or(replicas, |on| on.most) }),
            // The surge has made its way into the stable window.
            Some(on) if is_over(&on) => None,
            on => on,
        };
        // Somebody may have asked for more than it did itself.
        let most = |on: On| on.most.max(wanted.stable).max(wanted.panic).max(replicas).min(MOST);
        Self { on: on.map(|on| On { most: most(on), ..on }) }
    }

    pub(crate) const fn is_on(&self) -> bool {
        self.on.is_some()
    }

    /// What it keeps to while it panics; 0 when it is calm.
    pub(crate) fn most(&self) -> u32 {
        self.on.map_or(0, |on| on.most)
    }
}
