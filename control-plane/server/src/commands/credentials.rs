//! The token that `login` keeps: `$XDG_CONFIG_HOME/outrigger/credentials.json`, readable by its owner alone.

use std::fs::{self, OpenOptions};
use std::io::{ErrorKind, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::PathBuf;

use anyhow::Context as _;
use outrigger_secrets::SecretString;
use serde::{Deserialize, Serialize};

#[derive(Debug)]
pub(crate) struct Credentials {
    pub(crate) url: String,
    pub(crate) token: SecretString,
}

#[derive(Serialize, Deserialize)]
struct File {
    url: String,
    token: String,
}

fn path() -> anyhow::Result<PathBuf> {
    let base = match std::env::var_os("XDG_CONFIG_HOME").filter(|dir| !dir.is_empty()) {
        Some(dir) => PathBuf::from(dir),
        None => {
            PathBuf::from(std::env::var_os("HOME").context("neither XDG_CONFIG_HOME nor HOME is set")?).join(".config")
        }
    };
    Ok(base.join("outrigger").join("credentials.json"))
}

pub(crate) fn load() -> anyhow::Result<Option<Credentials>> {
    // Without a home there is nowhere that anything could have been kept.
    let Ok(path) = path() else { return Ok(None) };
    let text = match fs::read_to_string(&path) {
        Ok(text) => text,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error).with_context(|| format!("cannot read {}", path.display())),
    };
    let file: File = serde_json::from_str(&text)
        .with_context(|| format!("{} is damaged; run `outrigger login` again", path.display()))?;
    Ok(Some(Credentials { url: file.url, token: SecretString::from(file.token) }))
}

/// Replaces the kept credentials in one step, so that a crash leaves either the old or the new.
pub(crate) fn save(credentials: &Credentials) -> anyhow::Result<PathBuf> {
    let path = path()?;
    let directory = path.parent().context("the credentials file has no directory")?;
    fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(directory)
        .with_context(|| format!("cannot create {}", directory.display()))?;
    let file = File { url: credentials.url.clone(), token: credentials.token.expose().to_owned() };
    let next = path.with_extension("json.new");
    let write = || -> std::io::Result<()> {
        let mut out = OpenOptions::new().create(true).write(true).truncate(true).mode(0o600).open(&next)?;
        out.write_all(serde_json::to_string(&file)?.as_bytes())?;
        out.sync_all()?;
        fs::rename(&next, &path)
    };
    write().with_context(|| format!("cannot write {}", path.display()))?;
    Ok(path)
}
