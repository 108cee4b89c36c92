//! How far something is: a bar that is drawn over itself on a terminal, a line for each tenth anywhere else.

use std::io::{IsTerminal as _, Write, stderr};

/// Characters of the bar.
const WIDTH: u64 = 30;

/// Goes to standard error: standard output is for the outcome.
#[derive(Debug)]
pub(super) struct Progress<W> {
    out: W,
    what: String,
    on_terminal: bool,
    /// The last tenth that a line was written for.
    told: Option<u64>,
}

impl Progress<std::io::Stderr> {
    pub(super) fn to_stderr(what: &str) -> Self {
        let on_terminal = stderr().is_terminal();
        Self::new(stderr(), what, on_terminal)
    }
}

impl<W: Write> Progress<W> {
    fn new(out: W, what: &str, on_terminal: bool) -> Self {
        let what = what.chars().map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect();
        Self { out, what, on_terminal, told: None }
    }

    /// # Errors
    /// Nothing can be written there.
    pub(super) fn show(&mut self, done: u64, total: Option<u64>) -> std::io::Result<()> {
        let share = total.map(|total| (done.min(total), total));
        if self.on_terminal {
            // Back to the beginning of the line, and away with what is left of a longer one.
            write!(self.out, "\r{}\u{1b}[K", line(&self.what, share))?;
            return self.out.flush();
        }
        let tenth = share.map_or(0, |(done, total)| (done * 10).checked_div(total).unwrap_or(10));
        if self.told.is_none_or(|told| told < tenth) {
            self.told = Some(tenth);
            writeln!(self.out, "{}", line(&self.what, share))?;
        }
        Ok(())
    }

    /// # Errors
    /// Nothing can be written there.
    pub(super) fn end(&mut self, done: u64) -> std::io::Result<()> {
        self.told = None;
        self.show(done, Some(done))?;
        if self.on_terminal { writeln!(self.out) } else { Ok(()) }
    }
}

fn line(what: &str, share: Option<(u64, u64)>) -> String {
    let Some((done, total)) = share else { return format!("{what}: counting") };
    let of = |parts: u64| (done * parts).checked_div(total).unwrap_or(parts);
    let filled = usize::try_from(of(WIDTH)).unwrap_or_default();
    let width = usize::try_from(WIDTH).unwrap_or_default();
    format!("{what}: [{:<width$}] {:>3}%  {done} of {total}", "#".repeat(filled), of(100))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(on_terminal: bool) -> String {
        let mut progress = Progress::new(Vec::new(), "shop\n", on_terminal);
        progress.show(0, None).unwrap();
        for done in 0..=200 {
            progress.show(done, Some(200)).unwrap();
        }
        progress.end(198).unwrap();
        String::from_utf8(progress.out).unwrap()
    }

    #[test]
    fn a_pipe_gets_a_line_for_each_tenth() {
        let text = shown(false);
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines.len(), 12, "{text}");
        assert_eq!(lines[0], "shop\u{fffd}: counting");
        assert_eq!(lines[5], "shop\u{fffd}: [###############               ]  50%  100 of 200");
        assert!(lines[11].ends_with("100%  198 of 198"), "{text}");
        assert!(!text.contains('\r') && !text.contains('\u{1b}'));
    }

    #[test]
    fn a_terminal_gets_one_line_that_is_drawn_over_itself() {
        let text = shown(true);
        assert_eq!(text.matches('\n').count(), 1);
        assert!(text.ends_with("100%  198 of 198\u{1b}[K\n"), "{text}");
        assert!(text.split('\r').skip(1).count() > 100);
    }

    #[test]
    fn nothing_to_do_is_all_of_it() {
        assert!(line("x", Some((0, 0))).contains("100%  0 of 0"));
    }
}
