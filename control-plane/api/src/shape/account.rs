use jiff::Timestamp;
use outrigger_catalog::{NewAccount, model};
use outrigger_protocol::transport::display_fingerprint;
use outrigger_secrets::SecretString;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::Problems;
use crate::error::ApiError;
use crate::text::write_time;

/// A new account. An organisation of its own is made with it.
#[derive(Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct Registration {
    #[schema(example = "ada@example.org")]
    pub(crate) email: String,
    #[serde(deserialize_with = "secret")]
    #[schema(value_type = String, format = Password, min_length = 8)]
    pub(crate) password: SecretString,
    #[serde(default)]
    pub(crate) name: String,
}

/// An account for somebody else, in the caller's organisation.
#[derive(Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct NewUser {
    #[schema(example = "grace@example.org")]
    email: String,
    #[serde(deserialize_with = "secret")]
    #[schema(value_type = String, format = Password, min_length = 8)]
    password: SecretString,
    #[serde(default)]
    name: String,
    /// viewer, developer, admin or owner
    #[schema(example = "admin")]
    role: String,
}

const ROLES: [model::Role; 4] = [model::Role::Viewer, model::Role::Developer, model::Role::Admin, model::Role::Owner];

impl NewUser {
    pub(crate) fn check(self) -> Result<(NewAccount, model::Role), ApiError> {
        let mut problems = Problems::default();
        let role = problems.parse("role", Some(&self.role), "one of viewer, developer, admin, owner", |text| {
            ROLES.into_iter().find(|role| role.name() == text)
        });
        problems.finish(|| {
            let account = NewAccount { email: self.email, password: self.password, name: self.name };
            (account, role.expect("an absent role is a problem"))
        })
    }
}

#[derive(Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct Login {
    pub(crate) email: String,
    #[serde(deserialize_with = "secret")]
    #[schema(value_type = String, format = Password)]
    pub(crate) password: SecretString,
}

pub(super) fn secret<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<SecretString, D::Error> {
    String::deserialize(deserializer).map(SecretString::from)
}

/// A token, shown this once.
#[derive(Serialize, ToSchema)]
pub(crate) struct SignedIn {
    pub(crate) token: String,
    pub(crate) user: User,
}

#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct User {
    id: String,
    email: String,
    name: String,
    role: &'static str,
    organization_id: String,
    #[schema(value_type = String, format = DateTime)]
    created_at: Timestamp,
}

impl From<model::User> for User {
    fn from(user: model::User) -> Self {
        Self {
            id: user.id.to_string(),
            email: user.email,
            name: user.name,
            role: user.role.name(),
            organization_id: user.organization.to_string(),
            created_at: write_time(user.created_at),
        }
    }
}

/// Who a token belongs to.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Me {
    /// `user` or `operator`.
    subject: &'static str,
    id: String,
    email: String,
    name: String,
    role: &'static str,
    organization_id: String,
    /// Where agents connect, for `outrigger-agent exec --control-plane`.
    agents_address: String,
    /// SHA-256 of the agents' CA, for `outrigger-agent exec --ca-fingerprint`.
    #[schema(example = "sha256:9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08")]
    ca_fingerprint: String,
}

impl Me {
    pub(crate) fn new(actor: &model::Actor, user: model::User, agents_address: String, ca: &[u8; 32]) -> Self {
        let subject = match actor.subject {
            model::Subject::User(_) => "user",
            model::Subject::Operator => "operator",
            model::Subject::System => "system",
        };
        Self {
            subject,
            role: actor.role.name(),
            organization_id: actor.organization.to_string(),
            agents_address,
            ca_fingerprint: display_fingerprint(ca),
            id: user.id.to_string(),
            email: user.email,
            name: user.name,
        }
    }
}
