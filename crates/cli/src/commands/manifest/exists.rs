//! `gabion manifest exists`

use std::process::ExitCode;

use buildkit_core::manifest_list::ManifestList;

use crate::command_error::CommandError;
use crate::session::Session;

/// Tell by the exit code whether the store has a manifest list: 0 if it has, 1 if not
#[derive(clap::Args)]
pub struct Args {
    /// Name or ID of the list
    list: String,
}

pub fn run(args: &Args, session: &Session) -> Result<ExitCode, CommandError> {
    match ManifestList::find(&session.store()?, &args.list) {
        Ok(_) => Ok(ExitCode::SUCCESS),
        Err(error) if error.is_not_found() => Ok(ExitCode::from(1)),
        Err(error) => Err(error.into()),
    }
}
