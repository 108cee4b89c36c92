//! Every key of the catalog, in one place.
//!
//! There are two spaces. A tenant's rows begin with `t` and the sixteen bytes of the organisation, so that whoever
//! builds a key has said whose it is. What belongs to the installation begins with `i`: how to find an organisation
//! from something that does not name it (a token, an e-mail address, a certificate), and what all share.
//!
//! | tenant table | rest of the key | value |
//! |---|---|---|
//! | `organization` | | the organisation |
//! | `user` | user | user and password hash |
//! | `token` | token | bearer token, hashed |
//! | `project` | project | project |
//! | `data-key` | project, key | wrapped data key |
//! | `data-key-use` | project, key, environment, or the key itself | encryptions so far, by whom the count is kept |
//! | `rotation` | project | the last rotation of its data key: how far it is |
//! | `resealed` | environment | written whenever versions of its variables are sealed anew where they lie |
//! | `environment` | environment | environment |
//! | `environment-of` | project, environment | (index) |
//! | `environment-name` | project, stage, name | environment (uniqueness) |
//! | `environment-graph` | project | written whenever it changes which environments there are and what they are made of |
//! | `environment-dependent` | project, environment, dependent | (index) whose effective content depends on it |
//! | `change` | change | change of an environment that awaits approval, or did |
//! | `change-open` | environment, change | (index) those that are not decided |
//! | `change-value` | change, name | the version of a variable that it would write |
//! | `generation` | environment, number | generation: who, when, and which version of each variable |
//! | `variable` | environment, name | the newest version of a variable |
//! | `variable-old` | environment, name, generation | a version that a later generation replaced |
//! | `deployment` | deployment | deployment that is not destroyed |
//! | `deployment-gone` | deployment | destroyed deployment |
//! | `deployment-of-project` | project, deployment | (index) |
//! | `deployment-of-environment` | environment, deployment | (index) |
//! | `decision` | deployment | the latest decision, with its repeats |
//! | `rollout` | deployment, rollout | how a generation spread, for people; the newest ones are kept |
//! | `rollout-home` | rollout | its deployment |
//! | `rollout-state` | deployment, number | chunk of everything that the newest rollout knows |
//! | `instance` | deployment, instance | instance |
//! | `instance-home` | instance | its deployment |
//! | `intent` | intent | intent that is not finished |
//! | `join-token` | token | join token, hashed |
//! | `agent` | agent | agent |
//! | `policy`, `policy-digest`, `policy-chunk` | policy / digest / policy, number | uploaded component |
//! | `policy-use` | policy, deployment | (index) |
//! | `template` | id | template of the organisation's own, without its variables |
//! | `template-document` | id | all of such a template |
//! | `template-name` | name | (uniqueness) |
//! | `template-use` | id | how often the organisation applied a template, official ones included |
//! | `idempotency` | subject, key | request digest and sealed results |
//! | `fence` | parent's id | written whenever a child is added: see [`fence`] |
//! | `erase` | environment | rows that are still to be deleted |
//! | `audit-head` | | where the audit log ends, signed |
//!
//! | tenant log | rest of the name | entries |
//! |---|---|---|
//! | `audit` | | every mutation, each entry with the hash of the one before |
//! | `decisions` | deployment | decisions before the latest |
//! | `events` | deployment | events |
//!
//! | installation table | rest of the key | value |
//! |---|---|---|
//! | `key-check` | | which master key protects this database, and which one takes its place |
//! | `rotation` | | the last rotation of the master key: how far it is |
//! | `operator` | | the operator's organisation and user |
//! | `blob` | label | sealed bytes |
//! | `organization` | organisation | (index) |
//! | `email` | e-mail address | organisation and user |
//! | `token`, `deployment`, `intent`, `join-token`, `agent`, `policy-home` | id | its organisation |
//! | `policy`, `policy-digest`, `policy-chunk` | as above | built-in policies |

use outrigger_protocol::id::{
    AgentId, ChangeId, DeploymentId, EnvironmentId, InstanceId, IntentId, JoinTokenId, KeyId, OrganizationId, PolicyId,
    ProjectId, RolloutId, TokenId, UserId,
};
use outrigger_store::{Key, KeyBuilder, LogName};

use crate::model::Stage;

const TENANT: &[u8; 1] = b"t";
const INSTALLATION: &[u8; 1] = b"i";

const ENVIRONMENT: &str = "environment";
const DEPLOYMENT: &str = "deployment";

fn tenant(organization: OrganizationId, table: &str) -> KeyBuilder {
    Key::builder().array(TENANT).array(&organization.to_bytes()).text(table)
}

