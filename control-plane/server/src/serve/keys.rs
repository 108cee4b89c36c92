//! The files of the data directory that hold keys: the master key and the operator's token.

mod command;
mod master;

use std::fs::{self, DirBuilder, OpenOptions};
use std::io::{Read as _, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::Path;

use anyhow::Context as _;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use outrigger_catalog::Catalog;
use outrigger_secrets::SecretString;
use ring::rand::{SecureRandom as _, SystemRandom};
use zeroize::Zeroizing;

use crate::config::Config;

pub(super) use master::{Unlocked, for_database, made_first, next_master_key};

/// Holds the operator's token, which is whatever this file says; readable by its owner alone.
pub(super) const OPERATOR_TOKEN: &str = "operator-token";

/// A file with a token and a line break is no larger.
const MOST_TOKEN_BYTES: u64 = 1024;

/// Bytes from the operating system.
pub(super) fn random<const N: usize>() -> [u8; N] {
    let mut bytes = [0; N];
    SystemRandom::new().fill(&mut bytes).expect("the operating system provides randomness");
    bytes
}

/// 192 random bits as text.
pub(crate) fn random_text() -> String {
    URL_SAFE_NO_PAD.encode(random::<24>())
}

/// Makes the data directory if it is not there, for its owner alone.
pub(super) fn prepare_directory(directory: &Path) -> anyhow::Result<()> {
    DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(directory)
        .with_context(|| format!("cannot create the data directory {}", directory.display()))?;
    // Found out now, with this path in the message, rather than by whichever part writes first.
    let probe = directory.join(".writable");
    fs::write(&probe, b"")
        .and_then(|()| fs::remove_file(&probe))
        .with_context(|| format!("cannot write to the data directory {}", directory.display()))
}

/// Makes sure that there is an operator whose token stands in the data directory.
pub(super) async fn operator_token(config: &Config, catalog: &Catalog) -> anyhow::Result<SecretString> {
    let path = config.data_dir.join(OPERATOR_TOKEN);
    if !path.try_exists().with_context(|| format!("cannot look at {}", path.display()))? {
        // Written before the database learns of it: a crash in between leaves a token that the next start makes valid.
        write_new(&path, &SecretString::from(format!("ogr_operator_{}", random_text())))?;
    }
    let text = fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
    let token = SecretString::from(text.trim().to_owned());
    catalog
        .ensure_operator(Some(token.clone()))
        .await
        .with_context(|| format!("cannot use the operator token in {}", path.display()))?;
    Ok(token)
}

/// The token that a file holds, with blanks around it or without.
pub(super) fn read_token(path: &Path) -> anyhow::Result<SecretString> {
    let mut text = Zeroizing::new(String::new());
    fs::File::open(path)?.take(MOST_TOKEN_BYTES + 1).read_to_string(&mut text)?;
    if text.len() as u64 > MOST_TOKEN_BYTES {
        anyhow::bail!("it holds more than a token");
    }
    Ok(SecretString::from(text.trim().to_owned()))
}

/// Writes a secret into a file that must not exist, durably.
fn write_new(path: &Path, secret: &SecretString) -> anyhow::Result<()> {
    let write = || -> std::io::Result<()> {
        // Written aside and linked, so that the file is either absent or whole.
        let next = path.with_extension("new");
        let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&next)?;
        file.write_all(secret.expose().as_bytes())?;
        file.write_all(b"\n")?;
        file.sync_all()?;
        let linked = fs::hard_link(&next, path);
        fs::remove_file(&next)?;
        linked?;
        fs::File::open(path.parent().unwrap_or(Path::new(".")))?.sync_all()
    };
    write().with_context(|| format!("cannot write {}", path.display()))
}
