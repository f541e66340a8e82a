//! `gabion add`

use std::process::ExitCode;

use super::copy::{SharedArgs, Verb, run_as};
use crate::command_error::CommandError;
use crate::session::Session;

/// Add files, directories or URLs to a working container, unpacking local archives
///
/// As `gabion copy`, but a local file that is a tar archive, compressed or not, is unpacked into
/// the destination. What is unpacked keeps the archive's owners and modes. Of a git repository
/// (https://host/repo.git#ref:subdir, git@host:repo) the files are added.
#[derive(clap::Args)]
pub struct Args {
    #[command(flatten)]
    shared: SharedArgs,
}

pub fn run(args: &Args, session: &Session) -> Result<ExitCode, CommandError> {
    run_as(Verb::Add, false, &args.shared, session)
}
