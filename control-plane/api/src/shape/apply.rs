//! How new configuration reaches a running program.

use std::time::Duration;

use outrigger_protocol::message::ApplyStrategy;
use outrigger_protocol::time::write_duration;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{DURATION, Problems};
use crate::text::parse_duration;

/// Over how long a restart for new configuration is spread, unless the deployment says otherwise.
const DEFAULT_JITTER: Duration = Duration::from_secs(5);

/// How new configuration reaches a running program. For `bakeTime` it is on trial in each instance: a program that fails
/// meanwhile gets the previous one back.
#[derive(Debug, Clone, Deserialize, Serialize, ToSchema)]
#[serde(tag = "type", rename_all = "lowercase", deny_unknown_fields)]
pub(crate) enum Apply {
    /// Stop and start it, after a random share of `jitter`.
    Restart {
        jitter: Option<String>,
        #[serde(rename = "bakeTime", skip_serializing_if = "Option::is_none")]
        bake_time: Option<String>,
    },
    /// Rewrite the environment file and send the signal: HUP, INT, USR1, USR2 or TERM.
    Signal {
        signal: String,
        /// Variables that the program reads at its start alone.
        #[serde(rename = "needsRestart", default, skip_serializing_if = "Vec::is_empty")]
        needs_restart: Vec<String>,
        #[serde(rename = "bakeTime", skip_serializing_if = "Option::is_none")]
        bake_time: Option<String>,
    },
    /// Rewrite the environment file.
    File {
        /// Variables that the program reads at its start alone.
        #[serde(rename = "needsRestart", default, skip_serializing_if = "Vec::is_empty")]
        needs_restart: Vec<String>,
        #[serde(rename = "bakeTime", skip_serializing_if = "Option::is_none")]
        bake_time: Option<String>,
    },
    /// Keep it for the next start.
    None {
        #[serde(rename = "bakeTime", skip_serializing_if = "Option::is_none")]
        bake_time: Option<String>,
    },
}

impl Default for Apply {
    fn default() -> Self {
        Self::Restart { jitter: None, bake_time: None }
    }
}

/// What [`Apply`] says, read.
pub(crate) struct Applied {
    pub(crate) strategy: ApplyStrategy,
    pub(crate) start_only: Vec<String>,
    pub(crate) bake_time: Option<Duration>,
}

/// Number and name of the signals that make sense as "read your configuration again".
const SIGNALS: [(i32, &str); 5] = [(1, "HUP"), (2, "INT"), (10, "USR1"), (12, "USR2"), (15, "TERM")];

impl Apply {
    pub(crate) fn check(self, problems: &mut Problems) -> Option<Applied> {
        let (strategy, start_only, bake_time) = match self {
            Self::Restart { jitter, bake_time } => {
                let jitter = match jitter {
                    None => Some(DEFAULT_JITTER),
                    some => problems.parse("applyStrategy.jitter", some.as_deref(), DURATION, parse_duration),
                };
                (jitter.map(|jitter| ApplyStrategy::Restart { jitter }), Vec::new(), bake_time)
            }
            Self::Signal { signal, needs_restart, bake_time } => {
                let expected = "one of HUP, INT, USR1, USR2, TERM";
                let signal = problems.parse("applyStrategy.signal", Some(&signal), expected, |text| {
                    let bare = text.strip_prefix("SIG").unwrap_or(text);
                    SIGNALS.iter().find(|(_, name)| *name == bare).map(|(number, _)| *number)
                });
                (signal.map(|signal| ApplyStrategy::Signal { signal }), needs_restart, bake_time)
            }
            Self::File { needs_restart, bake_time } => (Some(ApplyStrategy::File), needs_restart, bake_time),
            Self::None { bake_time } => (Some(ApplyStrategy::None), Vec::new(), bake_time),
        };
        let bake_time = problems.parse("applyStrategy.bakeTime", bake_time.as_deref(), DURATION, parse_duration);
        strategy.map(|strategy| Applied { strategy, start_only, bake_time })
    }

    pub(crate) fn show(strategy: ApplyStrategy, needs_restart: Vec<String>, bake_time: Option<Duration>) -> Self {
        let bake_time = bake_time.map(write_duration);
        match strategy {
            ApplyStrategy::Restart { jitter } => Self::Restart { jitter: Some(write_duration(jitter)), bake_time },
            ApplyStrategy::Signal { signal } => {
                let name = SIGNALS.iter().find(|(number, _)| *number == signal).map(|(_, name)| (*name).to_owned());
                Self::Signal { signal: name.unwrap_or_else(|| signal.to_string()), needs_restart, bake_time }
            }
            ApplyStrategy::File => Self::File { needs_restart, bake_time },
            ApplyStrategy::None => Self::None { bake_time },
        }
    }
}