fn installation(table: &str) -> KeyBuilder {
    Key::builder().array(INSTALLATION).text(table)
}

/// All tenants' rows.
pub(crate) fn tenants() -> Key {
    Key::builder().array(TENANT).build()
}

/// Everything of one tenant.
pub(crate) fn tenant_rows(organization: OrganizationId) -> Key {
    Key::builder().array(TENANT).array(&organization.to_bytes()).build()
}

/// Whose a row is; nobody's when it is the installation's.
pub(crate) fn organization_of(key: &Key) -> Option<OrganizationId> {
    key.reader_after(&tenants())?.array().ok().map(OrganizationId::from_bytes)
}

/// What a row of interest to a watcher is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Watched {
    Environment(OrganizationId, EnvironmentId),
    Deployment(OrganizationId, DeploymentId),
}

/// Whether a changed tenant row is one that watchers are told of.
pub(crate) fn watched(key: &Key) -> Option<Watched> {
    let mut reader = key.reader_after(&tenants())?;
    let organization = OrganizationId::from_bytes(reader.array().ok()?);
    let table = reader.text().ok()?;
    let id = reader.array().ok();
    match &*table {
        ENVIRONMENT => Some(Watched::Environment(organization, EnvironmentId::from_bytes(id?))),
        DEPLOYMENT => Some(Watched::Deployment(organization, DeploymentId::from_bytes(id?))),
        _ => None,
    }
}

/// Prefixes end in fixed-width ids, whose bytes are the last sixteen of a key below them.
pub(crate) fn last_id(key: &Key) -> Option<[u8; 16]> {
    key.as_bytes().last_chunk().copied()
}

