//! Whether the head of an HTTP/1.1 request may be believed, and where its message ends.
//!
//! hyper reads the head again and would repair some of what is refused here: a message with both a length and chunks, a
//! length said twice. What two readers may understand differently is how requests are smuggled past one of them (RFC 9112,
//! 6.3 and 11.2), so the doubtful is not passed on in any form: docs/adr/0011.

use http::StatusCode;
use httparse::{EMPTY_HEADER, Header, Request, Status};

use super::refusal::{Kind, Refusal};

/// Fields of a head.
const MAX_FIELDS: usize = 100;

/// What follows a head.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Framing {
    /// The next head.
    Nothing,
    /// So many bytes, never 0.
    Length(u64),
    Chunked,
}

/// A look at bytes that begin with a head.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Look {
    /// The head ends after so many bytes.
    Whole(usize, Framing),
    /// It has not ended.
    Partial,
    Refused(Refusal),
}

/// Looks at the start of a message.
pub(super) fn look(bytes: &[u8], limit: usize) -> Look {
    let mut fields = [EMPTY_HEADER; MAX_FIELDS];
    let mut request = Request::new(&mut fields);
    match request.parse(bytes) {
        Ok(Status::Complete(length)) if length > limit => Look::Refused(TOO_LARGE),
        Ok(Status::Complete(length)) => match framing(&request) {
            Ok(framing) => Look::Whole(length, framing),
            Err(refusal) => Look::Refused(refusal),
        },
        Ok(Status::Partial) if bytes.len() >= limit => Look::Refused(TOO_LARGE),
        Ok(Status::Partial) => Look::Partial,
        Err(error) => Look::Refused(malformed(error, bytes)),
    }
}

const TOO_LARGE: Refusal = Refusal::new(
    StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE,
    Kind::RequestDenied,
    "the request line and the header fields are larger than the limit",
);

fn malformed(error: httparse::Error, bytes: &[u8]) -> Refusal {
    use httparse::Error;
    match error {
        Error::TooManyHeaders => Refusal::new(
            StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE,
            Kind::RequestDenied,
            "there are more than 100 header fields",
        ),
        Error::Version => Refusal::new(
            StatusCode::HTTP_VERSION_NOT_SUPPORTED,
            Kind::RequestError,
            "neither HTTP/1.0, HTTP/1.1 nor the preface of HTTP/2",
        ),
        Error::HeaderName if bytes.windows(2).any(|pair| pair == b"\n " || pair == b"\n\t") => {
            Refusal::bad_request("a header field is folded over lines")
        }
        Error::HeaderName => Refusal::bad_request("a header field's name is malformed"),
        Error::HeaderValue => Refusal::bad_request("a header field's value is malformed"),
        Error::NewLine => Refusal::bad_request("a line does not end as it must"),
        Error::Token | Error::Status => Refusal::bad_request("the request line is malformed"),
    }
}

fn framing(request: &Request<'_, '_>) -> Result<Framing, Refusal> {
    let is_1_1 = request.version == Some(1);
    let mut hosts = values(request.headers, "host");
    match (hosts.next(), hosts.next()) {
        (None, _) if is_1_1 => return Err(Refusal::bad_request("there is no Host")),
        (Some(host), None) if !is_host(host) => return Err(Refusal::bad_request("the Host is malformed")),
        (Some(_), Some(_)) => return Err(Refusal::bad_request("there is more than one Host")),
        _ => {}
    }
    let mut lengths = values(request.headers, "content-length");
    let mut codings = values(request.headers, "transfer-encoding");
    match (lengths.next(), codings.next()) {
        (None, None) => Ok(Framing::Nothing),
        (Some(_), Some(_)) => Err(Refusal::bad_request("there are both Content-Length and Transfer-Encoding")),
        (Some(_), None) if lengths.next().is_some() => {
            Err(Refusal::bad_request("there is more than one Content-Length"))
        }
        (Some(length), None) => match number(length) {
            Some(0) => Ok(Framing::Nothing),
            Some(length) => Ok(Framing::Length(length)),
            None => Err(Refusal::bad_request("the Content-Length is not a number")),
        },
        (None, Some(_)) if !is_1_1 => Err(Refusal::bad_request("HTTP/1.0 has no Transfer-Encoding")),
        (None, Some(coding)) if coding.eq_ignore_ascii_case(b"chunked") && codings.next().is_none() => {
            Ok(Framing::Chunked)
        }
        (None, Some(_)) => Err(Refusal::new(
            StatusCode::NOT_IMPLEMENTED,
            Kind::RequestError,
            "the only Transfer-Encoding that is understood is chunked",
        )),
    }
}

