//! `outrigger env set`: values from the command line, files, standard input, or a prompt.

use std::collections::HashSet;
use std::io::{IsTerminal as _, Read as _};
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use outrigger_secrets::SecretString;
use serde_json::{Value, json};

use super::Target;
use crate::commands::prompt;

/// Largest value that is read; the control plane takes less.
const VALUE_BYTES: u64 = 1024 * 1024;

#[derive(Debug, clap::Args)]
pub(crate) struct SetArguments {
    /// KEY=VALUE. KEY alone asks for the value without showing it, or takes it from a pipe without the end of its last
    /// line; `KEY=@FILE` takes it from a file and `KEY=-` from standard input, byte for byte
    #[arg(required = true, value_name = "KEY[=VALUE]")]
    assignments: Vec<String>,
    /// Take the value of the one KEY from a file, byte for byte
    #[arg(long, value_name = "PATH")]
    file: Option<PathBuf>,
    /// Keep the values encrypted and never show them again
    #[arg(long, short)]
    secret: bool,
    /// A deployment does not start without these
    #[arg(long)]
    required: bool,
    /// Take `${` in the values literally instead of as the beginning of a reference
    #[arg(long)]
    literal: bool,
    /// Take `${KEY}` in the values as a reference again, after `--literal`
    #[arg(long, conflicts_with = "literal")]
    expand: bool,
    /// string, number, boolean, json, url or secret
    #[arg(long, value_name = "TYPE")]
    r#type: Option<String>,
    /// What they are for
    #[arg(long, value_name = "TEXT")]
    description: Option<String>,
    /// Why, for the history
    #[arg(long, short, default_value = "")]
    message: String,
    /// Only if this is still the newest generation
    #[arg(long, value_name = "NUMBER")]
    if_match: Option<u64>,
    #[command(flatten)]
    target: Target,
}

pub(super) async fn run(arguments: SetArguments) -> anyhow::Result<()> {
    let sources = sources(&arguments.assignments, arguments.file.as_deref(), std::io::stdin().is_terminal())?;
    let mut variables = Vec::with_capacity(sources.len());
    for (key, source) in sources {
        variables.push(arguments.variable(key, &source.value(key)?));
    }
    let body = json!({ "message": arguments.message, "variables": variables });
    arguments.target.patch(body, arguments.if_match).await
}

impl SetArguments {
    fn variable(&self, key: &str, value: &SecretString) -> Value {
        // What is not said stays as it is.
        let mut variable = json!({ "key": key, "value": value.expose() });
        if self.literal || self.expand {
            variable["expand"] = self.expand.into();
        }
        if self.required {
            variable["isRequired"] = true.into();
        }
        if self.secret {
            variable["isEncrypted"] = true.into();
        }
        if let Some(kind) = self.r#type.as_deref().or(self.secret.then_some("secret")) {
            variable["variableType"] = kind.into();
        }
        if let Some(description) = &self.description {
            variable["description"] = description.as_str().into();
        }
        variable
    }
}

/// Where a value comes from.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Source<'a> {
    Given(&'a str),
    File(&'a Path),
    /// As it is.
    Standard,
    /// Without the end of the last line, which is `echo`'s.
    Piped,
    Asked,
}

impl Source<'_> {
    const fn is_standard_input(&self) -> bool {
        matches!(self, Self::Standard | Self::Piped)
    }

    pub(crate) fn value(&self, key: &str) -> anyhow::Result<SecretString> {
        match self {
            Self::Given(value) => Ok(SecretString::from(*value)),
            Self::File(path) => {
                let what = || format!("cannot read {}", path.display());
                read(std::fs::File::open(path).with_context(what)?).with_context(what)
            }
            Self::Standard => read(std::io::stdin()).context("cannot read standard input"),
            Self::Piped => {
                let text = read(std::io::stdin()).context("cannot read standard input")?;
                let line = text
                    .expose()
                    .strip_suffix('\n')
                    .map_or(text.expose(), |text| text.strip_suffix('\r').unwrap_or(text));
                anyhow::ensure!(!line.is_empty(), "standard input is empty; write `{key}=` for an empty value");
                Ok(SecretString::from(line))
            }
            Self::Asked => {
                let asked = prompt::secret(&format!("Value of {key}: "));
                asked.with_context(|| format!("{key} is not set; write `{key}=` for an empty value"))
            }
        }
    }
}

