//! What a proxy takes out of a message's head and what it adds (RFC 9110, 7.6; RFC 7239).
//!
//! What a client says of itself is believed when the client is one that may say it: a proxy before this one, by its address.
//! Of everybody else the fields are replaced, so that a program that reads them is not lied to.

use std::net::IpAddr;

use http::header::{self, Entry, HeaderMap, HeaderName, HeaderValue};
use http::request;
use http::uri::{Authority, PathAndQuery, Scheme, Uri};
use http::{Method, Version};

use super::Protocol;

const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const X_FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");
const X_FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");
const KEEP_ALIVE: HeaderName = HeaderName::from_static("keep-alive");
const PROXY_CONNECTION: HeaderName = HeaderName::from_static("proxy-connection");
const HTTP2_SETTINGS: HeaderName = HeaderName::from_static("http2-settings");

const VIA_1_0: HeaderValue = HeaderValue::from_static("1.0 outrigger");
const VIA_1_1: HeaderValue = HeaderValue::from_static("1.1 outrigger");
const VIA_2: HeaderValue = HeaderValue::from_static("2.0 outrigger");
const UPGRADE: HeaderValue = HeaderValue::from_static("upgrade");
const TRAILERS: HeaderValue = HeaderValue::from_static("trailers");
const TE: HeaderValue = HeaderValue::from_static("te");

/// Meant for this connection alone. `Trailer` is not: it announces what comes at the end of the message.
const HOP_BY_HOP: [HeaderName; 7] = [
    header::CONNECTION,
    KEEP_ALIVE,
    PROXY_CONNECTION,
    HTTP2_SETTINGS,
    header::TE,
    header::TRANSFER_ENCODING,
    header::UPGRADE,
];

/// Fields that `Connection` may not have removed: a client could otherwise strip what a proxy before this one wrote, or
/// what frames the message.
const KEPT: [HeaderName; 9] = [
    header::HOST,
    header::CONTENT_LENGTH,
    header::CONTENT_TYPE,
    header::TRAILER,
    header::FORWARDED,
    header::VIA,
    X_FORWARDED_FOR,
    X_FORWARDED_PROTO,
    X_FORWARDED_HOST,
];

/// What only a proxy may say of a client.
const SAID_BY_PROXIES: [HeaderName; 8] = [
    header::FORWARDED,
    X_FORWARDED_FOR,
    X_FORWARDED_PROTO,
    X_FORWARDED_HOST,
    HeaderName::from_static("x-forwarded-port"),
    HeaderName::from_static("x-forwarded-prefix"),
    HeaderName::from_static("x-forwarded-server"),
    HeaderName::from_static("x-real-ip"),
];

/// A client's address as the two header fields write it.
#[derive(Debug)]
pub(super) struct Peer {
    address: HeaderValue,
    element: HeaderValue,
    is_trusted: bool,
}

impl Peer {
    /// `is_trusted` when it may speak for others.
    pub(super) fn new(address: IpAddr, is_trusted: bool) -> Self {
        // An IPv4 client of a dual-stack listener is an IPv4 client.
        let address = address.to_canonical();
        let element = match address {
            IpAddr::V4(v4) => format!("for={v4};proto=http"),
            IpAddr::V6(v6) => format!("for=\"[{v6}]\";proto=http"),
        };
        let value = |text: String| HeaderValue::from_str(&text).expect("addresses are visible ASCII");
        Self { address: value(address.to_string()), element: value(element), is_trusted }
    }
}

/// The protocol that a request asks to switch to, when it may. HTTP/2 may not: its requests could not be counted. A program
/// that is spoken to in HTTP/2 cannot.
pub(super) fn wanted_upgrade(head: &request::Parts, protocol: Protocol) -> Option<HeaderValue> {
    let wanted = head.headers.get(header::UPGRADE)?;
    let asks = tokens(&head.headers).any(|token| token.eq_ignore_ascii_case("upgrade"));
    let counted = !wanted.as_bytes().eq_ignore_ascii_case(b"h2c");
    let possible = head.version == Version::HTTP_11 && protocol == Protocol::Http1;
    (asks && counted && possible).then(|| wanted.clone())
}

