//! Runs PHP with the extension that was built, or without it. The settings of the machine do not
//! matter.
//!
//! PHP would load an installed extension first, and refuse ours because it is already loaded.
//! Therefore each PHP gets its own folder of ini files. It holds links to the ini files that PHP
//! reads anyway, except the one that enables the extension, and one file of ours. Nothing on the
//! machine changes. If the machine's php.ini itself enables the extension, that is an error.

use std::env;
use std::ffi::OsString;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use tempfile::TempDir;

use crate::Error;
use crate::ports::find_program;

/// The Debian package that contains the command-line program.
const PACKAGE: &str = "php-cli";

/// The settings that every PHP of one `testkit` reads. Dropping them removes their files.
#[derive(Debug)]
pub struct Php {
    /// One folder of links for each PHP program, and the folder `own`.
    folder: TempDir,
}

impl Php {
    /// Makes settings without the extension.
    ///
    /// # Errors
    ///
    /// Returns [`Error::Io`] when no temporary folder can be made.
    pub fn new() -> Result<Self, Error> {
        let folder = tempfile::Builder::new()
            .prefix("php-")
            .tempdir()
            .map_err(Error::io("making a temporary folder"))?;
        fs::create_dir(folder.path().join("own"))
            .map_err(Error::io("making a temporary folder"))?;
        Ok(Self { folder })
    }

    /// Returns the path of the machine's `php`.
    ///
    /// # Errors
    ///
    /// Returns [`Error::Missing`] when it is not installed.
    pub fn program() -> Result<PathBuf, Error> {
        find_program("php", PACKAGE)
    }

    /// Returns the path of the extension built last: `$CELERY_EXTENSION`, or else the newer of
    /// `target/{release,debug}/libcelery.so`.
    ///
    /// # Errors
    ///
    /// Returns [`Error::Failed`] when no extension has been built, or `$CELERY_EXTENSION` does not
    /// exist.
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

    /// Makes every PHP that starts from now on load `extension`, an absolute path.
    ///
    /// # Errors
    ///
    /// Returns [`Error::Io`] when the file cannot be written.
    pub fn load(&self, extension: &Path) -> Result<(), Error> {
        fs::write(
            self.folder.path().join("own/celery.ini"),
            format!("extension=\"{}\"\n", extension.display()),
        )
        .map_err(Error::io("writing celery.ini"))
    }

    /// Returns the value of `PHP_INI_SCAN_DIR` for `program`: Debian's `php` and `php-fpm` read
    /// different folders.
    ///
    /// # Errors
    ///
    /// Returns [`Error::Failed`] when the program's php.ini enables the extension. Returns
    /// [`Error::Io`] when the program does not start or a link cannot be made.
    pub fn scan_dir(&self, program: &Path) -> Result<OsString, Error> {
        let read = IniFiles::of(program)?;
        if let Some(main) = read.main.filter(|file| enables_celery(file)) {
            return Err(Error::Failed(format!(
                "{} enables celery, so the built extension cannot be used: remove that line",
                main.display()
            )));
        }
        let links = tempfile::Builder::new()
            .prefix("links-")
            .disable_cleanup(true) // The enclosing folder removes it.
            .tempdir_in(self.folder.path())
            .map_err(Error::io("making a temporary folder"))?;
        let others = read.scanned.iter().filter(|file| !enables_celery(file));
        for (index, file) in others.enumerate() {
            // PHP reads a folder in the order of names, and these files may come from several
            // folders.
            let name = file.file_name().unwrap_or_default().to_string_lossy();
            symlink(file, links.path().join(format!("{index:03}-{name}")))
                .map_err(Error::io(format!("a link to {}", file.display())))?;
        }
        env::join_paths([links.path(), &self.folder.path().join("own")])
            .map_err(|error| Error::Failed(error.to_string()))
    }
}

/// The ini files that a PHP reads without our settings.
#[derive(Debug, PartialEq, Eq)]
struct IniFiles {
    main: Option<PathBuf>,
    /// The files in the order in which PHP reads them.
    scanned: Vec<PathBuf>,
}

