//! From what a person types to a component.

use std::borrow::Cow;
use std::fs::File;
use std::io::{self, Read};
use std::path::PathBuf;

use crate::builtin;

/// Neither the name of a built-in policy nor a readable file.
#[derive(Debug, thiserror::Error)]
pub enum ResolveError {
    #[error("there is no built-in policy `{name}` (there are {}) and no file of that name", names())]
    Unknown { name: String },
    #[error("cannot read the policy {}", path.display())]
    Read { path: PathBuf, source: io::Error },
    #[error("the policy {} is larger than {limit} bytes", path.display())]
    TooLarge { path: PathBuf, limit: usize },
}

/// The component of a built-in policy by its name, or of a file by its path. A name wins over a file: write `./NAME`
/// for the file. At most `limit` bytes are read.
///
/// # Errors
/// Says which names there are, or what is wrong with the file.
pub fn resolve(name_or_path: &str, limit: usize) -> Result<Cow<'static, [u8]>, ResolveError> {
    if let Some(policy) = builtin().iter().find(|policy| policy.name == name_or_path) {
        return Ok(Cow::Borrowed(policy.component));
    }
    let path = PathBuf::from(name_or_path);
    let file = match File::open(&path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            return Err(ResolveError::Unknown { name: name_or_path.to_owned() });
        }
        Err(source) => return Err(ResolveError::Read { path, source }),
    };
    let mut bytes = Vec::new();
    match file.take(limit as u64 + 1).read_to_end(&mut bytes) {
        Ok(_) if bytes.len() > limit => Err(ResolveError::TooLarge { path, limit }),
        Ok(_) => Ok(Cow::Owned(bytes)),
        Err(source) => Err(ResolveError::Read { path, source }),
    }
}

fn names() -> String {
    builtin().iter().map(|policy| policy.name).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_built_in_name_is_its_component() {
        for policy in builtin() {
            assert_eq!(resolve(policy.name, 1).unwrap(), policy.component);
            assert_eq!(&policy.component[..8], b"\0asm\x0d\0\x01\0", "{} is a component", policy.name);
        }
    }

    #[test]
    fn anything_else_is_a_file_within_the_limit_or_refused_in_words() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("mine.wasm");
        std::fs::write(&path, b"12345").unwrap();
        let text = path.to_str().unwrap();
        assert_eq!(resolve(text, 5).unwrap().as_ref(), b"12345");
        assert!(matches!(resolve(text, 4), Err(ResolveError::TooLarge { limit: 4, .. })));
        assert!(matches!(resolve(directory.path().to_str().unwrap(), 5), Err(ResolveError::Read { .. })));
        let error = resolve("treshold", 5).unwrap_err().to_string();
        assert!(error.contains("threshold, weighted"), "{error}");
    }
}
