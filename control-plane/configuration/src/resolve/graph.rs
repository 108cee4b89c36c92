//! The variables of the effective environments, as far as they are needed, and what leads from one to another.

use std::collections::{BTreeMap, BTreeSet};

use outrigger_protocol::id::EnvironmentId;

use super::chain::{self, Broken, Merged};
use super::effective::Source;
use super::layer::{Layer, LookupError, Project};
use super::problem::{Circle, Found, Position, Problem, ProblemKind, shown};
use super::reference::{Fault, Token};

/// The place of an environment in its [`Graph`].
type ScopeIndex = usize;
/// The place of a variable in its [`Graph`].
pub(super) type NodeIndex = usize;

pub(super) struct Graph<'a, P: ?Sized> {
    project: &'a P,
    target: EnvironmentId,
    scopes: Vec<Scope<'a>>,
    /// `None` for an environment whose chain is broken, which has been reported.
    scope_of: BTreeMap<EnvironmentId, Option<ScopeIndex>>,
    nodes: Vec<Node<'a>>,
    pub(super) looked_at: BTreeSet<EnvironmentId>,
    pub(super) found: Found,
}

/// An effective environment: the one to be resolved, or one that is referred to.
struct Scope<'a> {
    layer: &'a Layer,
    variables: BTreeMap<&'a str, NodeIndex>,
}

/// A variable of an effective environment.
pub(super) struct Node<'a> {
    scope: ScopeIndex,
    pub(super) name: &'a str,
    pub(super) merged: Merged<'a>,
}

/// A piece of a value, looked up.
pub(super) enum Piece<'a> {
    Text(&'a str),
    Variable(NodeIndex),
}

/// A reference that leads to no value.
pub(super) enum Unusable {
    /// It is to blame itself.
    Because(ProblemKind),
    /// What it leads to is, and that has been reported.
    Reported,
}

impl From<ProblemKind> for Unusable {
    fn from(kind: ProblemKind) -> Self {
        Self::Because(kind)
    }
}

impl<'a, P: Project + ?Sized> Graph<'a, P> {
    pub(super) fn new(project: &'a P, target: EnvironmentId) -> Self {
        Self {
            project,
            target,
            scopes: Vec::new(),
            scope_of: BTreeMap::new(),
            nodes: Vec::new(),
            looked_at: BTreeSet::new(),
            found: Found::default(),
        }
    }

