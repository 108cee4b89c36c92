//! `outrigger env edit`: the variables in an editor, published as one generation.

mod desk;

use anyhow::Context as _;
use outrigger_secrets::SecretString;
use reqwest::StatusCode;
use serde_json::Value;

use super::{GENERATION, Target, compare};
use crate::cli::Output;
use crate::client::{Body, Client, ClientError};
use crate::commands::{change, output, prompt, with_query};
use crate::console;
use desk::Desk;

#[derive(Debug, clap::Args)]
pub(crate) struct EditArguments {
    /// With the values of secrets; this needs the role admin and is written to the audit log. Without it, `value: null`
    /// stands for a value that stays as it is
    #[arg(long)]
    reveal: bool,
    /// Publish without asking
    #[arg(long, short)]
    yes: bool,
    /// Why, for the history
    #[arg(long, short, default_value = "")]
    message: String,
    #[command(flatten)]
    target: Target,
}

/// What is edited, and against what it is published.
struct Opened {
    client: Client,
    path: String,
    label: String,
    generation: u64,
    text: SecretString,
}

pub(super) async fn run(arguments: EditArguments) -> anyhow::Result<()> {
    let EditArguments { reveal, yes, message, target } = arguments;
    let is_asked = !yes;
    anyhow::ensure!(
        !is_asked || prompt::is_interactive(),
        "there is no terminal to ask on: give --yes to publish at once"
    );
    let opened = Opened::new(&target, reveal).await?;
    let desk = Desk::set_up(&opened.text, reveal)?;
    let output = target.remote.output;
    loop {
        desk.edit().await?;
        let edited = desk.read()?;
        if edited.expose() == opened.text.expose() {
            return nothing(output, &opened);
        }
        let mut preview = match opened.import(&edited, true, "").await {
            Ok(preview) => preview,
            Err(error) if is_asked && is_mendable(&error) => {
                eprintln!("outrigger: {error}");
                if prompt::confirm("Edit again?")? {
                    continue;
                }
                anyhow::bail!("nothing was published");
            }
            Err(error) => return Err(kept(desk, reveal, error)),
        };
        let Value::Array(mut differences) = preview["differences"].take() else {
            anyhow::bail!("the answer does not say what would change");
        };
        if differences.is_empty() {
            return nothing(output, &opened);
        }
        if output == Output::Table {
            compare::table(&mut differences)?;
        }
        if is_asked {
            let (count, label) = (differences.len(), &opened.label);
            let what = if count == 1 { "this change" } else { "these changes" };
            if !prompt::confirm(&format!("Publish {what} of {label}?"))? {
                anyhow::bail!("nothing was published");
            }
        }
        let answer = match opened.import(&edited, false, &message).await {
            Ok(answer) => answer,
            Err(error) => return Err(kept(desk, reveal, error)),
        };
        drop(desk);
        return change::told(output, &answer, &GENERATION);
    }
}

impl Opened {
    async fn new(target: &Target, reveal: bool) -> anyhow::Result<Self> {
        let (client, path) = target.path().await?;
        let environment = client.get(&path).await?;
        let generation = environment["generation"].as_u64().context("the answer has no generation")?;
        let name = |field: &str| environment[field].as_str().unwrap_or_default().to_owned();
        let label = format!("{}/{}", name("environment"), name("name"));
        let query = format!("format=yaml&form=full&secrets={reveal}&generation={generation}");
        let variables = client.text(&format!("{path}/export?{query}")).await?;
        let text = desk::page(&label, generation, reveal, variables.expose());
        Ok(Self { client, path, label, generation, text })
    }

    /// Publishes what was edited, unless somebody has changed the environment since it was opened; or only says what that
    /// would change.
    async fn import(&self, edited: &SecretString, dry_run: bool, message: &str) -> Result<Value, ClientError> {
        let dry_run = if dry_run { "true" } else { "false" };
        let message = if message.is_empty() { "edited" } else { message };
        let query = [("format", "yaml"), ("mode", "replace"), ("dryRun", dry_run), ("message", message)];
        let path = with_query(&format!("{}/import", self.path), query);
        self.client.post_if(&path, Body::Text(edited.expose().as_bytes().to_vec()), Some(self.generation)).await
    }
}

/// Whether editing can help.
fn is_mendable(error: &ClientError) -> bool {
    matches!(error, ClientError::Refused { status, .. } if *status == StatusCode::BAD_REQUEST)
}

/// What was edited is not lost to an error.
fn kept(desk: Desk, reveal: bool, error: ClientError) -> anyhow::Error {
    let what = if reveal { ", with the secrets in it" } else { "" };
    let place = match desk.keep() {
        Ok(path) => format!("what you edited is kept{what}: {}", path.display()),
        Err(error) => format!("what you edited could not be kept: {error:#}"),
    };
    anyhow::Error::new(error).context(format!("nothing was published; {place}"))
}

fn nothing(output: Output, opened: &Opened) -> anyhow::Result<()> {
    let generation = opened.generation;
    if output == Output::Json {
        return output::json(&serde_json::json!({ "generation": generation, "differences": [] }));
    }
    console::line(format_args!("nothing is different from generation {generation}"))?;
    Ok(())
}
