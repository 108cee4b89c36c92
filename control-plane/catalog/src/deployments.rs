//! Deployments: programs that are run as a number of instances.

use std::collections::BTreeSet;

use outrigger_protocol::id::{DeploymentId, EnvironmentId, EventId, OrganizationId, PolicyId, ProjectId};
use outrigger_store::Compare;

use crate::catalog::{Catalog, Row, random};
use crate::environments::ENVIRONMENT;
use crate::error::CatalogError;
use crate::keys;
use crate::model::{
    Actor, AuditAction, Deployment, DeploymentSpec, DeploymentStatus, Environment, Event, EventKind, InstancePhase,
    PolicyBinding, Role,
};
use crate::mutation::{Decided, Draft};
use crate::page::{Listing, Page};
use crate::projects::PROJECT;
use crate::record::{Empty, Home, ProjectRow};
use crate::validate::{Problems, clip};

pub(crate) const DEPLOYMENT: &str = "deployment";
const STATUS_REASON_BYTES: usize = 1024;

impl Catalog {
    /// Makes a deployment that does not run yet. Developer.
    ///
    /// # Errors
    /// [`CatalogError::Validation`] with every problem; [`CatalogError::NotFound`] for the project, the environment or
    /// a policy.
    pub async fn create_deployment(&self, actor: &Actor, spec: DeploymentSpec) -> Result<Deployment, CatalogError> {
        let mut problems = Problems::default();
        problems.deployment(&spec);
        problems.into_result()?;
        let (spec, organization) = (&spec, actor.organization);
        self.mutate(actor, Role::Developer, "create deployment", async |mut draft| {
            let deployment = Deployment {
                id: DeploymentId::new(draft.now, random()),
                organization,
                spec: spec.clone(),
                status: DeploymentStatus::Pending,
                status_reason: None,
                desired_replicas: 0,
                paused: false,
                last_scale_up: None,
                last_scale_down: None,
                created_at: draft.now,
                updated_at: draft.now,
            };
            let project = keys::project(organization, spec.project);
            self.expect_row::<ProjectRow>(project.clone(), PROJECT).await?;
            draft.when(Compare::Present(project));
            draft.mark(keys::fence(organization, spec.project.to_bytes()));
            draft.mark(keys::deployment_of_project(organization, spec.project, deployment.id));
            self.enter_environment(&mut draft, organization, deployment.id, spec).await?;
            for policy in policies_of(spec) {
                self.use_policy(&mut draft, organization, deployment.id, policy).await?;
            }
            draft.put(keys::home::deployment(deployment.id), &Home(organization));
            draft.put(keys::deployment(organization, deployment.id), &deployment);
            draft.concerns(spec.project);
            draft.audit(AuditAction::Create, deployment.id, &format!("deployment {}", spec.name));
            draft.then(deployment)
        })
        .await
    }

    async fn enter_environment(
        &self,
        draft: &mut Draft,
        organization: OrganizationId,
        deployment: DeploymentId,
        spec: &DeploymentSpec,
    ) -> Result<(), CatalogError> {
        let key = keys::environment(organization, spec.environment);
        let environment = self.expect_row::<Environment>(key.clone(), ENVIRONMENT).await?;
        if environment.value.project != spec.project {
            return Err(CatalogError::invalid("environment", "belongs to another project"));
        }
        draft.when(Compare::Present(key));
        draft.mark(keys::fence(organization, spec.environment.to_bytes()));
        draft.mark(keys::deployment_of_environment(organization, spec.environment, deployment));
        Ok(())
    }

    /// The deployments of the actor's organisation or of one of its projects that are not destroyed, oldest first.
    ///
    /// # Errors
    /// [`CatalogError::NotFound`] for the project.
    pub async fn list_deployments(
        &self,
        actor: &Actor,
        project: Option<ProjectId>,
        page: Page,
    ) -> Result<Listing<Deployment>, CatalogError> {
        actor.require(Role::Viewer)?;
        let organization = actor.organization;
        let Some(project) = project else {
            return self.page_of_rows::<Deployment>(&keys::deployments(organization), &page).await;
        };
        self.project(actor, project).await?;
        let Listing { items, next } =
            self.page_of_keys(&keys::deployments_of_project(organization, project), &page).await?;
        let ids = items.iter().filter_map(|entry| keys::last_id(&entry.key)).map(DeploymentId::from_bytes);
        Ok(Listing { items: self.deployments_by_id(organization, ids).await?, next })
    }

