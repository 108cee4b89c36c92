//! One real agent on a real control plane: what is measured for a single sandbox.

use std::path::Path;

use anyhow::Result;
use serde_json::json;
use tokio::process::Command;

use crate::control_plane::ControlPlane;
use crate::process::quiet;
use crate::programs::Programs;
use crate::stage::{join_token, variables};

/// A control plane with a deployment that sandboxes from outside join.
#[derive(Debug)]
pub struct Sandbox {
    control_plane: ControlPlane,
    deployment: String,
}

impl Sandbox {
    /// # Errors
    /// The control plane does not come up or refuses.
    pub async fn new(programs: &Programs, data: &Path) -> Result<Self> {
        let control_plane = ControlPlane::start(programs, data).await?;
        let (project, _) = control_plane.api.project_with(variables()).await?;
        let external = json!({ "driver": "dry-run", "replicas": { "min": 0, "max": 10, "initial": 0 } });
        let deployment = control_plane.api.deployment(&project, &["unused".to_owned()], external).await?;
        control_plane.api.post(&format!("/api/deployments/{deployment}/start"), json!({})).await?;
        Ok(Self { control_plane, deployment })
    }

    /// # Errors
    /// The API refuses.
    pub async fn join_token(&self) -> Result<String> {
        join_token(&self.control_plane.api, &format!("/api/deployments/{}/join-tokens", self.deployment)).await
    }

    /// `outrigger-agent run` with its state in `state`, up to what comes after its own arguments.
    #[must_use]
    pub fn agent(&self, programs: &Programs, state: &Path) -> Command {
        let mut command = quiet(&programs.agent);
        command
            .args(["run", "--log-level", "error", "--control-plane", &self.control_plane.agents.to_string()])
            .arg("--state-dir")
            .arg(state)
            .env_remove(JOIN_TOKEN);
        command
    }

    /// Whether the one agent is connected and its program runs.
    ///
    /// # Errors
    /// The API refuses.
    pub async fn is_ready(&self) -> Result<bool> {
        let path = format!("/api/deployments/{}/instances", self.deployment);
        let instances = self.control_plane.api.get(&path).await?;
        let ready = instances.as_array().into_iter().flatten().filter(|instance| instance["ready"] == true);
        Ok(ready.count() == 1)
    }
}

/// The variable in which an agent takes its join token.
pub const JOIN_TOKEN: &str = "OUTRIGGER_JOIN_TOKEN";
