//! Which secrets the program may know, and so print.

use std::collections::VecDeque;

use zeroize::Zeroizing;

/// Environments that a running program was told of, and that it has not been started with. An older value may still be
/// printed by a program that ignored several changes in a row, and is then not masked.
const CHANGES: usize = 4;

type Secrets = Vec<Zeroizing<Vec<u8>>>;

/// The secrets of the environment that the program was started with, of those that it was told of since, and of the last
/// one before its start: what was left behind by its predecessor may still be printing.
#[derive(Default)]
pub(super) struct KnownSecrets {
    before: Secrets,
    started: Secrets,
    changes: VecDeque<Secrets>,
}

impl std::fmt::Debug for KnownSecrets {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("KnownSecrets").field("changes", &self.changes.len()).finish_non_exhaustive()
    }
}

impl KnownSecrets {
    pub(super) fn started<'a>(&mut self, secrets: impl Iterator<Item = &'a str>) {
        let before = std::mem::replace(&mut self.started, own(secrets));
        self.before = self.changes.pop_back().unwrap_or(before);
        self.changes.clear();
    }

    pub(super) fn changed<'a>(&mut self, secrets: impl Iterator<Item = &'a str>) {
        if self.changes.len() >= CHANGES {
            self.changes.pop_front();
        }
        self.changes.push_back(own(secrets));
    }

    pub(super) fn values(&self) -> impl Iterator<Item = &[u8]> {
        self.before.iter().chain(&self.started).chain(self.changes.iter().flatten()).map(|secret| secret.as_slice())
    }
}

fn own<'a>(secrets: impl Iterator<Item = &'a str>) -> Secrets {
    secrets.map(|secret| Zeroizing::new(secret.as_bytes().to_vec())).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn known(secrets: &KnownSecrets) -> Vec<String> {
        secrets.values().map(|value| String::from_utf8_lossy(value).into_owned()).collect()
    }

    #[test]
    fn what_the_program_was_started_with_is_known_until_it_is_started_again() {
        let mut secrets = KnownSecrets::default();
        secrets.started(["one"].into_iter());
        secrets.changed(["two"].into_iter());
        secrets.changed(["three"].into_iter());
        assert_eq!(known(&secrets), ["one", "two", "three"]);
        secrets.started(["four"].into_iter());
        assert_eq!(known(&secrets), ["three", "four"]);
        secrets.started(["five"].into_iter());
        assert_eq!(known(&secrets), ["four", "five"]);
    }

    #[test]
    fn changes_are_bounded_and_the_start_is_not_forgotten_for_them() {
        let mut secrets = KnownSecrets::default();
        secrets.started(["start"].into_iter());
        for change in 0..2 * CHANGES {
            secrets.changed([change.to_string().as_str()].into_iter());
        }
        assert_eq!(known(&secrets), ["start", "4", "5", "6", "7"]);
        assert!(!format!("{secrets:?}").contains("start"));
    }
}
