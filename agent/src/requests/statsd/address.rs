//! Where StatsD is listened for: `127.0.0.1:8125`, `localhost:8125` or `unix:/run/app/statsd.sock`.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::str::FromStr;

/// `sun_path` without its NUL (unix(7)).
const PATH_BYTES: usize = 107;

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StatsdAddress {
    Udp(SocketAddr),
    /// Absolute, for the program that is told of it may work in another directory.
    Unix(PathBuf),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ParseStatsdAddressError {
    #[error("expected an IP address and a port, such as 127.0.0.1:8125, or unix:PATH")]
    Form,
    #[error("the path of a socket is absolute: the program may work in another directory")]
    Relative,
    #[error("the path of a socket has at most {PATH_BYTES} bytes")]
    TooLong,
}

impl FromStr for StatsdAddress {
    type Err = ParseStatsdAddressError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if let Some(path) = text.strip_prefix("unix:") {
            // As DogStatsD's clients write it.
            let path = path.strip_prefix("//").unwrap_or(path);
            return match path {
                _ if !path.starts_with('/') => Err(ParseStatsdAddressError::Relative),
                _ if path.len() > PATH_BYTES => Err(ParseStatsdAddressError::TooLong),
                _ => Ok(Self::Unix(PathBuf::from(path))),
            };
        }
        if let Some(port) = text.strip_prefix("localhost:") {
            let port = port.parse().map_err(|_| ParseStatsdAddressError::Form)?;
            return Ok(Self::Udp(SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), port)));
        }
        text.parse().map(Self::Udp).map_err(|_| ParseStatsdAddressError::Form)
    }
}

impl StatsdAddress {
    /// Whether nothing from another machine can come there.
    #[must_use]
    pub fn is_local(&self) -> bool {
        match self {
            Self::Udp(address) => address.ip().is_loopback(),
            Self::Unix(_) => true,
        }
    }
}

impl fmt::Display for StatsdAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Udp(address) => address.fmt(f),
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_a_port_or_a_path() {
        let parsed = |text: &str| text.parse::<StatsdAddress>();
        for (text, shown, is_local) in [
            ("127.0.0.1:8125", "127.0.0.1:8125", true),
            ("localhost:8125", "127.0.0.1:8125", true),
            ("[::1]:0", "[::1]:0", true),
            ("0.0.0.0:8125", "0.0.0.0:8125", false),
            ("unix:/run/s.sock", "unix:/run/s.sock", true),
            ("unix:///run/s.sock", "unix:/run/s.sock", true),
        ] {
            let address = parsed(text).expect(text);
            assert_eq!((address.to_string().as_str(), address.is_local()), (shown, is_local));
        }
        assert_eq!(parsed("8125"), Err(ParseStatsdAddressError::Form));
        assert_eq!(parsed("app:8125"), Err(ParseStatsdAddressError::Form));
        assert_eq!(parsed("unix:s.sock"), Err(ParseStatsdAddressError::Relative));
        assert_eq!(parsed(&format!("unix:/{}", "x".repeat(PATH_BYTES))), Err(ParseStatsdAddressError::TooLong));
    }
}
