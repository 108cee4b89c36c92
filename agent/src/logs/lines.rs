//! Lines out of a stream of bytes.

/// Cuts a stream into lines of at most a number of bytes, across chunk edges. The rest of a longer line is skipped.
///
/// A carriage return that more follows begins the line anew, as it does on a terminal: of a progress bar the last state
/// is the line, however often it was drawn.
#[derive(Debug)]
pub(super) struct LineSplitter {
    limit: usize,
    line: Vec<u8>,
    truncated: bool,
    /// A carriage return came last: what follows overwrites the line, and a line's end does not.
    returned: bool,
}

/// Memory that an empty splitter keeps for the next line.
const KEPT_BYTES: usize = 4096;

impl LineSplitter {
    pub(super) fn new(limit: usize) -> Self {
        Self { limit, line: Vec::new(), truncated: false, returned: false }
    }

    /// Calls `each` with every line that ends in `chunk` and whether it was cut.
    pub(super) fn feed(&mut self, chunk: &[u8], mut each: impl FnMut(&[u8], bool)) {
        let mut rest = chunk;
        while let Some(end) = rest.iter().position(|byte| *byte == b'\n') {
            self.append(&rest[..end]);
            self.emit(&mut each);
            rest = &rest[end + 1..];
        }
        self.append(rest);
    }

    /// The stream has ended: what is left is a line without its end.
    pub(super) fn finish(&mut self, mut each: impl FnMut(&[u8], bool)) {
        if !self.line.is_empty() {
            self.emit(&mut each);
        }
    }

    /// Whether the line has been cut: nothing more is taken before its end.
    pub(super) const fn is_cut(&self) -> bool {
        self.truncated
    }

    fn append(&mut self, part: &[u8]) {
        for (nth, stretch) in part.split(|byte| *byte == b'\r').enumerate() {
            self.returned |= nth > 0;
            if stretch.is_empty() || self.truncated {
                continue;
            }
            if std::mem::take(&mut self.returned) {
                self.line.clear();
            }
            let taken = stretch.len().min(self.limit - self.line.len());
            self.line.extend_from_slice(&stretch[..taken]);
            self.truncated |= taken < stretch.len();
        }
    }

    fn emit(&mut self, each: &mut impl FnMut(&[u8], bool)) {
        each(&self.line, self.truncated);
        self.line.clear();
        self.line.shrink_to(KEPT_BYTES);
        self.truncated = false;
        self.returned = false;
    }
}

/// A line as text of at most `limit` bytes. What is not UTF-8 is replaced (by a character that takes three bytes), but
/// for a character that was cut with the line; carriage returns become blanks. Nothing is taken out: parts of a secret
/// would meet, behind the mask. `true` when it had to be cut.
pub(super) fn to_text(line: &[u8], is_cut: bool, limit: usize) -> (String, bool) {
    let line = match std::str::from_utf8(line) {
        Err(error) if is_cut && error.error_len().is_none() => &line[..error.valid_up_to()],
        _ => line,
    };
    let mut text = String::from_utf8_lossy(line).into_owned();
    if text.contains('\r') {
        text = text.replace('\r', " ");
    }
    let end = text.floor_char_boundary(limit);
    let cut = is_cut || end < text.len();
    text.truncate(end);
    (text, cut)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn split(limit: usize, chunks: &[&[u8]]) -> Vec<(String, bool)> {
        let (mut splitter, mut lines) = (LineSplitter::new(limit), Vec::new());
        let mut each = |line: &[u8], cut| lines.push((String::from_utf8_lossy(line).into_owned(), cut));
        chunks.iter().for_each(|chunk| splitter.feed(chunk, &mut each));
        splitter.finish(each);
        lines
    }

    #[test]
    fn lines_end_with_either_convention_and_the_last_may_lack_its_end() {
        let lines = split(100, &[b"one\r\ntwo\n\nthr", b"ee"]);
        assert_eq!(lines, [("one", false), ("two", false), ("", false), ("three", false)].map(|(l, t)| (l.into(), t)));
    }

    #[test]
    fn a_line_without_end_is_cut_and_the_next_one_is_whole() {
        let long = vec![b'x'; 1 << 20];
        let lines = split(10, &[&long, &long, b"\nnext\n0123456789\r\n"]);
        assert_eq!(lines, [("x".repeat(10), true), ("next".into(), false), ("0123456789".into(), false)]);
    }

    #[test]
    fn what_is_not_utf_8_is_replaced_within_the_limit() {
        assert_eq!(to_text(b"a\xffb 10%\r20%", false, 100), ("a\u{fffd}b 10% 20%".into(), false));
        let (text, cut) = to_text(&[0xff; 10], false, 10);
        assert_eq!((text.len(), cut), (9, true));
        assert_eq!(to_text("gr\u{fc}n".as_bytes(), false, 100), ("gr\u{fc}n".into(), false));
        assert_eq!(to_text(b"gr\xc3", true, 100), ("gr".into(), true), "a character that was cut with its line");
        assert_eq!(to_text(b"gr\xc3", false, 100), ("gr\u{fffd}".into(), false), "and one that never was whole");
    }

    #[test]
    fn of_a_progress_bar_the_last_state_is_the_line_however_often_it_was_drawn() {
        let drawn: Vec<u8> = (0..=100).flat_map(|done| format!("\rloading {done:3} %").into_bytes()).collect();
        let lines = split(40, &[&drawn, b"\r\n", b"next\r", b"\n", b"\r\r\n"]);
        assert_eq!(lines, [("loading 100 %".into(), false), ("next".into(), false), (String::new(), false)]);
        let cut = split(5, &[b"0123456789\rnew\n", b"next"]);
        assert_eq!(cut, [("01234".into(), true), ("next".into(), false)], "nothing more before its end");
    }

    proptest! {
        #[test]
        fn chunk_edges_do_not_matter(text in "[ab\r\n]{0,80}", cut in 0_usize..80, limit in 1_usize..20) {
            let bytes = text.as_bytes();
            let cut = cut.min(bytes.len());
            prop_assert_eq!(split(limit, &[bytes]), split(limit, &[&bytes[..cut], &bytes[cut..]]));
        }

        #[test]
        fn a_text_never_exceeds_its_limit(bytes: Vec<u8>, is_cut: bool, limit in 0_usize..64) {
            prop_assert!(to_text(&bytes, is_cut, limit).0.len() <= limit);
        }
    }
}
