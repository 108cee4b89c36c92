//! Configuration files, on their way in and out.

use outrigger_catalog::{At, ImportMode, model};
use outrigger_configuration::diff;
use outrigger_configuration::format::{Form, Format};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::Problems;
use super::environment::Generation;
use super::history::Difference;
use crate::error::ApiError;

const FORMATS: &str = "one of dotenv, json, yaml, docker, k8s";

/// What kind of file it is, and what is to be done with it.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[into_params(parameter_in = Query, rename_all = "camelCase")]
pub(crate) struct ImportParameters {
    /// dotenv, json, yaml, docker or k8s
    #[serde(default)]
    format: String,
    /// merge (variables that the file does not have stay) or replace (they go); merge if absent
    mode: Option<String>,
    /// Only say what would change.
    #[serde(default)]
    pub(crate) dry_run: bool,
    /// Why, for the history.
    pub(crate) message: Option<String>,
}

impl ImportParameters {
    pub(crate) fn check(&self) -> Result<(Format, ImportMode), ApiError> {
        let mut problems = Problems::default();
        let format = problems.parse("format", Some(&self.format), FORMATS, |text| text.parse().ok());
        let mode = problems.parse("mode", self.mode.as_deref(), "merge or replace", |text| match text {
            "merge" => Some(ImportMode::Merge),
            "replace" => Some(ImportMode::Replace),
            _ => None,
        });
        problems.finish(|| (format.expect("no format is a problem"), mode.unwrap_or(ImportMode::Merge)))
    }
}

/// What the file is to look like.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct ExportParameters {
    /// dotenv, json, yaml, docker or k8s
    #[serde(default)]
    format: String,
    /// As programs get them: inherited and expanded, with origins. Otherwise as they are written.
    #[serde(default)]
    pub(crate) effective: bool,
    /// With the values of secrets; needs the role admin and is audited. Otherwise json and yaml have null for them, and
    /// the other formats do not have them.
    #[serde(default)]
    pub(crate) secrets: bool,
    /// As this generation had them; the newest if absent.
    generation: Option<u64>,
    /// Of json and yaml: flat (names and values) or full (all that is known); flat if absent
    form: Option<String>,
    /// Of k8s: the name of the objects; the environment's if absent.
    pub(crate) name: Option<String>,
}

impl ExportParameters {
    pub(crate) fn check(&self) -> Result<(Format, Form, At), ApiError> {
        let mut problems = Problems::default();
        let format = problems.parse("format", Some(&self.format), FORMATS, |text| text.parse().ok());
        // What programs get has no references, and whoever reads it knows of none.
        let flat = if self.effective { Form::Plain } else { Form::Flat };
        let form = problems.parse("form", self.form.as_deref(), "flat or full", |text| match text {
            "flat" => Some(flat),
            "full" => Some(Form::Full),
            _ => None,
        });
        let at = self.generation.map_or(At::Now, At::Generation);
        problems.finish(|| (format.expect("no format is a problem"), form.unwrap_or(flat), at))
    }
}

/// What an import changed, or would change.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Imported {
    /// The newest generation; of a dry run the present one.
    #[serde(flatten)]
    generation: Generation,
    dry_run: bool,
    /// Of the variables as written.
    differences: Vec<Difference>,
}

impl Imported {
    pub(crate) fn new(generation: model::Generation, dry_run: bool, differences: Vec<diff::Difference>) -> Self {
        let differences = differences.into_iter().map(Difference::from).collect();
        Self { generation: generation.into(), dry_run, differences }
    }
}
