//! `testkit up SERVICE… -- COMMAND…` runs one command with private servers around it; `testkit proxy
//! PORT` is in `proxy`.
//!
//! The command finds the servers' addresses in its environment. It receives the signals sent to
//! `testkit`, and its exit code becomes `testkit`'s own. When it ends, all servers are stopped and
//! removed. Ctrl-C reaches only the command. The servers stay up until the command has ended.

mod proxy;

use std::env;
use std::ffi::OsString;
use std::path::Path;
use std::process::{Child, Command, ExitCode};
use std::thread;

use celery_testkit::{
    Error, Fpm, MariaDb, OtlpCollector, Php, Process, RabbitMq, RabbitMqOptions, Redis,
    RedisCluster, RedisOptions, ServerName,
};
use rustix::process::{Pid, Signal, kill_process};
use signal_hook::consts::signal::{SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGUSR1, SIGUSR2};
use signal_hook::iterator::SignalsInfo;
use signal_hook::iterator::exfiltrator::WithOrigin;

const USAGE: &str = "\
usage: testkit up SERVICE... -- COMMAND...
       testkit proxy PORT

Starts private servers on free ports, runs COMMAND, and stops everything when it ends.

services, and the variables that COMMAND finds:
  redis         REDIS_URL REDIS_HOST REDIS_PORT REDIS_SOCKET REDIS_PID
  redis=aof     as redis, and a kill loses nothing
  cluster       CLUSTER_URL, with the prefix {celery}:, and CLUSTER_PORTS: those of its masters, the
                owner of the slot first
  rabbitmq      AMQP_URL AMQP_PORT AMQP_PID, and with certificates of clients AMQP_TLS_PORT;
                AMQP_CERTIFICATES: the folder with ca.crt, client.crt and client.key
  mariadb       DATABASE_URL DB_HOST DB_PORT DB_SOCKET DB_USERNAME DB_PASSWORD DB_DATABASE DB_PID
  otlp          OTLP_URL: a collector of OpenTelemetry; its path /spans shows what it got
  php           every `php` loads the extension that was built last, or $CELERY_EXTENSION
  fpm=FOLDER    as php, and APP_URL FPM_PID: nginx and PHP-FPM with the extension serve FOLDER

PHP_INI_SCAN_DIR is always set, so that no `php` loads an extension installed on this machine.
";

/// The services that were started, in the order in which they can be dropped.
struct Services {
    web: Vec<Fpm>,
    php: Php,
    redis: Vec<Redis>,
    clusters: Vec<RedisCluster>,
    rabbitmq: Vec<RabbitMq>,
    mariadb: Vec<MariaDb>,
    environment: Vec<(&'static str, OsString)>,
}

fn main() -> ExitCode {
    let arguments: Vec<OsString> = env::args_os().skip(1).collect();
    let outcome = match (parse(&arguments), port_of_proxy(&arguments)) {
        (Some((services, command)), _) => up(&services, command),
        (None, Some(port)) => proxy::serve(port),
        (None, None) => {
            eprint!(
                "{USAGE}\ncommands of a proxy, one a line of its input:\n{}",
                proxy::COMMANDS
            );
            return ExitCode::from(2);
        }
    };
    match outcome {
        Ok(code) => code,
        Err(error) => {
            eprintln!("testkit: {error}");
            ExitCode::from(70)
        }
    }
}

fn port_of_proxy(arguments: &[OsString]) -> Option<&str> {
    match arguments {
        [verb, port] if verb == "proxy" => port.to_str(),
        _ => None,
    }
}

fn parse(arguments: &[OsString]) -> Option<(Vec<&str>, &[OsString])> {
    let [verb, rest @ ..] = arguments else {
        return None;
    };
    let end = rest.iter().position(|argument| argument == "--")?;
    let command = &rest[end + 1..];
    if verb != "up" || command.is_empty() {
        return None;
    }
    let services: Option<Vec<_>> = rest[..end].iter().map(|name| name.to_str()).collect();
    Some((services?, command))
}

fn up(names: &[&str], command: &[OsString]) -> Result<ExitCode, Error> {
    // Signals are caught before the first server starts, so that no server is left behind.
    let mut signals =
        SignalsInfo::<WithOrigin>::new([SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGUSR1, SIGUSR2])
            .map_err(|source| Error::Failed(format!("catching signals: {source}")))?;
    celery_testkit::leave_terminal_group();
    let mut services = Services::new()?;
    for name in names {
        services.start(name)?;
    }
    let (program, arguments) = command
        .split_first()
        .ok_or_else(|| Error::Failed("no command".to_owned()))?;
    let mut child = Command::new(program)
        .args(arguments)
        .envs(
            services
                .environment
                .iter()
                .map(|(name, value)| (name, value)),
        )
        .spawn()
        .map_err(|source| {
            Error::Failed(format!("starting {}: {source}", program.to_string_lossy()))
        })?;
    let target = pid(&child);
    thread::spawn(move || {
        for origin in signals.forever() {
            // A signal without a sender comes from the terminal, which sends it to the command,
            // too.
            if origin.process.is_some()
                && let (Some(target), Some(signal)) =
                    (target, Signal::from_named_raw(origin.signal))
            {
                let _gone = kill_process(target, signal);
            }
        }
    });
    let status = child
        .wait()
        .map_err(|source| Error::Failed(format!("waiting for the command: {source}")))?;
    drop(services);
    let code = u8::try_from(Process::shell_code(status)).unwrap_or(1);
    Ok(ExitCode::from(code))
}

fn pid(child: &Child) -> Option<Pid> {
    Pid::from_raw(i32::try_from(child.id()).ok()?)
}

impl Services {
    fn new() -> Result<Self, Error> {
        let mut services = Self {
            web: Vec::new(),
            php: Php::new()?,
            redis: Vec::new(),
            clusters: Vec::new(),
            rabbitmq: Vec::new(),
            mariadb: Vec::new(),
            environment: Vec::new(),
        };
        // A command that needs no PHP must run where PHP is not installed.
        if let Ok(program) = Php::program() {
            services.export("PHP_INI_SCAN_DIR", services.php.scan_dir(&program)?);
        }
        Ok(services)
    }

