//! The end: what the program wrote is passed on, its last lines are confirmed, and the control plane hears a goodbye.
//!
//! Each of it for a bounded time, and none of it when there is nothing to do: somebody waits for the exit code.

use std::time::Duration;

use tokio::time::{sleep, timeout};

use super::{Agent, SessionRun, ending, output};

/// For the goodbye to be heard.
const FAREWELL: Duration = Duration::from_millis(20);

const HURRIED: &str = "a signal came";

impl Agent {
    pub(super) async fn leave(&mut self, session: &mut SessionRun) {
        let hurried = tokio::select! {
            biased;
            _ = timeout(output::DRAIN, self.shell.output.drained()) => false,
            () = session.as_mut() => false,
            _ = ending(&mut self.signals) => true,
        };
        self.telemetry.forward(self.shell.output.take_lines(), &self.link);
        // The agent's own lines alone are not worth a wait: what they say is in its messages.
        if self.telemetry.program_spoke() {
            self.flush(session, hurried).await;
        }
        if self.link.is_connected() {
            self.link.goodbye("the program ended");
            let _ = timeout(FAREWELL, session.as_mut()).await;
        }
    }

    /// Stays until the control plane has confirmed what the program wrote last, while there is hope, time, and nobody in
    /// a hurry. Says how much may be lost.
    async fn flush(&mut self, session: &mut SessionRun, hurried: bool) {
        let reason = if hurried {
            HURRIED
        } else {
            tokio::select! {
                biased;
                () = self.link.lines_settled() => "the control plane is not connected",
                () = session.as_mut() => "the session has ended",
                _ = ending(&mut self.signals) => HURRIED,
                () = sleep(self.config.flush_timeout) => "not confirmed within --flush-timeout",
            }
        };
        let lines = self.link.unconfirmed_lines();
        if lines > 0 {
            tracing::warn!(lines, reason, "the last log lines may not have reached the control plane");
        }
    }
}
