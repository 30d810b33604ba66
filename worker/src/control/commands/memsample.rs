//! `memsample`: the resident memory of the process, as Celery writes it: `52.1MB`.

use crate::control::answer::{Answer, answer};

/// The units of Celery's `humanbytes`.
const UNITS: [(f64, &str); 4] = [
    (1_099_511_627_776.0, "TB"),
    (1_073_741_824.0, "GB"),
    (1_048_576.0, "MB"),
    (1_024.0, "KB"),
];

pub(super) fn run() -> Answer {
    answer(&resident().map(human))
}

/// Returns the resident bytes of this process. Returns `None` where the system does not say, as
/// Python does without psutil.
fn resident() -> Option<f64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kilobytes: f64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kilobytes * 1_024.0)
}

fn human(bytes: f64) -> String {
    let unit = UNITS.iter().find(|(size, _)| bytes >= *size);
    match unit {
        Some((size, unit)) => format!("{:.1}{unit}", bytes / size),
        None => format!("{bytes:.0}B"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_written_as_celery_writes_them() {
        assert_eq!(human(52.1 * 1_048_576.0), "52.1MB");
        assert_eq!(human(1_024.0), "1.0KB");
        assert_eq!(human(17.0), "17B");
        assert!(resident().is_some_and(|bytes| bytes > 100_000.0));
    }
}
