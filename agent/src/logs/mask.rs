//! Secrets out of a stream of bytes.
//!
//! A secret is cut into lines, because programs print it line by line (and with `\n` written out), and lines into
//! pieces of at most [`PIECE_BYTES`], so that neither the bytes held back nor the work per byte grow with the
//! secret. Each piece found is replaced by `***`; adjacent ones become a single `***`. Of pieces that begin at the same
//! place the longest wins.
//!
//! A secret with characters that JSON escapes is also looked for in its escaped form.
//!
//! What must never be true: a secret that gets through because a chunk ended within it, or a replacement that splits a
//! character.

use std::collections::BTreeMap;
use std::sync::Arc;

use zeroize::{Zeroize, Zeroizing};

/// Shorter secrets (and shorter lines of secrets) are not masked: `1` or `on` as a secret would turn every log
/// into stars, and tell by its stars where it stands.
pub const MIN_SECRET_BYTES: usize = 4;

/// Longest piece of a secret that is looked for as one.
const PIECE_BYTES: usize = 256;

const STARS: &[u8] = b"***";

/// The values to mask. Wiped from memory when the last user is gone; prints its size only.
pub struct SecretSet {
    /// Pieces by their first two bytes, the longest first.
    pieces: BTreeMap<[u8; 2], Vec<Zeroizing<Vec<u8>>>>,
    /// One bit for each pair of first bytes: nearly all positions of a log are dismissed by it.
    pairs: Box<[u64]>,
    firsts: [bool; 256],
    longest: usize,
}

impl std::fmt::Debug for SecretSet {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SecretSet").field("pieces", &self.len()).finish_non_exhaustive()
    }
}

impl SecretSet {
    /// Prepares the values for searching. The order does not matter.
    pub fn new<'a>(secrets: impl IntoIterator<Item = &'a [u8]>) -> Self {
        let mut all = Vec::new();
        for secret in secrets {
            collect_pieces(secret, &mut all);
            if let Some(escaped) = json_escaped(secret) {
                collect_pieces(&escaped, &mut all);
            }
        }
        all.sort_unstable_by(|a, b| a.as_slice().cmp(b.as_slice()));
        all.dedup();
        let mut set = Self {
            pieces: BTreeMap::new(),
            pairs: if all.is_empty() { Box::default() } else { vec![0; 1024].into_boxed_slice() },
            firsts: [false; 256],
            longest: 0,
        };
        for piece in all {
            let pair = [piece[0], piece[1]];
            set.longest = set.longest.max(piece.len());
            set.firsts[usize::from(pair[0])] = true;
            let bit = usize::from(u16::from_be_bytes(pair));
            set.pairs[bit / 64] |= 1 << (bit % 64);
            set.pieces.entry(pair).or_default().push(piece);
        }
        for same_start in set.pieces.values_mut() {
            same_start.sort_by_key(|piece| std::cmp::Reverse(piece.len()));
        }
        set
    }

    /// No secrets.
    #[must_use]
    pub fn empty() -> Self {
        Self::new([])
    }

    /// Pieces that are looked for.
    #[must_use]
    pub fn len(&self) -> usize {
        self.pieces.values().map(Vec::len).sum()
    }

    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.pieces.is_empty()
    }

    fn may_start(&self, pair: [u8; 2]) -> bool {
        let bit = usize::from(u16::from_be_bytes(pair));
        self.pairs[bit / 64] & (1 << (bit % 64)) != 0
    }

    /// What stands at the start of `text`, which is everything that is known so far.
    fn find(&self, text: &[u8]) -> Found {
        match text {
            [] => Found::Nothing,
            [first] => {
                if self.firsts[usize::from(*first)] {
                    Found::Undecided
                } else {
                    Found::Nothing
                }
            }
            [first, second, ..] if !self.may_start([*first, *second]) => Found::Nothing,
            [first, second, ..] => {
                for piece in self.pieces.get(&[*first, *second]).into_iter().flatten() {
                    if text.len() < piece.len() {
                        if piece.starts_with(text) {
                            return Found::Undecided;
                        }
                    } else if text.starts_with(piece) {
                        return Found::Piece(piece.len());
                    }
                }
                Found::Nothing
            }
        }
    }
}

enum Found {
    Nothing,
    Piece(usize),
    /// The text ends within what may become a piece.
    Undecided,
}

