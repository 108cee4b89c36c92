//! Keys: ordered bytes, built from segments so that byte order is the order a reader expects.
//!
//! A text segment is written as its bytes with every `0x00` escaped to `0x00 0xFF`, closed by `0x00 0x01`. So
//! `"a"` sorts before `"a\0b"`, which sorts before `"ab"`, whatever follows each of them, and the prefix of one
//! segment never matches a longer one (`project/a` does not cover `project/ab`). A number is eight bytes, big
//! endian. A fixed-width array (an id) is written as it is. There are no type tags: whoever reads a key back
//! knows its shape.

use std::borrow::Cow;
use std::fmt;

use bytes::{BufMut, Bytes, BytesMut};

const ESCAPE: u8 = 0x00;
const ESCAPED_ZERO: u8 = 0xFF;
const TERMINATOR: u8 = 0x01;

/// A key of the store: any non-empty bytes up to [`MAX_KEY_BYTES`](crate::limits::MAX_KEY_BYTES).
///
/// Building one never fails; the limits are checked where a key is written. A key outside them is simply absent
/// when it is read.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Key(Bytes);

impl Key {
    /// Starts a key of several segments.
    #[must_use]
    pub fn builder() -> KeyBuilder {
        KeyBuilder::default()
    }

    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    #[must_use]
    pub fn into_bytes(self) -> Bytes {
        self.0
    }

    #[must_use]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Appends further segments to this key.
    #[must_use]
    pub fn extend(&self) -> KeyBuilder {
        KeyBuilder { buffer: BytesMut::from(self.as_bytes()) }
    }

    /// Reads the segments back, in the order in which they were written.
    #[must_use]
    pub fn reader(&self) -> KeyReader<'_> {
        KeyReader { rest: self.as_bytes() }
    }

    /// Reads the segments that follow `prefix`; `None` when this key does not start with it.
    #[must_use]
    pub fn reader_after(&self, prefix: &Key) -> Option<KeyReader<'_>> {
        self.as_bytes().strip_prefix(prefix.as_bytes()).map(|rest| KeyReader { rest })
    }

    /// The least key that is greater than this one.
    pub(crate) fn successor(&self) -> Self {
        let mut next = BytesMut::with_capacity(self.len() + 1);
        next.put_slice(self.as_bytes());
        next.put_u8(0);
        Self(next.freeze())
    }
}

/// The whole text is the key: no terminator. For single names; keys of several segments use [`Key::builder`].
impl From<&str> for Key {
    fn from(text: &str) -> Self {
        Self(Bytes::copy_from_slice(text.as_bytes()))
    }
}

impl From<String> for Key {
    fn from(text: String) -> Self {
        Self(Bytes::from(text))
    }
}

impl From<Bytes> for Key {
    fn from(bytes: Bytes) -> Self {
        Self(bytes)
    }
}

impl From<&[u8]> for Key {
    fn from(bytes: &[u8]) -> Self {
        Self(Bytes::copy_from_slice(bytes))
    }
}

impl From<Vec<u8>> for Key {
    fn from(bytes: Vec<u8>) -> Self {
        Self(Bytes::from(bytes))
    }
}

impl AsRef<[u8]> for Key {
    fn as_ref(&self) -> &[u8] {
        self.as_bytes()
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Key({})", self.as_bytes().escape_ascii())
    }
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.as_bytes().escape_ascii())
    }
}

/// Joins segments into a [`Key`].
#[derive(Debug, Clone, Default)]
pub struct KeyBuilder {
    buffer: BytesMut,
}

impl KeyBuilder {
    /// A text segment of any length and content.
    #[must_use]
    pub fn text(self, segment: &str) -> Self {
        self.bytes(segment.as_bytes())
    }

    /// A segment of bytes of any length and content.
    #[must_use]
    pub fn bytes(mut self, segment: &[u8]) -> Self {
        self.buffer.reserve(segment.len() + 2);
        for &byte in segment {
            self.buffer.put_u8(byte);
            if byte == ESCAPE {
                self.buffer.put_u8(ESCAPED_ZERO);
            }
        }
        self.buffer.put_slice(&[ESCAPE, TERMINATOR]);
        self
    }

    /// A number; keys that differ in it sort numerically.
    #[must_use]
    pub fn u64(mut self, segment: u64) -> Self {
        self.buffer.put_u64(segment);
        self
    }

    /// A segment whose width is part of its type, such as the sixteen bytes of an id.
    #[must_use]
    pub fn array<const N: usize>(mut self, segment: &[u8; N]) -> Self {
        self.buffer.put_slice(segment);
        self
    }