    /// A deployment, also one that is destroyed.
    ///
    /// # Errors
    /// [`CatalogError::NotFound`].
    pub async fn deployment(&self, actor: &Actor, id: DeploymentId) -> Result<Deployment, CatalogError> {
        actor.require(Role::Viewer)?;
        if let Some(row) = self.row::<Deployment>(keys::deployment(actor.organization, id)).await? {
            return Ok(row.value);
        }
        Ok(self.expect_row::<Deployment>(keys::gone_deployment(actor.organization, id), DEPLOYMENT).await?.value)
    }

    /// A deployment that can still be changed.
    pub(crate) async fn live_deployment(
        &self,
        organization: OrganizationId,
        id: DeploymentId,
    ) -> Result<Row<Deployment>, CatalogError> {
        if let Some(row) = self.row::<Deployment>(keys::deployment(organization, id)).await? {
            return Ok(row);
        }
        self.expect_row::<Deployment>(keys::gone_deployment(organization, id), DEPLOYMENT).await?;
        Err(CatalogError::conflict("the deployment is destroyed"))
    }

    /// Replaces what a deployment is to be. Its project stays; instances that run keep what they were started with.
    /// Developer.
    ///
    /// # Errors
    /// As [`create_deployment`](Self::create_deployment); [`CatalogError::Validation`] also when it runs and could not
    /// with the environment or the allowed names that it is to have; [`CatalogError::Conflict`] when it is destroyed.
    pub async fn update_deployment(
        &self,
        actor: &Actor,
        id: DeploymentId,
        spec: DeploymentSpec,
    ) -> Result<Deployment, CatalogError> {
        let mut problems = Problems::default();
        problems.deployment(&spec);
        problems.into_result()?;
        let spec = &spec;
        self.mutate(actor, Role::Developer, "update deployment", async |mut draft| {
            let row = self.live_deployment(actor.organization, id).await?;
            self.respecify(&mut draft, &row, spec, "changed").await?;
            decide_respecified(draft, row, spec)
        })
        .await
    }

    /// Binds a policy, or changes the binding of the same name. Developer.
    ///
    /// # Errors
    /// [`CatalogError::NotFound`] for the deployment or the policy, [`CatalogError::Validation`],
    /// [`CatalogError::Conflict`] when the deployment is destroyed.
    pub async fn bind_policy(
        &self,
        actor: &Actor,
        id: DeploymentId,
        binding: PolicyBinding,
    ) -> Result<Deployment, CatalogError> {
        let mut problems = Problems::default();
        problems.binding("", &binding);
        problems.into_result()?;
        let binding = &binding;
        self.mutate(actor, Role::Developer, "bind policy", async |mut draft| {
            let row = self.live_deployment(actor.organization, id).await?;
            let mut spec = row.value.spec.clone();
            match spec.policies.iter_mut().find(|present| present.name == binding.name) {
                Some(present) => present.clone_from(binding),
                None => spec.policies.push(binding.clone()),
            }
            let mut problems = Problems::default();
            problems.deployment(&spec);
            problems.into_result()?;
            let detail = format!("bound the policy {}, {}", binding.name, binding.mode.name());
            self.respecify(&mut draft, &row, &spec, &detail).await?;
            decide_respecified(draft, row, &spec)
        })
        .await
    }

    /// Developer.
    ///
    /// # Errors
    /// [`CatalogError::NotFound`] for the deployment or a binding of that name.
    pub async fn unbind_policy(&self, actor: &Actor, id: DeploymentId, name: &str) -> Result<Deployment, CatalogError> {
        self.mutate(actor, Role::Developer, "unbind policy", async |mut draft| {
            let row = self.live_deployment(actor.organization, id).await?;
            let mut spec = row.value.spec.clone();
            spec.policies.retain(|binding| binding.name != name);
            if spec == row.value.spec {
                return Err(CatalogError::NotFound { what: "policy binding" });
            }
            self.respecify(&mut draft, &row, &spec, &format!("unbound the policy {name}")).await?;
            decide_respecified(draft, row, &spec)
        })
        .await
    }

    /// Adds to a draft what follows from another specification.
    async fn respecify(
        &self,
        draft: &mut Draft,
        row: &Row<Deployment>,
        spec: &DeploymentSpec,
        detail: &str,
    ) -> Result<(), CatalogError> {
        let Deployment { id, organization, spec: present, status, .. } = &row.value;
        if spec.project != present.project {
            return Err(CatalogError::invalid("projectId", "cannot be changed"));
        }
        if spec.environment != present.environment {
            draft.delete(keys::deployment_of_environment(*organization, present.environment, *id));
            self.enter_environment(draft, *organization, *id, spec).await?;
        }
        let other_demands = spec.environment != present.environment || spec.allowed_names != present.allowed_names;
        if status.is_started() && other_demands {
            self.demand_runnable(draft, *organization, spec).await?;
        }
        let (before, after) = (policies_of(present), policies_of(spec));
        for policy in before.difference(&after) {
            draft.delete(keys::policy_use(*organization, *policy, *id));
        }
        for policy in after.difference(&before) {
            self.use_policy(draft, *organization, *id, *policy).await?;
        }
        draft.concerns(spec.project);
        draft.audit(AuditAction::Update, id, detail);
        Ok(())
    }

