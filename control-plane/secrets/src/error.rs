use std::path::PathBuf;

/// A plaintext could not be sealed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SealError {
    #[error("the operating system gave no randomness")]
    Randomness,
    /// Beyond what AES-GCM takes, 64 GiB: never reached by anything that fits the limits of its callers.
    #[error("the plaintext is too long to be sealed")]
    TooLong,
}

/// A ciphertext could not be opened. Deliberately says no more than this: which of key, place and content was wrong
/// cannot be told apart, and must not be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum OpenSealedError {
    #[error("the sealed bytes are too short")]
    Truncated,
    #[error("the sealed bytes have format {found}, this release reads up to {newest}")]
    Format { found: u8, newest: u8 },
    #[error("the sealed bytes do not open with this key at this place")]
    Unauthentic,
}

/// A text that is not a master key. Never quotes the text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum MasterKeyError {
    #[error("the master key is neither hexadecimal nor base64")]
    Encoding,
    #[error("the master key has {found} bytes, 32 are needed: 64 hexadecimal digits, or base64 of 32 bytes")]
    Length { found: usize },
    /// A key of one repeated byte protects nothing; it is a placeholder that was never replaced.
    #[error("the master key is one byte repeated 32 times, which is a placeholder and not a key")]
    Placeholder,
}

/// A master key could not be loaded from where it was said to be.
#[derive(Debug, thiserror::Error)]
pub enum KeySourceError {
    #[error("reading the master key from {}", path.display())]
    Read { path: PathBuf, source: std::io::Error },
    #[error("{} is larger than {limit} bytes, so it is no master key", path.display())]
    TooLarge { path: PathBuf, limit: usize },
    #[error("the master key file {} is unusable", path.display())]
    File { path: PathBuf, source: MasterKeyError },
    #[error("the master key setting is unusable")]
    Inline { source: MasterKeyError },
}
