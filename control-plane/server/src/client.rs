//! A client of the admin API: what the CLI and the demo are built on.

use std::time::Duration;

use outrigger_secrets::SecretString;
use reqwest::{Method, StatusCode};
use serde::Deserialize;
use serde_json::Value;

use crate::console;

/// What the audit log names as the caller's program.
const USER_AGENT: &str = concat!("outrigger/", env!("CARGO_PKG_VERSION"));
/// How long a stream may go on; one that is followed is taken up again after it.
const STREAM: Duration = Duration::from_secs(3600);

/// No answer of the API is larger, and a stranger on the port may send anything.
const ANSWER_BYTES: usize = 16 * 1024 * 1024;

#[derive(Debug, thiserror::Error)]
pub(crate) enum ClientError {
    #[error("`{url}` is not a URL like http://127.0.0.1:7700")]
    Url { url: String },
    #[error("cannot reach the control plane at {base} ({operation})")]
    Unreachable { base: String, operation: String, source: reqwest::Error },
    /// The control plane's own words.
    #[error("{}", refused(error, details))]
    Refused { status: StatusCode, code: String, error: String, details: Vec<Detail> },
    #[error("{base} answered {operation} with {status} and something that is not the API's envelope; is it Outrigger?")]
    Foreign { base: String, operation: String, status: StatusCode },
}

#[derive(Debug, Clone, Deserialize)]
pub(crate) struct Detail {
    field: String,
    problem: String,
}

/// What was refused, each problem once: the sentence of a validation is its problems over again.
fn refused(error: &str, details: &[Detail]) -> String {
    let each: String = details.iter().map(|d| format!("\n  {}: {}", d.field, d.problem)).collect();
    match details {
        [one] if error.starts_with("validation: ") => format!("{}: {}", one.field, one.problem),
        [_, ..] if error.starts_with("validation: ") => format!("{} problems{each}", details.len()),
        _ => format!("{error}{each}"),
    }
}

/// The envelope of every answer.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Envelope {
    success: bool,
    #[serde(default)]
    data: Value,
    #[serde(default)]
    page: Option<Page>,
    #[serde(default)]
    error: Option<String>,
    #[serde(default)]
    code: Option<String>,
    #[serde(default)]
    details: Vec<Detail>,
}

#[derive(Debug, Deserialize)]
struct Page {
    next: Option<String>,
}

#[derive(Debug, Clone)]
pub(crate) struct Client {
    http: reqwest::Client,
    base: String,
    token: Option<SecretString>,
}

/// What goes into a request besides its path.
#[derive(Debug)]
pub(crate) enum Body {
    None,
    Json(Value),
    Wasm(Vec<u8>),
    Text(Vec<u8>),
}

impl Client {
    pub(crate) fn new(base: &str, token: Option<SecretString>) -> Result<Self, ClientError> {
        let base = base.trim_end_matches('/').to_owned();
        let url = || ClientError::Url { url: base.clone() };
        let parsed = reqwest::Url::parse(&base).map_err(|_| url())?;
        if !matches!(parsed.scheme(), "http" | "https") {
            return Err(url());
        }
        let http = reqwest::Client::builder()
            .connect_timeout(Duration::from_secs(5))
            .timeout(Duration::from_secs(60))
            .redirect(reqwest::redirect::Policy::none())
            .user_agent(USER_AGENT)
            .build()
            .map_err(|source| ClientError::Unreachable {
                base: base.clone(),
                operation: "set up TLS".to_owned(),
                source,
            })?;
        Ok(Self { http, base, token })
    }

    pub(crate) async fn get(&self, path: &str) -> Result<Value, ClientError> {
        self.call(Method::GET, path, Body::None).await
    }

    pub(crate) async fn post(&self, path: &str, body: Value) -> Result<Value, ClientError> {
        self.call(Method::POST, path, Body::Json(body)).await
    }

