//! Which master keys a database is opened with, and which one may take over.
//!
//! A rotation of the master key needs two: the present one and the next. Settings name where each of them is to be had.
//! When a rotation is over, the next one is the master key, and the settings may say otherwise for as long as it takes
//! the operator to change them: nothing keeps the control plane from starting meanwhile. Where the keys lie in the data
//! directory because no setting says where they are, the files are renamed at the next start.

use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};
use outrigger_api::NextMasterKey;
use outrigger_catalog::{Catalog, MasterKeys, OpenError};
use outrigger_secrets::{KeySourceError, MasterKey, MasterKeySource};

use super::{command, write_new};
use crate::config::{Config, MasterKeySources};

const CANNOT_LOAD: &str = "cannot load the master key";
const CANNOT_LOAD_NEXT: &str = "cannot load the next master key";
const MASTER_KEY: &str = "master.key";
const NEXT_MASTER_KEY: &str = "next-master.key";
const HOW_TO_NAME_BOTH: &str = "until it is over, name the present key with master_key_file, master_key or \
                                master_key_command and the next one with the settings of the same names that begin with \
                                next_";

/// What a database said of the keys that it was opened with.
#[derive(Debug, Clone)]
pub(in crate::serve) struct Unlocked {
    /// The key that everything is sealed with.
    pub(in crate::serve) name: String,
    /// Things may still be sealed with another one.
    pub(in crate::serve) is_rotating: bool,
}

/// The master key of a database that does not exist yet: one that a setting names, or else one that is made.
pub(in crate::serve) async fn made_first(config: &Config) -> anyhow::Result<MasterKeys> {
    if let Some(key) = from_sources(&config.master_key).await.context(CANNOT_LOAD)? {
        return Ok(key.into());
    }
    let path = config.data_dir.join(MASTER_KEY);
    if !exists(&path)? {
        write_new(&path, &MasterKey::generate().to_text())?;
    }
    Ok(MasterKeySource::File(path).load().context(CANNOT_LOAD)?.into())
}

/// The master keys that open a database: the present one and, when that does not suffice, the next one besides. `unlock`
/// tries keys without changing anything.
pub(in crate::serve) async fn for_database<F, Fut>(config: &Config, unlock: F) -> anyhow::Result<MasterKeys>
where
    F: Fn(MasterKeys) -> Fut,
    Fut: Future<Output = anyhow::Result<Result<Unlocked, OpenError>>>,
{
    let cannot_use = || format!("cannot use the database in {}", config.data_dir.display());
    let Some(current) = present(config).await? else {
        // Only where a rename of the two files was interrupted there is a next one alone.
        return match next(config).await? {
            Some(next) => {
                unlock(next.clone().into()).await?.with_context(cannot_use)?;
                take_place(config)?;
                Ok(next.into())
            }
            None => bail!(
                "the master key {} is missing, and the database beside it was made with one: put it back, or name \
                 another source with master_key_file, master_key or master_key_command",
                config.data_dir.join(MASTER_KEY).display()
            ),
        };
    };
    let first = match unlock(current.clone().into()).await? {
        Ok(_) => return Ok(current.into()),
        Err(error @ (OpenError::WrongMasterKey { .. } | OpenError::HalfRotated { .. })) => error,
        Err(error) => return Err(error).with_context(cannot_use),
    };
    let explained = |error: OpenError| {
        let is_half = matches!(error, OpenError::HalfRotated { .. });
        let context = if is_half { format!("{}; {HOW_TO_NAME_BOTH}", cannot_use()) } else { cannot_use() };
        anyhow::Error::new(error).context(context)
    };
    let Some(next) = next(config).await? else { return Err(explained(first)) };
    let both = MasterKeys { current, next: Some(next.clone()) };
    let unlocked = unlock(both.clone()).await?.map_err(explained)?;
    if unlocked.is_rotating {
        tracing::info!(next = %unlocked.name, "a rotation of the master key goes on");
        return Ok(both);
    }
    if config.master_key.are_unset() && config.next_master_key.are_unset() {
        take_place(config)?;
    } else {
        tracing::warn!(
            key = %unlocked.name,
            "the next master key has become the master key: name it as such in the settings, and remove the old one"
        );
    }
    Ok(next.into())
}

