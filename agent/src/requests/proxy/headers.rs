//! What a proxy takes out of a message's head and what it adds (RFC 9110, 7.6; RFC 7239).

use std::net::IpAddr;

use http::header::{self, Entry, HeaderMap, HeaderName, HeaderValue};
use http::request;
use http::uri::{PathAndQuery, Uri};

const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const X_FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");
const X_FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");
const KEEP_ALIVE: HeaderName = HeaderName::from_static("keep-alive");
const PROXY_CONNECTION: HeaderName = HeaderName::from_static("proxy-connection");

const VIA: HeaderValue = HeaderValue::from_static("1.1 outrigger");
const UPGRADE: HeaderValue = HeaderValue::from_static("upgrade");

/// Meant for this connection alone.
const HOP_BY_HOP: [HeaderName; 7] = [
    header::CONNECTION,
    KEEP_ALIVE,
    PROXY_CONNECTION,
    header::TE,
    header::TRAILER,
    header::TRANSFER_ENCODING,
    header::UPGRADE,
];

/// Fields that `Connection` may not have removed: a client could otherwise strip what a proxy before this one wrote, or
/// what frames the message.
const KEPT: [HeaderName; 8] = [
    header::HOST,
    header::CONTENT_LENGTH,
    header::CONTENT_TYPE,
    header::FORWARDED,
    header::VIA,
    X_FORWARDED_FOR,
    X_FORWARDED_PROTO,
    X_FORWARDED_HOST,
];

/// A client's address as the two header fields write it.
#[derive(Debug)]
pub(super) struct Peer {
    address: HeaderValue,
    element: HeaderValue,
}

impl Peer {
    pub(super) fn new(address: IpAddr) -> Self {
        // An IPv4 client of a dual-stack listener is an IPv4 client.
        let address = address.to_canonical();
        let element = match address {
            IpAddr::V4(v4) => format!("for={v4};proto=http"),
            IpAddr::V6(v6) => format!("for=\"[{v6}]\";proto=http"),
        };
        let value = |text: String| HeaderValue::from_str(&text).expect("addresses are visible ASCII");
        Self { address: value(address.to_string()), element: value(element) }
    }
}

/// The protocol that a request asks to switch to, when it may. HTTP/2 may not: its requests could not be counted.
pub(super) fn wanted_upgrade(head: &request::Parts) -> Option<HeaderValue> {
    let protocol = head.headers.get(header::UPGRADE)?;
    let asks = tokens(&head.headers).any(|token| token.eq_ignore_ascii_case("upgrade"));
    let counted = !protocol.as_bytes().eq_ignore_ascii_case(b"h2c");
    (asks && counted && head.version == http::Version::HTTP_11).then(|| protocol.clone())
}

/// Makes a client's head one for the program. `upgrade` is what [`wanted_upgrade`] said.
pub(super) fn rewrite_request(head: &mut request::Parts, upgrade: Option<HeaderValue>, peer: &Peer) {
    to_origin_form(head);
    head.version = http::Version::HTTP_11;
    let headers = &mut head.headers;
    remove_hop_by_hop(headers);
    // hyper has promised the client to go on as soon as the body is read.
    headers.remove(header::EXPECT);
    if let Some(protocol) = upgrade {
        headers.insert(header::CONNECTION, UPGRADE);
        headers.insert(header::UPGRADE, protocol);
    }
    // Each proxy adds the address it saw at the end; the program counts from there as many as it knows proxies.
    append(headers, X_FORWARDED_FOR, &peer.address);
    if headers.contains_key(header::FORWARDED) {
        append(headers, header::FORWARDED, &peer.element);
    }
    append(headers, header::VIA, &VIA);
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
            let mut list = Vec::new();
            for value in occupied.iter().chain([element]) {
                if !list.is_empty() {
                    list.extend_from_slice(b", ");
                }
                list.extend_from_slice(value.as_bytes());
            }
            let list = HeaderValue::from_maybe_shared(bytes::Bytes::from(list));
            occupied.insert(list.expect("values joined by a comma are a value"));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::Request;

    fn rewritten(request: http::request::Builder) -> request::Parts {
        let (mut head, ()) = request.body(()).unwrap().into_parts();
        let upgrade = wanted_upgrade(&head);
        rewrite_request(&mut head, upgrade, &Peer::new("192.0.2.7".parse().unwrap()));
        head
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
                .header("te", "trailers")
                .header("upgrade", "h2c")
                .header("x-secret", "1")
                .header("x-kept", "2")
                .header("host", "example.test")
                .header("expect", "100-continue"),
        );
        let mut names: Vec<_> = head.headers.keys().map(HeaderName::as_str).collect();
        names.sort_unstable();
        assert_eq!(names, ["host", "via", "x-forwarded-for", "x-forwarded-host", "x-forwarded-proto", "x-kept"]);
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
    fn an_address_of_version_6_is_quoted_where_it_must_be() {
        let peer = Peer::new("2001:db8::1".parse().unwrap());
        assert_eq!(
            (peer.address, peer.element),
            ("2001:db8::1".parse().unwrap(), "for=\"[2001:db8::1]\";proto=http".parse().unwrap())
        );
        assert_eq!(Peer::new("::ffff:192.0.2.7".parse().unwrap()).address, "192.0.2.7");
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