    #[must_use]
    pub fn build(self) -> Key {
        Key(self.buffer.freeze())
    }
}

/// A key does not have the shape that its reader expects.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum KeyShapeError {
    #[error("the key ends inside a {segment} segment")]
    Truncated { segment: &'static str },
    #[error("a text segment of the key is not UTF-8")]
    NotText,
    #[error("a text segment of the key holds an escape that no writer produces")]
    BadEscape,
    #[error("{count} bytes follow the last segment of the key")]
    Trailing { count: usize },
}

/// Takes the segments of a [`Key`] apart again.
#[derive(Debug, Clone)]
pub struct KeyReader<'a> {
    rest: &'a [u8],
}

impl<'a> KeyReader<'a> {
    /// # Errors
    /// When the next segment is no well-formed text.
    pub fn text(&mut self) -> Result<Cow<'a, str>, KeyShapeError> {
        match self.bytes()? {
            Cow::Borrowed(bytes) => std::str::from_utf8(bytes).map(Cow::Borrowed).map_err(|_| KeyShapeError::NotText),
            Cow::Owned(bytes) => String::from_utf8(bytes).map(Cow::Owned).map_err(|_| KeyShapeError::NotText),
        }
    }

    /// # Errors
    /// When the next segment is cut off or badly escaped.
    pub fn bytes(&mut self) -> Result<Cow<'a, [u8]>, KeyShapeError> {
        let mut unescaped: Option<Vec<u8>> = None;
        let mut plain = 0;
        loop {
            let run = &self.rest[plain..];
            let zero = run.iter().position(|&b| b == ESCAPE).ok_or(KeyShapeError::Truncated { segment: "text" })?;
            let marker = *run.get(zero + 1).ok_or(KeyShapeError::Truncated { segment: "text" })?;
            let end = plain + zero;
            match marker {
                TERMINATOR => {
                    let segment = match unescaped {
                        None => Cow::Borrowed(&self.rest[..end]),
                        Some(mut bytes) => {
                            bytes.extend_from_slice(&self.rest[plain..end]);
                            Cow::Owned(bytes)
                        }
                    };
                    self.rest = &self.rest[end + 2..];
                    return Ok(segment);
                }
                ESCAPED_ZERO => {
                    unescaped.get_or_insert_default().extend_from_slice(&self.rest[plain..=end]);
                    plain = end + 2;
                }
                _ => return Err(KeyShapeError::BadEscape),
            }
        }
    }

    /// # Errors
    /// When fewer than eight bytes are left.
    pub fn u64(&mut self) -> Result<u64, KeyShapeError> {
        let (number, rest) = self.rest.split_first_chunk().ok_or(KeyShapeError::Truncated { segment: "number" })?;
        self.rest = rest;
        Ok(u64::from_be_bytes(*number))
    }

    /// # Errors
    /// When fewer than `N` bytes are left.
    pub fn array<const N: usize>(&mut self) -> Result<[u8; N], KeyShapeError> {
        let (array, rest) = self.rest.split_first_chunk().ok_or(KeyShapeError::Truncated { segment: "fixed-width" })?;
        self.rest = rest;
        Ok(*array)
    }

    /// Says that the key ends here.
    ///
    /// # Errors
    /// When it does not.
    pub fn finish(self) -> Result<(), KeyShapeError> {
        if self.rest.is_empty() { Ok(()) } else { Err(KeyShapeError::Trailing { count: self.rest.len() }) }
    }
}

/// A half-open interval of keys: from `start`, up to but without `end`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyRange {
    start: Key,
    end: Option<Key>,
}

impl KeyRange {
    /// Every key.
    #[must_use]
    pub fn all() -> Self {
        Self { start: Key::default(), end: None }
    }

    /// Every key that starts with `prefix`.
    #[must_use]
    pub fn prefix(prefix: &Key) -> Self {
        let last_below_max = prefix.as_bytes().iter().rposition(|&byte| byte != u8::MAX);
        let end = last_below_max.map(|at| {
            let mut bytes = prefix.as_bytes()[..=at].to_vec();
            bytes[at] += 1;
            Key::from(bytes)
        });
        Self { start: prefix.clone(), end }
    }

    /// From `start` (inclusive) to `end` (exclusive). Empty when `end` is not after `start`.
    #[must_use]
    pub fn between(start: Key, end: Key) -> Self {
        Self { start, end: Some(end) }
    }

    /// Exactly one key.
    #[must_use]
    pub fn only(key: &Key) -> Self {
        Self { start: key.clone(), end: Some(key.successor()) }
    }

