//! The subcommands, a file each: an `Args` struct, whose docs are the help, and a `run` function.

use std::process::ExitCode;

use clap::Subcommand;

use crate::command_error::CommandError;
use crate::session::Session;

mod config;
mod version;

/// One variant a subcommand, in alphabetical order.
#[derive(Subcommand)]
pub enum Command {
    Config(config::Args),
    Version(version::Args),
}

/// Runs `command`; the exit code is that of a step where the command ran one.
pub fn run(command: Command, session: &Session) -> Result<ExitCode, CommandError> {
    match command {
        Command::Config(args) => config::run(&args, session),
        Command::Version(args) => version::run(&args, session),
    }
}
