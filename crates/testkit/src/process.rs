//! A program run beside a test, with its output captured.
//!
//! Output goes to a file, not to a pipe. A program that writes much never blocks on a busy reader,
//! and its last lines are there after its death. Dropping the value stops the program.

use std::fs::{self, File};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process, kill_process_group};
use tempfile::TempDir;

use crate::guard::Guard;
use crate::{Error, wait_for};

/// The time that a program has to end after SIGTERM before it is killed.
const GRACE: Duration = Duration::from_secs(10);
/// The number of bytes of output that an error quotes.
const QUOTED: usize = 4000;

/// `true` if every program gets its own process group; see [`leave_terminal_group`].
static OWN_GROUPS: AtomicBool = AtomicBool::new(false);

/// Puts every program started from now on into its own process group, which Ctrl-C does not reach.
///
/// A test has no terminal, and its programs may share its group. A runner that gives up on a test
/// kills that group. Programs in groups of their own end with this process, too.
pub fn leave_terminal_group() {
    OWN_GROUPS.store(true, Ordering::Relaxed);
}

/// A running program.
#[derive(Debug)]
pub struct Process {
    name: String,
    child: Child,
    log: PathBuf,
    group: bool,
    /// Kills the group of a running program when this process ends. A program without a group of its
    /// own has none.
    guard: Option<Guard>,
    ended: Option<ExitStatus>,
    /// The folder of the log, removed with the process.
    folder: Option<TempDir>,
}

impl Process {
    /// Starts `command` with no input and with its output captured in a temporary file.
    ///
    /// # Errors
    ///
    /// Returns [`Error::Io`] when the program cannot be started.
    pub fn spawn(name: &str, command: &mut Command) -> Result<Self, Error> {
        let folder = tempfile::tempdir().map_err(Error::io("making a temporary folder"))?;
        let log = folder.path().join("output.log");
        let mut process = Self::spawn_logged(name, command, &log, false)?;
        process.folder = Some(folder);
        Ok(process)
    }

    /// Like [`Process::spawn`], for a program that has children: signals go to all of them. If this
    /// process is killed, so are they.
    ///
    /// # Errors
    ///
    /// Returns [`Error::Io`] when the program cannot be started.
    pub fn spawn_group(name: &str, command: &mut Command) -> Result<Self, Error> {
        let folder = tempfile::tempdir().map_err(Error::io("making a temporary folder"))?;
        let log = folder.path().join("output.log");
        let mut process = Self::spawn_logged(name, command, &log, true)?;
        process.folder = Some(folder);
        Ok(process)
    }

    /// Starts `command` with its output appended to `log`.
    pub(crate) fn spawn_logged(
        name: &str,
        command: &mut Command,
        log: &Path,
        group: bool,
    ) -> Result<Self, Error> {
        let output = File::options()
            .create(true)
            .append(true)
            .open(log)
            .map_err(Error::io(format!("opening {}", log.display())))?;
        let errors = output
            .try_clone()
            .map_err(Error::io(format!("opening {}", log.display())))?;
        let group = group || OWN_GROUPS.load(Ordering::Relaxed);
        if group {
            command.process_group(0);
        }
        let child = command
            .stdin(Stdio::null())
            .stdout(output)
            .stderr(errors)
            .spawn()
            .map_err(Error::io(format!("starting {name}")))?;
        let mut process = Self {
            name: name.to_owned(),
            child,
            log: log.to_owned(),
            group,
            guard: None,
            ended: None,
            folder: None,
        };
        if group {
            process.guard = Some(Guard::over(process.pid())?);
        }
        Ok(process)
    }

    /// Returns the process id.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Returns everything the program has written so far; invalid UTF-8 is replaced.
    #[must_use]
    pub fn log(&self) -> String {
        fs::read(&self.log)
            .map(|bytes| String::from_utf8_lossy(&bytes).into_owned())
            .unwrap_or_default()
    }

    /// Waits for a line that contains `text`; returns the first one.
    ///
    /// # Errors
    ///
    /// Returns [`Error::Timeout`] or, when the program ended without writing the line,
    /// [`Error::Ended`].
    pub fn wait_for_line(&mut self, deadline: Duration, text: &str) -> Result<String, Error> {
        self.wait_for_line_after(deadline, text, 0)
    }

    /// Like [`Process::wait_for_line`], but ignores the first `offset` bytes of the output.
    ///
    /// # Errors
    ///
    /// Fails like [`Process::wait_for_line`].
    pub fn wait_for_line_after(
        &mut self,
        deadline: Duration,
        text: &str,
        offset: usize,
    ) -> Result<String, Error> {
        let mut found = None;
        let mut gone = None;
        let waited = wait_for(deadline, "", || {
            // The state is read before the output, so that the last lines of a program are never
            // missed.
            gone = self.exit_status();
            found = self.line_with(text, offset);
            found.is_some() || gone.is_some()
        });
        match (found, gone, waited) {
            (Some(line), _, _) => Ok(line),
            (None, Some(status), _) => Err(Error::Ended {
                name: self.name.clone(),
                status: status.to_string(),
                log: self.log_end(),
            }),
            (None, None, _) => Err(Error::Timeout {
                what: format!("{:?} in the output of {}", text, self.name),
                after: deadline,
                log: format!("; the output:\n{}", self.log_end()),
            }),
        }
    }

    /// Leaves the program running, also when this process ends.
    pub(crate) fn leave(mut self) {
        self.guard = None;
        std::mem::forget(self);
    }

    /// Sends SIGTERM.
    pub fn terminate(&self) {
        self.signal(Signal::TERM);
    }