    /// A change that is only made while a generation is the newest, if one is given.
    pub(crate) async fn post_if(&self, path: &str, body: Body, if_match: Option<u64>) -> Result<Value, ClientError> {
        self.call_if(Method::POST, path, body, if_match).await
    }

    pub(crate) async fn call(&self, method: Method, path: &str, body: Body) -> Result<Value, ClientError> {
        self.call_if(method, path, body, None).await
    }

    /// As [`post_if`](Self::post_if), by another method or of something else's revision.
    pub(crate) async fn call_if(
        &self,
        method: Method,
        path: &str,
        body: Body,
        if_match: Option<u64>,
    ) -> Result<Value, ClientError> {
        self.envelope(method, path, body, if_match).await.map(|envelope| envelope.data)
    }

    /// All pages of a list.
    pub(crate) async fn list(&self, path: &str) -> Result<Vec<Value>, ClientError> {
        self.list_up_to(path, usize::MAX).await
    }

    /// The first items of a list.
    pub(crate) async fn list_up_to(&self, path: &str, most: usize) -> Result<Vec<Value>, ClientError> {
        let mut items = Vec::new();
        let mut cursor: Option<String> = None;
        loop {
            let separator = if path.contains('?') { '&' } else { '?' };
            let target = match &cursor {
                None => path.to_owned(),
                Some(next) => format!("{path}{separator}cursor={next}"),
            };
            let envelope = self.envelope(Method::GET, &target, Body::None, None).await?;
            if let Value::Array(page) = envelope.data {
                items.extend(page);
            }
            cursor = envelope.page.and_then(|page| page.next);
            if cursor.is_none() || items.len() >= most {
                items.truncate(most);
                return Ok(items);
            }
        }
    }

    /// One page of a list, and where the next one begins.
    pub(crate) async fn page(&self, path: &str) -> Result<(Vec<Value>, Option<String>), ClientError> {
        let envelope = self.envelope(Method::GET, path, Body::None, None).await?;
        let items = if let Value::Array(items) = envelope.data { items } else { Vec::new() };
        Ok((items, envelope.page.and_then(|page| page.next)))
    }

    /// A stream of server-sent events, after the one with the id `last` if there is one.
    pub(crate) async fn stream(&self, path: &str, last: Option<&str>) -> Result<reqwest::Response, ClientError> {
        let operation = format!("{} {path}", Method::GET);
        let mut request = self.request(Method::GET, path).header("accept", "text/event-stream").timeout(STREAM);
        if let Some(last) = last {
            request = request.header("last-event-id", last);
        }
        let mut response = request.send().await.map_err(|source| ClientError::Unreachable {
            base: self.base.clone(),
            operation: operation.clone(),
            source,
        })?;
        let status = response.status();
        if !status.is_success() {
            let answer = self.answer(&operation, &mut response).await?;
            let foreign = |_| self.foreign(&Method::GET, path, status);
            return Err(serde_json::from_slice::<Envelope>(&answer).map_err(foreign)?.refusal(status));
        }
        Ok(response)
    }

    async fn envelope(
        &self,
        method: Method,
        path: &str,
        body: Body,
        if_match: Option<u64>,
    ) -> Result<Envelope, ClientError> {
        let (status, answer) = self.exchange(method.clone(), path, body, if_match).await?;
        let foreign = |_| self.foreign(&method, path, status);
        let envelope: Envelope = serde_json::from_slice(&answer).map_err(foreign)?;
        if envelope.success { Ok(envelope) } else { Err(envelope.refusal(status)) }
    }

    /// A file instead of an envelope; what is wrong comes in an envelope all the same.
    pub(crate) async fn text(&self, path: &str) -> Result<SecretString, ClientError> {
        let (status, answer) = self.exchange(Method::GET, path, Body::None, None).await?;
        let foreign = || self.foreign(&Method::GET, path, status);
        if !status.is_success() {
            let envelope = serde_json::from_slice::<Envelope>(&answer).map_err(|_| foreign())?;
            return Err(envelope.refusal(status));
        }
        String::from_utf8(answer).map(SecretString::from).map_err(|_| foreign())
    }