/// Makes a client's head one for the program, which is spoken to in `protocol`. `upgrade` is what [`wanted_upgrade`] said.
pub(super) fn rewrite_request(
    head: &mut request::Parts,
    upgrade: Option<HeaderValue>,
    peer: &Peer,
    protocol: Protocol,
) {
    let via = match head.version {
        Version::HTTP_2 => &VIA_2,
        Version::HTTP_10 => &VIA_1_0,
        _ => &VIA_1_1,
    };
    to_origin_form(head);
    let headers = &mut head.headers;
    let takes_trailers = takes_trailers(headers);
    remove_hop_by_hop(headers);
    // hyper has promised the client to go on as soon as the body is read.
    headers.remove(header::EXPECT);
    if let Some(wanted) = upgrade {
        headers.insert(header::CONNECTION, UPGRADE);
        headers.insert(header::UPGRADE, wanted);
    } else if takes_trailers {
        headers.insert(header::TE, TRAILERS);
        if protocol == Protocol::Http1 {
            headers.insert(header::CONNECTION, TE);
        }
    }
    tell_of(peer, headers, via);
    match protocol {
        Protocol::Http1 => {
            if head.version == Version::HTTP_2 {
                join_cookies(headers);
            }
            head.version = Version::HTTP_11;
        }
        Protocol::Http2 => {
            to_absolute_form(head);
            head.version = Version::HTTP_2;
        }
    }
}

fn tell_of(peer: &Peer, headers: &mut HeaderMap, via: &HeaderValue) {
    if !peer.is_trusted {
        for name in &SAID_BY_PROXIES {
            headers.remove(name);
        }
    }
    // Each proxy adds the address it saw at the end; the program counts from there as many as it knows proxies.
    append(headers, X_FORWARDED_FOR, &peer.address);
    if headers.contains_key(header::FORWARDED) {
        append(headers, header::FORWARDED, &peer.element);
    }
    append(headers, header::VIA, via);
    // What the first proxy saw is what the user typed.
    headers.entry(X_FORWARDED_PROTO).or_insert(const { HeaderValue::from_static("http") });
    if let Some(host) = headers.get(header::HOST).cloned() {
        headers.entry(X_FORWARDED_HOST).or_insert(host);
    }
}

/// Makes the program's head one for the client. `upgraded` keeps what switches the protocol.
pub(super) fn rewrite_response(headers: &mut HeaderMap, upgraded: bool) {
    let protocol = if upgraded { headers.get(header::UPGRADE).cloned() } else { None };
    remove_hop_by_hop(headers);
    if let Some(protocol) = protocol {
        headers.insert(header::CONNECTION, UPGRADE);
        headers.insert(header::UPGRADE, protocol);
    }
}

/// `GET http://host/path` is `GET /path` with that host, whatever `Host` says (RFC 9112, 3.2.2).
fn to_origin_form(head: &mut request::Parts) {
    let Some(authority) = head.uri.authority() else { return };
    // Without user name and password.
    let host = authority.as_str().rsplit('@').next().unwrap_or_default();
    if let Ok(host) = HeaderValue::from_str(host) {
        head.headers.insert(header::HOST, host);
    }
    let path = head.uri.path_and_query().cloned().unwrap_or(PathAndQuery::from_static("/"));
    head.uri = Uri::from(path);
}

/// The reverse, for HTTP/2, which has no `Host` but an authority (RFC 9113, 8.3.1).
fn to_absolute_form(head: &mut request::Parts) {
    let host = head.headers.remove(header::HOST);
    let authority =
        host.and_then(|host| Authority::from_maybe_shared(bytes::Bytes::copy_from_slice(host.as_bytes())).ok());
    let mut parts = std::mem::take(&mut head.uri).into_parts();
    if head.method == Method::OPTIONS && parts.path_and_query.as_ref().is_some_and(|path| path.as_str() == "*") {
        // The `http` crate has no `*` behind an authority.
        head.uri = Uri::from_static("*");
        return;
    }
    parts.scheme = Some(Scheme::HTTP);
    parts.authority = Some(authority.unwrap_or(const { Authority::from_static("localhost") }));
    head.uri = Uri::from_parts(parts).unwrap_or_default();
}

/// HTTP/2 may say cookies one by one, for its compression; HTTP/1.1 knows one line (RFC 9113, 8.2.3).
fn join_cookies(headers: &mut HeaderMap) {
    if headers.get_all(header::COOKIE).iter().nth(1).is_some() {
        let joined = joined(headers.get_all(header::COOKIE).iter(), b"; ");
        headers.insert(header::COOKIE, joined);
    }
}

fn takes_trailers(headers: &HeaderMap) -> bool {
    headers
        .get_all(header::TE)
        .iter()
        .flat_map(|value| value.as_bytes().split(|byte| *byte == b','))
        .any(|coding| coding.trim_ascii().eq_ignore_ascii_case(b"trailers"))
}

