//! PHP-FPM behind nginx, serving one folder on a free port.
//!
//! Every path that does not name a file goes to `index.php`, as web applications expect.

use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use tempfile::TempDir;

use crate::ports::find_program;
use crate::{Error, Php, Process, free_port, wait_for};

/// Time for both servers to start.
const START: Duration = Duration::from_secs(20);
/// The number of free ports to try: another program can take a port before the server binds it.
const TRIES: usize = 5;

/// A web server with PHP. Dropping it kills both servers and removes the folder.
#[derive(Debug)]
pub struct Fpm {
    // Fields drop in this order: nginx ends before PHP-FPM.
    _nginx: Process,
    processes: Process,
    port: u16,
    folder: TempDir,
}

impl Fpm {
    /// Serves `root` with `workers` PHP processes. They see `environment` and the variables of this
    /// process.
    ///
    /// # Errors
    ///
    /// Returns [`Error::Missing`] when `php-fpm` or `nginx` is not installed, [`Error::Ended`] when
    /// one cannot start.
    pub fn start<K: AsRef<OsStr>, V: AsRef<OsStr>>(
        root: &Path,
        php: &Php,
        workers: u32,
        environment: &[(K, V)],
    ) -> Result<Self, Error> {
        let root =
            fs::canonicalize(root).map_err(Error::io(format!("serving {}", root.display())))?;
        let folder = tempfile::Builder::new()
            .prefix("fpm-")
            .tempdir()
            .map_err(Error::io("making a temporary folder"))?;
        let processes = start_fpm(php, workers, environment, folder.path())?;
        let mut tries = 1;
        let (port, nginx) = loop {
            let port = free_port()?;
            match start_nginx(&root, port, folder.path()) {
                Ok(nginx) => break (port, nginx),
                Err(Error::Ended { log, .. })
                    if tries < TRIES && log.contains("Address already in use") =>
                {
                    tries += 1;
                }
                Err(error) => return Err(error),
            }
        };
        Ok(Self {
            _nginx: nginx,
            processes,
            port,
            folder,
        })
    }

    /// Returns `http://127.0.0.1:port`.
    #[must_use]
    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// Returns the process id of PHP-FPM's master; SIGUSR2 reloads it.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.processes.pid()
    }

    /// Returns the log of PHP-FPM, which also holds what the pages wrote with `error_log()`.
    #[must_use]
    pub fn log(&self) -> String {
        self.processes.log()
    }

    /// Returns the folder with the settings and logs.
    #[must_use]
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }
}

fn start_fpm<K: AsRef<OsStr>, V: AsRef<OsStr>>(
    php: &Php,
    workers: u32,
    environment: &[(K, V)],
    folder: &Path,
) -> Result<Process, Error> {
    let socket = folder.join("fpm.sock");
    let user = if is_root() {
        "user = root\ngroup = root\n"
    } else {
        ""
    };
    let settings = format!(
        "[global]\ndaemonize = no\nerror_log = /proc/self/fd/2\n\
         [www]\n{user}listen = {}\nlisten.mode = 0666\npm = static\npm.max_children = {workers}\n\
         clear_env = no\ncatch_workers_output = yes\ndecorate_workers_output = no\n",
        socket.display()
    );
    let file = folder.join("php-fpm.conf");
    fs::write(&file, settings).map_err(Error::io("writing php-fpm.conf"))?;
    let program = find_fpm()?;
    let mut command = Command::new(&program);
    command.arg("--fpm-config").arg(&file);
    if is_root() {
        command.arg("--allow-to-run-as-root");
    }
    command
        .envs(environment.iter().map(|(name, value)| (name, value)))
        .env("PHP_INI_SCAN_DIR", php.scan_dir(&program)?);
    let log = folder.join("php-fpm.log");
    let mut fpm = Process::spawn_logged("php-fpm", &mut command, &log, true)?;
    fpm.wait_for_line(START, "ready to handle connections")?;
    Ok(fpm)
}

/// Finds `php-fpm`; on Debian the file name contains the version.
fn find_fpm() -> Result<PathBuf, Error> {
    let plain = find_program("php-fpm", "php-fpm");
    if plain.is_ok() {
        return plain;
    }
    let versioned = fs::read_dir("/usr/sbin")
        .into_iter()
        .flatten()
        .filter_map(|entry| entry.ok()?.file_name().into_string().ok())
        .filter(|name| name.starts_with("php-fpm"))
        .max();
    match versioned {
        Some(name) => find_program(&name, "php-fpm"),
        None => plain,
    }
}

fn start_nginx(root: &Path, port: u16, folder: &Path) -> Result<Process, Error> {
    let at = |name: &str| folder.join(name).display().to_string();
    let user = if is_root() { "user root;\n" } else { "" };
    let temporary = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
        .map(|kind| format!("{kind}_temp_path {};\n", at(kind)))
        .concat();
    let settings = format!(
        "{user}daemon off;\nworker_processes 1;\npid {pid};\nerror_log stderr notice;\n\
         events {{ worker_connections 512; }}\n\
         http {{\naccess_log off;\n{temporary}\
         types {{ text/html html; text/css css; text/javascript js; image/svg+xml svg; }}\n\
         server {{\nlisten 127.0.0.1:{port};\nroot \"{root}\";\n\
         location / {{ try_files $uri /index.php$is_args$args; }}\n\
         location ~ \\.php$ {{\n\
         fastcgi_pass unix:{socket};\n\
         fastcgi_param SCRIPT_FILENAME $document_root$fastcgi_script_name;\n\
         fastcgi_param SCRIPT_NAME $fastcgi_script_name;\n\
         fastcgi_param DOCUMENT_ROOT $document_root;\n\
         fastcgi_param REQUEST_METHOD $request_method;\n\
         fastcgi_param REQUEST_URI $request_uri;\n\
         fastcgi_param QUERY_STRING $query_string;\n\
         fastcgi_param CONTENT_TYPE $content_type;\n\
         fastcgi_param CONTENT_LENGTH $content_length;\n\
         fastcgi_param SERVER_PROTOCOL $server_protocol;\n\
         fastcgi_param SERVER_NAME 127.0.0.1;\n\
         fastcgi_param SERVER_PORT $server_port;\n\
         fastcgi_param REMOTE_ADDR $remote_addr;\n\
         }}\n}}\n}}\n",
        pid = at("nginx.pid"),
        root = root.display(),
        socket = at("fpm.sock"),
    );
    let file = folder.join("nginx.conf");
    fs::write(&file, settings).map_err(Error::io("writing nginx.conf"))?;
    let mut command = Command::new(find_program("nginx", "nginx-light")?);
    command
        .arg("-c")
        .arg(&file)
        .arg("-p")
        .arg(folder)
        .args(["-e", "stderr"]);
    let log = folder.join("nginx.log");
    let mut nginx = Process::spawn_logged("nginx", &mut command, &log, true)?;
    nginx.wait_for_line(START, "start worker process ")?;
    wait_for(START, "nginx's port", || {
        std::net::TcpStream::connect(("127.0.0.1", port)).is_ok()
    })?;
    Ok(nginx)
}

fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}
