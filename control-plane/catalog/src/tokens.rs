//! Bearer tokens: opaque, random, shown once and kept only as a hash.
//!
//! `ogr_<id>_<secret>`: the id finds the row, the hash of the whole text proves it. 256 random bits need no slow hash.
//! The operator's token may come from a setting and then have any form; it is found by its hash alone.

use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use outrigger_protocol::id::{OrganizationId, TokenId, UserId};
use outrigger_protocol::time::UnixMillis;
use outrigger_secrets::SecretString;
use ring::digest::{SHA256, digest};
use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

use crate::catalog::{Catalog, random};
use crate::error::{CatalogError, Unauthenticated};
use crate::keys;
use crate::model::{Actor, Origin, Role, Subject, TokenInfo};
use crate::mutation::Draft;
use crate::record::{Home, OperatorRow, TokenRow, UserRow};

/// How long a token from signing in is good for.
pub(crate) const SESSION_TTL: Duration = Duration::from_secs(24 * 60 * 60);

const PREFIX: &str = "ogr_";
/// A configured token shorter than this could be guessed.
const CONFIGURED_BYTES: std::ops::RangeInclusive<usize> = 32..=512;

/// SHA-256.
pub(crate) fn hash(text: &str) -> [u8; 32] {
    hash_bytes(text.as_bytes())
}

pub(crate) fn hash_bytes(bytes: &[u8]) -> [u8; 32] {
    let mut hash = [0; 32];
    hash.copy_from_slice(digest(&SHA256, bytes).as_ref());
    hash
}

/// A fresh token.
pub(crate) fn text(now: UnixMillis) -> (TokenId, SecretString) {
    let id = TokenId::new(now, random());
    let secret = Zeroizing::new(random::<32>());
    let hex = id.to_string();
    let hex = hex.strip_prefix(&format!("{}_", TokenId::PREFIX)).expect("an id's text begins with its prefix");
    // Sized beforehand, so that no copy of the secret is left behind by growing.
    let mut text = Zeroizing::new(String::with_capacity(PREFIX.len() + hex.len() + 1 + 43));
    text.push_str(PREFIX);
    text.push_str(hex);
    text.push('_');
    URL_SAFE_NO_PAD.encode_string(secret.as_slice(), &mut text);
    (id, SecretString::from(text))
}

fn parse(text: &str) -> Option<TokenId> {
    let (hex, _) = text.strip_prefix(PREFIX)?.split_once('_')?;
    format!("{}_{hex}", TokenId::PREFIX).parse().ok()
}

/// Adds a new token to a draft.
pub(crate) fn issue(
    draft: &mut Draft,
    organization: OrganizationId,
    user: Option<UserId>,
    ttl: Option<Duration>,
) -> SecretString {
    let (id, text) = text(draft.now);
    let expires_at = ttl.map(|ttl| draft.now.saturating_add(ttl));
    let info = TokenInfo { id, user, created_at: draft.now, expires_at };
    draft.put(keys::token(organization, id), &TokenRow { info, hash: hash(text.expose()) });
    draft.put(keys::home::token(id), &Home(organization));
    text
}

pub(crate) fn check_configured(token: &SecretString) -> Result<(), CatalogError> {
    let (least, most) = (CONFIGURED_BYTES.start(), CONFIGURED_BYTES.end());
    if CONFIGURED_BYTES.contains(&token.len()) && token.expose().bytes().all(|b| b.is_ascii_graphic()) {
        Ok(())
    } else {
        let problem = format!("must have {least} to {most} printable characters without spaces");
        Err(CatalogError::invalid("operator token", problem))
    }
}

impl Catalog {
    /// Who the bearer of a token is. Idempotency is the caller's to fill in, and so is the origin but for its session.
    ///
    /// # Errors
    /// [`Unauthenticated::InvalidToken`] or [`Unauthenticated::ExpiredToken`].
    pub async fn authenticate(&self, token: &str) -> Result<Actor, CatalogError> {
        let hash = hash(token);
        if let Some(id) = parse(token)
            && let Some(home) = self.row::<Home>(keys::home::token(id)).await?
        {
            return self.authenticate_issued(home.value.0, id, &hash).await;
        }
        let operator = self.row::<OperatorRow>(keys::operator()).await?;
        match operator {
            Some(row) if bool::from(row.value.token_hash.ct_eq(&hash)) => {
                Ok(actor(row.value.organization, Subject::Operator, Role::Owner))
            }
            _ => Err(CatalogError::Unauthenticated(Unauthenticated::InvalidToken)),
        }
    }

    async fn authenticate_issued(
        &self,
        organization: OrganizationId,
        id: TokenId,
        hash: &[u8; 32],
    ) -> Result<Actor, CatalogError> {
        let refused = |reason| Err(CatalogError::Unauthenticated(reason));
        let row = self.row::<TokenRow>(keys::token(organization, id)).await?;
        let Some(token) = row.filter(|row| row.value.hash.ct_eq(hash).into()).map(|row| row.value.info) else {
            return refused(Unauthenticated::InvalidToken);
        };
        if token.expires_at.is_some_and(|expires_at| expires_at <= self.now()) {
            return refused(Unauthenticated::ExpiredToken);
        }
        let Some(user) = token.user else { return refused(Unauthenticated::InvalidToken) };
        match self.row::<UserRow>(keys::user(organization, user)).await? {
            Some(row) => {
                let mut actor = actor(organization, Subject::User(user), row.value.user.role);
                actor.origin.session = Some(id);
                Ok(actor)
            }
            None => refused(Unauthenticated::InvalidToken),
        }
    }
}

fn actor(organization: OrganizationId, subject: Subject, role: Role) -> Actor {
    Actor { organization, subject, role, origin: Origin::default(), idempotency: None }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_names_its_row_and_is_not_printed() {
        let (id, token) = text(UnixMillis::from_millis(1_000));
        assert_eq!(parse(token.expose()), Some(id));
        assert_eq!(token.expose().len(), PREFIX.len() + 32 + 1 + 43);
        assert_eq!(format!("{token:?}"), "[redacted]");
        for other in ["", "ogr_", "ogr_zz_x", "Bearer x", "ogr_0123"] {
            assert_eq!(parse(other), None, "{other}");
        }
    }

    #[test]
    fn a_configured_token_that_could_be_guessed_is_refused() {
        assert!(check_configured(&SecretString::from("operator")).is_err());
        assert!(check_configured(&SecretString::from("a b".repeat(20))).is_err());
        assert!(check_configured(&SecretString::from("x".repeat(32))).is_ok());
    }
}
