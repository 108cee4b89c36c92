//! `docker run --env-file`, as the command line of Docker reads it (`pkg/kvfile` of docker/cli).
//!
//! | in the file | is |
//! |-------------|----|
//! | `NAME=text` | the variable, with all that follows the `=`: quotes, `#`, `$`, backslashes and blanks are text |
//! | `NAME=` | the empty text |
//! | `# …` at the beginning of a line, an empty line | nothing |
//! | `NAME` | refused: Docker would take the value from its host |
//!
//! Blanks in front of a name, a byte order mark and a carriage return at the end of a line are dropped, as Docker does.
//! A value cannot have several lines, nor end in a carriage return, and Docker gives up at lines of 64 KiB. All values
//! are literal.
//!
//! Docker Compose reads its `env_file` as dotenv, not as this.

use std::fmt;

use zeroize::Zeroizing;

use super::exact::{self, By};
use super::export::{self, Prepared};
use super::intake::Intake;
use super::name::is_name;
use super::problem::{LineProblemKind, WriteProblem, WriteProblemKind};
use super::variable::ParsedVariable;

/// What Docker can read of a line, without its line feed: its scanner has 64 KiB (Go's `bufio.MaxScanTokenSize`).
const LINE_BYTES: usize = 64 * 1024 - 1;

pub(super) fn read(intake: &mut Intake<'_>) {
    let mut start = 0;
    for line in intake.text().split_inclusive('\n') {
        let next = start + line.len();
        let line = line.strip_suffix('\n').unwrap_or(line);
        let line = line.strip_suffix('\r').unwrap_or(line);
        let declaration = line.trim_start();
        let at = start + line.len() - declaration.len();
        if !declaration.is_empty() && !declaration.starts_with('#') {
            read_line(declaration, at, intake);
        }
        start = next;
    }
}

fn read_line(declaration: &str, at: usize, intake: &mut Intake<'_>) {
    const BLANKS: [char; 2] = [' ', '\t'];
    let Some((name, value)) = declaration.split_once('=') else {
        return intake.problem(at, LineProblemKind::HostValue);
    };
    if is_name(name) {
        let mut variable = ParsedVariable::new(name.to_owned(), Some(Zeroizing::new(value.to_owned())));
        variable.literal = true;
        return intake.variable(at, variable);
    }
    let kind = if name.strip_prefix("export").is_some_and(|rest| rest.starts_with(BLANKS)) {
        LineProblemKind::ExportPrefix
    } else if is_name(name.trim_end_matches(BLANKS)) {
        LineProblemKind::BlankBeforeEquals
    } else {
        LineProblemKind::InvalidName
    };
    intake.problem(at, kind);
}

pub(super) fn write(prepared: &[Prepared<'_>]) -> Result<Zeroizing<String>, Vec<WriteProblem>> {
    let mut problems = Vec::new();
    let texts = export::texts(prepared, &mut problems);
    for (each, text) in &texts {
        let Some(text) = text else { continue };
        let bytes = each.name().len() + "=".len() + text.len();
        if text.contains('\n') {
            problems.push(each.problem(WriteProblemKind::SeveralLines));
        } else if text.ends_with('\r') {
            problems.push(each.problem(WriteProblemKind::CarriageReturnAtEnd));
        } else if bytes > LINE_BYTES {
            problems.push(each.problem(WriteProblemKind::LineTooLong { bytes, limit: LINE_BYTES }));
        }
    }
    if !problems.is_empty() {
        return Err(problems);
    }
    Ok(exact::text(&By(|f: &mut fmt::Formatter<'_>| {
        texts.iter().try_for_each(|(each, text)| match text {
            Some(text) => writeln!(f, "{}{}={text}", each.origin_comment(), each.name()),
            None => write!(f, "{}", each.unset_comment()),
        })
    })))
}
