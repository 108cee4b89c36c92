//! What a policy says about itself, once the host has looked at it.

use std::time::Duration;

use crate::bindings::outrigger::policy::types as wit;
use crate::limits::{METRIC_BYTES, NAME_BYTES, SCHEMA_BYTES, TEXT_BYTES, WINDOWS};

/// A policy's own words, within limits. They are shown to people and never acted upon.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Description {
    /// Lower-case letters, digits and hyphens.
    pub name: String,
    pub version: String,
    pub summary: String,
    /// The JSON Schema of the configuration, as text.
    pub config_schema: String,
    /// What it needs whatever its configuration.
    pub needs: Needs,
}

/// What has to be in an input for a policy to work well.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Needs {
    pub series: Vec<MetricWindow>,
    pub history: Vec<MetricWindow>,
}

/// A metric and how far back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MetricWindow {
    /// As in [`Series::name`](crate::Series::name).
    pub metric: String,
    pub window: Duration,
}

impl Needs {
    /// These and `others`: every metric once, with the longer of its windows.
    #[must_use]
    pub fn union(mut self, others: &Self) -> Self {
        merge(&mut self.series, &others.series);
        merge(&mut self.history, &others.history);
        self
    }
}

fn merge(into: &mut Vec<MetricWindow>, others: &[MetricWindow]) {
    for other in others {
        match into.iter_mut().find(|one| one.metric == other.metric) {
            Some(same) => same.window = same.window.max(other.window),
            None => into.push(other.clone()),
        }
    }
}

/// Checks a description; the error says in words what is wrong with it.
pub(crate) fn description(raw: wit::Description) -> Result<Description, String> {
    let lower = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    if raw.name.is_empty() || raw.name.len() > NAME_BYTES || !raw.name.bytes().all(lower) {
        return Err(format!("its name is not 1 to {NAME_BYTES} lower-case letters, digits and hyphens"));
    }
    let version = |byte: u8| byte.is_ascii_graphic();
    if raw.version.is_empty() || raw.version.len() > NAME_BYTES || !raw.version.bytes().all(version) {
        return Err(format!("its version is not 1 to {NAME_BYTES} printable ASCII characters"));
    }
    if raw.summary.len() > TEXT_BYTES {
        return Err(format!("its summary has more than {TEXT_BYTES} bytes"));
    }
    if raw.config_schema.len() > SCHEMA_BYTES {
        return Err(format!("the schema of its configuration has more than {SCHEMA_BYTES} bytes"));
    }
    Ok(Description {
        name: raw.name,
        version: raw.version,
        summary: raw.summary,
        config_schema: raw.config_schema,
        needs: needs(raw.needs)?,
    })
}

/// Checks what a guest asks for.
pub(crate) fn needs(raw: wit::Needs) -> Result<Needs, String> {
    Ok(Needs { series: windows(raw.series)?, history: windows(raw.history)? })
}

fn windows(raw: Vec<wit::MetricWindow>) -> Result<Vec<MetricWindow>, String> {
    if raw.len() > WINDOWS {
        return Err(format!("it needs more than {WINDOWS} metrics"));
    }
    raw.into_iter()
        .map(|one| match one.metric.len() {
            1..=METRIC_BYTES => Ok(MetricWindow { metric: one.metric, window: Duration::from_millis(one.window_ms) }),
            _ => Err(format!("it needs a metric whose name is not 1 to {METRIC_BYTES} bytes long")),
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn raw() -> wit::Description {
        wit::Description {
            name: "steady".to_owned(),
            version: "1.0.0".to_owned(),
            summary: String::new(),
            config_schema: "{}".to_owned(),
            needs: wit::Needs { series: Vec::new(), history: Vec::new() },
        }
    }

    #[test]
    fn a_description_out_of_bounds_is_refused_in_words() {
        assert!(description(raw()).is_ok());
        let cases = [
            (wit::Description { name: "Steady!".to_owned(), ..raw() }, "name"),
            (wit::Description { name: String::new(), ..raw() }, "name"),
            (wit::Description { version: "a b".to_owned(), ..raw() }, "version"),
            (wit::Description { summary: "x".repeat(TEXT_BYTES + 1), ..raw() }, "summary"),
            (wit::Description { config_schema: "x".repeat(SCHEMA_BYTES + 1), ..raw() }, "schema"),
        ];
        for (case, word) in cases {
            let problem = description(case).unwrap_err();
            assert!(problem.contains(word), "{problem}");
        }
    }

    #[test]
    fn needs_of_two_sides_are_united_by_the_longer_window() {
        let window =
            |metric: &str, seconds| MetricWindow { metric: metric.to_owned(), window: Duration::from_secs(seconds) };
        let mine = Needs { series: vec![window("cpu", 60)], history: Vec::new() };
        let theirs =
            Needs { series: vec![window("cpu", 300), window("memory", 30)], history: vec![window("cpu", 3600)] };
        let both = mine.union(&theirs);
        assert_eq!(both.series, [window("cpu", 300), window("memory", 30)]);
        assert_eq!(both.history, [window("cpu", 3600)]);
    }
}