fn remove_hop_by_hop(headers: &mut HeaderMap) {
    let named: Vec<HeaderName> = tokens(headers)
        .filter_map(|token| HeaderName::from_bytes(token.as_bytes()).ok())
        .filter(|name| !HOP_BY_HOP.contains(name) && !KEPT.contains(name))
        .collect();
    for name in named.iter().chain(&HOP_BY_HOP) {
        headers.remove(name);
    }
}

/// What `Connection` lists.
fn tokens(headers: &HeaderMap) -> impl Iterator<Item = &str> {
    headers
        .get_all(header::CONNECTION)
        .into_iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .map(str::trim)
        // `close` and `keep-alive` are no fields of their own.
        .filter(|token| !token.is_empty() && !token.eq_ignore_ascii_case("close"))
}

/// Adds an element to a list field, which may be spread over several lines.
fn append(headers: &mut HeaderMap, name: HeaderName, element: &HeaderValue) {
    match headers.entry(name) {
        Entry::Vacant(vacant) => {
            vacant.insert(element.clone());
        }
        Entry::Occupied(mut occupied) => {
            let list = joined(occupied.iter().chain([element]), b", ");
            occupied.insert(list);
        }
    }
}

fn joined<'a>(values: impl Iterator<Item = &'a HeaderValue>, separator: &[u8]) -> HeaderValue {
    let mut list = Vec::new();
    for value in values {
        if !list.is_empty() {
            list.extend_from_slice(separator);
        }
        list.extend_from_slice(value.as_bytes());
    }
    HeaderValue::from_maybe_shared(bytes::Bytes::from(list)).expect("values joined by a separator are a value")
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::Request;

    fn rewritten_by(request: http::request::Builder, is_trusted: bool, protocol: Protocol) -> request::Parts {
        let (mut head, ()) = request.body(()).unwrap().into_parts();
        let upgrade = wanted_upgrade(&head, protocol);
        rewrite_request(&mut head, upgrade, &Peer::new("192.0.2.7".parse().unwrap(), is_trusted), protocol);
        head
    }

    fn rewritten(request: http::request::Builder) -> request::Parts {
        rewritten_by(request, true, Protocol::Http1)
    }

    fn text<'a>(head: &'a request::Parts, name: &str) -> Option<&'a str> {
        head.headers.get(name).map(|value| value.to_str().unwrap())
    }

    #[test]
    fn fields_of_the_connection_are_removed_with_those_it_names() {
        let head = rewritten(
            Request::get("/")
                .header("connection", "keep-alive, X-Secret")
                .header("connection", "host, x-forwarded-for")
                .header("keep-alive", "timeout=5")
                .header("proxy-connection", "x")
                .header("te", "gzip")
                .header("trailer", "x-sum")
                .header("upgrade", "h2c")
                .header("http2-settings", "AAMAAABk")
                .header("x-secret", "1")
                .header("x-kept", "2")
                .header("host", "example.test")
                .header("expect", "100-continue"),
        );
        let mut names: Vec<_> = head.headers.keys().map(HeaderName::as_str).collect();
        names.sort_unstable();
        let forwarded = ["x-forwarded-for", "x-forwarded-host", "x-forwarded-proto", "x-kept"];
        assert_eq!(names, [&["host", "trailer", "via"], &forwarded[..]].concat());
    }

    #[test]
    fn the_client_is_told_in_the_forms_that_are_in_use() {
        let head = rewritten(Request::get("/").header("host", "example.test"));
        assert_eq!(text(&head, "x-forwarded-for"), Some("192.0.2.7"));
        assert_eq!(text(&head, "x-forwarded-proto"), Some("http"));
        assert_eq!(text(&head, "x-forwarded-host"), Some("example.test"));
        assert_eq!(text(&head, "host"), Some("example.test"));
        assert_eq!(text(&head, "forwarded"), None);
        assert_eq!(text(&head, "via"), Some("1.1 outrigger"));
    }

    #[test]
    fn proxies_before_this_one_keep_their_word() {
        let head = rewritten(
            Request::get("/")
                .header("x-forwarded-for", "203.0.113.1")
                .header("x-forwarded-for", "203.0.113.2")
                .header("x-forwarded-proto", "https")
                .header("x-forwarded-host", "public.test")
                .header("forwarded", "for=203.0.113.1;proto=https")
                .header("via", "1.1 front")
                .header("host", "inner.test"),
        );
        assert_eq!(text(&head, "x-forwarded-for"), Some("203.0.113.1, 203.0.113.2, 192.0.2.7"));
        assert_eq!(head.headers.get_all("x-forwarded-for").iter().count(), 1);
        assert_eq!(text(&head, "x-forwarded-proto"), Some("https"));
        assert_eq!(text(&head, "x-forwarded-host"), Some("public.test"));
        assert_eq!(text(&head, "forwarded"), Some("for=203.0.113.1;proto=https, for=192.0.2.7;proto=http"));
        assert_eq!(text(&head, "via"), Some("1.1 front, 1.1 outrigger"));
    }

    #[test]
    fn what_others_say_of_themselves_is_replaced() {
        let request = SAID_BY_PROXIES.iter().fold(Request::get("/"), |request, name| request.header(name, "127.0.0.1"));
        let head = rewritten_by(request.header("host", "inner.test"), false, Protocol::Http1);
        assert_eq!(text(&head, "x-forwarded-for"), Some("192.0.2.7"));
        assert_eq!(text(&head, "x-forwarded-proto"), Some("http"));
        assert_eq!(text(&head, "x-forwarded-host"), Some("inner.test"));
        for name in ["forwarded", "x-real-ip", "x-forwarded-port", "x-forwarded-prefix", "x-forwarded-server"] {
            assert_eq!(text(&head, name), None, "{name}");
        }
    }

    #[test]
    fn between_the_versions_a_head_changes_its_form() {
        let request = || {
            Request::get("http://a.test/x?y").version(Version::HTTP_2).header("cookie", "a=1").header("cookie", "b=2")
        };
        let head = rewritten(request());
        assert_eq!((head.version, head.uri.to_string().as_str()), (Version::HTTP_11, "/x?y"));
        assert_eq!((text(&head, "host"), text(&head, "via")), (Some("a.test"), Some("2.0 outrigger")));
        assert_eq!(head.headers.get_all("cookie").iter().collect::<Vec<_>>(), ["a=1; b=2"]);

        let head = rewritten_by(Request::get("/x?y").header("host", "a.test:81"), true, Protocol::Http2);
        assert_eq!((head.version, head.uri.to_string().as_str()), (Version::HTTP_2, "http://a.test:81/x?y"));
        assert_eq!((text(&head, "host"), text(&head, "x-forwarded-host")), (None, Some("a.test:81")));
        let head = rewritten_by(Request::get("/").version(Version::HTTP_10), true, Protocol::Http2);
        assert_eq!(head.uri.to_string(), "http://localhost/");
        let head = rewritten_by(request(), true, Protocol::Http2);
        assert_eq!(head.headers.get_all("cookie").iter().count(), 2);
    }

    #[test]
    fn trailers_are_taken_on_behalf_of_who_takes_them() {
        let request = || Request::get("/").header("host", "a").header("te", "gzip;q=0.5, Trailers");
        let head = rewritten(request());
        assert_eq!((text(&head, "te"), text(&head, "connection")), (Some("trailers"), Some("te")));
        let head = rewritten_by(request(), true, Protocol::Http2);
        assert_eq!((text(&head, "te"), text(&head, "connection")), (Some("trailers"), None));
    }

    #[test]
    fn an_address_of_version_6_is_quoted_where_it_must_be() {
        let peer = Peer::new("2001:db8::1".parse().unwrap(), true);
        assert_eq!(
            (peer.address, peer.element),
            ("2001:db8::1".parse().unwrap(), "for=\"[2001:db8::1]\";proto=http".parse().unwrap())
        );
        assert_eq!(Peer::new("::ffff:192.0.2.7".parse().unwrap(), true).address, "192.0.2.7");
    }

    #[test]
    fn an_absolute_target_decides_the_host() {
        let head = rewritten(Request::get("http://user:pw@real.test:81/a?b=c").header("host", "other.test"));
        assert_eq!((head.uri.to_string().as_str(), text(&head, "host")), ("/a?b=c", Some("real.test:81")));
        assert_eq!(rewritten(Request::get("http://real.test")).uri, "/");
        assert_eq!(rewritten(Request::options("*")).uri, "*");
    }

    #[test]
    fn an_upgrade_is_passed_on_only_when_it_is_asked_for() {
        let head =
            rewritten(Request::get("/").header("connection", "keep-alive, Upgrade").header("upgrade", "websocket"));
        assert_eq!((text(&head, "connection"), text(&head, "upgrade")), (Some("upgrade"), Some("websocket")));
        let head = rewritten(Request::get("/").header("upgrade", "websocket"));
        assert_eq!(text(&head, "upgrade"), None);
    }
}
