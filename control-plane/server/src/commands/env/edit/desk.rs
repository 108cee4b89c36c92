//! Where something is edited: a file that only its owner can read, in memory where that is possible, and gone afterwards.

use std::fs::{File, OpenOptions, Permissions};
use std::io::{IsTerminal as _, Read as _, Seek as _, Write as _};
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::process::ExitStatus;

use anyhow::Context as _;
use outrigger_secrets::SecretString;
use rustix::fs::statfs;
use tempfile::TempDir;
use tokio::process::Command;
use tokio::signal::unix::{SignalKind, signal};
use zeroize::Zeroizing;

/// Largest file that the control plane takes.
const FILE_BYTES: u64 = 1024 * 1024;
/// `TMPFS_MAGIC` of statfs(2).
const TMPFS: i128 = 0x0102_1994;
/// What POSIX has on every system.
const EDITOR: &str = "vi";

/// A file on its way through an editor. Dropping it overwrites and deletes it.
#[derive(Debug)]
pub(super) struct Desk {
    directory: Option<TempDir>,
    file: PathBuf,
}

/// The head of the file, which says what to do with it.
pub(super) fn page(label: &str, generation: u64, reveal: bool, variables: &str) -> SecretString {
    let secrets = if reveal {
        "# Secrets are in it as they are."
    } else {
        "# Secrets are not in it: `value: null` keeps the value that a variable has."
    };
    let head = format!(
        "# Variables of {label}, generation {generation}.\n\
         # A variable that you delete here is deleted; one that you add may be `KEY: value`.\n\
         {secrets}\n"
    );
    // An empty mapping has braces, which whoever adds the first variable would have to know about.
    let (variables, end) = variables.strip_suffix(" {}\n").map_or((variables, ""), |empty| (empty, "\n"));
    let mut text = Zeroizing::new(String::with_capacity(head.len() + variables.len() + end.len()));
    text.push_str(&head);
    text.push_str(variables);
    text.push_str(end);
    SecretString::from(text)
}

impl Desk {
    pub(super) fn set_up(text: &SecretString, has_secrets: bool) -> anyhow::Result<Self> {
        let memory = in_memory();
        if memory.is_none() && has_secrets {
            eprintln!("outrigger: there is no directory in memory: the secrets are on the disk while you edit them");
        }
        let parent = memory.unwrap_or_else(std::env::temp_dir);
        let what = || format!("cannot write to {}", parent.display());
        // A directory of its own, which is its owner's alone, for what editors write beside a file too.
        let directory = tempfile::Builder::new()
            .prefix("outrigger-edit-")
            .permissions(Permissions::from_mode(0o700))
            .tempdir_in(&parent)
            .with_context(what)?;
        let file = directory.path().join("variables.yaml");
        let mut out = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&file).with_context(what)?;
        out.write_all(text.expose().as_bytes()).with_context(what)?;
        Ok(Self { directory: Some(directory), file })
    }

    /// Waits for the editor to end.
    pub(super) async fn edit(&self) -> anyhow::Result<()> {
        let set = |name: &str| std::env::var(name).ok().filter(|editor| !editor.trim().is_empty());
        let named = set("VISUAL").or_else(|| set("EDITOR"));
        anyhow::ensure!(
            named.is_some() || std::io::stdin().is_terminal(),
            "there is no terminal for `{EDITOR}`: name an editor that needs none in EDITOR"
        );
        let editor = named.unwrap_or_else(|| EDITOR.to_owned());
        // Through a shell, as everybody else does, so that it may have arguments.
        let mut command = Command::new("/bin/sh");
        command.arg("-c").arg(format!("{editor} \"$@\"")).arg(&editor).arg(&self.file);
        let status = wait(command).await.with_context(|| format!("cannot run the editor `{editor}`"))?;
        anyhow::ensure!(status.success(), "the editor `{editor}` ended with {status}; nothing was published");
        Ok(())
    }

    pub(super) fn read(&self) -> anyhow::Result<SecretString> {
        let what = || format!("cannot read {}", self.file.display());
        let mut text = Zeroizing::new(String::new());
        File::open(&self.file).with_context(what)?.take(FILE_BYTES + 1).read_to_string(&mut text).with_context(what)?;
        anyhow::ensure!(text.len() as u64 <= FILE_BYTES, "the file has more than {FILE_BYTES} bytes");
        Ok(SecretString::from(text))
    }

    /// Leaves the file where it is.
    pub(super) fn keep(mut self) -> anyhow::Result<PathBuf> {
        let directory = self.directory.take().context("it is gone")?;
        let _kept = directory.keep();
        Ok(std::mem::take(&mut self.file))
    }
}

