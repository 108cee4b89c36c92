//! All figures of a run as one block of Markdown, which reads as well on a terminal.

use std::fmt::{self, Write as _};

use jiff::Timestamp;

use crate::figure::{COLUMNS, Figure, Verdict};
use crate::machine::Machine;

/// A finished run.
#[derive(Debug)]
pub struct Report {
    pub at: Timestamp,
    pub command: String,
    pub machine: Machine,
    pub figures: Vec<Figure>,
    /// What a reader of the table has to know besides.
    pub notes: Vec<String>,
}

impl Report {
    #[must_use]
    pub fn count(&self, verdict: Verdict) -> usize {
        self.figures.iter().filter(|figure| figure.verdict() == verdict).count()
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "Run on {} with `{}`.", self.at.strftime("%Y-%m-%d %H:%M UTC"), self.command)?;
        writeln!(f, "Machine: {}.\n", self.machine)?;
        f.write_str(&table(&self.figures))?;
        let [met, missed, failed] = [Verdict::Met, Verdict::Missed, Verdict::NotMeasured].map(|v| self.count(v));
        writeln!(f, "\n{met} goals met, {missed} missed, {failed} figures not measured.")?;
        for (at, note) in self.notes.iter().enumerate() {
            writeln!(f, "{}- {note}", if at == 0 { "\n" } else { "" })?;
        }
        Ok(())
    }
}

/// A Markdown table whose columns are aligned in the source as well.
fn table(figures: &[Figure]) -> String {
    let rows: Vec<_> = figures.iter().map(|figure| figure.cells().map(|cell| cell.replace('|', "\\|"))).collect();
    let head = COLUMNS.map(str::to_owned);
    let widths: [usize; COLUMNS.len()] =
        std::array::from_fn(|at| rows.iter().chain([&head]).map(|row| row[at].chars().count()).max().unwrap_or(0));
    let mut out = String::new();
    let mut line = |cells: &[String; COLUMNS.len()], fill: char| {
        for (cell, width) in cells.iter().zip(widths) {
            let missing = width - cell.chars().count().min(width);
            // Writing to a string cannot fail.
            let _ = write!(out, "| {cell}{} ", fill.to_string().repeat(missing));
        }
        out.push_str("|\n");
    };
    line(&head, ' ');
    line(&std::array::from_fn(|_| "---".to_owned()), '-');
    for row in &rows {
        line(row, ' ');
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::figure::Reference;

    #[test]
    fn a_report_is_one_block_of_markdown() {
        let report = Report {
            at: "2026-11-21T12:00:00Z".parse().unwrap(),
            command: "outrigger-bench all".to_owned(),
            machine: Machine {
                cores: 2,
                processor: "Some CPU".to_owned(),
                kernel: "Linux 6.1".to_owned(),
                memory_gib: 23.54,
                load: 0.1,
            },
            figures: vec![
                Figure::new("start", "ms", 7.5).at_most(15.0).beside(Reference::new("a|b", 0.75)),
                Figure::failed("grüße", "no"),
            ],
            notes: vec!["One thing.".to_owned()],
        };
        let expected = "\
Run on 2026-11-21 12:00 UTC with `outrigger-bench all`.
Machine: 2 cores of Some CPU, 23.5 GiB, Linux 6.1, load average before the run 0.10.

| figure | unit | goal | measured | peer or limit, same run | ratio to it | verdict          |
| ------ | ---- | ---- | -------- | ----------------------- | ----------- | ---------------- |
| start  | ms   | ≤ 15 | 7.5      | a\\|b: 0.75              | 10×         | met              |
| grüße  |      | –    | no       | –                       | –           | **not measured** |

1 goals met, 0 missed, 1 figures not measured.

- One thing.
";
        assert_eq!(report.to_string(), expected);
    }
}