/// Where the key is read from that an operator has take over. It is read anew each time, and so is the present one: a
/// rotation that nobody could take up again after a crash is not begun.
pub(in crate::serve) fn next_master_key(config: &Config, catalog: &Catalog) -> NextMasterKey {
    let (config, catalog) = (config.clone(), catalog.clone());
    NextMasterKey::new(move || {
        let (config, catalog) = (config.clone(), catalog.clone());
        Box::pin(async move { successor(&config, &catalog).await.map_err(|error| format!("{error:#}")) })
    })
}

async fn successor(config: &Config, catalog: &Catalog) -> anyhow::Result<MasterKey> {
    let running = catalog.master_key_name();
    let settings = present(config).await?.map(|key| key.name());
    if settings.as_ref() != Some(&running) {
        bail!(
            "the master key is {running}, and the settings lead to {}: have them name the present key and start the \
             control plane again, so that it could take up a rotation that is interrupted",
            settings.as_deref().unwrap_or("none")
        );
    }
    match next(config).await? {
        Some(next) => Ok(next),
        None => bail!(
            "there is no next master key: write a new one into {} (`openssl rand -hex 32`), keep a copy elsewhere, and \
             ask again",
            next_path(config).display()
        ),
    }
}

fn next_path(config: &Config) -> PathBuf {
    config.next_master_key.file.clone().unwrap_or_else(|| config.data_dir.join(NEXT_MASTER_KEY))
}

/// The present master key; nothing when it is to lie in the data directory and does not.
async fn present(config: &Config) -> anyhow::Result<Option<MasterKey>> {
    key_of(&config.master_key, &config.data_dir.join(MASTER_KEY)).await.context(CANNOT_LOAD)
}

/// The next master key; nothing when there is none yet, also where a setting names a file that is still to be written.
async fn next(config: &Config) -> anyhow::Result<Option<MasterKey>> {
    let sources = &config.next_master_key;
    if let (Some(path), None, None) = (&sources.file, &sources.inline, &sources.command)
        && !exists(path)?
    {
        return Ok(None);
    }
    key_of(sources, &config.data_dir.join(NEXT_MASTER_KEY)).await.context(CANNOT_LOAD_NEXT)
}

async fn key_of(sources: &MasterKeySources, default: &Path) -> anyhow::Result<Option<MasterKey>> {
    if let Some(key) = from_sources(sources).await? {
        return Ok(Some(key));
    }
    if !exists(default)? {
        return Ok(None);
    }
    Ok(Some(MasterKeySource::File(default.to_owned()).load()?))
}

/// The key from the first source of the settings that has one, if there are any. A source that is not there leads to the
/// next; one that is there and unusable ends the search, because it was meant.
async fn from_sources(sources: &MasterKeySources) -> anyhow::Result<Option<MasterKey>> {
    let MasterKeySources { file, inline, command } = sources;
    if let Some(path) = file {
        match MasterKeySource::File(path.clone()).load() {
            Err(KeySourceError::Read { source, .. })
                if source.kind() == ErrorKind::NotFound && (inline.is_some() || command.is_some()) =>
            {
                tracing::warn!(file = %path.display(), "the master key file is missing; asking the next source");
            }
            loaded => return Ok(Some(loaded?)),
        }
    }
    if let Some(text) = inline {
        return Ok(Some(MasterKeySource::Inline(text.clone()).load()?));
    }
    match command {
        Some(command) => Ok(Some(command::run(command).await?)),
        None => Ok(None),
    }
}

/// Makes the file of the next master key that of the master key. The old one is kept under another name: whoever has an
/// older copy of the database needs it.
fn take_place(config: &Config) -> anyhow::Result<()> {
    let (present, next) = (config.data_dir.join(MASTER_KEY), config.data_dir.join(NEXT_MASTER_KEY));
    let rename = |from: &Path, to: &Path| {
        fs::rename(from, to).with_context(|| format!("cannot rename {} to {}", from.display(), to.display()))
    };
    if exists(&present)? {
        let old = MasterKeySource::File(present.clone()).load().context(CANNOT_LOAD)?;
        let kept = config.data_dir.join(format!("old-master-{}.key", old.name()));
        rename(&present, &kept)?;
        tracing::warn!(
            file = %kept.display(),
            "the old master key is needed for older copies of the database alone: take it away from here"
        );
    }
    rename(&next, &present)?;
    let synced = fs::File::open(&config.data_dir).and_then(|directory| directory.sync_all());
    synced.with_context(|| format!("cannot make the renaming in {} durable", config.data_dir.display()))
}

