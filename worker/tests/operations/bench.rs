//! A server, and workers whose tasks have annotations.

use celery_testkit::{Process, Redis, RedisOptions};

use crate::world::*;

/// A server, and the file of settings with an annotation of one task.
pub struct Bench {
    pub redis: Redis,
    folder: tempfile::TempDir,
}

impl Bench {
    pub fn new(annotation: &str) -> Self {
        let bench = Bench {
            redis: Redis::start(RedisOptions::new()).unwrap(),
            folder: tempfile::tempdir().unwrap(),
        };
        std::fs::write(bench.folder.path().join("worker.toml"), annotation).unwrap();
        bench
    }

    pub fn worker(&self, more: &[&str]) -> Process {
        let mut command = command(&self.redis, more);
        let file = self.folder.path().join("worker.toml");
        command.arg("--config").arg(file);
        command.args([
            "-l",
            "debug",
            "--lease",
            "1",
            "--metrics-addr",
            "127.0.0.1:0",
        ]);
        start(&mut command)
    }

    pub fn succeeded(&self, ids: &[String]) -> usize {
        let is = |id: &&String| {
            result(&self.redis, id).is_some_and(|document| document["status"] == "SUCCESS")
        };
        ids.iter().filter(is).count()
    }

    pub fn places(&self) -> Vec<String> {
        let keys = self.redis.cli(&["--raw", "KEYS", "rs.slots.*"]).unwrap();
        let mut keys: Vec<String> = keys
            .lines()
            .filter(|it| !it.is_empty())
            .map(str::to_owned)
            .collect();
        keys.sort_unstable();
        keys
    }
}
