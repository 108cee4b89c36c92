//! A program's variables as they travel to an agent, and the rules that both sides hold them to.
//!
//! The control plane validates when a variable is written, and against a deployment's own rules (what it requires, what it
//! allows) when that is started and with every change while it runs: what it seals, it has found valid. The agent
//! validates what it unsealed before it starts anything, because it need not believe that. Both get every problem at
//! once, and no problem ever contains a value.

mod dangerous;
mod rules;

use std::fmt;
use std::io;
use std::str::FromStr;

use ring::digest;
use zeroize::Zeroizing;

pub use dangerous::reason as danger_of;
pub use rules::{Problem, ProblemKind, RESERVED_PREFIX};

use crate::codec::{self, CodecError, Discarded};
use crate::limits;
use crate::message::ContentHash;
use crate::wire::{self, Counterpart, v1};

const FRAME: &str = "environment";

/// What a value has to look like. The program gets the text as it was written, whatever its kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum VariableKind {
    String,
    /// A finite decimal number.
    Number,
    /// `true`, `false`, `1`, `0`, `yes`, `no`, `on` or `off`, in any case.
    Boolean,
    Json,
    /// A scheme, `://` and something after it.
    Url,
    /// Any text; always treated as secret.
    Secret,
}

impl VariableKind {
    pub const ALL: &'static [Self] = &[Self::String, Self::Number, Self::Boolean, Self::Json, Self::Url, Self::Secret];

    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::String => "string",
            Self::Number => "number",
            Self::Boolean => "boolean",
            Self::Json => "json",
            Self::Url => "url",
            Self::Secret => "secret",
        }
    }
}

impl fmt::Display for VariableKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A text that names no [`VariableKind`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("unknown variable type: expected string, number, boolean, json, url or secret")]
pub struct UnknownVariableKind;

impl FromStr for VariableKind {
    type Err = UnknownVariableKind;

    fn from_str(name: &str) -> Result<Self, UnknownVariableKind> {
        Self::ALL.iter().copied().find(|kind| kind.name() == name).ok_or(UnknownVariableKind)
    }
}

/// One variable.
#[derive(Clone, PartialEq, Eq)]
pub struct Entry {
    pub name: String,
    /// `None` is a variable that is not set; an empty text is a value.
    pub value: Option<Zeroizing<String>>,
    pub kind: VariableKind,
    /// Never shown, and masked in logs.
    pub secret: bool,
    /// The program must not start without it.
    pub required: bool,
}

impl Entry {
    /// Whether the value must never be shown: marked so, or secret by its kind.
    #[must_use]
    pub fn is_secret(&self) -> bool {
        self.secret || self.kind == VariableKind::Secret
    }
}

/// A value is never formatted, not even one that is not secret: its owner may have forgotten to say so.
impl fmt::Debug for Entry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Entry")
            .field("name", &self.name)
            .field("set", &self.value.is_some())
            .field("kind", &self.kind)
            .field("secret", &self.secret)
            .field("required", &self.required)
            .finish_non_exhaustive()
    }
}

/// All variables of a program. The order of the entries has no meaning.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Environment {
    pub entries: Vec<Entry>,
}

impl Environment {
    /// The canonical bytes: wire version, then the entries sorted by name. What is sealed and what is hashed.
    ///
    /// # Errors
    /// More entries, or more bytes, than an offer can carry.
    pub fn encode(&self) -> Result<Zeroizing<Vec<u8>>, CodecError> {
        let canonical = v1::Environment::from_domain(self)?;
        let length = codec::size(FRAME, &canonical)?.saturating_add(1);
        let capacity = usize::try_from(length).ok().filter(|_| length <= u64::from(limits::CONTROL_TO_AGENT_BYTES));
        let limit = limits::CONTROL_TO_AGENT_BYTES;
        let capacity = capacity.ok_or(CodecError::TooLarge { frame: FRAME, length, limit })?;
        // The exact capacity: a vector that grew would leave plaintext behind in freed memory.
        let mut bytes = Zeroizing::new(Vec::with_capacity(capacity));
        bytes.push(wire::VERSION);
        codec::write(FRAME, &canonical, &mut *bytes)?;
        Ok(bytes)
    }

    /// Reads what [`encode`](Self::encode) wrote. The result is well-formed, not yet valid.
    ///
    /// # Errors
    /// The bytes are not an environment of a known version within its limits.
    pub fn decode(bytes: &[u8]) -> Result<Self, CodecError> {
        let limit = limits::CONTROL_TO_AGENT_BYTES;
        if bytes.len() > limit as usize {
            return Err(CodecError::TooLarge { frame: FRAME, length: bytes.len() as u64, limit });
        }
        let (&version, body) = bytes.split_first().ok_or(CodecError::Empty { frame: FRAME })?;
        match version {
            1 => codec::read::<v1::Environment<'_>>(FRAME, limit, body)?.into_domain(&mut Discarded::default()),
            _ => Err(CodecError::UnknownVersion { frame: FRAME, version }),
        }
    }

    /// SHA-256 of the canonical bytes.
    #[must_use]
    pub fn hash(&self) -> ContentHash {
        let mut hasher = Hasher(digest::Context::new(&digest::SHA256));
        hasher.0.update(&[wire::VERSION]);
        codec::write(FRAME, &v1::Environment::canonical(self), &mut hasher)
            .expect("texts and flags have a serial form, and a hasher takes every byte");
        let mut hash = ContentHash::default();
        hash.copy_from_slice(hasher.0.finish().as_ref());
        hash
    }
}

struct Hasher(digest::Context);

impl io::Write for Hasher {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.update(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
