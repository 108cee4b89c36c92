//! What deployments that run demand of the environment they run with.
//!
//! Two things about an environment depend on who runs with it: whether a required variable may still lack its value, and
//! whether a dangerous name is allowed. An environment may be written in any order, so nobody asks as long as nothing
//! runs. A deployment begins only with an environment that it can run with, and from then on keeps it so: what would
//! break it is refused when it is written, and not by each of its agents later.
//!
//! Both sides of a race touch the environment's fence: whoever begins marks it, and whoever writes what somebody could not
//! run with relies on it.

use std::collections::HashSet;

use outrigger_protocol::environment::{Problem, ProblemKind};
use outrigger_protocol::id::{EnvironmentId, OrganizationId};

use super::unresolvable;
use crate::catalog::Catalog;
use crate::error::CatalogError;
use crate::keys;
use crate::model::DeploymentSpec;
use crate::mutation::Draft;
use crate::record::Empty;
use crate::validate::Problems;

/// Whether a problem is one only in the eyes of a deployment.
pub(super) const fn is_demand(problem: &Problem) -> bool {
    matches!(problem.kind, ProblemKind::Missing | ProblemKind::DangerousName { .. })
}

impl Catalog {
    /// Refuses a deployment that could not run with its environment as it is, and has the draft rely on it staying so.
    pub(crate) async fn demand_runnable(
        &self,
        draft: &mut Draft,
        organization: OrganizationId,
        spec: &DeploymentSpec,
    ) -> Result<(), CatalogError> {
        let composition = self.composed(organization, spec.environment).await?;
        let content = composition.resolve(spec.environment).map_err(unresolvable)?.to_environment();
        let mut problems = Problems::default();
        for problem in content.validate(&spec.allowed_names).err().unwrap_or_default() {
            // A problem of all variables together has no name.
            let field = if problem.name.is_empty() { "environment".to_owned() } else { problem.name };
            problems.add(field, problem.kind.to_string());
        }
        problems.into_result()?;
        // What it is put together from cannot be different without a new generation of it.
        if let Some(snapshot) = composition.snapshots.get(&spec.environment) {
            draft.relies_on(&snapshot.environment);
        }
        draft.mark(keys::fence(organization, spec.environment.to_bytes()));
        Ok(())
    }

    /// Refuses a change that leaves an environment with `demands` which a deployment that runs with it makes. Each is
    /// named once, with one such deployment.
    pub(super) async fn demand_of_runners(
        &self,
        draft: &mut Draft,
        organization: OrganizationId,
        environment: EnvironmentId,
        demands: &[Problem],
    ) -> Result<(), CatalogError> {
        if demands.is_empty() {
            return Ok(());
        }
        let fence = keys::fence(organization, environment.to_bytes());
        let begun = self.row::<Empty>(fence.clone()).await?;
        let deployments = self.deployments_of_environment(organization, environment).await?;
        let (mut problems, mut named) = (Problems::default(), HashSet::new());
        for deployment in deployments.iter().filter(|deployment| deployment.status.is_started()) {
            let allowed = &deployment.spec.allowed_names;
            for (at, demand) in demands.iter().enumerate() {
                let allows = matches!(demand.kind, ProblemKind::DangerousName { .. }) && allowed.contains(&demand.name);
                if !allows && named.insert(at) {
                    let problem = format!("{}; {} runs with this environment", demand.kind, deployment.spec.name);
                    problems.add(demand.name.as_str(), problem);
                }
            }
        }
        problems.into_result()?;
        draft.relies_on_or_absence(fence, begun.as_ref());
        Ok(())
    }
}
