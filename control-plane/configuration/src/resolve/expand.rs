//! References: a walk over the graph of variables, depth first, with the path in a vector instead of on the stack.
//!
//! Each variable is expanded once, after all that it refers to. So every text is put together from finished texts, its
//! length is known before anything is allocated, and the work is that of reading the values and writing the result.

use std::collections::{HashMap, HashSet};

use outrigger_protocol::environment::{Entry, ProblemKind as Rule};
use outrigger_protocol::id::EnvironmentId;
use outrigger_protocol::limits as kernel;
use zeroize::Zeroizing;

use super::effective::{Effective, EffectiveEntry};
use super::graph::{Graph, NodeIndex, Piece, Unusable};
use super::layer::Project;
use super::limits;
use super::problem::{ProblemKind, Unresolvable};
use super::reference::Tokens;

pub(super) struct Expansion<'a, P: ?Sized> {
    graph: Graph<'a, P>,
    target: EnvironmentId,
    /// Of the variables that have been met.
    states: HashMap<NodeIndex, State<'a>>,
    /// Bytes put together so far.
    built: usize,
    is_exhausted: bool,
}

enum State<'a> {
    /// On the path of the walk, and where on it.
    Open {
        at: usize,
    },
    /// Reported, here or where the cause is.
    Failed,
    Done(Done<'a>),
}

struct Done<'a> {
    text: Option<Text<'a>>,
    secret: bool,
    /// How many references lead on from here, one through another.
    depth: usize,
    references: Vec<NodeIndex>,
}

/// The text of a value: as it was written, where that is all there is to it.
enum Text<'a> {
    Written(&'a str),
    Built(Zeroizing<String>),
}

/// A step of the path: a variable whose references are being followed.
struct Step<'a> {
    node: NodeIndex,
    pieces: Vec<Piece<'a>>,
    /// What the pieces refer to, each once.
    references: Vec<NodeIndex>,
    /// The next of `references` to follow.
    next: usize,
    is_faulty: bool,
}

impl<'a, P: Project + ?Sized> Expansion<'a, P> {
    pub(super) fn new(project: &'a P, target: EnvironmentId) -> Self {
        let graph = Graph::new(project, target);
        Self { graph, target, states: HashMap::new(), built: 0, is_exhausted: false }
    }

    pub(super) fn run(mut self) -> Result<Effective, Unresolvable> {
        let nodes = self.graph.target_nodes();
        nodes.values().for_each(|node| self.walk(*node));
        let entries = nodes.into_values().filter_map(|node| self.entry(node)).collect();
        let mut dependencies = std::mem::take(&mut self.graph.looked_at);
        dependencies.remove(&self.target);
        let effective = Effective { environment: self.target, entries, dependencies };
        for problem in effective.to_environment().validate(&[]).err().unwrap_or_default() {
            // These depend on what is delivered to; see `resolve`.
            if !matches!(problem.kind, Rule::Missing | Rule::DangerousName { .. }) {
                self.graph.report_of_target(&problem.name, problem.kind.into());
            }
        }
        if self.graph.found.is_empty() {
            Ok(effective)
        } else {
            Err(self.graph.found.into_unresolvable(self.target, effective.dependencies))
        }
    }

    /// Expands a variable and everything that it refers to.
    fn walk(&mut self, node: NodeIndex) {
        if self.states.contains_key(&node) {
            return;
        }
        let mut path = vec![self.enter(node, 0)];
        while let Some(mut step) = path.pop() {
            let Some(&next) = step.references.get(step.next) else {
                self.leave(step);
                continue;
            };
            step.next += 1;
            path.push(step);
            match self.states.get(&next) {
                None => path.push(self.enter(next, path.len())),
                Some(State::Open { at }) => self.graph.report_loop(path[*at..].iter().map(|step| step.node)),
                Some(State::Failed | State::Done(_)) => {}
            }
        }
    }

