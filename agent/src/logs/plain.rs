//! Plain text out of what a program prints on a terminal.

/// Strips escape sequences (ECMA-48) and control characters from a stream, across chunk edges. Newlines, carriage
/// returns and tabs stay. Bytes above 0x7f are UTF-8, not the eight-bit controls of 1980, and pass; but for the characters
/// U+0080 to U+009F, which are those controls, and which terminals obey.
#[derive(Debug, Default)]
pub(super) struct PlainText {
    state: State,
    /// Bytes of the sequence so far.
    length: usize,
}

#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
enum State {
    #[default]
    Text,
    /// After ESC.
    Escape,
    /// After `ESC [`, up to a byte of 0x40 to 0x7e.
    Control,
    /// After `ESC ]`, `ESC P`, `ESC X`, `ESC ^` or `ESC _`, up to BEL or `ESC \`.
    String,
    /// ESC within such a string.
    StringEscape,
    /// After `ESC (` and its like: one more byte.
    Designate,
    /// After the first of the two bytes of U+0080 to U+00BF.
    Latin,
}

/// No sequence is longer; what claims to be is text again, or a lost terminator would swallow the rest of the log.
const MAX_SEQUENCE_BYTES: usize = 4096;

/// First byte of U+0080 to U+00BF in UTF-8.
const LATIN: u8 = 0xc2;
const ESC: u8 = 0x1b;
const BEL: u8 = 0x07;

impl PlainText {
    pub(super) fn feed(&mut self, chunk: &[u8], out: &mut Vec<u8>) {
        let mut rest = chunk;
        while let Some(&byte) = rest.first() {
            if self.state == State::Text {
                let plain = rest.iter().position(|byte| is_control(*byte) || *byte == LATIN).unwrap_or(rest.len());
                out.extend_from_slice(&rest[..plain]);
                rest = &rest[plain..];
                let Some((&control, after)) = rest.split_first() else { return };
                match control {
                    ESC => (self.state, self.length) = (State::Escape, 0),
                    LATIN => self.state = State::Latin,
                    _ => {}
                }
                rest = after;
            } else if self.state == State::Latin {
                self.state = State::Text;
                match byte {
                    0x80..=0x9f => rest = &rest[1..],
                    // What follows is looked at as text.
                    0xa0..=0xbf => out.push(LATIN),
                    // No character. Left alone, it would make one with what comes behind something that is taken out.
                    _ => out.extend_from_slice(char::REPLACEMENT_CHARACTER.encode_utf8(&mut [0; 4]).as_bytes()),
                }
            } else {
                rest = &rest[1..];
                self.state = self.step(byte);
                self.length += 1;
                // A line's end ends every sequence: nothing may hide the next line.
                if byte == b'\n' || self.length > MAX_SEQUENCE_BYTES {
                    self.state = State::Text;
                    out.extend((byte == b'\n').then_some(byte));
                }
            }
        }
    }

    fn step(&self, byte: u8) -> State {
        match (self.state, byte) {
            (State::Escape, b'[') => State::Control,
            (State::Escape, b']' | b'P' | b'X' | b'^' | b'_') => State::String,
            // Intermediate bytes: a character set and the like follows.
            (State::Escape | State::Designate, 0x20..=0x2f) => State::Designate,
            (State::Control, 0x20..=0x3f) => State::Control,
            (State::String | State::StringEscape, ESC) => State::StringEscape,
            (State::String, BEL) | (State::StringEscape, b'\\') => State::Text,
            (State::String | State::StringEscape, _) => State::String,
            (State::Escape | State::Control | State::Designate, ESC) => State::Escape,
            _ => State::Text,
        }
    }
}

const fn is_control(byte: u8) -> bool {
    matches!(byte, 0..=0x1f | 0x7f) && !matches!(byte, b'\n' | b'\r' | b'\t')
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn stripped(chunks: &[&[u8]]) -> String {
        let (mut plain, mut out) = (PlainText::default(), Vec::new());
        chunks.iter().for_each(|chunk| plain.feed(chunk, &mut out));
        String::from_utf8_lossy(&out).into_owned()
    }

    #[test]
    fn colours_titles_and_links_are_stripped() {
        assert_eq!(stripped(&[b"\x1b[1;31mred\x1b[0m\tplain\r\n"]), "red\tplain\r\n");
        assert_eq!(stripped(&[b"\x1b]0;title\x07a\x1b]8;;http://x\x1b\\b\x1b]8;;\x1b\\c"]), "abc");
        assert_eq!(stripped(&[b"\x1b(Bx\x1b7y\0\x08z\x7f"]), "xyz");
        assert_eq!(stripped(&["gr\u{fc}n \u{1f600}".as_bytes()]), "gr\u{fc}n \u{1f600}");
    }

    #[test]
    fn controls_of_the_second_set_are_stripped_and_other_characters_are_not() {
        assert_eq!(stripped(&["a\u{9b}31mb\u{85}c\u{9f}".as_bytes()]), "a31mbc");
        assert_eq!(stripped(&["\u{a0}\u{b5}\u{bf}\u{c0}\u{4e2d}".as_bytes()]), "\u{a0}\u{b5}\u{bf}\u{c0}\u{4e2d}");
        assert_eq!(stripped(&[b"a\xc2", b"\x9bb", b"\xc2", b"\xb5"]), "ab\u{b5}");
        assert_eq!(stripped(&[b"\xc2\xc2\x9bx\xc2\n"]), "\u{fffd}x\u{fffd}\n", "what is broken stays so");
        assert_eq!(stripped(&[b"a\xc2\x1f\x9b31mb\xc2\x1b[0m\x9bc"]), "a\u{fffd}\u{fffd}31mb\u{fffd}\u{fffd}c");
    }

    #[test]
    fn a_sequence_that_never_ends_hides_no_line() {
        assert_eq!(stripped(&[b"\x1b]0;lost\nnext\n"]), "\nnext\n");
        let long = [b"\x1b]".to_vec(), vec![b'x'; MAX_SEQUENCE_BYTES + 10]].concat();
        assert!(!stripped(&[&long]).is_empty());
    }

    proptest! {
        #[test]
        fn chunk_edges_do_not_matter(bytes in prop::collection::vec(prop_oneof![Just(ESC), Just(b'['), Just(b']'),
            Just(BEL), Just(b'\\'), Just(b'm'), Just(b'\n'), Just(LATIN), Just(0x9b), any::<u8>()], 0..60),
            cut in 0_usize..60) {
            let cut = cut.min(bytes.len());
            prop_assert_eq!(stripped(&[&bytes]), stripped(&[&bytes[..cut], &bytes[cut..]]));
        }

        #[test]
        fn nothing_left_moves_a_cursor(bytes in prop::collection::vec(
            prop_oneof![Just(LATIN), Just(0x9b), Just(0x1f), Just(ESC), any::<u8>()], 0..60)) {
            let mut out = Vec::new();
            PlainText::default().feed(&bytes, &mut out);
            prop_assert!(!out.iter().any(|byte| is_control(*byte)));
            let text = String::from_utf8_lossy(&out);
            prop_assert!(!text.contains(|c| matches!(c, '\u{80}'..='\u{9f}')), "{text:?}");
        }
    }
}
