//! What the program gets of the agent's own environment.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;

use outrigger_protocol::environment::{RESERVED_PREFIX, danger_of};

/// What a program expects of any login, and nothing that says how this machine is run.
const ALLOWLIST: &[&str] =
    &["PATH", "HOME", "USER", "LOGNAME", "SHELL", "LANG", "LANGUAGE", "TERM", "COLORTERM", "TZ", "TMPDIR", "HOSTNAME"];
/// Locale categories (locale(7)).
const ALLOWED_PREFIX: &str = "LC_";

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Inherit {
    None,
    Allowlist,
    All,
}

/// `--inherit-env` and `--allow-env`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Inheritance {
    pub mode: Inherit,
    /// Names that pass in every mode. Saying so is the operator's word, so they may be dangerous ones.
    pub also: Vec<String>,
}

impl Inheritance {
    /// The variables of `own` that pass, in their order.
    pub fn select(
        &self,
        own: impl IntoIterator<Item = (OsString, OsString)>,
    ) -> impl Iterator<Item = (OsString, OsString)> {
        own.into_iter().filter(|(name, _)| self.passes(name))
    }

    fn passes(&self, name: &OsStr) -> bool {
        // A name that is not UTF-8 is nobody's to ask for; only `all` takes it.
        let text = name.to_str();
        let reserved = name.as_bytes().starts_with(RESERVED_PREFIX.as_bytes());
        if reserved || name.is_empty() {
            return false;
        }
        if text.is_some_and(|text| self.also.iter().any(|also| also == text)) {
            return true;
        }
        match self.mode {
            Inherit::None => false,
            Inherit::Allowlist => {
                text.is_some_and(|text| ALLOWLIST.contains(&text) || text.starts_with(ALLOWED_PREFIX))
            }
            Inherit::All => text.is_none_or(|text| danger_of(text).is_none()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn passed(mode: Inherit, also: &[&str], names: &[&str]) -> Vec<String> {
        let inheritance = Inheritance { mode, also: also.iter().map(|name| (*name).to_owned()).collect() };
        let own = names.iter().map(|name| (OsString::from(name), OsString::from("value")));
        inheritance.select(own).filter_map(|(name, _)| name.into_string().ok()).collect()
    }

    #[test]
    fn the_allowlist_passes_a_login_and_nothing_of_the_machine() {
        let names = ["PATH", "LC_ALL", "AWS_SECRET_ACCESS_KEY", "LD_PRELOAD", "OUTRIGGER_JOIN_TOKEN"];
        assert_eq!(passed(Inherit::Allowlist, &[], &names), ["PATH", "LC_ALL"]);
        assert_eq!(passed(Inherit::Allowlist, &["EXTRA"], &["EXTRA", "OTHER"]), ["EXTRA"]);
    }

    #[test]
    fn all_still_stops_hooks_unless_they_are_named() {
        let names = ["A", "LD_PRELOAD", "NODE_OPTIONS", "OUTRIGGER_STATE_DIR"];
        assert_eq!(passed(Inherit::All, &[], &names), ["A"]);
        assert_eq!(passed(Inherit::All, &["NODE_OPTIONS"], &names), ["A", "NODE_OPTIONS"]);
    }

    #[test]
    fn nothing_passes_where_nothing_is_asked_for() {
        assert!(passed(Inherit::None, &[], &["PATH", "HOME"]).is_empty());
        assert_eq!(passed(Inherit::None, &["PATH"], &["PATH", "HOME"]), ["PATH"]);
        assert!(passed(Inherit::All, &["OUTRIGGER_JOIN_TOKEN"], &["OUTRIGGER_JOIN_TOKEN"]).is_empty());
    }
}
