//! Why a call of a policy gave nothing that can be used. Whoever asked leaves the deployment as it is.

use std::fmt;
use std::time::Duration;

use crate::input::InputError;

/// A call that failed.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum Fault {
    /// It did not come to an end within its fuel.
    #[error("the policy ran out of fuel after {limit} units")]
    OutOfFuel { limit: u64 },
    /// It was still running when the backstop fell.
    #[error("the policy was stopped after {} ms", limit.as_millis())]
    Deadline { limit: Duration },
    /// It wanted more memory than it may have, and died of it.
    #[error("the policy asked for more memory than the {limit} bytes it may have")]
    Memory { limit: usize },
    /// It trapped: a panic, an out-of-bounds access, a stack overflow.
    #[error("the policy crashed: {text}")]
    Trap { text: String },
    /// It answered something that no policy can mean.
    #[error("the policy answered nonsense: {what}")]
    Nonsense { what: String },
    /// It handed back, or logged, more than the host takes.
    #[error("the policy exceeded a limit: {what}")]
    TooLarge { what: String },
    /// It said itself that it cannot answer.
    #[error("the policy failed: {}{message}", reason.prefix())]
    Failure { reason: FailureReason, message: String },
    /// The host gave it something it should not have been asked about.
    #[error("the policy was not asked: the input is unsuitable: {0}")]
    InvalidInput(InputError),
    /// The host had no instance or thread for it in time.
    #[error("the policy was not asked: {what}")]
    Overloaded { what: String },
}

/// What a policy's own `failure` is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FailureReason {
    InvalidConfig,
    UnsuitableInput,
    Internal,
}

impl FailureReason {
    const fn prefix(self) -> &'static str {
        match self {
            Self::InvalidConfig => "invalid configuration: ",
            Self::UnsuitableInput => "unsuitable input: ",
            Self::Internal => "",
        }
    }
}

macro_rules! kinds {
    ($($variant:ident = $name:literal,)+) => {
        /// The kind of a [`Fault`], for counters and labels.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        pub enum FaultKind { $($variant),+ }

        impl FaultKind {
            pub const ALL: &'static [Self] = &[$(Self::$variant),+];

            /// A stable name, for metrics and for programs that read a decision.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self { $(Self::$variant => $name),+ }
            }
        }
    };
}

kinds! {
    OutOfFuel = "out_of_fuel",
    Deadline = "deadline",
    Memory = "memory",
    Trap = "trap",
    Nonsense = "nonsense",
    TooLarge = "too_large",
    Failure = "failure",
    InvalidInput = "invalid_input",
    Overloaded = "overloaded",
}

impl fmt::Display for FaultKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl Fault {
    #[must_use]
    pub const fn kind(&self) -> FaultKind {
        match self {
            Self::OutOfFuel { .. } => FaultKind::OutOfFuel,
            Self::Deadline { .. } => FaultKind::Deadline,
            Self::Memory { .. } => FaultKind::Memory,
            Self::Trap { .. } => FaultKind::Trap,
            Self::Nonsense { .. } => FaultKind::Nonsense,
            Self::TooLarge { .. } => FaultKind::TooLarge,
            Self::Failure { .. } => FaultKind::Failure,
            Self::InvalidInput(_) => FaultKind::InvalidInput,
            Self::Overloaded { .. } => FaultKind::Overloaded,
        }
    }

    /// Whether the policy is to blame. A breaker counts only these: an overloaded host says nothing about a policy.
    #[must_use]
    pub const fn blames_policy(&self) -> bool {
        !matches!(self, Self::InvalidInput(_) | Self::Overloaded { .. })
    }
}
