//! One measured number beside its goal and beside what else could be had.

use std::fmt::{self, Write as _};

/// Something that was measured in the same run, to which a figure is held: a peer, or a limit of the machine.
#[derive(Debug, Clone, PartialEq)]
pub struct Reference {
    pub what: String,
    /// In the figure's unit, or why there is none.
    pub value: Result<f64, String>,
}

impl Reference {
    #[must_use]
    pub fn new(what: impl Into<String>, value: f64) -> Self {
        Self { what: what.into(), value: Ok(value) }
    }

    /// A peer that cannot be measured here, and why.
    #[must_use]
    pub fn absent(what: impl Into<String>, why: impl Into<String>) -> Self {
        Self { what: what.into(), value: Err(why.into()) }
    }
}

/// Whether a goal was reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    Met,
    Missed,
    /// Measured for comparison; nothing was promised.
    NoGoal,
    NotMeasured,
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Met => "met",
            Self::Missed => "**missed**",
            Self::NoGoal => "–",
            Self::NotMeasured => "**not measured**",
        })
    }
}

/// One row of the table. Smaller is better in every one of them.
#[derive(Debug, Clone, PartialEq)]
pub struct Figure {
    pub name: String,
    pub unit: &'static str,
    /// The most that was promised.
    pub goal: Option<f64>,
    /// In `unit`, or why it could not be measured.
    pub measured: Result<f64, String>,
    pub references: Vec<Reference>,
}

impl Figure {
    #[must_use]
    pub fn new(name: impl Into<String>, unit: &'static str, measured: f64) -> Self {
        Self { name: name.into(), unit, goal: None, measured: Ok(measured), references: Vec::new() }
    }

    #[must_use]
    pub fn failed(name: impl Into<String>, why: impl Into<String>) -> Self {
        Self { name: name.into(), unit: "", goal: None, measured: Err(why.into()), references: Vec::new() }
    }

    #[must_use]
    pub fn at_most(mut self, goal: f64) -> Self {
        self.goal = Some(goal);
        self
    }

    #[must_use]
    pub fn beside(mut self, reference: Reference) -> Self {
        self.references.push(reference);
        self
    }

    #[must_use]
    pub fn verdict(&self) -> Verdict {
        match (&self.measured, self.goal) {
            (Ok(measured), _) if !measured.is_finite() => Verdict::NotMeasured,
            (Ok(measured), Some(goal)) if *measured <= goal => Verdict::Met,
            (Ok(_), Some(_)) => Verdict::Missed,
            (Ok(_), None) => Verdict::NoGoal,
            (Err(_), _) => Verdict::NotMeasured,
        }
    }

    /// The cells of its row, in the order of [`COLUMNS`].
    #[must_use]
    pub fn cells(&self) -> [String; COLUMNS.len()] {
        let mut beside = String::new();
        let mut ratios = String::new();
        for (at, reference) in self.references.iter().enumerate() {
            let separator = if at == 0 { "" } else { "; " };
            let value = match &reference.value {
                Ok(value) => number(*value),
                Err(why) => why.clone(),
            };
            // Writing to a string cannot fail.
            let _ = write!(beside, "{separator}{}: {value}", reference.what);
            let _ = write!(ratios, "{separator}{}", self.ratio(reference));
        }
        [
            self.name.clone(),
            self.unit.to_owned(),
            self.goal.map_or_else(|| "–".to_owned(), |goal| format!("≤ {}", number(goal))),
            self.measured.as_ref().map_or_else(Clone::clone, |value| number(*value)),
            or_dash(beside),
            or_dash(ratios),
            self.verdict().to_string(),
        ]
    }

    fn ratio(&self, reference: &Reference) -> String {
        match (&self.measured, &reference.value) {
            (Ok(measured), Ok(value)) if *value > 0.0 => format!("{}×", number(measured / value)),
            _ => "–".to_owned(),
        }
    }
}

/// The head of the table.
pub const COLUMNS: [&str; 7] =
    ["figure", "unit", "goal", "measured", "peer or limit, same run", "ratio to it", "verdict"];

fn or_dash(text: String) -> String {
    if text.is_empty() { "–".to_owned() } else { text }
}

/// About three significant digits: more would claim a precision that no run has.
#[must_use]
pub fn number(value: f64) -> String {
    let decimals = match value.abs() {
        magnitude if magnitude == 0.0 || magnitude >= 99.95 => 0,
        magnitude if magnitude >= 9.995 => 1,
        magnitude if magnitude >= 0.9995 => 2,
        magnitude if magnitude >= 0.0995 => 3,
        _ => 4,
    };
    let text = format!("{value:.decimals$}");
    match text.contains('.') {
        true => text.trim_end_matches('0').trim_end_matches('.').to_owned(),
        false => text,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_goal_is_reached_at_its_limit_and_missed_above_it() {
        assert_eq!(Figure::new("a", "ms", 15.0).at_most(15.0).verdict(), Verdict::Met);
        assert_eq!(Figure::new("a", "ms", 15.01).at_most(15.0).verdict(), Verdict::Missed);
        assert_eq!(Figure::new("a", "ms", 15.0).verdict(), Verdict::NoGoal);
        assert_eq!(Figure::new("a", "ms", f64::NAN).at_most(15.0).verdict(), Verdict::NotMeasured);
        assert_eq!(Figure::failed("a", "no disk").at_most(1.0).verdict(), Verdict::NotMeasured);
    }

    #[test]
    fn each_reference_has_its_own_ratio_and_absence_is_told() {
        let figure = Figure::new("resident memory", "MiB", 2.0)
            .at_most(4.0)
            .beside(Reference::new("collectd", 4.0))
            .beside(Reference::absent("node_exporter", "not installed"));
        let expected =
            ["resident memory", "MiB", "≤ 4", "2", "collectd: 4; node_exporter: not installed", "0.5×; –", "met"];
        assert_eq!(figure.cells(), expected);
    }

    #[test]
    fn numbers_keep_three_digits() {
        let shown = [0.0, 0.033_31, 0.33, 1.0, 1.234, 12.345, 123.45, 99.96, 1_500.4].map(number);
        assert_eq!(shown, ["0", "0.0333", "0.33", "1", "1.23", "12.3", "123", "100", "1500"]);
    }
}
