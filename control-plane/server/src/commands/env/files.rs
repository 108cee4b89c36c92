//! `outrigger env import` and `env export`.

use std::io::Read as _;
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use serde_json::Value;

use super::{Target, compare};
use crate::cli::Output;
use crate::client::Body;
use crate::commands::{change, output};
use crate::console;

/// Largest file that the control plane takes.
const FILE_BYTES: u64 = 1024 * 1024;

#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Format {
    Dotenv,
    Json,
    Yaml,
    /// `docker run --env-file`
    Docker,
    /// Kubernetes ConfigMap and Secret
    K8s,
}

impl Format {
    const fn name(self) -> &'static str {
        match self {
            Self::Dotenv => "dotenv",
            Self::Json => "json",
            Self::Yaml => "yaml",
            Self::Docker => "docker",
            Self::K8s => "k8s",
        }
    }

    /// What a file's name says. Kubernetes manifests are YAML files too, so they have to be named.
    fn of(path: &Path) -> Self {
        match path.extension().and_then(|extension| extension.to_str()) {
            Some("json") => Self::Json,
            Some("yaml" | "yml") => Self::Yaml,
            _ => Self::Dotenv,
        }
    }
}

#[derive(Debug, clap::Args)]
pub(crate) struct ImportArguments {
    /// The file; `-` is standard input
    file: PathBuf,
    /// What kind of file it is [default: what its name says, else dotenv]
    #[arg(long, value_enum)]
    format: Option<Format>,
    /// Also remove the variables that the file does not have
    #[arg(long)]
    replace: bool,
    /// Only show what would change
    #[arg(long)]
    dry_run: bool,
    /// Only if this is still the newest generation
    #[arg(long, value_name = "NUMBER")]
    if_match: Option<u64>,
    #[command(flatten)]
    target: Target,
}

#[derive(Debug, clap::Args)]
pub(crate) struct ExportArguments {
    /// What kind of file to write
    #[arg(long, value_enum, default_value = "dotenv")]
    format: Format,
    /// As programs get them: inherited and expanded, with the environment that each value comes from
    #[arg(long)]
    effective: bool,
    /// With the values of secrets; this needs the role admin and is written to the audit log
    #[arg(long)]
    secrets: bool,
    /// As they were in this generation
    #[arg(long, value_name = "NUMBER")]
    generation: Option<u64>,
    /// For json and yaml: all that is known about each variable
    #[arg(long)]
    full: bool,
    /// For k8s: the name of the objects [default: the environment's]
    #[arg(long)]
    name: Option<String>,
    #[command(flatten)]
    target: Target,
}

pub(super) async fn import(arguments: ImportArguments) -> anyhow::Result<()> {
    let ImportArguments { file, format, replace, dry_run, if_match, target } = arguments;
    let format = format.unwrap_or_else(|| Format::of(&file)).name();
    let content = read(&file)?;
    let (client, path) = target.path().await?;
    let mode = if replace { "replace" } else { "merge" };
    let path = format!("{path}/import?format={format}&mode={mode}&dryRun={dry_run}");
    let mut answer = client.post_if(&path, Body::Text(content), if_match).await?;
    if target.remote.output == Output::Json {
        return output::json(&answer);
    }
    if change::is_change(&answer) {
        return change::awaits(target.remote.output, &answer);
    }
    let mut differences = match answer["differences"].take() {
        Value::Array(differences) => differences,
        _ => Vec::new(),
    };
    let generation = answer["generation"].as_u64().context("the answer has no generation")?;
    if differences.is_empty() {
        console::line(format_args!("nothing is different from generation {generation}"))?;
        return Ok(());
    }
    compare::table(&mut differences)?;
    if dry_run {
        console::line(format_args!("nothing was changed: this was a dry run on generation {generation}"))?;
    } else {
        console::line(format_args!("generation {generation}"))?;
    }
    Ok(())
}

pub(super) async fn export(arguments: ExportArguments) -> anyhow::Result<()> {
    let ExportArguments { format, effective, secrets, generation, full, name, target } = arguments;
    let (client, path) = target.path().await?;
    let form = if full { "full" } else { "flat" };
    let mut path =
        format!("{path}/export?format={}&effective={effective}&secrets={secrets}&form={form}", format.name());
    if let Some(generation) = generation {
        path.push_str(&format!("&generation={generation}"));
    }
    if let Some(name) = name {
        let is_plain = name.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.'));
        anyhow::ensure!(is_plain, "an object's name has lower-case letters, digits, `-` and `.`");
        path.push_str(&format!("&name={name}"));
    }
    console::text(client.text(&path).await?.expose())?;
    Ok(())
}

fn read(file: &Path) -> anyhow::Result<Vec<u8>> {
    let what = || format!("cannot read {}", file.display());
    let mut content = Vec::new();
    if file == Path::new("-") {
        std::io::stdin().take(FILE_BYTES + 1).read_to_end(&mut content).context("cannot read standard input")?;
    } else {
        let opened = std::fs::File::open(file).with_context(what)?;
        opened.take(FILE_BYTES + 1).read_to_end(&mut content).with_context(what)?;
    }
    anyhow::ensure!(content.len() as u64 <= FILE_BYTES, "{} has more than {FILE_BYTES} bytes", file.display());
    Ok(content)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_name_of_a_file_says_what_it_is() {
        for (name, format) in [(".env", Format::Dotenv), ("a.json", Format::Json), ("b.yml", Format::Yaml)] {
            assert_eq!(Format::of(Path::new(name)), format, "{name}");
        }
        assert_eq!(Format::of(Path::new("-")), Format::Dotenv);
    }
}
