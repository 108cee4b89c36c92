//! Secrets out of a stream of bytes.
//!
//! A secret is cut into lines, because programs print it line by line (and with `\n` written out), and lines into
//! pieces of at most [`PIECE_BYTES`], so that neither the bytes held back nor the work per byte grow with the
//! secret. Each piece found is replaced by `***`; adjacent ones become a single `***`. Of pieces that begin at the same
//! place the longest wins.
//!
//! Looked for are also the forms in which programs print a secret: see `forms`.
//!
//! Bytes that cannot be the beginning of a secret pass at once. What may be one waits for the next call of
//! [`Masker::feed`]; or only until [`Masker::flush`], which shows it, and goes on looking: when it turns out to be a secret
//! after all, the rest of it is masked. So a secret is never shown whole, and nothing that is no secret is lost or kept.
//!
//! What must never be true: a secret that gets through because a chunk ended within it, or a replacement that splits a
//! character.

mod forms;

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;

use zeroize::{Zeroize, Zeroizing};

/// Shorter secrets (and shorter lines of secrets) are not masked: `1` or `on` as a secret would turn every log
/// into stars, and tell by its stars where it stands.
pub const MIN_SECRET_BYTES: usize = 4;

/// Longest piece of a secret that is looked for as one.
const PIECE_BYTES: usize = 256;

/// All encoded forms together; the values themselves are not counted.
const FORMS_BYTES: usize = 512 * 1024;

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
        let mut budget = FORMS_BYTES;
        for secret in secrets {
            collect_pieces(secret, &mut all);
            for form in other_forms(secret) {
                let Some(rest) = budget.checked_sub(form.len()) else { continue };
                budget = rest;
                collect_pieces(&form, &mut all);
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

    /// The length of the longest piece that stands whole at the start of `text`.
    fn find_whole(&self, text: &[u8]) -> Option<usize> {
        let pair = text.first_chunk::<2>()?;
        let pieces = self.pieces.get(pair).into_iter().flatten();
        pieces.map(|piece| piece.as_slice()).find(|piece| text.starts_with(piece)).map(<[u8]>::len)
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

/// The forms of a secret beside itself.
fn other_forms(secret: &[u8]) -> Vec<Zeroizing<Vec<u8>>> {
    let mut all = Vec::new();
    if secret.len() < MIN_SECRET_BYTES || secret.len() > forms::MAX_ENCODED_BYTES {
        return all;
    }
    if let Ok(text) = std::str::from_utf8(secret) {
        all.extend(forms::json(text));
    }
    if secret.len() >= forms::MIN_ENCODED_BYTES {
        all.extend(forms::percent(secret));
        all.extend(forms::base64(secret));
    }
    all
}

/// Replaces secrets in one stream.
#[derive(Debug)]
pub struct Masker {
    secrets: Arc<SecretSet>,
    /// The end of what was fed, as far as it may be the beginning of a secret; shorter than the longest piece.
    held: Vec<u8>,
    /// How much of `held` was shown already, or masked.
    shown: usize,
    /// The output so far ends with stars: another piece right here needs none.
    starred: bool,
}

impl Masker {
    #[must_use]
    pub fn new(secrets: Arc<SecretSet>) -> Self {
        Self { secrets, held: Vec::new(), shown: 0, starred: false }
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

    /// Whether [`flush`](Self::flush) would show anything.
    #[must_use]
    pub fn is_holding(&self) -> bool {
        self.shown < whole_characters(&self.held)
    }

    /// Nothing came for a while, and somebody may be waiting for what is held back: shows it, but for secrets that stand in
    /// it as a whole, and for a character that has not arrived whole.
    pub fn flush(&mut self, out: &mut Vec<u8>) {
        let held = std::mem::take(&mut self.held);
        let end = whole_characters(&held);
        let mut at = 0;
        while at < end {
            let length = self.secrets.find_whole(&held[at..]);
            match length {
                Some(length) => self.star_up_to(at + length, out),
                None => self.copy(&held, at..at + 1, out),
            }
            at += length.unwrap_or(1);
        }
        self.shown = self.shown.max(at);
        self.held = held;
    }

    /// The stream has ended: what was held back is no secret, only the beginning of one. It is masked all the same,
    /// since most of a secret is as good as the whole.
    pub fn finish(&mut self, out: &mut Vec<u8>) {
        let held = std::mem::take(&mut self.held);
        if held.len() - self.shown >= MIN_SECRET_BYTES {
            self.star_up_to(held.len(), out);
        } else {
            self.copy(&held, 0..held.len(), out);
        }
        drop(Zeroizing::new(held));
        (self.shown, self.starred) = (0, false);
    }

    /// The stream has ended, and nothing of it may be lost: what was held back is shown, but for whole secrets.
    pub fn release(&mut self, out: &mut Vec<u8>) {
        self.flush(out);
        let held = Zeroizing::new(std::mem::take(&mut self.held));
        self.copy(&held, 0..held.len(), out);
        (self.shown, self.starred) = (0, false);
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

    /// Masks as much as can be decided and returns how much that was. Of `text`, `shown` bytes were shown before.
    fn mask(&mut self, text: &[u8], out: &mut Vec<u8>) -> usize {
        if self.secrets.is_empty() {
            self.copy(text, 0..text.len(), out);
            self.shown = 0;
            return text.len();
        }
        let secrets = Arc::clone(&self.secrets);
        let (mut at, mut copied) = (0, 0);
        while at < text.len() {
            match secrets.find(&text[at..]) {
                Found::Nothing => at += 1,
                Found::Undecided => break,
                Found::Piece(length) => {
                    self.copy(text, copied..at, out);
                    at += length;
                    self.star_up_to(at, out);
                    copied = at;
                }
            }
        }
        self.copy(text, copied..at, out);
        self.shown = self.shown.saturating_sub(at);
        at
    }

    /// Writes what was not shown yet of a part of the text.
    fn copy(&mut self, text: &[u8], part: Range<usize>, out: &mut Vec<u8>) {
        let unseen = &text[part.start.max(self.shown).min(part.end)..part.end];
        if !unseen.is_empty() {
            out.extend_from_slice(unseen);
            self.starred = false;
        }
    }

    /// Writes stars for a piece that ends here, unless it is behind us.
    fn star_up_to(&mut self, end: usize, out: &mut Vec<u8>) {
        if !self.starred && end > self.shown {
            out.extend_from_slice(STARS);
            self.starred = true;
        }
    }
}

/// The bytes before a character that has not arrived whole.
fn whole_characters(bytes: &[u8]) -> usize {
    // A character has at most three bytes behind its first.
    let tail = bytes.len().saturating_sub(3);
    let first = bytes[tail..].iter().rposition(|byte| byte & 0xc0 != 0x80).map(|at| tail + at);
    match first {
        Some(at) => match std::str::from_utf8(&bytes[at..]) {
            Err(error) if error.error_len().is_none() => at,
            _ => bytes.len(),
        },
        None => bytes.len(),
    }
}

impl Drop for Masker {
    fn drop(&mut self) {
        self.held.zeroize();
    }
}

#[cfg(test)]
mod tests;