    async fn use_policy(
        &self,
        draft: &mut Draft,
        organization: OrganizationId,
        deployment: DeploymentId,
        policy: PolicyId,
    ) -> Result<(), CatalogError> {
        let row = self.policy_row(organization, policy).await?;
        draft.when(Compare::Present(row.key));
        draft.mark(keys::fence(organization, policy.to_bytes()));
        draft.mark(keys::policy_use(organization, policy, deployment));
        Ok(())
    }

    /// Destroys a deployment that does not run. Its history stays for a while. Developer.
    ///
    /// # Errors
    /// [`CatalogError::Conflict`] unless it is stopped, failed or pending, and all its instances are gone.
    pub async fn delete_deployment(&self, actor: &Actor, id: DeploymentId) -> Result<Deployment, CatalogError> {
        let organization = actor.organization;
        self.mutate(actor, Role::Developer, "delete deployment", async |mut draft| {
            let row = self.live_deployment(organization, id).await?;
            let fence = keys::fence(organization, id.to_bytes());
            let children = self.row::<Empty>(fence.clone()).await?;
            let status = row.value.status;
            if !matches!(status, DeploymentStatus::Stopped | DeploymentStatus::Failed | DeploymentStatus::Pending) {
                return Err(CatalogError::conflict(format!("the deployment is {}: stop it first", status.name())));
            }
            let instances = self.instances_of(organization, id).await?;
            let left = instances.iter().filter(|row| row.value.phase != InstancePhase::Gone).count();
            if left > 0 {
                return Err(CatalogError::conflict(format!("{left} instances of the deployment are not gone yet")));
            }
            let spec = &row.value.spec;
            draft.relies_on(&row);
            draft.relies_on_or_absence(fence.clone(), children.as_ref());
            draft.delete(row.key.clone());
            draft.delete(fence);
            draft.delete(keys::home::deployment(id));
            draft.delete_below(&keys::rollout_states(organization, id));
            draft.delete(keys::deployment_of_project(organization, spec.project, id));
            draft.delete(keys::deployment_of_environment(organization, spec.environment, id));
            for policy in policies_of(spec) {
                draft.delete(keys::policy_use(organization, policy, id));
            }
            let gone = Deployment {
                status: DeploymentStatus::Destroyed,
                status_reason: None,
                desired_replicas: 0,
                updated_at: draft.now,
                ..row.value.clone()
            };
            draft.put(keys::gone_deployment(organization, id), &gone);
            draft.event(&status_event(&draft, &gone, status));
            draft.concerns(gone.spec.project);
            draft.audit(AuditAction::Delete, id, &format!("deployment {}", gone.spec.name));
            draft.then(gone)
        })
        .await
    }

    /// Moves a deployment on in its life. `reason` is kept for [`DeploymentStatus::Failed`]. Developer; mostly the
    /// control plane itself.
    ///
    /// # Errors
    /// [`CatalogError::NotFound`]; [`CatalogError::Conflict`] when it is destroyed, which is also how it becomes so:
    /// by [`delete_deployment`](Self::delete_deployment) alone.
    pub async fn set_status(
        &self,
        actor: &Actor,
        id: DeploymentId,
        status: DeploymentStatus,
        reason: Option<String>,
    ) -> Result<Deployment, CatalogError> {
        if status == DeploymentStatus::Destroyed {
            return Err(CatalogError::conflict("a deployment is destroyed by deleting it"));
        }
        let reason = &reason;
        self.mutate(actor, Role::Developer, "set status", async |draft| {
            let row = self.live_deployment(actor.organization, id).await?;
            decide_moved(draft, row, status, reason.as_deref())
        })
        .await
    }

    /// Has a deployment begin to run: it is [`DeploymentStatus::Provisioning`] from now on, and a change with which it
    /// could not run is refused. Developer.
    ///
    /// # Errors
    /// [`CatalogError::Validation`] names every required variable without a value and every name that the deployment
    /// does not allow; [`CatalogError::NotFound`]; [`CatalogError::Conflict`] when it is destroyed.
    pub async fn begin_deployment(&self, actor: &Actor, id: DeploymentId) -> Result<Deployment, CatalogError> {
        self.mutate(actor, Role::Developer, "begin deployment", async |mut draft| {
            let row = self.live_deployment(actor.organization, id).await?;
            self.demand_runnable(&mut draft, actor.organization, &row.value.spec).await?;
            decide_moved(draft, row, DeploymentStatus::Provisioning, None)
        })
        .await
    }

