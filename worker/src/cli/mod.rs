//! The command line of `celery-worker`, for any worker written with this library.
//!
//! Exit codes; `check` has its own:
//!
//! * 0 – after a warm stop.
//! * 1 – after a cold stop or an error.
//! * 64 – the command line cannot be read.
//! * 70 – stuck tasks stopped the worker.
//! * 75 – the process has reached its limit of tasks or memory.
//! * 78 – a setting cannot be used.

mod banner;
mod beat;
mod celery;
mod check;
mod dead;
mod dead_queue;
mod ended;
mod fair;
mod finding;
mod held;
mod letters;
mod locks;
mod options;
mod papers;
mod pidfile;
mod rabbitmq;
mod redbeat;
mod redis;
mod rights;
mod secrets;
mod top;

use std::process::ExitCode;

use clap::error::ErrorKind;

use crate::app::{StartError, Stopped, Worker, WorkerBuilder, run_beat};
use crate::config::value::ConfigError;
use crate::config::{Config, Settings};
use crate::logging;
use crate::shutdown::Shutdown;
use celery::Words;
use options::{Command, Options};
use pidfile::PidFile;

/// `EX_USAGE` of sysexits.h.
const USAGE: u8 = 64;
/// `EX_SOFTWARE`.
const STUCK: u8 = 70;
/// `EX_TEMPFAIL`: the supervisor should start the program again.
const RECYCLED: u8 = 75;
/// `EX_CONFIG`.
const CONFIG: u8 = 78;

/// The least number of threads for tasks: a task that blocks its thread by mistake must not stop
/// all others.
const THREADS: usize = 4;

/// Runs a worker as the command line says. `tasks` registers the tasks that it serves.
///
/// ```no_run
/// use celery_worker::{cli, task};
///
/// #[task(name = "proj.add")]
/// async fn add(x: i64, y: i64) -> i64 {
///     x + y
/// }
///
/// fn main() -> std::process::ExitCode {
///     cli::main(|worker| worker.register(add::task()))
/// }
/// ```
pub fn main(tasks: impl FnOnce(WorkerBuilder) -> WorkerBuilder) -> ExitCode {
    let options = match Options::read() {
        Ok(options) => options,
        Err(error) => {
            return match error.kind() {
                ErrorKind::DisplayHelp | ErrorKind::DisplayVersion => {
                    let _ = error.print();
                    ExitCode::SUCCESS
                }
                _ => {
                    eprint!("{}", secrets::hidden(&error.render().to_string()));
                    ExitCode::from(USAGE)
                }
            };
        }
    };
    if let Some(code) = options.command.as_ref().and_then(papers::print) {
        return code;
    }
    let threads =
        std::thread::available_parallelism().map_or(THREADS, |cores| cores.get().max(THREADS));
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(threads)
        .enable_all()
        .build();
    let runtime = match runtime {
        Ok(runtime) => runtime,
        Err(error) => {
            eprintln!("celery-worker: cannot start threads: {error}");
            return ExitCode::FAILURE;
        }
    };
    let ended = runtime.block_on(run(options, tasks));
    // Tasks that do not end must not keep the process alive.
    runtime.shutdown_background();
    match ended {
        Ok(code) => code,
        Err(error) => {
            eprintln!("celery-worker: {}", secrets::hidden(&error.to_string()));
            match error {
                StartError::Signals(_) | StartError::Threads(_) => ExitCode::FAILURE,
                _ => ExitCode::from(CONFIG),
            }
        }
    }
}

/// Runs schedules without tasks.
async fn run_schedules(
    config: Config,
    print_config: bool,
    words: &Words,
) -> Result<ExitCode, StartError> {
    if print_config {
        print!("{config}");
        return Ok(ExitCode::SUCCESS);
    }
    let _pidfile = match &config.pidfile {
        Some(path) => Some(PidFile::create(path)?),
        None => None,
    };
    logging::start(&config)?;
    words.explain(&config);
    check::check_logins(&config).await?;
    run_beat(config, Shutdown::default()).await?;
    Ok(ExitCode::SUCCESS)
}

async fn run(
    options: Options,
    tasks: impl FnOnce(WorkerBuilder) -> WorkerBuilder,
) -> Result<ExitCode, StartError> {
    let print_config = options.print_config;
    let command = options.command.clone();
    let words = options.words.clone();
    if let Some(folder) = options.workdir.filter(|folder| *folder != *"") {
        std::env::set_current_dir(&folder).map_err(|error| {
            ConfigError::new("--workdir", format!("{}: {error}", folder.display()))
        })?;
    }
    let file = match &options.config {
        None => Settings::default(),
        Some(path) => {
            let text = std::fs::read_to_string(path).map_err(|error| {
                ConfigError::new("--config", format!("{}: {error}", path.display()))
            })?;
            Settings::from_toml(&text)?
        }
    };
    let mut builder = tasks(Worker::builder());
    // The program's own settings are defaults: the command line and the file take precedence.
    let chosen = std::mem::take(&mut builder.settings);
    builder.settings = options.settings.or(file).or(chosen);
    match command {
        Some(Command::Check { strict }) => return check::run(builder.settings, strict).await,
        Some(Command::Dead { command }) => {
            let config = Config::new(builder.settings)?;
            return Ok(dead::run(&config, command).await?);
        }
        Some(Command::Fair { command }) => {
            let config = Config::new(builder.settings)?;
            let redis = config.redis_for("fair")?;
            return Ok(fair::run(&config, redis, command).await);
        }
        Some(Command::Top {
            once,
            no_enable_events,
        }) => {
            let config = Config::new(builder.settings)?;
            let redis = config.redis_for("top")?;
            return Ok(top::run(&config, redis, once, !no_enable_events).await);
        }
        Some(Command::Beat { command }) => {
            let config = Config::new(builder.settings)?;
            return match command {
                Some(command) => {
                    let redis = config.redis_for("beat")?;
                    Ok(beat::run(&config, redis, command).await)
                }
                None => run_schedules(config, print_config, &words).await,
            };
        }
        // Completion and manual page were printed before the threads started.
        Some(Command::Completion { .. } | Command::Man | Command::Worker) | None => {}
    }
    let worker = builder.build()?;
    if print_config {
        print!("{}", worker.config());
        return Ok(ExitCode::SUCCESS);
    }
    let _pidfile = match &worker.config().pidfile {
        Some(path) => Some(PidFile::create(path)?),
        None => None,
    };
    logging::start(worker.config())?;
    words.explain(worker.config());
    check::check_logins(worker.config()).await?;
    worker.check_database().await?;
    banner::print(&worker);
    tokio::spawn(check::warn(worker.config().clone()));
    let stopped = worker.run().await?;
    Ok(match stopped {
        Stopped::Warm => ExitCode::SUCCESS,
        Stopped::Cold => ExitCode::FAILURE,
        Stopped::Stuck { .. } => ExitCode::from(STUCK),
        Stopped::Recycled => ExitCode::from(RECYCLED),
    })
}