    pub(super) fn node(&self, node: NodeIndex) -> &Node<'a> {
        &self.nodes[node]
    }

    /// The variables of the environment that is to be resolved, by name; none if it is broken.
    pub(super) fn target_nodes(&mut self) -> BTreeMap<&'a str, NodeIndex> {
        let Some(layer) = self.project.layer(self.target) else {
            let (environment, label, kind) = (self.target, self.target.to_string(), ProblemKind::AbsentEnvironment);
            let (variable, position, written_in) = (String::new(), None, None);
            self.found.report(|| Problem { label, environment, variable, position, written_in, kind });
            return BTreeMap::new();
        };
        self.scope(layer).map(|scope| self.scopes[scope].variables.clone()).unwrap_or_default()
    }

    fn scope(&mut self, layer: &'a Layer) -> Option<ScopeIndex> {
        if let Some(scope) = self.scope_of.get(&layer.environment) {
            return *scope;
        }
        let scope = match chain::layers(self.project, layer, &mut self.looked_at) {
            Ok(layers) => {
                for layer in &layers {
                    for name in chain::written_twice(layer) {
                        self.found.report(|| problem_of(layer, name, ProblemKind::WrittenTwice));
                    }
                }
                Some(self.add_scope(layer, &layers))
            }
            Err(Broken { layer, kind }) => {
                self.found.report(|| problem_of(layer, "", kind));
                None
            }
        };
        self.scope_of.insert(layer.environment, scope);
        scope
    }

    fn add_scope(&mut self, layer: &'a Layer, layers: &[&'a Layer]) -> ScopeIndex {
        let scope = self.scopes.len();
        let mut variables = BTreeMap::new();
        for (name, merged) in chain::merge(layers) {
            variables.insert(name, self.nodes.len());
            self.nodes.push(Node { scope, name, merged });
        }
        self.scopes.push(Scope { layer, variables });
        scope
    }

    /// What a piece of the value of `node` leads to.
    pub(super) fn look_up(&mut self, node: NodeIndex, token: Token<'a>) -> Result<Piece<'a>, Unusable> {
        let (scope, key) = match token {
            Token::Text(text) => return Ok(Piece::Text(text)),
            Token::Own { key } => (self.nodes[node].scope, key),
            Token::Foreign { environment, key } => (self.foreign_scope(node, environment)?, key),
        };
        let Scope { layer, variables } = &self.scopes[scope];
        let environment = || shown(&layer.label);
        let Some(&other) = variables.get(key) else {
            let key = self.quotable(node, key);
            return Err(ProblemKind::AbsentVariable { key, environment: environment() }.into());
        };
        if self.nodes[other].merged.value.is_none() {
            return Err(ProblemKind::UnsetVariable { key: shown(key), environment: environment() }.into());
        }
        Ok(Piece::Variable(other))
    }

    fn foreign_scope(&mut self, node: NodeIndex, name: &str) -> Result<ScopeIndex, Unusable> {
        let unknown = |graph: &Self| ProblemKind::UnknownEnvironment { name: graph.quotable(node, name) };
        let environment = self.project.find(name).map_err(|error| match error {
            LookupError::Unknown => unknown(self),
            LookupError::Ambiguous { candidates } => ProblemKind::AmbiguousEnvironment { candidates },
        })?;
        let layer = self.project.layer(environment).ok_or_else(|| unknown(self))?;
        self.scope(layer).ok_or(Unusable::Reported)
    }

    /// A name that names nothing, unless it may be a part of a secret.
    fn quotable(&self, node: NodeIndex, name: &str) -> Option<String> {
        (!self.nodes[node].merged.secret).then(|| shown(name))
    }

    /// What a value that refers to `node` is put together from.
    pub(super) fn source(&self, node: NodeIndex) -> Source {
        let Node { scope, name, merged } = &self.nodes[node];
        let environment = self.scopes[*scope].layer.environment;
        Source { environment, key: (*name).to_owned(), origin: merged.origin.environment }
    }

    pub(super) fn report(&mut self, node: NodeIndex, offset: Option<usize>, kind: ProblemKind) {
        let Node { scope, name, merged } = &self.nodes[node];
        let layer = self.scopes[*scope].layer;
        self.found.report(|| Problem {
            position: merged.value.zip(offset).map(|(value, offset)| Position::new(value, offset)),
            written_in: (merged.origin.environment != layer.environment).then(|| shown(&merged.origin.label)),
            ..problem_of(layer, name, kind)
        });
    }

    /// What is wrong with a text is wrong in every environment that inherits it, and is told once.
    pub(super) fn report_fault(&mut self, node: NodeIndex, offset: usize, fault: Fault) {
        let Node { name, merged, .. } = &self.nodes[node];
        let kind = match fault {
            Fault::Open => ProblemKind::OpenReference,
            Fault::Malformed => ProblemKind::MalformedReference,
            Fault::MalformedForeign => ProblemKind::MalformedForeignReference,
        };
        self.found.report(|| Problem {
            position: merged.value.map(|value| Position::new(value, offset)),
            ..problem_of(merged.origin, name, kind)
        });
    }

    /// The last of `circle` refers to the first.
    pub(super) fn report_loop(&mut self, circle: impl ExactSizeIterator<Item = NodeIndex> + Clone) {
        let name = |node: NodeIndex| {
            let Node { scope, name, .. } = &self.nodes[node];
            let layer = self.scopes[*scope].layer;
            let own = layer.environment == self.target;
            if own { shown(name) } else { format!("{}/{}", shown(&layer.label), shown(name)) }
        };
        let Some(start) = circle.clone().next() else { return };
        let circle = Circle::new(circle, name);
        self.report(start, None, ProblemKind::ReferenceLoop { circle });
    }

    /// What is wrong with the environment that is to be resolved, or with a variable of it.
    pub(super) fn report_of_target(&mut self, variable: &str, kind: ProblemKind) {
        let Some(scope) = self.scope_of.get(&self.target).copied().flatten() else { return };
        let Scope { layer, variables } = &self.scopes[scope];
        match variables.get(variable) {
            Some(&node) => self.report(node, None, kind),
            None => self.found.report(|| problem_of(layer, variable, kind)),
        }
    }
}

fn problem_of(layer: &Layer, variable: &str, kind: ProblemKind) -> Problem {
    let (environment, label, variable) = (layer.environment, shown(&layer.label), shown(variable));
    Problem { environment, label, variable, position: None, written_in: None, kind }
}
