//! One registry of typed ids, so that swapped arguments do not compile.
//!
//! The text form is a short prefix and a UUIDv7 in hexadecimal, `prj_0192f3c4…`: it sorts by creation time, says
//! what it names when it turns up in a log, and is opaque to clients. Time and entropy are arguments of
//! [`new`](ProjectId::new); [`generate`](ProjectId::generate) is for the shell around the logic.

use std::fmt;
use std::str::FromStr;

use uuid::Uuid;

use crate::time::UnixMillis;

/// A text that is not an id of the kind that was asked for.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is not {kind} id: expected `{prefix}_` and 32 hexadecimal digits")]
pub struct ParseIdError {
    kind: &'static str,
    prefix: &'static str,
    text: String,
}

macro_rules! ids {
    ($($(#[$doc:meta])* $name:ident, $prefix:literal, $kind:literal;)+) => {$(
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(Uuid);

        impl $name {
            /// The prefix of the text form.
            pub const PREFIX: &'static str = $prefix;

            /// An id made at `now` from `entropy`; the same arguments give the same id.
            #[must_use]
            pub fn new(now: UnixMillis, entropy: [u8; 10]) -> Self {
                Self(uuid::Builder::from_unix_timestamp_millis(now.as_millis(), &entropy).into_uuid())
            }

            /// A fresh id from the system's clock and random source.
            ///
            /// # Panics
            /// When the operating system has no random source, which leaves nothing that could go on safely.
            #[must_use]
            pub fn generate() -> Self {
                let mut entropy = [0; 10];
                getrandom::fill(&mut entropy).expect("the operating system provides randomness");
                Self::new(UnixMillis::now(), entropy)
            }

            /// The sixteen bytes that go over the wire.
            #[must_use]
            pub const fn to_bytes(self) -> [u8; 16] {
                self.0.into_bytes()
            }

            /// The id of sixteen bytes that came over the wire. Every value is an id; whether it names
            /// anything is the receiver's question.
            #[must_use]
            pub const fn from_bytes(bytes: [u8; 16]) -> Self {
                Self(Uuid::from_bytes(bytes))
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!($prefix, "_{}"), self.0.simple())
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(self, f)
            }
        }

        impl FromStr for $name {
            type Err = ParseIdError;

            fn from_str(text: &str) -> Result<Self, Self::Err> {
                text.strip_prefix(concat!($prefix, "_"))
                    .filter(|hex| hex.len() == 32)
                    .and_then(|hex| Uuid::try_parse(hex).ok())
                    .map(Self)
                    .ok_or_else(|| ParseIdError {
                        kind: $kind,
                        prefix: $prefix,
                        // A caller's text ends up in an answer: it is bounded here.
                        text: text.chars().take(64).collect(),
                    })
            }
        }
    )+};
}

ids! {
    /// A tenant. Every key in the store begins with one.
    OrganizationId, "org", "an organisation";
    /// A person or service that signs in.
    UserId, "usr", "a user";
    /// A bearer token's public half.
    TokenId, "tok", "a token";
    /// A project: environments and deployments live in it.
    ProjectId, "prj", "a project";
    /// A named configuration of a project, for one of development, staging, production.
    EnvironmentId, "env", "an environment";
    /// A program that is run as a number of instances.
    DeploymentId, "dep", "a deployment";
    /// One replica of a deployment: one sandbox, one agent.
    InstanceId, "ins", "an instance";
    /// An agent's identity, as its certificate carries it.
    AgentId, "agt", "an agent";
    /// A one-time join token's public half.
    JoinTokenId, "jtk", "a join token";
    /// A policy component of one content digest.
    PolicyId, "pol", "a policy";
    /// One evaluation of a deployment's policies and what came of it.
    DecisionId, "dec", "a decision";
    /// Something that happened to a deployment.
    EventId, "evt", "an event";
    /// An entry of the audit log.
    AuditId, "aud", "an audit";
    /// An effect that was written down before it was attempted.
    IntentId, "int", "an intent";
    /// One version of a project's data key.
    KeyId, "key", "a key";
    /// A change of an environment that awaits approval.
    ChangeId, "chg", "a change request";
    /// How one generation of configuration spreads over the instances of a deployment.
    RolloutId, "rol", "a rollout";
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_text_form_parses_back_and_sorts_by_time() {
        let early = ProjectId::new(UnixMillis::from_millis(1_000), [7; 10]);
        let late = ProjectId::new(UnixMillis::from_millis(2_000), [0; 10]);
        assert_eq!(early.to_string().parse::<ProjectId>(), Ok(early));
        assert!(early < late && early.to_string() < late.to_string());
    }

    #[test]
    fn an_id_of_another_kind_is_refused_in_words() {
        let other = UserId::new(UnixMillis::from_millis(1), [1; 10]).to_string();
        let error = other.parse::<ProjectId>().expect_err("a user is not a project");
        assert!(error.to_string().contains("is not a project id"), "{error}");
    }
}
