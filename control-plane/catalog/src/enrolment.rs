//! How agents come to have an identity: one-time join tokens, consumed once by one key.

use std::time::Duration;

use outrigger_protocol::id::{AgentId, DeploymentId, EventId, InstanceId, JoinTokenId, OrganizationId};
use outrigger_protocol::time::UnixMillis;
use subtle::ConstantTimeEq;

use crate::catalog::{Catalog, Row, random};
use crate::error::{CatalogError, EnrollError};
use crate::instances::INSTANCE;
use crate::keys;
use crate::model::{
    Actor, Agent, AuditAction, Deployment, Event, EventKind, Instance, InstancePhase, JoinTokenInfo, Origin, Role,
};
use crate::mutation::{Decided, Draft};
use crate::record::{Home, InstanceHome, IssuedJoinToken, JoinTokenRow};
use crate::tokens::hash_bytes;

/// How long a join token is good for, unless its creator says otherwise.
pub const JOIN_TOKEN_TTL: Duration = Duration::from_secs(10 * 60);
/// The longest that a join token may be good for.
pub const MAX_JOIN_TOKEN_TTL: Duration = Duration::from_secs(24 * 60 * 60);

/// An identity that was granted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EnrollGrant {
    pub agent: Agent,
    /// Whether this call consumed the token; a repetition by the same key did not.
    pub first_time: bool,
}

/// What an attempt to enrol comes to, once everything is read.
enum Attempt {
    Granted(EnrollGrant),
    Expired,
    UsedByOther,
}

impl Catalog {
    /// A one-time token by which one agent may join a deployment: as the agent of `instance`, or of a new instance
    /// that is made then. Developer.
    ///
    /// # Errors
    /// [`CatalogError::NotFound`] for the deployment or the instance; [`CatalogError::Validation`] for a `ttl` of
    /// nothing or of more than [`MAX_JOIN_TOKEN_TTL`].
    pub async fn create_join_token(
        &self,
        actor: &Actor,
        deployment: DeploymentId,
        instance: Option<InstanceId>,
        ttl: Duration,
    ) -> Result<(JoinTokenInfo, [u8; 32]), CatalogError> {
        if ttl < Duration::from_secs(1) || ttl > MAX_JOIN_TOKEN_TTL {
            let problem = format!("must be 1 to {} seconds", MAX_JOIN_TOKEN_TTL.as_secs());
            return Err(CatalogError::invalid("ttl", problem));
        }
        let organization = actor.organization;
        let issued = self
            .mutate(actor, Role::Developer, "create join token", async |mut draft| {
                let row = self.live_deployment(organization, deployment).await?;
                draft.concerns(row.value.spec.project);
                draft.when(outrigger_store::Compare::Present(row.key));
                if let Some(id) = instance {
                    let row = self.instance_row(organization, deployment, id).await?;
                    if matches!(row.value.phase, InstancePhase::Destroying | InstancePhase::Gone) {
                        return Err(CatalogError::NotFound { what: INSTANCE });
                    }
                }
                let info = JoinTokenInfo {
                    id: JoinTokenId::new(draft.now, random()),
                    organization,
                    deployment,
                    instance,
                    created_at: draft.now,
                    expires_at: draft.now.saturating_add(ttl),
                    used_by: None,
                };
                let secret = random::<32>();
                let row = JoinTokenRow { secret_hash: hash_bytes(&secret), info };
                draft.put(keys::join_token(organization, row.info.id), &row);
                draft.put(keys::home::join_token(row.info.id), &Home(organization));
                draft.audit(AuditAction::Create, row.info.id, &format!("join token for {deployment}"));
                draft.then(IssuedJoinToken { row, secret })
            })
            .await?;
        Ok((issued.row.info, issued.secret))
    }

    /// Exchanges a join token for an identity. The same key may ask again and gets the same answer; another key does
    /// not, and has raised an alarm. For the control plane itself, on behalf of whoever holds the token.
    ///
    /// `key_fingerprint` is the SHA-256 of the agent's public key (SubjectPublicKeyInfo, DER).
    ///
    /// # Errors
    /// See [`EnrollError`].
    pub async fn enroll(
        &self,
        token: JoinTokenId,
        secret: &[u8; 32],
        key_fingerprint: [u8; 32],
        now: UnixMillis,
    ) -> Result<EnrollGrant, EnrollError> {
        let home = self.row::<Home>(keys::home::join_token(token)).await?.ok_or(EnrollError::Unknown)?;
        let organization = home.value.0;
        let proof = hash_bytes(secret);
        let first = Draft::new(now, organization, token.to_string(), Origin::default());
        let attempt = self
            .mutate_afresh(first, async |mut draft| {
                draft.now = now;
                self.attempt(draft, organization, token, &proof, key_fingerprint).await
            })
            .await;
        match attempt {
            Ok(Attempt::Granted(grant)) => Ok(grant),
            Ok(Attempt::Expired) => Err(EnrollError::Expired),
            Ok(Attempt::UsedByOther) => Err(EnrollError::UsedByOther),
            // What the token was for is gone, or the secret is wrong.
            Err(CatalogError::NotFound { .. } | CatalogError::Conflict { .. }) => Err(EnrollError::Unknown),
            Err(error) => Err(error.into()),
        }
    }

