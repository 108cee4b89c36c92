//! The last configuration that worked, for a start without the control plane.
//!
//! What is kept are the two messages as they were received: the welcome (ids and settings) and the offer, still sealed
//! to this agent's key. The file by itself opens nothing, and reading it back goes through the same decoder, with the
//! same limits, as the wire.
//!
//! It is deleted when the control plane refuses this identity: who was shut out does not go on with old secrets.

use outrigger_protocol::codec::{self, CodecError, PREFIX_BYTES};
use outrigger_protocol::id::{AgentId, DeploymentId, InstanceId};
use outrigger_protocol::limits;
use outrigger_protocol::message::{AgentSettings, ConfigOffer, ConfigRef, ServerMessage};
use outrigger_protocol::time::UnixMillis;

use crate::state_dir::{StateDir, StateDirError};

const FILE: &str = "last-good";
/// Two frames of the control lane.
const FILE_BYTES: u64 = 2 * (limits::CONTROL_TO_AGENT_BYTES as u64 + PREFIX_BYTES as u64);

/// What the control plane said when it took this agent in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Welcome {
    pub agent: AgentId,
    pub instance: InstanceId,
    pub deployment: DeploymentId,
    pub now: UnixMillis,
    pub settings: AgentSettings,
}

/// A configuration that worked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LastGood {
    pub welcome: Welcome,
    pub offer: ConfigOffer,
}

#[derive(Debug, thiserror::Error)]
pub enum LastGoodError {
    #[error(transparent)]
    StateDir(#[from] StateDirError),
    #[error("the last known good configuration is damaged")]
    Damaged(#[source] CodecError),
    #[error("the last known good configuration is cut short")]
    Truncated,
    #[error("the last known good configuration cannot be written")]
    Encode(#[source] CodecError),
}

/// The stored configuration; `None` when there is none.
///
/// # Errors
/// The file cannot be read, or is damaged.
pub fn load(state: &StateDir) -> Result<Option<LastGood>, LastGoodError> {
    let Some(content) = state.read(FILE, FILE_BYTES)? else { return Ok(None) };
    let (welcome, rest) = take_frame(&content)?;
    let (offer, rest) = take_frame(rest)?;
    match (welcome, offer) {
        (ServerMessage::Welcome { agent, instance, deployment, now, settings }, ServerMessage::Offer(offer))
            if rest.is_empty() =>
        {
            Ok(Some(LastGood { welcome: Welcome { agent, instance, deployment, now, settings }, offer: *offer }))
        }
        _ => Err(LastGoodError::Truncated),
    }
}

/// Stores a configuration, unless it is the one that is stored already. Returns whether it was written.
///
/// # Errors
/// The directory cannot be written.
pub fn store(state: &StateDir, good: &LastGood) -> Result<bool, LastGoodError> {
    if load(state).ok().flatten().is_some_and(|stored| is_same(&stored, good)) {
        return Ok(false);
    }
    let Welcome { agent, instance, deployment, now, settings } = good.welcome.clone();
    let welcome = ServerMessage::Welcome { agent, instance, deployment, now, settings };
    let mut content = Vec::new();
    codec::encode(&welcome, &mut content).map_err(LastGoodError::Encode)?;
    codec::encode(&ServerMessage::Offer(Box::new(good.offer.clone())), &mut content).map_err(LastGoodError::Encode)?;
    state.replace(FILE, &content)?;
    Ok(true)
}

/// Deletes it.
///
/// # Errors
/// The directory cannot be written.
pub fn delete(state: &StateDir) -> Result<(), LastGoodError> {
    Ok(state.remove(FILE)?)
}

/// Nonce, sealing and clock differ each time; what would be started does not.
fn is_same(stored: &LastGood, good: &LastGood) -> bool {
    let config = |good: &LastGood| -> ConfigRef { good.offer.config };
    config(stored) == config(good)
        && stored.welcome.settings == good.welcome.settings
        && stored.welcome.agent == good.welcome.agent
        && stored.welcome.deployment == good.welcome.deployment
}

fn take_frame(content: &[u8]) -> Result<(ServerMessage, &[u8]), LastGoodError> {
    let (prefix, rest) = content.split_first_chunk::<PREFIX_BYTES>().ok_or(LastGoodError::Truncated)?;
    let length = codec::frame_length::<ServerMessage>(*prefix).map_err(LastGoodError::Damaged)?;
    let (frame, rest) = rest.split_at_checked(length).ok_or(LastGoodError::Truncated)?;
    Ok((codec::decode(frame).map_err(LastGoodError::Damaged)?, rest))
}

#[cfg(test)]
mod tests {
    use super::*;
    use outrigger_protocol::message::ApplyStrategy;
    use outrigger_protocol::seal::Sealed;
    use std::time::Duration;

    fn good(generation: u64) -> LastGood {
        let now = UnixMillis::from_millis(1);
        LastGood {
            welcome: Welcome {
                agent: AgentId::new(now, [1; 10]),
                instance: InstanceId::new(now, [2; 10]),
                deployment: DeploymentId::new(now, [3; 10]),
                now,
                settings: AgentSettings {
                    sample_interval: Duration::from_secs(1),
                    heartbeat_interval: Duration::from_secs(10),
                    apply: ApplyStrategy::None,
                    allowed_names: vec!["NODE_OPTIONS".to_owned()],
                    start_only: Vec::new(),
                    bake_time: None,
                    probes: Vec::new(),
                },
            },
            offer: ConfigOffer {
                config: ConfigRef { generation, hash: [7; 32] },
                nonce: [9; 16],
                sealed: Sealed { encapsulated: [1; 32], ciphertext: vec![5; 100] },
            },
        }
    }

    fn state() -> (tempfile::TempDir, StateDir) {
        let directory = tempfile::tempdir().expect("a directory");
        let state = StateDir::open(directory.path()).expect("opened");
        (directory, state)
    }

    #[test]
    fn what_was_stored_comes_back_until_it_is_deleted() {
        let (_directory, state) = state();
        assert!(load(&state).expect("readable").is_none());
        assert!(store(&state, &good(1)).expect("stored"));
        assert_eq!(load(&state).expect("readable"), Some(good(1)));
        delete(&state).expect("deleted");
        assert!(load(&state).expect("readable").is_none());
    }

    #[test]
    fn the_same_configuration_is_not_written_twice() {
        let (_directory, state) = state();
        store(&state, &good(1)).expect("stored");
        let mut again = good(1);
        (again.offer.nonce, again.welcome.now) = ([0; 16], UnixMillis::from_millis(99));
        assert!(!store(&state, &again).expect("compared"));
        assert!(store(&state, &good(2)).expect("stored"));
    }

    #[test]
    fn damage_is_an_error_and_never_a_configuration() {
        let (_directory, state) = state();
        store(&state, &good(1)).expect("stored");
        let whole = state.read(FILE, FILE_BYTES).expect("read").expect("there");
        for length in 0..whole.len() {
            state.replace(FILE, &whole[..length]).expect("written");
            assert!(load(&state).is_err(), "cut at {length}");
        }
        state.replace(FILE, &[whole.as_slice(), b"x"].concat()).expect("written");
        assert!(load(&state).is_err(), "more than two messages");
    }
}
