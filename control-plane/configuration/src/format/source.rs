//! A file's bytes as text, and where in it something is.

use super::FILE_BYTES;
use super::problem::{LineProblem, LineProblemKind, Problems};

const BYTE_ORDER_MARK: &str = "\u{feff}";
const UTF_16_MARKS: [&[u8]; 2] = [b"\xff\xfe", b"\xfe\xff"];

/// Text without a byte order mark. Places in it are bytes from its beginning.
#[derive(Debug)]
pub(super) struct Source<'a> {
    pub(super) text: &'a str,
    /// Where the lines begin that are not the first.
    line_starts: Vec<usize>,
}

impl<'a> Source<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Result<Self, Vec<LineProblem>> {
        if bytes.len() > FILE_BYTES {
            let kind = LineProblemKind::FileTooLarge { bytes: bytes.len(), limit: FILE_BYTES };
            return Err(vec![LineProblem::of_file(kind)]);
        }
        if UTF_16_MARKS.iter().any(|mark| bytes.starts_with(mark)) {
            return Err(vec![LineProblem::of_file(LineProblemKind::Utf16)]);
        }
        let text = str::from_utf8(bytes).map_err(|_| not_utf8(bytes))?;
        let text = text.strip_prefix(BYTE_ORDER_MARK).unwrap_or(text);
        let line_starts = text.bytes().enumerate().filter(|(_, b)| *b == b'\n').map(|(at, _)| at + 1).collect();
        Ok(Self { text, line_starts })
    }

    /// The number of the line that has the byte at `offset`, from 1.
    pub(super) fn line(&self, offset: usize) -> usize {
        self.line_starts.partition_point(|start| *start <= offset) + 1
    }

    /// Line and column, in characters, of the byte at `offset`; both from 1.
    pub(super) fn place(&self, offset: usize) -> (usize, usize) {
        let line = self.line(offset);
        let start = if line == 1 { 0 } else { self.line_starts[line - 2] };
        let end = self.text.floor_char_boundary(offset);
        (line, self.text[start..end.max(start)].chars().count() + 1)
    }
}

/// Each line that is not UTF-8. What a broken character does to the lines around it is nothing: no other byte of
/// UTF-8 looks like a line feed.
fn not_utf8(bytes: &[u8]) -> Vec<LineProblem> {
    let mut problems = Problems::default();
    for (index, line) in bytes.split(|byte| *byte == b'\n').enumerate() {
        if let Err(error) = str::from_utf8(line) {
            let valid = str::from_utf8(&line[..error.valid_up_to()]).unwrap_or_default();
            let column = valid.chars().count() + 1;
            problems.add(|| LineProblem { line: index + 1, column, kind: LineProblemKind::NotUtf8 });
        }
    }
    problems.into_list()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_lines_and_characters_from_one() {
        let source = Source::new("\u{feff}é=1\r\nüx\n\n".as_bytes()).expect("text");
        let places = |offsets: &[usize]| offsets.iter().map(|at| source.place(*at)).collect::<Vec<_>>();
        assert_eq!(places(&[0, 2, 5, 6, 8, 10, 11]), [(1, 1), (1, 2), (1, 5), (2, 1), (2, 2), (3, 1), (4, 1)]);
    }

    #[test]
    fn every_line_that_is_not_utf8_is_named() {
        let problems = Source::new(b"A=1\nB=\xc3\xa9\xff\nC=\xc3\nD=\n").expect_err("not UTF-8");
        let places: Vec<_> = problems.iter().map(|problem| (problem.line, problem.column)).collect();
        assert_eq!(places, [(2, 4), (3, 3)]);
        assert!(problems.iter().all(|problem| problem.kind == LineProblemKind::NotUtf8));
    }

    #[test]
    fn another_encoding_and_a_large_file_are_told() {
        let utf_16 = Source::new(b"\xff\xfeA\0=\x001\0").expect_err("UTF-16");
        assert_eq!(utf_16[0].kind, LineProblemKind::Utf16);
        assert!(Source::new(&vec![b'#'; FILE_BYTES]).is_ok());
        let large = Source::new(&vec![b'#'; FILE_BYTES + 1]).expect_err("too large");
        assert!(large[0].to_string().contains("1048577"), "{}", large[0]);
    }
}
