//! Questions to the person at the terminal. They go to standard error: standard output is for answers.

use std::io::{BufRead as _, IsTerminal as _, Write as _};

use anyhow::Context as _;
use outrigger_secrets::SecretString;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::{read, retry_on_intr};
use rustix::termios::{
    LocalModes, OptionalActions, QueueSelector, SpecialCodeIndex, Termios, tcflush, tcgetattr, tcsetattr,
};
use zeroize::Zeroizing;

/// Longest value that is typed or pasted; as much as a variable may have.
const TYPED_BYTES: usize = 128 * 1024;
/// How soon a second line has to come to be one that was pasted with the first.
const PASTE: Timespec = Timespec { tv_sec: 0, tv_nsec: 50_000_000 };

const INTERRUPT: u8 = 0x03;
const END: u8 = 0x04;
const ERASE: [u8; 2] = [0x08, 0x7f];
const KILL_LINE: u8 = 0x15;

/// Whether somebody is there to answer.
pub(super) fn is_interactive() -> bool {
    std::io::stdin().is_terminal() && std::io::stderr().is_terminal()
}

/// One line: from the person at the terminal without an echo, or else from standard input.
pub(super) fn secret(question: &str) -> anyhow::Result<SecretString> {
    let stdin = std::io::stdin();
    let line = if stdin.is_terminal() {
        typed(question)?
    } else {
        let mut line = Zeroizing::new(String::new());
        stdin.lock().read_line(&mut line).context("cannot read standard input")?;
        Zeroizing::new(line.trim_end_matches(['\n', '\r']).to_owned())
    };
    anyhow::ensure!(!line.is_empty(), "nothing was typed");
    Ok(SecretString::from(line))
}

/// Yes or no; a mere return is no.
pub(super) fn confirm(question: &str) -> anyhow::Result<bool> {
    eprint!("{question} [y/N] ");
    std::io::stderr().flush()?;
    let mut line = String::new();
    std::io::stdin().lock().read_line(&mut line).context("cannot read standard input")?;
    Ok(matches!(line.trim().to_ascii_lowercase().as_str(), "y" | "yes"))
}

/// Reads key by key what is typed: a terminal's own lines end after 4095 bytes, and a key that ends the program would
/// leave the terminal silent.
fn typed(question: &str) -> anyhow::Result<Zeroizing<String>> {
    let silence = Silence::start(question)?;
    let stdin = std::io::stdin();
    // Sized beforehand, so that no copy of a secret is left behind by growing.
    let mut line = Zeroizing::new(Vec::with_capacity(TYPED_BYTES + 1));
    loop {
        let mut key = [0];
        // Past the buffer of standard input, which would hide that there is more.
        let count = retry_on_intr(|| read(&stdin, &mut key)).context("cannot read the terminal")?;
        match key[0] {
            _ if count == 0 => break,
            b'\n' | b'\r' => break,
            END if line.is_empty() => break,
            INTERRUPT => anyhow::bail!("interrupted"),
            KILL_LINE => line.clear(),
            key if ERASE.contains(&key) => erase(&mut line),
            key if line.len() < TYPED_BYTES => line.push(key),
            _ => anyhow::bail!("a value has at most {TYPED_BYTES} bytes"),
        }
    }
    if silence.more()? {
        // The rest would be typed into whatever reads the terminal next, a shell's history among them.
        tcflush(std::io::stdin(), QueueSelector::IFlush)?;
        anyhow::bail!("more than one line was pasted; give a value of several lines in a file");
    }
    let text = String::from_utf8(std::mem::take(&mut *line)).map_err(|error| {
        drop(Zeroizing::new(error.into_bytes()));
        anyhow::anyhow!("what was typed is not UTF-8")
    })?;
    Ok(Zeroizing::new(text))
}

/// Takes the last character away, all bytes of it.
fn erase(line: &mut Vec<u8>) {
    while line.pop().is_some_and(|byte| byte & 0xc0 == 0x80) {}
}

/// Keeps a terminal from echoing and from acting upon keys, until it is dropped.
struct Silence {
    before: Termios,
}

impl Silence {
    fn start(question: &str) -> anyhow::Result<Self> {
        eprint!("{question}");
        std::io::stderr().flush()?;
        let before = tcgetattr(std::io::stdin())?;
        let mut silent = before.clone();
        silent.local_modes.remove(LocalModes::ECHO | LocalModes::ICANON | LocalModes::ISIG);
        silent.special_codes[SpecialCodeIndex::VMIN] = 1;
        silent.special_codes[SpecialCodeIndex::VTIME] = 0;
        tcsetattr(std::io::stdin(), OptionalActions::Now, &silent)?;
        Ok(Self { before })
    }

    /// Whether there is more to read at once.
    fn more(&self) -> anyhow::Result<bool> {
        let stdin = std::io::stdin();
        let mut ready = [PollFd::new(&stdin, PollFlags::IN)];
        Ok(poll(&mut ready, Some(&PASTE))? > 0)
    }
}

impl Drop for Silence {
    fn drop(&mut self) {
        // Failing here leaves a silent terminal, which `stty sane` mends; there is nobody to tell.
        let _ = tcsetattr(std::io::stdin(), OptionalActions::Now, &self.before);
        eprintln!();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_character_is_taken_away_whole() {
        let mut line = "aé€".as_bytes().to_vec();
        erase(&mut line);
        assert_eq!(line, "aé".as_bytes());
        erase(&mut line);
        erase(&mut line);
        erase(&mut line);
        assert_eq!(line, b"");
    }
}
