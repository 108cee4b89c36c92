//! The reverse proxy's part of the command line.

use std::net::SocketAddr;
use std::str::FromStr;

use clap::Args;

use super::duration;
use crate::requests::proxy::{LimitError, Network, Protocol, ProxyLimits, ProxyRoute};

#[derive(Debug, Args)]
pub(super) struct ProxyArgs {
    /// Measure requests: listen on LISTEN for HTTP/1.1, HTTP/2 without TLS and WebSocket, and pass every request on to
    /// UPSTREAM, in HTTP/1.1 or, as h2c://ADDRESS, in HTTP/2.
    #[arg(long = "proxy", value_name = "LISTEN=UPSTREAM", help_heading = "Observation")]
    route: Option<ProxyRoute>,

    /// Set a limit of the proxy: connections, requests, streams, head-bytes, body-bytes, head-time, keep-alive, idle-time,
    /// connect-time, restart-wait, response-time or drain-time, as in response-time=5m. Repeatable.
    #[arg(long = "proxy-limit", value_name = "NAME=VALUE", requires = "route", help_heading = "Observation")]
    limits: Vec<Limit>,

    /// Believe clients of this network what they say in X-Forwarded-For and its like; of others but loopback it is
    /// replaced. For proxies in front of this one, as in 10.0.0.0/8. Repeatable.
    #[arg(long = "proxy-trust", value_name = "NETWORK", requires = "route", help_heading = "Observation")]
    trusted: Vec<Network>,
}

/// Checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProxyConfig {
    pub route: ProxyRoute,
    pub limits: ProxyLimits,
}

#[derive(Debug, Clone)]
struct Limit {
    name: String,
    value: String,
}

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("--proxy-limit {given}")]
pub struct ProxyConfigError {
    given: String,
    #[source]
    source: LimitError,
}

impl ProxyArgs {
    pub(super) fn compile(self) -> Result<Option<ProxyConfig>, ProxyConfigError> {
        let mut limits = ProxyLimits { trusted: self.trusted, ..ProxyLimits::default() };
        for Limit { name, value } in self.limits {
            limits
                .set(&name, &value, duration::parse)
                .map_err(|source| ProxyConfigError { given: format!("{name}={value}"), source })?;
        }
        Ok(self.route.map(|route| ProxyConfig { route, limits }))
    }
}

impl FromStr for Limit {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (name, value) = text.split_once('=').ok_or("expected NAME=VALUE, for example response-time=5m")?;
        Ok(Self { name: name.to_owned(), value: value.to_owned() })
    }
}

impl FromStr for ProxyRoute {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (listen, upstream) = text.split_once('=').ok_or("expected LISTEN=UPSTREAM")?;
        let (protocol, upstream) = match upstream.split_once("://") {
            None => (Protocol::Http1, upstream),
            Some(("http", address)) => (Protocol::Http1, address),
            Some(("h2c", address)) => (Protocol::Http2, address),
            Some((scheme, _)) => return Err(format!("UPSTREAM is http:// or h2c://, and not {scheme}://")),
        };
        let address = |side: &str, text: &str| {
            text.parse::<SocketAddr>().map_err(|_| format!("{side} `{text}` is not an IP address and port"))
        };
        Ok(Self { listen: address("LISTEN", listen)?, upstream: address("UPSTREAM", upstream)?, protocol })
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use clap::Parser;

    use super::*;

    #[derive(Debug, Parser)]
    struct Line {
        #[command(flatten)]
        proxy: ProxyArgs,
    }

    fn parsed(arguments: &[&str]) -> Result<ProxyArgs, String> {
        let line = ["agent"].iter().chain(arguments);
        Line::try_parse_from(line).map(|line| line.proxy).map_err(|error| error.to_string())
    }

    #[test]
    fn an_upstream_says_what_it_is_spoken_to_in() {
        for (upstream, protocol) in [
            ("127.0.0.1:2", Protocol::Http1),
            ("http://127.0.0.1:2", Protocol::Http1),
            ("h2c://127.0.0.1:2", Protocol::Http2),
        ] {
            let route: ProxyRoute = format!("[::1]:1={upstream}").parse().unwrap();
            assert_eq!((route.protocol, route.upstream), (protocol, "127.0.0.1:2".parse().unwrap()));
        }
        for (route, reason) in [
            ("127.0.0.1:1", "LISTEN=UPSTREAM"),
            ("127.0.0.1:1=https://127.0.0.1:2", "http:// or h2c://"),
            ("localhost:1=127.0.0.1:2", "LISTEN `localhost:1` is not an IP address"),
            ("127.0.0.1:1=h2c://127.0.0.1", "UPSTREAM `127.0.0.1` is not an IP address"),
        ] {
            let error = route.parse::<ProxyRoute>().unwrap_err();
            assert!(error.contains(reason), "{error}");
        }
    }

    #[test]
    fn limits_are_read_with_the_proxy_and_not_without() {
        let route = ["--proxy", "127.0.0.1:1=127.0.0.1:2"];
        let with = |more: &[&str]| parsed(&[&route, more].concat()).unwrap().compile();
        let config = with(&["--proxy-limit", "response-time=5m", "--proxy-trust", "10.0.0.0/8"]).unwrap().unwrap();
        assert_eq!(config.limits.response_timeout, Duration::from_secs(300));
        assert_eq!(config.limits.trusted, ["10.0.0.0/8".parse().unwrap()]);
        assert_eq!(with(&["--proxy-limit", "x=1"]).unwrap_err().to_string(), "--proxy-limit x=1");
        assert!(parsed(&["--proxy-limit", "requests=5"]).is_err(), "it limits nothing");
        assert!(parsed(&[&route[..], &["--proxy-limit", "requests"]].concat()).unwrap_err().contains("NAME=VALUE"));
        assert_eq!(parsed(&[]).unwrap().compile(), Ok(None));
    }
}