fn read(from: impl std::io::Read) -> anyhow::Result<SecretString> {
    let mut text = zeroize::Zeroizing::new(String::new());
    from.take(VALUE_BYTES + 1).read_to_string(&mut text)?;
    anyhow::ensure!(text.len() as u64 <= VALUE_BYTES, "it has more than {VALUE_BYTES} bytes");
    Ok(SecretString::from(text))
}

/// What every key is set from; standard input has only one value in it.
pub(crate) fn sources<'a>(
    assignments: &'a [String],
    file: Option<&'a Path>,
    is_terminal: bool,
) -> anyhow::Result<Vec<(&'a str, Source<'a>)>> {
    let source = |text: &'a String| match (text.split_once('='), file) {
        (None, Some(file)) => Ok((text.as_str(), Source::File(file))),
        (Some((key, _)), Some(_)) => anyhow::bail!("`{key}` has a value already: leave it out, or leave out --file"),
        (None, None) => Ok((text.as_str(), if is_terminal { Source::Asked } else { Source::Piped })),
        (Some((key, value)), None) => Ok((
            key,
            match value.strip_prefix('@') {
                Some(path) => Source::File(Path::new(path)),
                None if value == "-" => Source::Standard,
                None => Source::Given(value),
            },
        )),
    };
    let sources = assignments.iter().map(source).collect::<anyhow::Result<Vec<_>>>()?;
    anyhow::ensure!(file.is_none() || sources.len() == 1, "--file is the value of one KEY, not of several");
    let piped: Vec<&str> =
        sources.iter().filter(|(_, source)| source.is_standard_input()).map(|(key, _)| *key).collect();
    anyhow::ensure!(
        piped.len() <= 1,
        "only one value comes from standard input, not those of {} (for an empty one write `KEY=`)",
        piped.join(" and ")
    );
    let mut keys = HashSet::new();
    for (key, _) in &sources {
        anyhow::ensure!(!key.is_empty(), "a variable has a name: write KEY=VALUE");
        anyhow::ensure!(keys.insert(*key), "{key} is set twice");
    }
    Ok(sources)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(texts: &[&str], file: Option<&str>, is_terminal: bool) -> Result<Vec<String>, String> {
        let texts: Vec<String> = texts.iter().map(|text| (*text).to_owned()).collect();
        let found = sources(&texts, file.map(Path::new), is_terminal).map_err(|error| error.to_string())?;
        Ok(found.into_iter().map(|(key, source)| format!("{key} {source:?}")).collect())
    }

    #[test]
    fn a_value_is_given_read_or_asked_for() {
        let given = of(&["A=x=y", "B=", "C=@/etc/hosts", "D=-"], None, true).unwrap();
        assert_eq!(given, [r#"A Given("x=y")"#, r#"B Given("")"#, r#"C File("/etc/hosts")"#, "D Standard"]);
        assert_eq!(of(&["A", "B"], None, true).unwrap(), ["A Asked", "B Asked"]);
        assert_eq!(of(&["A", "B=1"], None, false).unwrap(), ["A Piped", r#"B Given("1")"#]);
        assert_eq!(of(&["A"], Some("key.pem"), false).unwrap(), [r#"A File("key.pem")"#]);
    }

    #[test]
    fn what_cannot_be_meant_is_refused() {
        assert!(of(&["A", "B"], None, false).unwrap_err().contains("A and B"));
        assert!(of(&["A", "B=-"], None, false).unwrap_err().contains("only one value"));
        assert!(of(&["A=1"], Some("f"), true).unwrap_err().contains("has a value already"));
        assert!(of(&["A", "B"], Some("f"), true).unwrap_err().contains("one KEY"));
        assert!(of(&["A=1", "A=2"], None, true).unwrap_err().contains("A is set twice"));
        assert!(of(&["=1"], None, true).unwrap_err().contains("a name"));
    }
}
