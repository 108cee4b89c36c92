//! Who this agent is: read from disk, enrolled for, and, once the control plane does not accept that any more, enrolled
//! for anew.
//!
//! What must never be true: a join token that is shown again after it was refused, or after it has made the identity that
//! was refused; a token in memory for longer than it may be of use.

use std::rc::Rc;
use std::time::Instant;

use outrigger_protocol::join_token::JoinToken;
use outrigger_protocol::time::UnixMillis;

use crate::config::{ConfigError, TokenSource};
use crate::control_plane::ControlPlane;
use crate::enroll::{EnrollError, enroll};
use crate::identity::{self, Identity, IdentityFileError, Stored, TokenDigest};
use crate::state_dir::StateDir;

/// The way back in, for whoever was shut out.
const WAY_OUT: &str = "to join anew, make another token (`outrigger deployment join-token`) and give it in \
     --join-token-file, --join-token-fd or OUTRIGGER_JOIN_TOKEN";

#[derive(Debug, thiserror::Error)]
pub(super) enum MembershipError {
    #[error(transparent)]
    Config(#[from] ConfigError),
    #[error(transparent)]
    Identity(#[from] IdentityFileError),
    #[error(transparent)]
    Enroll(#[from] EnrollError),
    #[error(
        "no identity in {path} and no join token to get one: give --join-token-file, --join-token-fd or \
         OUTRIGGER_JOIN_TOKEN"
    )]
    NoToken { path: String },
    #[error("{refusal}; nothing was started. No join token is at hand: {WAY_OUT}")]
    ShutOut { refusal: String },
    #[error("{refusal}; nothing was started. The join token at hand made this identity and is used up: {WAY_OUT}")]
    TokenUsedUp { refusal: String },
    #[error("{refusal}; nothing was started. There is no join token to join anew with")]
    TokenUnreadable {
        refusal: String,
        #[source]
        source: ConfigError,
    },
    #[error("{refusal}; nothing was started. It could not join anew")]
    NotRejoined {
        refusal: String,
        #[source]
        source: EnrollError,
    },
}

/// What it takes to be let in.
#[derive(Debug)]
pub(super) struct Membership {
    pub(super) control_plane: ControlPlane,
    pub(super) state: Rc<StateDir>,
    token: TokenSource,
    /// The token that made the present identity, as far as that is known.
    made_by: Option<TokenDigest>,
}

impl Membership {
    pub(super) fn new(control_plane: ControlPlane, state: Rc<StateDir>, token: TokenSource) -> Self {
        Self { control_plane, state, token, made_by: None }
    }

    /// The identity on disk, or a new one when there is none that is still valid.
    pub(super) async fn identify(&mut self, deadline: Instant) -> Result<Identity, MembershipError> {
        let identity = self.find_or_enroll(deadline).await?;
        self.made_by = identity.enrollment.token;
        Ok(identity)
    }

    async fn find_or_enroll(&mut self, deadline: Instant) -> Result<Identity, MembershipError> {
        let keys = match identity::load(&self.state)? {
            Stored::Enrolled(identity) if identity.validity.not_after > UnixMillis::now() => return Ok(*identity),
            Stored::Enrolled(expired) => {
                // The same keys with a token, when there is one; otherwise the control plane may still have mercy.
                let Some(token) = self.take_token()? else { return Ok(*expired) };
                return Ok(enroll(&self.control_plane, &self.state, Some(expired.keys), &token, deadline).await?);
            }
            Stored::Keys(keys) => Some(keys),
            Stored::Nothing => None,
        };
        let Some(token) = self.take_token()? else {
            return Err(MembershipError::NoToken { path: self.state.file("").display().to_string() });
        };
        Ok(enroll(&self.control_plane, &self.state, keys, &token, deadline).await?)
    }

    /// Another identity, with keys of its own, after the control plane refused the present one. Only a token that did not
    /// make that one is good for it; whatever comes of it, it is not used a second time.
    pub(super) async fn rejoin(&mut self, refusal: String, deadline: Instant) -> Result<Identity, MembershipError> {
        let token = match self.take_token() {
            Ok(Some(token)) => token,
            Ok(None) => return Err(MembershipError::ShutOut { refusal }),
            Err(source) => return Err(MembershipError::TokenUnreadable { refusal, source }),
        };
        if self.made_by == Some(TokenDigest::of(&token)) {
            return Err(MembershipError::TokenUsedUp { refusal });
        }
        tracing::warn!(%refusal, "joining anew, as another instance, with the join token at hand");
        // Why it was revoked is not known here: keys that may have leaked are not certified again.
        match enroll(&self.control_plane, &self.state, None, &token, deadline).await {
            Ok(identity) => {
                self.made_by = identity.enrollment.token;
                Ok(identity)
            }
            Err(source) => Err(MembershipError::NotRejoined { refusal, source }),
        }
    }

    /// The program runs as who this agent is: there is no other use for a token.
    pub(super) fn forget_token(&mut self) {
        self.token = TokenSource::Absent;
    }

    fn take_token(&mut self) -> Result<Option<JoinToken>, ConfigError> {
        std::mem::take(&mut self.token).load()
    }
}
