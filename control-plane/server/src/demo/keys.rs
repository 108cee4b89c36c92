//! The keys that end the demo. A terminal that draws is in raw mode, where ctrl-c is a key and no signal.

use std::io;
use std::time::Duration;

use ratatui::crossterm::event::{self, Event, KeyCode, KeyEvent, KeyEventKind, KeyModifiers};
use tokio::sync::oneshot;

/// How long the reader may outlive the wish to hear from it.
const PATIENCE: Duration = Duration::from_millis(100);

/// Resolves when somebody presses ctrl-c, ctrl-d, `q` or escape, or when the terminal cannot be read any more.
pub(super) async fn end() {
    let (ended, end) = oneshot::channel();
    // Reading a terminal blocks; the thread ends with the receiver, or with the key.
    tokio::task::spawn_blocking(move || {
        while !ended.is_closed() {
            match next() {
                Ok(Some(key)) if ends(&key) => break,
                Ok(_) => {}
                Err(error) => {
                    tracing::debug!(%error, "the keys cannot be read");
                    break;
                }
            }
        }
        // Nobody may be waiting any more.
        let _ = ended.send(());
    });
    // A sender that is dropped means the same.
    let _ = end.await;
}

fn next() -> io::Result<Option<KeyEvent>> {
    if !event::poll(PATIENCE)? {
        return Ok(None);
    }
    Ok(match event::read()? {
        Event::Key(key) if key.kind == KeyEventKind::Press => Some(key),
        _ => None,
    })
}

fn ends(key: &KeyEvent) -> bool {
    match key.code {
        KeyCode::Char('c' | 'd') => key.modifiers.contains(KeyModifiers::CONTROL),
        KeyCode::Char('q') | KeyCode::Esc => true,
        _ => false,
    }
}
