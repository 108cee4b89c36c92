//! What the control plane wrote down about a deployment, with its times: the same clock as ours, on loopback.

use anyhow::{Context as _, Result};
use outrigger_tests::Api;
use serde_json::Value;

use crate::stage::{Deployment, Stage};

/// The most that the API answers in one page.
const PAGE: usize = 200;

/// Something that happened.
#[derive(Debug, Clone)]
pub struct Entry {
    /// Unix milliseconds.
    pub at: i64,
    pub body: Value,
}

/// A deployment's newest 200 events, oldest first.
///
/// # Errors
/// The API refuses, or answers something else.
pub async fn events(api: &Api, deployment: &Deployment) -> Result<Vec<Entry>> {
    list(api, &Stage::path(deployment, &format!("/events?limit={PAGE}"))).await
}

async fn list(api: &Api, path: &str) -> Result<Vec<Entry>> {
    let answer = api.get(path).await?;
    let items = answer.as_array().with_context(|| format!("{path} answered no list"))?;
    items.iter().rev().map(|body| Ok(Entry { at: moment(&body["at"])?, body: body.clone() })).collect()
}

/// A time of the API in Unix milliseconds.
///
/// # Errors
/// It is none.
pub fn moment(value: &Value) -> Result<i64> {
    let text = value.as_str().context("an entry without a time")?;
    Ok(text.parse::<jiff::Timestamp>().context("not a time")?.as_millisecond())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_read_to_the_millisecond() {
        assert_eq!(moment(&Value::from("1970-01-01T00:00:01.234Z")).unwrap(), 1_234);
        assert!(moment(&Value::Null).is_err());
    }
}
