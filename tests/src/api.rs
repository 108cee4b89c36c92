use std::path::Path;

use anyhow::{Context as _, Result, bail};
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

/// What the API refused, and how.
#[derive(Debug)]
pub struct Refusal {
    pub status: StatusCode,
    pub body: Value,
}

impl Refusal {
    #[must_use]
    pub fn code(&self) -> &str {
        self.body["code"].as_str().unwrap_or_default()
    }
}

/// A client of the admin API with a token, or without.
#[derive(Debug, Clone)]
pub struct Api {
    http: reqwest::Client,
    base: String,
    token: Option<String>,
}

impl Api {
    #[must_use]
    pub fn new(base: String, token: Option<String>) -> Self {
        // A second test in the same process finds it installed.
        let _ = rustls::crypto::ring::default_provider().install_default();
        Self { http: reqwest::Client::new(), base, token }
    }

    /// A client of the control plane that listens on `address`, with the operator's token out of its data directory.
    ///
    /// # Errors
    /// There is no such token.
    pub fn of_operator(address: &str, data: &Path) -> Result<Self> {
        let token = std::fs::read_to_string(data.join("operator-token")).context("no operator token")?;
        Ok(Self::new(format!("http://{address}"), Some(token.trim().to_owned())))
    }

    #[must_use]
    pub fn with_token(&self, token: Option<&str>) -> Self {
        Self { token: token.map(str::to_owned), ..self.clone() }
    }

    #[must_use]
    pub fn base(&self) -> &str {
        &self.base
    }

    /// A request that a test makes by hand, with the token in it.
    pub fn request(&self, method: Method, path: &str) -> reqwest::RequestBuilder {
        let request = self.http.request(method, format!("{}{path}", self.base));
        match &self.token {
            Some(token) => request.bearer_auth(token),
            None => request,
        }
    }

    /// `data` of a success.
    ///
    /// # Errors
    /// The refusal in words, or that there was no answer.
    pub async fn call(&self, method: Method, path: &str, body: Option<Value>) -> Result<Value> {
        match self.try_call(method.clone(), path, body).await? {
            Ok(data) => Ok(data),
            Err(refusal) => bail!("{method} {path}: {} {}", refusal.status, refusal.body),
        }
    }

    /// # Errors
    /// Only when there was no answer; a refusal is an answer.
    pub async fn try_call(&self, method: Method, path: &str, body: Option<Value>) -> Result<Result<Value, Refusal>> {
        let mut request = self.request(method, path);
        if let Some(body) = body {
            request = request.json(&body);
        }
        let response = request.send().await.with_context(|| format!("no answer from {path}"))?;
        let status = response.status();
        let body: Value = response.json().await.with_context(|| format!("{path} did not answer JSON"))?;
        Ok(if status.is_success() { Ok(body["data"].clone()) } else { Err(Refusal { status, body }) })
    }

    /// # Errors
    /// As [`Api::call`].
    pub async fn get(&self, path: &str) -> Result<Value> {
        self.call(Method::GET, path, None).await
    }

    /// # Errors
    /// As [`Api::call`].
    pub async fn post(&self, path: &str, body: Value) -> Result<Value> {
        self.call(Method::POST, path, Some(body)).await
    }

    /// A project with a production environment that holds `variables`; the ids of both.
    ///
    /// # Errors
    /// As [`Api::call`].
    pub async fn project_with(&self, variables: Value) -> Result<(String, String)> {
        let project = text(&self.post("/api/projects", json!({ "name": "test" })).await?, "id")?;
        let path = format!("/api/config/projects/{project}/environments");
        let environment = text(&self.post(&path, json!({ "environment": "production" })).await?, "id")?;
        let path = format!("/api/config/environments/{environment}/variables");
        self.call(Method::PATCH, &path, Some(json!({ "variables": variables }))).await?;
        Ok((project, environment))
    }

    /// A deployment of `command` by the process driver with `changes` put over the usual specification.
    ///
    /// # Errors
    /// As [`Api::call`].
    pub async fn deployment(&self, project: &str, command: &[String], changes: Value) -> Result<String> {
        let mut body = json!({
            "name": "under-test",
            "projectId": project,
            "environment": "production",
            "driver": "process",
            "command": command,
            "applyStrategy": { "type": "restart", "jitter": "0s" },
        });
        if let (Some(body), Value::Object(changes)) = (body.as_object_mut(), changes) {
            body.extend(changes);
        }
        text(&self.post("/api/deployments", body).await?, "id")
    }
}

fn text(value: &Value, field: &str) -> Result<String> {
    value[field].as_str().map(str::to_owned).with_context(|| format!("no `{field}` in {value}"))
}
