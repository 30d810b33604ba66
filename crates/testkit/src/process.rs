//! A program run beside a test, with its output captured.
//!
//! Output goes to a file, not to a pipe: a program that writes much never blocks on a reader that is busy, and
//! its last words are there after its death. The program is stopped when the value is dropped.

use std::fs::{self, File};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process, kill_process_group};
use tempfile::TempDir;

use crate::{Error, wait_for};

/// How long a program may take to end after SIGTERM before it is killed.
const GRACE: Duration = Duration::from_secs(10);
/// How much of the output an error quotes.
const QUOTED: usize = 4000;

/// Whether every program gets a process group of its own; see [`leave_terminal_group`].
static OWN_GROUPS: AtomicBool = AtomicBool::new(false);

/// Puts every program started from now on into a process group of its own, so that Ctrl-C does not reach it.
///
/// Tests leave this alone: a test runner that gives up on a test kills the test's group, and all it started.
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
    ended: Option<ExitStatus>,
    /// Removed with the process.
    folder: Option<TempDir>,
}

impl Process {
    /// Starts `command` with no input and with its output captured in a temporary file.
    ///
    /// # Errors
    ///
    /// [`Error::Io`] when the program cannot be started.
    pub fn spawn(name: &str, command: &mut Command) -> Result<Self, Error> {
        let folder = tempfile::tempdir().map_err(Error::io("making a temporary folder"))?;
        let log = folder.path().join("output.log");
        let mut process = Self::spawn_logged(name, command, &log, false)?;
        process.folder = Some(folder);
        Ok(process)
    }

    /// As [`Process::spawn`], for a program that has children of its own: signals go to all of them.
    ///
    /// # Errors
    ///
    /// [`Error::Io`] when the program cannot be started.
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
        Ok(Self {
            name: name.to_owned(),
            child,
            log: log.to_owned(),
            group,
            ended: None,
            folder: None,
        })
    }

    /// The process id.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Everything the program has written so far; bytes that are no UTF-8 are replaced.
    #[must_use]
    pub fn log(&self) -> String {
        fs::read(&self.log)
            .map(|bytes| String::from_utf8_lossy(&bytes).into_owned())
            .unwrap_or_default()
    }

    /// Waits for a line that contains `text` and gives the first one.
    ///
    /// # Errors
    ///
    /// [`Error::Timeout`] or, when the program is gone without having written it, [`Error::Ended`].
    pub fn wait_for_line(&mut self, deadline: Duration, text: &str) -> Result<String, Error> {
        self.wait_for_line_after(deadline, text, 0)
    }

    /// As [`Process::wait_for_line`], ignoring the first `offset` bytes of the output.
    ///
    /// # Errors
    ///
    /// As [`Process::wait_for_line`].
    pub fn wait_for_line_after(
        &mut self,
        deadline: Duration,
        text: &str,
        offset: usize,
    ) -> Result<String, Error> {
        let mut found = None;
        let mut gone = None;
        let waited = wait_for(deadline, "", || {
            // First the state, then the output: what a program wrote before its end is never missed.
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

    /// Sends SIGKILL and waits for the end.
    pub fn kill9(&mut self) {
        self.signal(Signal::KILL);
        self.reap();
    }

    /// Freezes the program: SIGSTOP.
    pub fn pause(&self) {
        self.signal(Signal::STOP);
    }

    /// Lets a frozen program go on: SIGCONT.
    pub fn resume(&self) {
        self.signal(Signal::CONT);
    }

    /// Asks the program to end and kills it when it does not within ten seconds.
    pub fn stop(&mut self) -> Option<ExitStatus> {
        self.resume();
        self.terminate();
        if self.wait(GRACE).is_err() {
            self.kill9();
        }
        self.ended
    }

    /// Waits for the end of the program.
    ///
    /// # Errors
    ///
    /// [`Error::Timeout`] when it is still running after `deadline`.
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

    /// How the program ended, or nothing while it runs.
    pub fn exit_status(&mut self) -> Option<ExitStatus> {
        if self.ended.is_none() {
            self.ended = self.child.try_wait().unwrap_or_default();
        }
        self.ended
    }

    /// The exit code a shell would give: 128 and the signal's number for a program that a signal ended.
    #[must_use]
    pub fn shell_code(status: ExitStatus) -> i32 {
        status
            .code()
            .unwrap_or_else(|| 128 + status.signal().unwrap_or_default())
    }

    /// The end of the output, short enough to be quoted.
    pub(crate) fn log_end(&self) -> String {
        let log = self.log();
        let mut from = log.len().saturating_sub(QUOTED);
        while !log.is_char_boundary(from) {
            from += 1;
        }
        log[from..].to_owned()
    }

    /// The number of bytes written so far.
    #[must_use]
    pub fn log_len(&self) -> usize {
        self.log().len()
    }

    pub(crate) fn signal(&self, signal: Signal) {
        // A process that was reaped has given its id back: it may be somebody else's by now.
        if self.ended.is_some() {
            return;
        }
        let Some(pid) = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw) else {
            return;
        };
        // Failing means that the process is gone, which is what any caller sees next.
        let _gone = if self.group {
            kill_process_group(pid, signal)
        } else {
            kill_process(pid, signal)
        };
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
            self.ended = self.child.wait().ok();
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
