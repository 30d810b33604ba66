//! `completion` and `man`: texts that are made from the description of the command line, for packages
//! and for administrators.

use std::io::{self, Write};
use std::process::ExitCode;

use super::options::{Command, Options};

/// Prints the text that a command asks for. Returns `None` for every other command.
pub(crate) fn print(command: &Command) -> Option<ExitCode> {
    let text = match command {
        Command::Completion { shell } => {
            let mut text = Vec::new();
            clap_complete::generate(*shell, &mut Options::full_command(), program(), &mut text);
            Ok(text)
        }
        Command::Man => manual(),
        Command::Worker
        | Command::Beat { .. }
        | Command::Check { .. }
        | Command::Dead { .. }
        | Command::Fair { .. }
        | Command::Top { .. } => return None,
    };
    let printed = text.and_then(|text| io::stdout().write_all(&text));
    Some(match printed {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("celery-worker: cannot print: {error}");
            ExitCode::FAILURE
        }
    })
}

/// Returns the name by which this program was called: a worker written with this library has its
/// own.
fn program() -> String {
    let called = std::env::args_os().next();
    let name = called
        .as_deref()
        .map(std::path::Path::new)
        .and_then(std::path::Path::file_name);
    name.and_then(std::ffi::OsStr::to_str)
        .unwrap_or("celery-worker")
        .to_owned()
}

fn manual() -> io::Result<Vec<u8>> {
    let mut text = Vec::new();
    clap_mangen::Man::new(Options::full_command().name(program())).render(&mut text)?;
    Ok(text)
}