    /// Passes a stream of lines on to standard output as it comes.
    pub(crate) async fn print_lines(&self, path: &str) -> anyhow::Result<()> {
        let operation = format!("{} {path}", Method::GET);
        let unreachable =
            |source| ClientError::Unreachable { base: self.base.clone(), operation: operation.clone(), source };
        let request = self.request(Method::GET, path).header("accept", "application/x-ndjson").timeout(STREAM);
        let mut response = request.send().await.map_err(unreachable)?;
        let status = response.status();
        if !status.is_success() {
            let answer = self.answer(&operation, &mut response).await?;
            let foreign = |_| self.foreign(&Method::GET, path, status);
            return Err(serde_json::from_slice::<Envelope>(&answer).map_err(foreign)?.refusal(status).into());
        }
        while let Some(chunk) = response.chunk().await.map_err(unreachable)? {
            console::bytes(&chunk)?;
        }
        Ok(())
    }

    fn request(&self, method: Method, path: &str) -> reqwest::RequestBuilder {
        let request = self.http.request(method, format!("{}{path}", self.base));
        match &self.token {
            Some(token) => request.bearer_auth(token.expose()),
            None => request,
        }
    }

    fn foreign(&self, method: &Method, path: &str, status: StatusCode) -> ClientError {
        ClientError::Foreign { base: self.base.clone(), operation: format!("{method} {path}"), status }
    }

    async fn exchange(
        &self,
        method: Method,
        path: &str,
        body: Body,
        if_match: Option<u64>,
    ) -> Result<(StatusCode, Vec<u8>), ClientError> {
        let operation = format!("{method} {path}");
        let unreachable =
            |source| ClientError::Unreachable { base: self.base.clone(), operation: operation.clone(), source };
        let mut request = self.request(method, path);
        if let Some(generation) = if_match {
            request = request.header("if-match", format!("\"{generation}\""));
        }
        request = match body {
            Body::None => request,
            Body::Json(value) => request.json(&value),
            Body::Text(bytes) => request.header("content-type", "text/plain; charset=utf-8").body(bytes),
            Body::Wasm(bytes) => request.header("content-type", "application/wasm").body(bytes),
        };
        let mut response = request.send().await.map_err(unreachable)?;
        Ok((response.status(), self.answer(&operation, &mut response).await?))
    }

    async fn answer(&self, operation: &str, response: &mut reqwest::Response) -> Result<Vec<u8>, ClientError> {
        let mut answer = Vec::new();
        loop {
            let chunk = response.chunk().await.map_err(|source| ClientError::Unreachable {
                base: self.base.clone(),
                operation: operation.to_owned(),
                source,
            })?;
            let Some(chunk) = chunk else { return Ok(answer) };
            answer.extend_from_slice(&chunk);
            if answer.len() > ANSWER_BYTES {
                return Err(ClientError::Foreign {
                    base: self.base.clone(),
                    operation: operation.to_owned(),
                    status: response.status(),
                });
            }
        }
    }
}

impl Envelope {
    fn refusal(self, status: StatusCode) -> ClientError {
        ClientError::Refused {
            status,
            code: self.code.unwrap_or_default(),
            error: self.error.unwrap_or_else(|| status.to_string()),
            details: self.details,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_problem_is_told_once() {
        let detail = |field: &str| Detail { field: field.to_owned(), problem: "is required".to_owned() };
        let (one, two) = (vec![detail("name")], vec![detail("name"), detail("email")]);
        assert_eq!(refused("not found: variable `A`", &[]), "not found: variable `A`");
        assert_eq!(refused("validation: name is required", &one), "name: is required");
        assert_eq!(
            refused("validation: name is required; email is required", &two),
            "2 problems\n  name: is required\n  email: is required"
        );
        assert_eq!(refused("conflict: something else", &one), "conflict: something else\n  name: is required");
    }
}
