//! `/proc/PID/stat` (proc(5)).

use super::super::text;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Stat {
    /// User and system time of the process itself, in clock ticks.
    pub own_ticks: u64,
    /// The same of children that it has waited for, and of theirs.
    pub reaped_ticks: u64,
    pub threads: u64,
    /// Since boot, in clock ticks.
    pub start: u64,
    pub resident_pages: u64,
    /// 0 for a parent outside of the PID namespace.
    pub parent: u32,
}

impl Stat {
    /// Numbers of the fields less three, counted from the state, which is field 3.
    pub(super) fn parse(content: &[u8]) -> Option<Self> {
        let mut fields = fields(content)?.map(text::number);
        let mut field = |skip: usize| fields.nth(skip).flatten();
        let parent = u32::try_from(field(1)?).ok()?;
        let (user, system) = (field(9)?, field(0)?);
        // Signed in the kernel's format; a negative sum of children's times would be nonsense anyway.
        let (reaped_user, reaped_system) = (field(0)?, field(0)?);
        let threads = field(2)?;
        let start = field(1)?;
        let resident_pages = field(1)?;
        Some(Self {
            own_ticks: user.saturating_add(system),
            reaped_ticks: reaped_user.saturating_add(reaped_system),
            threads,
            start,
            resident_pages,
            parent,
        })
    }
}

/// The parent's pid; 0 for a parent outside of the PID namespace.
pub(in super::super) fn parent(content: &[u8]) -> Option<u32> {
    text::number(fields(content)?.nth(1)?).and_then(|pid| u32::try_from(pid).ok())
}

/// The fields after the name, which is in parentheses and may hold anything, parentheses and blanks too.
fn fields(content: &[u8]) -> Option<impl Iterator<Item = &[u8]>> {
    let name_end = content.iter().rposition(|byte| *byte == b')')?;
    Some(text::words(&content[name_end + 1..]))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const STAT: &[u8] = b"42 (a) (b) S 7 42 42 0 -1 4194560 119 0 0 0 30 12 5 1 20 0 3 0 9001 2945024 208 \
        18446744073709551615 1 1 0 0 0 0 0 3670020 1266777851 0 0 0 17 1 0 0 0 0 0 0 0 0 0 0 0 0 0\n";

    #[test]
    fn fields_are_found_behind_a_hostile_name() {
        let expected = Stat { own_ticks: 42, reaped_ticks: 6, threads: 3, start: 9001, resident_pages: 208, parent: 7 };
        assert_eq!(Stat::parse(STAT), Some(expected));
        assert_eq!(parent(STAT), Some(7));
    }

    #[test]
    fn a_cut_line_is_absent() {
        assert_eq!(Stat::parse(&STAT[..60]), None);
        assert_eq!(Stat::parse(b""), None);
        assert_eq!(parent(b"1 (x"), None);
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_without_harm(bytes: Vec<u8>) {
            let _ = (Stat::parse(&bytes), parent(&bytes));
        }
    }
}