    /// Sends SIGINT.
    pub fn interrupt(&self) {
        self.signal(Signal::INT);
    }

    /// Sends SIGQUIT.
    pub fn quit(&self) {
        self.signal(Signal::QUIT);
    }

    /// Sends SIGUSR1.
    pub fn usr1(&self) {
        self.signal(Signal::USR1);
    }

    /// Sends SIGUSR2.
    pub fn usr2(&self) {
        self.signal(Signal::USR2);
    }

    /// Sends SIGHUP.
    pub fn hangup(&self) {
        self.signal(Signal::HUP);
    }

    /// Sends SIGKILL and waits until the program has ended.
    pub fn kill9(&mut self) {
        self.signal(Signal::KILL);
        self.reap();
    }

    /// Freezes the program: SIGSTOP. Waits until none of its threads runs, because on a busy machine
    /// the others go on until one of them has taken the signal.
    pub fn pause(&self) {
        self.signal(Signal::STOP);
        // A thread that waits for a disk stops later.
        let _late = wait_for(GRACE, "the program to stop", || self.is_stopped());
    }

    /// Lets a frozen program continue: SIGCONT.
    pub fn resume(&self) {
        self.signal(Signal::CONT);
    }

    /// Asks the program to end; kills it if it has not ended within ten seconds.
    pub fn stop(&mut self) -> Option<ExitStatus> {
        self.resume();
        self.terminate();
        if self.wait(GRACE).is_err() {
            self.kill9();
        }
        self.ended
    }

    /// Waits until the program ends.
    ///
    /// # Errors
    ///
    /// Returns [`Error::Timeout`] when it is still running after `deadline`.
    pub fn wait(&mut self, deadline: Duration) -> Result<ExitStatus, Error> {
        let mut status = None;
        let waited = wait_for(deadline, "", || {
            status = self.exit_status();
            status.is_some()
        });
        match (status, waited) {
            (Some(status), _) => Ok(status),
            (None, _) => Err(Error::Timeout {
                what: format!("the end of {}", self.name),
                after: deadline,
                log: format!("; the output:\n{}", self.log_end()),
            }),
        }
    }

    /// Returns how the program ended, or `None` while it runs.
    pub fn exit_status(&mut self) -> Option<ExitStatus> {
        if self.ended.is_none() {
            let status = self.child.try_wait().unwrap_or_default();
            self.note(status);
        }
        self.ended
    }

    /// Returns the exit code that a shell would give: 128 plus the signal's number if a signal
    /// ended the program.
    #[must_use]
    pub fn shell_code(status: ExitStatus) -> i32 {
        status
            .code()
            .unwrap_or_else(|| 128 + status.signal().unwrap_or_default())
    }

    /// Returns the end of the output, short enough to quote.
    pub(crate) fn log_end(&self) -> String {
        let log = self.log();
        let mut from = log.len().saturating_sub(QUOTED);
        while !log.is_char_boundary(from) {
            from += 1;
        }
        log[from..].to_owned()
    }

    /// Returns the number of bytes written so far.
    #[must_use]
    pub fn log_len(&self) -> usize {
        self.log().len()
    }

    pub(crate) fn signal(&self, signal: Signal) {
        // A process that was reaped has given back its id, which may belong to another process by
        // now.
        if self.ended.is_some() {
            return;
        }
        let Some(pid) = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw) else {
            return;
        };
        // An error means that the process is gone, which the caller sees at its next call.
        let _gone = if self.group {
            kill_process_group(pid, signal)
        } else {
            kill_process(pid, signal)
        };
    }

    /// Returns `true` if each thread of the program, or of its group, has stopped or ended.
    fn is_stopped(&self) -> bool {
        let own = self.child.id().to_string();
        let members = numbered(Path::new("/proc")).into_iter().filter(|folder| {
            if self.group {
                stat(folder).is_some_and(|fields| fields.get(2) == Some(&own))
            } else {
                folder.ends_with(&own)
            }
        });
        members
            .flat_map(|folder| numbered(&folder.join("task")))
            .filter_map(|thread| stat(&thread))
            .all(|fields| matches!(fields[0].as_str(), "T" | "t" | "Z" | "X"))
    }

    fn line_with(&self, text: &str, offset: usize) -> Option<String> {
        let bytes = fs::read(&self.log).ok()?;
        String::from_utf8_lossy(bytes.get(offset..)?)
            .lines()
            .find(|line| line.contains(text))
            .map(str::to_owned)
    }

    fn reap(&mut self) {
        if self.ended.is_none() {
            let status = self.child.wait().ok();
            self.note(status);
        }
    }

    /// Notes how the program ended, if it did. Its group may then be another's, so nothing may kill
    /// it any more.
    fn note(&mut self, status: Option<ExitStatus>) {
        self.ended = status;
        if status.is_some() {
            self.guard = None;
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if self.exit_status().is_none() {
            self.kill9();
        }
    }
}

/// Returns the folders in `folder` whose names are numbers.
fn numbered(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    let is_number = |path: &PathBuf| {
        let name = path.file_name().and_then(|name| name.to_str());
        name.is_some_and(|name| name.parse::<u32>().is_ok())
    };
    entries
        .map(|entry| entry.path())
        .filter(is_number)
        .collect()
}

/// Returns the state of a process or thread and what follows: its parent, its group. `None` if it is
/// gone.
fn stat(folder: &Path) -> Option<Vec<String>> {
    let text = fs::read_to_string(folder.join("stat")).ok()?;
    // The name before may contain anything.
    let (_, rest) = text.rsplit_once(") ")?;
    Some(rest.split(' ').map(str::to_owned).collect())
}