fn exists(path: &Path) -> anyhow::Result<bool> {
    path.try_exists().with_context(|| format!("cannot look at {}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Layers, SettingFlags, Sources};

    fn config(data: &Path, settings: &[(&str, &Path)]) -> Config {
        let flags = SettingFlags::default().with("data-dir", data.display().to_string());
        let flags = settings.iter().fold(flags, |flags, (name, path)| flags.with(name, path.display().to_string()));
        let sources = Sources { config: None, env: None, variables: &[], flags: &flags };
        Config::compile(&Layers::load(&sources).unwrap()).unwrap()
    }

    /// A file with a new key, and the key's name.
    fn key_file(path: &Path) -> String {
        let key = MasterKey::generate();
        fs::write(path, key.to_text().expose()).unwrap();
        key.name()
    }

    /// Opens what is under `keys`, the last of which is what everything new is sealed with.
    async fn open(config: &Config, keys: &[&str]) -> anyhow::Result<MasterKeys> {
        for_database(config, async |given: MasterKeys| {
            let names: Vec<String> =
                [Some(&given.current), given.next.as_ref()].into_iter().flatten().map(MasterKey::name).collect();
            let is_missing = |key: &&&str| !names.iter().any(|name| name == **key);
            let name = keys.last().copied().unwrap_or_default().to_owned();
            Ok(match keys.iter().find(is_missing) {
                None => Ok(Unlocked { name, is_rotating: keys.len() > 1 }),
                Some(missing) if keys.len() > 1 => {
                    Err(OpenError::HalfRotated { missing: "new", name: (*missing).to_owned() })
                }
                Some(missing) => Err(OpenError::WrongMasterKey { name: Some((*missing).to_owned()) }),
            })
        })
        .await
    }

    fn names(keys: &MasterKeys) -> (String, Option<String>) {
        (keys.current.name(), keys.next.as_ref().map(MasterKey::name))
    }

    #[tokio::test]
    async fn the_next_key_is_only_asked_for_when_the_present_one_does_not_suffice() {
        let directory = tempfile::tempdir().unwrap();
        let (file, next_file) = (directory.path().join("now"), directory.path().join("next"));
        let (now, next) = (key_file(&file), key_file(&next_file));
        let config = config(directory.path(), &[("master-key-file", &file), ("next-master-key-file", &next_file)]);
        assert_eq!(names(&open(&config, &[&now]).await.unwrap()), (now.clone(), None));
        assert_eq!(names(&open(&config, &[&now, &next]).await.unwrap()), (now.clone(), Some(next.clone())));
        // It is over, and the settings are as they were.
        assert_eq!(names(&open(&config, &[&next]).await.unwrap()), (next.clone(), None));
        assert!(file.exists() && next_file.exists(), "files that settings name are the operator's");

        fs::remove_file(&next_file).unwrap();
        let error = format!("{:#}", open(&config, &[&now, &next]).await.unwrap_err());
        assert!(error.contains(&next) && error.contains("next_") && error.contains("master_key_file"), "{error}");
        let error = format!("{:#}", open(&config, &[&next]).await.unwrap_err());
        assert!(error.contains("not the one") && error.contains(&next), "{error}");
    }

    #[tokio::test]
    async fn in_the_data_directory_the_files_are_renamed_whatever_interrupts_that() {
        let directory = tempfile::tempdir().unwrap();
        let (file, next_file) = (directory.path().join(MASTER_KEY), directory.path().join(NEXT_MASTER_KEY));
        let (old, new) = (key_file(&file), key_file(&next_file));
        let config = config(directory.path(), &[]);
        assert_eq!(names(&open(&config, &[&old, &new]).await.unwrap()), (old.clone(), Some(new.clone())));
        assert!(next_file.exists(), "nothing is renamed before it is over");
        let kept = directory.path().join(format!("old-master-{old}.key"));
        for is_interrupted in [false, true] {
            if is_interrupted {
                fs::rename(&file, &next_file).unwrap();
            }
            assert_eq!(names(&open(&config, &[&new]).await.unwrap()), (new.clone(), None));
            assert!(!next_file.exists() && kept.exists());
            assert_eq!(MasterKeySource::File(file.clone()).load().unwrap().name(), new);
        }

        fs::remove_file(&file).unwrap();
        let error = format!("{:#}", open(&config, &[&new]).await.unwrap_err());
        assert!(error.contains("master.key") && error.contains("missing"), "{error}");
        assert!(!file.exists(), "no key is made over an existing database");
    }
}
