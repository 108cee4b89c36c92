//! `outrigger template …`

mod apply;
mod document;

use std::path::PathBuf;

use reqwest::Method;
use serde_json::Value;

use super::output;
use crate::cli::{Output, Remote};
use crate::client::Body;
use crate::console;

#[derive(Debug, clap::Subcommand)]
pub(crate) enum TemplateCommand {
    /// List the official templates and the organisation's own
    List {
        /// Only those of this category: framework, database, cloud, monitoring, container, or one's own
        #[arg(long)]
        category: Option<String>,
        #[command(flatten)]
        remote: Remote,
    },
    /// Show a template with its variables
    Show {
        #[arg(value_name = "ID")]
        template: String,
        /// As a file, to be changed and given to `create` or `update`
        #[arg(long, conflicts_with = "output")]
        yaml: bool,
        #[command(flatten)]
        remote: Remote,
    },
    /// Keep a template of the organisation's own
    Create {
        /// YAML or JSON; `-` is standard input
        #[arg(value_name = "FILE")]
        file: PathBuf,
        #[command(flatten)]
        remote: Remote,
    },
    /// Replace a template of the organisation's own
    Update {
        #[arg(value_name = "ID")]
        template: String,
        /// YAML or JSON; `-` is standard input
        #[arg(value_name = "FILE")]
        file: PathBuf,
        /// Only if this is still the revision
        #[arg(long, value_name = "NUMBER")]
        if_match: Option<u64>,
        #[command(flatten)]
        remote: Remote,
    },
    /// Delete a template of the organisation's own; variables that came from it stay
    Delete {
        #[arg(value_name = "ID")]
        template: String,
        /// Only if this is still the revision
        #[arg(long, value_name = "NUMBER")]
        if_match: Option<u64>,
        #[command(flatten)]
        remote: Remote,
    },
    /// Write the variables that a template comes to, all in one generation
    ///
    /// Values come from --set, from what the environment has already, from the template's defaults for the stage, and
    /// from chance where the template says how a secret is made.
    Apply(apply::ApplyArguments),
}

const TEMPLATES: &str = "/api/config/templates";

const SUMMARIES: [output::Column; 7] = [
    ("id", "/id"),
    ("name", "/name"),
    ("category", "/category"),
    ("version", "/version"),
    ("variables", "/variableCount"),
    ("official", "/official"),
    ("used", "/usageCount"),
];
const TEMPLATE: [output::Column; 9] = [
    ("id", "/id"),
    ("name", "/name"),
    ("category", "/category"),
    ("version", "/version"),
    ("description", "/description"),
    ("documentation", "/documentation"),
    ("official", "/official"),
    ("revision", "/revision"),
    ("used", "/usageCount"),
];
const VARIABLES: [output::Column; 5] = [
    ("key", "/key"),
    ("type", "/kind"),
    ("required", "/required"),
    ("value", "/value"),
    ("description", "/description"),
];

pub(crate) async fn run(command: TemplateCommand) -> anyhow::Result<()> {
    match command {
        TemplateCommand::List { category, remote } => {
            let path = match category {
                Some(category) => format!("{TEMPLATES}?category={}", slug(&category)?),
                None => TEMPLATES.to_owned(),
            };
            output::list(remote.output, &remote.client()?.list(&path).await?, &SUMMARIES)
        }
        TemplateCommand::Show { template, yaml, remote } => {
            let answer = remote.client()?.get(&path(&template)?).await?;
            if yaml {
                return Ok(console::text(&document::to_yaml(&answer)?)?);
            }
            show(remote.output, answer)
        }
        TemplateCommand::Create { file, remote } => {
            let body = Body::Text(document::read(&file)?);
            let template = remote.client()?.call(Method::POST, TEMPLATES, body).await?;
            output::item(remote.output, &template, &TEMPLATE)
        }
        TemplateCommand::Update { template, file, if_match, remote } => {
            let body = Body::Text(document::read(&file)?);
            let template = remote.client()?.call_if(Method::PUT, &path(&template)?, body, if_match).await?;
            output::item(remote.output, &template, &TEMPLATE)
        }
        TemplateCommand::Delete { template, if_match, remote } => {
            remote.client()?.call_if(Method::DELETE, &path(&template)?, Body::None, if_match).await?;
            console::line(format_args!("deleted {template}"))?;
            Ok(())
        }
        TemplateCommand::Apply(arguments) => apply::run(arguments).await,
    }
}

fn path(template: &str) -> anyhow::Result<String> {
    Ok(format!("{TEMPLATES}/{}", slug(template)?))
}

/// An id or a category: what goes into an address as it is.
fn slug(text: &str) -> anyhow::Result<&str> {
    let is_slug = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-');
    anyhow::ensure!(is_slug, "`{text}` is not made of letters, digits and `-` as ids and categories of templates are");
    Ok(text)
}

fn show(output: Output, template: Value) -> anyhow::Result<()> {
    if output == Output::Json {
        return output::json(&template);
    }
    output::item(output, &template, &TEMPLATE)?;
    console::line(format_args!(""))?;
    let mut variables = template["variables"].as_array().cloned().unwrap_or_default();
    variables.iter_mut().for_each(document::tell_value);
    output::list(output, &variables, &VARIABLES)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_made_like_an_id_goes_into_an_address() {
        assert_eq!(path("google-cloud").unwrap(), "/api/config/templates/google-cloud");
        for bad in ["", "a/b", "..", "a?b", "a b", "é"] {
            assert!(path(bad).is_err(), "{bad}");
        }
    }
}