impl Drop for Desk {
    fn drop(&mut self) {
        let Some(directory) = self.directory.take() else { return };
        // What cannot be overwritten is deleted all the same.
        let _ = wipe(&self.file);
        if let Err(error) = directory.close() {
            eprintln!("outrigger: what was edited could not be deleted: {error}");
        }
    }
}

/// Overwrites a file. An editor may have put another one in its place, and a disk may keep what was overwritten: that is
/// why memory is better.
fn wipe(file: &Path) -> std::io::Result<()> {
    let mut file = OpenOptions::new().write(true).open(file)?;
    let length = file.seek(std::io::SeekFrom::End(0))?;
    file.rewind()?;
    std::io::copy(&mut std::io::repeat(0).take(length), &mut file)?;
    file.sync_all()
}

/// The first directory that is there for programs of this user, or of all, and in memory.
fn in_memory() -> Option<PathBuf> {
    let runtime = std::env::var_os("XDG_RUNTIME_DIR").map(PathBuf::from).filter(|path| path.is_absolute());
    let candidates = runtime.into_iter().chain([PathBuf::from("/dev/shm")]);
    candidates.into_iter().find(|path| path.is_dir() && statfs(path).is_ok_and(|found| is_tmpfs(&found)))
}

fn is_tmpfs(found: &rustix::fs::StatFs) -> bool {
    // The type of the field is not the same on all architectures.
    i128::from(found.f_type) == TMPFS
}

/// Runs a program that has the terminal meanwhile: ctrl-C is for it. When this program is told to end, that one is too.
async fn wait(mut command: Command) -> anyhow::Result<ExitStatus> {
    let mut interrupts = signal(SignalKind::interrupt())?;
    let (mut terminate, mut hangup) = (signal(SignalKind::terminate())?, signal(SignalKind::hangup())?);
    let mut child = command.kill_on_drop(true).spawn()?;
    loop {
        tokio::select! {
            status = child.wait() => return Ok(status?),
            _ = interrupts.recv() => {}
            _ = terminate.recv() => anyhow::bail!("told to end"),
            _ = hangup.recv() => anyhow::bail!("the terminal is gone"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_says_what_it_is_and_takes_the_first_variable() {
        let page = page("production/main", 0, false, "outrigger: 1\nvariables: {}\n");
        assert!(page.expose().starts_with("# Variables of production/main, generation 0.\n"), "{}", page.expose());
        assert!(page.expose().contains("`value: null`") && page.expose().ends_with("outrigger: 1\nvariables:\n"));
    }

    #[test]
    fn only_the_owner_can_read_it_and_it_is_gone_unless_it_is_kept() {
        let desk = Desk::set_up(&SecretString::from("A: 1\n"), false).unwrap();
        let (file, directory) = (desk.file.clone(), desk.file.parent().unwrap().to_owned());
        let mode = |path: &Path| path.metadata().unwrap().permissions().mode() & 0o777;
        assert_eq!((mode(&file), mode(&directory)), (0o600, 0o700));
        assert_eq!(desk.read().unwrap().expose(), "A: 1\n");
        drop(desk);
        assert!(!directory.exists());

        let kept = Desk::set_up(&SecretString::from("B: 2\n"), false).unwrap().keep().unwrap();
        assert_eq!(std::fs::read_to_string(&kept).unwrap(), "B: 2\n");
        std::fs::remove_dir_all(kept.parent().unwrap()).unwrap();
    }

    #[test]
    fn what_is_left_on_a_disk_is_overwritten() {
        let directory = TempDir::new().unwrap();
        let file = directory.path().join("f");
        std::fs::write(&file, "canary").unwrap();
        wipe(&file).unwrap();
        assert_eq!(std::fs::read(&file).unwrap(), [0; 6]);
    }
}
