//! Real agents on a real control plane: what is measured for a sandbox, or for a few.

use std::path::Path;

use anyhow::{Context as _, Result};
use outrigger_tests::Api;
use reqwest::Method;
use serde_json::{Value, json};
use tokio::process::Command;

use crate::control_plane::ControlPlane;
use crate::process::quiet;
use crate::programs::Programs;
use crate::stage::{join_token, variables};

/// A control plane with a deployment that sandboxes from outside join.
#[derive(Debug)]
pub struct Sandbox {
    control_plane: ControlPlane,
    environment: String,
    deployment: String,
}

impl Sandbox {
    /// # Errors
    /// The control plane does not come up or refuses.
    pub async fn new(programs: &Programs, data: &Path) -> Result<Self> {
        Self::deploying(programs, data, json!({})).await
    }

    /// With `changes` put over the deployment's usual specification.
    ///
    /// # Errors
    /// The control plane does not come up or refuses.
    pub async fn deploying(programs: &Programs, data: &Path, changes: Value) -> Result<Self> {
        let control_plane = ControlPlane::start(programs, data).await?;
        let (project, environment) = control_plane.api.project_with(variables()).await?;
        let mut external = json!({ "driver": "dry-run", "replicas": { "min": 0, "max": 10, "initial": 0 } });
        if let (Some(external), Value::Object(changes)) = (external.as_object_mut(), changes) {
            external.extend(changes);
        }
        let deployment = control_plane.api.deployment(&project, &["unused".to_owned()], external).await?;
        control_plane.api.post(&format!("/api/deployments/{deployment}/start"), json!({})).await?;
        Ok(Self { control_plane, environment, deployment })
    }

    #[must_use]
    pub fn api(&self) -> &Api {
        &self.control_plane.api
    }

    /// A path below the deployment.
    #[must_use]
    pub fn path(&self, rest: &str) -> String {
        format!("/api/deployments/{}{rest}", self.deployment)
    }

    /// What the API says below the deployment.
    ///
    /// # Errors
    /// The API refuses.
    pub async fn get(&self, rest: &str) -> Result<Value> {
        self.api().get(&self.path(rest)).await
    }

    /// Sets a variable, and returns the generation.
    ///
    /// # Errors
    /// The API refuses.
    pub async fn set(&self, key: &str, value: &str) -> Result<u64> {
        let path = format!("/api/config/environments/{}/variables/{key}", self.environment);
        let changed = self.api().call(Method::PUT, &path, Some(json!({ "value": value }))).await?;
        changed["generation"].as_u64().context("a change without a generation")
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

    /// `outrigger-agent exec` by the operator with its cache in `cache`, up to what comes after its own arguments.
    ///
    /// # Errors
    /// The API refuses, or the operator's token cannot be read.
    pub async fn exec(&self, programs: &Programs, cache: &Path) -> Result<impl Fn(&[&str]) -> Command + use<>> {
        let me = self.control_plane.api.get("/api/auth/me").await?;
        let fingerprint = me["caFingerprint"].as_str().context("the control plane tells no fingerprint")?.to_owned();
        let token = std::fs::read_to_string(self.control_plane.operator_token())?.trim().to_owned();
        let (agent, cache) = (programs.agent.clone(), cache.to_owned());
        let address = self.control_plane.agents.to_string();
        Ok(move |options: &[&str]| {
            let mut command = quiet(&agent);
            command.args(["exec", "--control-plane", &address, "--environment", "production"]).args(options);
            command.arg("--cache-dir").arg(&cache);
            command.env("OUTRIGGER_TOKEN", &token).env("OUTRIGGER_CA_FINGERPRINT", &fingerprint);
            command
        })
    }

    /// Whether the one agent is connected and its program runs.
    ///
    /// # Errors
    /// The API refuses.
    pub async fn is_ready(&self) -> Result<bool> {
        let instances = self.get("/instances").await?;
        let ready = instances.as_array().into_iter().flatten().filter(|instance| instance["ready"] == true);
        Ok(ready.count() == 1)
    }
}

/// The variable in which an agent takes its join token.
pub const JOIN_TOKEN: &str = "OUTRIGGER_JOIN_TOKEN";
