//! `gabion manifest`: lists of images, a file per subcommand.

mod add;
mod annotate;
mod create;
mod entry_args; // what is said of an entry
mod exists;
mod inspect;
mod push;
mod remove;
mod rm;

use std::process::ExitCode;

pub use push::{PushedTo, send};

use crate::args::registry::RegistryArgs;
use crate::command_error::CommandError;
use crate::session::Session;

/// Make, change, show and push manifest lists: images of several platforms under one name
#[derive(clap::Args)]
pub struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(clap::Subcommand)]
enum Command {
    Add(Box<add::Args>),
    Annotate(annotate::Args),
    Create(create::Args),
    Exists(exists::Args),
    Inspect(inspect::Args),
    Push(push::Args),
    Remove(remove::Args),
    Rm(rm::Args),
}

pub fn run(args: &Args, session: &Session) -> Result<ExitCode, CommandError> {
    match &args.command {
        Command::Add(args) => add::run(args, session),
        Command::Annotate(args) => annotate::run(args, session),
        Command::Create(args) => create::run(args, session),
        Command::Exists(args) => exists::run(args, session),
        Command::Inspect(args) => inspect::run(args, session),
        Command::Push(args) => push::run(args, session),
        Command::Remove(args) => remove::run(args, session),
        Command::Rm(args) => rm::run(args, session),
    }
}

/// How to reach registries, as Podman says it too.
#[derive(clap::Args, Clone, Debug)]
struct ReachArgs {
    /// The same as --tls-verify=false
    #[arg(long, hide = true, conflicts_with = "tls_verify")]
    insecure: bool,
    #[command(flatten)]
    registry: RegistryArgs,
}

impl ReachArgs {
    fn registry(&self) -> RegistryArgs {
        let tls_verify = if self.insecure { Some(false) } else { self.registry.tls_verify };
        RegistryArgs { tls_verify, ..self.registry.clone() }
    }
}

/// Parses an annotation.
fn annotation(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((name, value)) if !name.is_empty() => Ok((name.to_owned(), value.to_owned())),
        _ => Err("expected NAME=VALUE".to_owned()),
    }
}
