//! One attempt of a probe: the question, its answer, and why it is not one in words that hold nothing of what the program
//! said.

mod http;

use std::net::SocketAddr;
use std::time::Duration;

use outrigger_protocol::limits;
use outrigger_protocol::probe::{HttpTarget, Port};
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::checks::Answer;
use super::lookup::{Lookup, LookupError};
use crate::config::duration;
use crate::environment::Prepared;
use crate::session::text;
use crate::supervisor::{Aside, ExitStatus, SpawnError};

/// A question with everything that it takes to put it.
#[derive(Debug)]
pub(super) enum Question {
    Http {
        target: HttpTarget,
        port: u16,
    },
    Tcp {
        host: String,
        port: u16,
    },
    /// It runs already.
    Command(Aside),
    /// It cannot be put.
    Failed(AttemptError),
}

#[derive(Debug, thiserror::Error)]
pub(super) enum AttemptError {
    #[error("the program's environment has no variable `{name}` that says the port")]
    NoPort { name: String },
    #[error("the variable `{name}` of the program's environment is not a port")]
    NotAPort { name: String },
    #[error(transparent)]
    Lookup(#[from] LookupError),
    #[error("cannot connect to {address}")]
    Connect {
        address: SocketAddr,
        #[source]
        source: std::io::Error,
    },
    #[error("the request cannot be made")]
    Request(#[source] ::http::Error),
    #[error("no HTTP answer")]
    NoAnswer(#[source] hyper::Error),
    #[error("the answer broke off")]
    BrokenAnswer(#[source] hyper::Error),
    #[error("status {status}, expected {first} to {last}")]
    Status { status: u16, first: u16, last: u16 },
    #[error("the command cannot be run")]
    NotRun(#[source] SpawnError),
    #[error("the command ended with {0}")]
    Exit(ExitStatus),
    #[error("the program ends")]
    Ending,
}

impl Question {
    /// `environment` is the program's, where the port may be written.
    pub(super) fn http(target: &HttpTarget, environment: &Prepared) -> Self {
        match resolved(&target.port, environment) {
            Ok(port) => Self::Http { target: target.clone(), port },
            Err(error) => Self::Failed(error),
        }
    }

    /// `environment` is the program's, where the port may be written.
    pub(super) fn tcp(host: &str, port: &Port, environment: &Prepared) -> Self {
        match resolved(port, environment) {
            Ok(port) => Self::Tcp { host: host.to_owned(), port },
            Err(error) => Self::Failed(error),
        }
    }

    /// What came of starting a command; `None` when the program does not run any more.
    pub(super) fn command(started: Option<Result<Aside, SpawnError>>) -> Self {
        match started {
            Some(Ok(command)) => Self::Command(command),
            Some(Err(error)) => Self::Failed(AttemptError::NotRun(error)),
            None => Self::Failed(AttemptError::Ending),
        }
    }

    /// Puts it. Whatever was begun for it ends with this future.
    pub(super) async fn put(self, limit: Duration, lookup: Lookup) -> Answer {
        let answer = match timeout(limit, self.ask(&lookup)).await {
            Ok(answer) => answer.map_err(|error| text(&error)),
            Err(_elapsed) => Err(format!("no answer within {}", duration::display(limit))),
        };
        answer.map_err(|mut words| {
            words.truncate(words.floor_char_boundary(limits::PROBE_ERROR_BYTES));
            words
        })
    }

    async fn ask(self, lookup: &Lookup) -> Result<(), AttemptError> {
        match self {
            Self::Http { target, port } => {
                let stream = connect(lookup, &target.host, port).await?;
                http::get(stream, &target, port).await
            }
            // Accepted is enough: what is behind it may want to be spoken to first.
            Self::Tcp { host, port } => connect(lookup, &host, port).await.map(drop),
            Self::Command(mut command) => match command.ended().await {
                Some(status) if status.is_success() => Ok(()),
                Some(status) => Err(AttemptError::Exit(status)),
                None => Err(AttemptError::Ending),
            },
            Self::Failed(error) => Err(error),
        }
    }
}

fn resolved(port: &Port, environment: &Prepared) -> Result<u16, AttemptError> {
    let name = match port {
        Port::Number(number) => return Ok(*number),
        Port::Variable(name) => name,
    };
    let value = environment.value(name.as_bytes()).ok_or_else(|| AttemptError::NoPort { name: name.clone() })?;
    let number = std::str::from_utf8(value).ok().and_then(|value| value.trim().parse().ok());
    number.filter(|number| *number != 0).ok_or_else(|| AttemptError::NotAPort { name: name.clone() })
}

async fn connect(lookup: &Lookup, host: &str, port: u16) -> Result<TcpStream, AttemptError> {
    let address = lookup.address(host, port).await?;
    TcpStream::connect(address).await.map_err(|source| AttemptError::Connect { address, source })
}
