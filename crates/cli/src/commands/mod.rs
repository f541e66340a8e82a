//! The subcommands, a file each: an `Args` struct, whose docs are the help, and a `run` function.

use std::process::ExitCode;

use clap::Subcommand;

use crate::command_error::CommandError;
use crate::session::Session;

mod completion;
mod config;
mod from;
mod inspect;
mod version;

/// One variant a subcommand, in alphabetical order.
#[derive(Subcommand)]
pub enum Command {
    Completion(completion::Args),
    Config(config::Args),
    From(from::Args),
    Inspect(inspect::Args),
    #[command(hide = true)]
    ManPages(completion::ManPagesArgs),
    Version(version::Args),
}

/// Runs `command`; the exit code is that of a step where the command ran one.
pub fn run(command: Command, session: &Session) -> Result<ExitCode, CommandError> {
    match command {
        Command::Completion(args) => completion::run(&args),
        Command::ManPages(args) => completion::write_man_pages(&args),
        Command::Config(args) => config::run(&args, session),
        Command::From(args) => from::run(&args, session),
        Command::Inspect(args) => inspect::run(&args, session),
        Command::Version(args) => version::run(&args, session),
    }
}
