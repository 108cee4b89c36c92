//! Whether the kernel will take a command and its environment, before it is asked.
//!
//! The rules of execve(2) as `fs/exec.c` has them (`bprm_stack_limits`, `MAX_ARG_STRLEN`): each string at most 32 pages;
//! all strings and their pointers at most a quarter of the stack limit, at least 128 KiB, at most 6 MiB.

use outrigger_protocol::limits::ENVIRONMENT_ENTRY_BYTES;

/// `ARG_MAX` of the kernel's uapi: what is granted whatever the stack limit says.
const ALWAYS: u64 = 128 * 1024;
/// Three quarters of `_STK_LIM`, 8 MiB.
const NEVER_MORE: u64 = 6 * 1024 * 1024;
const POINTER: u64 = size_of::<usize>() as u64;

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SizeError {
    #[error("`{name}` takes {bytes} bytes; the kernel allows {limit} for one variable")]
    Entry { name: String, bytes: usize, limit: usize },
    #[error(
        "command and environment take {bytes} bytes; the kernel allows {limit} with this stack limit (a quarter of \
         `ulimit -s`)"
    )]
    Total { bytes: u64, limit: u64 },
}

/// Checks strings that include their final NUL. `stack_limit` is the soft RLIMIT_STACK, `None` when unlimited.
///
/// # Errors
/// One variable, or everything together, is more than the kernel takes.
pub(super) fn check<'a>(
    arguments: impl Iterator<Item = &'a [u8]>,
    environment: impl Iterator<Item = &'a [u8]>,
    stack_limit: Option<u64>,
) -> Result<(), SizeError> {
    let mut bytes = 0_u64;
    let mut add = |string: &[u8]| bytes = bytes.saturating_add(string.len() as u64).saturating_add(POINTER);
    arguments.for_each(&mut add);
    for entry in environment {
        if entry.len() > ENVIRONMENT_ENTRY_BYTES {
            let name = entry.split(|byte| *byte == b'=').next().unwrap_or_default();
            return Err(SizeError::Entry {
                name: String::from_utf8_lossy(name).into_owned(),
                bytes: entry.len(),
                limit: ENVIRONMENT_ENTRY_BYTES,
            });
        }
        add(entry);
    }
    let limit = stack_limit.map_or(NEVER_MORE, |stack| stack / 4).clamp(ALWAYS, NEVER_MORE);
    if bytes > limit { Err(SizeError::Total { bytes, limit }) } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fits(entries: &[Vec<u8>], stack: Option<u64>) -> Result<(), SizeError> {
        check([b"true\0".as_slice()].into_iter(), entries.iter().map(Vec::as_slice), stack)
    }

    #[test]
    fn one_variable_has_its_own_limit() {
        let mut entry = b"A=".to_vec();
        entry.resize(ENVIRONMENT_ENTRY_BYTES, b'x');
        assert_eq!(fits(std::slice::from_ref(&entry), None), Ok(()));
        entry.push(0);
        let error = fits(&[entry], None).expect_err("a byte too many");
        assert_eq!(error.to_string(), "`A` takes 131073 bytes; the kernel allows 131072 for one variable");
    }

    #[test]
    fn everything_together_is_a_quarter_of_the_stack() {
        let entries = vec![vec![b'x'; 100_000]; 20];
        assert_eq!(fits(&entries, Some(8 * 1024 * 1024)), Ok(()));
        let error = fits(&entries, Some(4 * 1024 * 1024)).expect_err("half the stack");
        assert!(error.to_string().contains("2000173 bytes; the kernel allows 1048576"), "{error}");
        assert_eq!(fits(&entries[..1], Some(0)), Ok(()), "128 KiB are always granted");
        assert!(fits(&vec![vec![b'x'; 100_000]; 70], None).is_err(), "and never more than 6 MiB");
    }
}