    fn start(&mut self, name: &str) -> Result<(), Error> {
        match name.split_once('=').unwrap_or((name, "")) {
            ("redis", "") => self.redis(RedisOptions::new()),
            ("redis", "aof") => self.redis(RedisOptions::new().aof()),
            ("cluster", "") => self.cluster(),
            ("rabbitmq", "") => self.rabbitmq(),
            ("mariadb", "") => self.mariadb(),
            ("otlp", "") => self.otlp(),
            ("php", "") => self.php(),
            ("fpm", folder) if !folder.is_empty() => self.fpm(Path::new(folder)),
            _ => Err(Error::Failed(format!("unknown service {name}\n{USAGE}"))),
        }
    }

    fn export(&mut self, name: &'static str, value: impl Into<OsString>) {
        self.environment.push((name, value.into()));
    }

    fn redis(&mut self, options: RedisOptions) -> Result<(), Error> {
        let redis = options.start()?;
        self.export("REDIS_URL", redis.url());
        self.export("REDIS_HOST", "127.0.0.1");
        self.export("REDIS_PORT", redis.port().to_string());
        self.export("REDIS_SOCKET", redis.socket());
        self.export("REDIS_PID", redis.pid().to_string());
        self.redis.push(redis);
        Ok(())
    }

    fn cluster(&mut self) -> Result<(), Error> {
        let cluster = RedisCluster::start(&RedisOptions::new(), "{celery}:", 0)?;
        let ports = cluster.nodes().iter().map(|node| node.port().to_string());
        self.export("CLUSTER_URL", cluster.url());
        self.export("CLUSTER_PORTS", ports.collect::<Vec<_>>().join(" "));
        self.clusters.push(cluster);
        Ok(())
    }

    fn otlp(&mut self) -> Result<(), Error> {
        let collector = OtlpCollector::start()?;
        self.export("OTLP_URL", collector.url());
        Ok(())
    }

    fn rabbitmq(&mut self) -> Result<(), Error> {
        let options = RabbitMqOptions::new().tls(ServerName::Right);
        let rabbitmq = RabbitMq::start(options.client_certificates())?;
        self.export("AMQP_URL", rabbitmq.url());
        self.export("AMQP_PORT", rabbitmq.port().to_string());
        self.export("AMQP_PID", rabbitmq.pid().to_string());
        if let Some(certificates) = rabbitmq.certificates() {
            self.export("AMQP_TLS_PORT", rabbitmq.tls_port().to_string());
            let ca = certificates.ca();
            self.export("AMQP_CERTIFICATES", ca.parent().unwrap_or(&ca));
        }
        self.rabbitmq.push(rabbitmq);
        Ok(())
    }

    fn mariadb(&mut self) -> Result<(), Error> {
        let mariadb = MariaDb::start()?;
        self.export("DATABASE_URL", mariadb.url());
        self.export("DB_HOST", "127.0.0.1");
        self.export("DB_PORT", mariadb.port().to_string());
        self.export("DB_SOCKET", mariadb.socket());
        self.export("DB_USERNAME", mariadb.username());
        self.export("DB_PASSWORD", mariadb.password());
        self.export("DB_DATABASE", mariadb.database());
        self.export("DB_PID", mariadb.pid().to_string());
        self.mariadb.push(mariadb);
        Ok(())
    }

    fn php(&mut self) -> Result<(), Error> {
        Php::program()?;
        self.php.load(&Php::built_extension()?)
    }

    fn fpm(&mut self, folder: &Path) -> Result<(), Error> {
        self.php()?;
        let fpm = Fpm::start(folder, &self.php, 4, &self.environment)?;
        self.export("APP_URL", fpm.url());
        self.export("FPM_PID", fpm.pid().to_string());
        self.web.push(fpm);
        Ok(())
    }
}
