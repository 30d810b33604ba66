//! A node that all tests of a run share.
//!
//! A node needs seconds to start, and each test of nextest is a process of its own. So the first test
//! that needs a node starts it, and the others find it by a file. The node belongs to the run: a small
//! shell, the *keeper*, waits for the end of the runner, however it ends, and then kills the node and
//! removes its files. Another runner has another node. Without nextest, the node belongs to the
//! process of the tests.

use std::fs::{self, DirBuilder, File};
use std::io::ErrorKind;
use std::os::unix::fs::DirBuilderExt;
use std::os::unix::process::{CommandExt, parent_id};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio, id};
use std::sync::atomic::{AtomicU32, Ordering};

use super::node::Ports;
use super::vhost::{Reach, VirtualHost};
use super::{RabbitMq, RabbitMqOptions};
use crate::Error;

/// Ignores what ends the runner's programs in order, and waits for the end of the process `$1`. Then it
/// kills the groups in `$3` and later, and removes the folder `$2`, into which they may still write for
/// a moment.
const KEEPER: &str = r#"
trap "" HUP INT QUIT TERM
tail -s 0.2 --pid="$1" -f /dev/null
folder=$2
shift 2
for group; do kill -s KILL -- "-$group"; done
for _ in 1 2 3 4 5; do rm -rf -- "$folder" && break; sleep 0.2; done
"#;

/// The virtual hosts that this process has made.
static VHOSTS: AtomicU32 = AtomicU32::new(0);

/// Makes a virtual host on the node of this run, which is started if it does not run yet.
pub(super) fn vhost() -> Result<VirtualHost, Error> {
    let (runner, start) = runner();
    let folder = std::env::temp_dir().join(format!("testkit-{runner}-{start}"));
    if let Err(error) = DirBuilder::new().mode(0o700).create(&folder)
        && error.kind() != ErrorKind::AlreadyExists
    {
        return Err(Error::io("making the folder of a run")(error));
    }
    // One process starts the node, and the others wait for it. The lock goes with its holder.
    let lock = File::create(folder.join("lock")).map_err(Error::io("opening a lock"))?;
    lock.lock().map_err(Error::io("waiting for a lock"))?;
    let file = folder.join("rabbitmq");
    let reach = match running(&file) {
        Some(reach) => reach,
        None => begin(&folder, &file, runner)?,
    };
    drop(lock);
    let mut vhost = reach.add_vhost(VHOSTS.fetch_add(1, Ordering::Relaxed))?;
    vhost.temporary = true;
    Ok(vhost)
}

/// Returns the process to which the node belongs, and when it started: the number is used again.
fn runner() -> (u32, String) {
    let parent = parent_id();
    let name = fs::read_to_string(format!("/proc/{parent}/comm")).unwrap_or_default();
    // The parent may have ended, which makes another process the parent.
    let by_nextest = std::env::var_os("NEXTEST").is_some() && name.contains("nextest");
    let runner = if by_nextest { parent } else { id() };
    let stat = fs::read_to_string(format!("/proc/{runner}/stat")).unwrap_or_default();
    // The name before may contain anything. The time of the start is field 22.
    let rest = stat.rsplit_once(") ").map_or("", |(_, rest)| rest);
    (runner, rest.split(' ').nth(19).unwrap_or("0").to_owned())
}

/// Returns the node that another test has started.
fn running(file: &Path) -> Option<Reach> {
    let text = fs::read_to_string(file).ok()?;
    let mut lines = text.lines();
    let folder = PathBuf::from(lines.next()?);
    let ports: Vec<u16> = lines.map_while(|line| line.parse().ok()).collect();
    let [amqp, tls, nodes, epmd] = ports[..] else {
        return None;
    };
    let ports = Ports {
        amqp,
        tls,
        nodes,
        epmd,
    };
    Some(Reach {
        ports,
        folder,
        starter: Vec::new(),
    })
}

/// Starts a node that outlives this process, and writes down how it is reached.
fn begin(folder: &Path, file: &Path, runner: u32) -> Result<Reach, Error> {
    let node = RabbitMq::start_in(folder, RabbitMqOptions::new(), None)?;
    let groups = node.groups().map(|group| group.to_string());
    // From here on, the keeper kills the node, and no longer the end of this process.
    Command::new("sh")
        .args(["-c", KEEPER, "keeper", &runner.to_string()])
        .arg(folder)
        .args(groups)
        // Neither Ctrl-C nor the end of a test's group reaches it.
        .process_group(0)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .map_err(Error::io("starting the keeper of a node"))?;
    let reach = node.leave();
    let Ports {
        amqp,
        tls,
        nodes,
        epmd,
    } = reach.ports;
    let text = format!(
        "{}\n{amqp}\n{tls}\n{nodes}\n{epmd}\n",
        reach.folder.display()
    );
    fs::write(file, text).map_err(Error::io("writing down a node"))?;
    Ok(reach)
}
