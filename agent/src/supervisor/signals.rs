//! The signals that somebody sends to the agent and means for the program.
//!
//! CHLD is the reaper's, and CONT is for the agent itself, which may have to put its terminal in order; URG, PIPE and the
//! other job-control signals are nobody's business: a stray URG once killed programs behind another supervisor. A signal that was ignored when the agent started stays ignored, for it and for
//! the program, as nohup(1) expects; only TERM is always heard.

use std::io;
use std::task::Poll;

use tokio::signal::unix::{Signal, SignalKind, signal};

const FORWARDED: &[i32] = &[
    libc::SIGTERM,
    libc::SIGINT,
    libc::SIGHUP,
    libc::SIGQUIT,
    libc::SIGUSR1,
    libc::SIGUSR2,
    libc::SIGWINCH,
    libc::SIGCONT,
];

/// Signals as they come in.
#[derive(Debug)]
pub struct Signals {
    streams: Vec<(i32, Signal)>,
}

impl Signals {
    /// # Errors
    /// The system refuses a handler.
    pub fn listen() -> io::Result<Self> {
        let ignored = std::fs::read_to_string("/proc/self/status").map_or(0, |status| ignored_mask(&status));
        let streams = FORWARDED
            .iter()
            .filter(|number| **number == libc::SIGTERM || ignored & mask(**number) == 0)
            .map(|number| Ok((*number, signal(SignalKind::from_raw(*number))?)))
            .collect::<io::Result<_>>()?;
        Ok(Self { streams })
    }

    /// The number of the next signal (signal(7)). Cancel safe. Several of one kind may come as one, as the kernel does it.
    pub async fn next(&mut self) -> i32 {
        std::future::poll_fn(|context| {
            for (number, stream) in &mut self.streams {
                if let Poll::Ready(Some(())) = stream.poll_recv(context) {
                    return Poll::Ready(*number);
                }
            }
            Poll::Pending
        })
        .await
    }
}

const fn mask(number: i32) -> u64 {
    1 << (number - 1)
}

/// `SigIgn` of proc_pid_status(5): a hexadecimal mask, signal 1 in the lowest bit.
fn ignored_mask(status: &str) -> u64 {
    status
        .lines()
        .find_map(|line| line.strip_prefix("SigIgn:"))
        .and_then(|hex| u64::from_str_radix(hex.trim(), 16).ok())
        .unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ignored_signals_are_read_from_the_mask() {
        let ignored = ignored_mask("Name:\tx\nSigIgn:\t0000000000001001\nSigCgt:\t0000000000000000\n");
        assert_ne!(ignored & mask(libc::SIGHUP), 0);
        assert_ne!(ignored & mask(libc::SIGPIPE), 0);
        assert_eq!(ignored & mask(libc::SIGINT), 0);
        assert_eq!(ignored_mask("nothing"), 0);
    }
}
