//! The commands that talk to a control plane: each turns its arguments into calls of the admin API and prints the answer.

pub(crate) mod audit;
pub(crate) mod change;
pub(crate) mod credentials;
pub(crate) mod deployment;
pub(crate) mod env;
pub(crate) mod keys;
pub(crate) mod login;
pub(crate) mod logs;
pub(crate) mod metrics;
mod output;
pub(crate) mod policy;
pub(crate) mod project;
mod prompt;
pub(crate) mod rollout;
pub(crate) mod template;
pub(crate) mod user;

use anyhow::Context as _;
use outrigger_secrets::SecretString;
use serde_json::Value;

use crate::cli::Remote;
use crate::client::Client;

const DEFAULT_URL: &str = "http://127.0.0.1:7700";

impl Remote {
    /// The client that these arguments, or else the last login, describe.
    pub(crate) fn client(&self) -> anyhow::Result<Client> {
        let kept = credentials::load()?;
        let kept_url = kept.as_ref().map(|kept| kept.url.clone());
        let url = self.url.clone().or(kept_url).unwrap_or_else(|| DEFAULT_URL.to_owned());
        // A token that was kept for one control plane is not shown to another.
        let kept_token = kept.filter(|kept| kept.url == url).map(|kept| kept.token);
        let token = self.token.clone().map(SecretString::from).or(kept_token);
        let token = token.context("no token: run `outrigger login`, or set OUTRIGGER_TOKEN")?;
        Ok(Client::new(&url, Some(token))?)
    }
}

/// Accepts an id or, where the list has exactly one of it, a name.
pub(crate) async fn resolve(client: &Client, list: &str, wanted: &str, kind: &str) -> anyhow::Result<Value> {
    let items = client.list(list).await?;
    let mut found = items.iter().filter(|item| item["id"] == wanted || item["name"] == wanted);
    match (found.next(), found.next()) {
        (Some(item), None) => Ok(item.clone()),
        (None, _) => anyhow::bail!("there is no {kind} `{wanted}`"),
        (Some(_), Some(_)) => anyhow::bail!("several {kind}s are called `{wanted}`; use the id"),
    }
}

/// A path with parameters that may hold anything.
pub(crate) fn with_query<'a>(path: &str, parameters: impl IntoIterator<Item = (&'a str, &'a str)>) -> String {
    let mut url = reqwest::Url::parse("http://control-plane").expect("it is a URL");
    url.query_pairs_mut().extend_pairs(parameters);
    format!("{path}?{}", url.query().unwrap_or_default())
}

pub(crate) fn id(value: &Value) -> anyhow::Result<&str> {
    value["id"].as_str().context("the answer has no id")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_parameter_cannot_become_another() {
        assert_eq!(with_query("/api/audit", []), "/api/audit?");
        let parameters = [("actor", "a&action=x y"), ("to", "2026-01-01T00:00:00+01:00")];
        let expected = "/api/audit?actor=a%26action%3Dx+y&to=2026-01-01T00%3A00%3A00%2B01%3A00";
        assert_eq!(with_query("/api/audit", parameters), expected);
    }
}
