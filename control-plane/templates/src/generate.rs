//! Random secrets.
//!
//! Two ways: random bytes in an encoding, for programs that decode them, and characters drawn from an alphabet, for
//! programs that take any text. Characters are drawn without bias: a byte that would make the first symbols of the
//! alphabet likelier than the others is thrown away and another one taken (rejection sampling).

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use zeroize::Zeroizing;

/// How random bytes are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Encoding {
    /// Lower-case, two characters a byte.
    Hex,
    /// RFC 4648, section 4, with padding.
    Base64,
    /// RFC 4648, section 5, without padding.
    Base64Url,
}

impl Encoding {
    pub const ALL: &'static [Self] = &[Self::Hex, Self::Base64, Self::Base64Url];

    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Hex => "hex",
            Self::Base64 => "base64",
            Self::Base64Url => "base64url",
        }
    }
}

/// What characters are drawn from.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Alphabet {
    /// `A-Z`, `a-z`, `0-9`: 62 symbols.
    Alphanumeric,
    /// Printable ASCII that needs no escape in a dotenv file or between a shell's quotes: 89 symbols.
    Ascii,
    /// Distinct printable ASCII characters, at least two; never both `$` and `{`, which begin a reference.
    Custom(String),
}

const ALPHANUMERIC: &str = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789";
/// All but blank, quotes, backquote, backslash and `$`.
const ASCII: &str = "!#%&()*+,-./0123456789:;<=>?@ABCDEFGHIJKLMNOPQRSTUVWXYZ[]^_abcdefghijklmnopqrstuvwxyz{|}~";
const HEX: &[u8; 16] = b"0123456789abcdef";

impl Alphabet {
    #[must_use]
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Alphanumeric => "alphanumeric",
            Self::Ascii => "ascii",
            Self::Custom(_) => "custom",
        }
    }

    #[must_use]
    pub fn symbols(&self) -> &str {
        match self {
            Self::Alphanumeric => ALPHANUMERIC,
            Self::Ascii => ASCII,
            Self::Custom(symbols) => symbols,
        }
    }
}

/// How a template wants a secret made.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Generator {
    Bytes { encoding: Encoding, bytes: usize },
    Characters { alphabet: Alphabet, characters: usize },
}

/// The source of randomness gave nothing but bytes that have to be thrown away. A working one does so less often than
/// once in 2^300 secrets.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the source of randomness gives no usable bytes")]
pub struct Exhausted;

impl Generator {
    /// The name that the file format has for it.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Bytes { encoding, .. } => encoding.name(),
            Self::Characters { alphabet, .. } => alphabet.name(),
        }
    }

    /// log2 of the number of equally likely secrets, rounded down.
    #[must_use]
    #[expect(
        clippy::cast_precision_loss,
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "lengths and alphabets are small, and a logarithm of at least 1 is not negative"
    )]
    pub fn entropy_bits(&self) -> u32 {
        let bits = match self {
            Self::Bytes { bytes, .. } => *bytes as f64 * 8.0,
            Self::Characters { alphabet, characters } => *characters as f64 * (alphabet.symbols().len() as f64).log2(),
        };
        bits as u32
    }

    /// A new secret, made of what `fill` fills buffers with.
    ///
    /// # Errors
    /// `fill` is no source of randomness.
    pub fn generate(&self, fill: &mut dyn FnMut(&mut [u8])) -> Result<Zeroizing<String>, Exhausted> {
        match self {
            Self::Bytes { encoding, bytes } => {
                let mut random = Zeroizing::new(vec![0; *bytes]);
                fill(&mut random);
                Ok(encode(*encoding, &random))
            }
            Self::Characters { alphabet, characters } => draw(alphabet.symbols().as_bytes(), *characters, fill),
        }
    }
}

/// The text has its final capacity from the start: one that grew would leave parts of the secret in freed memory.
fn encode(encoding: Encoding, bytes: &[u8]) -> Zeroizing<String> {
    let mut text = Zeroizing::new(String::with_capacity(2 * bytes.len() + 4));
    match encoding {
        Encoding::Hex => {
            for byte in bytes {
                text.push(char::from(HEX[usize::from(byte >> 4)]));
                text.push(char::from(HEX[usize::from(byte & 0x0f)]));
            }
        }
        Encoding::Base64 => STANDARD.encode_string(bytes, &mut text),
        Encoding::Base64Url => URL_SAFE_NO_PAD.encode_string(bytes, &mut text),
    }
    text
}

const POOL_BYTES: usize = 64;
/// Bytes that may be asked for: this many a character, and as many pools beside. At least two bytes of three are
/// usable, whatever the size of the alphabet.
const BYTES_PER_CHARACTER: usize = 16;
const SPARE_POOLS: usize = 4;

fn draw(symbols: &[u8], characters: usize, fill: &mut dyn FnMut(&mut [u8])) -> Result<Zeroizing<String>, Exhausted> {
    const BYTE_VALUES: usize = 1 << u8::BITS;
    let usable = BYTE_VALUES - BYTE_VALUES % symbols.len();
    let mut text = Zeroizing::new(String::with_capacity(characters));
    let mut pool = Zeroizing::new([0; POOL_BYTES]);
    let pools = SPARE_POOLS + (characters * BYTES_PER_CHARACTER).div_ceil(POOL_BYTES);
    for _ in 0..pools {
        fill(&mut *pool);
        for byte in pool.iter().map(|byte| usize::from(*byte)).filter(|byte| *byte < usable) {
            text.push(char::from(symbols[byte % symbols.len()]));
            if text.len() == characters {
                return Ok(text);
            }
        }
    }
    Err(Exhausted)
}

#[cfg(test)]
mod tests;
