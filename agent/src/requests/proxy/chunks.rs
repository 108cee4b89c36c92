//! Where a chunked body ends (RFC 9112, 7.1), without keeping any of it.
//!
//! Stricter than hyper, which decodes the body after this: what both accept ends at the same byte.

/// Bytes of a body's chunk extensions together, and of its trailers.
const MAX_EXTENSIONS: u32 = 4 * 1024;
const MAX_TRAILERS: u32 = 8 * 1024;
/// More hexadecimal digits do not fit the size.
const MAX_DIGITS: u8 = 15;

#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(super) enum BadChunk {
    #[error("a chunk's size is malformed")]
    Size,
    #[error("a chunk does not end as it must")]
    End,
    #[error("the chunk extensions are larger than {MAX_EXTENSIONS} bytes")]
    Extensions,
    #[error("the trailers are malformed or larger than {MAX_TRAILERS} bytes")]
    Trailers,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
    /// Among the digits of a size, so many of them read.
    Size(u8),
    Extension,
    SizeLf,
    Data,
    DataCr,
    DataLf,
    /// At the start of a trailer, or of the empty line.
    Trailer,
    InTrailer,
    TrailerLf,
    EndLf,
}

/// Follows a chunked body.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Chunks {
    place: Place,
    /// Of the chunk at hand, still to come.
    size: u64,
    extensions: u32,
    trailers: u32,
}

impl Default for Chunks {
    fn default() -> Self {
        Self { place: Place::Size(0), size: 0, extensions: 0, trailers: 0 }
    }
}

impl Chunks {
    /// How many of `bytes` belong to the body, and whether it ends with them.
    ///
    /// # Errors
    /// It is not a chunked body; nothing after that can be understood.
    pub(super) fn advance(&mut self, bytes: &[u8]) -> Result<(usize, bool), BadChunk> {
        let mut at = 0;
        while let Some(&byte) = bytes.get(at) {
            if self.place == Place::Data {
                let left = (bytes.len() - at) as u64;
                let step = self.size.min(left);
                self.size -= step;
                // At most what is left of a slice.
                at += usize::try_from(step).unwrap_or(usize::MAX);
                if self.size == 0 {
                    self.place = Place::DataCr;
                }
                continue;
            }
            at += 1;
            if self.step(byte)? {
                return Ok((at, true));
            }
        }
        Ok((at, false))
    }

    /// Whether `byte` is the last one.
    fn step(&mut self, byte: u8) -> Result<bool, BadChunk> {
        self.place = match (self.place, byte) {
            (Place::Size(digits), _) if byte.is_ascii_hexdigit() => {
                if digits == MAX_DIGITS {
                    return Err(BadChunk::Size);
                }
                let digit = char::from(byte).to_digit(16).unwrap_or_default();
                self.size = self.size << 4 | u64::from(digit);
                Place::Size(digits + 1)
            }
            (Place::Size(1..), b'\r') => Place::SizeLf,
            (Place::Size(1..), b';') => Place::Extension,
            (Place::Size(_), _) => return Err(BadChunk::Size),
            (Place::Extension, b'\r') => Place::SizeLf,
            (Place::Extension, b'\n') => return Err(BadChunk::Size),
            (Place::Extension, _) => {
                self.extensions += 1;
                if self.extensions > MAX_EXTENSIONS {
                    return Err(BadChunk::Extensions);
                }
                Place::Extension
            }
            (Place::SizeLf, b'\n') if self.size == 0 => Place::Trailer,
            (Place::SizeLf, b'\n') => Place::Data,
            (Place::SizeLf, _) => return Err(BadChunk::Size),
            (Place::DataCr, b'\r') => Place::DataLf,
            (Place::DataLf, b'\n') => Place::Size(0),
            (Place::DataCr | Place::DataLf | Place::Data, _) => return Err(BadChunk::End),
            (Place::Trailer, b'\r') => Place::EndLf,
            (Place::InTrailer, b'\r') => Place::TrailerLf,
            (Place::Trailer | Place::InTrailer, b'\n') => return Err(BadChunk::Trailers),
            (Place::Trailer | Place::InTrailer, _) => {
                self.trailers += 1;
                if self.trailers > MAX_TRAILERS {
                    return Err(BadChunk::Trailers);
                }
                Place::InTrailer
            }
            (Place::TrailerLf, b'\n') => Place::Trailer,
            (Place::EndLf, b'\n') => return Ok(true),
            (Place::TrailerLf | Place::EndLf, _) => return Err(BadChunk::Trailers),
        };
        Ok(false)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn whole(body: &str) -> Result<(usize, bool), BadChunk> {
        Chunks::default().advance(body.as_bytes())
    }

    #[test]
    fn a_body_ends_with_its_empty_line_and_not_before() {
        for body in ["0\r\n\r\n", "3\r\nabc\r\n0\r\n\r\n", "A;x=\"y\"\r\n0123456789\r\n00\r\nx: y\r\nz:\r\n\r\n"] {
            assert_eq!(whole(&format!("{body}GET /")), Ok((body.len(), true)), "{body:?}");
            for end in 0..body.len() {
                assert_eq!(whole(&body[..end]), Ok((end, false)), "{:?}", &body[..end]);
            }
        }
    }

    #[test]
    fn what_is_no_chunk_is_refused() {
        for (body, error) in [
            ("\r\n", BadChunk::Size),
            ("g\r\n", BadChunk::Size),
            ("-1\r\n", BadChunk::Size),
            ("0x3\r\n", BadChunk::Size),
            ("3 \r\nabc\r\n", BadChunk::Size),
            ("3\nabc", BadChunk::Size),
            ("3;a\nabc", BadChunk::Size),
            ("3\r\nabcd", BadChunk::End),
            ("3\r\nabc\n", BadChunk::End),
            ("0\r\nx: y\n\r\n", BadChunk::Trailers),
            ("0\r\n\rx", BadChunk::Trailers),
            ("1234567890abcdef\r\n", BadChunk::Size),
        ] {
            assert_eq!(whole(body), Err(error), "{body:?}");
        }
        let long = |length: u32| "x".repeat(usize::try_from(length).unwrap());
        assert_eq!(whole(&format!("3;{}", long(MAX_EXTENSIONS + 1))), Err(BadChunk::Extensions));
        assert_eq!(whole(&format!("0\r\n{}", long(MAX_TRAILERS + 1))), Err(BadChunk::Trailers));
    }

    proptest! {
        #[test]
        fn pieces_make_no_difference(body: Vec<u8>, cut: prop::sample::Index) {
            let mut whole = Chunks::default();
            let at_once = whole.advance(&body);
            let cut = cut.index(body.len() + 1);
            let mut pieces = Chunks::default();
            let in_two = pieces.advance(&body[..cut]).and_then(|(first, done)| {
                if done { return Ok((first, true)); }
                pieces.advance(&body[cut..]).map(|(second, done)| (first + second, done))
            });
            prop_assert_eq!(at_once, in_two);
        }
    }
}