    /// Switches automatic scaling off or on. Developer.
    ///
    /// # Errors
    /// [`CatalogError::NotFound`]; [`CatalogError::Conflict`] when it is destroyed.
    pub async fn set_paused(&self, actor: &Actor, id: DeploymentId, paused: bool) -> Result<Deployment, CatalogError> {
        self.mutate(actor, Role::Developer, "set paused", async |mut draft| {
            let row = self.live_deployment(actor.organization, id).await?;
            if row.value.paused == paused {
                return Ok(Decided::Already(row.value));
            }
            let deployment = Deployment { paused, updated_at: draft.now, ..row.value.clone() };
            draft.replace(&row, &deployment);
            let detail = if paused { "paused automatic scaling" } else { "resumed automatic scaling" };
            draft.concerns(deployment.spec.project);
            draft.audit(AuditAction::Update, id, detail);
            draft.then(deployment)
        })
        .await
    }

    /// Every deployment of every organisation that is not destroyed. For the control plane itself.
    ///
    /// # Errors
    /// Those of reading.
    pub async fn all_deployments(&self) -> Result<Vec<Deployment>, CatalogError> {
        let mut all = Vec::new();
        for row in self.rows::<Home>(&keys::home::deployments(), None).await? {
            let Some(id) = keys::last_id(&row.key).map(DeploymentId::from_bytes) else { continue };
            let deployment = self.row::<Deployment>(keys::deployment(row.value.0, id)).await?;
            all.extend(deployment.map(|row| row.value));
        }
        Ok(all)
    }

    /// The deployments that run with an environment. For the control plane itself.
    ///
    /// # Errors
    /// Those of reading.
    pub async fn deployments_of_environment(
        &self,
        organization: OrganizationId,
        environment: EnvironmentId,
    ) -> Result<Vec<Deployment>, CatalogError> {
        let rows = self.rows::<Empty>(&keys::deployments_of_environment(organization, environment), None).await?;
        let ids = rows.iter().filter_map(|row| keys::last_id(&row.key)).map(DeploymentId::from_bytes);
        self.deployments_by_id(organization, ids).await
    }

    async fn deployments_by_id(
        &self,
        organization: OrganizationId,
        ids: impl Iterator<Item = DeploymentId> + Send,
    ) -> Result<Vec<Deployment>, CatalogError> {
        let mut deployments = Vec::new();
        for id in ids {
            // One that was destroyed since is not listed.
            let row = self.row::<Deployment>(keys::deployment(organization, id)).await?;
            deployments.extend(row.map(|row| row.value));
        }
        Ok(deployments)
    }
}

fn decide_moved(
    mut draft: Draft,
    row: Row<Deployment>,
    status: DeploymentStatus,
    reason: Option<&str>,
) -> Result<Decided<Deployment>, CatalogError> {
    let status_reason = reason.map(|text| clip(text, STATUS_REASON_BYTES));
    if row.value.status == status && row.value.status_reason == status_reason {
        return Ok(Decided::Already(row.value));
    }
    let deployment = Deployment { status, status_reason, updated_at: draft.now, ..row.value.clone() };
    draft.replace(&row, &deployment);
    draft.event(&status_event(&draft, &deployment, row.value.status));
    let detail = format!("{} -> {}", row.value.status.name(), status.name());
    draft.concerns(deployment.spec.project);
    draft.audit(AuditAction::Update, deployment.id, &detail);
    draft.then(deployment)
}

fn decide_respecified(
    mut draft: Draft,
    row: Row<Deployment>,
    spec: &DeploymentSpec,
) -> Result<Decided<Deployment>, CatalogError> {
    if row.value.spec == *spec {
        return Ok(Decided::Already(row.value));
    }
    let deployment = Deployment { spec: spec.clone(), updated_at: draft.now, ..row.value.clone() };
    draft.replace(&row, &deployment);
    draft.then(deployment)
}

fn policies_of(spec: &DeploymentSpec) -> BTreeSet<PolicyId> {
    spec.policies.iter().map(|binding| binding.policy).collect()
}

fn status_event(draft: &Draft, deployment: &Deployment, from: DeploymentStatus) -> Event {
    let to = deployment.status;
    let message = match &deployment.status_reason {
        Some(reason) => format!("{} -> {}: {reason}", from.name(), to.name()),
        None => format!("{} -> {}", from.name(), to.name()),
    };
    Event {
        id: EventId::new(draft.now, random()),
        organization: deployment.organization,
        deployment: deployment.id,
        at: draft.now,
        kind: EventKind::StatusChanged { from: from.name().to_owned(), to: to.name().to_owned() },
        message,
        decision: None,
    }
}
