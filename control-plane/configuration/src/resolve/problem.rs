//! What can be wrong, in words; never with a value.

use std::collections::BTreeSet;
use std::fmt;

use outrigger_protocol::environment::ProblemKind as Rule;
use outrigger_protocol::id::EnvironmentId;

use super::limits;

/// How much of a name goes into a message: a name is a caller's text and may be anything.
const SHOWN_NAME_CHARS: usize = 128;
/// How much of a circle is told, at its beginning and at its end.
const SHOWN_STEPS: usize = 8;
/// How many meanings of a name are told.
const SHOWN_CANDIDATES: usize = 8;

/// Why there is no effective environment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unresolvable {
    /// At least one; those of the environment itself come first, then by environment, variable and place.
    pub problems: Vec<Problem>,
    /// How many more there are.
    pub omitted: usize,
    /// The other environments that were looked at.
    pub dependencies: BTreeSet<EnvironmentId>,
}

impl fmt::Display for Unresolvable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, problem) in self.problems.iter().enumerate() {
            let separator = if index == 0 { "" } else { "; " };
            write!(f, "{separator}{problem}")?;
        }
        if self.omitted == 0 { Ok(()) } else { write!(f, "; and {} more", self.omitted) }
    }
}

impl std::error::Error for Unresolvable {}

/// One thing that is wrong, and where.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// What people call the environment.
    pub label: String,
    /// The environment that has the problem: the one that was to be resolved, one that it refers to, or the one whose
    /// own text is at fault.
    pub environment: EnvironmentId,
    /// The variable; empty when the problem is the whole environment's.
    pub variable: String,
    /// The place in the value as written, for what one reference is to blame for.
    pub position: Option<Position>,
    /// What people call the environment in which the value is written, where that is another one.
    pub written_in: Option<String>,
    pub kind: ProblemKind,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "`{}`", self.label)?;
        if !self.variable.is_empty() {
            write!(f, ", `{}`", self.variable)?;
        }
        if let Some(position) = self.position {
            write!(f, ", {position}")?;
        }
        if let Some(label) = &self.written_in {
            write!(f, " (written in `{label}`)")?;
        }
        write!(f, ": {}", self.kind)
    }
}

/// A place in a value.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Position {
    /// In bytes, from 0.
    pub offset: usize,
    /// From 1.
    pub line: usize,
    /// In characters, from 1.
    pub column: usize,
}

impl Position {
    pub(super) fn new(value: &str, offset: usize) -> Self {
        let before = &value[..offset];
        let line_start = before.rfind('\n').map_or(0, |at| at + 1);
        let line = before.bytes().filter(|byte| *byte == b'\n').count() + 1;
        Self { offset, line, column: before[line_start..].chars().count() + 1 }
    }
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "line {}, column {}", self.line, self.column)
    }
}

/// What is wrong. Names that a secret value mentions and that name nothing are left out: they may be a part of it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ProblemKind {
    #[error("the project does not have this environment")]
    AbsentEnvironment,
    #[error("it extends an environment that the project does not have; let it extend another one, or none")]
    AbsentBase,
    #[error("environments extend each other in a circle: {circle}; let one of them extend none")]
    ExtendsLoop { circle: Circle },
    #[error("more than {limit} environments extend one another; put some of them together")]
    ExtendsTooDeep { limit: usize },
    #[error("more than {limit} environments are needed; refer to fewer")]
    TooManyEnvironments { limit: usize },
    #[error("written more than once in one environment; keep one of them")]
    WrittenTwice,

    #[error("no `}}` closes this `${{`; write `${{KEY}}`, `${{env:NAME/KEY}}`, or `$${{` for a literal `${{`")]
    OpenReference,
    #[error("this is not a reference; write `${{KEY}}`, `${{env:NAME/KEY}}`, or `$${{` for a literal `${{`")]
    MalformedReference,
    #[error("a reference to another environment is `${{env:NAME/KEY}}`; write `$${{` for a literal `${{`")]
    MalformedForeignReference,
    #[error(
        "refers to {}, which `{environment}` does not have; set it there, or write `$${{` for a literal `${{`",
        quoted("variable", .key.as_deref())
    )]
    AbsentVariable { key: Option<String>, environment: String },
    #[error("refers to variable `{key}`, which has no value in `{environment}`; set it there")]
    UnsetVariable { key: String, environment: String },
    #[error("refers to {}, which the project does not have", quoted("environment", .name.as_deref()))]
    UnknownEnvironment { name: Option<String> },
    #[error("refers to an environment by a name that may mean {}; write one of these", listed(.candidates))]
    AmbiguousEnvironment { candidates: Vec<String> },
    #[error("refers to itself: {circle}{}", advice(.circle))]
    ReferenceLoop { circle: Circle },
    #[error("references lead through more than {limit} others; refer to one of the last")]
    TooDeep { limit: usize },
    #[error(
        "with this one, what the references come to takes more than {limit} bytes; refer to shorter values, or to fewer"
    )]
    ExpandedTooLarge { limit: usize },

    /// The value, or all of them together, break a rule that every environment is held to.
    #[error(transparent)]
    Rule(#[from] Rule),
}

