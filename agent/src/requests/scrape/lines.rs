//! Lines out of chunks, with a bound on what is kept between two of them.

/// A longer line is passed over, whatever is in it.
pub const LINE_BYTES: usize = 16 * 1024;

/// The beginning of a line whose end has not come yet.
#[derive(Debug, Default)]
pub(super) struct Lines {
    rest: Vec<u8>,
    /// The line at hand is too long: its end is all that is waited for.
    passing: bool,
}

impl Lines {
    /// Calls `each` with every line that ends in this chunk; with `None` for one that was too long.
    pub(super) fn feed(&mut self, chunk: &[u8], mut each: impl FnMut(Option<&[u8]>)) {
        let mut pieces = chunk.split(|byte| *byte == b'\n').peekable();
        while let Some(piece) = pieces.next() {
            let has_ended = pieces.peek().is_some();
            if !self.passing && self.rest.len() + piece.len() > LINE_BYTES {
                self.passing = true;
                self.rest = Vec::new();
            }
            match (has_ended, self.passing) {
                (true, true) => {
                    self.passing = false;
                    each(None);
                }
                (true, false) if self.rest.is_empty() => each(Some(piece)),
                (true, false) => {
                    self.rest.extend_from_slice(piece);
                    each(Some(&self.rest));
                    self.rest.clear();
                }
                (false, true) => {}
                (false, false) => self.rest.extend_from_slice(piece),
            }
        }
    }

    /// The last line, when it has no end.
    pub(super) fn finish(self, mut each: impl FnMut(Option<&[u8]>)) {
        if self.passing {
            each(None);
        } else if !self.rest.is_empty() {
            each(Some(&self.rest));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn lines(chunks: &[&[u8]]) -> Vec<Option<Vec<u8>>> {
        let (mut lines, mut found) = (Lines::default(), Vec::new());
        for chunk in chunks {
            lines.feed(chunk, |line| found.push(line.map(<[u8]>::to_vec)));
        }
        lines.finish(|line| found.push(line.map(<[u8]>::to_vec)));
        found
    }

    #[test]
    fn a_line_that_is_too_long_is_passed_over_and_the_next_is_read() {
        let long = vec![b'x'; LINE_BYTES];
        assert_eq!(lines(&[b"a\n", &long, b"x", &long, b"\nb"]), [Some(b"a".to_vec()), None, Some(b"b".to_vec())]);
        assert_eq!(lines(&[&long, b"\n"]), [Some(long.clone())]);
        assert_eq!(lines(&[&long, b"x"]), [None]);
    }

    proptest! {
        #[test]
        fn where_chunks_end_makes_no_difference(text in "[ab\n]{0,60}", cuts in prop::collection::vec(0_usize..60, 0..6)) {
            let mut cuts: Vec<usize> = cuts.into_iter().map(|cut| cut.min(text.len())).collect();
            cuts.extend([0, text.len()]);
            cuts.sort_unstable();
            let chunks: Vec<&[u8]> = cuts.windows(2).map(|pair| &text.as_bytes()[pair[0]..pair[1]]).collect();
            let mut whole: Vec<_> = text.split('\n').map(|line| Some(line.as_bytes().to_vec())).collect();
            whole.pop_if(|last| last.as_ref().is_some_and(Vec::is_empty));
            prop_assert_eq!(lines(&chunks), whole);
        }
    }
}
