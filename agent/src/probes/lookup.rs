//! Names of hosts, one at a time.
//!
//! Looking one up blocks a thread, and the agent has one to spare, which its connection to the control plane needs as well.
//! A resolver that hangs holds up one lookup of each user, never a queue of them.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use tokio::sync::Semaphore;

#[derive(Debug, thiserror::Error)]
pub(crate) enum LookupError {
    #[error("cannot resolve `{host}`")]
    Resolve {
        host: String,
        #[source]
        source: std::io::Error,
    },
    #[error("`{host}` has no address")]
    NoAddress { host: String },
    #[error("the lookup of `{host}` was given up")]
    GivenUp { host: String },
}

/// A handle; clones share the one place.
#[derive(Debug, Clone)]
pub(crate) struct Lookup {
    place: Arc<Semaphore>,
}

impl Default for Lookup {
    fn default() -> Self {
        Self { place: Arc::new(Semaphore::new(1)) }
    }
}

impl Lookup {
    /// The first address of a host; one that is an address itself needs no resolver.
    pub(crate) async fn address(&self, host: &str, port: u16) -> Result<SocketAddr, LookupError> {
        if let Ok(ip) = host.parse::<IpAddr>() {
            return Ok(SocketAddr::new(ip, port));
        }
        let given_up = || LookupError::GivenUp { host: host.to_owned() };
        let place = Arc::clone(&self.place).acquire_owned().await.map_err(|_| given_up())?;
        let name = host.to_owned();
        // Apart, so that the place stays taken until the thread is free again, also when nobody waits any more.
        let looking = tokio::spawn(async move {
            let found = tokio::net::lookup_host((name.as_str(), port)).await.map(|mut found| found.next());
            drop(place);
            found
        });
        match looking.await.map_err(|_| given_up())? {
            Ok(Some(address)) => Ok(address),
            Ok(None) => Err(LookupError::NoAddress { host: host.to_owned() }),
            Err(source) => Err(LookupError::Resolve { host: host.to_owned(), source }),
        }
    }
}
