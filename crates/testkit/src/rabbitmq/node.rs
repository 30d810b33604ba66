//! The programs of a node: its name server, the node itself, and the way into its namespace.

use std::fs;
use std::net::{Ipv4Addr, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use super::RabbitMqOptions;
use crate::ports::{find_program, through};
use crate::{Certificates, Error, Process, wait_for};

/// The Debian package that contains the server.
const PACKAGE: &str = "rabbitmq-server";
/// The program of the package that may run as any user. The one on the `PATH` insists on its own.
const SERVER: &str = "/usr/lib/rabbitmq/bin/rabbitmq-server";
/// Time for a start, which takes about five seconds on an idle machine.
pub(super) const START: Duration = Duration::from_mins(2);
/// The line that the node logs once it accepts connections.
const READY: &str = "Server startup complete";
/// The space on the disk that must be free, and more than any disk has.
pub(super) const DISK_FREE: &str = "50MB";
pub(super) const DISK_TOO_MUCH: &str = "1000000GB";
/// The secret that Erlang nodes share. It protects nothing here: the ports are on loopback.
pub(super) const COOKIE: &str = "celerytestkit";
/// One scheduler that does not spin while it waits, because tests share the machine's processors.
const ERLANG: &str =
    "+S 1:1 +sbwt none -start_epmd false -kernel inet_dist_use_interface {127,0,0,1}";

/// The ports of a node, and that of its name server.
#[derive(Debug, Clone, Copy)]
pub(super) struct Ports {
    pub(super) amqp: u16,
    pub(super) tls: u16,
    pub(super) nodes: u16,
    pub(super) epmd: u16,
}

pub(super) fn node_name(ports: Ports) -> String {
    format!("testkit{}@localhost", ports.amqp)
}

/// Writes the files that the node reads.
pub(super) fn configure(
    folder: &Path,
    options: &RabbitMqOptions,
    certificates: Option<&Certificates>,
    ports: Ports,
) -> Result<(), Error> {
    let address = if options.starter.is_empty() {
        Ipv4Addr::LOCALHOST
    } else {
        Ipv4Addr::UNSPECIFIED
    };
    let mut lines = vec![
        format!("listeners.tcp.default = {address}:{}", ports.amqp),
        "vm_memory_high_watermark.absolute = 1GB".to_owned(),
        format!("disk_free_limit.absolute = {DISK_FREE}"),
        "log.console = true".to_owned(),
        "log.console.level = info".to_owned(),
        "log.file = false".to_owned(),
    ];
    if let Some(certificates) = certificates {
        let (certificate, key) = certificates.server();
        lines.extend([
            format!("listeners.ssl.default = 127.0.0.1:{}", ports.tls),
            format!("ssl_options.cacertfile = {}", certificates.ca().display()),
            format!("ssl_options.certfile = {}", certificate.display()),
            format!("ssl_options.keyfile = {}", key.display()),
        ]);
        if options.client_certificates {
            lines.push("ssl_options.verify = verify_peer".to_owned());
            lines.push("ssl_options.fail_if_no_peer_cert = true".to_owned());
        } else {
            lines.push("ssl_options.verify = verify_none".to_owned());
        }
    }
    lines.extend_from_slice(&options.extra);
    let write = |name: &str, text: &str| {
        let file = folder.join(name);
        fs::write(&file, text).map_err(Error::io(format!("writing {}", file.display())))
    };
    write("rabbitmq.conf", &(lines.join("\n") + "\n"))?;
    write("enabled_plugins", "[].\n")?;
    write("environment", "")?;
    let cookie = folder.join(".erlang.cookie");
    if !cookie.exists() {
        write(".erlang.cookie", COOKIE)?;
        // Erlang refuses a cookie that others may read.
        fs::set_permissions(&cookie, fs::Permissions::from_mode(0o400))
            .map_err(Error::io("protecting the cookie"))?;
    }
    Ok(())
}

/// Starts the name server and waits until it accepts connections.
pub(super) fn name_server(starter: &[String], folder: &Path, port: u16) -> Result<Process, Error> {
    let mut command = through(starter, &find_program("epmd", "erlang-base")?);
    command.args(["-port", &port.to_string(), "-address", "127.0.0.1"]);
    let log = folder.join("epmd.log");
    let mut process = Process::spawn_logged("epmd", &mut command, &log, true)?;
    let waited = wait_for(START, "epmd", || {
        process.exit_status().is_some() || names(starter, port).is_some()
    });
    match process.exit_status() {
        Some(status) => Err(Error::Ended {
            name: "epmd".to_owned(),
            status: status.to_string(),
            log: process.log(),
        }),
        None => waited.map(|()| process),
    }
}

/// Returns what the name server knows: a line with the name of each node. `None`: it does not answer.
pub(super) fn names(starter: &[String], port: u16) -> Option<String> {
    let mut command = through(starter, &find_program("epmd", "erlang-base").ok()?);
    command.args(["-port", &port.to_string(), "-names"]);
    let output = command.output().ok()?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    output.status.success().then_some(text)
}

/// Joins the port of a node in a namespace with the same port of this machine, and waits until that
/// accepts connections.
pub(super) fn join(starter: &[String], folder: &Path, port: u16) -> Result<Vec<Process>, Error> {
    let socat = find_program("socat", "socat")?;
    let file = folder.join("amqp.sock");
    let file = file.display();
    let mut inner = through(starter, &socat);
    inner.args([
        format!("UNIX-LISTEN:{file},fork"),
        format!("TCP4:127.0.0.1:{port}"),
    ]);
    let mut outer = Command::new(&socat);
    outer.args([
        format!("TCP4-LISTEN:{port},bind=127.0.0.1,fork,reuseaddr"),
        format!("UNIX-CONNECT:{file}"),
    ]);
    let mut joints = vec![
        Process::spawn_group("socat", &mut inner)?,
        Process::spawn_group("socat", &mut outer)?,
    ];
    wait_for(START, "the way to the node", || {
        let ended = joints.iter_mut().any(|it| it.exit_status().is_some());
        ended || TcpStream::connect((Ipv4Addr::LOCALHOST, port)).is_ok()
    })?;
    match joints
        .iter_mut()
        .find_map(|it| Some((it.exit_status()?, it.log())))
    {
        Some((status, log)) => Err(Error::Ended {
            name: "socat".to_owned(),
            status: status.to_string(),
            log,
        }),
        None => Ok(joints),
    }
}

/// Starts the node and waits until it accepts connections.
pub(super) fn node(starter: &[String], folder: &Path, ports: Ports) -> Result<Process, Error> {
    let mut command = through(starter, &find_program(SERVER, PACKAGE)?);
    command
        .current_dir(folder)
        .env("HOME", folder)
        .env("LC_ALL", "C.UTF-8")
        .env("ERL_EPMD_PORT", ports.epmd.to_string())
        .env("ERL_EPMD_ADDRESS", "127.0.0.1")
        .env("RABBITMQ_NODENAME", node_name(ports))
        .env("RABBITMQ_DIST_PORT", ports.nodes.to_string())
        .env("RABBITMQ_MNESIA_BASE", folder.join("mnesia"))
        .env("RABBITMQ_LOG_BASE", folder.join("log"))
        .env("RABBITMQ_CONF_ENV_FILE", folder.join("environment"))
        .env("RABBITMQ_CONFIG_FILE", folder.join("rabbitmq"))
        .env(
            "RABBITMQ_ENABLED_PLUGINS_FILE",
            folder.join("enabled_plugins"),
        )
        .env("RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS", ERLANG);
    let log = folder.join("node.log");
    let before = fs::metadata(&log).map_or(0, |file| file.len());
    // The node is a child of a script.
    let mut process = Process::spawn_logged("rabbitmq-server", &mut command, &log, true)?;
    let offset = usize::try_from(before).unwrap_or_default();
    process.wait_for_line_after(START, READY, offset)?;
    Ok(process)
}