    /// Reads a value and looks up what it refers to.
    fn enter(&mut self, node: NodeIndex, at: usize) -> Step<'a> {
        self.states.insert(node, State::Open { at });
        let merged = &self.graph.node(node).merged;
        let (value, expand) = (merged.value, merged.expand);
        let mut step = Step { node, pieces: Vec::new(), references: Vec::new(), next: 0, is_faulty: false };
        let Some(value) = value else { return step };
        if !expand {
            step.pieces.push(Piece::Text(value));
            return step;
        }
        let mut seen = HashSet::new();
        for (offset, token) in Tokens::new(value) {
            let piece = match token {
                Ok(token) => self.graph.look_up(node, token),
                Err(fault) => {
                    self.graph.report_fault(node, offset, fault);
                    Err(Unusable::Reported)
                }
            };
            match piece {
                Ok(piece) => {
                    if let Piece::Variable(other) = piece
                        && seen.insert(other)
                    {
                        step.references.push(other);
                    }
                    step.pieces.push(piece);
                }
                Err(unusable) => {
                    step.is_faulty = true;
                    if let Unusable::Because(kind) = unusable {
                        self.graph.report(node, Some(offset), kind);
                    }
                }
            }
        }
        step
    }

    /// Puts a value together from what it refers to, all of which has been left.
    fn leave(&mut self, step: Step<'a>) {
        let node = step.node;
        let state = match self.expanded(step) {
            Ok(done) => State::Done(done),
            Err(unusable) => {
                if let Unusable::Because(kind) = unusable {
                    self.graph.report(node, None, kind);
                }
                State::Failed
            }
        };
        self.states.insert(node, state);
    }

    fn expanded(&mut self, step: Step<'a>) -> Result<Done<'a>, Unusable> {
        let Step { node, pieces, references, is_faulty, .. } = step;
        if is_faulty {
            return Err(Unusable::Reported);
        }
        let node = self.graph.node(node);
        let (name_bytes, value, mut secret, mut depth) = (node.name.len(), node.merged.value, node.merged.secret, 0);
        for reference in &references {
            let Some(State::Done(done)) = self.states.get(reference) else { return Err(Unusable::Reported) };
            secret |= done.secret;
            depth = depth.max(done.depth + 1);
        }
        if depth > limits::DEPTH {
            return Err(ProblemKind::TooDeep { limit: limits::DEPTH }.into());
        }
        let length = pieces.iter().fold(0_usize, |sum, piece| sum.saturating_add(self.text_of(piece).len()));
        // As the kernel counts, and `Environment::validate`.
        let (bytes, limit) = (name_bytes.saturating_add(length).saturating_add(2), kernel::ENVIRONMENT_ENTRY_BYTES);
        if value.is_some() && bytes > limit {
            return Err(ProblemKind::from(Rule::EntryTooLarge { bytes, limit }).into());
        }
        let text = match (value, pieces.as_slice()) {
            (None, _) => None,
            (Some(_), []) => Some(Text::Written("")),
            (Some(_), [Piece::Text(text)]) => Some(Text::Written(text)),
            (Some(_), pieces) => Some(Text::Built(self.build(pieces, length)?)),
        };
        Ok(Done { text, secret, depth, references })
    }

    fn build(&mut self, pieces: &[Piece<'a>], length: usize) -> Result<Zeroizing<String>, Unusable> {
        let limit = limits::EXPANDED_BYTES;
        let built = self.built.saturating_add(length);
        if built > limit {
            // Told once: which variable meets the limit is chance.
            let is_first = !std::mem::replace(&mut self.is_exhausted, true);
            let kind = ProblemKind::ExpandedTooLarge { limit };
            return Err(if is_first { kind.into() } else { Unusable::Reported });
        }
        self.built = built;
        // The exact capacity: a string that grew would leave plaintext behind in freed memory.
        let mut text = Zeroizing::new(String::with_capacity(length));
        pieces.iter().for_each(|piece| text.push_str(self.text_of(piece)));
        Ok(text)
    }

    /// The text of a piece; of a variable, once it is done.
    fn text_of<'s>(&'s self, piece: &Piece<'s>) -> &'s str {
        match piece {
            Piece::Text(text) => text,
            Piece::Variable(node) => match self.states.get(node) {
                Some(State::Done(Done { text: Some(text), .. })) => text.as_str(),
                _ => "",
            },
        }
    }

    /// A finished variable; `None` for one that has been reported.
    fn entry(&mut self, node: NodeIndex) -> Option<EffectiveEntry> {
        let Some(State::Done(Done { text, secret, references, .. })) = self.states.remove(&node) else { return None };
        let (name, merged) = (self.graph.node(node).name, &self.graph.node(node).merged);
        let (value, kind, required) = (text.map(Text::into_value), merged.kind, merged.required);
        Some(EffectiveEntry {
            entry: Entry { name: name.to_owned(), value, kind, secret, required },
            description: merged.description.to_owned(),
            origin: merged.origin.environment,
            shadows: merged.shadows.clone(),
            references: references.into_iter().map(|reference| self.graph.source(reference)).collect(),
        })
    }
}

impl Text<'_> {
    fn as_str(&self) -> &str {
        match self {
            Self::Written(text) => text,
            Self::Built(text) => text,
        }
    }

    fn into_value(self) -> Zeroizing<String> {
        match self {
            Self::Written(text) => Zeroizing::new(text.to_owned()),
            Self::Built(text) => text,
        }
    }
}
