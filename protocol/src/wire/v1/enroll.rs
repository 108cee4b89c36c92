//! One request and its answer.

use serde::{Deserialize, Serialize};

use super::{Chain, chain_from, chain_into};
use crate::codec::{CodecError, Discarded};
use crate::id::{AgentId, DeploymentId, InstanceId, JoinTokenId};
use crate::limits;
use crate::message as domain;
use crate::time::UnixMillis;
use crate::wire::Counterpart;
use crate::wire::bounded::{Blob, clip, text};

#[derive(Serialize, Deserialize)]
pub(crate) struct EnrollRequest<'a> {
    token: [u8; 16],
    secret: [u8; 32],
    #[serde(borrow)]
    csr: Blob<'a>,
    seal_key: [u8; 32],
    agent_version: &'a str,
}

impl<'a> Counterpart<'a> for EnrollRequest<'a> {
    type Domain = domain::EnrollRequest;

    fn from_domain(request: &'a domain::EnrollRequest) -> Result<Self, CodecError> {
        Ok(Self {
            token: request.token.to_bytes(),
            secret: request.secret,
            csr: Blob(Blob(&request.csr).checked("certificate request", limits::CSR_BYTES)?),
            seal_key: request.seal_key,
            agent_version: clip(&request.agent_version),
        })
    }

    fn into_domain(self, _: &mut Discarded) -> Result<domain::EnrollRequest, CodecError> {
        Ok(domain::EnrollRequest {
            token: JoinTokenId::from_bytes(self.token),
            secret: self.secret,
            csr: self.csr.checked("certificate request", limits::CSR_BYTES)?.to_vec(),
            seal_key: self.seal_key,
            agent_version: text("agent version", self.agent_version)?,
        })
    }
}

#[derive(Serialize, Deserialize)]
pub(crate) enum EnrollResponse<'a> {
    Issued {
        agent: [u8; 16],
        instance: [u8; 16],
        deployment: [u8; 16],
        #[serde(borrow)]
        chain: Chain<'a>,
        not_after: u64,
    },
    Refused {
        reason: EnrollRefusal,
        message: &'a str,
    },
}

#[derive(Serialize, Deserialize)]
pub(crate) enum EnrollRefusal {
    UnknownToken,
    ExpiredToken,
    UsedToken,
    BadRequest,
    TryLater,
}

impl<'a> Counterpart<'a> for EnrollResponse<'a> {
    type Domain = domain::EnrollResponse;

    fn from_domain(response: &'a domain::EnrollResponse) -> Result<Self, CodecError> {
        Ok(match response {
            domain::EnrollResponse::Issued { agent, instance, deployment, chain, not_after } => Self::Issued {
                agent: agent.to_bytes(),
                instance: instance.to_bytes(),
                deployment: deployment.to_bytes(),
                chain: chain_from(chain)?,
                not_after: not_after.as_millis(),
            },
            domain::EnrollResponse::Refused { reason, message } => {
                Self::Refused { reason: (*reason).into(), message: clip(message) }
            }
        })
    }

    fn into_domain(self, _: &mut Discarded) -> Result<domain::EnrollResponse, CodecError> {
        Ok(match self {
            Self::Issued { agent, instance, deployment, chain, not_after } => domain::EnrollResponse::Issued {
                agent: AgentId::from_bytes(agent),
                instance: InstanceId::from_bytes(instance),
                deployment: DeploymentId::from_bytes(deployment),
                chain: chain_into(chain)?,
                not_after: UnixMillis::from_millis(not_after),
            },
            Self::Refused { reason, message } => domain::EnrollResponse::Refused {
                reason: reason.into(),
                message: text("refusal of an enrolment", message)?,
            },
        })
    }
}

impl From<domain::EnrollRefusal> for EnrollRefusal {
    fn from(reason: domain::EnrollRefusal) -> Self {
        match reason {
            domain::EnrollRefusal::UnknownToken => Self::UnknownToken,
            domain::EnrollRefusal::ExpiredToken => Self::ExpiredToken,
            domain::EnrollRefusal::UsedToken => Self::UsedToken,
            domain::EnrollRefusal::BadRequest => Self::BadRequest,
            domain::EnrollRefusal::TryLater => Self::TryLater,
        }
    }
}

impl From<EnrollRefusal> for domain::EnrollRefusal {
    fn from(reason: EnrollRefusal) -> Self {
        match reason {
            EnrollRefusal::UnknownToken => Self::UnknownToken,
            EnrollRefusal::ExpiredToken => Self::ExpiredToken,
            EnrollRefusal::UsedToken => Self::UsedToken,
            EnrollRefusal::BadRequest => Self::BadRequest,
            EnrollRefusal::TryLater => Self::TryLater,
        }
    }
}
