//! What happens before anything else, while this process has one thread and has read nothing yet.
//!
//! Tokens are taken out of the environment, to the last byte: `/proc/PID/environ` shows the block that the
//! kernel made at exec, not the C library's list, so removing the variable is not enough. The process becomes
//! undumpable, which closes its memory and its descriptors to everyone of the same uid; it leaves no core. Under
//! `run`, whatever descriptors it inherited stop here instead of reaching the program.
#![allow(unsafe_code)]

use std::ffi::{CStr, c_char};
use std::fs::File;
use std::io;
use std::os::fd::{FromRawFd, RawFd};

use rustix::process::{DumpableBehavior, Resource, Rlimit, getrlimit, set_dumpable_behavior, setrlimit};
use zeroize::{Zeroize, Zeroizing};

/// The variable that may carry a join token.
pub const JOIN_TOKEN_VARIABLE: &str = "OUTRIGGER_JOIN_TOKEN";
/// The variable that may carry a person's API token.
pub const API_TOKEN_VARIABLE: &str = "OUTRIGGER_TOKEN";

/// First descriptor that is not one of the standard streams.
const FIRST_OTHER: RawFd = 3;

/// `CLOSE_RANGE_CLOEXEC` of close_range(2), Linux 5.11.
const CLOSE_RANGE_CLOEXEC: libc::c_uint = 4;

unsafe extern "C" {
    /// environ(7).
    static mut environ: *mut *mut c_char;
}

/// What was taken from the process before it was closed.
#[derive(Debug)]
pub struct Startup {
    pub join_token: Option<Zeroizing<Vec<u8>>>,
    pub api_token: Option<Zeroizing<Vec<u8>>>,
    /// What the program gets back.
    pub core_limit: Rlimit,
}

/// Closes the process to its neighbours. Call first in `main`: no other thread may exist yet.
pub fn harden() -> Startup {
    let join_token = take_variable(JOIN_TOKEN_VARIABLE);
    let api_token = take_variable(API_TOKEN_VARIABLE);
    // Neither can fail on Linux with these arguments; if a sandbox forbids them, going on is still the better half.
    let _ = set_dumpable_behavior(DumpableBehavior::NotDumpable);
    let core_limit = getrlimit(Resource::Core);
    let _ = setrlimit(Resource::Core, Rlimit { current: Some(0), maximum: core_limit.maximum });
    Startup { join_token, api_token, core_limit }
}

/// The value of a variable, which is overwritten where the kernel put it and removed.
fn take_variable(name: &str) -> Option<Zeroizing<Vec<u8>>> {
    let mut taken = None;
    // SAFETY: `environ` is a NULL-terminated array of NUL-terminated strings that only this thread, the only one of
    // the process, reads or changes. The strings lie in the process's own writable stack area; the bytes written are
    // those of one value, without its terminator.
    unsafe {
        let mut entry = environ;
        while !entry.is_null() && !(*entry).is_null() {
            let text = CStr::from_ptr(*entry).to_bytes();
            if let Some(value) = text.strip_prefix(name.as_bytes()).and_then(|rest| rest.strip_prefix(b"=")) {
                let length = value.len();
                taken.get_or_insert_with(|| Zeroizing::new(value.to_vec()));
                std::slice::from_raw_parts_mut((*entry).cast::<u8>().add(name.len() + 1), length).zeroize();
            }
            entry = entry.add(1);
        }
    }
    #[expect(clippy::disallowed_methods, reason = "the one place where no second thread exists yet")]
    // SAFETY: as above, the process has a single thread.
    unsafe {
        std::env::remove_var(name);
    }
    taken
}

/// An inherited descriptor as a file that closes it.
///
/// # Errors
/// The number is a standard stream, or no open descriptor.
pub fn take_descriptor(number: RawFd) -> io::Result<File> {
    if number < FIRST_OTHER {
        return Err(io::Error::other("the standard streams belong to the program"));
    }
    // SAFETY: F_GETFD reads a flag of whatever the number is.
    if unsafe { libc::fcntl(number, libc::F_GETFD) } == -1 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: it is open, the operator named it as meant for this purpose, and nothing in this process owns it: the
    // command line is read before the process opens anything that it keeps.
    Ok(unsafe { File::from_raw_fd(number) })
}

/// Marks every descriptor but the standard streams to be closed when the program is executed.
pub fn close_inherited_on_exec() {
    // SAFETY: close_range(2) with this flag sets a flag on descriptors and touches no memory.
    let result = unsafe { libc::syscall(libc::SYS_close_range, FIRST_OTHER, libc::c_uint::MAX, CLOSE_RANGE_CLOEXEC) };
    if result == 0 {
        return;
    }
    // An older kernel: one by one.
    let Ok(descriptors) = std::fs::read_dir("/proc/self/fd") else { return };
    for number in descriptors.flatten().filter_map(|entry| entry.file_name().to_str()?.parse::<RawFd>().ok()) {
        if number >= FIRST_OTHER {
            // SAFETY: F_SETFD sets a flag; a number that was closed meanwhile gives EBADF.
            unsafe { libc::fcntl(number, libc::F_SETFD, libc::FD_CLOEXEC) };
        }
    }
}
