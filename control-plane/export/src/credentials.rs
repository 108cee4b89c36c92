//! What a receiver is shown of ours. It is read from its file for each request, so that a new one takes effect at once.

use std::path::{Path, PathBuf};

use outrigger_secrets::SecretString;

/// A token is a line; more than this is not one.
const FILE_BYTES: u64 = 64 * 1024;

/// Where credentials are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Credentials {
    None,
    Bearer { file: PathBuf },
    Basic { username: String, password_file: PathBuf },
}

/// Credentials, read.
#[derive(Debug)]
pub(crate) enum Presented {
    Nothing,
    Bearer(SecretString),
    Basic(String, SecretString),
}

/// Why they could not be read. Says nothing of what is in the file.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CredentialsError {
    #[error("cannot read the credentials in {}", file.display())]
    Read { file: PathBuf, source: std::io::Error },
    #[error("{} holds no credentials: it is empty, larger than 64 KiB, or has more than one line", file.display())]
    Content { file: PathBuf },
}

impl Credentials {
    pub(crate) async fn read(&self) -> Result<Presented, CredentialsError> {
        Ok(match self {
            Self::None => Presented::Nothing,
            Self::Bearer { file } => Presented::Bearer(line_of(file).await?),
            Self::Basic { username, password_file } => {
                Presented::Basic(username.clone(), line_of(password_file).await?)
            }
        })
    }
}

impl Presented {
    /// What nobody may read in an error.
    pub(crate) const fn secret(&self) -> Option<&SecretString> {
        match self {
            Self::Nothing => None,
            Self::Bearer(secret) | Self::Basic(_, secret) => Some(secret),
        }
    }
}

async fn line_of(file: &Path) -> Result<SecretString, CredentialsError> {
    let path = file.to_owned();
    // On a thread that may wait: the file may be on a network.
    let read = tokio::task::spawn_blocking(move || read_bounded(&path)).await.map_err(std::io::Error::other);
    let text = read.flatten().map_err(|source| CredentialsError::Read { file: file.to_owned(), source })?;
    let line = text.expose().trim_end();
    if line.is_empty() || line.contains(char::is_control) {
        return Err(CredentialsError::Content { file: file.to_owned() });
    }
    Ok(SecretString::from(line))
}

fn read_bounded(path: &Path) -> std::io::Result<SecretString> {
    use std::io::Read as _;
    let mut bytes = Vec::new();
    std::fs::File::open(path)?.take(FILE_BYTES + 1).read_to_end(&mut bytes)?;
    let is_whole = bytes.len() as u64 <= FILE_BYTES;
    let text = String::from_utf8(bytes).ok().filter(|_| is_whole);
    // An empty one is refused by the caller, with the file's name.
    Ok(SecretString::from(text.unwrap_or_default()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_line_is_read_anew_and_its_end_is_no_part_of_it() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let credentials = Credentials::Bearer { file: file.path().to_owned() };
        for (written, read) in [("one\n", "one"), ("two\r\n", "two")] {
            std::fs::write(file.path(), written).unwrap();
            assert_eq!(credentials.read().await.unwrap().secret().unwrap().expose(), read);
        }
    }

    #[tokio::test]
    async fn what_is_no_line_is_refused_without_a_word_of_it() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let credentials = Credentials::Basic { username: "u".to_owned(), password_file: file.path().to_owned() };
        for bad in ["", " \n", "canary\ncanary", &"canary".repeat(20_000)] {
            std::fs::write(file.path(), bad).unwrap();
            let error = format!("{:?}", credentials.read().await.unwrap_err());
            assert!(error.contains("Content") && !error.contains("canary"), "{error}");
        }
        file.close().unwrap();
        assert!(matches!(credentials.read().await, Err(CredentialsError::Read { .. })));
    }
}