macro_rules! rows {
    ($($(#[$doc:meta])* $space:ident $name:ident ($($argument:ident: $type:ty),*) = $table:expr;)+) => {$(
        $(#[$doc])*
        pub(crate) fn $name(organization: OrganizationId $(, $argument: $type)*) -> Key {
            $space(organization, $table)$(.array(&$argument.to_bytes()))*.build()
        }
    )+};
}

rows! {
    tenant organization() = "organization";
    tenant user(id: UserId) = "user";
    tenant tokens() = "token";
    tenant token(id: TokenId) = "token";
    tenant projects() = "project";
    tenant project(id: ProjectId) = "project";
    tenant data_keys(project: ProjectId) = "data-key";
    tenant data_key(project: ProjectId, id: KeyId) = "data-key";
    tenant data_key_uses_of_project(project: ProjectId) = "data-key-use";
    tenant data_key_uses(project: ProjectId, id: KeyId) = "data-key-use";
    tenant data_key_use(project: ProjectId, id: KeyId, environment: EnvironmentId) = "data-key-use";
    tenant all_data_key_uses() = "data-key-use";
    /// What a rotation has encrypted is counted apart from what environments' changes have: each count has one writer.
    tenant data_key_use_of_rotation(project: ProjectId, id: KeyId, rotation: KeyId) = "data-key-use";
    tenant all_data_keys() = "data-key";
    tenant rotations() = "rotation";
    tenant rotation(project: ProjectId) = "rotation";
    /// Whoever moves versions aside relies on it: what was read is still how they are sealed.
    tenant resealed(environment: EnvironmentId) = "resealed";
    tenant environment(id: EnvironmentId) = ENVIRONMENT;
    tenant environments_of(project: ProjectId) = "environment-of";
    tenant environment_of(project: ProjectId, id: EnvironmentId) = "environment-of";
    tenant environment_names(project: ProjectId) = "environment-name";
    /// Rewritten whenever what environments are made of changes: which there are, how they are called, and which of
    /// them depend on which.
    tenant environment_graph(project: ProjectId) = "environment-graph";
    tenant dependents_of_project(project: ProjectId) = "environment-dependent";
    tenant dependents(project: ProjectId, environment: EnvironmentId) = "environment-dependent";
    tenant dependent(project: ProjectId, environment: EnvironmentId, id: EnvironmentId) = "environment-dependent";
    tenant changes() = "change";
    tenant change(id: ChangeId) = "change";
    tenant all_open_changes() = "change-open";
    tenant open_changes(environment: EnvironmentId) = "change-open";
    tenant open_change(environment: EnvironmentId, id: ChangeId) = "change-open";
    tenant change_values(id: ChangeId) = "change-value";
    tenant generations(environment: EnvironmentId) = "generation";
    tenant all_variables() = "variable";
    tenant variables(environment: EnvironmentId) = "variable";
    tenant all_old_variables() = "variable-old";
    tenant old_variables(environment: EnvironmentId) = "variable-old";
    tenant deployments() = DEPLOYMENT;
    tenant deployment(id: DeploymentId) = DEPLOYMENT;
    tenant gone_deployments() = "deployment-gone";
    tenant gone_deployment(id: DeploymentId) = "deployment-gone";
    tenant deployments_of_project(project: ProjectId) = "deployment-of-project";
    tenant deployment_of_project(project: ProjectId, id: DeploymentId) = "deployment-of-project";
    tenant deployments_of_environment(environment: EnvironmentId) = "deployment-of-environment";
    tenant deployment_of_environment(environment: EnvironmentId, id: DeploymentId) = "deployment-of-environment";
    tenant latest_decision(deployment: DeploymentId) = "decision";
    tenant rollouts(deployment: DeploymentId) = "rollout";
    tenant rollout(deployment: DeploymentId, id: RolloutId) = "rollout";
    tenant rollout_home(id: RolloutId) = "rollout-home";
    tenant rollout_states(deployment: DeploymentId) = "rollout-state";
    tenant all_instances() = "instance";
    tenant instances(deployment: DeploymentId) = "instance";
    tenant instance(deployment: DeploymentId, id: InstanceId) = "instance";
    tenant instance_home(id: InstanceId) = "instance-home";
    tenant intent(id: IntentId) = "intent";
    tenant join_tokens() = "join-token";
    tenant join_token(id: JoinTokenId) = "join-token";
    tenant agent(id: AgentId) = "agent";
    tenant policy_uses(policy: PolicyId) = "policy-use";
    tenant policy_use(policy: PolicyId, deployment: DeploymentId) = "policy-use";
    tenant templates() = "template";
    tenant template_documents() = "template-document";
    tenant template_names() = "template-name";
    tenant template_uses() = "template-use";
    tenant idempotencies() = "idempotency";
    tenant audit_head() = "audit-head";
    tenant erasures() = "erase";
    tenant erasure(environment: EnvironmentId) = "erase";
}

/// A row without content that is rewritten whenever something is added below a parent. Adding does not compare it, so
/// that additions never hinder each other; deleting the parent does, and so notices one that it has not seen. An
/// environment's is rewritten also when a deployment begins to run with it, which a change that it could not run with
/// notices in the same way.
pub(crate) fn fence(organization: OrganizationId, parent: [u8; 16]) -> Key {
    tenant(organization, "fence").array(&parent).build()
}

pub(crate) fn environment_name(organization: OrganizationId, project: ProjectId, stage: Stage, name: &str) -> Key {
    environment_names(organization, project).extend().text(stage.name()).text(name).build()
}

pub(crate) fn generation(organization: OrganizationId, environment: EnvironmentId, number: u64) -> Key {
    generations(organization, environment).extend().u64(number).build()
}

pub(crate) fn variable(organization: OrganizationId, environment: EnvironmentId, name: &str) -> Key {
    variables(organization, environment).extend().text(name).build()
}

pub(crate) fn old_variable(
    organization: OrganizationId,
    environment: EnvironmentId,
    name: &str,
    generation: u64,
) -> Key {
    old_variables(organization, environment).extend().text(name).u64(generation).build()
}

pub(crate) fn template(organization: OrganizationId, id: &str) -> Key {
    templates(organization).extend().text(id).build()
}

pub(crate) fn template_document(organization: OrganizationId, id: &str) -> Key {
    template_documents(organization).extend().text(id).build()
}

pub(crate) fn template_name(organization: OrganizationId, name: &str) -> Key {
    template_names(organization).extend().text(name).build()
}

pub(crate) fn template_use(organization: OrganizationId, id: &str) -> Key {
    template_uses(organization).extend().text(id).build()
}

pub(crate) fn change_value(organization: OrganizationId, change: ChangeId, name: &str) -> Key {
    change_values(organization, change).extend().text(name).build()
}

pub(crate) fn rollout_state(organization: OrganizationId, deployment: DeploymentId, number: u64) -> Key {
    rollout_states(organization, deployment).extend().u64(number).build()
}

pub(crate) fn idempotency(organization: OrganizationId, subject: &str, key: &str) -> Key {
    idempotencies(organization).extend().text(subject).text(key).build()
}

pub(crate) fn audit_log(organization: OrganizationId) -> LogName {
    LogName::from(tenant(organization, "audit").build())
}

pub(crate) fn decision_log(organization: OrganizationId, deployment: DeploymentId) -> LogName {
    LogName::from(tenant(organization, "decisions").array(&deployment.to_bytes()).build())
}

pub(crate) fn event_log(organization: OrganizationId, deployment: DeploymentId) -> LogName {
    LogName::from(tenant(organization, "events").array(&deployment.to_bytes()).build())
}

/// Whose policies: a tenant's own, or those that are built in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct PolicyShelf(pub(crate) Option<OrganizationId>);

impl PolicyShelf {
    fn table(self, table: &str) -> KeyBuilder {
        self.0.map_or_else(|| installation(table), |organization| tenant(organization, table))
    }

    pub(crate) fn policies(self) -> Key {
        self.table("policy").build()
    }

    pub(crate) fn policy(self, id: PolicyId) -> Key {
        self.table("policy").array(&id.to_bytes()).build()
    }

    pub(crate) fn digest(self, digest: &[u8; 32]) -> Key {
        self.table("policy-digest").array(digest).build()
    }

    pub(crate) fn all_chunks(self) -> Key {
        self.table("policy-chunk").build()
    }

    pub(crate) fn chunks(self, id: PolicyId) -> Key {
        self.table("policy-chunk").array(&id.to_bytes()).build()
    }

    pub(crate) fn chunk(self, id: PolicyId, number: u64) -> Key {
        self.chunks(id).extend().u64(number).build()
    }
}

pub(crate) fn all_of_installation() -> Key {
    Key::builder().array(INSTALLATION).build()
}

pub(crate) fn key_check() -> Key {
    installation("key-check").build()
}

pub(crate) fn master_rotation() -> Key {
    installation("rotation").build()
}

pub(crate) fn operator() -> Key {
    installation("operator").build()
}

pub(crate) fn blobs() -> Key {
    installation("blob").build()
}

pub(crate) fn blob(label: &str) -> Key {
    blobs().extend().text(label).build()
}

pub(crate) fn email(address: &str) -> Key {
    installation("email").text(address).build()
}

pub(crate) fn organizations() -> Key {
    installation("organization").build()
}

pub(crate) fn organization_entry(id: OrganizationId) -> Key {
    installation("organization").array(&id.to_bytes()).build()
}

/// Rows of the installation that say which organisation an id belongs to.
pub(crate) mod home {
    use super::{AgentId, DeploymentId, IntentId, JoinTokenId, Key, PolicyId, TokenId, installation};

    pub(crate) fn token(id: TokenId) -> Key {
        installation("token").array(&id.to_bytes()).build()
    }

    pub(crate) fn deployments() -> Key {
        installation("deployment").build()
    }

    pub(crate) fn deployment(id: DeploymentId) -> Key {
        installation("deployment").array(&id.to_bytes()).build()
    }

    pub(crate) fn intents() -> Key {
        installation("intent").build()
    }

    pub(crate) fn intent(id: IntentId) -> Key {
        installation("intent").array(&id.to_bytes()).build()
    }

    pub(crate) fn join_token(id: JoinTokenId) -> Key {
        installation("join-token").array(&id.to_bytes()).build()
    }

    pub(crate) fn agent(id: AgentId) -> Key {
        installation("agent").array(&id.to_bytes()).build()
    }

    pub(crate) fn policy(id: PolicyId) -> Key {
        installation("policy-home").array(&id.to_bytes()).build()
    }
}

#[cfg(test)]
mod tests {
    use outrigger_store::KeyRange;

    use super::*;

    #[test]
    fn a_tenants_rows_begin_with_the_organisation_and_no_table_covers_another() {
        let (mine, other) = (OrganizationId::generate(), OrganizationId::generate());
        let project = ProjectId::generate();
        let key = project_key(mine, project);
        assert!(key.as_bytes().starts_with(&[&b"t"[..], &mine.to_bytes()].concat()));
        assert!(!KeyRange::prefix(&projects(other)).contains(&key));
        assert!(KeyRange::prefix(&projects(mine)).contains(&key));
        assert!(!KeyRange::prefix(&deployments(mine)).contains(&gone_deployment(mine, DeploymentId::generate())));
        assert_eq!(last_id(&key), Some(project.to_bytes()));
    }

    fn project_key(organization: OrganizationId, id: ProjectId) -> Key {
        project(organization, id)
    }

    #[test]
    fn only_environments_and_deployments_are_told_of() {
        let organization = OrganizationId::generate();
        let (environment_id, deployment_id) = (EnvironmentId::generate(), DeploymentId::generate());
        assert_eq!(
            watched(&environment(organization, environment_id)),
            Some(Watched::Environment(organization, environment_id))
        );
        assert_eq!(
            watched(&deployment(organization, deployment_id)),
            Some(Watched::Deployment(organization, deployment_id))
        );
        assert_eq!(watched(&project(organization, ProjectId::generate())), None);
        assert_eq!(watched(&gone_deployment(organization, deployment_id)), None);
        assert_eq!(watched(&key_check()), None);
    }
}
