//! Values that are zeroised when dropped, compared in constant time, and never printed.

use std::fmt;
use std::ops::Deref;

use serde::{Deserialize, Deserializer};
use subtle::ConstantTimeEq;
use zeroize::{Zeroize, Zeroizing};

/// What nobody may see by accident: a [`SecretString`] or [`SecretBytes`]. There is no `Serialize`: what leaves the
/// process names it by [`expose`](Self::expose).
#[derive(Clone, Default)]
pub struct Secret<T: Zeroize>(Zeroizing<T>);

/// A text that nobody may see by accident.
pub type SecretString = Secret<String>;

/// Bytes that nobody may see by accident.
pub type SecretBytes = Secret<Vec<u8>>;

impl<T: Zeroize> Secret<T> {
    #[must_use]
    pub fn new(content: impl Into<T>) -> Self {
        Self(Zeroizing::new(content.into()))
    }

    /// The content in a buffer of the caller's, still zeroised when dropped.
    #[must_use]
    pub fn into_inner(self) -> Zeroizing<T> {
        self.0
    }
}

impl<T: Zeroize + Deref> Secret<T> {
    /// The content itself. Every caller is a place to look at in a review.
    #[must_use]
    pub fn expose(&self) -> &T::Target {
        &self.0
    }
}

impl<T: Zeroize + AsRef<[u8]>> Secret<T> {
    fn bytes(&self) -> &[u8] {
        self.0.as_ref()
    }

    /// Its length in bytes.
    #[must_use]
    pub fn len(&self) -> usize {
        self.bytes().len()
    }

    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.bytes().is_empty()
    }
}

impl<T: Zeroize> From<T> for Secret<T> {
    fn from(content: T) -> Self {
        Self(Zeroizing::new(content))
    }
}

impl<T: Zeroize> From<Zeroizing<T>> for Secret<T> {
    fn from(content: Zeroizing<T>) -> Self {
        Self(content)
    }
}

impl From<&str> for SecretString {
    fn from(text: &str) -> Self {
        Self::new(text)
    }
}

impl<T: Zeroize + AsRef<[u8]>> PartialEq for Secret<T> {
    fn eq(&self, other: &Self) -> bool {
        self.bytes().ct_eq(other.bytes()).into()
    }
}

impl<T: Zeroize + AsRef<[u8]>> Eq for Secret<T> {}

impl<T: Zeroize> fmt::Debug for Secret<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl<T: Zeroize> fmt::Display for Secret<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[redacted]")
    }
}

/// Secrets come in with requests and settings; they go out by no serialiser.
impl<'de> Deserialize<'de> for SecretString {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer).map(Self::from)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn neither_debug_nor_display_shows_what_is_held() {
        let text = SecretString::from("hunter2");
        let bytes = SecretBytes::new(b"hunter2".to_vec());
        assert_eq!(format!("{text} {text:?} {text:#?}"), "[redacted] [redacted] [redacted]");
        assert_eq!(format!("{bytes} {bytes:?} {bytes:#?}"), "[redacted] [redacted] [redacted]");
        #[derive(Debug)]
        struct Holder {
            #[expect(dead_code, reason = "only its Debug form is of interest")]
            password: Option<SecretString>,
        }
        assert!(!format!("{:?}", Holder { password: Some(text) }).contains("hunter2"));
    }

    #[test]
    fn equality_is_that_of_the_content() {
        assert_eq!(SecretString::from("a"), SecretString::new("a"));
        assert_ne!(SecretString::from("a"), SecretString::from("ab"));
        assert_ne!(SecretBytes::new([1, 2]), SecretBytes::new([1, 3]));
    }
}
