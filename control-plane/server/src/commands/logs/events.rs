//! Server-sent events, as far as the control plane uses them (WHATWG HTML, 9.2).

use reqwest::Response;
use serde_json::Value;

/// One event is a line of a program, which has 64 KiB at most; as JSON each byte of it may take six.
const LARGEST_EVENT: usize = 1024 * 1024;

#[derive(Debug, PartialEq, Eq)]
pub(super) enum Event {
    Line {
        id: String,
        data: String,
    },
    /// There is no more, and why.
    End(String),
}

#[derive(Debug, thiserror::Error)]
pub(super) enum EventError {
    #[error("the stream broke off")]
    Broken(#[from] reqwest::Error),
    #[error("an event of the stream is larger than {LARGEST_EVENT} bytes")]
    TooLarge,
}

/// The events of an answer.
#[derive(Debug)]
pub(super) struct Events {
    response: Response,
    read: Vec<u8>,
    /// How much of it was taken.
    taken: usize,
}

impl Events {
    pub(super) const fn new(response: Response) -> Self {
        Self { response, read: Vec::new(), taken: 0 }
    }

    /// The next event; `None` is the end. Dropping the future loses nothing.
    pub(super) async fn next(&mut self) -> Result<Option<Event>, EventError> {
        loop {
            let rest = &self.read[self.taken..];
            if let Some(length) = rest.windows(2).position(|pair| pair == b"\n\n") {
                let event = parse(&String::from_utf8_lossy(&rest[..length]));
                self.taken += length + 2;
                match event {
                    Some(event) => return Ok(Some(event)),
                    None => continue,
                }
            }
            self.read.drain(..std::mem::take(&mut self.taken));
            if self.read.len() > LARGEST_EVENT {
                return Err(EventError::TooLarge);
            }
            match self.response.chunk().await? {
                Some(chunk) => self.read.extend_from_slice(&chunk),
                None => return Ok(None),
            }
        }
    }
}

/// `None` for a comment, and for what this program does not know.
fn parse(event: &str) -> Option<Event> {
    let field = |name: &str| event.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": "));
    let data = field("data")?;
    match field("event") {
        None => Some(Event::Line { id: field("id")?.to_owned(), data: data.to_owned() }),
        Some("end") => {
            let reason = serde_json::from_str::<Value>(data).ok()?["reason"].as_str()?.to_owned();
            Some(Event::End(reason))
        }
        Some(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_ends_and_comments_are_told_apart() {
        let line = Event::Line { id: "7".to_owned(), data: "{\"message\":\"id: 8\"}".to_owned() };
        assert_eq!(parse("id: 7\ndata: {\"message\":\"id: 8\"}\n\n"), Some(line));
        let end = Some(Event::End("deleted".to_owned()));
        assert_eq!(parse("event: end\ndata: {\"reason\":\"deleted\"}\n\n"), end);
        for other in [":\n\n", "retry: 1000\n\n", "event: news\ndata: {}\n\n", "data: {}\n\n"] {
            assert_eq!(parse(other), None, "{other:?}");
        }
    }
}
