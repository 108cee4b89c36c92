//! How long a program may be away before its clients are told.

use std::time::Duration;

use tokio::time::Instant;

/// Refusals since the program last accepted a connection.
#[derive(Debug, Default)]
pub(super) struct Absence {
    /// The first and the newest that anybody met.
    refused: Option<(Instant, Instant)>,
}

impl Absence {
    /// The program refused a connection. Whether to wait for `pause` and try again: as long as that is within `window` of the
    /// first refusal. When nobody asked for that long, the program may have been there in between, and it begins anew.
    pub(super) fn is_bearable(&mut self, now: Instant, pause: Duration, window: Duration) -> bool {
        let known = self.refused.filter(|(_, newest)| now.saturating_duration_since(*newest) <= window);
        let first = known.map_or(now, |(first, _)| first);
        self.refused = Some((first, now));
        now.saturating_duration_since(first) + pause <= window
    }

    /// The program accepted a connection.
    pub(super) fn end(&mut self) {
        self.refused = None;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const WINDOW: Duration = Duration::from_secs(5);
    const PAUSE: Duration = Duration::from_millis(100);

    #[test]
    fn an_absence_is_borne_for_its_window_by_all_together() {
        let (mut absence, start) = (Absence::default(), Instant::now());
        let mut bearable = |after: Duration| absence.is_bearable(start + after, PAUSE, WINDOW);
        assert!(bearable(Duration::ZERO) && bearable(WINDOW - PAUSE));
        assert!(!bearable(WINDOW) && !bearable(2 * WINDOW), "as long as somebody asks");
        assert!(bearable(4 * WINDOW), "nobody knows what was in between");
        absence.end();
        assert!(absence.is_bearable(start + 4 * WINDOW + PAUSE, PAUSE, WINDOW));
    }

    #[test]
    fn without_a_window_nothing_is_borne() {
        assert!(!Absence::default().is_bearable(Instant::now(), PAUSE, Duration::ZERO));
    }
}
