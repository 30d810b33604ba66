//! PHP with the extension switched on, without touching the machine's own settings.

use std::env;
use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use tempfile::TempDir;

use crate::Error;
use crate::ports::find_program;

/// The Debian package that brings the command line.
const PACKAGE: &str = "php-cli";

/// A folder with a `celery.ini` that PHP reads after the machine's own files.
#[derive(Debug)]
pub struct Php {
    folder: TempDir,
}

impl Php {
    /// Settings that load `extension` (an absolute path, or a name that PHP can find) and hold `lines` besides.
    ///
    /// # Errors
    ///
    /// [`Error::Io`] when the file cannot be written.
    pub fn with_extension(extension: &Path, lines: &[&str]) -> Result<Self, Error> {
        let folder = tempfile::Builder::new()
            .prefix("php-")
            .tempdir()
            .map_err(Error::io("making a temporary folder"))?;
        let mut ini = format!("extension=\"{}\"\n", extension.display());
        for line in lines {
            ini.push_str(line);
            ini.push('\n');
        }
        // The machine's files begin with a number: ours comes last.
        fs::write(folder.path().join("90-celery.ini"), ini)
            .map_err(Error::io("writing 90-celery.ini"))?;
        Ok(Self { folder })
    }

    /// The extension built last: `$CELERY_EXTENSION`, else the newer of `target/{release,debug}/libcelery.so`.
    ///
    /// # Errors
    ///
    /// [`Error::Failed`] when none has been built, or the one named is not there.
    pub fn built_extension() -> Result<PathBuf, Error> {
        if let Some(named) = env::var_os("CELERY_EXTENSION").map(PathBuf::from) {
            return fs::canonicalize(&named)
                .map_err(Error::io(format!("CELERY_EXTENSION={}", named.display())));
        }
        let target = crate::target_folder();
        ["release", "debug"]
            .iter()
            .map(|profile| target.join(profile).join("libcelery.so"))
            .filter_map(|path| {
                let built = fs::metadata(&path).ok()?.modified().ok()?;
                Some((built, path))
            })
            .max()
            .and_then(|(_, path)| fs::canonicalize(path).ok())
            .ok_or_else(|| {
                Error::Failed(format!(
                    "no libcelery.so under {}: make build",
                    target.display()
                ))
            })
    }

    /// The value of `PHP_INI_SCAN_DIR`: the machine's own folder, then ours.
    #[must_use]
    pub fn scan_dir(&self) -> OsString {
        let mut value = OsString::from(":");
        value.push(self.folder.path());
        value
    }

    /// A `php` command with the extension switched on.
    ///
    /// # Errors
    ///
    /// [`Error::Missing`] when `php` is not installed.
    pub fn command(&self) -> Result<Command, Error> {
        let mut command = Command::new(find_program("php", PACKAGE)?);
        command.env("PHP_INI_SCAN_DIR", self.scan_dir());
        Ok(command)
    }
}
