use outrigger_catalog::{CatalogError, FieldProblem};

/// Why a call of the engine did nothing.
#[derive(Debug, thiserror::Error)]
pub enum EngineError {
    #[error(transparent)]
    Catalog(#[from] CatalogError),
    /// Everything that is wrong with what was asked, at least one.
    #[error("validation: {}", listed(.0))]
    Invalid(Vec<FieldProblem>),
    /// The deployment is not in a state that allows it.
    #[error("{what}")]
    State { what: String },
    /// Too much is being evaluated or compiled at once.
    #[error("overloaded")]
    Overloaded,
    /// The control plane is shutting down.
    #[error("shutting down")]
    Draining,
    /// A policy that the catalog has cannot be used any more.
    #[error("the policy cannot be loaded: {reason}")]
    UnusablePolicy { reason: String },
    /// A part of the engine ended in the middle of it.
    #[error("an internal task ended early while {operation}")]
    Interrupted { operation: &'static str },
}

impl EngineError {
    pub(crate) fn invalid(field: &str, problem: impl Into<String>) -> Self {
        Self::Invalid(vec![FieldProblem { field: field.to_owned(), problem: problem.into() }])
    }

    pub(crate) fn state(what: impl Into<String>) -> Self {
        Self::State { what: what.into() }
    }
}

/// Why the engine could not be started.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    #[error("cannot start the threads that evaluate policies")]
    Threads(#[source] std::io::Error),
    #[error("cannot read the deployments")]
    Read(#[source] CatalogError),
    #[error("cannot keep the built-in policy {name}")]
    Builtin {
        name: &'static str,
        #[source]
        source: Box<EngineError>,
    },
    #[error("two drivers are called {name}")]
    Drivers { name: &'static str },
}

fn listed(problems: &[FieldProblem]) -> String {
    problems.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ")
}