    async fn attempt(
        &self,
        mut draft: Draft,
        organization: OrganizationId,
        token: JoinTokenId,
        proof: &[u8; 32],
        key_fingerprint: [u8; 32],
    ) -> Result<Decided<Attempt>, CatalogError> {
        const WHAT: &str = "join token";
        let row = self.expect_row::<JoinTokenRow>(keys::join_token(organization, token), WHAT).await?;
        if !bool::from(row.value.secret_hash.ct_eq(proof)) {
            return Err(CatalogError::NotFound { what: WHAT });
        }
        if let Some(id) = row.value.info.used_by {
            let agent = self.expect_row::<Agent>(keys::agent(organization, id), "agent").await?.value;
            if agent.key_fingerprint == key_fingerprint && !agent.revoked {
                return Ok(Decided::Already(Attempt::Granted(EnrollGrant { agent, first_time: false })));
            }
            draft.event(&misuse(&draft, &row.value.info));
            self.concerns_deployment(&mut draft, row.value.info.deployment).await?;
            draft.audit(AuditAction::Failure, token, "a used join token was presented by another key");
            return draft.then(Attempt::UsedByOther);
        }
        if row.value.info.expires_at <= draft.now {
            return Ok(Decided::Already(Attempt::Expired));
        }
        let deployment = self.live_deployment(organization, row.value.info.deployment).await?;
        let agent = self.grant(&mut draft, &row, &deployment, key_fingerprint).await?;
        draft.concerns(deployment.value.spec.project);
        draft.audit(AuditAction::Enroll, agent.id, &format!("as the agent of {}", agent.instance));
        draft.then(Attempt::Granted(EnrollGrant { agent, first_time: true }))
    }

    /// A new identity for whoever holds the token, which is consumed.
    async fn grant(
        &self,
        draft: &mut Draft,
        token: &Row<JoinTokenRow>,
        deployment: &Row<Deployment>,
        key_fingerprint: [u8; 32],
    ) -> Result<Agent, CatalogError> {
        let JoinTokenInfo { organization, deployment: deployment_id, .. } = token.value.info;
        let agent_id = AgentId::new(draft.now, random());
        draft.when(outrigger_store::Compare::Present(deployment.key.clone()));
        let instance = match token.value.info.instance {
            Some(id) => {
                let row = self.instance_row(organization, deployment_id, id).await?;
                if matches!(row.value.phase, InstancePhase::Destroying | InstancePhase::Gone) {
                    return Err(CatalogError::NotFound { what: INSTANCE });
                }
                // One instance, one agent: an earlier one is replaced.
                self.retire_agent(draft, &row.value).await?;
                let joined = Instance { agent: Some(agent_id), updated_at: draft.now, ..row.value.clone() };
                draft.replace(&row, &joined);
                id
            }
            None => Self::admit_instance(draft, organization, deployment_id, agent_id),
        };
        let agent = Agent {
            id: agent_id,
            organization,
            deployment: deployment_id,
            instance,
            key_fingerprint,
            revoked: false,
            enrolled_at: draft.now,
        };
        draft.put(keys::agent(organization, agent_id), &agent);
        draft.put(keys::home::agent(agent_id), &Home(organization));
        let mut used = token.value.clone();
        used.info.used_by = Some(agent_id);
        draft.replace(token, &used);
        Ok(agent)
    }

    /// An instance for a sandbox that the control plane did not create.
    fn admit_instance(
        draft: &mut Draft,
        organization: OrganizationId,
        deployment: DeploymentId,
        agent: AgentId,
    ) -> InstanceId {
        let id = InstanceId::new(draft.now, random());
        let instance = Instance {
            id,
            organization,
            deployment,
            phase: InstancePhase::Running,
            endpoint: None,
            agent: Some(agent),
            outside: true,
            created_at: draft.now,
            updated_at: draft.now,
        };
        draft.mark(keys::fence(organization, deployment.to_bytes()));
        draft.put(keys::instance(organization, deployment, id), &instance);
        draft.put(keys::instance_home(organization, id), &InstanceHome(deployment));
        id
    }

    /// The identity behind a certificate, which names the agent and nothing else. For the control plane itself.
    ///
    /// # Errors
    /// Those of reading.
    pub async fn agent(&self, id: AgentId) -> Result<Option<Agent>, CatalogError> {
        match self.row::<Home>(keys::home::agent(id)).await? {
            None => Ok(None),
            Some(home) => Ok(self.row::<Agent>(keys::agent(home.value.0, id)).await?.map(|row| row.value)),
        }
    }

    /// Ends an agent's identity: its certificate is worth nothing from now on. Admin.
    ///
    /// # Errors
    /// [`CatalogError::NotFound`].
    pub async fn revoke_agent(&self, actor: &Actor, id: AgentId) -> Result<(), CatalogError> {
        self.mutate(actor, Role::Admin, "revoke agent", async |mut draft| {
            let row = self.expect_row::<Agent>(keys::agent(actor.organization, id), "agent").await?;
            if row.value.revoked {
                return Ok(Decided::Already(()));
            }
            draft.replace(&row, &Agent { revoked: true, ..row.value.clone() });
            self.concerns_deployment(&mut draft, row.value.deployment).await?;
            draft.audit(AuditAction::Update, id, "revoked");
            draft.then(())
        })
        .await
    }
}

fn misuse(draft: &Draft, token: &JoinTokenInfo) -> Event {
    Event {
        id: EventId::new(draft.now, random()),
        organization: token.organization,
        deployment: token.deployment,
        at: draft.now,
        kind: EventKind::TokenMisused,
        message: format!("the join token {} was used before, and presented again by another key", token.id),
        decision: None,
    }
}
