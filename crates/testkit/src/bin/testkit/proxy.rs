//! `testkit proxy PORT`: a proxy with faults, for tests that are not written in Rust.
//!
//! Its first line of output is its own port. Each line of input is a command, and each is answered
//! with a line: `ok` and the number of connections accepted so far, or an error. It ends with its
//! input.

use std::io::{self, BufRead, Write};
use std::process::ExitCode;
use std::time::Duration;

use celery_testkit::{Error, Fault, Proxy, wait_for};

/// The commands, for the usage.
pub(crate) const COMMANDS: &str = "\
  none          data is passed on at once, as in the beginning
  latency MS    data is passed on this many milliseconds later
  drip MS       one byte is passed on in each interval of this length
  silence       nothing is read or written; connections stay open
  reset         new connections are reset
  reset-all     the open connections are reset, once
  strand-all    the open connections stay silent without limit
";

/// The time for resetting connections, which wait out their present fault first.
const RESET: Duration = Duration::from_mins(1);

/// Serves commands until the input ends.
pub(crate) fn serve(port: &str) -> Result<ExitCode, Error> {
    let port = port
        .parse()
        .map_err(|_| Error::Failed(format!("{port} is not a port")))?;
    let proxy = Proxy::to_port(port)?;
    let mut output = io::stdout().lock();
    let mut say = |line: &str| {
        writeln!(output, "{line}")
            .and_then(|()| output.flush())
            .map_err(|source| Error::Failed(format!("writing: {source}")))
    };
    say(&proxy.port().to_string())?;
    for line in io::stdin().lock().lines() {
        let line = line.map_err(|source| Error::Failed(format!("reading: {source}")))?;
        match obey(&proxy, &line) {
            Some(()) => say(&format!("ok {}", proxy.accepted()))?,
            None => say(&format!("unknown command: {line}"))?,
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn obey(proxy: &Proxy, line: &str) -> Option<()> {
    let mut words = line.split_whitespace();
    let command = words.next()?;
    let mut time = || Some(Duration::from_millis(words.next()?.parse().ok()?));
    match command {
        "none" => proxy.set(Fault::None),
        "latency" => proxy.set(Fault::Latency(time()?)),
        "drip" => proxy.set(Fault::Drip(time()?)),
        "silence" => proxy.set(Fault::Silence),
        "reset" => proxy.set(Fault::Reset),
        "reset-all" => {
            proxy.reset_all();
            let all_are_reset = || proxy.open() == 0;
            wait_for(RESET, "the end of the open connections", all_are_reset).ok()?;
        }
        "strand-all" => proxy.strand_all(),
        _ => return None,
    }
    Some(())
}