fn values<'a>(fields: &'a [Header<'_>], name: &'static str) -> impl Iterator<Item = &'a [u8]> {
    fields.iter().filter(move |field| field.name.eq_ignore_ascii_case(name)).map(|field| field.value)
}

/// Digits alone: no sign, no space, no list. hyper keeps the two largest numbers for itself.
fn number(text: &[u8]) -> Option<u64> {
    let digits = !text.is_empty() && text.iter().all(u8::is_ascii_digit);
    let number = std::str::from_utf8(text).ok().filter(|_| digits)?.parse().ok()?;
    (number < u64::MAX - 2).then_some(number)
}

/// What may stand in a host and port (RFC 9110, 7.2): no list, no path, no user. It may be empty.
fn is_host(text: &[u8]) -> bool {
    let allowed = |byte: &u8| byte.is_ascii_graphic() && !b",/?#@\\\"<>".contains(byte);
    text.iter().all(allowed)
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMIT: usize = 8 * 1024;

    fn seen(fields: &str) -> Look {
        look(format!("POST /a HTTP/1.1\r\n{fields}\r\n\r\n").as_bytes(), LIMIT)
    }

    fn why(look: Look) -> (u16, String) {
        let Look::Refused(refusal) = look else { panic!("{look:?} is not refused") };
        (refusal.status.as_u16(), refusal.why.into_owned())
    }

    #[test]
    fn a_head_says_where_its_message_ends() {
        for (fields, framing) in [
            ("host: a", Framing::Nothing),
            ("host: a\r\ncontent-length: 0", Framing::Nothing),
            ("host: a\r\nContent-Length: 42", Framing::Length(42)),
            ("host: [::1]:80\r\ntransfer-encoding: Chunked", Framing::Chunked),
            ("host:", Framing::Nothing),
        ] {
            let length = "POST /a HTTP/1.1\r\n\r\n\r\n".len() + fields.len();
            assert_eq!(seen(fields), Look::Whole(length, framing), "{fields}");
        }
        assert_eq!(look(b"GET / HTTP/1.0\r\n\r\nrest", LIMIT), Look::Whole(18, Framing::Nothing));
        assert_eq!(look(b"GET / HTTP/1.1\r\nhost: a\r\n", LIMIT), Look::Partial);
    }

    #[test]
    fn what_two_readers_could_understand_differently_is_refused() {
        for (fields, reason) in [
            ("host: a\r\ncontent-length: 5\r\ntransfer-encoding: chunked", "both Content-Length and"),
            ("host: a\r\ntransfer-encoding: chunked\r\ncontent-length: 5", "both Content-Length and"),
            ("host: a\r\ncontent-length: 5\r\ncontent-length: 5", "more than one Content-Length"),
            ("host: a\r\ncontent-length: 5, 5", "not a number"),
            ("host: a\r\ncontent-length: +5", "not a number"),
            ("host: a\r\ncontent-length: 18446744073709551615", "not a number"),
            ("host: a\r\ncontent-length:", "not a number"),
            ("host: a\r\nx: 1\r\n folded", "folded"),
            ("host: a\r\nHost: a", "more than one Host"),
            ("host: a, b", "Host is malformed"),
            ("x: y", "no Host"),
            ("host : a", "name is malformed"),
            ("host: a\r\nx: \0", "value is malformed"),
        ] {
            let (status, why) = why(seen(fields));
            assert!(status == 400 && why.contains(reason), "{fields:?}: {status} {why}");
        }
    }

    #[test]
    fn what_is_not_understood_says_so() {
        assert_eq!(why(seen("host: a\r\ntransfer-encoding: gzip, chunked")).0, 501);
        assert_eq!(why(seen("host: a\r\ntransfer-encoding: chunked\r\ntransfer-encoding: chunked")).0, 501);
        assert_eq!(why(look(b"GET / HTTP/1.0\r\ntransfer-encoding: chunked\r\n\r\n", LIMIT)).0, 400);
        assert_eq!(why(look(b"GET / HTTP/3.0\r\n\r\n", LIMIT)).0, 505);
        assert_eq!(why(look(b"\x16\x03\x01\x02\x00\x01", LIMIT)).0, 400, "TLS");
    }

    #[test]
    fn heads_are_bounded_in_bytes_and_fields() {
        let fields = "x: y\r\n".repeat(100);
        assert_eq!(why(seen(&format!("host: a\r\n{fields}z: z"))).0, 431);
        assert_eq!(why(seen(&format!("host: a\r\nx: {}", "y".repeat(LIMIT)))).0, 431);
        assert_eq!(why(look(&[b'a'; LIMIT], LIMIT)).0, 431);
    }
}
