//! Lines out of a stream of bytes.

/// Cuts a stream into lines of at most a number of bytes, across chunk edges. The rest of a longer line is skipped.
#[derive(Debug)]
pub(super) struct LineSplitter {
    limit: usize,
    line: Vec<u8>,
    truncated: bool,
}

/// Memory that an empty splitter keeps for the next line.
const KEPT_BYTES: usize = 4096;

impl LineSplitter {
    pub(super) fn new(limit: usize) -> Self {
        Self { limit, line: Vec::new(), truncated: false }
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

    fn append(&mut self, part: &[u8]) {
        let taken = part.len().min(self.limit - self.line.len());
        self.line.extend_from_slice(&part[..taken]);
        // A carriage return before the line's end is not worth the mark.
        self.truncated |= !matches!(part[taken..], [] | [b'\r']);
    }

    fn emit(&mut self, each: &mut impl FnMut(&[u8], bool)) {
        let line = self.line.strip_suffix(b"\r").unwrap_or(&self.line);
        each(line, self.truncated);
        self.line.clear();
        self.line.shrink_to(KEPT_BYTES);
        self.truncated = false;
    }
}

/// A line as text of at most `limit` bytes, with what is not UTF-8 replaced (by a character that takes three
/// bytes) and carriage returns, by which a progress bar overwrites itself, as blanks. `true` when it had to be cut.
pub(super) fn to_text(line: &[u8], limit: usize) -> (String, bool) {
    let mut text = String::from_utf8_lossy(line).into_owned();
    if text.contains('\r') {
        text = text.replace('\r', " ");
    }
    let end = text.floor_char_boundary(limit);
    let cut = end < text.len();
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
        assert_eq!(to_text(b"a\xffb 10%\r20%", 100), ("a\u{fffd}b 10% 20%".into(), false));
        let (text, cut) = to_text(&[0xff; 10], 10);
        assert_eq!((text.len(), cut), (9, true));
    }

    proptest! {
        #[test]
        fn chunk_edges_do_not_matter(text in "[ab\r\n]{0,80}", cut in 0_usize..80, limit in 1_usize..20) {
            let bytes = text.as_bytes();
            let cut = cut.min(bytes.len());
            // The mark may differ for a carriage return at the very limit; the lines may not.
            let whole: Vec<_> = split(limit, &[bytes]).into_iter().map(|(line, _)| line).collect();
            let parts: Vec<_> = split(limit, &[&bytes[..cut], &bytes[cut..]]).into_iter().map(|(line, _)| line).collect();
            prop_assert_eq!(whole, parts);
        }

        #[test]
        fn a_text_never_exceeds_its_limit(bytes: Vec<u8>, limit in 0_usize..64) {
            prop_assert!(to_text(&bytes, limit).0.len() <= limit);
        }
    }
}
