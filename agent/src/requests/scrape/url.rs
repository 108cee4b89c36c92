//! Where a program serves its metrics: `http://127.0.0.1:9090/metrics`.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

use http::uri::{PathAndQuery, Scheme};
use http::{HeaderValue, Uri};

/// An address of HTTP without TLS, checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ScrapeUrl {
    host: String,
    port: u16,
    path: PathAndQuery,
    authority: HeaderValue,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ParseScrapeUrlError {
    #[error("expected a URL such as http://127.0.0.1:9090/metrics")]
    Form,
    #[error("expected http://: the agent speaks no TLS to the program beside it")]
    Scheme,
    #[error("a URL in an argument is visible to every process of the machine: no user or password in it")]
    Credentials,
}

impl FromStr for ScrapeUrl {
    type Err = ParseScrapeUrlError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let uri: Uri = text.parse().map_err(|_| ParseScrapeUrlError::Form)?;
        if uri.scheme().is_some_and(|scheme| *scheme != Scheme::HTTP) {
            return Err(ParseScrapeUrlError::Scheme);
        }
        let (Some(_), Some(authority)) = (uri.scheme(), uri.authority()) else { return Err(ParseScrapeUrlError::Form) };
        if authority.as_str().contains('@') {
            return Err(ParseScrapeUrlError::Credentials);
        }
        let host = authority.host().trim_start_matches('[').trim_end_matches(']').to_owned();
        // A port that is none is left out by the parser.
        let has_port = authority.as_str().ends_with(|c: char| c.is_ascii_digit())
            && authority.as_str().rsplit_once(':').is_some_and(|(_, port)| !port.contains(']'));
        let port = match authority.port_u16() {
            Some(port) if port != 0 => port,
            None if !has_port && !authority.as_str().ends_with(':') => 80,
            _ => return Err(ParseScrapeUrlError::Form),
        };
        let authority = HeaderValue::from_str(authority.as_str()).map_err(|_| ParseScrapeUrlError::Form)?;
        let path = uri.path_and_query().cloned().unwrap_or_else(|| PathAndQuery::from_static("/"));
        Ok(Self { host, port, path, authority })
    }
}

impl ScrapeUrl {
    /// Whether it cannot leave this machine.
    #[must_use]
    pub fn is_loopback(&self) -> bool {
        self.is_localhost() || self.host.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
    }

    /// A name that means this machine whatever a resolver says (RFC 6761, 6.3).
    pub(super) fn is_localhost(&self) -> bool {
        self.host.eq_ignore_ascii_case("localhost")
    }

    pub(super) fn host(&self) -> &str {
        &self.host
    }

    pub(super) const fn port(&self) -> u16 {
        self.port
    }

    pub(super) const fn path(&self) -> &PathAndQuery {
        &self.path
    }

    pub(super) const fn authority(&self) -> &HeaderValue {
        &self.authority
    }
}

impl fmt::Display for ScrapeUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // What is after a `?` may be a token.
        write!(f, "http://{}{}", self.authority.to_str().unwrap_or_default(), self.path.path())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn url(text: &str) -> Result<ScrapeUrl, ParseScrapeUrlError> {
        text.parse()
    }

    #[test]
    fn a_url_has_a_host_a_port_and_a_path() {
        let parsed = url("http://[::1]:9090/metrics?format=text").expect("a URL");
        assert_eq!((parsed.host(), parsed.port(), parsed.path().as_str()), ("::1", 9090, "/metrics?format=text"));
        assert_eq!(parsed.to_string(), "http://[::1]:9090/metrics");
        let parsed = url("http://localhost").expect("a URL");
        assert_eq!((parsed.port(), parsed.path().as_str()), (80, "/"));
    }

    #[test]
    fn only_this_machine_is_loopback() {
        for text in ["http://127.0.0.1/", "http://127.8.0.1:1/", "http://[::1]/", "http://LocalHost:9/"] {
            assert!(url(text).expect("a URL").is_loopback(), "{text}");
        }
        for text in ["http://10.0.0.1/", "http://app:9090/metrics", "http://localhost.example/", "http://0.0.0.0:1/"] {
            assert!(!url(text).expect("a URL").is_loopback(), "{text}");
        }
    }

    #[test]
    fn anything_else_is_refused_in_words() {
        assert_eq!(url("https://localhost/metrics"), Err(ParseScrapeUrlError::Scheme));
        assert_eq!(url("http://user:secret@localhost/"), Err(ParseScrapeUrlError::Credentials));
        for text in
            ["", "/metrics", "localhost:9090", "http://", "http://localhost:0/", "http://localhost:99999/", "a b"]
        {
            assert_eq!(url(text), Err(ParseScrapeUrlError::Form), "{text}");
        }
    }
}