/// A way that leads back to where it began: variables, those of other environments as `NAME/KEY`, or environments.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Circle {
    /// The first is also the last. Of a long way, the beginning and the end.
    pub steps: Vec<String>,
    /// How many steps are left out, in the middle.
    pub omitted: usize,
}

impl Circle {
    /// The way through `steps` and back to the first of them.
    pub(super) fn new<T>(steps: impl ExactSizeIterator<Item = T> + Clone, name: impl Fn(T) -> String) -> Self {
        let omitted = steps.len().saturating_sub(2 * SHOWN_STEPS);
        let (head, tail) = (steps.clone().take(SHOWN_STEPS), steps.clone().skip(SHOWN_STEPS + omitted));
        Self { steps: head.chain(tail).chain(steps.take(1)).map(name).collect(), omitted }
    }
}

impl fmt::Display for Circle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, step) in self.steps.iter().enumerate() {
            if index == SHOWN_STEPS && self.omitted > 0 {
                write!(f, " -> … {} more …", self.omitted)?;
            }
            let arrow = if index == 0 { "" } else { " -> " };
            write!(f, "{arrow}{step}")?;
        }
        Ok(())
    }
}

/// What somebody who lets a value refer to itself may have in mind: to add to what is inherited.
fn advice(circle: &Circle) -> &'static str {
    if circle.steps.len() == 2 { "; the value of a base is `${env:NAME/KEY}`" } else { "" }
}

fn quoted(what: &str, name: Option<&str>) -> String {
    let hidden = || format!("{what} (not named here, because the value is secret)");
    name.map_or_else(hidden, |name| format!("{what} `{name}`"))
}

fn listed(candidates: &[String]) -> String {
    let mut list = String::new();
    for (index, candidate) in candidates.iter().take(SHOWN_CANDIDATES).enumerate() {
        let separator = if index == 0 { "" } else { ", " };
        list.push_str(&format!("{separator}`{}`", shown(candidate)));
    }
    let more = candidates.len().saturating_sub(SHOWN_CANDIDATES);
    if more > 0 { list + &format!(" and {more} more") } else { list }
}

/// A name on one line and of bounded length: control characters would let it forge lines of a log.
pub(super) fn shown(name: &str) -> String {
    name.chars().take(SHOWN_NAME_CHARS).map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect()
}

/// What has been found so far, each once and not without bound.
#[derive(Debug, Default)]
pub(super) struct Found {
    problems: Vec<Problem>,
    omitted: usize,
}

impl Found {
    /// `problem` is only made where there is room for it: its place and its names cost time.
    pub(super) fn report(&mut self, problem: impl FnOnce() -> Problem) {
        if self.problems.len() == limits::PROBLEMS {
            self.omitted = self.omitted.saturating_add(1);
            return;
        }
        let problem = problem();
        // The same text may be met in several environments that inherit it.
        if !self.problems.contains(&problem) {
            self.problems.push(problem);
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.problems.is_empty()
    }

    pub(super) fn into_unresolvable(
        mut self,
        target: EnvironmentId,
        dependencies: BTreeSet<EnvironmentId>,
    ) -> Unresolvable {
        fn place(problem: &Problem, target: EnvironmentId) -> (bool, &str, EnvironmentId, &str, Option<Position>) {
            let Problem { environment, label, variable, position, .. } = problem;
            (*environment != target, label, *environment, variable, *position)
        }
        self.problems.sort_by(|a, b| place(a, target).cmp(&place(b, target)));
        Unresolvable { problems: self.problems, omitted: self.omitted, dependencies }
    }
}
