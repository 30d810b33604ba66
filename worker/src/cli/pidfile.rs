//! The file with the number of the process, which init scripts and monitors read.

use std::fs::{File, OpenOptions};
use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};

use crate::config::SETTINGS;
use crate::config::value::ConfigError;

/// A file with the number of this process. Dropping it removes the file.
pub(super) struct PidFile(PathBuf);

impl PidFile {
    /// Writes the file. A file that names a running process is an error; one that names a process
    /// that is gone is replaced.
    pub(super) fn create(path: &Path) -> Result<Self, ConfigError> {
        let wrong = |cause: String| {
            ConfigError::new(&SETTINGS.pidfile, format!("{}: {cause}", path.display()))
        };
        let mut file = match exclusive(path) {
            Err(error) if error.kind() == ErrorKind::AlreadyExists => {
                let text =
                    std::fs::read_to_string(path).map_err(|error| wrong(error.to_string()))?;
                let Ok(process) = text.trim().parse::<u32>() else {
                    return Err(wrong(
                        "the file exists and has no number of a process".to_owned(),
                    ));
                };
                if process != std::process::id() && is_running(process) {
                    return Err(wrong(format!("the process {process} runs already")));
                }
                std::fs::remove_file(path).map_err(|error| wrong(error.to_string()))?;
                exclusive(path)
            }
            other => other,
        }
        .map_err(|error| wrong(error.to_string()))?;
        writeln!(file, "{}", std::process::id()).map_err(|error| wrong(error.to_string()))?;
        Ok(PidFile(path.to_owned()))
    }
}

impl Drop for PidFile {
    fn drop(&mut self) {
        // The file may be gone; then there is nothing to do.
        let _ = std::fs::remove_file(&self.0);
    }
}

/// Opens a file that does not exist yet.
fn exclusive(path: &Path) -> std::io::Result<File> {
    OpenOptions::new().write(true).create_new(true).open(path)
}

fn is_running(process: u32) -> bool {
    Path::new(&format!("/proc/{process}")).exists()
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
        // The number of a process that runs, of one that cannot exist, and none at all.
        for (text, error) in [
            ("1\n", Some("the process 1 runs already")),
            ("4294967295", None),
            ("", Some("no number")),
            ("-1", Some("no number")),
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
}