/// Splits at line ends and at characters, into pieces long enough to be looked for.
fn collect_pieces(secret: &[u8], all: &mut Vec<Zeroizing<Vec<u8>>>) {
    for line in secret.split(|byte| matches!(byte, b'\n' | b'\r')) {
        let mut rest = line;
        while rest.len() >= MIN_SECRET_BYTES {
            // A remainder too short to be looked for stays with the piece before it.
            let whole = rest.len() < PIECE_BYTES + MIN_SECRET_BYTES;
            let mut end = if whole { rest.len() } else { PIECE_BYTES };
            // Continuation bytes of UTF-8, of which a character has three at the most.
            while end < rest.len() && end > PIECE_BYTES - 4 && rest[end] & 0xc0 == 0x80 {
                end -= 1;
            }
            all.push(Zeroizing::new(rest[..end].to_vec()));
            rest = &rest[end..];
        }
    }
}

/// The form inside a JSON string, where it differs.
fn json_escaped(secret: &[u8]) -> Option<Zeroizing<Vec<u8>>> {
    let text = std::str::from_utf8(secret).ok()?;
    if !text.bytes().any(|byte| matches!(byte, b'"' | b'\\' | b'\t')) {
        return None;
    }
    let mut escaped = Zeroizing::new(Vec::with_capacity(secret.len() * 2));
    for byte in text.bytes() {
        match byte {
            b'"' | b'\\' => escaped.extend([b'\\', byte]),
            b'\t' => escaped.extend(b"\\t"),
            // A line's end stays one: lines are looked for each by itself.
            _ => escaped.push(byte),
        }
    }
    Some(escaped)
}

/// Replaces secrets in one stream.
#[derive(Debug)]
pub struct Masker {
    secrets: Arc<SecretSet>,
    /// The end of what was fed, as far as it may be the beginning of a secret; shorter than the longest piece.
    held: Vec<u8>,
    /// The output so far ends with stars: another piece right here needs none.
    starred: bool,
}

impl Masker {
    #[must_use]
    pub fn new(secrets: Arc<SecretSet>) -> Self {
        Self { secrets, held: Vec::new(), starred: false }
    }

    /// Masks the next part of the stream. What may be the beginning of a secret is held back until the next call.
    pub fn feed(&mut self, chunk: &[u8], out: &mut Vec<u8>) {
        if self.held.is_empty() {
            let done = self.mask(chunk, out);
            self.held.extend_from_slice(&chunk[done..]);
        } else {
            let mut text = std::mem::take(&mut self.held);
            text.extend_from_slice(chunk);
            let done = self.mask(&text, out);
            self.held.extend_from_slice(&text[done..]);
            text.zeroize();
        }
    }

    /// The stream has ended: what was held back is no secret, only the beginning of one. It is masked all the same,
    /// since most of a secret is as good as the whole.
    pub fn finish(&mut self, out: &mut Vec<u8>) {
        if self.held.len() >= MIN_SECRET_BYTES {
            self.star(out);
        } else {
            out.extend_from_slice(&self.held);
        }
        self.held.zeroize();
        self.starred = false;
    }

    /// From now on these are the secrets. Values that the program may still know and print belong into the set as
    /// well, until it was restarted.
    pub fn replace(&mut self, secrets: Arc<SecretSet>) {
        self.secrets = secrets;
    }

    /// The values that are masked.
    #[must_use]
    pub fn secrets(&self) -> Arc<SecretSet> {
        Arc::clone(&self.secrets)
    }

    /// Masks as much as can be decided and returns how much that was.
    fn mask(&mut self, text: &[u8], out: &mut Vec<u8>) -> usize {
        if self.secrets.is_empty() {
            out.extend_from_slice(text);
            return text.len();
        }
        let (mut at, mut copied) = (0, 0);
        while at < text.len() {
            match self.secrets.find(&text[at..]) {
                Found::Nothing => at += 1,
                Found::Undecided => break,
                Found::Piece(length) => {
                    self.copy(&text[copied..at], out);
                    self.star(out);
                    at += length;
                    copied = at;
                }
            }
        }
        self.copy(&text[copied..at], out);
        at
    }

    fn copy(&mut self, text: &[u8], out: &mut Vec<u8>) {
        if !text.is_empty() {
            out.extend_from_slice(text);
            self.starred = false;
        }
    }

    fn star(&mut self, out: &mut Vec<u8>) {
        if !self.starred {
            out.extend_from_slice(STARS);
            self.starred = true;
        }
    }
}

impl Drop for Masker {
    fn drop(&mut self) {
        self.held.zeroize();
    }
}

#[cfg(test)]
mod tests;
