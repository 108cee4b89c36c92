//! Where a reader puts what it finds: variables and problems, until the file is whole or refused.

use std::collections::HashMap;

use outrigger_protocol::environment::{Entry, ProblemKind as Rule, VariableKind};
use outrigger_protocol::limits;

use super::name::is_name;
use super::problem::{LineProblem, LineProblemKind, Problems};
use super::source::Source;
use super::variable::ParsedVariable;

pub(super) struct Intake<'s> {
    source: &'s Source<'s>,
    problems: Problems,
    variables: Vec<ParsedVariable>,
    /// The line of each name.
    lines: HashMap<String, usize>,
    /// All variables, also those that are too many to be kept.
    count: usize,
    /// What the kernel would count.
    bytes: usize,
}

impl<'s> Intake<'s> {
    pub(super) fn new(source: &'s Source<'s>) -> Self {
        let (variables, lines) = (Vec::new(), HashMap::new());
        Self { source, problems: Problems::default(), variables, lines, count: 0, bytes: 0 }
    }

    pub(super) const fn text(&self) -> &'s str {
        self.source.text
    }

    pub(super) fn line(&self, offset: usize) -> usize {
        self.source.line(offset)
    }

    /// Something is wrong at this byte of the text.
    pub(super) fn problem(&mut self, offset: usize, kind: LineProblemKind) {
        let source = self.source;
        self.problems.add(|| {
            let (line, column) = source.place(offset);
            LineProblem { line, column, kind }
        });
    }

    pub(super) fn has_problems(&self) -> bool {
        !self.problems.is_empty()
    }

    /// A variable whose name is at `offset`.
    pub(super) fn variable(&mut self, offset: usize, mut variable: ParsedVariable) {
        variable.line = self.line(offset);
        if !is_name(&variable.name) {
            return self.problem(offset, LineProblemKind::InvalidName);
        }
        if let Some(first) = self.lines.get(&variable.name) {
            return self.problem(offset, LineProblemKind::Duplicate { first: *first });
        }
        self.count += 1;
        if self.count > limits::ENVIRONMENT_ENTRIES {
            return;
        }
        let value_bytes = variable.value.as_ref().map_or(0, |value| value.len());
        // `NAME=VALUE` and a NUL (execve(2)).
        self.bytes = self.bytes.saturating_add(variable.name.len() + value_bytes + 2);
        self.lines.insert(variable.name.clone(), variable.line);
        self.check(offset, &mut variable);
        self.variables.push(variable);
    }

    /// Holds the variable to the rules that the file is to blame for; see [`parse`](super::parse) for the others.
    fn check(&mut self, offset: usize, variable: &mut ParsedVariable) {
        let kind = variable.kind.unwrap_or(VariableKind::String);
        let (name, value) = (std::mem::take(&mut variable.name), variable.value.take());
        // What a value with a reference comes to is known, and judged, when it is resolved.
        let refers = !variable.literal && value.as_ref().is_some_and(|value| value.contains("${"));
        let kind = if refers { VariableKind::String } else { kind };
        let entry = Entry { name, value, kind, secret: false, required: false };
        for problem in entry.validate(&[]).err().unwrap_or_default() {
            if !matches!(problem.kind, Rule::DangerousName { .. }) {
                self.problem(offset, problem.kind.into());
            }
        }
        (variable.name, variable.value) = (entry.name, entry.value);
    }

    pub(super) fn finish(mut self) -> Result<Vec<ParsedVariable>, Vec<LineProblem>> {
        let (count, limit) = (self.count, limits::ENVIRONMENT_ENTRIES);
        if count > limit {
            self.problem(0, Rule::TooMany { count, limit }.into());
        }
        let (bytes, limit) = (self.bytes, limits::ENVIRONMENT_BYTES);
        if bytes > limit {
            self.problem(0, Rule::TooLarge { bytes, limit }.into());
        }
        if self.problems.is_empty() { Ok(self.variables) } else { Err(self.problems.into_list()) }
    }
}
