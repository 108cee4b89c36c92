//! Who may read the metrics. They name the deployments of everybody, so that not everybody may.

use std::net::SocketAddr;

use axum::extract::ConnectInfo;
use axum::http::{Extensions, HeaderMap, HeaderName, header};
use outrigger_catalog::Catalog;
use outrigger_catalog::model::Subject;
use outrigger_secrets::SecretString;
use ring::digest::{SHA256, digest};
use subtle::ConstantTimeEq as _;

use super::Scope;
use crate::auth::bearer;
use crate::error::ApiError;

/// Who needs no token.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum MetricsAccess {
    /// Whoever connects from this machine, unless it passes on what somebody else asks.
    #[default]
    Loopback,
    /// Nobody.
    Token,
    /// Everybody who reaches the port.
    Open,
}

impl MetricsAccess {
    pub const ALL: [Self; 3] = [Self::Loopback, Self::Token, Self::Open];

    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Loopback => "loopback",
            Self::Token => "token",
            Self::Open => "open",
        }
    }
}

/// A token that reads metrics and nothing else. Kept as a hash.
#[derive(Clone)]
pub struct MetricsToken([u8; 32]);

#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("it must have 32 to 512 printable characters without spaces")]
pub struct MetricsTokenError;

impl MetricsToken {
    /// # Errors
    /// It could be guessed, or cannot stand in a header.
    pub fn new(token: &SecretString) -> Result<Self, MetricsTokenError> {
        let text = token.expose();
        let is_usable = (32..=512).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_graphic());
        is_usable.then(|| Self(hash(text))).ok_or(MetricsTokenError)
    }

    fn is(&self, token: &str) -> bool {
        self.0.ct_eq(&hash(token)).into()
    }
}

impl std::fmt::Debug for MetricsToken {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("MetricsToken")
    }
}

fn hash(text: &str) -> [u8; 32] {
    let mut hash = [0; 32];
    hash.copy_from_slice(digest(&SHA256, text.as_bytes()).as_ref());
    hash
}

/// What a proxy adds to a request that it passes on.
const PASSED_ON: [HeaderName; 4] =
    [header::FORWARDED, header::VIA, HeaderName::from_static("x-forwarded-for"), HeaderName::from_static("x-real-ip")];

#[derive(Debug)]
pub(crate) struct Gate {
    access: MetricsAccess,
    token: Option<MetricsToken>,
}

impl Gate {
    pub(super) const fn new(access: MetricsAccess, token: Option<MetricsToken>) -> Self {
        Self { access, token }
    }

    /// What the sender of a request may read. A token counts before the place it comes from.
    pub(crate) async fn scope(
        &self,
        catalog: &Catalog,
        headers: &HeaderMap,
        extensions: &Extensions,
    ) -> Result<Scope, ApiError> {
        if headers.contains_key(header::AUTHORIZATION) {
            let token = bearer(headers)?;
            if self.token.as_ref().is_some_and(|own| own.is(token)) {
                return Ok(Scope::Everything);
            }
            let actor = catalog.authenticate(token).await?;
            return Ok(match actor.subject {
                Subject::Operator | Subject::System => Scope::Everything,
                Subject::User(_) => Scope::Organization(actor.organization),
            });
        }
        let is_let_in = match self.access {
            MetricsAccess::Open => true,
            MetricsAccess::Loopback => is_from_here(headers, extensions),
            MetricsAccess::Token => false,
        };
        if is_let_in { Ok(Scope::Everything) } else { Err(refusal()) }
    }
}

fn refusal() -> ApiError {
    ApiError::unauthorized(
        "Authentication required: metrics need `Authorization: Bearer TOKEN` from here; see `metrics.access`",
    )
}

fn is_from_here(headers: &HeaderMap, extensions: &Extensions) -> bool {
    let peer = extensions.get::<ConnectInfo<SocketAddr>>().map(|info| info.0.ip().to_canonical());
    peer.is_some_and(|address| address.is_loopback()) && !PASSED_ON.iter().any(|name| headers.contains_key(name))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn from(address: &str) -> Extensions {
        let mut extensions = Extensions::new();
        extensions.insert(ConnectInfo(SocketAddr::new(address.parse().unwrap(), 4_000)));
        extensions
    }

    #[test]
    fn only_who_asks_from_this_machine_for_itself_is_from_here() {
        let none = HeaderMap::new();
        for (address, expected) in
            [("127.0.0.1", true), ("127.8.0.1", true), ("::1", true), ("::ffff:127.0.0.1", true), ("10.0.0.1", false)]
        {
            assert_eq!(is_from_here(&none, &from(address)), expected, "{address}");
        }
        assert!(!is_from_here(&none, &Extensions::new()), "nobody knows from where");
        for name in PASSED_ON {
            let headers = HeaderMap::from_iter([(name.clone(), "10.0.0.1".parse().unwrap())]);
            assert!(!is_from_here(&headers, &from("127.0.0.1")), "{name}");
        }
    }

    #[test]
    fn a_token_that_could_be_guessed_is_refused() {
        for text in ["short", "with a space in the middle of it all", "ü-in-a-token-that-is-long-enough-but"] {
            assert!(MetricsToken::new(&SecretString::from(text)).is_err(), "{text}");
        }
        let token = MetricsToken::new(&SecretString::from("x".repeat(32))).unwrap();
        assert!(token.is(&"x".repeat(32)) && !token.is(&"x".repeat(33)));
        assert_eq!(format!("{token:?}"), "MetricsToken");
    }
}
