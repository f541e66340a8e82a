//! `gabion completion` and the man pages: made from the same definitions as `--help`.

use std::io;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::CommandFactory;
use clap_complete::Shell;

use crate::args::Cli;
use crate::command_error::CommandError;
use crate::examples::with_examples;

/// Print a script that makes a shell complete gabion's commands, flags, and names of containers, images and stages
#[derive(clap::Args)]
pub struct Args {
    /// The shell
    shell: Shell,
}

pub fn run(args: &Args) -> Result<ExitCode, CommandError> {
    crate::complete::write_script(&args.shell.to_string(), &mut io::stdout())
        .map_err(|error| CommandError::new(format!("writing the script: {error}")))?;
    Ok(ExitCode::SUCCESS)
}

/// Write the man pages of gabion and of each command
#[derive(clap::Args)]
pub struct ManPagesArgs {
    /// Directory to write to
    directory: PathBuf,
}

pub fn write_man_pages(args: &ManPagesArgs) -> Result<ExitCode, CommandError> {
    let write = || {
        std::fs::create_dir_all(&args.directory)?;
        clap_mangen::generate_to(with_examples(Cli::command()), &args.directory)
    };
    write()
        .map_err(|error| CommandError::new(format!("writing man pages to {}: {error}", args.directory.display())))?;
    Ok(ExitCode::SUCCESS)
}
