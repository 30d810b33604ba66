//! The file with the number of the process, which init scripts and monitors read.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{self, Read, Seek, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::libc::O_NOFOLLOW;
use nix::sys::signal::kill;
use nix::unistd::Pid;

use crate::config::SETTINGS;
use crate::config::value::ConfigError;

/// How often the file is opened again because another worker removed it in between. Each such
/// removal means that another worker has ended.
const ATTEMPTS: usize = 10;

/// The most bytes that are read: a number has at most ten digits.
const LONGEST: u64 = 64;

/// A file with the number of this process. Dropping it removes the file.
///
/// The worker locks the file while it runs. The system frees the lock when the process ends,
/// however it ends. Python's workers do not lock their files; the number shows whether they run.
pub(super) struct PidFile {
    path: PathBuf,
    file: File,
}

impl PidFile {
    /// Writes the file. A file that names a running process is an error. An empty file, or one that
    /// names a process that is gone, is taken over.
    pub(super) fn create(path: &Path) -> Result<Self, ConfigError> {
        Self::claim(path).map_err(|cause| {
            ConfigError::new(&SETTINGS.pidfile, format!("{}: {cause}", path.display()))
        })
    }

    fn claim(path: &Path) -> io::Result<Self> {
        for _ in 0..ATTEMPTS {
            let mut file = open(path)?;
            match file.try_lock() {
                Ok(()) if !leads_to(path, &file) => continue,
                Ok(()) => refuse_taken(read(&mut file)?.trim())?,
                Err(TryLockError::WouldBlock) => {
                    refuse_taken(read(&mut file)?.trim())?;
                    return Err(io::Error::other("another worker is starting with it"));
                }
                Err(TryLockError::Error(error)) => return Err(error),
            }
            let path = path.to_owned();
            // If the number cannot be written, the file is removed.
            let mut claimed = PidFile { path, file };
            claimed.write()?;
            return Ok(claimed);
        }
        Err(io::Error::other("other workers remove it again and again"))
    }

    fn write(&mut self) -> io::Result<()> {
        self.file.set_len(0)?;
        self.file.rewind()?;
        writeln!(self.file, "{}", std::process::id())
    }
}

impl Drop for PidFile {
    fn drop(&mut self) {
        // The file may be gone, or be another's by now. The lock is freed only after this.
        if leads_to(&self.path, &self.file) {
            let _ = std::fs::remove_file(&self.path);
        }
    }
}

/// Opens the file, and makes it if it does not exist.
fn open(path: &Path) -> io::Result<File> {
    let file = OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .custom_flags(O_NOFOLLOW)
        .open(path)?;
    if !file.metadata()?.is_file() {
        return Err(io::Error::other("it is not a regular file"));
    }
    Ok(file)
}

/// Returns `true` if the path leads to the open file, not to one that was made later.
fn leads_to(path: &Path, file: &File) -> bool {
    let (Ok(own), Ok(there)) = (file.metadata(), path.symlink_metadata()) else {
        return false;
    };
    (own.dev(), own.ino()) == (there.dev(), there.ino())
}

fn read(file: &mut File) -> io::Result<String> {
    let mut bytes = Vec::new();
    file.take(LONGEST).read_to_end(&mut bytes)?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

/// Refuses a file that names a running process, and one that is not a file of this kind.
fn refuse_taken(text: &str) -> io::Result<()> {
    if text.is_empty() {
        // A worker ended before it had written its number.
        return Ok(());
    }
    let Ok(process) = text.parse::<u32>() else {
        let cause = "the file exists and has no number of a process";
        return Err(io::Error::other(cause));
    };
    if process != std::process::id() && is_running(process) {
        let cause = format!("the process {process} runs already");
        return Err(io::Error::other(cause));
    }
    Ok(())
}

/// Returns `true` if the process runs, of whichever user. `/proc` may hide those of others.
fn is_running(process: u32) -> bool {
    // Zero is not a process: it means the caller's group.
    i32::try_from(process)
        .is_ok_and(|process| process > 0 && kill(Pid::from_raw(process), None) != Err(Errno::ESRCH))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_belongs_to_one_running_process() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("worker.pid");
        let file = PidFile::create(&path).unwrap();
        let text = std::fs::read_to_string(&path).unwrap();
        assert_eq!(text, format!("{}\n", std::process::id()));
        drop(file);
        assert!(!path.exists());
        // The texts: the number of a process that runs, numbers of processes that cannot exist, and
        // texts without a number.
        for (text, error) in [
            ("1\n", Some("the process 1 runs already")),
            ("4294967295", None),
            ("0\n", None),
            ("", None),
            (" \n", None),
            ("-1", Some("no number")),
            ("a text of another program", Some("no number")),
        ] {
            std::fs::write(&path, text).unwrap();
            match (PidFile::create(&path), error) {
                (Ok(_), None) => {}
                (Err(found), Some(part)) => {
                    assert!(found.to_string().contains(part), "{text}: {found}");
                    assert_eq!(std::fs::read_to_string(&path).unwrap(), text);
                }
                (found, _) => panic!("{text}: {:?}", found.map(|_| ())),
            }
        }
        let nowhere = PidFile::create(&folder.path().join("a/b"));
        assert!(nowhere.is_err_and(|error| error.to_string().starts_with("pidfile (")));
    }

    #[test]
    fn a_worker_that_runs_keeps_its_file() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("worker.pid");
        let file = PidFile::create(&path).unwrap();
        // The lock decides even if the number says nothing, as with a process in another namespace.
        for text in ["", "4294967295\n"] {
            std::fs::write(&path, text).unwrap();
            assert!(PidFile::create(&path).is_err(), "{text}");
            assert!(path.exists());
        }
        // A file that another has put there is not removed.
        std::fs::rename(&path, folder.path().join("old")).unwrap();
        let other = PidFile::create(&path).unwrap();
        drop(file);
        assert!(path.exists());
        drop(other);
        assert!(!path.exists());
    }

    #[test]
    fn what_is_not_a_regular_file_stays_as_it_is() {
        let folder = tempfile::tempdir().unwrap();
        let (target, link) = (folder.path().join("target"), folder.path().join("link"));
        std::fs::write(&target, "").unwrap();
        std::os::unix::fs::symlink(&target, &link).unwrap();
        for path in [&link, folder.path(), Path::new("/dev/null")] {
            assert!(PidFile::create(path).is_err(), "{}", path.display());
            assert!(path.exists());
        }
        assert_eq!(std::fs::read_to_string(target).unwrap(), "");
    }

    #[test]
    fn of_many_that_start_at_once_one_gets_the_file() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("worker.pid");
        for _ in 0..20 {
            std::fs::write(&path, "4294967295\n").unwrap();
            let claims: Vec<_> = std::thread::scope(|scope| {
                let claim = || PidFile::create(&path);
                let threads: Vec<_> = (0..4).map(|_| scope.spawn(claim)).collect();
                threads
                    .into_iter()
                    .map(|thread| thread.join().unwrap())
                    .collect()
            });
            assert_eq!(claims.iter().filter(|claim| claim.is_ok()).count(), 1);
        }
    }
}