impl IniFiles {
    fn of(program: &Path) -> Result<Self, Error> {
        // This is the only option of `php-fpm` that lists the ini files.
        let output = Command::new(program)
            .arg("-i")
            .stdin(Stdio::null())
            .stderr(Stdio::null())
            .output()
            .map_err(Error::io(format!("starting {}", program.display())))?;
        Self::parse(&String::from_utf8_lossy(&output.stdout))
            .ok_or_else(|| Error::Failed(format!("{} -i names no ini files", program.display())))
    }

    /// Parses `Loaded Configuration File => FILE` and
    /// `Additional .ini files parsed => FILE,\nFILE,\nFILE`.
    fn parse(info: &str) -> Option<Self> {
        let (_, rest) = info.split_once("\nLoaded Configuration File => ")?;
        let (main, rest) = rest.split_once('\n')?;
        let (_, rest) = rest.split_once("\nAdditional .ini files parsed => ")?;
        let more = rest.lines().take_while(|line| line.ends_with(',')).count();
        let existing = |file: &str| (file != "(none)").then(|| PathBuf::from(file));
        Some(Self {
            main: existing(main),
            scanned: rest
                .lines()
                .take(more + 1)
                .filter_map(|line| existing(line.trim_end_matches(',')))
                .collect(),
        })
    }
}

/// Returns `true` if an ini file enables the extension, in any of the accepted spellings. An
/// unreadable file counts as not enabling it, and PHP will report it.
fn enables_celery(file: &Path) -> bool {
    let text = fs::read(file).unwrap_or_default();
    String::from_utf8_lossy(&text).lines().any(|line| {
        let line = line.split(';').next().unwrap_or_default();
        line.split_once('=').is_some_and(|(name, value)| {
            let value = Path::new(value.trim().trim_matches(['"', '\'']));
            let stem = value.file_stem().and_then(|stem| stem.to_str());
            name.trim() == "extension" && matches!(stem, Some("celery" | "libcelery"))
        })
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

    use super::*;

    #[test]
    fn the_ini_files_that_php_names() {
        let info = |main, scanned| {
            format!(
                "phpinfo()\nPHP Version => 8.2.0\n\nLoaded Configuration File => {main}\n\
                 Scan this dir for additional .ini files => /c\n\
                 Additional .ini files parsed => {scanned}\n\nPHP API => 20220829\n"
            )
        };
        let files = |main: Option<&str>, scanned: &[&str]| {
            Some(IniFiles {
                main: main.map(PathBuf::from),
                scanned: scanned.iter().map(PathBuf::from).collect(),
            })
        };
        assert_eq!(
            IniFiles::parse(&info("/php.ini", "/c/10-a.ini,\n/c/20-b.ini,\n/d/9.ini")),
            files(
                Some("/php.ini"),
                &["/c/10-a.ini", "/c/20-b.ini", "/d/9.ini"]
            )
        );
        assert_eq!(
            IniFiles::parse(&info("(none)", "/c/10-a.ini")),
            files(None, &["/c/10-a.ini"])
        );
        assert_eq!(IniFiles::parse(&info("(none)", "(none)")), files(None, &[]));
        assert_eq!(IniFiles::parse("Segmentation fault"), None);
    }

    #[test]
    fn ways_to_enable_the_extension() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("some.ini");
        let enables = |line: &str| {
            fs::write(&file, format!("; a comment\nmemory_limit = 1G\n{line}\n")).unwrap();
            enables_celery(&file)
        };
        assert!(enables("extension=celery"));
        assert!(enables(
            "  extension = \"/target/release/libcelery.so\" ; built"
        ));
        assert!(enables("extension='celery.so'\r"));
        assert!(!enables(";extension=celery"));
        assert!(!enables("extension=celery_other"));
        assert!(!enables("celery.result_timeout = 7"));
        assert!(!enables("zend_extension=opcache"));
        assert!(!enables_celery(&folder.path().join("none.ini")));
    }
}