    /// What is left of this range behind `key`: the next page of a forward read.
    #[must_use]
    pub fn after(&self, key: &Key) -> Self {
        Self { start: key.successor().max(self.start.clone()), end: self.end.clone() }
    }

    /// What is left of this range before `key`: the next page of a reverse read.
    #[must_use]
    pub fn before(&self, key: &Key) -> Self {
        let end = self.end.as_ref().map_or(key, |end| end.min(key));
        Self { start: self.start.clone(), end: Some(end.clone()) }
    }

    #[must_use]
    pub fn contains(&self, key: &Key) -> bool {
        *key >= self.start && self.end.as_ref().is_none_or(|end| key < end)
    }

    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.end.as_ref().is_some_and(|end| *end <= self.start)
    }

    #[must_use]
    pub fn start(&self) -> &Key {
        &self.start
    }

    /// The first key behind the range; `None` when it is open.
    #[must_use]
    pub fn end(&self) -> Option<&Key> {
        self.end.as_ref()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_segment_never_matches_the_prefix_of_a_longer_one() {
        let project_a = Key::builder().text("project").text("a").build();
        let inside = project_a.extend().u64(u64::MAX).build();
        let sibling = Key::builder().text("project").text("ab").build();
        let range = KeyRange::prefix(&project_a);
        assert!(range.contains(&project_a));
        assert!(range.contains(&inside));
        assert!(!range.contains(&sibling));
    }

    #[test]
    fn the_prefix_of_maximal_bytes_is_open_ended() {
        let range = KeyRange::prefix(&Key::from(vec![0xFF, 0xFF]));
        assert_eq!(range.end(), None);
        assert!(range.contains(&Key::from(vec![0xFF, 0xFF, 0x01])));
        assert!(!range.contains(&Key::from(vec![0xFF, 0xFE])));
    }

    #[test]
    fn pages_continue_behind_and_before_a_key() {
        let range = KeyRange::between(Key::from("b"), Key::from("y"));
        let (m, a, z) = (Key::from("m"), Key::from("a"), Key::from("z"));
        assert!(!range.after(&m).contains(&m) && range.after(&m).contains(&Key::from("m\0")));
        assert!(!range.before(&m).contains(&m) && range.before(&m).contains(&Key::from("lzz")));
        assert_eq!(range.after(&a), range);
        assert_eq!(range.before(&z), range);
    }

    #[test]
    fn a_key_of_another_shape_is_an_error_not_a_guess() {
        assert_eq!(Key::from("abc").reader().text(), Err(KeyShapeError::Truncated { segment: "text" }));
        assert_eq!(Key::from(vec![b'a', 0]).reader().text(), Err(KeyShapeError::Truncated { segment: "text" }));
        assert_eq!(Key::from(vec![b'a', 0, 7]).reader().text(), Err(KeyShapeError::BadEscape));
        assert_eq!(Key::from(vec![0xC3, 0, 1]).reader().text(), Err(KeyShapeError::NotText));
        assert_eq!(Key::from("abc").reader().u64(), Err(KeyShapeError::Truncated { segment: "number" }));
        assert_eq!(Key::from("abc").reader().finish(), Err(KeyShapeError::Trailing { count: 3 }));
    }

    proptest! {
        #[test]
        fn segments_read_back_as_written(text in ".*", bytes: Vec<u8>, number: u64, id: [u8; 16]) {
            let key = Key::builder().text(&text).u64(number).bytes(&bytes).array(&id).build();
            let mut reader = key.reader();
            prop_assert_eq!(reader.text().unwrap(), text);
            prop_assert_eq!(reader.u64().unwrap(), number);
            prop_assert_eq!(reader.bytes().unwrap().into_owned(), bytes);
            prop_assert_eq!(reader.array::<16>().unwrap(), id);
            prop_assert_eq!(reader.finish(), Ok(()));
        }

        #[test]
        fn byte_order_is_segment_order(a: (Vec<u8>, u64, String), b: (Vec<u8>, u64, String)) {
            let key = |(bytes, number, text): &(Vec<u8>, u64, String)| {
                Key::builder().bytes(bytes).u64(*number).text(text).build()
            };
            prop_assert_eq!(key(&a).cmp(&key(&b)), a.cmp(&b));
        }

        #[test]
        fn any_bytes_read_as_a_key_without_a_panic(bytes: Vec<u8>) {
            let key = Key::from(bytes);
            let mut reader = key.reader();
            while reader.text().is_ok() {}
            let _ = reader.u64();
            let _ = reader.array::<16>();
        }
    }
}
