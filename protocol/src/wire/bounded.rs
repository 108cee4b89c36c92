//! Sequences, bytes and texts whose claimed sizes are not believed.
//!
//! serde reserves up to 1 MiB for whatever length a sequence claims, which is above most lanes' limits. [`Seq`]
//! reserves at most its bound, counts on without storing when more follow, and reports the excess with both numbers.

use std::fmt;
use std::marker::PhantomData;

use serde::de::{SeqAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::codec::CodecError;
use crate::limits;

/// At most `MAX` items. `seen` goes beyond when the peer sent more.
#[derive(Debug)]
pub(crate) struct Seq<T, const MAX: usize> {
    items: Vec<T>,
    seen: usize,
}

impl<T, const MAX: usize> Seq<T, MAX> {
    pub(crate) fn new(items: Vec<T>, what: &'static str) -> Result<Self, CodecError> {
        within(what, items.len(), MAX)?;
        Ok(Self { seen: items.len(), items })
    }

    /// For what is only hashed, or was held to its limits before.
    pub(crate) const fn unbounded(items: Vec<T>) -> Self {
        Self { seen: items.len(), items }
    }

    pub(crate) fn into_items(self, what: &'static str) -> Result<Vec<T>, CodecError> {
        within(what, self.seen, MAX)?;
        Ok(self.items)
    }
}

impl<T: Serialize, const MAX: usize> Serialize for Seq<T, MAX> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.items.serialize(serializer)
    }
}

impl<'de, T: Deserialize<'de>, const MAX: usize> Deserialize<'de> for Seq<T, MAX> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Items<T, const MAX: usize>(PhantomData<T>);

        impl<'de, T: Deserialize<'de>, const MAX: usize> Visitor<'de> for Items<T, MAX> {
            type Value = Seq<T, MAX>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "at most {MAX} items")
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut access: A) -> Result<Self::Value, A::Error> {
                let mut items = Vec::with_capacity(access.size_hint().unwrap_or(0).min(MAX));
                let mut seen = 0;
                while let Some(item) = access.next_element()? {
                    if seen < MAX {
                        items.push(item);
                    }
                    seen += 1;
                }
                Ok(Seq { items, seen })
            }
        }

        deserializer.deserialize_seq(Items(PhantomData))
    }
}

/// A byte string as one copy; serde's own `&[u8]` goes byte by byte on the way out.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Blob<'a>(pub(crate) &'a [u8]);

impl Serialize for Blob<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_bytes(self.0)
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for Blob<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        <&'a [u8]>::deserialize(deserializer).map(Self)
    }
}

impl<'a> Blob<'a> {
    pub(crate) fn checked(self, what: &'static str, limit: usize) -> Result<&'a [u8], CodecError> {
        within(what, self.0.len(), limit)?;
        Ok(self.0)
    }
}

pub(crate) fn within(what: &'static str, count: usize, limit: usize) -> Result<(), CodecError> {
    if count > limit { Err(CodecError::OverLimit { what, count, limit }) } else { Ok(()) }
}

/// A text that came in: at most [`limits::TEXT_BYTES`].
pub(crate) fn text(what: &'static str, text: &str) -> Result<String, CodecError> {
    within(what, text.len(), limits::TEXT_BYTES)?;
    Ok(text.to_owned())
}

/// A text for people that goes out, cut at [`limits::TEXT_BYTES`]: a long reason must not cost the connection.
pub(crate) fn clip(text: &str) -> &str {
    &text[..text.floor_char_boundary(limits::TEXT_BYTES)]
}
