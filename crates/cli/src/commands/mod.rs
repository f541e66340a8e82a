//! The subcommands, a file each: an `Args` struct, whose docs are the help, and a `run` function.

use std::process::ExitCode;

use clap::Subcommand;

use crate::command_error::CommandError;
use crate::session::Session;

mod add;
pub(crate) mod build;
mod cache;
mod commit;
mod completion;
mod config;
mod containers;
mod copy;
mod du;
mod from;
mod help;
mod history;
mod images;
mod info;
mod inspect;
mod manifest;
mod mount;
mod prune;
mod pull;
mod push;
mod rename;
mod rm;
mod rmi;
mod run;
mod tag;
mod umount;
mod version;

/// One variant a subcommand, in alphabetical order.
#[derive(Subcommand)]
pub enum Command {
    Add(add::Args),
    Build(Box<build::Args>),
    Cache(cache::Args),
    Commit(Box<commit::Args>),
    Completion(completion::Args),
    Config(Box<config::Args>),
    Containers(containers::Args),
    Copy(copy::Args),
    Du(du::Args),
    From(Box<from::Args>),
    Help(help::Args),
    History(history::Args),
    Images(images::Args),
    Info(info::Args),
    Inspect(inspect::Args),
    #[command(hide = true)]
    ManPages(completion::ManPagesArgs),
    Manifest(manifest::Args),
    Mount(mount::Args),
    Prune(prune::Args),
    Pull(pull::Args),
    Push(push::Args),
    Rename(rename::Args),
    Rm(rm::Args),
    Rmi(rmi::Args),
    Run(Box<run::Args>),
    Tag(tag::TagArgs),
    Umount(umount::Args),
    Untag(tag::UntagArgs),
    Version(version::Args),
}

/// Runs `command`; the exit code is that of a step where the command ran one.
pub fn run(command: Command, session: &Session) -> Result<ExitCode, CommandError> {
    match command {
        Command::Add(args) => add::run(&args, session),
        Command::Build(args) => build::run(&args, session),
        Command::Cache(args) => cache::run(&args, session),
        Command::Commit(args) => commit::run(&args, session),
        Command::Completion(args) => completion::run(&args),
        Command::Config(args) => config::run(&args, session),
        Command::Containers(args) => containers::run(&args, session),
        Command::Copy(args) => copy::run(&args, session),
        Command::Du(args) => du::run(&args, session),
        Command::From(args) => from::run(&args, session),
        Command::Help(args) => help::run(&args, session),
        Command::History(args) => history::run(&args, session),
        Command::Images(args) => images::run(&args, session),
        Command::Info(args) => info::run(&args, session),
        Command::Inspect(args) => inspect::run(&args, session),
        Command::ManPages(args) => completion::write_man_pages(&args),
        Command::Manifest(args) => manifest::run(&args, session),
        Command::Mount(args) => mount::run(&args, session),
        Command::Prune(args) => prune::run(&args, session),
        Command::Pull(args) => pull::run(&args, session),
        Command::Push(args) => push::run(&args, session),
        Command::Rename(args) => rename::run(&args, session),
        Command::Rm(args) => rm::run(&args, session),
        Command::Rmi(args) => rmi::run(&args, session),
        Command::Run(args) => run::run(&args, session),
        Command::Tag(args) => tag::tag(&args, session),
        Command::Umount(args) => umount::run(&args, session),
        Command::Untag(args) => tag::untag(&args, session),
        Command::Version(args) => version::run(&args, session),
    }
}
