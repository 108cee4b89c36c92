//! One request for an environment and its answer.

use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use crate::codec::{CodecError, Discarded};
use crate::fetch as domain;
use crate::id::{EnvironmentId, ProjectId};
use crate::limits;
use crate::message::ConfigRef;
use crate::seal::Sealed;
use crate::wire::Counterpart;
use crate::wire::bounded::{Blob, clip, text, within};

#[derive(Serialize, Deserialize)]
pub(crate) struct FetchRequest<'a> {
    token: &'a str,
    #[serde(borrow)]
    project: Option<&'a str>,
    environment: &'a str,
    seal_key: [u8; 32],
    agent_version: &'a str,
}

impl<'a> Counterpart<'a> for FetchRequest<'a> {
    type Domain = domain::FetchRequest;

    fn from_domain(request: &'a domain::FetchRequest) -> Result<Self, CodecError> {
        within("token", request.token.len(), limits::TEXT_BYTES)?;
        within("project", request.project.as_deref().map_or(0, str::len), limits::TEXT_BYTES)?;
        within("environment", request.environment.len(), limits::TEXT_BYTES)?;
        Ok(Self {
            token: &request.token,
            project: request.project.as_deref(),
            environment: &request.environment,
            seal_key: request.seal_key,
            agent_version: clip(&request.agent_version),
        })
    }

    fn into_domain(self, _: &mut Discarded) -> Result<domain::FetchRequest, CodecError> {
        Ok(domain::FetchRequest {
            token: Zeroizing::new(text("token", self.token)?),
            project: self.project.map(|project| text("project", project)).transpose()?,
            environment: text("environment", self.environment)?,
            seal_key: self.seal_key,
            agent_version: text("agent version", self.agent_version)?,
        })
    }
}

#[derive(Serialize, Deserialize)]
pub(crate) enum FetchResponse<'a> {
    Lent {
        project: [u8; 16],
        environment: [u8; 16],
        generation: u64,
        hash: [u8; 32],
        encapsulated: [u8; 32],
        #[serde(borrow)]
        ciphertext: Blob<'a>,
    },
    Refused {
        reason: FetchRefusal,
        message: &'a str,
    },
}

#[derive(Serialize, Deserialize)]
pub(crate) enum FetchRefusal {
    BadToken,
    Forbidden,
    NotFound,
    BadRequest,
    TryLater,
}

impl<'a> Counterpart<'a> for FetchResponse<'a> {
    type Domain = domain::FetchResponse;

    fn from_domain(response: &'a domain::FetchResponse) -> Result<Self, CodecError> {
        Ok(match response {
            domain::FetchResponse::Lent { project, environment, config, sealed } => Self::Lent {
                project: project.to_bytes(),
                environment: environment.to_bytes(),
                generation: config.generation,
                hash: config.hash,
                encapsulated: sealed.encapsulated,
                ciphertext: Blob(&sealed.ciphertext),
            },
            domain::FetchResponse::Refused { reason, message } => {
                Self::Refused { reason: (*reason).into(), message: clip(message) }
            }
        })
    }

    fn into_domain(self, _: &mut Discarded) -> Result<domain::FetchResponse, CodecError> {
        Ok(match self {
            Self::Lent { project, environment, generation, hash, encapsulated, ciphertext } => {
                domain::FetchResponse::Lent {
                    project: ProjectId::from_bytes(project),
                    environment: EnvironmentId::from_bytes(environment),
                    config: ConfigRef { generation, hash },
                    sealed: Sealed { encapsulated, ciphertext: ciphertext.0.to_vec() },
                }
            }
            Self::Refused { reason, message } => {
                domain::FetchResponse::Refused { reason: reason.into(), message: text("refusal of a fetch", message)? }
            }
        })
    }
}

impl From<domain::FetchRefusal> for FetchRefusal {
    fn from(reason: domain::FetchRefusal) -> Self {
        match reason {
            domain::FetchRefusal::BadToken => Self::BadToken,
            domain::FetchRefusal::Forbidden => Self::Forbidden,
            domain::FetchRefusal::NotFound => Self::NotFound,
            domain::FetchRefusal::BadRequest => Self::BadRequest,
            domain::FetchRefusal::TryLater => Self::TryLater,
        }
    }
}

impl From<FetchRefusal> for domain::FetchRefusal {
    fn from(reason: FetchRefusal) -> Self {
        match reason {
            FetchRefusal::BadToken => Self::BadToken,
            FetchRefusal::Forbidden => Self::Forbidden,
            FetchRefusal::NotFound => Self::NotFound,
            FetchRefusal::BadRequest => Self::BadRequest,
            FetchRefusal::TryLater => Self::TryLater,
        }
    }
}
