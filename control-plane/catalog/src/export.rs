//! An environment as a person names it, and all of it at once, for a program that a person runs.

use outrigger_protocol::environment::Environment as Plaintext;
use outrigger_protocol::id::{EnvironmentId, OrganizationId, ProjectId};

use crate::catalog::Catalog;
use crate::environments::ENVIRONMENT;
use crate::error::CatalogError;
use crate::keys;
use crate::model::{Actor, AuditAction, Environment, Generation, Project, Role, Stage};
use crate::projects::PROJECT;
use crate::record::ProjectRow;
use crate::validate::listed;

impl Catalog {
    /// The environment that a person means by a stage, by `stage/name`, or by an id; in the project that is named by its
    /// name or id, or in the only one. A stage alone means its only active environment.
    ///
    /// # Errors
    /// [`CatalogError::NotFound`]; [`CatalogError::Validation`] when it may be one of several, which are named.
    pub async fn find_environment(
        &self,
        actor: &Actor,
        project: Option<&str>,
        environment: &str,
    ) -> Result<Environment, CatalogError> {
        actor.require(Role::Viewer)?;
        let organization = actor.organization;
        if let Ok(id) = environment.parse::<EnvironmentId>() {
            let found = self.environment_row(organization, id).await?.value;
            return match project {
                Some(name) if self.find_project(organization, Some(name)).await? != found.project => {
                    Err(CatalogError::NotFound { what: ENVIRONMENT })
                }
                _ => Ok(found),
            };
        }
        let (stage, name) = match environment.split_once('/') {
            Some((stage, name)) => (stage, Some(name)),
            None => (environment, None),
        };
        let stage = Stage::ALL.into_iter().find(|known| known.name() == stage).ok_or_else(|| {
            let problem =
                "has to be development, staging or production, one of them with `/name`, or an environment's id";
            CatalogError::invalid("environment", problem)
        })?;
        let project = self.find_project(organization, project).await?;
        let mut found = Vec::new();
        for id in self.environments_of(organization, project).await? {
            // One that was deleted since is not found.
            let row = self.row::<Environment>(keys::environment(organization, id)).await?;
            found.extend(row.map(|row| row.value).filter(|candidate| match name {
                Some(name) => candidate.stage == stage && candidate.name == name,
                None => candidate.stage == stage && candidate.is_active,
            }));
        }
        let all = found.iter().map(|candidate| format!("{}/{}", candidate.stage.name(), candidate.name)).collect();
        the_only(found, all, ENVIRONMENT)
    }

    async fn find_project(
        &self,
        organization: OrganizationId,
        wanted: Option<&str>,
    ) -> Result<ProjectId, CatalogError> {
        if let Some(id) = wanted.and_then(|wanted| wanted.parse::<ProjectId>().ok()) {
            return Ok(self.expect_row::<ProjectRow>(keys::project(organization, id), PROJECT).await?.value.project.id);
        }
        let rows = self.rows::<ProjectRow>(&keys::projects(organization), None).await?;
        let projects = rows.into_iter().map(|row| row.value.project);
        let found: Vec<Project> =
            projects.filter(|project| wanted.is_none_or(|wanted| project.name == wanted)).collect();
        let all = match wanted {
            None => found.iter().map(|project| project.name.clone()).collect(),
            // Of several with one name only the ids differ.
            Some(_) => found.iter().map(|project| project.id.to_string()).collect(),
        };
        the_only(found, all, PROJECT).map(|project| project.id)
    }

    /// The newest generation of an environment with all its values, secret ones too. Developer; the audit log tells of it
    /// before the caller has it. `purpose` is for the audit log, in words.
    ///
    /// # Errors
    /// [`CatalogError::NotFound`].
    pub async fn export(
        &self,
        actor: &Actor,
        environment: EnvironmentId,
        purpose: &str,
    ) -> Result<(Generation, Plaintext), CatalogError> {
        actor.require(Role::Developer)?;
        let (generation, content) = self.effective(actor.organization, environment).await?;
        let mut draft = self.draft(actor);
        draft.concerns(self.environment_row(actor.organization, environment).await?.value.project);
        draft.audit(AuditAction::Export, environment, &format!("generation {} {purpose}", generation.number));
        self.commit(draft).await?;
        Ok((generation, content))
    }
}

fn the_only<T>(mut found: Vec<T>, names: Vec<String>, what: &'static str) -> Result<T, CatalogError> {
    match (found.pop(), found.is_empty()) {
        (Some(only), true) => Ok(only),
        (None, _) => Err(CatalogError::NotFound { what }),
        (Some(_), false) => {
            Err(CatalogError::invalid(what, format!("may be one of several, name one: {}", listed(names))))
        }
    }
}
