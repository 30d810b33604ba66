//! Ends a process group when this process has ended, however it ended.
//!
//! A group of its own is not reached by the runner of a test, which kills the test's group. Its
//! programs would outlive a test that was killed. So a small shell waits at the end of a pipe. The
//! other end belongs to this process alone, and closes with it.

use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Stdio};

use crate::Error;

/// Ignores what ends the group's programs in order, waits for the end of its input, and kills the
/// group `$1`.
const SCRIPT: &str = r#"trap "" HUP INT QUIT TERM; read -r _; kill -s KILL -- "-$1""#;

/// The shell that watches over a group. Dropping it ends the shell, and leaves the group as it is.
#[derive(Debug)]
pub(crate) struct Guard(Child);

impl Guard {
    /// Watches over the group whose leader has this process id.
    pub(crate) fn over(group: u32) -> Result<Self, Error> {
        let shell = Command::new("sh")
            .args(["-c", SCRIPT, "guard", &group.to_string()])
            // It must not end with the test's group, and must not be frozen with the other.
            .process_group(0)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .map_err(Error::io("starting the guard of a process group"))?;
        Ok(Self(shell))
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        // `wait` would close the pipe first. A shell that is gone kills nothing.
        let _gone = self.0.kill();
        let _status = self.0.wait();
    }
}
