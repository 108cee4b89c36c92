//! What execve(2) takes, and what it means when it does not take it.
#![allow(unsafe_code)]

use std::ffi::{CStr, CString, OsStr, OsString, c_char};
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::ptr;

use rustix::process::{Resource, Rlimit, setrlimit};

use crate::environment::Prepared;

/// Where programs are looked for when the environment has no PATH (confstr(3), `_CS_PATH`, and the local tree).
const DEFAULT_PATH: &[u8] = b"/usr/local/bin:/usr/bin:/bin";

#[derive(Debug, thiserror::Error)]
pub enum SpawnError {
    #[error("cannot start `{program}`: not found{whereabouts}")]
    NotFound { program: String, whereabouts: &'static str },
    #[error("cannot start `{program}`")]
    NotExecutable {
        program: String,
        #[source]
        source: io::Error,
    },
    #[error(
        "cannot start `{program}`: its arguments and environment are more than the kernel takes (E2BIG, execve(2))"
    )]
    TooLarge { program: String },
    #[error("cannot create a process for `{program}`")]
    Process {
        program: String,
        #[source]
        source: io::Error,
    },
    #[error("cannot make a terminal for the program (--pty never goes without)")]
    Terminal(#[source] io::Error),
    #[error("an argument of the command contains a NUL byte")]
    Nul,
}

impl SpawnError {
    /// What a shell would answer: 127 not found, 126 found and not executable; 1 when it was not the program's fault.
    #[must_use]
    pub const fn exit_code(&self) -> i32 {
        match self {
            Self::NotFound { .. } => 127,
            Self::NotExecutable { .. } | Self::TooLarge { .. } => 126,
            Self::Process { .. } | Self::Terminal(_) | Self::Nul => 1,
        }
    }

    /// What an error of fork(2) or execve(2) means for whoever wanted `name` to be started.
    pub(super) fn classify(name: &OsStr, environment: &Prepared, source: io::Error) -> Self {
        let shown = name.to_string_lossy().into_owned();
        match source.raw_os_error() {
            Some(libc::ENOENT) => {
                let files = candidates(name.as_bytes(), environment).unwrap_or_default();
                let exists = files.iter().any(|file| Path::new(OsStr::from_bytes(file.as_bytes())).exists());
                let whereabouts = if exists {
                    " (the file is there, but the interpreter that it names is not)"
                } else if name.as_bytes().contains(&b'/') {
                    ""
                } else {
                    " in the PATH of its environment"
                };
                Self::NotFound { program: shown, whereabouts }
            }
            Some(libc::E2BIG) => Self::TooLarge { program: shown },
            Some(libc::EAGAIN | libc::ENOMEM | libc::EMFILE | libc::ENFILE | libc::EPERM | libc::ESRCH) | None => {
                Self::Process { program: shown, source }
            }
            Some(_) => Self::NotExecutable { program: shown, source },
        }
    }
}

/// Executes a program in the place of this process, which must have one thread. Returns only when that failed. `command`
/// is not empty.
///
/// What the kernel resets is left to it: signal handlers, and that this process may not be dumped. Signals that were
/// ignored or blocked when this process began are so for the program; it sees what whoever started it meant it to see.
#[must_use]
pub fn replace_process(command: &[OsString], environment: &Prepared, core_limit: Rlimit) -> SpawnError {
    let exec = match Exec::new(command, environment) {
        Ok(exec) => exec,
        Err(error) => return error,
    };
    // It may only go down from what it was, which is where it goes back to.
    let _ = setrlimit(Resource::Core, core_limit);
    // SAFETY: replaces a disposition that Rust's runtime changed at the start; no handler of ours is involved.
    unsafe { libc::signal(libc::SIGPIPE, libc::SIG_DFL) };
    SpawnError::classify(&command[0], environment, exec.run())
}

/// The arguments of execve(2), laid out beforehand: between fork and exec nothing may be allocated.
pub(super) struct Exec {
    /// Never empty. The files to try, in the order of PATH.
    candidates: Vec<CString>,
    /// What `arguments` points to.
    _owned: Vec<CString>,
    arguments: Vec<*const c_char>,
    environment: Vec<*const c_char>,
}

// SAFETY: the pointers are read by one thread alone, the forked child's or the only one of this process. `arguments`
// points into `_owned`; `environment` points into the `Prepared` that whoever made this borrows until the program was
// executed or has failed.
unsafe impl Send for Exec {}
// SAFETY: as above.
unsafe impl Sync for Exec {}

impl Exec {
    /// `arguments` are not empty; the first names the file.
    pub(super) fn new(arguments: &[OsString], environment: &Prepared) -> Result<Self, SpawnError> {
        let candidates = candidates(arguments[0].as_bytes(), environment)?;
        let owned: Vec<CString> = arguments
            .iter()
            .map(|argument| CString::new(argument.as_bytes()).map_err(|_| SpawnError::Nul))
            .collect::<Result<_, _>>()?;
        let arguments = owned.iter().map(|argument| argument.as_ptr()).chain([ptr::null()]).collect();
        let environment = environment.strings().map(|string| string.as_ptr()).chain([ptr::null()]).collect();
        Ok(Self { candidates, _owned: owned, arguments, environment })
    }

    /// The file that is tried first.
    pub(super) fn first(&self) -> &CStr {
        &self.candidates[0]
    }

    /// Tries one file after the other, as execvp(3) does. Returns only when none could be executed.
    pub(super) fn run(&self) -> io::Error {
        let mut denied = false;
        for candidate in &self.candidates {
            // SAFETY: all three point to NUL-terminated strings, in NULL-terminated arrays.
            unsafe { libc::execve(candidate.as_ptr(), self.arguments.as_ptr(), self.environment.as_ptr()) };
            let error = io::Error::last_os_error();
            match error.raw_os_error() {
                Some(libc::ENOENT | libc::ENOTDIR | libc::ENAMETOOLONG) => {}
                Some(libc::EACCES) => denied = true,
                _ => return error,
            }
        }
        io::Error::from_raw_os_error(if denied { libc::EACCES } else { libc::ENOENT })
    }
}

fn candidates(name: &[u8], environment: &Prepared) -> Result<Vec<CString>, SpawnError> {
    let file = |path: Vec<u8>| CString::new(path).map_err(|_| SpawnError::Nul);
    if name.contains(&b'/') || name.is_empty() {
        return Ok(vec![file(name.to_vec())?]);
    }
    let path = environment.value(b"PATH").unwrap_or(DEFAULT_PATH);
    path.split(|byte| *byte == b':')
        .map(|directory| match directory {
            b"" => file(name.to_vec()),
            directory => file([directory, b"/", name].concat()),
        })
        .collect()
}
