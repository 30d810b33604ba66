//! A PHP that posts tasks while faults happen, and posts each until the broker confirms it.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use celery_testkit::{Php, Process};

use crate::world::PATIENCE;

/// The default of `celery.post_timeout`.
pub const TIMEOUT: Duration = Duration::from_secs(5);

/// A PHP that posts tasks.
pub struct Poster {
    process: Process,
    // PHP reads its settings from there.
    _php: Php,
}

impl Poster {
    /// Starts to post tasks, each of which this number of replicas must have before it counts as
    /// posted. A post fails after `timeout`. Returns `None` if the extension was not built.
    pub fn start(
        broker: &str,
        first: u32,
        count: u32,
        replicas: u32,
        timeout: Duration,
    ) -> Option<Self> {
        let extension = Php::built_extension().ok()?;
        let php = Php::new().unwrap();
        php.load(&extension).unwrap();
        let program = Php::program().unwrap();
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/chaos/poster.php");
        let mut command = Command::new(&program);
        command.arg(script).arg(broker);
        command.args([first, count, replicas].map(|number| number.to_string()));
        command.arg(timeout.as_secs().to_string());
        command.env("PHP_INI_SCAN_DIR", php.scan_dir(&program).unwrap());
        let process = Process::spawn("php", &mut command).unwrap();
        Some(Self { process, _php: php })
    }

    /// Waits until all tasks are posted. Returns how many posts failed at first, and the longest time
    /// of a post with its repetitions.
    pub fn finish(mut self) -> (u32, f64) {
        let line = self.process.wait_for_line(PATIENCE, "posted failed=");
        let line = line.unwrap_or_else(|error| panic!("{error}: {}", self.process.log()));
        let status = self.process.wait(PATIENCE).unwrap();
        assert!(status.success(), "{}", self.process.log());
        let value = |name| {
            let (_, value) = line.split_once(name).unwrap();
            value.split_whitespace().next().unwrap().to_owned()
        };
        let slowest = value("slowest=").parse().unwrap();
        let failed = value("failed=").parse().unwrap();
        if failed > 0 {
            println!("{}", self.process.log());
        }
        (failed, slowest)
    }
}
